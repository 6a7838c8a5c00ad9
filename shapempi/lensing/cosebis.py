"""COSEBIs: E- and B-modes of a finite range of separations, and of nothing else.

Schneider, Eifler & Krause 2010 (A&A 520, A116), the logarithmic set.  T+n is the polynomial of degree n + 1 in
ln(theta) that is orthogonal to those before it, has the norm int T+n^2 dtheta = theta_max - theta_min, and fulfils

    int theta T+n dtheta = int theta^3 T+n dtheta = 0,

and  T-n(theta) = T+n(theta) + 4 int_theta_min^theta x T+n(x) (1/theta^2 - 3 x^2/theta^4) dx.  Then

    E_n = 1/2 int theta (xi+ T+n + xi- T-n) dtheta,    B_n = 1/2 int theta (xi+ T+n - xi- T-n) dtheta.

A constant shear, which is neither E nor B, changes none of them through xi+, for the first of the two conditions.
"""

from __future__ import annotations

import numpy as np

__all__ = ["CosebiFilters", "cosebi_filters", "plus_polynomials"]

_ARCMIN = np.pi / 180 / 60

#: Nodes of a Gauss-Legendre rule: over the whole range, and in a bin.
_N_NODE, _N_NODE_BIN = 400, 8


class CosebiFilters:
    """Filters for correlation functions in narrow bins.

    Parameters
    ----------
    plus, minus : ndarray of float64 [n_mode, n_bin]
        Integrals of theta T+n and theta T-n over each bin [rad^2].
    """

    def __init__(self, plus: np.ndarray, minus: np.ndarray) -> None:
        self.plus, self.minus = plus, minus

    def modes(self, xip: np.ndarray, xim: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return E_n and B_n [n_mode] [rad^2] of correlation functions [n_bin]."""
        plus, minus = self.plus @ xip, self.minus @ xim
        return (plus + minus) / 2, (plus - minus) / 2

    def covariance(self, var_xip: np.ndarray, var_xim: np.ndarray) -> np.ndarray:
        """Return the covariance [n_mode, n_mode] of E_n, which is that of B_n, where only shapes make noise.

        Parameters
        ----------
        var_xip, var_xim : ndarray of float64 [n_bin]
            Variances of xi+ and xi-, which are independent in all bins.
        """
        return ((self.plus * var_xip) @ self.plus.T + (self.minus * var_xim) @ self.minus.T) / 4


def plus_polynomials(ratio: float, n_mode: int) -> np.ndarray:
    """Return coefficients of T+n for separations from 1 / ratio to 1.

    Parameters
    ----------
    ratio : float
        Largest over smallest separation.
    n_mode : int
        Number of modes.

    Returns
    -------
    ndarray of float64 [n_mode, n_mode + 2]
        Of Legendre polynomials in z, which is -1 at the smallest and 1 at the largest separation and linear in the
        logarithm between; the one of the highest degree is positive.
    """
    z, node = np.polynomial.legendre.leggauss(_N_NODE)
    half = np.log(ratio) / 2
    theta = np.exp(half * (z - 1))
    basis = np.polynomial.legendre.legvander(z, n_mode + 1)
    measure = node * half * theta  # d theta
    conditions = np.stack([(measure * theta) @ basis, (measure * theta**3) @ basis])
    product = (basis.T * measure) @ basis
    found = np.zeros((n_mode, n_mode + 2))
    for n in range(n_mode):
        size = n + 3
        rows = np.concatenate([conditions, found[:n] @ product])[:, :size]
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        # As many conditions as coefficients but one: what is left is the last right singular vector.
        vector = np.linalg.svd(rows)[2][-1]
        norm = np.sqrt(vector @ product[:size, :size] @ vector / (1 - 1 / ratio))
        found[n, :size] = vector / norm * np.sign(vector[-1])
    return found


def cosebi_filters(edges: np.ndarray, n_mode: int) -> CosebiFilters:
    """Return the filters of all modes for narrow bins of separation.

    Parameters
    ----------
    edges : ndarray of float64 [n_bin + 1]
        Limits of the bins, with nothing between them [arcmin].
    n_mode : int
        Number of modes.

    Returns
    -------
    CosebiFilters
        Exact for correlation functions that are constant in each bin.
    """
    x = edges / edges[-1]
    ratio = 1 / x[0]
    coefficients = plus_polynomials(ratio, n_mode)
    z, node = np.polynomial.legendre.leggauss(_N_NODE_BIN)
    logs = np.log(x)
    width = np.diff(logs)
    log_theta = (logs[:-1, None] + logs[1:, None] + width[:, None] * z) / 2
    theta = np.exp(log_theta)
    measure = node * width[:, None] / 2 * theta
    plus = np.polynomial.legendre.legval(1 + 2 * log_theta / np.log(ratio), coefficients.T)  # [n_mode, n_bin, n_node]
    first, logarithmic, third = (
        np.sum(measure * each * plus, axis=-1) for each in (theta, theta * log_theta, theta**3)
    )
    # With A = int x T+, B = int x^3 T+ from the smallest separation, int theta T- over a bin is that of
    # theta T+ + 4 A/theta - 12 B/theta^3, and both of these are integrated by parts.
    start = np.zeros((n_mode, 1))
    a = np.concatenate([start, np.cumsum(first, axis=1)], axis=1)
    b = np.concatenate([start, np.cumsum(third, axis=1)], axis=1)
    from_a = np.diff(a * logs, axis=1) - logarithmic
    from_b = first / 2 - np.diff(b / (2 * x**2), axis=1)
    unit = (edges[-1] * _ARCMIN) ** 2
    return CosebiFilters(first * unit, (first + 4 * from_a - 12 * from_b) * unit)
