"""The true sky: counts, sizes, pairs, the isolated grid."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree
from sim.tiny_sky import tiny_params

from shapempi.sim.plan import plan_survey
from shapempi.sim.scene import ObjectType, add_shears, make_scene

FIELD = {"grid_spacing": 0.0, "density": 400.0, "mag_bright": 19.0, "mag_faint": 25.0, "count_slope": 0.3}


def scene_of(**changes):
    params = tiny_params(**changes)
    return make_scene(plan_survey(params), params), params


def test_counts_follow_density_and_slope():
    scene, _ = scene_of(galaxies=FIELD, stars={"density": 50.0})
    galaxies = scene[scene["type"] == ObjectType.GALAXY]
    stars = scene[scene["type"] == ObjectType.STAR]
    assert len(galaxies) / len(stars) == pytest.approx(8.0, rel=0.15)
    faint, bright = (np.count_nonzero(np.abs(galaxies["mag"] - m) < 0.5) for m in (24.5, 22.5))
    assert np.log10(faint / bright) == pytest.approx(0.6, abs=0.1)
    assert (np.diff(scene["id"]) == 1).all()


def test_sizes_shrink_and_moments_are_those_of_a_disc():
    scene, _ = scene_of(galaxies=FIELD)
    galaxies = scene[scene["type"] == ObjectType.GALAXY]
    bright, faint = (np.median(galaxies["hlr"][np.abs(galaxies["mag"] - m) < 0.5]) for m in (21.5, 24.5))
    assert np.log10(bright / faint) == pytest.approx(0.24, abs=0.06)
    # Exponential disc: hlr = 1.67835 r_0 and <r^2> = 6 r_0^2.
    np.testing.assert_allclose(galaxies["T"], 6 * (galaxies["hlr"] / 1.67835) ** 2, rtol=1e-3)


def test_shape_noise_has_the_scatter_asked_for():
    scene, _ = scene_of(galaxies={**FIELD, "shape_noise": 0.2})
    galaxies = scene[scene["type"] == ObjectType.GALAXY]
    assert np.hypot(galaxies["g1_int"], galaxies["g2_int"]).max() <= 0.7
    for name in ("g1_int", "g2_int"):
        assert np.std(galaxies[name]) == pytest.approx(0.2, rel=0.05)


def test_without_shape_noise_galaxies_are_round():
    scene, params = scene_of(galaxies={"shape_noise": 0.0})
    galaxies = scene[scene["type"] == ObjectType.GALAXY]
    g1, g2 = add_shears(galaxies)
    np.testing.assert_allclose(g1, params.g1)
    np.testing.assert_allclose(g2, params.g2)
    stars = scene[scene["type"] == ObjectType.STAR]
    assert (stars["g1"] == 0).all() and (stars["hlr"] == 0).all()


@pytest.mark.parametrize("galaxies", [{"rotated_pairs": True}, {**FIELD, "rotated_pairs": True}])
def test_pairs_cancel(galaxies):
    scene, _ = scene_of(galaxies=galaxies)
    rows = scene[scene["type"] == ObjectType.GALAXY]
    numbers, counts = np.unique(rows["pair"], return_counts=True)
    assert set(counts) <= {1, 2} and np.count_nonzero(counts == 2) > 5
    for number in numbers[counts == 2][:50]:
        first, second = rows[rows["pair"] == number]
        assert first["mag"] == second["mag"] and first["hlr"] == second["hlr"]
        assert first["g1_int"] == -second["g1_int"] and first["g2_int"] == -second["g2_int"]
        assert (first["ra"], first["dec"]) != (second["ra"], second["dec"])


def test_grid_isolates_and_has_stars_on_every_ccd():
    scene, params = scene_of()
    plan = plan_survey(params)
    x, y = plan.tiles[0].wcs.sky_to_pixel(scene["ra"], scene["dec"])
    distance, _ = cKDTree(np.stack([x, y], axis=-1)).query(np.stack([x, y], axis=-1), k=2)
    assert distance[:, 1].min() > params.galaxies.grid_spacing - 1.5
    inside = (x > 0) & (x < 239) & (y > 0) & (y < 239)
    assert np.count_nonzero(inside) == 25
    n_star = np.count_nonzero(scene["type"][inside] == ObjectType.STAR)
    assert n_star == pytest.approx(0.3 * 25, abs=1)
    assert (scene["type"][~inside] == ObjectType.STAR).all()
    assert (scene["n_epoch"][inside] >= 1).all()


def test_grids_of_neighbouring_tiles_do_not_meet():
    # Tiles that overlap as the survey's do, at a scale that keeps the number of places small.
    scene, params = scene_of(
        tiles=["241.293", "242.293"],
        tile_size=260,
        tile_pixel_scale=7.2,
        camera={"pixel_scale": 7.2, "distortion": 0.0},
        pointing={"dithers": [], "n_exposure": 1},
    )
    x, y = plan_survey(params).tiles[0].wcs.sky_to_pixel(scene["ra"], scene["dec"])
    distance, _ = cKDTree(np.stack([x, y], axis=-1)).query(np.stack([x, y], axis=-1), k=2)
    assert len(scene) > 40
    assert distance[:, 1].min() > 0.9 * params.galaxies.grid_spacing


def test_sky_does_not_depend_on_which_part_is_asked_for():
    one, params = scene_of(galaxies=FIELD)
    more, _ = scene_of(galaxies=FIELD, pointing={"dithers": [[26.0, 25.0], [-90.0, -25.0]]})
    tile = plan_survey(params).tiles[0]
    mags = []
    for scene in (one, more):
        x, y = tile.wcs.sky_to_pixel(scene["ra"], scene["dec"])
        mags.append(np.sort(scene["mag"][(np.abs(x - 120) < 120) & (np.abs(y - 120) < 120)]))
    np.testing.assert_array_equal(*mags)


def test_shear_changes_nothing_else():
    plus, minus = (scene_of(g1=g)[0] for g in (0.05, -0.05))
    for name in plus.dtype.names:
        if name != "g1":
            np.testing.assert_array_equal(plus[name], minus[name])
