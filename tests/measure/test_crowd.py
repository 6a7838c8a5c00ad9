"""What a companion does to the shape of a galaxy, with the same noise with it and without it."""

from dataclasses import replace

import numpy as np
import pytest
from measure import crowd

from shapempi.flags import NO_RESULT
from shapempi.measure.epochs import select_objects
from shapempi.measure.shape_params import ShapeParams
from shapempi.measure.shapes import measure_shapes
from shapempi.measure.vignets import VignetParams, cut_stacks

OPTIONS = ("none", "mask", "uberseg")


def shapes(sky, middles, objects, option):
    """Shapes [n, 2] of the galaxies in the middle of the cells; NaN without one."""
    number, segmentation, epochs = objects[:3]
    x, y = sky.wcs.sky_to_pixel(sky.scene["ra"][middles], sky.scene["dec"][middles])
    away = np.hypot(segmentation.x[:, None] - x, segmentation.y[:, None] - y)
    chosen = away.argmin(axis=0)
    assert (away.min(axis=0) < 4).all()
    mine = replace(segmentation, x=segmentation.x[chosen], y=segmentation.y[chosen])
    params = VignetParams(neighbours=option)
    place = np.arange(len(chosen))  # the same noise fields, too
    stacks = cut_stacks(
        number[chosen], select_objects(epochs, chosen), sky.sections, params, place=place, segmentation=mine
    ).stacks
    table = measure_shapes(stacks, ShapeParams(), seed=(1, 0, 0))
    found = np.stack([table["g1_noshear"], table["g2_noshear"]], axis=-1)
    found[(table["flags"] & int(NO_RESULT)) != 0] = np.nan
    return found


@pytest.fixture(scope="module")
def skies():
    """Cells of two galaxies 3 arcsec apart, and the same noise without the companions."""
    params = crowd.survey(5, size=5 * crowd.SPACING)
    cells = crowd.pair_cells(params, (3.0,), (1.0, 3.0), (20.5, 21.5))
    middles = np.flatnonzero(cells["main"])
    pairs = crowd.observe(params, crowd.sheared_scene(params, cells, (0.0, 0.0)))
    alone = crowd.observe(params, crowd.sheared_scene(params, cells[middles], (0.0, 0.0)))
    return pairs, middles, alone


@pytest.mark.parametrize("segments", ["detected", "true"])
def test_uberseg_takes_most_of_a_companions_light_away(skies, segments):
    pairs, middles, alone = skies
    truth = shapes(alone, np.arange(len(middles)), alone.alone(), "none")
    objects = pairs.detected() if segments == "detected" else pairs.true(25.0)
    error = {option: shapes(pairs, middles, objects, option) - truth for option in OPTIONS}
    assert len(middles) >= 20 and all(np.isfinite(each).all() for each in error.values())
    rms = {option: np.sqrt(np.mean(each**2)) for option, each in error.items()}
    assert rms["none"] > 0.05
    assert rms["mask"] < 0.5 * rms["none"]
    assert rms["uberseg"] < 1.1 * rms["mask"]  # the pixels that it takes more weigh little
