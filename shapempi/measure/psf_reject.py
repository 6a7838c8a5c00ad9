"""Pixels and stars that a PSF fit must leave out: cosmic rays, neighbours, objects that are not single stars."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

__all__ = ["clean_pixels", "clean_stars"]

#: A neighbour is followed outwards down to this significance of the smoothed residual, then grown by these pixels.
_NEIGHBOUR_EDGE = 1.5
_NEIGHBOUR_GROWTH = 2
#: Inside this many sigma of the PSF a smoothed residual is the model's own error rather than a neighbour.
_CORE = 3.0
#: Largest part of a star's information (model^2 inside the core) that bad pixels may take.
_MAX_LOST = 0.1

#: The four neighbours in the plane of each stamp, none in the next stamp.
_PLANE = np.zeros((3, 3, 3), dtype=bool)
_PLANE[1] = ndimage.generate_binary_structure(2, 1)


def clean_pixels(
    residual: np.ndarray,
    weight: np.ndarray,
    radius: np.ndarray,
    sigma: float,
    pixel_clip: float,
    neighbour_clip: float,
) -> np.ndarray:
    """Find the pixels that show the star alone.

    Left out are single pixels that deviate by `pixel_clip` standard deviations, with their four neighbours, and,
    outside the core, connected regions that are bright in the residual smoothed by a Gaussian of the PSF's size.

    Parameters
    ----------
    residual, weight : ndarray of float64 [n, y, x]
        Star minus model, and its inverse variance with the tolerated model error included; 0 is unusable.
    radius : ndarray of float64 [n, y, x]
        Distance from the star's centre [pixel].
    sigma : float
        Size of the PSF [pixel].
    pixel_clip, neighbour_clip : float
        Thresholds [standard deviations].

    Returns
    -------
    ndarray of bool [n, y, x]
        Pixels to be used.
    """
    deviation = residual * np.sqrt(weight)
    outlier = ndimage.binary_dilation(np.abs(deviation) > pixel_clip, _PLANE)
    good = (weight > 0) & ~outlier
    # A sum of unit-variance pixels under a Gaussian kernel has the variance of the squared kernel, which is a
    # Gaussian narrower by sqrt(2) of total 1/(4 pi sigma^2).
    widths = (0.0, sigma, sigma)
    narrow = (0.0, sigma / np.sqrt(2.0), sigma / np.sqrt(2.0))
    smooth = ndimage.gaussian_filter(np.where(good, deviation, 0.0), widths, mode="constant")
    variance = ndimage.gaussian_filter(good.astype(float), narrow, mode="constant") / (4 * np.pi * sigma**2)
    significance = smooth / np.sqrt(np.maximum(variance, 1e-6))
    outside = radius > _CORE * sigma
    neighbour = ndimage.binary_propagation(
        (significance > neighbour_clip) & outside, _PLANE, (significance > _NEIGHBOUR_EDGE) & outside
    )
    neighbour = ndimage.binary_dilation(neighbour, _PLANE, iterations=_NEIGHBOUR_GROWTH) & outside
    return good & ~neighbour


def clean_stars(
    model: np.ndarray,
    good: np.ndarray,
    flux: np.ndarray,
    chi2: np.ndarray,
    n_pixel: np.ndarray,
    radius: np.ndarray,
    sigma: float,
    clip: float,
) -> np.ndarray:
    """Find the stars that the model describes like most others.

    Parameters
    ----------
    model : ndarray of float64 [n, y, x]
        Model of each star at unit flux.
    good : ndarray of bool [n, y, x]
        Usable pixels.
    flux : ndarray of float64 [n]
        Fluxes; a star without positive flux is left out.
    chi2 : ndarray of float64 [n]
        chi^2 per pixel.
    n_pixel : ndarray of int [n]
        Pixels behind chi2; their number bounds the spread that chi2 must have.
    radius, sigma : ndarray, float
        As in `clean_pixels`.
    clip : float
        A star is left out when its chi2 exceeds the median by this many (robust) standard deviations.

    Returns
    -------
    ndarray of bool [n]
        Stars to be used.
    """
    information = model**2 * (radius < 0.8 * _CORE * sigma)
    total = information.sum(axis=(1, 2))
    lost = 1.0 - np.sum(information * good, axis=(1, 2)) / np.where(total > 0, total, 1.0)
    used = (flux > 0) & (total > 0) & (lost < _MAX_LOST) & np.isfinite(chi2)
    if not used.any():
        return used
    middle = np.median(chi2[used])
    spread = max(1.4826 * float(np.median(np.abs(chi2[used] - middle))), float(np.sqrt(2.0 / np.median(n_pixel[used]))))
    return used & (chi2 < middle + clip * spread)
