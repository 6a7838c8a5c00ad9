"""Simulated shears come back from the default engine: a short version of docs/accuracy.md, which has the numbers.

Limits are those of the long version, widened by the errors of the smaller samples.
"""

import pytest

from shapempi.calibration.estimate import change, estimate
from shapempi.calibration.params import CalibrationParams, CaseParams
from shapempi.calibration.trial import Trial
from shapempi.measure.shape_params import ShapeParams

PARAMS = CalibrationParams(seed=11)
SHAPES = ShapeParams()
DEFAULT = {case.name: case for case in PARAMS.cases}

#: m of a shear of 0.02 is of second order in the shear (Sheldon & Huff 2017; ngmix's metacalibration has the same).
SECOND_ORDER = 3.4e-4


def measure(case, n_pair):
    case = CaseParams.model_validate({**case.model_dump(), "pairs": n_pair})
    trial = Trial(case, SHAPES, size=51, seed=PARAMS.seed, batch=64)
    n = n_pair // 20
    patches = ((f"{index:02d}", trial.measure(range(index * n, (index + 1) * n))) for index in range(20))
    return estimate(case, PARAMS, SHAPES.step, patches)


@pytest.fixture(scope="module")
def bright():
    return measure(DEFAULT["bright"], 1000)


def check(result, name, expected, limit, n_sigma=3.0, largest_error=None):
    quantity = result.quantities[name]
    text = f"{result.name}: {name} = {quantity.value:+.6f} +- {quantity.error:.6f}"
    assert abs(quantity.value - expected) < limit + n_sigma * quantity.error, text
    if largest_error is not None:
        assert quantity.error < largest_error, text


def test_bright_galaxies(bright):
    assert bright.n_used == 1000
    check(bright, "m", SECOND_ORDER, 5e-4, largest_error=4e-4)
    check(bright, "m_cross", 0.0, 5e-4, largest_error=4e-4)
    for name in ("c1", "c2"):
        check(bright, name, 0.0, 1e-4, largest_error=2e-4)


def test_faint_galaxies():
    result = measure(DEFAULT["faint"], 1600)
    assert result.n_used > 0.99 * 1600
    check(result, "m", 0.0, 1e-3, largest_error=8e-3)
    for name in ("c1", "c2"):
        check(result, name, 0.0, 1e-4, largest_error=2e-3)


def test_sheared_rotated_and_mirrored_pixels():
    result = measure(DEFAULT["wcs_bright"], 400)
    check(result, "m", SECOND_ORDER, 5e-4, largest_error=8e-4)
    for name in ("c1", "c2"):
        check(result, name, 0.0, 1e-4, largest_error=3e-4)


def test_an_elliptic_psf_does_not_leak():
    result = measure(DEFAULT["psf"], 800)
    check(result, "alpha", 0.0, 0.01, n_sigma=2.0, largest_error=0.01)


def test_stars_do_not_respond():
    result = measure(DEFAULT["stars"], 1600)
    for name in ("R11", "R22"):
        check(result, name, 0.0, 0.03, largest_error=0.03)


def test_masked_pixels_change_little(bright):
    result = change(measure(DEFAULT["masked_bright"], 1000), bright)
    check(result, "dm", 0.0, 2e-3, n_sigma=2.0, largest_error=3e-4)


def test_single_precision_changes_nothing(bright):
    result = change(measure(DEFAULT["single"], 1000), bright)
    check(result, "dm", 0.0, 1e-4, n_sigma=0.0, largest_error=1e-5)


def test_the_selection_response_takes_the_selection_bias_away():
    result = measure(DEFAULT["cut"], 1600)
    assert 0.5 < result.cut_fraction < 0.9
    with_it, without = (result.quantities[name] for name in ("m_cut", "m_cut_bare"))
    assert without.value > 4 * without.error
    assert abs(with_it.value) < 3 * with_it.error
