"""Run shapempi as a user types it: a folder, a command, ranks; nothing that hangs outlives its time."""

from __future__ import annotations

import os
import sys
import sysconfig
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

from shapempi.cli import main
from shapempi.selftest import launch
from shapempi.selftest.launch import Result, family, finish, kill, ranks, survivors, wait_for

__all__ = ["family", "finish", "kill", "ranks", "search_path", "shapempi", "started", "survivors", "verb", "wait_for"]


@contextmanager
def started(folder, *arguments, n_rank=None, **more):
    """Start `shapempi ARGUMENTS` in a folder, on `n_rank` ranks or (None) without a launcher."""
    words = [*launch.launcher(n_rank), sys.executable, "-m", "shapempi", *map(str, arguments)]
    with launch.started(words, folder=folder, more=more) as process:
        yield process


def shapempi(folder, *arguments, n_rank=None, **more):
    """Run a command to its end."""
    with started(folder, *arguments, n_rank=n_rank, **more) as process:
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
