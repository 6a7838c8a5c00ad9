"""Rank 0 gives units to the ranks that ask; each does one at a time and answers with its outcome.

| tag | name   | direction     | content                       |
|-----|--------|---------------|-------------------------------|
| 1   | READY  | worker -> 0   | protocol version, host        |
| 2   | ASSIGN | 0 -> worker   | unit, places of its inputs    |
| 3   | RESULT | worker -> 0   | outcome; the worker is free   |
| 7   | STOP   | 0 -> worker   | nothing                       |

Messages are small, names travel in the content and never in the tag, there is no collective call, and rank 0 only
computes if it is alone.  A worker has at most one message on its way; rank 0 never waits for a send.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping

from shapempi.mpi.comm import Comm
from shapempi.mpi.schedule import Expand, Schedule, follow
from shapempi.mpi.unit import Outcome, Place, State, Unit

__all__ = ["Execute", "run_master", "run_worker"]

PROTOCOL = 1
READY, ASSIGN, RESULT, STOP = 1, 2, 3, 7

#: Longest time between two calls of `tick`, and shortest [s].
_TICK = 0.2
#: How long rank 0 waits, with all units finished, for ranks that have not said READY yet [s].
_LATE = 60.0

#: Does one unit: (unit, places of its inputs by uid) -> outcome.  It catches the unit's own exceptions.
Execute = Callable[[Unit, Mapping[str, Place]], Outcome]


class _Ledger:
    """What rank 0 does with every outcome, in a crew and alone."""

    def __init__(
        self,
        schedule: Schedule,
        on_outcome: Callable[[Outcome], None] | None,
        expand: Expand | None,
        inputs_of: Callable[[Unit], Mapping[str, Place]] | None,
        tick: Callable[[], None] | None,
    ) -> None:
        self.schedule = schedule
        self.inputs_of = inputs_of or schedule.inputs
        self._on_outcome = on_outcome
        self._expand = expand
        self._tick = tick
        self._last = time.monotonic()

    def record(self, outcome: Outcome) -> None:
        """Book an outcome, add what follows from it, block what it makes impossible, and tell the listener."""
        outcome, children = follow(outcome, self._expand)
        outcomes = [outcome, *self.schedule.finish(outcome)]
        outcomes += self.schedule.add(children)
        if self._on_outcome is not None:
            for each in outcomes:
                self._on_outcome(each)

    def tick(self) -> None:
        """Call the clock's listener, not more often than it makes sense."""
        now = time.monotonic()
        if self._tick is not None and now - self._last >= _TICK:
            self._last = now
            self._tick()

    def check(self) -> None:
        """Raise if units are open and none can ever run; the schedule's own checks make that impossible."""
        if not self.schedule.complete:
            raise RuntimeError(f"units are left that nothing can release: {self.schedule.counts()}")


def run_master(
    comm: Comm,
    schedule: Schedule,
    *,
    execute: Execute | None = None,
    on_outcome: Callable[[Outcome], None] | None = None,
    expand: Expand | None = None,
    inputs_of: Callable[[Unit], Mapping[str, Place]] | None = None,
    tick: Callable[[], None] | None = None,
) -> None:
    """Have every unit of a schedule done; returns when each is done, failed or blocked.

    Parameters
    ----------
    comm : Comm
        The ranks; this one is rank 0.
    schedule : Schedule
        The units; what an earlier run committed is restored already.
    execute : callable, optional
        Does one unit; only called, and only needed, if this rank is alone.
    on_outcome : callable, optional
        Is told every outcome, those of blocked units included, after the schedule knows it.
    expand : callable, optional
        Gives the units that follow from a unit that is done.  If it raises, that unit has failed.
    inputs_of : callable, optional
        Gives the places that a unit needs to know; by default those of its dependencies that are done.
    tick : callable, optional
        Called several times a second at most, also when nothing happens.

    Raises
    ------
    ValueError
        If the rank is alone and there is no `execute`.
    RuntimeError
        If a message comes that this program does not know.
    """
    ledger = _Ledger(schedule, on_outcome, expand, inputs_of, tick)
    if comm.size > 1:
        _lead(comm, ledger)
        return
    if execute is None:
        raise ValueError("a rank that is alone does the units itself and needs `execute`")
    while (unit := schedule.next()) is not None:
        ledger.record(execute(unit, ledger.inputs_of(unit)))
        ledger.tick()
    ledger.check()


def _lead(comm: Comm, ledger: _Ledger) -> None:
    """Serve the workers until all units are finished, then let them go."""
    idle: deque[int] = deque()
    silent = set(range(1, comm.size))
    busy: dict[int, str] = {}
    late: float | None = None
    while True:
        while idle and (unit := ledger.schedule.next()) is not None:
            worker = idle.popleft()
            busy[worker] = unit.uid
            comm.send((unit, dict(ledger.inputs_of(unit))), worker, ASSIGN)
        if not busy and (ledger.schedule.complete or idle):
            # A rank that starts late is owed its STOP, but not for ever: it may never come up.
            late = time.monotonic() + _LATE if late is None else late
            if not silent or time.monotonic() > late:
                break
        ledger.tick()
        message = comm.receive(_TICK)
        if message is None:
            continue
        worker = message.source
        if message.tag == READY:
            version, _host = message.content
            if version != PROTOCOL:
                raise RuntimeError(
                    f"rank {worker} speaks protocol {version}, this rank {PROTOCOL}: mixed installations"
                )
            silent.discard(worker)
        elif message.tag == RESULT and message.content.uid == busy.get(worker):
            del busy[worker]
            ledger.record(message.content)
        else:
            raise RuntimeError(f"rank {worker} sent an unexpected message with tag {message.tag}: {message.content}")
        idle.append(worker)
    ledger.check()
    for worker in range(1, comm.size):
        comm.send(None, worker, STOP)
    comm.flush()


def run_worker(comm: Comm, execute: Execute) -> int:
    """Do units for rank 0 until it says stop.

    Parameters
    ----------
    comm : Comm
        The ranks; this one is not rank 0.
    execute : callable
        Does one unit; catches the unit's own exceptions.  What it lets pass stops the run.

    Returns
    -------
    int
        Number of units done here.

    Raises
    ------
    RuntimeError
        If a message comes that this program does not know.
    """
    n_unit = 0
    comm.send((PROTOCOL, comm.host), 0, READY)
    while True:
        message = comm.receive()
        if message is None:
            continue
        if message.tag == STOP:
            comm.flush()
            return n_unit
        if message.tag != ASSIGN:
            raise RuntimeError(f"rank {message.source} sent an unexpected message with tag {message.tag}")
        unit, inputs = message.content
        outcome = execute(unit, inputs)
        if outcome.uid != unit.uid or outcome.state not in (State.DONE, State.FAILED):
            raise RuntimeError(f"execute answered {unit.uid} with {outcome.uid} {outcome.state}")
        comm.send(outcome, 0, RESULT)
        n_unit += 1
