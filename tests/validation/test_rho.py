import numpy as np
import pytest
from validation.star_table import make_stars, set_shapes

from shapempi.validation.residuals import residuals
from shapempi.validation.rho import RHO_DTYPE, RhoParams, rho_statistics

FIELDS = (("de", "de"), ("e", "de"), ("edT", "edT"), ("de", "edT"), ("e", "edT"))


def rows_of(stars):
    return residuals(stars)[0]


def unit_vectors(rows):
    ra, dec = np.radians(rows["ra"]), np.radians(rows["dec"])
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)


def brute(rows, first, second, edges):
    """Rho by its definition: every pair, shears turned to the great circle between the two stars."""
    de = rows["dg1"].astype(float) + 1j * rows["dg2"].astype(float)
    e = rows["g1"].astype(float) + 1j * rows["g2"].astype(float) + de
    fields = {"de": de, "e": e, "edT": e * rows["dT"]}
    position = unit_vectors(rows)
    ra, dec = np.radians(rows["ra"]), np.radians(rows["dec"])
    west = np.stack([np.sin(ra), -np.cos(ra), np.zeros(len(ra))], axis=1)
    north = np.stack([-np.sin(dec) * np.cos(ra), -np.sin(dec) * np.sin(ra), np.cos(dec)], axis=1)
    away = position[None] - position[:, None]  # from i to j
    distance = np.degrees(np.linalg.norm(away, axis=2)) * 60
    phi = np.arctan2(np.einsum("ijk,ik->ij", away, north), np.einsum("ijk,ik->ij", away, west))
    turned = np.exp(-2j * phi)
    a, b = fields[first][:, None] * turned, fields[second][None] * turned.T
    n, _ = np.histogram(distance, edges)
    plus, _ = np.histogram(distance, edges, weights=(a * b.conj()).real)
    minus, _ = np.histogram(distance, edges, weights=(a * b).real)
    return n, plus / np.maximum(n, 1), minus / np.maximum(n, 1)


@pytest.mark.parametrize("dec", [0.0, 60.0])
def test_every_pair_counts_as_by_definition(dec):
    rng = np.random.default_rng(5)
    stars, _ = make_stars(rng, 1, range(0, 40, 2), 10, dec=dec)
    n = len(stars)
    set_shapes(stars, *(0.05 * rng.normal(size=(2, n))), 0.2, *(0.01 * rng.normal(size=(3, n))))
    rows = rows_of(stars)
    params = RhoParams(n_bin=8, min_separation=2.0, max_separation=100.0, bin_slop=0.0)
    table = rho_statistics(rows, params)
    edges = np.geomspace(2.0, 100.0, 9)
    for k, (first, second) in enumerate(FIELDS, start=1):
        number, plus, minus = brute(rows, first, second, edges)
        # A pair of one field is counted in one direction, of two in the first's.
        if k == 1:
            np.testing.assert_allclose(table["n_pair"], number / 2)
        scale = np.abs(plus).max()
        np.testing.assert_allclose(table[f"rho{k}_xip"], plus, atol=1e-5 * scale, err_msg=f"rho{k}")
        np.testing.assert_allclose(table[f"rho{k}_xim"], minus, atol=1e-5 * scale, err_msg=f"rho{k}")


def test_constant_shapes_have_constant_rho():
    stars, _ = make_stars(np.random.default_rng(1), 2, range(40), 25)
    set_shapes(stars, 0.03, -0.04, 0.2, 0.001, 0.002, 0.01)
    rows = rows_of(stars)
    table = rho_statistics(rows, RhoParams(max_separation=60.0))
    e, de = complex(0.031, -0.038), complex(0.001, 0.002)
    for k, value in enumerate(
        (
            abs(de) ** 2,
            (e.conjugate() * de).real,
            abs(e * 0.01) ** 2,
            (de.conjugate() * e * 0.01).real,
            abs(e) ** 2 * 0.01,
        ),
        start=1,
    ):
        paired = table["n_pair"] > 0
        assert paired.sum() > 25
        # Between stars apart on a sphere North is not parallel to North: a few 1e-4 of a degree of declination 30.
        np.testing.assert_allclose(table[f"rho{k}_xip"][paired], value, rtol=5e-3)


def test_residuals_that_are_noise_have_rho_zero_within_errors():
    rng = np.random.default_rng(8)
    stars, _ = make_stars(rng, 2, range(40), 30)
    n = len(stars)
    set_shapes(stars, 0.03, 0.0, 0.2, *(0.01 * rng.normal(size=(3, n))))
    table = rho_statistics(rows_of(stars), RhoParams(n_bin=12, min_separation=2.0, max_separation=60.0))
    pull = table["rho1_xip"] / table["rho1_xip_err"]
    assert np.abs(pull).max() < 4.5 and 0.5 < np.std(pull) < 1.7
    expected = 0.01**2 * np.sqrt(2) / np.sqrt(table["n_pair"])  # of pairs of independent shears
    assert 0.6 < np.median(table["rho1_xip_err"] / expected) < 1.6


def test_a_field_of_known_correlation():
    """Plane waves: residuals 0.005 exp(i k.x + i phase) in eight directions have rho1 = 0.005^2 J0(k r), summed."""
    rng = np.random.default_rng(2)
    stars, places = make_stars(rng, 1, range(40), 80, dec=0.0)
    arcmin = places * 0.187 / 60
    k, angle = 2 * np.pi / 40.0, np.arange(8) * np.pi / 8
    phase = rng.uniform(0, 2 * np.pi, 8)
    wave = np.exp(1j * (k * (arcmin @ np.stack([np.cos(angle), np.sin(angle)])) + phase)).sum(axis=1) * 0.005
    set_shapes(stars, 0.0, 0.0, 0.2, wave.real, wave.imag, 0.0)
    table = rho_statistics(rows_of(stars), RhoParams(n_bin=10, min_separation=1.0, max_separation=10.0))
    r = table["theta_mean"]
    from scipy.special import j0

    np.testing.assert_allclose(table["rho1_xip"], 8 * 0.005**2 * j0(k * r), atol=0.25 * 8 * 0.005**2)
    assert table["rho1_xip"][0] > 0.75 * 8 * 0.005**2


def test_the_same_numbers_every_time_and_fewer_stars_on_demand():
    stars, _ = make_stars(np.random.default_rng(1), 2, range(10), 20, noise=1e-3)
    rows = rows_of(stars)
    params = RhoParams(n_bin=6)
    assert rho_statistics(rows, params).tobytes() == rho_statistics(rows, params).tobytes()
    fewer = RhoParams(n_bin=6, max_stars=100)
    table = rho_statistics(rows, fewer)
    assert table["n_pair"].sum() < 100 * 99 / 2 and table.tobytes() == rho_statistics(rows, fewer).tobytes()


@pytest.mark.parametrize("n", [0, 1, 2, 30])
def test_few_stars(n):
    stars, _ = make_stars(np.random.default_rng(1), 1, [4], 30, noise=1e-3)
    table = rho_statistics(rows_of(stars)[:n], RhoParams())
    assert table.dtype == RHO_DTYPE and len(table) == 32
    assert table["n_pair"].sum() <= n * (n - 1) / 2 and not np.isfinite(table["rho1_xip_err"]).any()
    np.testing.assert_array_equal(np.isfinite(table["rho3_xip"]), table["n_pair"] > 0)


def test_all_stars_at_one_place():
    stars, _ = make_stars(np.random.default_rng(1), 1, [4], 60, noise=1e-3)
    stars["RA"], stars["DEC"] = 180.0, 30.0
    assert rho_statistics(rows_of(stars), RhoParams())["n_pair"].sum() == 0
