"""The units that can be done now, and which of them is next."""

from __future__ import annotations

import heapq
import math

from shapempi.mpi.unit import Unit

__all__ = ["ReadyQueue"]

#: How many units of one priority are looked at for one that fits into the time left.
_N_LOOK = 64

#: What units of one priority are sorted by: region, cost (largest first), order of coming; and the name.
_Item = tuple[int, float, int, str]


class ReadyQueue:
    """Units that wait for nothing but a free rank.

    Next is the unit of the highest priority; of these the one of the lowest region, then of the highest cost, then the
    one that was added first.

    Parameters
    ----------
    stock : float, optional
        As long as the units of the highest priority take less than this together [s], the others go first.  A run ends
        on all ranks at once if what is left at its end is small and waits for nothing.
    """

    def __init__(self, stock: float = 0.0) -> None:
        self._stock = stock
        self._heaps: dict[int, list[_Item]] = {}
        self._costs: dict[str, float] = {}
        self._sums: dict[int, float] = {}

    def push(self, unit: Unit, cost: float, order: int) -> None:
        """Add a unit.

        Parameters
        ----------
        unit : Unit
            The unit.
        cost : float
            Predicted time [s].
        order : int
            Its place in the order of coming.
        """
        heapq.heappush(self._heaps.setdefault(unit.priority, []), (unit.region, -cost, order, unit.uid))
        self._costs[unit.uid] = cost
        self._sums[unit.priority] = self._sums.get(unit.priority, 0.0) + cost

    def drop(self, unit: Unit) -> None:
        """Take a unit out that will not be done; nothing happens if it is not here."""
        self._sums[unit.priority] = self._sums.get(unit.priority, 0.0) - self._costs.pop(unit.uid, 0.0)

    def take(self, longest: float = math.inf) -> str | None:
        """Take the next unit out.

        Parameters
        ----------
        longest : float, optional
            Leave units that take longer [s]; of the first `_N_LOOK` ones of a priority the first that fits is taken.

        Returns
        -------
        str or None
            Its name; None if there is none, or none fits.
        """
        first, *others = sorted(self._heaps, reverse=True) or [0]
        order = [*others, first] if self._sums.get(first, 0.0) < self._stock else [first, *others]
        return next((uid for priority in order if (uid := self._take(priority, longest)) is not None), None)

    def _take(self, priority: int, longest: float) -> str | None:
        """Take the next unit of one priority out."""
        heap = self._heaps.get(priority, [])
        passed: list[_Item] = []
        found: str | None = None
        while heap and found is None and len(passed) < _N_LOOK:
            item = heapq.heappop(heap)
            cost = self._costs.get(item[-1])
            if cost is None:
                continue  # it was dropped
            if cost > longest:
                passed.append(item)
                continue
            found = item[-1]
            del self._costs[found]
            self._sums[priority] -= cost
        for item in passed:
            heapq.heappush(heap, item)
        return found
