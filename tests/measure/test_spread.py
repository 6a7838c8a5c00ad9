"""The spread model against direct integration, and what it must say about stars and galaxies."""

from __future__ import annotations

import galsim
import numpy as np
import pytest

from shapempi.measure.spread import SpreadParams, classify, mean_sigma, spread_model

SIZE = 51
FWHM = 2.0 * np.sqrt(2.0 * np.log(2.0))
PARAMS = SpreadParams()
#: Fine enough that GalSim's own errors are below those that are looked for.
ACCURATE = galsim.GSParams(
    folding_threshold=1e-4, maxk_threshold=1e-6, kvalue_accuracy=1e-8, maximum_fft_size=16384, shoot_accuracy=1e-7
)


def draw(profile, offset=(0.0, 0.0)):
    return profile.drawImage(nx=SIZE, ny=SIZE, scale=1.0, offset=offset, dtype=float).array


def star(sigma, offset=(0.0, 0.0)):
    return draw(galsim.Gaussian(sigma=sigma, gsparams=ACCURATE), offset)


def disk(sigma, offset=(0.0, 0.0)):
    psf = galsim.Gaussian(sigma=sigma, gsparams=ACCURATE)
    return draw(galsim.Convolve(galsim.Exponential(scale_radius=FWHM * sigma / 16, gsparams=ACCURATE), psf), offset)


def one(image, weight, sigma, offset=(0.0, 0.0)):
    return spread_model(image[None], weight[None], np.array([sigma]), np.array([offset]), PARAMS)[0]


@pytest.mark.parametrize("sigma", [1.3, 1.8, 2.7])
@pytest.mark.parametrize("offset", [(0.0, 0.0), (0.5, 0.5), (-0.31, 0.17)])
def test_the_formulas_with_models_drawn_by_galsim(sigma, offset):
    """Sums over pixels as section 10 of the behaviour specification writes them, masked pixels included."""
    rng = np.random.default_rng(2)
    image = 500 * draw(galsim.Convolve(galsim.Exponential(half_light_radius=1.5), galsim.Gaussian(sigma=sigma)), offset)
    weight = rng.uniform(0.5, 2.0, (SIZE, SIZE))
    weight[20:24, 28:31] = 0
    image = (image + rng.normal(size=image.shape) / np.sqrt(np.maximum(weight, 0.1))).astype(np.float32)
    image[20:24, 28:31] = 1e5
    phi, galaxy, m = star(sigma, offset), disk(sigma, offset), weight > 0
    v = np.where(m, 1 / np.where(m, weight, 1), 0)
    g_i, p_i = (m * galaxy * image).sum(), (m * phi * image).sum()
    expected = g_i / p_i - (m * galaxy * phi).sum() / (m * phi * phi).sum()
    error = (v * galaxy**2).sum() * p_i**2 + (v * phi**2).sum() * g_i**2 - 2 * (v * galaxy * phi).sum() * p_i * g_i
    result = one(image, weight.astype(np.float32), sigma, offset)
    assert result["SPREAD_MODEL"] == pytest.approx(expected, abs=2e-6)
    assert result["SPREADERR_MODEL"] == pytest.approx(np.sqrt(error) / p_i**2, rel=1e-4)


def test_stars_are_at_zero_wherever_they_are_between_the_pixels():
    """The reference system is off by 0.0012 at (0.5, 0.5); here nothing is left."""
    steps = np.linspace(-0.5, 0.5, 9)
    offset = np.array([(dx, dy) for dx in steps for dy in steps])
    for sigma in (1.3, 1.8, 2.5):
        stamps = np.array([star(sigma, tuple(at)) for at in offset])
        result = spread_model(stamps, np.ones_like(stamps), np.full(len(offset), sigma), offset, PARAMS)
        assert np.abs(result["SPREAD_MODEL"]).max() < 1e-5
    moved = spread_model(stamps, np.ones_like(stamps), np.full(len(offset), 2.5), np.zeros_like(offset), PARAMS)
    assert np.abs(moved["SPREAD_MODEL"]).max() > 3e-4  # what the shift of the models is good for


def test_moffat_stars_stay_below_the_threshold():
    """The PSF is not a Gaussian; its adaptive size still makes a star a star."""
    steps = np.linspace(-0.5, 0.5, 5)
    profile = galsim.Moffat(beta=4.5, fwhm=3.6)
    sigma = galsim.hsm.FindAdaptiveMom(profile.drawImage(nx=SIZE, ny=SIZE, scale=1.0)).moments_sigma
    values = [
        float(one(1e4 * draw(profile, (dx, dy)), np.ones((SIZE, SIZE)), sigma, (dx, dy))["SPREAD_MODEL"])
        for dx in steps
        for dy in steps
    ]
    assert np.ptp(values) < 3e-4
    assert np.abs(values).max() < PARAMS.star_threshold


def test_galaxies_are_extended_and_cosmic_rays_are_not():
    sigma = 1.8
    weight = np.ones((SIZE, SIZE))
    psf = galsim.Gaussian(sigma=sigma)
    values = [
        float(
            one(1e4 * draw(galsim.Convolve(galsim.Exponential(half_light_radius=r), psf)), weight, sigma)[
                "SPREAD_MODEL"
            ]
        )
        for r in (0.5, 1.0, 2.0, 4.0)
    ]
    assert (np.diff(values) > 0).all()
    assert values[1] > PARAMS.star_threshold and values[3] > PARAMS.galaxy_threshold
    spike = np.zeros((SIZE, SIZE))
    spike[25, 25] = 1e4
    assert one(spike, weight, sigma)["SPREAD_MODEL"] < -PARAMS.star_threshold


def test_the_error_is_the_scatter():
    sigma, n = 1.8, 800
    rng = np.random.default_rng(5)
    stamps = 800 * star(sigma) + rng.normal(0, 2.0, (n, SIZE, SIZE))
    result = spread_model(stamps, np.full(stamps.shape, 0.25), np.full(n, sigma), np.zeros((n, 2)), PARAMS)
    scatter = result["SPREAD_MODEL"].std()
    assert result["SPREADERR_MODEL"].mean() == pytest.approx(scatter, rel=4 / np.sqrt(2 * n))
    assert abs(result["SPREAD_MODEL"].mean()) < 4 * scatter / np.sqrt(n)


def test_what_cannot_be_computed():
    weight = np.ones((SIZE, SIZE))
    image = 100 * star(1.8)
    for sigma, offset in ((np.nan, (0.0, 0.0)), (-1.0, (0.0, 0.0)), (1.8, (np.nan, 0.0))):
        result = one(image, weight, sigma, offset)
        assert result.tolist() == (-1.0, 1.0, 2, 2)
    assert one(-image, weight, 1.8).tolist() == (1.0, 1.0, 2, 2)
    assert one(image, 0 * weight, 1.8).tolist() == (1.0, 1.0, 2, 2)
    image[3, 3] = np.nan  # an unreadable pixel does not count
    assert abs(one(image, weight, 1.8)["SPREAD_MODEL"]) < 1e-6
    assert len(spread_model(np.zeros((0, 51, 51)), np.zeros((0, 51, 51)), np.zeros(0), np.zeros((0, 2)), PARAMS)) == 0


def test_results_do_not_depend_on_the_batch():
    rng = np.random.default_rng(6)
    n = 600
    stamps = rng.normal(1, 1, (n, SIZE, SIZE)).astype(np.float32)
    weight = rng.uniform(0, 2, stamps.shape).astype(np.float32)
    sigma, offset = rng.uniform(1.2, 3, n), rng.uniform(-0.5, 0.5, (n, 2))
    whole = spread_model(stamps, weight, sigma, offset, PARAMS)
    for part in (slice(0, 1), slice(7, 8), slice(255, 258), slice(3, None, 7), slice(None, None, -1)):
        assert (
            spread_model(stamps[part], weight[part], sigma[part], offset[part], PARAMS).tobytes()
            == whole[part].tobytes()
        )


def test_mean_sigma_over_successful_epochs():
    sigma = np.array([1.0, 2.0, -1.0, 3.0, np.nan, 5.0])
    flag = np.array([0, 0, 1, 0, 0, 2])
    first = np.array([0, 3, 3, 4, 5, 6])
    np.testing.assert_array_equal(mean_sigma(sigma, flag, first), [1.5, np.nan, 3.0, np.nan, np.nan])


def test_classes():
    model = np.array([0.0, 0.002, -0.0029, 0.006, 0.02, -0.02, -1.0, 1.0])
    error = np.array([0.001, 0.001, 0.0, 0.001, 0.001, 0.001, 1.0, 1.0])
    assert classify(model, error, PARAMS).tolist() == [0, 2, 0, 2, 1, 2, 2, 2]
    model, error = np.array([0.001]), np.array([0.0011])
    assert classify(model, error, PARAMS).tolist() == [2]
    assert classify(model, error, PARAMS, slope=5 / 3).tolist() == [0]
