"""The drawn fit is the convolution that is written down."""

import numpy as np
import pytest

from shapempi.measure.drawn_model import draw_fit
from shapempi.measure.fit import FitParams, fit_gaussian

SIZE = 51
#: dudx, dudy, dvdx, dvdy: East is left; turned and sheared; upside down.
JACOBIANS = np.array([[0.187, 0.0, 0.0, 0.187], [0.15, 0.1, -0.09, 0.16], [-0.187, 0.002, 0.001, -0.187]])


def gaussian(covariance, offset):
    """A Gaussian of unit flux, sampled at the pixels' centres; `covariance` in pixels (x, y)."""
    grid = np.arange(SIZE) - SIZE // 2
    d = np.stack(np.meshgrid(grid - offset[0], grid - offset[1]), axis=-1)
    chi2 = np.einsum("yxi,ij,yxj->yx", d, np.linalg.inv(covariance), d)
    return np.exp(-0.5 * chi2) / (2 * np.pi * np.sqrt(np.linalg.det(covariance)))


@pytest.mark.parametrize("jacobian", JACOBIANS)
def test_the_drawn_model_is_the_convolution_with_the_psf(jacobian):
    psf_covariance = np.array([[2.6, 0.2], [0.2, 2.2]])
    g1, g2, T, flux, offset = 0.2, -0.1, 0.5, 1234.0, (0.31, -0.42)
    e1, e2 = 2 * g1 / (1 + g1**2 + g2**2), 2 * g2 / (1 + g1**2 + g2**2)
    sky = T / 2 * np.array([[1 + e1, e2], [e2, 1 - e1]])
    inverse = np.linalg.inv(jacobian.reshape(2, 2))
    expected = flux * gaussian(psf_covariance + inverse @ sky @ inverse.T, offset)
    psf = gaussian(psf_covariance, (0.0, 0.0))
    found = draw_fit(psf[None], jacobian[None], np.array([offset]), shape=(g1, g2, T), flux=flux)[0]
    np.testing.assert_allclose(found, expected, atol=2e-5 * expected.max())
    assert found.sum() == pytest.approx(flux, rel=1e-4)


@pytest.mark.parametrize("model", ["gauss", "exp"])
def test_the_fit_finds_what_was_drawn(model):
    sigma = 0.35  # arcsec
    jacobian = JACOBIANS[0]
    psf = gaussian(np.eye(2) * (sigma / 0.187) ** 2, (0.0, 0.0))
    image = draw_fit(psf[None], jacobian[None], np.zeros((1, 2)), shape=(0.15, -0.2, 0.4), flux=500.0, model=model)
    found = fit_gaussian(
        image, np.full_like(image, 1e6), jacobian[None], np.array([sigma]), prior=FitParams(model=model)
    )
    assert (found.g1, found.g2, found.T, found.flux) == pytest.approx((0.15, -0.2, 0.4, 500.0), rel=1e-3)


def test_no_size_is_the_psf_itself():
    psf = gaussian(np.eye(2) * 3.0, (0.0, 0.0))[None]
    found = draw_fit(psf, JACOBIANS[:1], np.zeros((1, 2)), shape=(0.0, 0.0, 0.0), flux=2.0)
    np.testing.assert_allclose(found, 2 * psf, atol=1e-12)
