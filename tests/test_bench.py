"""The benchmark runs and says what it measured; nothing here judges how fast anything is."""

import json

import numpy as np
import pytest

from shapempi import cli
from shapempi.bench.clock import Spread, machine, peak_rate, take_turns
from shapempi.bench.operations import count_fits, count_images
from shapempi.bench.stamps import PIXEL_SCALE, SIZE, simulate_stacks
from shapempi.catalog import SHEAR_TYPES
from shapempi.kernels import _isa
from shapempi.measure.shape_params import ShapeParams
from shapempi.measure.shape_table import Fits
from shapempi.measure.shapes import measure_shapes

STRAIGHT = np.array([PIXEL_SCALE, 0.0, 0.0, PIXEL_SCALE])


def test_the_stamps_are_measurable_and_not_exactly_straight():
    stacks = simulate_stacks(4, 3, np.random.default_rng(1))
    assert stacks.image.shape == (12, SIZE, SIZE)
    np.testing.assert_array_equal(stacks.first, [0, 3, 6, 9, 12])
    assert (stacks.jacobian != 0).all()
    areas = stacks.jacobian[:, 0] * stacks.jacobian[:, 3] - stacks.jacobian[:, 1] * stacks.jacobian[:, 2]
    np.testing.assert_allclose(areas, PIXEL_SCALE**2)
    table = measure_shapes(stacks, ShapeParams(), seed=(1, 2, 3))
    assert (table["flags"] == 0).all()
    assert (table["s2n_noshear"] > 10).all()
    again = simulate_stacks(4, 3, np.random.default_rng(1))
    np.testing.assert_array_equal(stacks.image, again.image)


def test_turns_are_taken_and_the_spread_is_of_the_turns_only():
    calls = []
    times = take_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3)
    assert calls == ["a", "b"] * 4
    assert times["a"].n == times["b"].n == 3
    calls.clear()
    take_turns({"a": lambda: calls.append("a")}, 2, before=False)
    assert calls == ["a"] * 2
    spread = Spread.of([3.0, 1.0, 2.0, 100.0, 2.0])
    assert spread.median == 2.0
    assert spread.low <= spread.median <= spread.high < 100.0
    assert spread.scaled(2.0).median == 4.0


def test_the_peak_of_single_precision_is_about_twice_that_of_double():
    double, single = peak_rate(), peak_rate(single=True)
    assert 1e8 < double < 1e12
    assert 1.2 < single / double < 3.0
    assert machine()["processor"]


def brute_force_images(h, size, rows, columns, points, s=3):
    """Return the multiply-adds of one type, and of what is done once."""
    forward = sum(8 * s * h for _ in range(rows)) + sum(4 * s * h + 8 * (s - 1) for _ in range(points))
    inverse = sum(4 * (s - 1) * h for _ in range(points)) + columns * (s - 1) * (8 * h + 2 * size * h)
    return forward + inverse + 8 * h * (rows + columns), 4 * s * h * h * rows


def test_operations_of_images_are_those_of_the_points_inside_the_target():
    """The target ends at a circle on the lattice; a given maximal wavenumber cuts a smaller one."""
    size, period = 51, 64
    step = 2.0 * np.pi / period / PIXEL_SCALE
    for radius, sigma, max_k in ((20.3, np.sqrt(23.025850929940457) / (20.3 * step), 1e9), (10.4, 1e-9, 10.4 * step)):
        i, j = np.meshgrid(np.arange(32 + 1), np.arange(32 + 1))
        inside = np.hypot(i, j) <= radius
        once, rest = brute_force_images(26, size, int(radius) + 1, int(radius) + 1, int(inside.sum()))
        assert count_images(STRAIGHT, sigma, max_k, ("noshear",), 0.01, size, period) == once + rest
    one = count_images(STRAIGHT, 0.33, 13.0, ("noshear",), 0.01, size, period)
    five = count_images(STRAIGHT, 0.33, 13.0, SHEAR_TYPES, 0.01, size, period)
    assert 3.5 * one < five < 5 * one


def test_operations_of_fits_are_those_of_the_pixels_inside_the_model():
    T, sigma = 0.3, 0.35
    parameters = np.array([[[0.0, 0.0, 0.0, 0.0, T, 100.0], [0.0, 0.0, 0.0, 0.0, T, 100.0]]])
    flags = np.array([[0, 512]], np.int32)
    fits = Fits(parameters, parameters, np.ones((1, 2)), flags, np.array([[7, 3]], np.int32))
    x = (np.arange(SIZE) - SIZE // 2) * PIXEL_SCALE
    radius = 6.0 * np.sqrt(0.5 * T + sigma**2)
    n_pixel = np.count_nonzero(np.hypot(x[:, None], x[None, :]) < radius)
    found = count_fits(fits, np.array([0, 1]), STRAIGHT[None], np.array([sigma]), np.zeros((1, 2)), SIZE)
    assert found == 15 * 7 * n_pixel + 2 * 2 * SIZE**2


def test_the_verb_prints_tables_and_writes_the_numbers(tmp_path, capsys):
    target = tmp_path / "bench.json"
    assert cli.main(["bench", "shapes", "--objects", "1", "--repeats", "2", "--json", str(target)]) == 0
    printed = capsys.readouterr()
    assert "peak of a core" in printed.out
    assert "| 3 | float64 | five fits |" in printed.out
    assert "native engine" in printed.err
    found = json.loads(target.read_text())
    assert [(run["n_epoch"], run["precision"]) for run in found["native"]] == [
        (n, precision) for n in (1, 3, 5) for precision in ("float64", "float32")
    ]
    for run in found["native"]:
        assert all(part["median"] > 0 for part in run["parts"].values())
        assert 0 < run["image_fraction"] < 1
        assert 0 < run["fit_fraction"] < 1
    assert found["others"]["3"]["galsim"]["median"] > 0
    assert list(found["instruction_sets"]) == list(_isa.available())
    assert ("ngmix" in found["machine"]) != bool(found["without"])


@pytest.mark.parametrize("arguments", [["--objects", "0"], ["--repeats", "-1"], ["--json", "no/such/folder/file"]])
def test_what_cannot_be_done_is_said(arguments, capsys):
    assert cli.main(["bench", "shapes", *arguments]) == 2
    assert arguments[0] in capsys.readouterr().err
