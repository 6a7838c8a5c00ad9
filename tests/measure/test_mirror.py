"""Pixels that are not an object's own: those opposite its centre, and the fluxes that follow."""

import numpy as np
import pytest
from measure.sky import add_gaussian, wcs

from shapempi.measure.detect import DetectionParams, detect
from shapempi.measure.mirror import mirror_pixels
from shapempi.measure.pixel_source import ArraySource, Frame

SHAPE = (161, 161)
PARAMS = DetectionParams(rescale_weights=False)


def test_every_invalid_pixel_has_the_value_opposite_the_centre():
    rng = np.random.default_rng(1)
    value = rng.normal(size=(40, 9, 9)).astype(np.float32)
    invalid = rng.random(value.shape) < 0.2
    unusable = invalid | (rng.random(value.shape) < 0.1)
    x, y = rng.uniform(-1.5, 1.5, (2, 40))
    expected = value.copy()
    for n, row, column in np.argwhere(invalid):
        opposite = tuple(int(np.rint(8 + 2 * centre)) - index for centre, index in ((y[n], row), (x[n], column)))
        inside = all(0 <= index < 9 for index in opposite)
        expected[n, row, column] = value[n][opposite] if inside and not unusable[n][opposite] else 0.0
    plane = value.copy()
    mirror_pixels([plane], invalid, unusable, x, y)
    np.testing.assert_array_equal(plane, expected)
    assert np.count_nonzero(invalid & (expected == 0)) > 10
    mirror_pixels([plane[:0]], invalid[:0], unusable[:0], x[:0], y[:0])


def measured(*hidden, neighbour=False):
    """Return the row of an object in the middle, without noise, behind unusable pixels or beside a neighbour."""
    data = np.zeros(SHAPE, np.float32)
    add_gaussian(data, 80.0, 80.0, 2e4, 3.0, q=0.8, theta=0.3)
    if neighbour:
        add_gaussian(data, 94.0, 83.0, 2e4, 2.0)
    weight = np.ones(SHAPE, np.float32)
    for box in hidden:
        weight[box], data[box] = 0, 1e5
    source = ArraySource(data, weight, np.zeros(SHAPE, np.int32))
    table = detect(source, Frame(wcs(SHAPE), 0.0, np.inf, 30.0), PARAMS).table
    return table[np.hypot(table["X_IMAGE"] - 81, table["Y_IMAGE"] - 81).argmin()]


@pytest.mark.parametrize("hidden", [np.s_[70:92, 89:100], np.s_[86:100, 60:100]], ids=["right", "above"])
def test_an_object_behind_unusable_pixels_has_its_flux(hidden):
    alone, behind = measured(), measured(hidden)
    # Less of the object is above the threshold: its ellipse is smaller.
    assert behind["FLUX_AUTO"] == pytest.approx(alone["FLUX_AUTO"], rel=0.02)
    assert behind["FLUX_RADIUS"] == pytest.approx(alone["FLUX_RADIUS"], rel=0.02)
    assert np.hypot(behind["XWIN_IMAGE"] - 81, behind["YWIN_IMAGE"] - 81) < 0.1


def test_a_neighbour_adds_no_flux():
    alone, beside = measured(), measured(neighbour=True)
    assert beside["FLUX_AUTO"] == pytest.approx(alone["FLUX_AUTO"], rel=0.01)
    assert beside["FLUX_RADIUS"] == pytest.approx(alone["FLUX_RADIUS"], rel=0.01)
