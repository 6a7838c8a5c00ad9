"""The spread model, which says whether an object looks like the PSF or like a slightly wider profile.

Behaviour specification, section 10, with its fixes: only PSF moments that succeeded count, the models are shifted to
the object's sub-pixel position, and everything is computed for all objects at once.  The statistic is that of
Desai et al. (2012, ApJ 757, 83), for a round Gaussian PSF phi and a galaxy model G, an exponential disk with a scale
length of FWHM/16 convolved with phi.
"""

from __future__ import annotations

import numpy as np
from scipy.special import erf, roots_genlaguerre

from shapempi.kernels import _spread
from shapempi.params import Params, key

__all__ = ["SPREAD_DTYPE", "SpreadParams", "classify", "mean_sigma", "spread_model"]

#: Columns as the catalogue has them.
SPREAD_DTYPE = np.dtype(
    [("SPREAD_MODEL", "f4"), ("SPREADERR_MODEL", "f4"), ("SPREAD_CLASS", "i2"), ("spread_class_53", "i2")]
)

#: FWHM of a Gaussian in units of its sigma.
_FWHM = 2.0 * np.sqrt(2.0 * np.log(2.0))
#: Scale length of the disk in units of the PSF's sigma.
_SCALE_LENGTH = _FWHM / 16.0
#: Nodes of the mixture that stands for the disk: the models of 6 and of 12 nodes differ by 1e-13 of the flux.
_N_NODE = 6
#: Objects whose profiles are made at once: bounds the memory.
_CHUNK = 256


class SpreadParams(Params):
    """Star-galaxy separation by the spread model."""

    star_threshold: float = key(0.003, "An object is a star if |SPREAD_MODEL + 2 SPREADERR_MODEL| is below.", gt=0)
    galaxy_threshold: float = key(0.01, "An object is a galaxy if SPREAD_MODEL + 2 SPREADERR_MODEL is above.", gt=0)


def mean_sigma(sigma: np.ndarray, flag: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Return the mean PSF size of each object over the epochs whose moments succeeded.

    Parameters
    ----------
    sigma : ndarray of float64 [n_epoch]
        Size of the PSF by adaptive moments [pixel].
    flag : ndarray of int [n_epoch]
        0 where the moments succeeded.
    first : ndarray of int64 [n_object + 1]
        Epochs of object i are rows first[i] to first[i + 1].

    Returns
    -------
    ndarray of float64 [n_object]
        Mean size [pixel]; NaN for an object without a successful epoch.
    """
    n_object = len(first) - 1
    owner = np.repeat(np.arange(n_object), np.diff(first))
    good = (np.asarray(flag) == 0) & np.isfinite(sigma) & (np.asarray(sigma) > 0)
    # bincount adds one by one in the order of the rows: an object's sum does not depend on the others.
    total = np.bincount(owner[good], weights=np.asarray(sigma, dtype=float)[good], minlength=n_object)
    count = np.bincount(owner[good], minlength=n_object)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _profiles(sigma: np.ndarray, offset: np.ndarray, size: int) -> np.ndarray:
    """Integrate normal distributions over pixels: [n, size] for sigma [n] and centre offset [n]."""
    edges = np.arange(size + 1) - 0.5 - size // 2
    cumulative = 0.5 * erf((edges[None, :] - offset[:, None]) / (np.sqrt(2.0) * sigma[:, None]))
    return np.diff(cumulative, axis=1)


def _models(sigma: np.ndarray, offset: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the profiles of phi and of the parts of G along x and y [n, 1 + n_node, size], and the parts' shares.

    The Fourier transform of an exponential disk, (1 + h^2 k^2)^(-3/2), is the mean of exp(-h^2 k^2 w) over the gamma
    distribution of shape 3/2: the disk is a mixture of Gaussians of variance 2 h^2 w, and Gauss-Laguerre nodes in w
    make the mixture finite.  Convolved with phi, each remains a Gaussian.
    """
    nodes, weights = roots_genlaguerre(_N_NODE, 0.5)
    widths = np.sqrt(1.0 + 2.0 * _SCALE_LENGTH**2 * np.append(0.0, nodes)) * sigma[:, None]
    shape = (len(sigma), len(nodes) + 1, size)
    across, down = (
        _profiles(widths.ravel(), np.repeat(offset[:, axis], shape[1]), size).reshape(shape) for axis in (0, 1)
    )
    return across, down, weights / weights.sum()


def spread_model(
    stamps: np.ndarray,
    weights: np.ndarray,
    sigma: np.ndarray,
    offset: np.ndarray,
    params: SpreadParams,
    *,
    n_threads: int = 1,
) -> np.ndarray:
    """Compute the spread model of many objects.

    Parameters
    ----------
    stamps : ndarray of float32 [n, y, x]
        Background-subtracted tile vignets, square, of odd size.
    weights : ndarray of float32 [n, y, x]
        Inverse variance; pixels with 0 (masked, or of a neighbour) do not count.
    sigma : ndarray of float64 [n]
        Size of the PSF [pixel of the stamps], `mean_sigma`; NaN where there is none.
    offset : ndarray of float64 [n, 2]
        dx, dy [pixel]: the object's position minus the centre of the stamp.
    params : SpreadParams
        Thresholds of the classes.
    n_threads : int, optional
        Threads of the kernel; the result does not depend on it.

    Returns
    -------
    ndarray of SPREAD_DTYPE [n]
        SPREAD_MODEL = gI/pI - gp/pp and its error; (1, 1) where the flux under the PSF is not positive, (-1, 1) where
        there is no PSF size or position, an error of 1 where none can be computed; classes as `classify`.
    """
    n, size = len(stamps), stamps.shape[-1]
    model, error = np.full(n, -1.0), np.ones(n)
    usable = np.flatnonzero(np.isfinite(sigma) & (np.asarray(sigma) > 0) & np.isfinite(offset).all(axis=-1))
    for start in range(0, len(usable), _CHUNK):
        part = usable[start : start + _CHUNK]
        models = _models(np.asarray(sigma, dtype=float)[part], np.asarray(offset, dtype=float)[part], size)
        image, weight = (np.ascontiguousarray(planes[part], dtype=np.float32) for planes in (stamps, weights))
        g_i, p_i, g_p, p_p, v_gg, v_pp, v_gp = _spread.sums(image, weight, *models, n_threads=n_threads).T
        positive = (p_i > 0) & (p_p > 0)
        safe_i, safe_p = np.where(positive, p_i, 1.0), np.where(positive, p_p, 1.0)
        model[part] = np.where(positive, g_i / safe_i - g_p / safe_p, 1.0)
        radicand = v_gg * p_i**2 + v_pp * g_i**2 - 2.0 * v_gp * p_i * g_i
        known = positive & (radicand > 0)
        error[part] = np.where(known, np.sqrt(np.where(known, radicand, 1.0)) / safe_i**2, 1.0)
    result = np.zeros(n, dtype=SPREAD_DTYPE)
    result["SPREAD_MODEL"], result["SPREADERR_MODEL"] = model, error
    result["SPREAD_CLASS"] = classify(model, error, params)
    result["spread_class_53"] = classify(model, error, params, slope=5.0 / 3.0)
    return result


def classify(model: np.ndarray, error: np.ndarray, params: SpreadParams, *, slope: float = 2.0) -> np.ndarray:
    """Class objects by c = SPREAD_MODEL + slope SPREADERR_MODEL.

    Parameters
    ----------
    model, error : ndarray of float64 [n]
        Spread model and its error.
    params : SpreadParams
        Thresholds.
    slope : float, optional
        2, or 5/3 as in older catalogues.

    Returns
    -------
    ndarray of int16 [n]
        0 star (|c| below the star threshold), 1 galaxy (c above the galaxy threshold), 2 other; objects without a
        result are 2.
    """
    c = model + slope * error
    kind = np.full(len(c), 2, dtype=np.int16)
    kind[c > params.galaxy_threshold] = 1
    kind[np.abs(c) < params.star_threshold] = 0
    kind[error >= 1.0] = 2
    return kind
