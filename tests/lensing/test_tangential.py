"""Shear around points, set by the geometry of the sphere and measured by TreeCorr."""

import numpy as np
import pytest
from lensing.sky import disc, tangential
from lensing.test_correlation import PLACES, field

from shapempi.lensing.tangential import TangentialParams, tangential_shear

PARAMS = TangentialParams(n_bin=5, min_separation=3, max_separation=60)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("gamma_t", "gamma_x"), [(0.05, 0.0), (0.0, 0.05), (-0.03, 0.02)])
def test_a_tangential_shear_is_positive_and_has_no_cross_shear(place, gamma_t, gamma_x):
    rng = np.random.default_rng(1)
    ra, dec = disc(rng, 3000, *place, 1.2, inner=0.03)
    galaxies, shear, patches = field(rng, ra, dec, tangential(ra, dec, *place, gamma_t, gamma_x))
    found = tangential_shear("point", np.array([place]), galaxies, shear, PARAMS, patches)
    # Within its bin_slop TreeCorr takes galaxies together, and so turns their shears a little.
    np.testing.assert_allclose(found.table["gamma_t"], gamma_t, atol=5e-4)
    np.testing.assert_allclose(found.table["gamma_x"], gamma_x, atol=5e-4)
    assert not found.jackknife


def test_the_direction_is_that_of_ellipses_on_the_sky():
    """North of a mass the ellipse lies West-East: g1 > 0; North-West of it g2 < 0, for it lies along North-East."""
    for east, north, expected in ((0, 0.5, 0.1), (-0.5, 0, -0.1), (-0.35, 0.35, -0.1j), (0.35, 0.35, 0.1j)):
        found = tangential(np.array([10 + east]), np.array([north]), 10.0, 0.0, 0.1)
        np.testing.assert_allclose(found, expected, atol=1e-3)


def test_random_positions_take_away_what_the_field_does():
    """A constant shear is tangential around positions at the edge of a field, and around random ones there as well."""
    rng = np.random.default_rng(2)
    ra, dec = disc(rng, 6000, 30.0, 0.0, 1.0)
    galaxies, shear, patches = field(rng, ra, dec, 0.05)
    west = np.stack(disc(rng, 3000, 30.0, 0.0, 1.0), axis=1)
    west = west[west[:, 0] < 29.4]  # West of the centre: galaxies are East of them, and West-East ellipses radial
    raw = tangential_shear("edge", west[:60], galaxies, shear, PARAMS, patches)
    found = tangential_shear("edge", west[:60], galaxies, shear, PARAMS, patches, randoms=west[60:])
    assert raw.table["gamma_t"][-1] < -0.005
    assert abs(found.table["gamma_t"][-1]) < 0.3 * abs(raw.table["gamma_t"][-1])
    np.testing.assert_allclose(
        found.table["gamma_t"], raw.table["gamma_t"] - found.table["gamma_t_random"], rtol=1e-12, atol=1e-15
    )
    assert (found.n, found.n_random) == (60, len(west) - 60)


def test_errors_and_null_tests_of_many_positions():
    """Without shear 10 values are within 4 errors and p is above 1e-3; with shear p of the tangential one is small."""
    rng = np.random.default_rng(3)
    ra, dec = disc(rng, 8000, 100.0, -30.0, 1.5)
    points = np.stack(disc(rng, 300, 100.0, -30.0, 1.5), axis=1)
    noise = 0.25 * (rng.normal(size=8000) + 1j * rng.normal(size=8000))
    galaxies, shear, patches = field(rng, ra, dec, noise)
    found = tangential_shear("points", points, galaxies, shear, PARAMS, patches)
    assert found.jackknife
    for name in ("gamma_t", "gamma_x"):
        assert (np.abs(found.table[name]) < 4 * found.table[f"{name}_err"]).all()
        ratio = found.table[f"{name}_err"] / found.table["noise"]
        # Farther out a galaxy is near to several points, and pairs are not independent.
        assert 0.6 < ratio[0] < 1.6
        assert (ratio > 0.6).all(), ratio
    assert all(test.p > 1e-3 for test in found.tests)
    for point in points:
        near = np.hypot((ra - point[0]) * np.cos(np.radians(point[1])), dec - point[1]) < 0.3
        noise[near] += tangential(ra[near], dec[near], *point, 0.02)
    found = tangential_shear("points", points, galaxies, np.stack([noise.real, noise.imag]), PARAMS, patches)
    assert found.tests[0].p < 1e-4
    assert found.tests[1].p > 1e-3


@pytest.mark.filterwarnings("error")
def test_no_positions_and_no_galaxies_near_are_no_error():
    rng = np.random.default_rng(4)
    galaxies, shear, patches = field(rng, *disc(rng, 500, 0.0, 0.0, 0.5), 0.02)
    for points in (np.zeros((0, 2)), np.array([[180.0, 40.0]])):
        found = tangential_shear("far", points, galaxies, shear, PARAMS, patches)
        assert (found.table["n_pair"] == 0).all()
        assert np.isnan(found.table["gamma_t"]).all()
