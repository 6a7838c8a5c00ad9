"""Faults made on purpose, to prove that a run survives them: `SHAPEMPI_FAULT` names one for units of a run.

    SHAPEMPI_FAULT=segv:begin:block:*:1

is a kind of fault, a moment, the units that meet it (a pattern of their names), and how often at most in one run folder
(everywhere together).  Nothing happens without the variable.  `shapempi selftest faults` uses it; so can anybody who
wants to see what a run does.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import resource
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from shapempi.errors import ConfigError, MeasurementError

__all__ = ["KINDS", "MOMENTS", "VARIABLE", "Fault"]

VARIABLE = "SHAPEMPI_FAULT"

#: When a fault can strike: before a unit is done; when its product is written and not committed; when it is committed
#: and not reported.
MOMENTS = ("begin", "written", "committed")


@dataclass(frozen=True)
class Fault:
    """What goes wrong, when and where; `Fault.read` makes one.

    Attributes
    ----------
    kind : str
        Of `KINDS`.
    moment : str
        Of `MOMENTS`.
    pattern : str
        Names of units, with `*`.
    n_time : int
        How often at most.
    marks : Path
        Folder in which each strike leaves a file, so that all processes together count.
    rank_pid : int
        Process of the rank.
    """

    kind: str
    moment: str
    pattern: str
    n_time: int
    marks: Path
    rank_pid: int

    @classmethod
    def read(cls, environ: Mapping[str, str], marks: Path, rank_pid: int) -> Fault | None:
        """Return the fault that the environment asks for; None if it asks for none.

        Raises
        ------
        ConfigError
            If it asks for something unknown.
        """
        text = environ.get(VARIABLE, "")
        if not text:
            return None
        kind, _, rest = text.partition(":")
        moment, _, rest = rest.partition(":")
        pattern, _, number = rest.rpartition(":")
        if kind not in KINDS or moment not in MOMENTS or not pattern or not number.isdigit():
            raise ConfigError(
                f"{VARIABLE}={text}: write KIND:MOMENT:UNITS:TIMES, with a kind of {', '.join(KINDS)} and a moment of "
                f"{', '.join(MOMENTS)}"
            )
        return cls(kind, moment, pattern, int(number), marks, rank_pid)

    def strike(self, moment: str, uid: str) -> None:
        """Do what was asked for, if this is the moment and the unit, and it was not done often enough."""
        if moment == self.moment and fnmatchcase(uid, self.pattern) and self._claim():
            KINDS[self.kind](self)

    def _claim(self) -> bool:
        """Take one of the strikes; whatever the process does next, it is counted."""
        self.marks.mkdir(parents=True, exist_ok=True)
        for number in range(self.n_time):
            try:
                os.close(os.open(self.marks / f"{self.kind}-{self.moment}-{number}", os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                continue
            return True
        return False


def _raise(fault: Fault) -> None:
    raise MeasurementError("an error made on purpose")


def _io_error(fault: Fault) -> None:
    raise OSError(errno.EIO, "an input/output error made on purpose")


def _segv(fault: Fault) -> None:
    ctypes.string_at(0)


def _abort(fault: Fault) -> None:
    os.abort()


def _kill(fault: Fault) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _kill_rank(fault: Fault) -> None:
    os.kill(fault.rank_pid, signal.SIGKILL)
    time.sleep(60.0)  # the death of the rank is the death of its child


def _hang(fault: Fault) -> None:
    """Be in C for ever, deaf to all signals that Python would hear."""
    re.match(r"(a|a)*b", "a" * 100)


def _bomb(fault: Fault) -> None:
    """Take memory, and use it, without end."""
    taken = []
    while True:
        taken.append(bytearray(64 * 2**20))


def _full(fault: Fault) -> None:
    """Have the system refuse every further byte in files, as a full disk does."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))


def _exit(fault: Fault) -> None:
    os._exit(3)


def _slow(fault: Fault) -> None:
    """Take eight seconds, as a unit on a busy node may."""
    time.sleep(8.0)


KINDS: Mapping[str, Callable[[Fault], None]] = {
    "raise": _raise,
    "io": _io_error,
    "segv": _segv,
    "abort": _abort,
    "kill": _kill,
    "kill-rank": _kill_rank,
    "hang": _hang,
    "bomb": _bomb,
    "full": _full,
    "exit": _exit,
    "slow": _slow,
}
