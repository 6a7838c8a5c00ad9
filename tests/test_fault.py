"""Faults on purpose strike where they are asked to, and no more often."""

import pytest

from shapempi.errors import ConfigError, MeasurementError
from shapempi.fault import VARIABLE, Fault


def fault(tmp_path, text):
    return Fault.read({VARIABLE: text}, tmp_path / "faults", 1)


def test_nothing_without_the_variable(tmp_path):
    assert Fault.read({}, tmp_path, 1) is None


@pytest.mark.parametrize(
    "text", ["segv", "nothing:begin:ccd:*:1", "segv:sometime:ccd:*:1", "segv:begin::1", "segv:begin:ccd:*:x"]
)
def test_what_cannot_be_understood_is_refused(tmp_path, text):
    with pytest.raises(ConfigError, match="KIND:MOMENT:UNITS:TIMES"):
        fault(tmp_path, text)


def test_moment_unit_and_number(tmp_path):
    made = fault(tmp_path, "raise:written:block:241.293:*:2")
    made.strike("begin", "block:241.293:1")
    made.strike("written", "block:241.294:1")
    for _ in range(2):
        with pytest.raises(MeasurementError):
            made.strike("written", "block:241.293:1")
    made.strike("written", "block:241.293:1")
    fault(tmp_path, "raise:written:block:241.293:*:2").strike("written", "block:241.293:2")  # another process
    assert len(list((tmp_path / "faults").iterdir())) == 2
