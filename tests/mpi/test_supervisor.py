"""A child that crashes, hangs, eats memory or is killed costs its unit, and the next unit is done as if nothing was."""

import ctypes
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from shapempi.mpi.attempt import attempt
from shapempi.mpi.executor import Inline, Limits
from shapempi.mpi.nursery import Nursery
from shapempi.mpi.supervisor import Supervised, serve
from shapempi.mpi.unit import Failure, Outcome, Place, State, Unit
from shapempi.selftest.launch import runs

PATIENT = Limits(60.0, 2 * 2**30)
PLACE = Place("parts/0001/rank-00001.h5", "/units/x#0", 1, 2)


def no_end():
    re.match(r"(a|a)*b", "a" * 100)


def memory_bomb():
    taken = []
    while True:
        taken.append(bytearray(32 * 2**20))


def with_program(path):
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    Path(path).write_text(str(process.pid))
    time.sleep(600)


DEEDS = {
    "segv": lambda: ctypes.string_at(0),
    "abort": os.abort,
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "exit": lambda: os._exit(3),
    "hang": no_end,
    "bomb": memory_bomb,
    "raise": lambda: 1 / 0,
    "sys.exit": lambda: exit(5),
    "python loop": lambda: time.sleep(600),
}


def make(setup, number):
    """Make what does a unit in the child."""

    def work(unit, inputs, stopwatch):
        deed = unit.payload.get("deed")
        if deed == "program":
            with_program(setup)
        elif deed:
            DEEDS[deed]()
        return Place(inputs["a"].file, f"child {number}, process {os.getpid()}", 1, 2)

    def execute(unit, inputs):
        return attempt(work, unit, inputs, rank=3, host="n1")

    return execute


def failing(setup, number):
    raise RuntimeError("nothing to work with")


@pytest.fixture
def supervised(tmp_path):
    executor = Supervised(Nursery.start(serve), make, str(tmp_path / "pid"), rank=3, host="n1")
    yield executor
    executor.close()


def do(executor, deed=None, limits=PATIENT, timeout=60.0):
    """Do one unit to its end; return outcome and time."""
    start = time.monotonic()
    executor.start(Unit("ccd:1", "ccd", payload={"deed": deed}), {"a": PLACE}, limits)
    while (outcome := executor.poll()) is None:
        assert time.monotonic() - start < timeout
        time.sleep(0.005)
    return outcome, time.monotonic() - start


def test_units_are_done_by_one_child(supervised):
    groups = {do(supervised)[0].place.group for _ in range(3)}
    assert len(groups) == 1
    outcome, _ = do(supervised)
    assert (outcome.state, outcome.rank, outcome.host, outcome.place.file) == (State.DONE, 3, "n1", PLACE.file)
    assert outcome.begin > 1e9
    assert supervised.wake is None
    assert str(os.getpid()) not in outcome.place.group


@pytest.mark.parametrize(
    ("deed", "error", "words"),
    [
        ("segv", "CrashError", "SIGSEGV"),
        ("abort", "CrashError", "SIGABRT"),
        ("kill", "KilledError", "SIGKILL"),
        ("exit", "CrashError", "exit code 3"),
    ],
)
def test_the_death_of_a_child_costs_one_unit(supervised, deed, error, words):
    assert do(supervised)[0].state is State.DONE
    outcome, _ = do(supervised, deed)
    assert (outcome.state, outcome.failure, outcome.error) == (State.FAILED, Failure.CRASH, error)
    assert words in outcome.reason
    if deed in ("segv", "abort"):
        assert "DEEDS" in outcome.traceback or "string_at" in outcome.traceback or "work" in outcome.traceback
    after, _ = do(supervised)
    assert after.state is State.DONE
    assert "child 1," in after.place.group


def test_exceptions_cost_the_unit_and_not_the_child(supervised):
    first, _ = do(supervised)
    for deed, error in (("raise", "ZeroDivisionError"), ("sys.exit", "SystemExit")):
        outcome, _ = do(supervised, deed)
        assert (outcome.failure, outcome.error) == (Failure.SCIENCE, error)
        assert "Traceback" in outcome.traceback
    assert do(supervised)[0].place.group == first.place.group


@pytest.mark.parametrize("deed", ["hang", "python loop"])
def test_a_unit_without_end_meets_its_limit(supervised, deed):
    outcome, seconds = do(supervised, deed, Limits(0.5, 0))
    assert (outcome.failure, outcome.error) == (Failure.TIMEOUT, "TimeLimitError")
    assert "run.time_limit" in outcome.reason
    assert 0.5 <= seconds < 30.0
    assert "work" in outcome.traceback  # where it was
    assert do(supervised)[0].state is State.DONE


def test_memory_without_bound_meets_its_limit(supervised):
    outcome, _ = do(supervised, "bomb", Limits(60.0, 300 * 2**20))
    assert outcome.failure is Failure.MEMORY
    assert outcome.error in ("MemoryLimitError", "MemoryError")
    assert outcome.rss_peak < 2 * 2**30
    assert do(supervised)[0].state is State.DONE


def test_a_unit_can_be_stopped(supervised):
    supervised.start(Unit("ccd:1", "ccd", payload={"deed": "hang"}), {"a": PLACE}, PATIENT)
    time.sleep(0.2)
    outcome = supervised.stop(Failure.STOPPED, "StoppedError", "because")
    assert (outcome.failure, outcome.reason) == (Failure.STOPPED, "because")
    with pytest.raises(RuntimeError, match="no unit"):
        supervised.stop(Failure.STOPPED, "StoppedError", "again")
    assert do(supervised)[0].state is State.DONE


def test_a_child_that_dies_between_units_costs_nothing(supervised):
    outcome, _ = do(supervised)
    pid = int(outcome.place.group.rpartition(" ")[2])
    os.kill(pid, signal.SIGKILL)
    while runs(pid):
        time.sleep(0.01)
    again, _ = do(supervised)
    assert again.state is State.DONE
    assert "child 1," in again.place.group
    assert supervised.notes == ["a child ended (-9) while it had nothing to do; there is a new one"]


def test_programs_of_a_child_end_with_it(supervised, tmp_path):
    outcome, _ = do(supervised, "program", Limits(2.0, 0))
    assert outcome.failure is Failure.TIMEOUT
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 10.0
    while runs(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not runs(pid)


def test_a_child_that_cannot_begin_says_why():
    executor = Supervised(Nursery.start(serve), failing, None)
    outcome, _ = do(executor)
    assert outcome.failure is Failure.CRASH
    assert "nothing to work with" in outcome.traceback
    executor.close()


def test_nothing_is_left_at_the_end(tmp_path):
    executor = Supervised(Nursery.start(serve), make, None)
    outcome, _ = do(executor)
    pid = int(outcome.place.group.rpartition(" ")[2])
    assert runs(pid)
    executor.close()
    assert not runs(pid)


def test_a_large_message_arrives_whole():
    executor = Supervised(Nursery.start(serve), echo, None)
    payload = {"text": "x" * 5_000_000}
    executor.start(Unit("ccd:1", "ccd", payload=payload), {}, PATIENT)
    while (outcome := executor.poll()) is None:
        time.sleep(0.005)
    assert outcome.reason == payload["text"]
    executor.close()


def echo(setup, number):
    return lambda unit, inputs: Outcome(unit.uid, unit.kind, State.DONE, reason=unit.payload["text"])


def test_in_process_there_is_nothing_to_stop():
    closed = []
    executor = Inline(lambda unit, inputs: Outcome(unit.uid, unit.kind, State.DONE), lambda: closed.append(1))
    executor.start(Unit("a", "x"), {}, Limits())
    assert executor.poll().uid == "a"
    assert executor.poll() is None
    with pytest.raises(RuntimeError):
        executor.stop(Failure.STOPPED, "", "")
    executor.close()
    assert closed == [1]
