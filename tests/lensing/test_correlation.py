"""Correlations of known shear fields: signs, sizes, and which modes they have, wherever they are on the sky."""

import numpy as np
import pytest
from lensing.sky import disc, waves

from shapempi.lensing.correlation import CorrelationParams, psf_correlation, shear_correlation
from shapempi.lensing.patches import PatchParams, make_patches
from shapempi.lensing.sample import GALAXY_DTYPE

PARAMS = CorrelationParams(n_bin=10, min_separation=2, max_separation=100)
SHEAR = 0.02 - 0.01j

#: Across right ascension 0, at the equator and near both poles.
PLACES = [(0.0, 0.0), (0.3, 62.0), (359.8, -80.0), (150.0, 88.5)]


def field(rng, ra, dec, shear, n_patch=40):
    """Return galaxies with a shear, as correlations take them: galaxies, shear [2, n], patches."""
    galaxies = np.zeros(len(ra), GALAXY_DTYPE)
    galaxies["ra"], galaxies["dec"], galaxies["weight"] = ra, dec, 1
    patches = make_patches(ra, dec, len(ra), PatchParams(n_patch=n_patch), rng)
    galaxies["patch"] = patches.of(ra, dec)
    shear = np.broadcast_to(shear, len(ra))
    return galaxies, np.stack([shear.real, shear.imag]), patches


@pytest.mark.filterwarnings("error")
def test_xi_plus_of_a_constant_shear_is_its_square():
    rng = np.random.default_rng(1)
    galaxies, shear, patches = field(rng, *disc(rng, 3000, 0.0, 0.0, 1.2), SHEAR)
    found = shear_correlation(galaxies, shear, PARAMS, patches)
    # Frames turn by less than 1e-3 across a degree at the equator.
    np.testing.assert_allclose(found.table["xip"], abs(SHEAR) ** 2, rtol=1e-3)
    # All lines between galaxies of a round field have any direction: nothing else is left but what few pairs leave.
    inner = found.table["theta"] < 40
    assert (np.abs(found.table["xim"][inner]) < 0.1 * abs(SHEAR) ** 2).all()
    assert (np.abs(found.table["xix"][inner]) < 0.1 * abs(SHEAR) ** 2).all()


def test_a_constant_shear_in_noise_is_found_and_has_no_modes():
    """Everything within its errors, of which none of some 40 is missed by more than 4; p is not below 1e-3."""
    rng = np.random.default_rng(2)
    n = 6000
    noise = 0.25 * (rng.normal(size=n) + 1j * rng.normal(size=n))
    galaxies, shear, patches = field(rng, *disc(rng, n, 0.0, 0.0, 1.2), SHEAR + noise)
    found = shear_correlation(galaxies, shear, PARAMS, patches)
    table = found.table
    assert (np.abs(table["xip"] - abs(SHEAR) ** 2) < 4 * table["xip_err"]).all()
    # The mean over bins is many errors from zero.
    weight = table["xip_noise"] ** -2
    assert np.average(table["xip"], weights=weight) > 8 * weight.sum() ** -0.5
    assert (np.abs(table["xim"]) < 4 * table["xim_err"]).all()
    assert {test.name for test in found.tests} == {"xi_x", "B_n"}
    assert all(test.errors == "jackknife" and test.p > 1e-3 for test in found.tests), found.tests
    for name in "EB":
        assert (np.abs(found.modes[name]) < 4 * found.modes[f"{name}_err"]).all()
    # It is the constant that xi+ shows and that these modes are blind to.
    assert found.mode_range[0] == pytest.approx(2)


@pytest.mark.parametrize("place", PLACES)
def test_e_modes_are_e_modes_everywhere_and_turn_into_b_modes(place):
    """A wrong sign of g2, or of right ascension, would mix the two."""
    rng = np.random.default_rng(3)
    ra, dec = disc(rng, 9000, *place, 1.2)
    shear = waves(rng, ra, dec, *place, 0.05)
    found = {}
    for turn in (1, 1j):
        galaxies, components, patches = field(rng, ra, dec, turn * shear)
        found[turn] = shear_correlation(galaxies, components, PARAMS, patches).modes
    # What is left comes from the few pairs of a small field; a flipped component leaves as much as there is.
    size = np.linalg.norm(found[1]["E"])
    assert np.linalg.norm(found[1]["B"]) < 0.2 * size, found[1]
    assert np.linalg.norm(found[1j]["E"]) < 0.2 * size, found[1j]
    assert np.linalg.norm(found[1j]["B"]) > 0.7 * size


def test_a_flipped_component_would_be_found_out():
    """The same field with the other sign of g2 has as many B-modes as E-modes."""
    rng = np.random.default_rng(3)
    ra, dec = disc(rng, 9000, 0.3, 62.0, 1.2)
    galaxies, shear, patches = field(rng, ra, dec, np.conj(waves(rng, ra, dec, 0.3, 62.0, 0.05)))
    modes = shear_correlation(galaxies, shear, PARAMS, patches).modes
    assert np.linalg.norm(modes["B"]) > 0.4 * np.linalg.norm(modes["E"])


def test_tangential_pairs_are_parallel_along_their_line():
    """Two galaxies on one meridian: North-South shapes are t = x-less and negative; at 45 degrees they are cross."""
    rng = np.random.default_rng(4)
    for shear, xip, xim, xix in ((-0.1 + 0j, 0.01, 0.01, 0), (0.1j, 0.01, -0.01, 0), (0.1 + 0.1j, 0.02, 0, 0.01)):
        galaxies, components, patches = field(rng, np.array([10.0, 10.0]), np.array([20.0, 20.1]), shear)
        table = shear_correlation(galaxies, components, PARAMS, patches).table
        bin_of = np.flatnonzero(table["n_pair"])
        assert table["xip"][bin_of] == pytest.approx(xip)
        assert table["xim"][bin_of] == pytest.approx(xim, abs=1e-6)
        assert np.abs(table["xix"][bin_of]) == pytest.approx(xix, abs=1e-6)


def test_errors_are_the_scatter_of_fields_of_noise():
    """16 fields: a standard deviation is known to 18 %, and p is spread over 0 to 1."""
    pulls, p = [], []
    for seed in range(16):
        rng = np.random.default_rng([5, seed])
        noise = 0.3 * (rng.normal(size=1500) + 1j * rng.normal(size=1500))
        galaxies, shear, patches = field(rng, *disc(rng, 1500, 40.0, 30.0, 1.0), noise, n_patch=24)
        found = shear_correlation(galaxies, shear, PARAMS, patches)
        pulls.append([found.modes["B"][0] / found.modes["B_err"][0], found.modes["B"][1] / found.modes["B_noise"][1]])
        p.append([test.p for test in found.tests])
    scatter = np.std(pulls, axis=0)
    assert ((scatter > 0.45) & (scatter < 1.55)).all(), scatter
    assert (np.min(p, axis=0) > 1e-3).all()
    assert ((np.median(p, axis=0) > 0.12) & (np.median(p, axis=0) < 0.88)).all(), p


def test_a_mean_can_be_subtracted():
    rng = np.random.default_rng(6)
    noise = 0.01 * (rng.normal(size=1500) + 1j * rng.normal(size=1500))
    galaxies, shear, patches = field(rng, *disc(rng, 1500, 0.0, 0.0, 1.0), SHEAR + noise)
    table = shear_correlation(galaxies, shear, PARAMS.model_copy(update={"subtract_mean": True}), patches).table
    assert (np.abs(table["xip"]) < 0.05 * abs(SHEAR) ** 2).all()


def test_leakage_by_separation_comes_back():
    rng = np.random.default_rng(7)
    ra, dec = disc(rng, 4000, 0.0, 30.0, 1.2)
    psf = waves(rng, ra, dec, 0.0, 30.0, 0.05, scale=60.0) + 0.01 + 0.02j
    noise = 0.02 * (rng.normal(size=4000) + 1j * rng.normal(size=4000))
    galaxies, shear, patches = field(rng, ra, dec, 0.1 * psf + 0.03 + noise)
    galaxies["psf_g1"], galaxies["psf_g2"] = psf.real, psf.imag
    table = psf_correlation(galaxies, shear, PARAMS, patches).table
    inner = table["theta"] < 20
    assert (np.abs(table["alpha"][inner] - 0.1) < 4 * table["alpha_err"][inner]).all()
    assert (table["alpha_err"][inner] < 0.02).all()
    np.testing.assert_allclose(table["xi_sys"], table["xi_gp"] ** 2 / table["xi_pp"])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("n", [0, 1, 2, 30])
def test_few_galaxies_are_no_error(n):
    rng = np.random.default_rng(8)
    galaxies, shear, patches = field(rng, *disc(rng, max(n, 1), 0.0, 0.0, 0.5), SHEAR)
    galaxies, shear = galaxies[:n], shear[:, :n]
    found = shear_correlation(galaxies, shear, PARAMS, patches)
    assert found.covariance is None
    assert len(found.table) == PARAMS.n_bin
    assert all(np.isnan(test.p) or test.errors == "noise" for test in found.tests)
    assert len(psf_correlation(galaxies, shear, PARAMS, patches).table) == PARAMS.n_bin
