# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: freethreading_compatible=True, embedsignature=True
"""Moments of many stamps under Gaussian weights: adaptive ones and ones of a fixed weight.

One call does a whole batch.  There is no state; the GIL is released for the arithmetic, and a stamp depends
neither on the number of threads nor on what else is in the batch.
"""

from cython.parallel cimport prange, threadid
from libc.stdint cimport int32_t

import numpy as np

cdef extern from "isa.h" nogil:
    int isa_find(const char *name) noexcept

cdef extern from "moments.h" nogil:
    int MOMENTS_NONE, MOMENTS_FLOAT64, MOMENTS_FLOAT32, MOMENTS_BOOL
    int MOMENTS_N_ADAPTIVE, MOMENTS_N_FIXED
    ctypedef int32_t (*adaptive_function "moments_adaptive_function *")(
        const void *stamp, int stamp_type, const void *weight, int weight_type, Py_ssize_t ny, Py_ssize_t nx,
        double guess_sigma, double *scratch, double *result, int32_t *n_iteration) noexcept
    ctypedef int32_t (*fixed_function "moments_fixed_function *")(
        const void *stamp, int stamp_type, const void *weight, int weight_type, Py_ssize_t ny, Py_ssize_t nx,
        const double *jacobian, double dx, double dy, double sigma, double *scratch, double *sums,
        double *covariance) noexcept
    Py_ssize_t moments_scratch_size(Py_ssize_t ny, Py_ssize_t nx) noexcept
    adaptive_function moments_adaptive_for(int isa) noexcept
    fixed_function moments_fixed_for(int isa) noexcept


def adaptive(stamps, weights, const double[:] guess_sigma, *, int n_threads=1, str isa="auto"):
    """
    Measure the adaptive moments of many stamps: the elliptical Gaussian that fits each best.

    Hirata & Seljak (2003) and Bernstein & Jarvis (2002), with the cut of the weight, the limits and the threshold
    of GalSim's hsm: pixels count where the weight is at least 1e-7 of its peak, a change of less than 1e-6 of the
    minor axis ends the iteration.

    Parameters
    ----------
    stamps : ndarray of float64 or float32 [n, y, x]
        Background-subtracted stamps, C-contiguous.
    weights : ndarray of float64, float32 or bool [n, y, x] or None
        Pixels whose weight is not positive and finite are left out, whatever they hold; the values of the others do
        not matter.  None: every pixel is usable.
    guess_sigma : ndarray of float64 [n]
        Where the iteration starts [pixel].
    n_threads : int, optional
        Threads; the result does not depend on it.
    isa : str, optional
        Instruction set, see `shapempi.kernels._isa`.

    Returns
    -------
    values : ndarray of float64 [n, 6]
        Reduced shear g1, g2 in the pixel frame, determinant radius sigma [pixel], centroid x, y from the stamp's
        centre [pixel], flux of the Gaussian.  NaN where a flag is set.
    flags : ndarray of int32 [n]
        Bits of `shapempi.measure.moments.MomentsFlag`; 0 is a good measurement.
    n_iteration : ndarray of int32 [n]
        Iterations done.

    Raises
    ------
    ValueError
        If shapes, types or layouts do not fit.
    """
    cdef Py_ssize_t n, ny, nx, i
    cdef int stamp_type, weight_type, thread
    cdef adaptive_function measure = moments_adaptive_for(_find(isa))
    cdef const unsigned char[::1] pixel, weight
    n, ny, nx = _shape(stamps, weights, n_threads)
    if guess_sigma.shape[0] != n:
        raise ValueError(f"{guess_sigma.shape[0]} guesses for {n} stamps")
    pixel, stamp_type = _bytes(stamps)
    weight, weight_type = _bytes(weights)
    values, flags, iterations = np.full((n, MOMENTS_N_ADAPTIVE), np.nan), np.empty(n, np.int32), np.empty(n, np.int32)
    if n == 0:
        return values, flags, iterations
    cdef double[:, ::1] out = values, scratch = np.empty((n_threads, moments_scratch_size(ny, nx)))
    cdef int32_t[::1] flag = flags, count = iterations
    cdef Py_ssize_t step = pixel.shape[0] // n, weight_step = weight.shape[0] // n
    for i in prange(n, nogil=True, num_threads=n_threads, schedule="dynamic", chunksize=16):
        thread = threadid()
        flag[i] = measure(&pixel[i * step], stamp_type, &weight[i * weight_step], weight_type, ny, nx, guess_sigma[i],
                          &scratch[thread, 0], &out[i, 0], &count[i])
    return values, flags, iterations


def fixed(stamps, weights, const double[:, ::1] jacobians, const double[:, ::1] offsets, double fwhm, *,
          int n_threads=1, str isa="auto"):
    """
    Sum many stamps under a round Gaussian weight that is fixed on the sky.

    The weight has peak 1; with F = (v, u, u^2 - v^2, 2uv, u^2 + v^2, 1) the sums are those of w d F and their
    covariance is the sum of w^2 F F^T over the inverse variances.  Both add up over the epochs of an object.

    Parameters
    ----------
    stamps : ndarray of float64 or float32 [n, y, x]
        Background-subtracted stamps, C-contiguous.
    weights : ndarray of float64, float32 or bool [n, y, x] or None
        Inverse variances; pixels where they are not positive and finite are left out.  None: 1 everywhere.
    jacobians : ndarray of float64 [n, 4]
        dudx, dudy, dvdx, dvdy [arcsec/pixel], u West, v North.
    offsets : ndarray of float64 [n, 2]
        dx, dy of the weight's centre from the stamp's centre [pixel].
    fwhm : float
        Full width at half maximum of the weight [arcsec].
    n_threads : int, optional
        Threads; the result does not depend on it.
    isa : str, optional
        Instruction set, see `shapempi.kernels._isa`.

    Returns
    -------
    sums : ndarray of float64 [n, 6]
        Zero where a flag is set.
    covariance : ndarray of float64 [n, 6, 6]
        Zero where a flag is set.
    flags : ndarray of int32 [n]
        Bits of `shapempi.measure.moments.MomentsFlag`; 0 if the sums exist.

    Raises
    ------
    ValueError
        If shapes, types or layouts do not fit, or the width is not positive and finite.
    """
    cdef Py_ssize_t n, ny, nx, i
    cdef int stamp_type, weight_type, thread
    cdef fixed_function measure = moments_fixed_for(_find(isa))
    cdef const unsigned char[::1] pixel, weight
    n, ny, nx = _shape(stamps, weights, n_threads)
    if jacobians.shape[0] != n or jacobians.shape[1] != 4:
        raise ValueError(f"Jacobians of shape {jacobians.shape[0], jacobians.shape[1]} for {n} stamps")
    if offsets.shape[0] != n or offsets.shape[1] != 2:
        raise ValueError(f"offsets of shape {offsets.shape[0], offsets.shape[1]} for {n} stamps")
    if not 0.0 < fwhm < np.inf:
        raise ValueError(f"the width of the weight must be positive and finite, not {fwhm}")
    pixel, stamp_type = _bytes(stamps)
    weight, weight_type = _bytes(weights)
    sums, covariance = np.empty((n, MOMENTS_N_FIXED)), np.empty((n, MOMENTS_N_FIXED, MOMENTS_N_FIXED))
    flags = np.empty(n, np.int32)
    if n == 0:
        return sums, covariance, flags
    cdef double[:, ::1] out = sums, scratch = np.empty((n_threads, moments_scratch_size(ny, nx)))
    cdef double[:, :, ::1] out_covariance = covariance
    cdef int32_t[::1] flag = flags
    cdef Py_ssize_t step = pixel.shape[0] // n, weight_step = weight.shape[0] // n
    # FWHM = 2 sqrt(2 ln 2) sigma
    cdef double sigma = fwhm / 2.3548200450309493
    for i in prange(n, nogil=True, num_threads=n_threads, schedule="dynamic", chunksize=16):
        thread = threadid()
        flag[i] = measure(&pixel[i * step], stamp_type, &weight[i * weight_step], weight_type, ny, nx,
                          &jacobians[i, 0], offsets[i, 0], offsets[i, 1], sigma, &scratch[thread, 0], &out[i, 0],
                          &out_covariance[i, 0, 0])
    return sums, covariance, flags


cdef int _find(str isa) except -1:
    """Return the number of an instruction set."""
    cdef int number = isa_find(isa.encode())
    if number < 0:
        raise ValueError(f"no instruction set {isa!r} in this build and CPU")
    return number


def _shape(stamps, weights, n_threads):
    """Return the shape of the stamps if it is that of the weights."""
    if stamps.ndim != 3 or 0 in stamps.shape[1:]:
        raise ValueError(f"stamps must have the axes [n, y, x] and pixels, not the shape {stamps.shape}")
    if weights is not None and weights.shape != stamps.shape:
        raise ValueError(f"weights of shape {weights.shape} for stamps of shape {stamps.shape}")
    if stamps.dtype == np.bool_:
        raise ValueError("stamps must be of float64 or float32, not bool")
    if n_threads < 1:
        raise ValueError(f"n_threads must be at least 1, not {n_threads}")
    return stamps.shape


def _bytes(array):
    """Return the memory of an array and what its numbers are."""
    if array is None:
        return np.zeros(1, np.uint8), MOMENTS_NONE
    types = {np.dtype(np.float64): MOMENTS_FLOAT64, np.dtype(np.float32): MOMENTS_FLOAT32, np.dtype(bool): MOMENTS_BOOL}
    if array.dtype not in types or not array.flags.c_contiguous:
        raise ValueError(f"stamps must be C-contiguous arrays of float64 or float32, weights may be bool, not "
                         f"{array.dtype} with strides {array.strides}")
    return array.reshape(-1).view(np.uint8), types[array.dtype]
