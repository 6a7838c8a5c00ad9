"""What is known of a PSF before its stars: round, falling, smooth, and nearly the same all over the CCD."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shapempi.measure.psf.params import NativePsfParams
from shapempi.measure.psf.stars import PsfStars

__all__ = ["Prior", "make_prior"]

#: Length [sigma of the PSF] over which the prior correlates a grid finer than the pixels, times sqrt(1 - sampling^2):
#: the stars say little of what is between pixels.
_CORRELATION = 0.5


@dataclass(frozen=True)
class Prior:
    """The prior of basis images: mean + S z, z independent Gaussians of mean 0.

    Attributes
    ----------
    mean : ndarray of float64 [n_coef, model_size, model_size]
        Mean of the basis images.
    sigma : ndarray of float64 [n_coef, model_size, model_size]
        Standard deviation of z.
    smoother : ndarray of float64 [model_size, model_size]
        S along one axis, symmetric.
    """

    mean: np.ndarray
    sigma: np.ndarray
    smoother: np.ndarray

    def images(self, z: np.ndarray) -> np.ndarray:
        """Return the basis images of z."""
        return self.mean + self.smooth(z)

    def smooth(self, z: np.ndarray) -> np.ndarray:
        """Return S z, which is also the transpose of S at z."""
        return self.smoother @ z @ self.smoother


def make_prior(stars: PsfStars, profile: np.ndarray, n_coef: int, params: NativePsfParams) -> Prior:
    """Return the prior around a radial profile.

    Parameters
    ----------
    stars : PsfStars
        The stars, for their size and the grid.
    profile : ndarray of float64 [model_size, model_size]
        The mean, positive.
    n_coef : int
        Number of basis images: all but the first have mean 0.
    params : NativePsfParams
        Widths of the prior.

    Returns
    -------
    Prior
        The prior.
    """
    mean = np.zeros((n_coef, *profile.shape))
    mean[0] = profile
    fractions = np.full(n_coef, params.prior_variation)
    fractions[0] = params.prior_shape
    length = _CORRELATION * stars.sigma * float(np.sqrt(1.0 - stars.grid.sampling**2))
    return Prior(mean, fractions[:, None, None] * profile, stars.grid.smoother(length))
