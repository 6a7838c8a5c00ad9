"""Calibrated shapes of simulated galaxies against their true shear: g = (1 + m) g_true + c."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shapempi.lensing.leakage import line_fit
from shapempi.lensing.patches import MIN_PATCHES
from shapempi.measure.response import jackknife_error

__all__ = ["TruthBias", "truth_bias"]

#: Groups of galaxies that the jackknife leaves out one by one.
_N_GROUP = 200


@dataclass(frozen=True)
class TruthBias:
    """Mean shear beside the truth, and bias by component.

    Attributes
    ----------
    n : int
        Galaxies.
    g, g_err, true_g : ndarray of float64 [2]
        Weighted means of calibrated and of true shear, and the error of their difference.
    m, m_err, c, c_err : ndarray of float64 [2]
        Biases.  If all galaxies have the same true shear, m is that which would be for c = 0, and c that for m = 0.
    one_shear : bool
        Whether that is so.
    """

    n: int
    g: np.ndarray
    g_err: np.ndarray
    true_g: np.ndarray
    m: np.ndarray
    m_err: np.ndarray
    c: np.ndarray
    c_err: np.ndarray
    one_shear: bool


def truth_bias(shear: np.ndarray, weight: np.ndarray, true_g: np.ndarray, group: np.ndarray) -> TruthBias | None:
    """Compare calibrated shapes with true shears.

    Parameters
    ----------
    shear, true_g : ndarray of float64 [2, n]
        Calibrated shapes, and true shears.
    weight : ndarray of float64 [n]
        Weights.
    group : ndarray of int [n]
        Patch, or rotated pair: what is not independent.

    Returns
    -------
    TruthBias or None
        None for fewer than three galaxies.
    """
    n = shear.shape[1]
    if n < 3:
        return None
    group = np.unique(group, return_inverse=True)[1] % _N_GROUP
    difference = shear - true_g
    means = [_mean(each, weight, group) for each in difference]
    mean, error = (np.array([each[k] for each in means]) for k in (0, 1))
    truth = np.average(true_g, axis=1, weights=weight)
    spread = np.ptp(true_g, axis=1)
    if (spread > 0).any():
        fits = [line_fit(true_g[i], difference[i], weight, group) for i in range(2)]
        slope, slope_err = np.array([fit[0][1] for fit in fits]), np.array([fit[1][1] for fit in fits])
        # The offset is that at the mean shear; c is that at no shear.
        c = np.array([fit[0][0] - fit[0][1] * fit[2] for fit in fits])
        c_err = np.array([np.hypot(fit[1][0], fit[1][1] * fit[2]) for fit in fits])
        return TruthBias(n, truth + mean, error, truth, slope, slope_err, c, c_err, one_shear=False)
    known = np.where(truth == 0, np.nan, truth)
    return TruthBias(n, truth + mean, error, truth, mean / known, error / np.abs(known), mean, error, one_shear=True)


def _mean(values: np.ndarray, weight: np.ndarray, group: np.ndarray) -> tuple[float, float]:
    """Return a weighted mean and its error: a jackknife over groups, if there are ten."""
    weight = np.asarray(weight, float)
    sums = np.stack([np.bincount(group, weight * values), np.bincount(group, weight)])
    total = sums.sum(axis=1)
    mean = total[0] / total[1]
    if sums.shape[1] < MIN_PATCHES:
        return float(mean), float(np.sqrt(np.sum((weight * (values - mean)) ** 2)) / total[1])
    rest = total[:, None] - sums
    return float(mean), float(jackknife_error(rest[0] / rest[1]))
