"""What class a failure has, and whether a unit that failed is tried again.

A failure that would repeat is not repeated: an exception of the measurement ends the unit.  What may pass (a file
system that does not answer, a lost rank) is tried again after a pause, somewhere else if there is another place; what
met a limit is tried once more with twice the limit.  A unit that has cost two ranks is put in quarantine.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass

from shapempi.mpi.unit import Failure, State

__all__ = ["RULES", "Rule", "classify"]

#: Errors of the operating system that may be gone a moment later.
_PASSING = {
    errno.EIO,
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.EAGAIN,
    errno.EBUSY,
    errno.ENODEV,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.EHOSTDOWN,
    errno.ECONNRESET,
    errno.ENOTCONN,
    errno.EREMOTEIO if hasattr(errno, "EREMOTEIO") else errno.EIO,
}


@dataclass(frozen=True)
class Rule:
    """What is done about a class of failures.

    Attributes
    ----------
    n_more : int
        Attempts after the first that failed so.
    pause : float
        Time before the second attempt [s]; it doubles with each.
    elsewhere : bool
        Whether another host is preferred.
    limits : float
        Factor by which the limits of time and memory grow with each attempt.
    end : State
        What the unit is when all attempts have failed.
    """

    n_more: int = 0
    pause: float = 0.0
    elsewhere: bool = False
    limits: float = 1.0
    end: State = State.FAILED


RULES: Mapping[Failure, Rule] = {
    Failure.SCIENCE: Rule(),
    Failure.IO: Rule(n_more=3, pause=2.0, elsewhere=True),
    Failure.MEMORY: Rule(n_more=1, limits=2.0),
    Failure.TIMEOUT: Rule(n_more=1, limits=2.0),
    Failure.CRASH: Rule(n_more=1, elsewhere=True),
    Failure.LOST: Rule(n_more=1, elsewhere=True, end=State.QUARANTINED),
}


def classify(error: BaseException) -> Failure:
    """Return the class of an exception, by itself and by what caused it.

    Parameters
    ----------
    error : BaseException
        What came out of a unit.
    """
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, MemoryError):
            return Failure.MEMORY
        if isinstance(link, OSError) and link.errno in _PASSING:
            return Failure.IO
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return Failure.SCIENCE
