"""The master: rank 0's loop, which gives units to the workers that are free and books what becomes of them.

It never waits for one of them, and it never computes.  A unit that is given out is a lease: when its worker dies, or is
not heard of for too long, the unit goes to another one.
"""

from __future__ import annotations

import heapq
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from shapempi.mpi.comm import LOST, Comm, Message
from shapempi.mpi.deadline import Deadline
from shapempi.mpi.executor import Limits
from shapempi.mpi.protocol import (
    ASSIGN,
    BEAT,
    DRAIN,
    LOG,
    PROTOCOL,
    READY,
    RESULT,
    STOP,
    Assign,
    Beat,
    Pulse,
    Ready,
)
from shapempi.mpi.retry import RULES
from shapempi.mpi.schedule import Schedule
from shapempi.mpi.signals import Signals
from shapempi.mpi.unit import Failure, Outcome, Place, State, Unit

__all__ = ["Listener", "Master", "Policy", "Waiting"]

#: Longest time between two calls of the listener's tick, and shortest [s].
_TICK = 0.2
#: A unit is given out if this many times its predicted time are left.
_SURE = 1.5


def _nothing(*_: Any) -> None:
    """Do nothing."""


@dataclass(frozen=True)
class Listener:
    """Whoever wants to know.

    Attributes
    ----------
    outcome : callable
        Is told every final outcome, those of blocked units included, after the schedule knows it.
    event : callable
        Is told what else happens: name (`retry`, `lost`, `drain`, `log`) and plain values.
    tick : callable
        Called several times a second at most, also when nothing happens.
    """

    outcome: Callable[[Outcome], None] = _nothing
    event: Callable[[str, Mapping[str, Any]], None] = _nothing
    tick: Callable[[], None] = _nothing


@dataclass(frozen=True)
class Waiting:
    """How long to wait for what may never come.

    Attributes
    ----------
    late : float
        For ranks that have not said that they are there, when all units are finished [s].
    margin : float
        Kept free before the end of the allocation [s].
    grace : float
        For units that run when the system asks to end and does not say how much time is left [s].
    """

    late: float = 60.0
    margin: float = 60.0
    grace: float = 20.0


@dataclass(frozen=True)
class Policy:
    """How units are given out.

    Attributes
    ----------
    limits : Limits
        What a unit may take at its first attempt.
    deadline : Deadline
        The end of the allocation.
    pulse : Pulse
        How often workers beat, and when a silent one is lost.
    waiting : Waiting
        How long to wait.
    inputs_of : callable or None
        Gives the places that a unit needs to know; by default those of its dependencies that are done.
    prepare : callable or None
        Gives the unit as it is sent, completed by what is only known now.
    """

    limits: Limits = field(default_factory=Limits)
    deadline: Deadline = field(default_factory=Deadline)
    pulse: Pulse = field(default_factory=Pulse)
    waiting: Waiting = field(default_factory=Waiting)
    inputs_of: Callable[[Unit], Mapping[str, Place]] | None = None
    prepare: Callable[[Unit], Unit] | None = None


@dataclass
class _Lease:
    """A unit that one worker has."""

    worker: int
    uid: str
    heard: float


@dataclass
class _Past:
    """What became of earlier attempts at a unit."""

    failures: Counter[Failure] = field(default_factory=Counter)
    hosts: set[str] = field(default_factory=set)


class Master:
    """Has every unit of a schedule done.

    Parameters
    ----------
    comm : Comm
        The ranks; this one is rank 0, the others are workers.
    schedule : Schedule
        The units; what an earlier run committed is restored already.
    signals : Signals
        What the system asks for.
    policy : Policy, optional
        How units are given out.
    listener : Listener, optional
        Whoever wants to know.

    Attributes
    ----------
    draining : str
        Why no more units are given out; "" as long as they are.
    lost : set of int
        Workers that died or fell silent.
    """

    def __init__(
        self,
        comm: Comm,
        schedule: Schedule,
        signals: Signals,
        policy: Policy | None = None,
        listener: Listener | None = None,
    ) -> None:
        self._comm = comm
        self._schedule = schedule
        self._signals = signals
        self._policy = policy or Policy()
        self._listener = listener or Listener()
        self._inputs_of = self._policy.inputs_of or schedule.inputs
        self._idle: deque[int] = deque()
        self._absent = set(range(1, comm.size))
        self._hosts: dict[int, str] = {}
        self._leases: dict[int, _Lease] = {}
        self._paused: list[tuple[float, str]] = []
        self._past: dict[str, _Past] = {}
        self._n_lease = 0
        self._ticked = self._looked = time.monotonic()
        self._end: float | None = None
        self.draining = ""
        self.lost: set[int] = set()

    @property
    def n_worker(self) -> int:
        """Workers that are there, or may still come."""
        return self._comm.size - 1 - len(self.lost)

    @property
    def finished(self) -> bool:
        """Whether nothing more can be done: all units ended, or the run drains and nobody works, or nobody is left."""
        if self.n_worker == 0:
            return True
        if self._leases or (self._paused and not self.draining):
            return False
        if not self.draining and not self._schedule.complete:
            return False
        # A rank that starts late is owed its STOP, but not for ever: it may never come up.
        self._end = self._end or time.monotonic() + self._policy.waiting.late
        return not self._absent or time.monotonic() > self._end

    def run(self) -> None:
        """Serve the workers until nothing more can be done, then let them go."""
        while not self.finished:
            self.step(_TICK)
        self.close()

    def step(self, timeout: float) -> None:
        """Give out what can be given out, then wait for a message for at most `timeout` [s]."""
        self._signals.check()
        if self._signals.drain:
            self.drain(self._signals.drain)
        self._give_out()
        now = time.monotonic()
        if now - self._ticked >= _TICK:
            self._ticked = now
            self._listener.tick()
        if now - self._looked >= 1.0:
            self._looked = now
            self._look_at_clock(now)
        message = self._comm.receive(timeout)
        if message is not None:
            self._answer(message)
            self._give_out()

    def close(self) -> None:
        """Let the workers go."""
        for worker in range(1, self._comm.size):
            if worker not in self.lost:
                self._comm.send(bool(self.lost), worker, STOP)
        self._comm.flush(10.0)

    def drain(self, reason: str) -> None:
        """Give out no more units; those that run may end within the time that is left."""
        if self.draining:
            return
        self.draining = reason
        waiting = self._policy.waiting
        seconds = self._policy.deadline.left() - waiting.margin
        if reason == "SIGTERM" or not math.isfinite(seconds):
            seconds = min(seconds, waiting.grace)
        seconds = max(seconds, 0.0)
        self._listener.event("drain", {"reason": reason, "seconds": round(seconds, 1), "running": len(self._leases)})
        for lease in self._leases.values():
            self._comm.send(seconds, lease.worker, DRAIN)

    def _give_out(self) -> None:
        """Give ready units to free workers."""
        if self.draining:
            return
        now = time.monotonic()
        while self._paused and self._paused[0][0] <= now:
            self._schedule.put_back(heapq.heappop(self._paused)[1])
        if not self._idle:
            return
        longest = (self._policy.deadline.left() - self._policy.waiting.margin) / _SURE
        while self._idle and (unit := self._schedule.next(longest)) is not None:
            worker = self._choose(unit.uid)
            past = self._past.get(unit.uid)
            limits, attempt = self._policy.limits, 1
            if past is not None:
                for failure, n in past.failures.items():
                    limits = limits.times(RULES[failure].limits ** n)
                    attempt += n
            self._n_lease += 1
            sent = unit if self._policy.prepare is None else self._policy.prepare(unit)
            places, cost = dict(self._inputs_of(unit)), self._schedule.cost(unit.uid)
            self._leases[self._n_lease] = _Lease(worker, unit.uid, now)
            self._comm.send(Assign(self._n_lease, sent, places, limits, attempt, cost), worker, ASSIGN)

    def _choose(self, uid: str) -> int:
        """Take a free worker; for a unit that failed on some hosts, on another one if there is one."""
        past = self._past.get(uid)
        if past is not None and past.hosts:
            for worker in self._idle:
                if self._hosts[worker] not in past.hosts:
                    self._idle.remove(worker)
                    return worker
        return self._idle.popleft()

    def _look_at_clock(self, now: float) -> None:
        """Drain before the allocation ends, and take for lost who has been silent for too long."""
        left = self._policy.deadline.left()
        waits = self._leases or self._paused or self._schedule.complete
        nothing_fits = not waits and self._idle and math.isfinite(left)
        if left < self._policy.waiting.margin or nothing_fits:
            self.drain(f"the allocation ends ({self._policy.deadline.source})")
        silence = self._policy.pulse.silence
        for lease in list(self._leases.values()):
            if now - lease.heard > silence:
                self._lose(lease.worker, f"nothing was heard of it for {silence:.0f} s")

    def _answer(self, message: Message) -> None:
        worker, content = message.source, message.content
        if message.tag == RESULT:
            self._take(worker, *content)
        elif message.tag == BEAT:
            beat: Beat = content
            if (lease := self._leases.get(beat.lease)) is not None:
                lease.heard = time.monotonic()
            self._comm.send(None, worker, BEAT)
        elif message.tag == READY:
            self._welcome(worker, content)
        elif message.tag == LOST:
            self._lose(worker, "it has died")
        elif message.tag == DRAIN:
            self.drain(str(content))
        elif message.tag == LOG:
            self._listener.event("log", {"rank": worker, "text": str(content)})
        else:
            raise RuntimeError(f"rank {worker} sent an unexpected message with tag {message.tag}: {content}")

    def _welcome(self, worker: int, ready: Ready) -> None:
        if ready.version != PROTOCOL:
            raise RuntimeError(
                f"rank {worker} speaks protocol {ready.version}, this rank {PROTOCOL}: mixed installations"
            )
        self._absent.discard(worker)
        self._hosts[worker] = ready.host
        self._idle.append(worker)

    def _take(self, worker: int, number: int, outcome: Outcome) -> None:
        """Book the result of a lease; one that was given up comes too late, and its unit is done by another."""
        self.lost.discard(worker)
        self._idle.append(worker)
        lease = self._leases.pop(number, None)
        if lease is None:
            return
        if lease.worker != worker or lease.uid != outcome.uid:
            raise RuntimeError(f"rank {worker} answered for {outcome.uid}, which is not what it was given")
        self._book(outcome)

    def _book(self, outcome: Outcome) -> None:
        """Try a unit again that failed and may do better, or record how it ended and what follows."""
        if outcome.state is State.DONE:
            self._record(outcome)
            return
        failure = outcome.failure or Failure.SCIENCE
        if failure is Failure.STOPPED:
            self._schedule.put_back(outcome.uid)
            return
        rule, past = RULES[failure], self._past.setdefault(outcome.uid, _Past())
        past.failures[failure] += 1
        if past.failures[failure] > rule.n_more:
            self._record(replace(outcome, state=rule.end))
            return
        if rule.elsewhere and outcome.host:
            past.hosts.add(outcome.host)
        self._listener.event("retry", outcome.record())
        pause = rule.pause * 2.0 ** (past.failures[failure] - 1)
        heapq.heappush(self._paused, (time.monotonic() + pause, outcome.uid))

    def _record(self, outcome: Outcome) -> None:
        """Book a final outcome, add the units that follow, block what it makes impossible, and tell the listener."""
        try:
            added = self._schedule.add(outcome.children) if outcome.children else []
        except ValueError as error:  # a result that names units which cannot be costs its unit, not the run
            outcome, added = outcome.failed_by(error), []
        outcomes = [outcome, *self._schedule.finish(outcome), *added]
        for each in outcomes:
            self._listener.outcome(each)

    def _lose(self, worker: int, reason: str) -> None:
        """Go on without a worker; what it had goes to another."""
        if worker in self.lost:
            return
        self.lost.add(worker)
        self._absent.discard(worker)
        host = self._hosts.get(worker, "")
        if worker in self._idle:
            self._idle.remove(worker)
        numbers = [number for number, lease in self._leases.items() if lease.worker == worker]
        uids = [self._leases[number].uid for number in numbers]
        self._listener.event("lost", {"rank": worker, "host": host, "uid": " ".join(uids), "reason": reason})
        for number in numbers:
            uid = self._leases.pop(number).uid
            kind = self._schedule.unit(uid).kind
            outcome = Outcome(uid, kind, State.FAILED, failure=Failure.LOST, error="LostRankError", rank=worker)
            self._book(replace(outcome, host=host, reason=f"rank {worker} on {host or 'an unknown host'}: {reason}"))
