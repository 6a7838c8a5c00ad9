"""Start shapempi as a user types it, on ranks of the MPI that belongs to this Python; nothing outlives its time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from shapempi.errors import EngineError

__all__ = [
    "Process",
    "Result",
    "environment",
    "family",
    "finish",
    "kill",
    "launcher",
    "mpiexec",
    "ranks",
    "runs",
    "started",
    "survivors",
    "wait_for",
]

#: Longest time that any command of a trial may take [s]; the longest takes 20 s alone on two cores.
PATIENCE = 180.0

#: Variables of an outer launcher or batch system; a rank that sees them believes it belongs there.
_FOREIGN = ("OMPI_", "PMIX_", "PMI_", "PRTE_", "SLURM_", "HYDRA_")

#: Programs of which ranks are children.
_LAUNCHERS = ("hydra_pmi_proxy", "mpirun", "mpiexec", "prterun", "prted", "slurmstepd")

Process = subprocess.Popen[str]


class Result(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def complaints(self) -> list[str]:
        """The lines for the user on standard error."""
        return [line for line in self.err.splitlines() if line.startswith("shapempi: ")]


def mpiexec() -> str:
    """Return the mpiexec beside the Python that runs this.

    Raises
    ------
    EngineError
        If there is none.
    """
    for folder in (Path(sysconfig.get_path("scripts")), Path(sys.executable).parent):
        if (folder / "mpiexec").exists():
            return str(folder / "mpiexec")
    raise EngineError(f"no mpiexec beside {sys.executable}: pip install 'shapempi[mpich]'")


def launcher(n_rank: int | None, options: Sequence[str] = ()) -> list[str]:
    """Return the words before a command that start it on some ranks; none for None."""
    return [] if n_rank is None else [mpiexec(), *options, "-n", str(n_rank)]


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a rank: nothing of an outer launcher, one thread, this source."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    return {
        **clean,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        # Open MPI, if that is the one: root in a container, more ranks than cores.
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
        "PRTE_MCA_hwloc_default_binding_policy": "none",
        **more,
    }


@contextmanager
def started(
    command: Sequence[str], *, folder: Path | None = None, more: Mapping[str, str] | None = None
) -> Iterator[Process]:
    """Start a command; whatever is left of it at the end is killed.

    Parameters
    ----------
    command : sequence of str
        Program and arguments.
    folder : Path, optional
        Where it runs.
    more : mapping, optional
        Variables of its environment beside `environment`.
    """
    process = subprocess.Popen(
        list(command),
        cwd=folder,
        env=environment(**(more or {})),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        # Whoever starts this in the background has it ignore Ctrl-C, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        text=True,
        errors="replace",
    )
    try:
        yield process
    finally:
        kill(process)
        process.communicate()


def finish(process: Process, timeout: float = PATIENCE) -> Result:
    """Wait for the end of a started command."""
    out, err = process.communicate(timeout=timeout)
    return Result(process.returncode, out, err)


def family(process: Process) -> list[int]:
    """Return the ids of a process and all that it started: each MPI rank has a session of its own."""
    children: dict[int, list[int]] = {}
    for pid, parent in _processes():
        children.setdefault(parent, []).append(pid)
    found = [process.pid]
    for pid in found:  # grows while it is read
        found += children.get(pid, [])
    return found


def ranks(process: Process) -> list[int]:
    """Return the ids of the ranks of a launcher: of its descendants those that a launcher's program started."""
    parents = dict(_processes())
    return [pid for pid in family(process) if _name(pid) not in _LAUNCHERS and _name(parents.get(pid, 0)) in _LAUNCHERS]


def _name(pid: int) -> str:
    """Return the name of a process; "" if it has ended."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _processes() -> list[tuple[int, int]]:
    """Return (process, parent) of every process on this machine."""
    if not Path("/proc/self/stat").exists():
        text = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
        return [(int(pid), int(parent)) for pid, parent in (line.split() for line in text.splitlines())]
    pairs = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            # The name stands in parentheses and may hold anything; the state and the parent follow it.
            pairs.append((int(stat.parent.name), int(stat.read_text().rpartition(")")[2].split()[1])))
    return pairs


def kill(process: Process) -> None:
    """SIGKILL to a command and everything that it started, all at once."""
    if process.poll() is None:
        for pid in family(process):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def survivors(pids: Sequence[int], within: float = 10.0) -> list[int]:
    """Return those of some processes that still run after a few seconds; a zombie does not."""
    deadline = time.monotonic() + within
    while (left := [pid for pid in pids if runs(pid)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def runs(pid: int) -> bool:
    """Return whether a process is there and no zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    try:
        return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_for(condition: Callable[[], bool], process: Process, what: str, timeout: float = PATIENCE) -> None:
    """Wait until something is true of a running command; it must not end before.

    Raises
    ------
    AssertionError
        If it does, or the time passes.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if process.poll() is not None:
            out, err = process.communicate()
            raise AssertionError(f"the command ended (exit code {process.returncode}) before {what}:\n{out}{err}")
        if time.monotonic() > deadline:
            raise AssertionError(f"no sign of {what} after {timeout} s")
        time.sleep(0.01)
