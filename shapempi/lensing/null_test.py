"""Tests of what should be zero, and errors from leaving out patches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2
from scipy.stats import f as f_distribution

__all__ = ["NullTest", "jackknife_covariance", "null_test"]


@dataclass(frozen=True)
class NullTest:
    """How far values are from zero.

    Attributes
    ----------
    name : str
        What.
    chi2 : float
        Sum of squares in units of the errors.
    dof : int
        Number of values.
    p : float
        Probability of this chi2 or a larger one, if all are zero; NaN without values.
    errors : str
        "jackknife", or "noise" for that of shapes alone.
    """

    name: str
    chi2: float
    dof: int
    p: float
    errors: str


def jackknife_covariance(rest: np.ndarray) -> np.ndarray:
    """Return the covariance [m, m] of m values from those that leave out each of n patches [n, m]."""
    n = len(rest)
    deviation = rest - rest.mean(axis=0)
    return (n - 1) / n * deviation.T @ deviation


def null_test(name: str, values: np.ndarray, noise: np.ndarray, rest: np.ndarray | None = None) -> NullTest:
    """Test whether values are zero.

    Parameters
    ----------
    name : str
        What they are.
    values : ndarray of float64 [m]
        The values.
    noise : ndarray of float64 [m, m]
        Their covariance by the noise of shapes.
    rest : ndarray of float64 [n, m], optional
        Values without each of n patches.  Their covariance is used if n is at least 2 m; as it has noise itself, chi2
        follows Hotelling's distribution.

    Returns
    -------
    NullTest
        The result; of no values where there are none, or where they have no noise.
    """
    m = len(values)
    if rest is not None and len(rest) < 2 * m:
        rest = None
    covariance = noise if rest is None else jackknife_covariance(rest)
    scale = np.sqrt(np.diag(covariance))
    if m == 0 or not (scale > 0).all() or np.linalg.matrix_rank(covariance / np.outer(scale, scale)) < m:
        return NullTest(name, 0.0, 0, float("nan"), "noise")
    square = float(values @ np.linalg.solve(covariance, values))
    if rest is None:
        return NullTest(name, square, m, float(chi2.sf(square, m)), "noise")
    n = len(rest)
    p = float(f_distribution.sf(square * (n - m) / (m * (n - 1)), m, n - m))
    return NullTest(name, square, m, p, "jackknife")
