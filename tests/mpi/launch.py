"""Start a program on several ranks with the MPI that belongs to this Python; nothing that hangs outlives its time."""

import sys
from contextlib import contextmanager

from shapempi.selftest import launch as trial
from shapempi.selftest.launch import environment, kill, mpiexec

__all__ = ["environment", "kill", "launch", "mpiexec", "started"]


@contextmanager
def started(n_rank, *command, **more):
    """Start a command of Python on `n_rank` ranks (None: without a launcher); what is left at the end is killed."""
    words = [*trial.launcher(n_rank), sys.executable, *map(str, command)]
    with trial.started(words, more=more) as process:
        yield process


def launch(n_rank, *command, timeout=60.0, **more):
    """Run a command to its end; return exit code, standard output and standard error."""
    with started(n_rank, *command, **more) as process:
        return tuple(trial.finish(process, timeout))
