"""A worker: takes units from rank 0, one at a time, has them done, and answers with their outcomes."""

from __future__ import annotations

import os
import time
from dataclasses import replace

from shapempi.mpi.comm import LOST, Comm, Message
from shapempi.mpi.executor import Executor
from shapempi.mpi.protocol import ASSIGN, BEAT, DRAIN, LOG, PROTOCOL, READY, RESULT, STOP, Assign, Beat, Pulse, Ready
from shapempi.mpi.signals import Signals
from shapempi.mpi.unit import Failure, Outcome, State

__all__ = ["MasterLostError", "Worker"]


#: Notes of a rank that are sent to rank 0.
_NOTES = 5

#: Longest wait for a message before a look at the signals [s]; at the unit's limits while one is done [s].
_WAIT, _WAIT_BUSY = 0.5, 0.1


class MasterLostError(RuntimeError):
    """Rank 0 has died, or was not heard of for too long."""


class Worker:
    """One rank's loop.

    Parameters
    ----------
    comm : Comm
        The ranks; this one is not rank 0.
    executor : Executor
        Does the units.
    signals : Signals
        What the system asks for.
    pulse : Pulse, optional
        How often to give a sign of life, and how long to wait for one.

    Attributes
    ----------
    stopped : bool
        Whether rank 0 has said that all is done.
    ranks_lost : bool
        Whether it has said that ranks were lost.
    """

    def __init__(self, comm: Comm, executor: Executor, signals: Signals, pulse: Pulse | None = None) -> None:
        self._comm = comm
        self._executor = executor
        self._signals = signals
        self._pulse = pulse or Pulse()
        self._lease: Assign | None = None
        self._deadline: float | None = None
        self._said_drain = False
        self._n_note = 0
        self._beaten = self._heard = time.monotonic()
        self._begin = 0.0
        self.stopped = False
        self.ranks_lost = False
        comm.send(Ready(PROTOCOL, comm.host, os.getpid()), 0, READY)

    def run(self) -> None:
        """Work until rank 0 says stop.

        Raises
        ------
        MasterLostError
            If rank 0 has died.
        KeyboardInterrupt
            If a signal asks to stop at once.
        RuntimeError
            If a message comes that this program does not know.
        """
        while not self.stopped:
            self.step(_WAIT)
        self._comm.flush(10.0)

    def step(self, timeout: float) -> None:
        """Look after the unit, then wait for a message, or for the unit's end, for at most `timeout` [s]."""
        self._signals.check()
        if self._look_after_unit():
            return
        busy = self._lease is not None
        message = self._comm.receive(min(timeout, _WAIT_BUSY) if busy else timeout, self._executor.wake)
        if message is not None:
            self._heard = time.monotonic()
            self._answer(message)
        self._give_signs()

    def _look_after_unit(self) -> bool:
        """Send the outcome of a unit if it has ended; return whether it has."""
        if self._lease is None:
            return False
        outcome = self._executor.poll()
        if outcome is None and self._deadline is not None and time.monotonic() > self._deadline:
            outcome = self._executor.stop(Failure.STOPPED, "StoppedError", "the run ended before it did")
        if outcome is not None:
            self._report(outcome)
        return outcome is not None

    def _report(self, outcome: Outcome) -> None:
        lease, self._lease = self._lease, None
        assert lease is not None
        if outcome.uid != lease.unit.uid or outcome.state not in (State.DONE, State.FAILED):
            raise RuntimeError(f"unit {lease.unit.uid} was answered with {outcome.uid} {outcome.state}")
        outcome = replace(outcome, attempt=lease.attempt, cost=lease.cost, begin=outcome.begin or self._begin)
        self._comm.send((lease.lease, outcome), 0, RESULT)
        self._beaten = time.monotonic()

    def _answer(self, message: Message) -> None:
        if message.tag == ASSIGN:
            assign: Assign = message.content
            self._lease, self._begin = assign, time.time()
            self._executor.start(assign.unit, assign.places, assign.limits)
        elif message.tag == STOP:
            self.stopped, self.ranks_lost = True, bool(message.content)
        elif message.tag == DRAIN:
            self._deadline = time.monotonic() + float(message.content)
        elif message.tag == LOST and message.source == 0:
            raise MasterLostError("rank 0 has died; the same command goes on where it stopped")
        elif message.tag not in (BEAT, LOST):  # an answer to a beat, or the death of another worker: rank 0's affair
            raise RuntimeError(f"rank {message.source} sent an unexpected message with tag {message.tag}")

    def _give_signs(self) -> None:
        """Beat, pass on that this rank was asked to drain, and notice that rank 0 is silent."""
        now = time.monotonic()
        if self._signals.drain and not self._said_drain:
            self._said_drain = True
            self._comm.send(self._signals.drain, 0, DRAIN)
        while self._executor.notes:
            note = self._executor.notes.pop(0)
            if self._n_note < _NOTES:  # the first ones tell what there is to tell
                self._comm.send(note, 0, LOG)
            self._n_note += 1
        if now - self._beaten >= self._pulse.beat:
            self._beaten = now
            self._comm.send(Beat(self._lease.lease if self._lease else 0, self._executor.memory), 0, BEAT)
        if now - self._heard > self._pulse.silence:
            raise MasterLostError(
                f"nothing was heard of rank 0 for {self._pulse.silence:.0f} s; the same command goes on"
            )
