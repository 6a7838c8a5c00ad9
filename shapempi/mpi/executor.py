"""Where units are done: in the rank itself, or in a child that the rank supervises.

The rank's loop gives one unit to an executor, goes on listening to rank 0, and asks for the outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from shapempi.mpi.unit import Failure, Outcome, Place, Unit

__all__ = ["Execute", "Executor", "Inline", "Limits"]

#: Does one unit: (unit, places of its inputs by uid) -> outcome.  It catches the unit's own exceptions.
Execute = Callable[[Unit, Mapping[str, Place]], Outcome]


@dataclass(frozen=True)
class Limits:
    """What a unit may take.

    Attributes
    ----------
    seconds : float
        Wall-clock time [s]; 0 for any.
    memory : int
        Resident memory of the process [byte]; 0 for any.
    """

    seconds: float = 0.0
    memory: int = 0

    def times(self, factor: float) -> Limits:
        """Return limits that are larger by a factor."""
        return Limits(self.seconds * factor, int(self.memory * factor))


class Executor(Protocol):
    """Does one unit at a time."""

    def start(self, unit: Unit, places: Mapping[str, Place], limits: Limits) -> None:
        """Begin a unit."""

    def poll(self) -> Outcome | None:
        """Return the outcome of the unit if it has ended; never waits.  This is also where limits are watched."""

    def stop(self, failure: Failure, error: str, reason: str) -> Outcome:
        """End the unit that is being done; nothing of it is committed, or all of it."""

    @property
    def wake(self) -> int | None:
        """File descriptor that can be read when there is something to poll for; None without one."""

    @property
    def memory(self) -> int:
        """Resident memory of whoever does the unit [byte]."""

    @property
    def notes(self) -> list[str]:
        """What happened besides and somebody should know; whoever tells it takes it out."""

    def close(self) -> None:
        """Give up what is held."""


class Inline:
    """Does units in this process: a unit that crashes takes the rank with it, and limits are not watched.

    Parameters
    ----------
    execute : callable
        Does one unit.
    close : callable, optional
        Called at the end.
    """

    wake: int | None = None
    memory: int = 0

    def __init__(self, execute: Execute, close: Callable[[], None] | None = None) -> None:
        self._execute = execute
        self._close = close
        self._outcome: Outcome | None = None
        self.notes: list[str] = []

    def start(self, unit: Unit, places: Mapping[str, Place], limits: Limits) -> None:
        """Do the unit; its outcome is there when this returns."""
        self._outcome = self._execute(unit, places)

    def poll(self) -> Outcome | None:
        """Return the outcome."""
        outcome, self._outcome = self._outcome, None
        return outcome

    def stop(self, failure: Failure, error: str, reason: str) -> Outcome:
        """Refuse: a unit that is begun here has ended already."""
        raise RuntimeError("no unit is being done")

    def close(self) -> None:
        """Close what the units were done with."""
        if self._close is not None:
            self._close()
