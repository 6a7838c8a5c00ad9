# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: freethreading_compatible=True, embedsignature=True
"""Sums of the spread model over the pixels of many stamps, for models that are sums of separable profiles.

There is no state; the GIL is released, and a stamp's sums depend neither on the number of threads nor on what else is
in the batch.
"""

from cython.parallel cimport prange
from libc.math cimport isfinite

import numpy as np

#: Number of sums.
cdef Py_ssize_t N_SUM = 7


def sums(const float[:, :, ::1] stamps, const float[:, :, ::1] weights, const double[:, :, ::1] across,
         const double[:, :, ::1] down, const double[::1] shares, *, int n_threads=1):
    """
    Sum images, models and variances over the usable pixels of stamps.

    The point model is phi[y, x] = down[0, y] across[0, x], the galaxy G[y, x] = sum_k shares[k] down[1 + k, y]
    across[1 + k, x].  A pixel is usable if its weight is positive and finite and its value is finite.

    Parameters
    ----------
    stamps : ndarray of float32 [n, y, x]
        Images.
    weights : ndarray of float32 [n, y, x]
        Inverse variance.
    across, down : ndarray of float64 [n, 1 + n_node, size]
        Profiles along x and along y.
    shares : ndarray of float64 [n_node]
        Shares of the galaxy's profiles.
    n_threads : int, optional
        Threads; the result does not depend on it.

    Returns
    -------
    ndarray of float64 [n, 7]
        Sums of G I, phi I, G phi, phi^2, v G^2, v phi^2, v G phi, with v = 1 / weight.

    Raises
    ------
    ValueError
        If the shapes do not fit each other.
    """
    cdef Py_ssize_t n = stamps.shape[0], ny = stamps.shape[1], nx = stamps.shape[2], n_node = shares.shape[0], i
    if not (weights.shape[0] == n and weights.shape[1] == ny and weights.shape[2] == nx):
        raise ValueError("stamps and weights must have the same shape")
    if not (across.shape[0] == down.shape[0] == n and across.shape[1] == down.shape[1] == 1 + n_node):
        raise ValueError(f"across and down must have {n} stamps of {1 + n_node} profiles")
    if across.shape[2] != nx or down.shape[2] != ny:
        raise ValueError(f"profiles must have the lengths of the stamps, {nx} and {ny}")
    if n_threads < 1:
        raise ValueError(f"n_threads must be 1 or more, not {n_threads}")
    result = np.zeros((n, N_SUM))
    # Profiles along y with their shares, one node after the other for one row: what a row's pixels have in common.
    scaled = np.empty((n, ny, n_node))
    cdef double[:, ::1] out = result
    cdef double[:, :, ::1] factors = scaled
    for i in prange(n, nogil=True, num_threads=n_threads, schedule="static"):
        _sum_stamp(stamps, weights, across, down, shares, factors, i, &out[i, 0])
    return result


cdef void _sum_stamp(const float[:, :, ::1] stamps, const float[:, :, ::1] weights, const double[:, :, ::1] across,
                     const double[:, :, ::1] down, const double[::1] shares, double[:, :, ::1] factors,
                     Py_ssize_t i, double *out) noexcept nogil:
    """Sum one stamp."""
    cdef Py_ssize_t n_node = shares.shape[0], k, x, y
    cdef double phi, galaxy, value, variance, along
    cdef float weight, pixel
    for y in range(stamps.shape[1]):
        along = down[i, 0, y]
        for k in range(n_node):
            factors[i, y, k] = shares[k] * down[i, 1 + k, y]
        for x in range(stamps.shape[2]):
            weight = weights[i, y, x]
            pixel = stamps[i, y, x]
            if not (weight > 0.0 and isfinite(weight) and isfinite(pixel)):
                continue
            phi = along * across[i, 0, x]
            galaxy = 0.0
            for k in range(n_node):
                galaxy = galaxy + factors[i, y, k] * across[i, 1 + k, x]
            value = pixel
            variance = 1.0 / weight
            out[0] += galaxy * value
            out[1] += phi * value
            out[2] += galaxy * phi
            out[3] += phi * phi
            out[4] += variance * galaxy * galaxy
            out[5] += variance * phi * phi
            out[6] += variance * galaxy * phi
