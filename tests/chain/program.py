"""Run shapempi as a user types it: a folder, a command, ranks; nothing that hangs outlives its time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
import time
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from mpi.launch import environment, mpiexec

from shapempi.cli import main

#: Longest time that any command of these tests may take; the longest takes 20 s alone on two cores [s].
PATIENCE = 180.0


class Result(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def complaints(self):
        """The lines for the user on standard error."""
        return [line for line in self.err.splitlines() if line.startswith("shapempi: ")]


@contextmanager
def started(folder, *arguments, n_rank=None):
    """Start `shapempi ARGUMENTS` in a folder, on `n_rank` ranks or (None) without a launcher.

    Whatever is left of it at the end is killed.
    """
    launcher = [] if n_rank is None else [mpiexec(), "-n", str(n_rank)]
    process = subprocess.Popen(
        [*launcher, sys.executable, "-m", "shapempi", *map(str, arguments)],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        # Whoever starts the tests in the background has them ignore Ctrl-C, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        text=True,
        errors="replace",
    )
    try:
        yield process
    finally:
        kill(process)
        process.communicate()


def finish(process, timeout=PATIENCE):
    """Wait for the end of a started command."""
    out, err = process.communicate(timeout=timeout)
    return Result(process.returncode, out, err)


def shapempi(folder, *arguments, n_rank=None):
    """Run a command to its end."""
    with started(folder, *arguments, n_rank=n_rank) as process:
        return finish(process)


def search_path(folder):
    """Return a PATH with `shapempi` and `mpirun` of this Python, for scripts; a folder that may be written to helps."""
    scripts = sysconfig.get_path("scripts")
    if not Path(scripts, "shapempi").exists():  # the package is used from its source folder
        command = Path(folder) / "shapempi"
        command.write_text('#!/bin/sh\nexec python -m shapempi "$@"\n')
        command.chmod(0o755)
    return os.pathsep.join((str(folder), scripts, os.environ["PATH"]))


def verb(folder, *arguments):
    """Run a command in this process: the same, for verbs without MPI, but two seconds faster."""
    out, err = StringIO(), StringIO()
    with chdir(folder), redirect_stdout(out), redirect_stderr(err):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as end:  # argparse
            code = end.code
    return Result(code, out.getvalue(), err.getvalue())


def family(process):
    """Return the ids of a process and all that it started: each MPI rank has a session of its own."""
    children = {}
    for pid, parent in _processes():
        children.setdefault(parent, []).append(pid)
    found = [process.pid]
    for pid in found:  # grows while it is read
        found += children.get(pid, [])
    return found


def _processes():
    """Return (process, parent) of every process on this machine."""
    if not Path("/proc/self/stat").exists():
        text = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
        return [tuple(map(int, line.split())) for line in text.splitlines()]
    pairs = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            # The name stands in parentheses and may hold anything; the state and the parent follow it.
            pairs.append((int(stat.parent.name), int(stat.read_text().rpartition(")")[2].split()[1])))
    return pairs


def kill(process):
    """SIGKILL to a command and everything that it started, all at once."""
    if process.poll() is None:
        for pid in family(process):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def survivors(pids, within=10.0):
    """Return those of some processes that still run after a few seconds; a zombie does not."""
    deadline = time.monotonic() + within
    while (left := [pid for pid in pids if _runs(pid)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def _runs(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    try:
        return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_for(condition, process, what, timeout=PATIENCE):
    """Wait until something is true of a running command; it must not end before."""
    deadline = time.monotonic() + timeout
    while not condition():
        if process.poll() is not None:
            out, err = process.communicate()
            raise AssertionError(f"the command ended (exit code {process.returncode}) before {what}:\n{out}{err}")
        assert time.monotonic() < deadline, f"no sign of {what} after {timeout} s"
        time.sleep(0.01)
