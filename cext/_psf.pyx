# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: freethreading_compatible=True, embedsignature=True
"""PSF models at many positions: evaluate the polynomial of a pixel basis, resample it into stamps.

One call does a whole batch.  There is no state; the GIL is released for the arithmetic, and a stamp depends
neither on the number of threads nor on what else is in the batch, and its bits not on the CPU.

Interpolants, by name in INTERPOLANTS, all with weights divided by their sum so that a constant stays one:

* lanczos3, lanczos4, lanczos5, lanczos7: sinc(d) sinc(d/a) for |d| < a; PSFEx resamples its models with a = 4;
* kaiser6: sinc(d) I0(6.5 sqrt(1 - (d/6)^2)) / I0(6.5) for |d| < 6, which the native fit resamples with.
"""

import math

from cython.parallel cimport prange, threadid

import numpy as np

cdef extern from "psf_taps.h" nogil:
    int N_INTERPOLANT "PSF_INTERPOLANTS"
    const char *psf_interpolant_name(int interpolant) noexcept

cdef extern from "psf.h" nogil:
    Py_ssize_t psf_scratch_size(Py_ssize_t mx, Py_ssize_t size) noexcept
    void psf_terms(int degree, double x, double y, double *terms) noexcept
    void psf_evaluate(const double *coefficients, Py_ssize_t n_coef, Py_ssize_t n_pixel, const double *terms,
                      Py_ssize_t n, double *models) noexcept
    void psf_resample(const double *model, Py_ssize_t my, Py_ssize_t mx, double sampling, double dx, double dy,
                      Py_ssize_t size, int interpolant, double *scratch, double *stamp) noexcept

# Positions that go through the basis images together.
cdef enum:
    BATCH = 8

INTERPOLANTS = tuple([psf_interpolant_name(i).decode() for i in range(N_INTERPOLANT)])


def evaluate(const double[:, :, ::1] coefficients, int degree, const double[:] xn, const double[:] yn, *,
             int n_threads=1):
    """
    Evaluate the polynomial of a PSF model at many positions.

    Parameters
    ----------
    coefficients : ndarray of float64 [n_coef, y, x]
        Basis images, C-contiguous, in the order 1, x, x^2, .., y, xy, .., y^2 (the PSFEx order).
    degree : int
        Total degree d of the polynomial; n_coef must be (d + 1)(d + 2)/2.
    xn, yn : ndarray of float64 [n]
        Normalised polynomial coordinates.
    n_threads : int, optional
        Threads; the result does not depend on it.

    Returns
    -------
    ndarray of float64 [n, y, x]
        The models, not normalised.  NaN where a coordinate is not finite.

    Raises
    ------
    ValueError
        If the shapes do not fit each other.
    """
    cdef Py_ssize_t n = xn.shape[0], n_coef = coefficients.shape[0], batch, i, j, m
    _check_model(n_coef, coefficients.shape[1], coefficients.shape[2], degree)
    _check_batch(n, yn.shape[0], n, n, n_threads)
    models = np.empty((n, coefficients.shape[1], coefficients.shape[2]))
    cdef double[:, :, ::1] out = models
    cdef Py_ssize_t n_pixel = out.shape[1] * out.shape[2]
    cdef double[:, ::1] terms = np.empty((n, n_coef))
    for batch in prange((n + BATCH - 1) // BATCH, nogil=True, num_threads=n_threads, schedule="static"):
        i = batch * BATCH
        m = min(n - i, BATCH)
        for j in range(i, i + m):
            psf_terms(degree, xn[j], yn[j], &terms[j, 0])
        psf_evaluate(&coefficients[0, 0, 0], n_coef, n_pixel, &terms[i, 0], m, &out[i, 0, 0])
    return models


def resample(const double[:, :, ::1] models, double sampling, const double[:] dx, const double[:] dy,
             Py_ssize_t size, *, interpolant="lanczos4", int n_threads=1):
    """
    Resample models from their own grid into stamps of image pixels.

    The value of a stamp at (ox, oy) pixels from its centre is the model at the real index
    ((ox - dx) / sampling + (mx - 1) / 2, (oy - dy) / sampling + (my - 1) / 2), by separable interpolation.
    A model holds the response of the image pixel already, so points are the right samples, whatever the sampling.
    On a grid point the interpolation is exact: with a sampling of 1 and an offset of 0 the model is copied.

    Parameters
    ----------
    models : ndarray of float64 [n, y, x]
        Models, C-contiguous; zero outside their grid.
    sampling : float
        Step of the models' grid in image pixels.
    dx, dy : ndarray of float64 [n]
        Offset of the PSF's centre from the stamp's centre [pixel].
    size : int
        Side of the stamps [pixel], odd.
    interpolant : str, optional
        One of INTERPOLANTS.
    n_threads : int, optional
        Threads; the result does not depend on it.

    Returns
    -------
    ndarray of float64 [n, size, size]
        Stamps of unit sum.  A stamp whose sum would not be positive and finite (a model with NaN in reach, an
        offset that is not finite or leads out of the stamp) is all zero.

    Raises
    ------
    ValueError
        If the shapes do not fit each other, the size is not odd, the sampling is not positive, or there is no such
        interpolant.
    """
    cdef Py_ssize_t n = models.shape[0], my = models.shape[1], mx = models.shape[2], i, thread
    cdef int kind = _find(interpolant)
    _check_model(1, my, mx, 0)
    _check_batch(n, dx.shape[0], dy.shape[0], n, n_threads)
    _check_stamp(size, sampling)
    stamps = np.empty((n, size, size))
    cdef double[:, :, ::1] out = stamps
    cdef double[:, ::1] scratch = np.empty((n_threads, psf_scratch_size(mx, size)))
    for i in prange(n, nogil=True, num_threads=n_threads, schedule="static"):
        thread = threadid()
        psf_resample(&models[i, 0, 0], my, mx, sampling, dx[i], dy[i], size, kind, &scratch[thread, 0],
                     &out[i, 0, 0])
    return stamps


def draw(const double[:, :, ::1] coefficients, int degree, double sampling, const double[:] xn, const double[:] yn,
         const double[:] dx, const double[:] dy, Py_ssize_t size, *, interpolant="lanczos4", int n_threads=1):
    """
    Draw a PSF model at many positions: `evaluate`, then `resample`, without the models in memory.

    Parameters
    ----------
    coefficients : ndarray of float64 [n_coef, y, x]
        Basis images, C-contiguous, in the order 1, x, x^2, .., y, xy, .., y^2 (the PSFEx order).
    degree : int
        Total degree d of the polynomial; n_coef must be (d + 1)(d + 2)/2.
    sampling : float
        Step of the model's grid in image pixels.
    xn, yn : ndarray of float64 [n]
        Normalised polynomial coordinates.
    dx, dy : ndarray of float64 [n]
        Offset of the PSF's centre from the stamp's centre [pixel].
    size : int
        Side of the stamps [pixel], odd.
    interpolant : str, optional
        One of INTERPOLANTS.
    n_threads : int, optional
        Threads; the result does not depend on it.

    Returns
    -------
    ndarray of float64 [n, size, size]
        Stamps of unit sum, all zero where the PSF cannot be drawn (see `resample`).

    Raises
    ------
    ValueError
        If the shapes do not fit each other, the size is not odd, the sampling is not positive, or there is no such
        interpolant.
    """
    cdef Py_ssize_t n = xn.shape[0], n_coef = coefficients.shape[0], my = coefficients.shape[1]
    cdef Py_ssize_t mx = coefficients.shape[2], batch, i, j, m, thread
    cdef int kind = _find(interpolant)
    _check_model(n_coef, my, mx, degree)
    _check_batch(n, yn.shape[0], dx.shape[0], dy.shape[0], n_threads)
    _check_stamp(size, sampling)
    stamps = np.empty((n, size, size))
    cdef double[:, :, ::1] out = stamps
    cdef double[:, ::1] terms = np.empty((n, n_coef))
    cdef double[:, :, ::1] models = np.empty((n_threads, BATCH, my * mx))
    cdef double[:, ::1] scratch = np.empty((n_threads, psf_scratch_size(mx, size)))
    for batch in prange((n + BATCH - 1) // BATCH, nogil=True, num_threads=n_threads, schedule="static"):
        thread = threadid()
        i = batch * BATCH
        m = min(n - i, BATCH)
        for j in range(m):
            psf_terms(degree, xn[i + j], yn[i + j], &terms[i + j, 0])
        psf_evaluate(&coefficients[0, 0, 0], n_coef, my * mx, &terms[i, 0], m, &models[thread, 0, 0])
        for j in range(m):
            psf_resample(&models[thread, j, 0], my, mx, sampling, dx[i + j], dy[i + j], size, kind,
                         &scratch[thread, 0], &out[i + j, 0, 0])
    return stamps


def _find(interpolant):
    """Return the number of an interpolant."""
    if interpolant not in INTERPOLANTS:
        raise ValueError(f"there is no interpolant {interpolant!r}; there are {', '.join(INTERPOLANTS)}")
    return INTERPOLANTS.index(interpolant)


def _check_model(n_coef, my, mx, degree):
    """Refuse basis images that are empty or whose number does not fit the degree."""
    if degree < 0 or n_coef != (degree + 1) * (degree + 2) // 2:
        raise ValueError(f"{n_coef} basis images do not make a polynomial of degree {degree}")
    if my == 0 or mx == 0:
        raise ValueError(f"a PSF model needs pixels, not the shape {(my, mx)}")


def _check_batch(n, n2, n3, n4, n_threads):
    """Refuse position arrays of different lengths and a number of threads below one."""
    if not n == n2 == n3 == n4:
        raise ValueError(f"the arrays of a batch have different lengths: {n}, {n2}, {n3}, {n4}")
    if n_threads < 1:
        raise ValueError(f"n_threads must be 1 or more, not {n_threads}")


def _check_stamp(size, sampling):
    """Refuse a stamp without a central pixel and a step that is no step."""
    if size < 1 or size % 2 == 0:
        raise ValueError(f"the size of a stamp must be odd and positive, not {size}")
    if not (math.isfinite(sampling) and sampling > 0):
        raise ValueError(f"the sampling must be positive and finite, not {sampling}")
