"""How much of the PSF's shape is left in the shear: slopes of shear against shape and size of the PSF."""

from __future__ import annotations

import numpy as np

from shapempi.lensing.patches import MIN_PATCHES
from shapempi.measure.response import jackknife_error

__all__ = ["LEAKAGE_DTYPE", "leakage", "line_fit"]

#: A straight line for each component of shear (1, 2) and what it is against: shear = offset + slope (x - mean).
LEAKAGE_DTYPE = np.dtype(
    [
        *(("against", "S6"), ("component", "i2"), ("slope", "f8"), ("slope_err", "f8")),
        *(("offset", "f8"), ("offset_err", "f8"), ("mean", "f8")),
    ]
)


def leakage(galaxies: np.ndarray, shear: np.ndarray) -> np.ndarray:
    """Fit mean shear against g1, g2 and T of the PSF, each for itself.

    Parameters
    ----------
    galaxies : ndarray of GALAXY_DTYPE [n]
        The galaxies.
    shear : ndarray of float64 [2, n]
        Their calibrated shapes.

    Returns
    -------
    ndarray of LEAKAGE_DTYPE [6]
        `slope` against psf_g1 and psf_g2 is alpha, that against psf_T is per relative change of T; the first two of
        the diagonal are what is usually meant by leakage.  `mean` is that of x.
    """
    table = np.zeros(6, LEAKAGE_DTYPE)
    places = [(name, i) for name in ("psf_g1", "psf_g2", "psf_T") for i in range(2)]
    for row, (name, i) in zip(table, places, strict=True):
        x = np.asarray(galaxies[name], float)
        if name == "psf_T" and len(x):
            x = x / np.average(x, weights=galaxies["weight"])
        row["against"], row["component"] = name, i + 1
        values, errors, row["mean"] = line_fit(x, shear[i], galaxies["weight"], galaxies["patch"])
        row["offset"], row["slope"] = values
        row["offset_err"], row["slope_err"] = errors
    return table


def line_fit(
    x: np.ndarray, y: np.ndarray, weight: np.ndarray, group: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Fit y = offset + slope (x - mean) by weighted least squares.

    Parameters
    ----------
    x, y, weight : ndarray of float64 [n]
        The points.
    group : ndarray of int [n]
        What a jackknife leaves out together; with fewer than ten groups errors come from the residuals, whatever their
        scatter is at each point.

    Returns
    -------
    values, errors : ndarray of float64 [2]
        Offset and slope; NaN where all x are alike.
    mean : float
        Weighted mean of x.
    """
    nothing = np.full(2, np.nan)
    weight = np.asarray(weight, float)
    if len(x) < 3 or np.ptp(x) == 0:
        return nothing, nothing.copy(), float("nan")
    mean = float(np.average(x, weights=weight))
    x = x - mean
    index = np.unique(group, return_inverse=True)[1]
    moments = np.stack([np.bincount(index, weight * each) for each in (np.ones(len(x)), x, x**2, y, x * y)])
    total = moments.sum(axis=1)
    values = _solve(total)
    if moments.shape[1] >= MIN_PATCHES:
        return values, jackknife_error(np.array([_solve(total - part) for part in moments.T])), mean
    square = (weight * (y - values[0] - values[1] * x)) ** 2
    errors = np.sqrt([np.sum(square) / total[0] ** 2, np.sum(square * x**2) / total[2] ** 2])
    return values, errors, mean


def _solve(moments: np.ndarray) -> np.ndarray:
    """Return offset and slope from the sums of w, wx, wx^2, wy, wxy."""
    s, sx, sxx, sy, sxy = moments
    determinant = s * sxx - sx**2
    if not determinant > 0:
        return np.full(2, np.nan)
    return np.array([(sxx * sy - sx * sxy) / determinant, (s * sxy - sx * sy) / determinant])
