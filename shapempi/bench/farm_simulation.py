"""A farm of ranks in simulated time: rank 0 gives out units one after the other, the others do them."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass
from typing import Protocol

import numpy as np

__all__ = ["FarmTimes", "UnitQueue", "simulate_farm"]


class UnitQueue(Protocol):
    """Says what is next; what it does with that is its own affair."""

    def next(self) -> tuple[str, float] | None:
        """Take the unit to do next, its name and its true time [s]; None if none is ready."""
        ...

    def done(self, name: str, seconds: float) -> None:
        """Hear that a unit that was taken has ended."""
        ...


@dataclass(frozen=True)
class FarmTimes:
    """How a farm spent its time.

    Attributes
    ----------
    n_worker : int
        Ranks that do units.
    n_unit : int
        Units that were done.
    makespan : float
        Time from the start to the end of the last unit [s].
    busy : float
        Time in units, over all ranks [s].
    tail : float
        Mean time from the end of a rank's last unit to the end of all [s].
    starved : float
        Mean time of a rank before its last unit in which it waited because no unit was ready [s].
    master : float
        Time that rank 0 spent giving out units [s].
    """

    n_worker: int
    n_unit: int
    makespan: float
    busy: float
    tail: float
    starved: float
    master: float

    def efficiency(self, n_rank: int) -> float:
        """Return the time in units as a fraction of that of `n_rank` ranks, rank 0 included if it is among them."""
        return self.busy / (n_rank * self.makespan) if self.makespan > 0.0 else 1.0


def simulate_farm(queue: UnitQueue, n_worker: int, assign: float = 0.0) -> FarmTimes:
    """Do all units of a queue in simulated time.

    Rank 0 does what the master of a run does: it gives units to idle ranks as long as there are both, then takes the
    next result, in the order in which they came.  Each unit costs it `assign` seconds, one after the other; a rank
    starts when its unit has been sent.

    Parameters
    ----------
    queue : UnitQueue
        The units.
    n_worker : int
        Ranks that do units, at least 1.
    assign : float, optional
        Time of rank 0 for a unit and its result [s].

    Returns
    -------
    FarmTimes
        Where the time went.
    """
    idle = deque(range(n_worker))
    since = np.zeros(n_worker)  # when each rank became idle
    waited = np.zeros(n_worker)
    ends: list[tuple[float, int, int, str, float]] = []
    clock = makespan = busy = 0.0
    dry: float | None = None  # since when nothing has been ready
    n_unit = 0
    while True:
        opened = clock
        while idle and (taken := queue.next()) is not None:
            name, seconds = taken
            rank = idle.popleft()
            if dry is not None:
                waited[rank] += opened - max(dry, since[rank])
            clock += assign
            n_unit += 1
            busy += seconds
            # The count decides between equal ends, so that names do not.
            heapq.heappush(ends, (clock + seconds, n_unit, rank, name, seconds))
        if not ends:
            break
        # Ranks are idle here only because nothing is ready; those that are served later waited since then.
        dry = (clock if dry is None else dry) if idle else None
        end, _, rank, name, seconds = heapq.heappop(ends)
        clock = max(clock, end)
        makespan = max(makespan, end)
        since[rank] = end
        idle.append(rank)
        queue.done(name, seconds)
    return FarmTimes(
        n_worker=n_worker,
        n_unit=n_unit,
        makespan=makespan,
        busy=busy,
        tail=float(np.mean(makespan - since)),
        starved=float(np.mean(waited)),
        master=n_unit * assign,
    )
