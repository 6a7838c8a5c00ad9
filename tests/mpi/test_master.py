"""The master by itself: workers that die, fall silent, fail, and an allocation that ends, told to it by hand."""

import time
from collections import deque

import pytest

from shapempi.mpi.comm import LOST, Message
from shapempi.mpi.deadline import Deadline
from shapempi.mpi.executor import Limits
from shapempi.mpi.master import Listener, Master, Policy, Waiting
from shapempi.mpi.protocol import ASSIGN, BEAT, DRAIN, LOG, PROTOCOL, READY, RESULT, STOP, Beat, Pulse, Ready
from shapempi.mpi.schedule import Schedule
from shapempi.mpi.signals import Signals
from shapempi.mpi.unit import Failure, Outcome, State, Unit


class Post:
    """What arrives at rank 0, and what it sends."""

    rank = 0
    host = "n0"

    def __init__(self, n_worker):
        self.size = n_worker + 1
        self.inbox = deque()
        self.sent = []

    def send(self, content, dest, tag):
        self.sent.append(Message(dest, tag, content))

    def receive(self, timeout=None, wake=None):
        if self.inbox:
            return self.inbox.popleft()
        time.sleep(min(timeout, 0.005))
        return None

    def flush(self, timeout=None):
        pass

    def take(self, tag):
        """Return and forget what was sent with a tag."""
        found = [message for message in self.sent if message.tag == tag]
        self.sent = [message for message in self.sent if message.tag != tag]
        return found


class Office:
    """A master with workers on hosts n1, n2, ... and a list of what it told."""

    def __init__(self, n_worker=2, units=(), **policy):
        self.post = Post(n_worker)
        self.schedule = Schedule()
        self.schedule.add(units or [Unit(f"u{k}", "x", cost=10.0 - k) for k in range(4)])
        self.outcomes, self.events = [], []
        self.signals = Signals()
        listener = Listener(self.outcomes.append, lambda name, values: self.events.append((name, values)))
        self.master = Master(self.post, self.schedule, self.signals, Policy(**policy), listener)
        for worker in range(1, n_worker + 1):
            self.say(worker, READY, Ready(PROTOCOL, f"n{worker}", 1000 + worker))

    def say(self, worker, tag, content):
        self.post.inbox.append(Message(worker, tag, content))
        self.go()

    def go(self, n=1):
        for _ in range(n + len(self.post.inbox)):
            self.master.step(0.001)

    def leases(self):
        """Return what was given out since the last time, by worker."""
        return {message.source: message.content for message in self.post.take(ASSIGN)}

    def answer(self, worker, assign, failure=None, **values):
        state = State.FAILED if failure else State.DONE
        outcome = Outcome(assign.unit.uid, "x", state, failure=failure, rank=worker, host=f"n{worker}", **values)
        self.say(worker, RESULT, (assign.lease, outcome))

    def states(self):
        return {uid: str(self.schedule.state(uid)) for uid in ("u0", "u1", "u2", "u3")}


def test_the_costliest_first_and_everyone_is_let_go():
    office = Office()
    given = office.leases()
    assert {worker: lease.unit.uid for worker, lease in given.items()} == {1: "u0", 2: "u1"}
    assert given[1].attempt == 1
    assert given[1].cost == 10.0
    while not office.master.finished:
        for worker, lease in given.items():
            office.answer(worker, lease)
        given = office.leases()
    office.master.close()
    assert [(message.source, message.content) for message in office.post.take(STOP)] == [(1, False), (2, False)]
    assert len(office.outcomes) == 4


def test_what_a_dead_worker_had_goes_to_another_and_twice_is_enough():
    office = Office(n_worker=3)
    given = office.leases()
    office.say(1, LOST, None)
    assert office.master.n_worker == 2
    assert office.events[0][0] == "lost"
    assert office.events[0][1]["uid"] == "u0"
    office.answer(2, given[2])
    office.go(3)
    again = office.leases()[2]
    assert (again.unit.uid, again.attempt) == ("u0", 2)
    office.say(2, LOST, None)
    (outcome,) = [outcome for outcome in office.outcomes if outcome.uid == "u0"]
    assert (outcome.state, outcome.failure) == (State.QUARANTINED, Failure.LOST)
    assert "rank 2 on n2" in outcome.reason
    office.answer(3, given[3])
    while lease := office.leases().get(3):
        office.answer(3, lease)
    assert office.master.finished
    assert office.schedule.complete
    office.master.close()
    assert [(message.source, message.content) for message in office.post.take(STOP)] == [(3, True)]


def test_the_last_worker_dies():
    office = Office(n_worker=1)
    office.say(1, LOST, None)
    assert office.master.finished
    assert not office.schedule.complete


def test_a_worker_that_beats_is_alive_and_one_that_does_not_is_lost():
    office = Office(pulse=Pulse(beat=0.1, silence=1.5))
    given = office.leases()
    end = time.monotonic() + 4.0
    while time.monotonic() < end and not office.master.lost:
        office.say(1, BEAT, Beat(given[1].lease, 0))
        time.sleep(0.05)
    assert office.master.lost == {2}
    assert any(message.source == 1 for message in office.post.take(BEAT))  # each beat is answered
    # It comes back: its result is too late, but it works again.
    office.answer(2, given[2])
    assert office.master.lost == set()
    assert office.schedule.state("u1") is not State.DONE
    assert 2 in office.leases()


@pytest.mark.parametrize(
    ("failure", "n_attempt", "end"),
    [
        (Failure.SCIENCE, 1, "failed"),
        (Failure.CRASH, 2, "failed"),
        (Failure.MEMORY, 2, "failed"),
        (Failure.TIMEOUT, 2, "failed"),
    ],
)
def test_each_class_of_failure_has_its_number_of_attempts(failure, n_attempt, end):
    office = Office(n_worker=1, units=[Unit("u0", "x")], limits=Limits(10.0, 100))
    for attempt in range(1, n_attempt + 1):
        office.go(3)
        lease = office.leases()[1]
        assert lease.attempt == attempt
        doubled = failure in (Failure.MEMORY, Failure.TIMEOUT) and attempt == 2
        assert lease.limits == (Limits(20.0, 200) if doubled else Limits(10.0, 100))
        office.answer(1, lease, failure, error="E", reason="r")
    assert [str(outcome.state) for outcome in office.outcomes] == [end]
    assert [name for name, _ in office.events] == ["retry"] * (n_attempt - 1)
    assert office.master.finished


def test_a_file_system_that_fails_is_given_time_and_another_host(monkeypatch):
    office = Office(n_worker=2, units=[Unit("u0", "x")])
    lease = office.leases()[1]
    office.answer(1, lease, Failure.IO, error="OSError", reason="stale")
    office.go(5)
    assert office.leases() == {}  # not yet
    later = time.monotonic() + 5.0
    monkeypatch.setattr("shapempi.mpi.master.time.monotonic", lambda: later)
    office.go(3)
    assert set(office.leases()) == {2}


def test_drain_by_signal_lets_units_end_for_a_while():
    office = Office(waiting=Waiting(grace=7.0))
    given = office.leases()
    office.signals.drain = "SIGTERM"
    office.go()
    assert [(message.source, message.content) for message in office.post.take(DRAIN)] == [(1, 7.0), (2, 7.0)]
    office.answer(1, given[1])
    assert office.leases() == {}
    assert not office.master.finished
    office.answer(2, given[2], Failure.STOPPED)
    assert office.master.finished
    assert office.states() == {"u0": "done", "u1": "ready", "u2": "ready", "u3": "ready"}


def test_drain_by_one_worker_is_for_all():
    office = Office()
    office.say(2, DRAIN, "SIGUSR1")
    assert office.master.draining == "SIGUSR1"


def test_only_what_ends_in_time_is_given_out():
    units = [Unit("u0", "x", cost=100.0), Unit("u1", "x", cost=1.0), Unit("u2", "x", cost=2.0)]
    office = Office(
        n_worker=1, units=units, deadline=Deadline(time.time() + 10.0, "--walltime"), waiting=Waiting(margin=1.0)
    )
    lease = office.leases()[1]
    assert lease.unit.uid == "u2"
    office.answer(1, lease)
    lease = office.leases()[1]
    assert lease.unit.uid == "u1"
    office.answer(1, lease)
    end = time.monotonic() + 5.0
    while not office.master.finished and time.monotonic() < end:
        office.go()
    assert office.master.finished
    assert "--walltime" in office.master.draining
    assert str(office.schedule.state("u0")) == "ready"


def test_what_a_worker_notes_is_told():
    office = Office()
    office.say(2, LOG, "something odd")
    assert office.events == [("log", {"rank": 2, "text": "something odd"})]


def test_mixed_installations_are_refused():
    office = Office()
    with pytest.raises(RuntimeError, match="mixed installations"):
        office.say(1, READY, Ready(PROTOCOL + 1, "n1", 1))


def test_an_answer_for_another_unit_is_a_bug_that_shows():
    office = Office()
    given = office.leases()
    with pytest.raises(RuntimeError, match="not what it was given"):
        office.say(1, RESULT, (given[2].lease, Outcome("u1", "x", State.DONE)))
