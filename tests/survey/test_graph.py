"""The plan holds the CCDs that touch a tile, and every bad input fails by name instead of vanishing."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_survey

from shapempi.ids import CcdId, TileId
from shapempi.survey.footprints import CcdFootprint, read_footprints, touching
from shapempi.survey.graph import SurveyPlan, make_plan
from shapempi.survey.inputs import InputParams, find_inputs


@pytest.fixture
def folders(tmp_path):
    return tiny_survey.write_survey(tmp_path)


def plan_of(folders, **keys):
    keys = {"n_ccd": 4, **keys}
    return make_plan(find_inputs(InputParams(exposure_folder=folders[0], tile_folder=folders[1], **keys)))


def test_units_of_a_complete_survey(folders):
    plan = plan_of(folders)
    expected = tuple(CcdId(exposure, ccd) for exposure in tiny_survey.EXPOSURES for ccd in range(4))
    assert plan.ccds == expected
    (tile,) = plan.tiles
    assert (tile.tile, tile.exposures, tile.ccds, tile.missing) == (
        TileId(241, 293),
        tiny_survey.EXPOSURES,
        expected,
        (),
    )
    assert plan.pixels["tile:241.293"] == 12000 and plan.pixels["ccd:2243881-3"] == 4200
    assert set(plan.costs) == set(plan.pixels) == {"tile:241.293", *(ccd.uid for ccd in expected)}
    assert all(cost > 0 for cost in plan.costs.values())
    assert plan.problems == ()
    assert SurveyPlan.from_json(plan.to_json()) == plan


def test_inactive_and_far_ccds_are_left_out(folders):
    exposure = tiny_survey.EXPOSURES[0]
    path = folders[0] / f"{exposure}p.fits.fz"
    planes = {ccd: tiny_survey.ccd_planes(exposure, ccd)[0] for ccd in range(4)}
    tiny_survey.write_mosaic(path, planes, shift=500.0)  # all CCDs 93 arcsec away
    assert plan_of(folders).tiles[0].ccds == tuple(CcdId(tiny_survey.EXPOSURES[1], ccd) for ccd in range(4))
    footprints = read_footprints(exposure, path)
    assert all(footprint.active for footprint in footprints) and len(footprints) == 4


def test_a_missing_exposure_is_missing_on_its_tile(folders):
    for path in folders[0].glob("2243881p*"):
        path.unlink()
    plan = plan_of(folders)
    assert plan.tiles[0].missing == (2243881,)
    assert {ccd.exposure for ccd in plan.ccds} == {2243888}
    assert [problem.missing for problem in plan.problems] == [True]


def test_a_truncated_mosaic_keeps_its_whole_ccds_and_names_the_lost_ones(folders):
    path = folders[0] / "2243881p.fits.fz"
    tiny_survey.truncate(path, 0.45)
    plan = plan_of(folders)
    # All four are planned: the lost ones so that they fail by name.
    assert [ccd.ccd for ccd in plan.ccds if ccd.exposure == 2243881] == [0, 1, 2, 3]
    on_tile = [ccd.ccd for ccd in plan.tiles[0].ccds if ccd.exposure == 2243881]
    assert 0 in on_tile and 3 not in on_tile
    assert any("CCD 3 is lost" in str(problem) and "truncated" in str(problem) for problem in plan.problems)
    # Cut inside a header: what was before it is still found.
    tiny_survey.write_exposure(folders[0], 2243881)
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex(b"XTENSION") + 1500])
    plan = plan_of(folders)
    assert [ccd.ccd for ccd in plan.tiles[0].ccds if ccd.exposure == 2243881] == [0, 1, 2]
    assert any("CCD 3 is lost" in str(problem) for problem in plan.problems)


def test_a_file_that_is_no_mosaic(folders):
    (folders[0] / "2243881p.fits.fz").write_text("not FITS")
    plan = plan_of(folders)
    assert plan.tiles[0].missing == (2243881,)
    assert "not a FITS file" in str(plan.problems[0]) and not plan.problems[0].missing


def test_a_ccd_without_wcs_is_planned_and_named(folders):
    exposure = tiny_survey.EXPOSURES[0]
    planes = {ccd: tiny_survey.ccd_planes(exposure, ccd)[0] for ccd in range(4)}
    tiny_survey.write_mosaic(folders[0] / f"{exposure}p.fits.fz", planes, wcs=False)
    plan = plan_of(folders)
    assert CcdId(exposure, 2) in plan.ccds
    assert all(ccd.exposure != exposure for ccd in plan.tiles[0].ccds)
    assert sum("no celestial WCS" in str(problem) for problem in plan.problems) == 4


def test_a_tile_without_wcs_is_planned_and_named(folders):
    tiny_survey.write_tile(folders[1], wcs=False)
    plan = plan_of(folders)
    assert plan.tiles[0].ccds == ()
    assert "no celestial WCS" in str(plan.problems[0])


def _footprint(k, x, y, angle, tile_wcs, half=(40.0, 60.0)):
    """Place a rotated rectangle on the sky by positions on the tile."""
    c, s = np.cos(angle), np.sin(angle)
    t = np.array([(-1, -1), (0, -1), (1, -1), (1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0)]) * half
    px, py = x + c * t[:, 0] - s * t[:, 1], y + s * t[:, 0] + c * t[:, 1]
    outline = np.stack(tile_wcs.pixel_to_sky(px, py), axis=-1)
    return CcdFootprint(CcdId(1, k), (120, 80), (0, 120, 0, 80), "", outline), (px, py)


@pytest.mark.parametrize("dec", [-89.9, 0.0, 41.7, 89.95])
def test_touching_agrees_with_sampling(dec):
    """Rotated CCDs around a tile, near the poles and across RA 0, against a dense sampling of the CCD."""
    tile = tiny_survey.tan_wcs(0.001, dec, (150.5, 100.5))
    rng = np.random.default_rng(7)
    footprints, meets = [], []
    for k in range(400):
        x, y, angle = rng.uniform(-120, 420), rng.uniform(-120, 320), rng.uniform(0, np.pi)
        footprint, _ = _footprint(k, x, y, angle, tile)
        grid = np.linspace(-1, 1, 161)
        gx, gy = (v.ravel() for v in np.meshgrid(40 * grid, 60 * grid))
        px, py = x + np.cos(angle) * gx - np.sin(angle) * gy, y + np.sin(angle) * gx + np.cos(angle) * gy
        gap = np.maximum(np.maximum(-0.5 - px, px - 299.5), np.maximum(-0.5 - py, py - 199.5)).min()
        if abs(gap) > 0.8:  # finer than the sampling
            footprints.append(footprint)
            meets.append(gap < 0)
    found = {footprint.ccd.ccd for footprint in touching(footprints, tile, (200, 300), margin=0.0)}
    assert found == {footprint.ccd.ccd for footprint, meet in zip(footprints, meets, strict=True) if meet}
    assert 50 < len(found) < 350
    with_margin = {footprint.ccd.ccd for footprint in touching(footprints, tile, (200, 300), margin=30.0)}
    assert found < with_margin


def test_the_other_side_of_the_sky_does_not_touch():
    tile = tiny_survey.tan_wcs(10.0, 0.0, (150.5, 100.5))
    footprint, _ = _footprint(0, 150, 100, 0.0, tile)
    assert touching([footprint], tile, (200, 300)) == [footprint]
    opposite = CcdFootprint(CcdId(1, 1), (120, 80), (0, 120, 0, 80), "", footprint.outline * (1, -1) + (180.0, 0))
    assert touching([opposite], tile, (200, 300)) == []
    assert touching([], tile, (200, 300)) == []
