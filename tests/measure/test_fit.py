import galsim
import numpy as np
import pytest
from measure.galaxies import SCALE, SHEARED, SIZE, STRAIGHT, UPSIDE_DOWN
from scipy.optimize import brentq

from shapempi.measure.fit import PARAMETERS, FitFlag, FitParams, components, fit_gaussian
from shapempi.measure.gaussfit import Residuals, fit_by_scipy, pixel_list

JACOBIANS = np.array([STRAIGHT, UPSIDE_DOWN, SHEARED])
SIGMA = np.array([0.35, 0.40, 0.38])

#: Half-light radius over sqrt(T) of the model exp.
HALF_LIGHT = 0.691508

#: The fractions of Hogg & Lang's (2013) six Gaussians as printed, normalised.
PRINTED = (
    [6.16e-4, 7.946e-3, 5.328e-2, 0.21797, 0.45497, 0.26522],
    [2.467e-3, 1.815e-2, 7.944e-2, 0.27138, 0.79782, 2.1623],
)


def stamps(profile, jacobians=JACOBIANS, sigmas=SIGMA, offset=(0.0, 0.0), size=SIZE):
    """Return the profile convolved by round Gaussians, sampled at pixel centres [epoch, y, x]."""
    images = []
    for jacobian, sigma in zip(jacobians, sigmas, strict=True):
        seen = galsim.Convolve(profile, galsim.Gaussian(sigma=sigma)) if sigma > 0 else profile
        wcs = galsim.JacobianWCS(*jacobian)
        images.append(seen.drawImage(nx=size, ny=size, wcs=wcs, offset=offset, method="no_pixel", dtype=float).array)
    return np.array(images)


def gaussian(g1=0.2, g2=-0.1, T=0.4, flux=100.0):
    area = (1 + g1**2 + g2**2) / (1 - g1**2 - g2**2)
    return galsim.Gaussian(sigma=np.sqrt(0.5 * T / area), flux=flux).shear(g1=g1, g2=g2)


def noisy(snr, seed=0):
    """Return images and weights of a galaxy, with a masked part."""
    rng = np.random.default_rng(seed)
    images = stamps(gaussian())
    sigma = np.sqrt(np.sum(images**2)) / snr
    weights = np.full(images.shape, sigma**-2)
    weights[1, 10:14, 20:40] = 0.0
    return images + rng.normal(0, sigma, images.shape), weights


def by_scipy(images, weights, params, *, offset=(0.0, 0.0), start=(0, 0, 0, 0, 0.3, np.nan), with_prior=True):
    pixels = [
        pixel_list(image, weight, jacobian, offset, sigma=sigma)
        for image, weight, jacobian, sigma in zip(images, weights, JACOBIANS, SIGMA, strict=True)
    ]
    start = np.array(start, dtype=float)
    start[5] = Residuals(pixels, params, with_prior=with_prior).best_flux(start)
    return fit_by_scipy(pixels, start, params, with_prior=with_prior)


@pytest.mark.parametrize("offset", [(0.0, 0.0), (0.4, -0.3)])
def test_truth_of_a_gaussian(offset):
    images = stamps(gaussian(), offset=offset)
    fit = fit_gaussian(images, np.ones_like(images), JACOBIANS, SIGMA, offset=offset, with_prior=False)
    assert fit.flags == 0
    np.testing.assert_allclose(fit.parameters, [0, 0, 0.2, -0.1, 0.4, 100.0], rtol=1e-5, atol=1e-5)
    assert (fit.v0, fit.u0, fit.g1, fit.g2, fit.T, fit.flux) == tuple(fit.parameters)


@pytest.mark.parametrize("model", ["gauss", "exp"])
@pytest.mark.parametrize("with_prior", [True, False])
@pytest.mark.parametrize("snr", [12, 50, 500])
def test_the_fit_is_that_of_scipy(snr, model, with_prior):
    params = FitParams(model=model, tolerance=1e-11)
    for seed in range(3):
        images, weights = noisy(snr, seed)
        expected = by_scipy(images, weights, params, with_prior=with_prior)
        fit = fit_gaussian(images, weights, JACOBIANS, SIGMA, prior=params, with_prior=with_prior)
        assert fit.flags == expected.flags == 0
        np.testing.assert_allclose((fit.parameters - expected.parameters) / expected.errors, 0, atol=1e-4)
        np.testing.assert_allclose(fit.errors, expected.errors, rtol=1e-4)
        assert fit.s2n == pytest.approx(expected.s2n, rel=1e-6)
        assert fit.n_evaluation <= expected.n_evaluation


def test_errors_at_the_same_point_are_those_of_scipy():
    params = FitParams(tolerance=1e-14)
    images, weights = noisy(30)
    fit = fit_gaussian(images, weights, JACOBIANS, SIGMA, prior=params)
    expected = by_scipy(images, weights, FitParams(tolerance=1e-11), start=fit.parameters)
    np.testing.assert_allclose(fit.errors, expected.errors, rtol=1e-6)


@pytest.mark.parametrize("hlr", [0.25, 0.5, 0.9])
def test_truth_of_an_exponential_disc(hlr):
    g1, g2, flux = 0.25, -0.15, 300.0
    profile = galsim.Exponential(half_light_radius=hlr, flux=flux).shear(g1=g1, g2=g2)
    images = stamps(profile, size=101)
    fit = fit_gaussian(images, np.ones_like(images), JACOBIANS, SIGMA, prior=FitParams(model="exp"), with_prior=False)
    assert fit.flags == 0
    np.testing.assert_allclose(fit.parameters[:4], [0, 0, g1, g2], atol=6e-4)
    assert fit.flux == pytest.approx(flux, rel=3e-3)
    # T of an ellipse is larger than that of the round disc of the same area.
    round_T = fit.T * (1 - g1**2 - g2**2) / (1 + g1**2 + g2**2)
    assert HALF_LIGHT * np.sqrt(round_T) == pytest.approx(hlr, rel=5e-3)


def test_components_are_normalised_and_those_of_hogg_and_lang():
    for model in ("gauss", "exp"):
        p, f = components(model)
        assert np.sum(p) == pytest.approx(1.0, abs=1e-11)
        assert np.sum(p * f) == pytest.approx(1.0, abs=1e-11)
    np.testing.assert_allclose(p, PRINTED[0], rtol=4e-4)
    np.testing.assert_allclose(f, PRINTED[1], rtol=4e-4)
    # T = 2 has second moments of 1 along each axis.
    half = brentq(lambda r: np.sum(p * np.exp(-0.5 * r**2 / f)) - 0.5, 0.1, 3.0)
    assert half / np.sqrt(2.0) == pytest.approx(HALF_LIGHT, abs=1e-6)
    with pytest.raises(ValueError, match="no model 'dev'"):
        components("dev")


def test_one_epoch_may_come_without_its_axis():
    images, weights = noisy(100)
    whole = fit_gaussian(images[:1], weights[:1], STRAIGHT[None], [SIGMA[0]])
    plain = fit_gaussian(images[0], weights[0], STRAIGHT, SIGMA[0])
    listed = fit_gaussian(images[0].tolist(), weights[0].astype(np.float64), list(STRAIGHT), float(SIGMA[0]))
    assert np.array_equal(whole.parameters, plain.parameters)
    assert np.array_equal(whole.parameters, listed.parameters)
    assert np.array_equal(whole.covariance, plain.covariance)


def test_a_guess_saves_evaluations_and_changes_nothing():
    images, weights = noisy(100)
    cold = fit_gaussian(images, weights, JACOBIANS, SIGMA)
    warm = fit_gaussian(images, weights, JACOBIANS, SIGMA, guess=cold.parameters)
    assert warm.n_evaluation < cold.n_evaluation
    np.testing.assert_allclose((warm.parameters - cold.parameters) / cold.errors, 0, atol=1e-4)


def test_a_psf_is_fitted_as_it_is():
    image = stamps(gaussian(0.03, 0.02, 0.25, 1.0), [SHEARED], [0.0])
    fit = fit_gaussian(image, np.ones_like(image), SHEARED, 0.0, with_prior=False)
    np.testing.assert_allclose(fit.parameters, [0, 0, 0.03, 0.02, 0.25, 1.0], rtol=1e-5, atol=1e-5)
    assert abs(fit_gaussian(image, np.ones_like(image), SHEARED, 0.0).g1) < 0.02


def test_the_default_guess_finds_small_and_large_objects():
    for T in (0.01, 0.1, 1.0, 3.0):
        images = stamps(gaussian(T=T), size=81)
        fit = fit_gaussian(images, np.ones_like(images), JACOBIANS, SIGMA, with_prior=False)
        assert fit.flags == 0
        assert fit.T == pytest.approx(T, rel=1e-4)
        assert fit.n_evaluation < 15


def test_the_scatter_is_the_error():
    fits = [fit_gaussian(*noisy(100, seed), JACOBIANS, SIGMA) for seed in range(150)]
    scatter = np.std([fit.parameters for fit in fits], axis=0)
    np.testing.assert_allclose(scatter / np.mean([fit.errors for fit in fits], axis=0), 1.0, atol=0.2)
    assert np.mean([fit.s2n for fit in fits]) == pytest.approx(100.0, rel=0.03)


def test_what_cannot_be_fitted_has_flags():
    images, weights = noisy(100)
    fit = fit_gaussian(np.full_like(images, np.nan), weights, JACOBIANS, SIGMA)
    assert fit.flags is FitFlag.NOT_FINITE
    assert np.isnan([*fit.parameters, *fit.errors, fit.s2n]).all()
    assert "not finite" in repr(fit)
    assert fit_gaussian(images, 0 * weights, JACOBIANS, SIGMA).flags == FitFlag.NO_PIXELS
    assert fit_gaussian(images, weights, JACOBIANS, SIGMA, guess=[0, 0, 1, 1, 1, 1]).flags == FitFlag.RANGE


def test_the_result_shows_what_it_is():
    fit = fit_gaussian(*noisy(100), JACOBIANS, SIGMA)
    assert all(f"{name}=" in repr(fit) for name in (*PARAMETERS, "s2n"))
    np.testing.assert_allclose(fit.errors**2, np.diag(fit.covariance))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"images": np.ones(5)}, "images must be"),
        ({"weights": np.ones((3, SIZE, SIZE - 1))}, "weights must have the shape"),
        ({"jacobians": np.ones((2, 4))}, "jacobians must have"),
        ({"jacobians": SCALE}, "jacobians must have"),
        ({"target_sigma": [0.3, 0.3]}, "target_sigma must have"),
        ({"target_sigma": -0.3}, "target_sigma must not be"),
        ({"target_sigma": np.nan}, "target_sigma must not be"),
        ({"guess": np.ones(5)}, "guess must be"),
        ({"offset": np.ones(3)}, "offset must have"),
        ({"isa": "mmx"}, "mmx"),
    ],
)
def test_wrong_arguments_are_refused(change, match):
    images, weights = noisy(100)
    arguments = {"images": images, "weights": weights, "jacobians": JACOBIANS, "target_sigma": SIGMA}
    with pytest.raises(ValueError, match=match):
        fit_gaussian(**(arguments | change))
