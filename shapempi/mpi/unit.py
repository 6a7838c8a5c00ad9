"""A unit of work and what became of it: the two values that travel between rank 0 and the workers.

Both are small and hold plain values only.  Results themselves never travel: an outcome says where they lie.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from traceback import format_exception
from typing import Any, NamedTuple

__all__ = ["Failure", "Outcome", "Place", "State", "Unit"]


class State(StrEnum):
    """Where a unit stands; the last four are final."""

    WAITING = "waiting"
    READY = "ready"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    BLOCKED = "blocked"
    QUARANTINED = "quarantined"

    @property
    def final(self) -> bool:
        """Whether nothing more can happen to the unit in this run."""
        return self in (State.DONE, State.FAILED, State.BLOCKED, State.QUARANTINED)


class Failure(StrEnum):
    """Why an attempt at a unit failed; each class has its rule for another attempt (`shapempi.mpi.retry`).

    `SCIENCE` the unit raised an exception, and would again; `IO` a file system did not answer as it should; `MEMORY`
    more memory than allowed; `TIMEOUT` more time than allowed; `CRASH` a signal ended the process that did it; `LOST`
    the rank that did it was heard of no more; `STOPPED` the run was to end before the unit did.
    """

    SCIENCE = "science"
    IO = "io"
    MEMORY = "memory"
    TIMEOUT = "timeout"
    CRASH = "crash"
    LOST = "lost"
    STOPPED = "stopped"


class Place(NamedTuple):
    """Where a committed result lies; the fields, in this order, are those of `shapempi.product.Location`."""

    file: str
    group: str
    crc32: int
    n_row: int


@dataclass(frozen=True)
class Unit:
    """One piece of work that one rank does alone.

    Attributes
    ----------
    uid : str
        Unique name, `kind:...`.
    kind : str
        What sort of work: `ccd`, `tile`, `block`.
    cost : float
        Predicted time [s]; only ratios matter to the order, so any positive number per kind will do.
    size : mapping of str to float
        What the time grows with (epochs, objects, pixels), for a prediction that learns (`shapempi.mpi.cost`).
    priority : int
        Units of higher priority go first, whatever they cost.
    needs : tuple of str
        Units that must be done before; if one fails or is blocked, so is this one.
    after : tuple of str
        Units that must be finished before, done or not.
    payload : mapping
        Small plain values for whoever executes the unit.
    promised : float
        Predicted cost [s] of the units that will be added when this one is done; used for the time left only.
    region : int
        Place in the order of the sky: of units of one priority those of a lower region go first.
    """

    uid: str
    kind: str
    cost: float = 1.0
    priority: int = 0
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    payload: Mapping[str, Any] = field(default_factory=dict)
    promised: float = 0.0
    size: Mapping[str, float] = field(default_factory=dict)
    region: int = 0


@dataclass(frozen=True)
class Outcome:
    """What became of a unit.

    Attributes
    ----------
    uid, kind : str
        The unit.
    state : State
        `DONE`, `FAILED`, `BLOCKED` or `QUARANTINED`.
    place : Place or None
        Where the committed result lies; None unless done.
    error : str
        Class name of the exception; empty unless failed.
    failure : Failure or None
        Class of the failure; None unless failed.
    reason : str
        One line: what went wrong, or which unit blocks this one; of a done unit, what its result lacks.
    traceback : str
        The exception's traceback.
    seconds : mapping of str to float
        Wall-clock time of each named stage [s].
    elapsed : float
        Wall-clock time of the whole unit [s].
    cpu : float
        Processor time of the whole unit, all threads [s].
    rss_peak : int
        Largest resident memory of the process so far [byte].
    rank : int
        Who did it; -1 for nobody (blocked, or restored from an earlier run).
    host : str
        Name of the machine.
    restored : bool
        True if an earlier run committed it.
    attempt : int
        Which attempt at the unit this was, from 1.
    begin : float
        When it began [s since 1970].
    cost : float
        Time that was predicted for it [s].
    counts : mapping of str to int
        What it counted beside its time, by name.
    children : tuple of Unit
        Units that follow from this one; they travel to rank 0 and are not part of the record.
    """

    uid: str
    kind: str
    state: State
    place: Place | None = None
    error: str = ""
    failure: Failure | None = None
    reason: str = ""
    traceback: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    elapsed: float = 0.0
    cpu: float = 0.0
    rss_peak: int = 0
    rank: int = -1
    host: str = ""
    restored: bool = False
    attempt: int = 1
    begin: float = 0.0
    cost: float = 0.0
    counts: Mapping[str, int] = field(default_factory=dict)
    children: tuple[Unit, ...] = ()

    def failed_by(self, error: BaseException, failure: Failure = Failure.SCIENCE) -> Outcome:
        """Return the same outcome, failed with the class, first line and traceback of an exception."""
        lines = str(error).strip().splitlines()
        return replace(
            self,
            state=State.FAILED,
            failure=failure,
            place=None,
            children=(),
            error=type(error).__name__,
            reason=lines[0] if lines else "(no message)",
            traceback="".join(format_exception(error)),
        )

    def record(self) -> dict[str, Any]:
        """Return the outcome as plain values, the form of a journal line."""
        return {
            "uid": self.uid,
            "kind": self.kind,
            "state": str(self.state),
            "place": list(self.place) if self.place else None,
            "error": self.error,
            "failure": str(self.failure or ""),
            "reason": self.reason,
            "traceback": self.traceback,
            "seconds": {name: round(value, 6) for name, value in self.seconds.items()},
            "elapsed": round(self.elapsed, 6),
            "cpu": round(self.cpu, 6),
            "rss_peak": self.rss_peak,
            "rank": self.rank,
            "host": self.host,
            "restored": self.restored,
            "attempt": self.attempt,
            "begin": round(self.begin, 3),
            "cost": round(self.cost, 3),
            "counts": dict(self.counts),
        }
