"""Which unit is next: pure arithmetic on units, dependencies and outcomes, with no communication.

Every operation costs O(log n) in the number of units and O(1) per dependency, so one rank serves 10^5 units.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from shapempi.mpi.cost import CostModel
from shapempi.mpi.ready import ReadyQueue
from shapempi.mpi.unit import Outcome, Place, State, Unit

__all__ = ["Expand", "Schedule", "Spent", "follow"]

#: Final states that leave nothing to build on.
_WITHOUT_RESULT = (State.FAILED, State.BLOCKED, State.QUARANTINED)

#: Gives the new units that follow from a unit that is done (the blocks of a tile).
Expand = Callable[[Outcome], Iterable[Unit]]


@dataclass
class _Entry:
    """A unit, its state, and the edges to the units that wait for it."""

    unit: Unit
    order: int
    cost: float
    state: State = State.WAITING
    n_open: int = 0
    outcome: Outcome | None = None
    needed_by: list[str] = field(default_factory=list)
    before: list[str] = field(default_factory=list)


@dataclass
class Spent:
    """What the units of one kind that ended in this run were predicted to cost, and what they took.

    Attributes
    ----------
    cost : float
        Sum of the predicted costs.
    seconds : float
        Sum of the wall-clock times [s].
    """

    cost: float = 0.0
    seconds: float = 0.0


def follow(outcome: Outcome, expand: Expand | None) -> tuple[Outcome, list[Unit]]:
    """Ask what follows from a unit that is done.

    Parameters
    ----------
    outcome : Outcome
        How the unit ended.
    expand : callable or None
        Gives the units that follow.

    Returns
    -------
    outcome : Outcome
        The same, or a failed one if the result is there and `expand` cannot use it: that costs this unit and what
        needs it, not the run.
    units : list of Unit
        What follows.
    """
    if expand is None or outcome.state is not State.DONE:
        return outcome, []
    try:
        return outcome, list(expand(outcome))
    except Exception as error:
        return outcome.failed_by(error), []


class Schedule:
    """The units of a run, their dependencies and their states.

    Which of the units that are ready is next, `ReadyQueue` says.  Nothing here depends on time.

    Parameters
    ----------
    model : CostModel, optional
        Predicts costs and learns from what units took; without it each unit keeps the cost that it came with.
    stock : float, optional
        As for `ReadyQueue` [s].
    """

    def __init__(self, model: CostModel | None = None, stock: float = 0.0) -> None:
        self.model = model or CostModel()
        self._stock = stock
        self._entries: dict[str, _Entry] = {}
        self._ready = ReadyQueue(stock)
        self._counts: dict[str, Counter[State]] = {}
        self._n_final = 0
        self._n_running = 0
        self._left: dict[str, float] = {}
        self._promised: dict[str, float] = {}
        self.n_restored = 0
        self.spent: dict[str, Spent] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, uid: object) -> bool:
        return uid in self._entries

    @property
    def complete(self) -> bool:
        """Whether every unit is done, failed or blocked."""
        return self._n_final == len(self._entries)

    @property
    def n_running(self) -> int:
        """Units that were given out and have not ended."""
        return self._n_running

    def unit(self, uid: str) -> Unit:
        """Return a unit by name."""
        return self._entries[uid].unit

    def state(self, uid: str) -> State:
        """Return the state of a unit."""
        return self._entries[uid].state

    def outcome(self, uid: str) -> Outcome | None:
        """Return the outcome of a unit, None while it has none."""
        return self._entries[uid].outcome

    def inputs(self, unit: Unit) -> dict[str, Place]:
        """Return where the results lie of those units before this one that are done."""
        places = {}
        for uid in (*unit.needs, *unit.after):
            outcome = self._entries[uid].outcome
            if outcome is not None and outcome.place is not None:
                places[uid] = outcome.place
        return places

    def add(self, units: Iterable[Unit]) -> list[Outcome]:
        """Add units; they may depend on one another and on any unit added before.

        Parameters
        ----------
        units : iterable of Unit
            The new units.

        Returns
        -------
        list of Outcome
            Those of the new units that are blocked from the start.

        Raises
        ------
        ValueError
            If a name is taken, a dependency unknown, or the dependencies form a cycle.  Nothing is added then.
        """
        new = self._check(list(units))
        for unit in new:
            entry = _Entry(unit, order=len(self._entries), cost=self.model.predict(unit))
            self._entries[unit.uid] = entry
            self._left[unit.kind] = self._left.get(unit.kind, 0.0) + entry.cost
            if unit.promised > 0.0:
                self._promised[unit.uid] = unit.promised
        blocked: list[Outcome] = []
        for unit in new:
            self._counts.setdefault(unit.kind, Counter())[State.WAITING] += 1
            self._connect(self._entries[unit.uid])
        for unit in new:
            entry = self._entries[unit.uid]
            if entry.state.final:
                continue  # blocked while an earlier one of this batch was
            cause = next((uid for uid in unit.needs if self.state(uid) in _WITHOUT_RESULT), None)
            if cause is not None:
                blocked += self._block(entry, self._cause(cause))
            elif entry.n_open == 0:
                self._make_ready(entry)
        return blocked

    def cost(self, uid: str) -> float:
        """Return the predicted time of a unit [s]."""
        return self._entries[uid].cost

    def next(self, longest: float = math.inf) -> Unit | None:
        """Take the unit to do next; None if none is ready.

        Parameters
        ----------
        longest : float, optional
            Leave units that are predicted to take longer [s].
        """
        uid = self._ready.take(longest)
        if uid is None:
            return None
        entry = self._entries[uid]
        self._move(entry, State.RUNNING)
        return entry.unit

    def put_back(self, uid: str) -> None:
        """Make a unit that was given out, and did not end, ready again.

        Raises
        ------
        ValueError
            If it is not running.
        """
        entry = self._entries[uid]
        if entry.state is not State.RUNNING:
            raise ValueError(f"unit {uid} cannot be put back: it is {entry.state}")
        self._make_ready(entry)

    def reprice(self) -> None:
        """Predict the costs of all units that have not ended anew, and order them by that."""
        self._left = dict.fromkeys(self._left, 0.0)
        self._ready = ReadyQueue(self._stock)
        for entry in self._entries.values():
            if entry.state.final:
                continue
            entry.cost = self.model.predict(entry.unit)
            self._left[entry.unit.kind] += entry.cost
            if entry.state is State.READY:
                self._ready.push(entry.unit, entry.cost, entry.order)
        for kind, spent in self.spent.items():
            if kind in self.model.kinds:
                spent.cost = spent.seconds  # the new prediction fits what was taken

    def finish(self, outcome: Outcome) -> list[Outcome]:
        """Record how a unit that was given out ended.

        Parameters
        ----------
        outcome : Outcome
            Done, failed or quarantined.

        Returns
        -------
        list of Outcome
            The units that are blocked because of it, directly and through others.

        Raises
        ------
        ValueError
            If the unit is not running, or the outcome is none of these.
        """
        entry = self._entries.get(outcome.uid)
        if entry is None or entry.state is not State.RUNNING:
            state = "unknown" if entry is None else f"{entry.state}"
            raise ValueError(f"unit {outcome.uid} ended ({outcome.state}) and was not running: it is {state}")
        if outcome.state not in (State.DONE, State.FAILED, State.QUARANTINED):
            raise ValueError(f"unit {outcome.uid} ended as {outcome.state}; that is no end of work")
        spent = self.spent.setdefault(entry.unit.kind, Spent())
        spent.cost += entry.cost
        spent.seconds += outcome.elapsed
        blocked = self._settle(entry, outcome)
        if outcome.state is State.DONE and not outcome.restored and self.model.learn(entry.unit, outcome.elapsed):
            self.reprice()
        return blocked

    def exclude(self, outcome: Outcome) -> list[Outcome]:
        """End a unit that was not given out: an earlier run put it in quarantine.

        Parameters
        ----------
        outcome : Outcome
            Its outcome then.

        Returns
        -------
        list of Outcome
            The units that are blocked because of it; nothing if the unit is unknown or has ended.
        """
        entry = self._entries.get(outcome.uid)
        if entry is None or entry.state not in (State.WAITING, State.READY):
            return []
        return self._settle(entry, outcome)

    def restore(self, places: Mapping[str, Place], expand: Expand | None = None) -> list[Outcome]:
        """Mark as done what an earlier run committed, and what follows from that, before the work starts.

        Parameters
        ----------
        places : mapping of str to Place
            Everything that is committed; units that this schedule does not have are ignored.
        expand : callable, optional
            As for the run itself: gives the units that follow from one that is done.

        Returns
        -------
        list of Outcome
            One per restored unit, in the order in which they were added; between them those of which the result
            cannot be expanded (failed) and what these block.
        """
        restored: list[Outcome] = []
        queue = list(self._entries)
        while queue:
            fresh: list[Unit] = []
            for uid in queue:
                entry = self._entries[uid]
                if uid not in places or entry.state not in (State.WAITING, State.READY):
                    continue
                outcome = Outcome(uid, entry.unit.kind, State.DONE, place=Place(*places[uid]), restored=True)
                outcome, children = follow(outcome, expand)
                self.n_restored += outcome.state is State.DONE
                restored.append(outcome)
                restored += self._settle(entry, outcome)
                fresh += children
            restored += self.add(fresh)
            queue = [unit.uid for unit in fresh]
        return restored

    def counts(self) -> dict[str, dict[str, int]]:
        """Return the number of units by kind and state; kinds in order of first appearance."""
        return {kind: {str(state): counter[state] for state in State} for kind, counter in self._counts.items()}

    def cost_left(self) -> dict[str, float]:
        """Return the predicted cost of everything that has not ended, by kind; `promised` for units to come."""
        left = {}
        for kind, counter in self._counts.items():
            is_open = any(counter[state] for state in State if not state.final)
            left[kind] = max(0.0, self._left[kind]) if is_open else 0.0  # no rounding residue at the end
        if self._promised:
            left["promised"] = sum(self._promised.values())
        return left

    def _check(self, new: list[Unit]) -> list[Unit]:
        """Return the new units as they are, or raise: names unique, dependencies known, no cycle."""
        batch: dict[str, Unit] = {}
        for unit in new:
            if unit.uid in self._entries or unit.uid in batch:
                raise ValueError(f"unit {unit.uid} is added twice")
            if not unit.cost >= 0.0:
                raise ValueError(f"unit {unit.uid} has the cost {unit.cost}; it must be a number >= 0")
            batch[unit.uid] = unit
        n_open = dict.fromkeys(batch, 0)
        waiting: dict[str, list[str]] = {}
        for unit in new:
            for uid in (*unit.needs, *unit.after):
                if uid in batch:
                    n_open[unit.uid] += 1
                    waiting.setdefault(uid, []).append(unit.uid)
                elif uid not in self._entries:
                    raise ValueError(f"unit {unit.uid} depends on {uid}, which is not a unit of this run")
        free = [uid for uid, n in n_open.items() if n == 0]
        for uid in free:  # grows while it is read: Kahn's algorithm
            for other in waiting.get(uid, ()):
                n_open[other] -= 1
                if n_open[other] == 0:
                    free.append(other)
        if len(free) < len(batch):
            raise ValueError(f"the dependencies form a cycle: {' -> '.join(self._cycle(batch, n_open))}")
        return new

    @staticmethod
    def _cycle(batch: Mapping[str, Unit], n_open: Mapping[str, int]) -> list[str]:
        """Return one cycle among the units that never become free."""
        path = [next(uid for uid, n in n_open.items() if n > 0)]
        while path[-1] not in path[:-1]:
            unit = batch[path[-1]]
            path.append(next(uid for uid in (*unit.needs, *unit.after) if n_open.get(uid, 0) > 0))
        return path[path.index(path[-1]) :]

    def _connect(self, entry: _Entry) -> None:
        """Register a new unit with those that it waits for."""
        for uid in entry.unit.needs:
            other = self._entries[uid]
            if not other.state.final:
                other.needed_by.append(entry.unit.uid)
                entry.n_open += 1
        for uid in entry.unit.after:
            other = self._entries[uid]
            if not other.state.final:
                other.before.append(entry.unit.uid)
                entry.n_open += 1

    def _move(self, entry: _Entry, state: State) -> None:
        counter = self._counts[entry.unit.kind]
        counter[entry.state] -= 1
        counter[state] += 1
        self._n_running += (state is State.RUNNING) - (entry.state is State.RUNNING)
        entry.state = state

    def _make_ready(self, entry: _Entry) -> None:
        self._move(entry, State.READY)
        self._ready.push(entry.unit, entry.cost, entry.order)

    def _close(self, entry: _Entry, outcome: Outcome) -> None:
        """Give a unit its final state."""
        if entry.state is State.READY:
            self._ready.drop(entry.unit)
        self._move(entry, outcome.state)
        entry.outcome = outcome
        self._n_final += 1
        self._left[entry.unit.kind] -= entry.cost
        self._promised.pop(entry.unit.uid, None)

    def _settle(self, entry: _Entry, outcome: Outcome) -> list[Outcome]:
        """Close a unit; release or block those that wait for it."""
        self._close(entry, outcome)
        blocked: list[Outcome] = []
        if outcome.state is not State.DONE:
            for uid in entry.needed_by:
                blocked += self._block(self._entries[uid], self._cause(outcome.uid))
            self._release(entry.before)
        else:
            self._release((*entry.needed_by, *entry.before))
        return blocked

    def _release(self, uids: Iterable[str]) -> None:
        for uid in uids:
            entry = self._entries[uid]
            entry.n_open -= 1
            if entry.n_open == 0 and entry.state is State.WAITING:
                self._make_ready(entry)

    def _block(self, first: _Entry, reason: str) -> list[Outcome]:
        """Block a unit and everything that needs it; what is merely after them goes on."""
        blocked: list[Outcome] = []
        stack = [first]
        while stack:
            entry = stack.pop()
            if entry.state.final:
                continue
            outcome = Outcome(entry.unit.uid, entry.unit.kind, State.BLOCKED, reason=reason)
            self._close(entry, outcome)
            blocked.append(outcome)
            stack.extend(self._entries[uid] for uid in entry.needed_by)
            self._release(entry.before)
        return blocked

    def _cause(self, uid: str) -> str:
        """Return why a unit is blocked that needs this one: the failure at the root, not each link of the chain."""
        outcome = self._entries[uid].outcome
        assert outcome is not None
        if outcome.state is State.BLOCKED:
            return outcome.reason
        return f"needs {uid}, which failed: {outcome.error}: {outcome.reason}"
