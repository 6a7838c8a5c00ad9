"""One unit and what can come out of it."""

import sys
import time

import pytest

from shapempi.errors import DataError
from shapempi.mpi.attempt import Stopwatch, attempt
from shapempi.mpi.unit import Place, State, Unit

UNIT = Unit("ccd:1", "ccd", payload={"ccd": 1})
PLACE = Place("parts/0001/rank-00001.h5", "/units/ccd:1#0", 1, 2)


def test_done():
    def work(unit, inputs, stopwatch):
        assert (unit, inputs) == (UNIT, {"a": PLACE})
        with stopwatch("one"):
            time.sleep(0.02)
        with stopwatch("one"):
            sum(range(200_000))
        return PLACE

    outcome = attempt(work, UNIT, {"a": PLACE}, rank=3, host="n1")
    assert (outcome.uid, outcome.kind, outcome.state, outcome.place) == ("ccd:1", "ccd", State.DONE, PLACE)
    assert (outcome.rank, outcome.host) == (3, "n1")
    assert 0.02 < outcome.seconds["one"] <= outcome.elapsed
    assert 0.0 < outcome.cpu
    assert 10e6 < outcome.rss_peak < 100e9
    record = outcome.record()
    assert record["place"] == list(PLACE)
    assert record["state"] == "done"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (DataError("x.fits: truncated\nsecond line"), "x.fits: truncated"),
        (ZeroDivisionError(), "(no message)"),
        (MemoryError("8 GiB"), "8 GiB"),
        (SystemExit(3), "3"),
    ],
)
def test_failed(error, reason):
    def work(unit, inputs, stopwatch):
        with stopwatch("read"):
            raise error

    outcome = attempt(work, UNIT, {})
    assert outcome.state is State.FAILED
    assert (outcome.error, outcome.reason, outcome.place) == (type(error).__name__, reason, None)
    assert "in work" in outcome.traceback
    assert "read" in outcome.seconds


def test_keyboard_interrupt_passes():
    def work(unit, inputs, stopwatch):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attempt(work, UNIT, {})


def test_deep_recursion_is_a_failure():
    def work(unit, inputs, stopwatch):
        return work(unit, inputs, stopwatch)

    outcome = attempt(work, UNIT, {})
    assert outcome.error == "RecursionError"
    assert sys.getrecursionlimit() > 100


def test_stopwatch_counts_a_stage_that_raises():
    stopwatch = Stopwatch()
    with pytest.raises(ValueError, match="x"), stopwatch("a"):
        raise ValueError("x")
    assert list(stopwatch.seconds) == ["a"]
