"""Pixels and stars that a PSF fit must leave out: cosmic rays, neighbours, objects that are not single stars."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

__all__ = ["clean_pixels", "clean_stars", "relative_shapes"]

#: A neighbour is followed outwards down to this significance of the smoothed residual, then grown by these pixels.
_NEIGHBOUR_EDGE = 1.5
_NEIGHBOUR_GROWTH = 2
#: Inside this many sigma of the PSF a smoothed residual is the model's own error rather than a neighbour; where the
#: model is trusted, a neighbour outside of so many times the threshold is followed inwards to the second radius.
_CORE = 3.0
_TRUSTED_CORE = 1.5
_STRONG = 2.5
#: Largest part of a star's information (model^2 inside the core) that bad pixels may take.
_MAX_LOST = 0.1
#: Radius [sigma of the PSF] inside which a star's shape is compared with the model's.
_SHAPE = 4.0

#: What is less has no information, and its square and inverse are numbers.
_TINY = 1e-100


def clean_pixels(
    residual: np.ndarray,
    weight: np.ndarray,
    radius: np.ndarray,
    sigma: float,
    pixel_clip: float,
    neighbour_clip: float,
    trusted: bool,
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
    trusted : bool
        Whether the model is good enough to show neighbours near the star's core.

    Returns
    -------
    ndarray of bool [n, y, x]
        Pixels to be used.
    """
    deviation = residual * np.sqrt(weight)
    good = (weight > 0) & ~_grown(np.abs(deviation) > pixel_clip)
    # A sum of unit-variance pixels under a Gaussian kernel has the variance of the squared kernel, which is a
    # Gaussian narrower by sqrt(2) of total 1/(4 pi sigma^2).
    smooth = _smoothed(np.where(good, deviation, 0.0), sigma)
    variance = _smoothed(good.astype(float), sigma / np.sqrt(2.0)) / (4 * np.pi * sigma**2)
    significance = smooth / np.sqrt(np.maximum(variance, 1e-6))
    outside = radius > _CORE * sigma
    inner = radius > _TRUSTED_CORE * sigma if trusted else outside
    for i in np.flatnonzero(((significance > neighbour_clip) & outside).any(axis=(1, 2))):
        for limit, place in ((neighbour_clip, outside[i]), (_STRONG * neighbour_clip, inner[i])):
            seeds = (significance[i] > limit) & outside[i]
            if seeds.any():
                neighbour = ndimage.binary_propagation(seeds, mask=(significance[i] > _NEIGHBOUR_EDGE) & place)
                good[i] &= ~(ndimage.binary_dilation(neighbour, iterations=_NEIGHBOUR_GROWTH) & place)
    return good


def _grown(mask: np.ndarray) -> np.ndarray:
    """Return pixels [n, y, x] that are in the mask or have one of their four neighbours in it."""
    grown = mask.copy()
    grown[:, 1:] |= mask[:, :-1]
    grown[:, :-1] |= mask[:, 1:]
    grown[:, :, 1:] |= mask[:, :, :-1]
    grown[:, :, :-1] |= mask[:, :, 1:]
    return grown


def _smoothed(stamps: np.ndarray, sigma: float) -> np.ndarray:
    """Return stamps [n, y, x] smoothed by a Gaussian of unit total, with nothing around them."""
    return ndimage.gaussian_filter(stamps, (0.0, sigma, sigma), mode="constant")


def clean_stars(
    data: np.ndarray,
    unit: np.ndarray,
    weight: np.ndarray,
    good: np.ndarray,
    chi2: np.ndarray,
    n_pixel: np.ndarray,
    place: tuple[np.ndarray, np.ndarray],
    clip: float,
) -> np.ndarray:
    """Find the stars that the model describes like most others.

    A star is left out when bad pixels take too much of it, when its chi^2 is too high, or when its size or
    ellipticity relative to the model is an outlier: a galaxy or a close pair that is hardly wider than the stars
    shows there long before it shows in chi^2.

    Parameters
    ----------
    data : ndarray of float64 [n, y, x]
        The stars.
    unit : ndarray of float64 [n, y, x]
        Model of each star at unit flux.
    weight : ndarray of float64 [n, y, x]
        Inverse variance of the data.
    good : ndarray of bool [n, y, x]
        Usable pixels.
    chi2 : ndarray of float64 [n]
        chi^2 per pixel.
    n_pixel : ndarray of int [n]
        Pixels behind chi2; their number bounds the spread that chi2 must have.
    place : tuple of ndarray of float64 [n, y, x]
        x and y of each pixel from the star's centre [sigma of the PSF].
    clip : float
        Limit of the deviations from the median [(robust) standard deviations].

    Returns
    -------
    ndarray of bool [n]
        Stars to be used; a star without positive flux is not.
    """
    radius2 = place[0] ** 2 + place[1] ** 2
    information = unit**2 * (radius2 < (0.8 * _CORE) ** 2)
    total = information.sum(axis=(1, 2))
    lost = 1.0 - np.sum(information * good, axis=(1, 2)) / np.where(total > 0, total, 1.0)
    used = (total > 0) & (lost < _MAX_LOST) & np.isfinite(chi2)
    if not used.any():
        return used
    shape, variance, measured = relative_shapes(data, unit, weight * good, place)
    used &= measured
    if not used.any():
        return used
    middle = np.median(chi2[used])
    spread = max(_robust(chi2[used] - middle), float(np.sqrt(2.0 / np.median(n_pixel[used]))))
    clean = used & (chi2 < middle + clip * spread)
    for value, error2 in zip(shape.T, variance.T, strict=True):
        deviation = value - np.median(value[used])
        # The scatter of the stars beyond their errors is the model's lack of detail.
        intrinsic = max(_robust(deviation[used]) ** 2 - float(np.median(error2[used])), 0.0)
        clean &= np.abs(deviation) < clip * np.sqrt(error2 + intrinsic)
    return clean


def _robust(deviation: np.ndarray) -> float:
    """Return the standard deviation of a Gaussian with this median absolute deviation."""
    return 1.4826 * float(np.median(np.abs(deviation)))


def _near(place: tuple[np.ndarray, np.ndarray]) -> tuple[slice, slice, slice]:
    """Return the part of the stamps that holds all pixels whose shape is compared."""
    inside = place[0] ** 2 + place[1] ** 2 < _SHAPE**2
    rows, columns = (np.flatnonzero(inside.any(axis=axes)) for axes in ((0, 2), (0, 1)))
    if len(rows) == 0:
        return slice(None), slice(0, 1), slice(0, 1)
    return slice(None), slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def relative_shapes(
    data: np.ndarray, unit: np.ndarray, weight: np.ndarray, place: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit each star, near its centre, by its model times 1 + a polynomial of second order.

    Parameters
    ----------
    data, unit, weight, place
        As in `clean_stars`; a weight of 0 leaves a pixel out.

    Returns
    -------
    shape, variance : ndarray of float64 [n, 3]
        Coefficients of x^2 + y^2, x^2 - y^2 and 2 x y relative to the flux, and their variances.
    measured : ndarray of bool [n]
        Whether there is a fit, with positive flux.
    """
    near = _near(place)
    data, unit, weight, x, y = (image[near] for image in (data, unit, weight, *place))
    weight = weight * (x**2 + y**2 < _SHAPE**2)
    design = np.stack([unit, unit * x, unit * y, unit * (x**2 + y**2), unit * (x**2 - y**2), 2 * unit * x * y], axis=1)
    n, n_term = design.shape[:2]
    design = design.reshape(n, n_term, -1)
    weighted = design * weight.reshape(n, 1, -1)
    normal = weighted @ design.transpose(0, 2, 1)
    right = (weighted @ data.reshape(n, -1, 1))[..., 0]
    scale = np.sqrt(np.diagonal(normal, axis1=1, axis2=2))
    whole = (scale > _TINY).all(axis=1)
    scale[~whole] = 1.0
    normal = normal / (scale[:, :, None] * scale[:, None, :])
    whole &= np.isfinite(normal).all(axis=(1, 2)) & np.isfinite(right).all(axis=1)
    normal[~whole] = np.eye(n_term)
    # A hair's breadth keeps a star of three pixels from being singular.
    inverse = np.linalg.inv(normal + 1e-9 * np.eye(n_term)) / (scale[:, :, None] * scale[:, None, :])
    fitted = np.sum(inverse * np.where(whole, right.T, 0.0).T[:, None, :], axis=2)
    whole &= fitted[:, 0] > 0
    flux = np.where(whole, fitted[:, 0], 1.0)[:, None]
    variance = np.diagonal(inverse, axis1=1, axis2=2)[:, 3:]
    return fitted[:, 3:] / flux, np.maximum(variance, 0.0) / flux**2, whole
