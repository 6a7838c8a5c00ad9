from dataclasses import replace

import galsim
import numpy as np
import pytest
from measure.star_field import NX, NY, TruePsf, make_stars
from numpy.testing import assert_allclose

from shapempi.measure.psf.fit import fit_psf
from shapempi.measure.psf.params import NativePsfParams, PsfModelParams
from shapempi.measure.psf.sample import StarSample
from shapempi.measure.psf.validate import VALIDATION_DTYPE, validate
from shapempi.psf import PsfModel

STRAIGHT = (0.187, 0.0, 0.0, 0.187)
FLIPPED = (-0.187, 0.003, 0.002, 0.186)


def gaussian_model(sigma=2.0, g1=0.05, g2=-0.03):
    """A constant Gaussian PSF."""
    image = (
        galsim.Gaussian(sigma=sigma)
        .shear(g1=g1, g2=g2)
        .drawImage(nx=51, ny=51, scale=1.0, method="no_pixel", dtype=float)
    )
    return PsfModel(image.array[None].copy(), 0, (1.0, 1.0), (1.0, 1.0), 1.0, 50, 1.0, sigma * 2.355, "kaiser6")


def gaussian_stars(offset, sigma=2.0, g1=0.05, g2=-0.03):
    profile = galsim.Gaussian(sigma=sigma, flux=1e4).shear(g1=g1, g2=g2)
    return np.array(
        [profile.drawImage(nx=51, ny=51, scale=1.0, offset=d, method="no_pixel", dtype=float).array for d in offset]
    )


def run(model, vignets, weights, offset, jacobian=STRAIGHT):
    n = len(vignets)
    place = np.arange(n) * 10.0
    sample = StarSample(vignets, weights, place, 2 * place, offset, np.full(n, 1e4), np.ones(n), (NY, NX))
    return validate(model, sample, np.tile(jacobian, (n, 1)))


@pytest.fixture
def offset():
    return np.random.default_rng(1).uniform(-0.5, 0.5, (6, 2))


@pytest.mark.parametrize("jacobian", [STRAIGHT, FLIPPED])
def test_star_and_model_of_the_same_profile_agree_at_any_offset(offset, jacobian):
    vignets = gaussian_stars(offset)
    table = run(gaussian_model(), vignets, np.ones_like(vignets), offset, jacobian)
    assert table.dtype == VALIDATION_DTYPE
    assert (table["FLAG_PSF_HSM"] == 0).all()
    assert (table["FLAG_STAR_HSM"] == 0).all()
    for name in ("E1", "E2", "SIGMA"):
        assert_allclose(table[f"{name}_PSF_HSM"], table[f"{name}_STAR_HSM"], atol=1e-4)
    for name in ("g1", "g2", "T"):
        assert_allclose(table[f"{name}_psf"], table[f"{name}_star"], atol=1e-4)
    assert_allclose(table["E1_STAR_HSM"], 0.05, atol=1e-3)
    assert_allclose(table["SIGMA_STAR_HSM"], 2.0, rtol=1e-3)
    assert_allclose(table["T_star"], 2 * (2 * 0.187) ** 2, rtol=0.02)
    # u runs against x in the flipped frame: g1 keeps its sign, g2 changes it.
    sign = np.sign(jacobian[0])
    assert_allclose(table["g1_star"], 0.05, atol=5e-3)
    assert_allclose(table["g2_star"], -0.03 * sign, atol=5e-3)


def test_positions_are_1_based():
    vignets = gaussian_stars([(0.0, 0.0)] * 2)
    table = run(gaussian_model(), vignets, np.ones_like(vignets), np.zeros((2, 2)))
    assert table["X"].tolist() == [1.0, 11.0]
    assert table["Y"].tolist() == [1.0, 21.0]


def test_masked_and_dead_stars(offset):
    vignets = gaussian_stars(offset)
    weights = np.ones_like(vignets)
    plain = run(gaussian_model(), vignets, weights, offset)
    vignets[0, 3, 3], weights[0, 3, 3] = 1e6, 0
    vignets[1, 4, 4] = -1e30
    vignets[2, 5, 5] = np.nan
    weights[3] = 0
    table = run(gaussian_model(), vignets, weights, offset)
    assert_allclose(table["E1_STAR_HSM"][:3], plain["E1_STAR_HSM"][:3], atol=1e-4)
    assert table["FLAG_STAR_HSM"].tolist() == [0, 0, 0, 1, 0, 0]
    assert np.isnan([table[name][3] for name in ("E1_STAR_HSM", "SIGMA_STAR_HSM", "g1_star", "T_star")]).all()
    assert (table["FLAG_PSF_HSM"] == 0).all()
    assert (table[4:] == plain[4:]).all()


def test_no_star_is_no_row():
    assert len(run(gaussian_model(), np.zeros((0, 51, 51)), np.zeros((0, 51, 51)), np.zeros((0, 2)))) == 0


def test_held_back_stars_show_a_good_fit():
    psf = TruePsf(11, 3.5)
    stars = make_stars(psf, 11, 60, snr=(300, 1000), dirt=False, centre_error=0.0)
    test = np.arange(60) % 5 == 0
    train, held = stars[~test], stars[test]
    fit = fit_psf(train, PsfModelParams(), NativePsfParams())
    jacobians = np.tile(STRAIGHT, (len(held.x), 1))
    table = validate(fit.model, held, jacobians)
    # Shape noise of one star: 1/(S/N) in g, 2/(S/N) in T.
    assert np.std(table["g1_star"] - table["g1_psf"]) < 0.004
    assert np.std(table["g2_star"] - table["g2_psf"]) < 0.004
    assert np.std(table["T_star"] / table["T_psf"]) < 0.008
    assert abs(np.mean(table["T_star"] / table["T_psf"] - 1)) < 0.004
    # Pixels beyond the core are sky; what is left of neighbours and cosmic rays is in the mean, not in the median.
    assert 0.85 < np.median(table["chi2"]) < 1.2


def test_without_a_model_the_stars_are_measured_alone(offset):
    vignets = gaussian_stars(offset)
    table = run(None, vignets, np.ones_like(vignets), offset)
    assert (table["FLAG_STAR_HSM"] == 0).all()
    assert_allclose(table["E1_STAR_HSM"], 0.05, atol=1e-3)
    assert (table["FLAG_PSF_HSM"] != 0).all()
    assert np.isnan([table[name] for name in ("E1_PSF_HSM", "T_psf", "g1_psf", "chi2")]).all()


def test_chi2_is_one_for_noise_alone_and_knows_the_photons():
    rng = np.random.default_rng(3)
    offset = rng.uniform(-0.5, 0.5, (200, 2))
    light = gaussian_stars(offset)
    sky, gain = 3.0, 0.7
    noisy = light + rng.normal(size=light.shape) * np.sqrt(sky**2 + light / gain)
    n = len(offset)
    place = np.zeros(n)
    sample = StarSample(noisy, np.full(light.shape, sky**-2), place, place, offset, place, place, (NY, NX), gain)
    jacobians = np.tile(STRAIGHT, (n, 1))
    chi2 = validate(gaussian_model(), sample, jacobians)["chi2"]
    assert chi2.mean() == pytest.approx(1.0, abs=4 * chi2.std() / np.sqrt(n))
    without = validate(gaussian_model(), replace(sample, gain=0.0), jacobians)["chi2"]
    assert without.mean() > 1.5
    wrong = validate(gaussian_model(sigma=2.3), sample, jacobians)["chi2"]
    assert wrong.mean() > chi2.mean() + 0.1
    dark = validate(gaussian_model(), replace(sample, vignets=-light), jacobians)["chi2"]
    assert np.isnan(dark).all()
