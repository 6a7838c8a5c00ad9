"""Masks beside WeightWatcher's: the same weight, the same polygons, pixel by pixel."""

import fitsio
import numpy as np
import pytest
from bench.bench_masks import half_pixel_left, polygons_of, prepare, weightwatcher
from measure.sky import image

from shapempi.measure.mask import BrightStars, MaskParams, MaskRecipe, make_mask

SHAPE = (1500, 1000)


def run_weightwatcher(folder, weight, polygons, *, shift=0.0):
    """Run the program as the reference system does; returns its flags."""
    prepare(folder, weight, polygons, shift=shift)
    weightwatcher(folder)
    return fitsio.read(folder / "flag.fits").astype(np.int32)


@pytest.mark.parametrize("angle", [0.0, 180.0])
def test_halos_and_spikes_are_those_of_weightwatcher(tmp_path, angle):
    rng = np.random.default_rng(3)
    n = 60
    stars = BrightStars(rng.uniform(-200, 1200, n), rng.uniform(-200, 1700, n), rng.uniform(11.0, 18.0, n))
    weight = rng.uniform(0.1, 1, SHAPE).astype(np.float32)
    weight[rng.uniform(size=SHAPE) < 0.01] = -1
    img = image(SHAPE, weight=weight, angle=angle)
    recipe = MaskRecipe(MaskParams(border_width=0))
    ours = make_mask(img, stars, recipe).plane
    regions = polygons_of(recipe, stars, img.wcs, SHAPE)
    assert set(regions) == {2, 128} and 0.1 < np.mean(ours & 2 != 0) < 0.9
    # It rounds where an edge crosses a row to a whole pixel, so it paints half a pixel to the left of the centres.
    theirs = run_weightwatcher(tmp_path, weight, regions, shift=0.5)
    assert np.mean(theirs == ours) >= 0.99999
    assert np.array_equal(theirs & 1, ours & 1)
    # From the file as it stands, it differs by that half pixel, and by nothing else.
    theirs = run_weightwatcher(tmp_path, weight, regions)
    assert 0.98 < np.mean(theirs == ours) < 0.9999
    left = half_pixel_left(ours & 1, regions)
    assert np.mean(theirs == left) >= 0.99999


def test_the_rules_of_weightwatcher_that_the_comparison_rests_on(tmp_path):
    """Which weights are bad, and which pixels a rectangle has: as docs/accuracy.md says."""
    weights = np.array([0, 1e-30, -1e-30, 1000, 1000.1, np.nan, np.inf, 0.5], np.float32)
    weight = np.ones((60, 80), np.float32)
    weight[50, 10:18] = weights
    regions, rows = {}, {}
    for k, (x, y) in enumerate([(0.0, 0.0), (0.3, 0.3), (0.5, 0.5), (0.7, 0.7)]):
        regions[2 << k] = [
            np.array([[a, b] for a, b in ((10 + x, 5 + y), (20 + x, 5 + y), (20 + x, 9 + y), (10 + x, 9 + y))])
        ]
    theirs = run_weightwatcher(tmp_path, weight, regions)
    # Zero is inside the range 0 to 1000, so that it needs the limit above it; shapempi refuses what is not positive.
    assert (theirs[50, 10:18] & 1).tolist() == [0, 0, 1, 0, 1, 1, 1, 0]
    ours = make_mask(image((60, 80), weight=weight), BrightStars.none(), MaskRecipe(MaskParams(border_width=0))).plane
    assert ours[50, 10:18].tolist() == [1, 0, 1, 0, 0, 1, 1, 0]
    for bit in regions:
        y, x = np.nonzero(theirs & bit)
        rows[bit] = (x.min(), x.max(), y.min(), y.max())
    # x: from the rounded left edge to the one before the rounded right edge, a half rounded down; y: above the lower
    # edge, up to the upper one, which belongs to it.
    assert list(rows.values()) == [(10, 19, 6, 9), (10, 19, 6, 9), (10, 19, 6, 9), (11, 20, 6, 9)]
