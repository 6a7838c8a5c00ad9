"""Where the simulated exposures point and which CCDs get pixels."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError
from sim.tiny_sky import tiny_params

from shapempi.errors import ConfigError
from shapempi.ids import TileId
from shapempi.sim.params import SimulationParams
from shapempi.sim.plan import datasec, plan_survey
from shapempi.tile_grid import CFIS_GRID
from shapempi.wcs import angular_distance


def active(exposure):
    return [ccd.id.ccd for ccd in exposure.active_ccds]


def test_only_ccds_on_the_tile_get_pixels():
    plan = plan_survey(tiny_params())
    assert [active(e) for e in plan.exposures] == [[21, 22], [13, 14]]
    assert all(len(e.ccds) == 40 for e in plan.exposures)


def test_active_ccds_are_those_with_a_pixel_inside_the_tile():
    """By brute force: every pixel of a coarse raster of every CCD, for true MegaCam geometry."""
    params = SimulationParams(tile_size=6000, pointing={"n_exposure": 2})
    plan = plan_survey(params)
    y0, y1, x0, x1 = datasec(params.camera)
    x, y = (g.ravel() for g in np.meshgrid(np.linspace(x0, x1 - 1, 40), np.linspace(y0, y1 - 1, 80)))
    tile = plan.tiles[0]
    for exposure in plan.exposures:
        expected = []
        for ccd in exposure.ccds:
            cards = dict(ccd.wcs_cards)
            sky = _sky(cards, x, y)
            if angular_distance(*sky, *tile.centre).min() < 1:
                tx, ty = tile.wcs.sky_to_pixel(*sky)
                if ((tx > 0) & (tx < tile.size - 1) & (ty > 0) & (ty < tile.size - 1)).any():
                    expected.append(ccd.id.ccd)
        assert active(exposure) == expected


def _sky(cards, x, y):
    """The TPV projection written out: CD matrix, cubic distortion, gnomonic deprojection."""
    dx, dy = x + 1 - cards["CRPIX1"], y + 1 - cards["CRPIX2"]
    xi = cards["CD1_1"] * dx + cards["CD1_2"] * dy
    eta = cards["CD2_1"] * dx + cards["CD2_2"] * dy
    r2 = xi * xi + eta * eta
    xi, eta = (np.radians(v * (1 + cards["PV1_7"] * r2)) for v in (xi, eta))
    dec0 = np.radians(cards["CRVAL2"])
    down = np.cos(dec0) - eta * np.sin(dec0)
    ra = cards["CRVAL1"] + np.degrees(np.arctan2(xi, down))
    dec = np.degrees(np.arctan((np.sin(dec0) + eta * np.cos(dec0)) / np.hypot(xi, down)))
    return ra, dec


def test_wcs_is_the_written_projection():
    plan = plan_survey(tiny_params())
    x, y = np.array([10.0, 200.0, 100.0]), np.array([5.0, 250.0, 120.0])
    for exposure in plan.exposures:
        for ccd in exposure.active_ccds:
            ra, dec = ccd.wcs.pixel_to_sky(x, y)
            expected = _sky(dict(ccd.wcs_cards), x, y)
            np.testing.assert_allclose(angular_distance(ra, dec, *expected) * 3600, 0, atol=1e-6)


def test_upside_down_ccds_run_the_other_way():
    exposures = plan_survey(tiny_params()).exposures
    for ccd, sign in ((exposures[0].ccds[22], 1), (exposures[1].ccds[13], -1)):
        dudx, dudy, dvdx, dvdy = ccd.wcs.jacobian(np.array([100.0]), np.array([100.0]))[0]
        assert dudx * sign > 0.18 and dvdy * sign > 0.18  # x to the West and y to the North, or both against
        assert abs(dudy) < 0.01 and abs(dvdx) < 0.01


def test_tile_is_at_its_place_on_the_grid():
    plan = plan_survey(tiny_params())
    middle = (plan.tiles[0].size - 1) / 2
    ra, dec = plan.tiles[0].wcs.pixel_to_sky(np.array([middle]), np.array([middle]))
    assert dec[0] == pytest.approx(56.5)
    assert ra[0] == pytest.approx(241 / (2 * np.cos(np.radians(56.5))))
    assert (ra[0], dec[0]) == pytest.approx(CFIS_GRID.centre(TileId(241, 293)))


def test_plan_repeats_and_follows_the_seed():
    first, again, other = (plan_survey(tiny_params(seed=seed)) for seed in (5, 5, 6))
    assert [(e.ra, e.rotation, e.mag_zp, e.psf) for e in first.exposures] == [
        (e.ra, e.rotation, e.mag_zp, e.psf) for e in again.exposures
    ]
    assert first.exposures[0].psf != other.exposures[0].psf


def test_constant_psf_is_exactly_the_mean():
    plan = plan_survey(tiny_params(psf={"constant": True, "fwhm": 0.8, "g1": 0.02}))
    for exposure in plan.exposures:
        fwhm, g1, g2 = exposure.psf.evaluate(np.array([218.3, 218.4]), np.array([56.5, 56.6]))
        assert (fwhm == 0.8).all() and (g1 == 0.02).all() and (g2 == 0).all()


def test_exposures_are_shared_by_neighbouring_tiles():
    plan = plan_survey(SimulationParams(tiles=("241.293", "242.293"), pointing={"n_exposure": 1}))
    assert [e.number for e in plan.exposures_of(TileId(241, 293))] == [2243881, 2243882]
    assert len(plan.exposures[0].active_ccds) > 15


@pytest.mark.parametrize(
    "changes",
    [
        {"tiles": ["241.293", "241.293"]},
        {"tiles": ["24.293"]},
        {"g1": 0.4, "g2": 0.4},
        {"stars": {"mag_bright": 25.0}},
    ],
)
def test_senseless_parameters_are_refused(changes):
    with pytest.raises(ValidationError):
        tiny_params(**changes)


@pytest.mark.parametrize("tile", ["241.400", "241.360", "720.180", "398.293"])
def test_a_tile_that_is_not_on_the_grid_is_refused(tile):
    with pytest.raises(ConfigError, match=f"tile {tile} is not on the sky"):
        plan_survey(tiny_params(tiles=(tile,)))
