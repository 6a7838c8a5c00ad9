"""Positions as people type them."""

import pytest

from shapempi.errors import ConfigError
from shapempi.field.angles import parse_corners, parse_position


@pytest.mark.parametrize(
    "words",
    [
        ["213.68", "54.79"],
        ["213.68deg_54.79deg"],
        ["213.68deg 54.79deg"],
        ["213.68,54.79"],
        ["213.68 deg", "54.79", "degrees"],
        ["573.68", "54.79"],
        ["14:14:43.2", "+54:47:24"],
        ["14:14:43.2 hours 54:47:24 degrees"],
        ["14h14m43.2s", "54d47m24s"],
        ["14", "14", "43.2", "+54", "47", "24"],
        ["14.245333333333333 hours", "54.79"],
    ],
)
def test_forms(words):
    assert parse_position(words) == pytest.approx((213.68, 54.79), abs=1e-9)


def test_signs_and_dots():
    assert parse_position(["-1.5", "-20.25deg"]) == (358.5, -20.25)
    assert parse_position(["213deg.54deg"]) == (213.0, 54.0)
    assert parse_position(["0:30:00", "-0:30:00"]) == pytest.approx((7.5, -0.5))
    assert parse_corners(["359", "-1", "361", "1"]) == (359.0, -1.0, 361.0, 1.0)
    assert parse_corners(["359deg_-1deg_1deg_1deg"]) == (359.0, -1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    "words",
    [
        ["213.68"],
        ["213deg.5"],
        ["1", "2", "3"],
        ["north", "pole"],
        ["10", "91"],
        ["nan", "0"],
        ["1e9", "0"],
        ["10:61:00", "5"],
        [""],
    ],
)
def test_what_is_no_position(words):
    with pytest.raises(ConfigError, match="--coord"):
        parse_position(words)
