"""The fitted galaxy as a detector would see it: the model of `shapempi.measure.fit` convolved with each epoch's PSF."""

from __future__ import annotations

import numpy as np

from shapempi.measure.fit import components

__all__ = ["draw_fit"]


def draw_fit(
    psf: np.ndarray,
    jacobian: np.ndarray,
    offset: np.ndarray,
    *,
    shape: tuple[float, float, float],
    flux: float,
    model: str = "gauss",
) -> np.ndarray:
    """Draw a fitted galaxy in some epochs.

    The PSF's stamp already has the pixel in it, so the product of its transform and the Gaussians' is the image
    itself.  It is made on a grid twice as wide, so that nothing comes in again at the other side.

    Parameters
    ----------
    psf : ndarray of float [n, y, x]
        PSF of unit sum, centred on the stamp's centre; sides odd.
    jacobian : ndarray of float64 [n, 4]
        dudx, dudy, dvdx, dvdy [arcsec/pixel].
    offset : ndarray of float64 [n, 2]
        dx, dy [pixel] of the galaxy from the stamp's centre.
    shape : tuple of float
        g1, g2, T [arcsec^2] before the PSF.
    flux : float
        Its flux [counts].
    model : str, optional
        The profile (`FitParams.model`).

    Returns
    -------
    ndarray of float64 [n, y, x]
        Counts per pixel.
    """
    ny, nx = psf.shape[1:]
    fy = np.fft.fftfreq(2 * ny)[:, None]
    fx = np.fft.rfftfreq(2 * nx)[None, :]
    g1, g2, T = shape
    e = 2.0 / (1.0 + g1**2 + g2**2)
    # <uu>, <uv>, <vv> of the unit model; the convention of `fit`.
    covariance = 0.5 * T * np.array([[1.0 + e * g1, e * g2], [e * g2, 1.0 - e * g1]])
    images = np.zeros(psf.shape)
    for k in range(len(psf)):
        inverse = np.linalg.inv(np.asarray(jacobian[k], dtype=float).reshape(2, 2))
        xx, xy, _, yy = (inverse @ covariance @ inverse.T).ravel()
        exponent = -2.0 * np.pi**2 * (xx * fx**2 + 2.0 * xy * fx * fy + yy * fy**2)
        galaxy = sum(part * np.exp(size * exponent) for part, size in zip(*components(model), strict=True))
        phase = np.exp(-2j * np.pi * (fx * offset[k, 0] + fy * offset[k, 1]))
        padded = np.zeros((2 * ny, 2 * nx))
        padded[:ny, :nx] = psf[k]
        images[k] = np.fft.irfft2(np.fft.rfft2(padded) * galaxy * phase, s=padded.shape)[:ny, :nx]
    return flux * images
