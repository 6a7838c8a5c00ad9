import galsim
import numpy as np
import pytest
from measure.galaxies import SHEARED, SIZE, STRAIGHT, UPSIDE_DOWN

from shapempi.measure.fit import FitFlag, FitParams
from shapempi.measure.gaussfit import Residuals, fit_by_scipy, pixel_list
from shapempi.measure.metacal import shear_matrix

PARAMS = FitParams()
START = np.array([0.0, 0.0, 0.0, 0.0, 0.3, 50.0])


def gaussian_epoch(jacobian, sigma_psf, offset=(0, 0), *, g=(0.2, -0.1), T=0.4, flux=100.0, weight=None, noise=None):
    """Return the pixels of a Gaussian galaxy, convolved by a round Gaussian, sampled at pixel centres."""
    area = (1 + g[0] ** 2 + g[1] ** 2) / (1 - g[0] ** 2 - g[1] ** 2)
    galaxy = galsim.Gaussian(sigma=np.sqrt(0.5 * T / area), flux=flux).shear(g1=g[0], g2=g[1])
    profile = galsim.Convolve(galaxy, galsim.Gaussian(sigma=sigma_psf)) if sigma_psf else galaxy
    wcs = galsim.JacobianWCS(*jacobian)
    image = profile.drawImage(nx=SIZE, ny=SIZE, wcs=wcs, offset=offset, method="no_pixel", dtype=float).array
    image = image if noise is None else image + noise
    weight = np.ones_like(image) if weight is None else weight
    return pixel_list(image, weight, jacobian, offset, sigma=sigma_psf)


def three_epochs(**kwargs):
    return [
        gaussian_epoch(STRAIGHT, 0.35, (0.3, -0.4), **kwargs),
        gaussian_epoch(UPSIDE_DOWN, 0.40, (-0.1, 0.2), **kwargs),
        gaussian_epoch(SHEARED, 0.38, (0.0, 0.45), **kwargs),
    ]


@pytest.mark.parametrize("with_prior", [True, False])
def test_derivatives_are_those_of_the_residuals(with_prior):
    residuals = Residuals(three_epochs(), PARAMS, with_prior=with_prior)
    p = np.array([0.05, -0.03, 0.15, -0.25, 0.5, 80.0])
    slopes = residuals.derivatives(p)
    for i, step in enumerate([1e-5, 1e-5, 1e-5, 1e-5, 1e-5, 1e-2]):
        up, down = p.copy(), p.copy()
        up[i] += step
        down[i] -= step
        difference = (residuals(up) - residuals(down)) / (2 * step)
        np.testing.assert_allclose(slopes[i], difference, rtol=0, atol=1e-6 * np.abs(difference).max())


def test_noiseless_gaussian_comes_back():
    # High weight: the priors must not pull.
    fit = fit_by_scipy(three_epochs(weight=np.full((SIZE, SIZE), 1e8)), START, PARAMS)
    assert fit.flags == 0
    np.testing.assert_allclose(fit.parameters[:4], [0, 0, 0.2, -0.1], rtol=0, atol=1e-5)
    np.testing.assert_allclose(fit.parameters[4:], [0.4, 100.0], rtol=1e-5)
    assert fit.n_evaluation < 30


@pytest.mark.parametrize("jacobian", [STRAIGHT, UPSIDE_DOWN, SHEARED, STRAIGHT[[1, 0, 3, 2]], STRAIGHT * [-1, 1, 1, 1]])
def test_the_fit_is_in_the_frame_of_the_sky(jacobian):
    epoch = gaussian_epoch(jacobian, 0.36, (0.2, 0.3), weight=np.full((SIZE, SIZE), 1e8))
    fit = fit_by_scipy([epoch], START, PARAMS)
    np.testing.assert_allclose(fit.parameters, [0, 0, 0.2, -0.1, 0.4, 100.0], rtol=1e-5, atol=1e-5)


def test_masked_pixels_do_not_count():
    weight = np.full((SIZE, SIZE), 1e8)
    weight[20:24, 5:40] = 0.0
    rng = np.random.default_rng(1)
    noise = np.where(weight > 0, 0.0, rng.normal(0, 50.0, weight.shape))
    fit = fit_by_scipy([gaussian_epoch(STRAIGHT, 0.36, weight=weight, noise=noise)], START, PARAMS)
    np.testing.assert_allclose(fit.parameters, [0, 0, 0.2, -0.1, 0.4, 100.0], rtol=1e-5, atol=1e-5)


def test_errors_are_the_scatter_and_do_not_depend_on_the_scale_of_the_weights():
    rng = np.random.default_rng(2)
    sigma = 0.1
    fits = []
    for _ in range(150):
        noise = rng.normal(0.0, sigma, (SIZE, SIZE))
        epoch = gaussian_epoch(STRAIGHT, 0.36, noise=noise, weight=np.full((SIZE, SIZE), sigma**-2))
        fits.append(fit_by_scipy([epoch], START, PARAMS))
    assert all(fit.flags == 0 for fit in fits)
    scatter = np.std([fit.parameters for fit in fits], axis=0)
    errors = np.mean([fit.errors for fit in fits], axis=0)
    np.testing.assert_allclose(scatter / errors, 1.0, atol=0.2)
    assert np.mean([fit.s2n for fit in fits]) == pytest.approx(_true_s2n(sigma), rel=0.02)
    unit = fit_by_scipy([gaussian_epoch(STRAIGHT, 0.36, noise=noise)], START, PARAMS)
    np.testing.assert_allclose(unit.errors[4:], fits[-1].errors[4:], rtol=0.05)


def _true_s2n(sigma):
    pixels = gaussian_epoch(STRAIGHT, 0.36)
    return np.sqrt(np.sum(pixels.value**2)) / sigma


def test_prior_holds_shape_and_centre_of_pure_noise():
    rng = np.random.default_rng(3)
    for _ in range(5):
        epoch = gaussian_epoch(STRAIGHT, 0.36, flux=1e-6, noise=rng.normal(0.0, 1.0, (SIZE, SIZE)))
        fit = fit_by_scipy([epoch], START, PARAMS)
        if fit.flags == 0:
            assert np.hypot(*fit.parameters[2:4]) < 1
            assert np.hypot(*fit.parameters[:2]) < 2.0


def test_origin_moves_with_the_shear():
    shear = shear_matrix("1p", 0.01)
    offset = np.array([0.4, -0.3])
    image = np.zeros((SIZE, SIZE))
    pixels = pixel_list(image, np.ones_like(image), SHEARED, offset, shear=shear)
    u, v = shear @ SHEARED.reshape(2, 2) @ offset
    centre = SIZE * SIZE // 2
    np.testing.assert_allclose([pixels.u[centre], pixels.v[centre]], [-u, -v], atol=1e-15)


def test_a_psf_is_fitted_without_prior():
    pixels = gaussian_epoch(SHEARED, 0.0, g=(0.03, 0.02), T=0.25, flux=1.0)
    fit = fit_by_scipy([pixels], np.array([0, 0, 0, 0, 0.2, 1.0]), PARAMS, with_prior=False)
    np.testing.assert_allclose(fit.parameters, [0, 0, 0.03, 0.02, 0.25, 1.0], rtol=1e-6, atol=1e-6)
    pulled = fit_by_scipy([pixels], np.array([0, 0, 0, 0, 0.2, 1.0]), PARAMS)
    assert abs(pulled.parameters[2]) < 0.02


@pytest.mark.parametrize("value", [0.0, 7.0, -7.0, 1e30, np.nan, np.inf])
def test_hostile_pixels_give_flags_not_exceptions(value):
    image = np.full((SIZE, SIZE), value)
    fit = fit_by_scipy([pixel_list(image, np.ones_like(image), STRAIGHT, sigma=0.36)], START, PARAMS)
    assert fit.flags != 0 or np.isfinite(fit.parameters).all()
    if not np.isfinite(value):
        assert fit.flags == FitFlag.NOT_FINITE


def test_too_few_pixels_and_a_start_out_of_range_are_flagged():
    image = np.ones((SIZE, SIZE))
    weight = np.zeros_like(image)
    assert fit_by_scipy([pixel_list(image, weight, STRAIGHT)], START, PARAMS).flags == FitFlag.NO_PIXELS
    start = START.copy()
    start[2] = 1.5
    fit = fit_by_scipy([gaussian_epoch(STRAIGHT, 0.36)], start, PARAMS)
    assert fit.flags == FitFlag.RANGE
    assert np.isnan(fit.parameters).all()


def test_running_out_of_evaluations_is_flagged():
    fit = fit_by_scipy(three_epochs(), START, FitParams(max_evaluations=10, n_try=1, tolerance=1e-15))
    assert fit.flags in (0, FitFlag.MAX_EVALUATIONS, 2, 4)
    noise = np.random.default_rng(4).normal(0, 30.0, (SIZE, SIZE))
    fit = fit_by_scipy([gaussian_epoch(STRAIGHT, 0.36, noise=noise)], START, FitParams(max_evaluations=10, n_try=1))
    assert fit.flags == FitFlag.MAX_EVALUATIONS
    assert fit.n_evaluation >= 10
