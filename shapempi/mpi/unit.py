"""A unit of work and what became of it: the two values that travel between rank 0 and the workers.

Both are small and hold plain values only.  Results themselves never travel: an outcome says where they lie.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from traceback import format_exception
from typing import Any, NamedTuple

__all__ = ["Outcome", "Place", "State", "Unit"]


class State(StrEnum):
    """Where a unit stands; the last three are final."""

    WAITING = "waiting"
    READY = "ready"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    BLOCKED = "blocked"

    @property
    def final(self) -> bool:
        """Whether nothing more can happen to the unit in this run."""
        return self in (State.DONE, State.FAILED, State.BLOCKED)


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
    """

    uid: str
    kind: str
    cost: float = 1.0
    priority: int = 0
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    payload: Mapping[str, Any] = field(default_factory=dict)
    promised: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """What became of a unit.

    Attributes
    ----------
    uid, kind : str
        The unit.
    state : State
        `DONE`, `FAILED` or `BLOCKED`.
    place : Place or None
        Where the committed result lies; None unless done.
    error : str
        Class name of the exception; empty unless failed.
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
    """

    uid: str
    kind: str
    state: State
    place: Place | None = None
    error: str = ""
    reason: str = ""
    traceback: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    elapsed: float = 0.0
    cpu: float = 0.0
    rss_peak: int = 0
    rank: int = -1
    host: str = ""
    restored: bool = False

    def failed_by(self, error: BaseException) -> Outcome:
        """Return the same outcome, failed with the class, first line and traceback of an exception."""
        lines = str(error).strip().splitlines()
        return replace(
            self,
            state=State.FAILED,
            place=None,
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
            "reason": self.reason,
            "traceback": self.traceback,
            "seconds": {name: round(value, 6) for name, value in self.seconds.items()},
            "elapsed": round(self.elapsed, 6),
            "cpu": round(self.cpu, 6),
            "rss_peak": self.rss_peak,
            "rank": self.rank,
            "host": self.host,
            "restored": self.restored,
        }
