"""The stars of an image: those near it, those outside whose mask reaches in, moved to when it was taken."""

from dataclasses import replace

import numpy as np
import pytest
from measure.sky import SCALE, image

from shapempi.io.star_index import StarIndex, write_index
from shapempi.io.starcat import STAR_DTYPE
from shapempi.measure.bright_stars import stars_of_image
from shapempi.measure.mask import MaskParams, MaskRecipe

SHAPE = (300, 400)
RECIPE = MaskRecipe(MaskParams())


def catalogue(rows):
    stars = np.zeros(len(rows), STAR_DTYPE)
    for row, values in zip(stars, rows, strict=True):
        row["ra"], row["dec"], row["mag"] = values[:3]
        row["pmra"], row["pmdec"], row["epoch"] = values[3:] or (0.0, 0.0, 0.0)
    return stars


@pytest.fixture
def index(tmp_path):
    def make(*rows):
        write_index(tmp_path / "stars.h5", catalogue(rows))
        return StarIndex.open(tmp_path / "stars.h5")

    return make


def test_inside_outside_and_out_of_reach(index):
    one = image(SHAPE)
    places = [(200.0, 150.0), (-150.0, 150.0), (-1500.0, 150.0), (200.0, 6000.0)]
    ra, dec = one.wcs.pixel_to_sky(*np.array(places).T)
    found = stars_of_image(index(*zip(ra, dec, (12.0, 12.0, 12.0, 5.0), strict=True)), one, RECIPE)
    assert np.allclose(np.sort(found.x), [-150.0, 200.0], atol=1e-6)
    # A star of magnitude -3 has spikes of 6 x 192 pixels and a halo of 1.84 x 275.
    found = stars_of_image(index(*zip(ra, dec, (12.0, 12.0, -3.0, 5.0), strict=True)), one, RECIPE)
    assert len(found.x) == 2
    ra, dec = one.wcs.pixel_to_sky(np.array([-1100.0]), np.array([150.0]))
    assert len(stars_of_image(index((ra[0], dec[0], -3.0)), one, RECIPE).x) == 1


def test_stars_move_to_the_epoch_of_the_image(index):
    one = image(SHAPE)
    ra, dec = (float(v[0]) for v in one.wcs.pixel_to_sky(np.array([200.0]), np.array([150.0])))
    source = index((ra, dec, 10.0, 1000.0, -500.0, 2016.0), (ra, dec + 0.001, 11.0))
    still = stars_of_image(source, one, RECIPE)
    assert still.x[0] == pytest.approx(200.0, abs=1e-6) and np.isnan(one.epoch)
    moved = stars_of_image(source, replace(one, epoch=2026.0), RECIPE)
    # Ten years: 10 arcsec East, which is to smaller x, and 5 arcsec South.
    assert moved.x[0] == pytest.approx(200.0 - 10.0 / SCALE, abs=0.01)
    assert moved.y[0] == pytest.approx(150.0 - 5.0 / SCALE, abs=0.01)
    assert (moved.x[1], moved.y[1]) == (still.x[1], still.y[1])


def test_no_catalogue_and_an_empty_one(index):
    assert len(stars_of_image(None, image(SHAPE), RECIPE).x) == 0
    assert len(stars_of_image(index(), image(SHAPE), RECIPE).x) == 0
