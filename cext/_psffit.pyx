# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: freethreading_compatible=True, embedsignature=True
"""The linear map of a PSF fit: basis images to stars at sub-pixel places, and its transpose.

Star i is sum_k terms[i, k] basis[k], resampled along y and x with the weights that `taps` makes, 12 per pixel and axis.
Stars are summed in their order, so results are the same bits on every CPU.
"""

import math

import numpy as np

from libc.stdint cimport int32_t

cdef extern from "psf_taps.h" nogil:
    int N_INTERPOLANT "PSF_INTERPOLANTS"
    const char *psf_interpolant_name(int interpolant) noexcept

cdef extern from "psffit.h" nogil:
    enum: PSFFIT_TAPS
    struct psffit_axis:
        const int32_t *first
        const double *weight
        Py_ssize_t n_pixel
        Py_ssize_t n_sample
    void psffit_taps(int kind, Py_ssize_t n_pixel, Py_ssize_t n_sample, double sampling, double offset,
                     int32_t *first, double *weight) noexcept
    Py_ssize_t psffit_scratch_size(Py_ssize_t n_y, Py_ssize_t n_x, Py_ssize_t m_y, Py_ssize_t m_x) noexcept
    void psffit_draw(const double *basis, Py_ssize_t n_coef, const double *terms, const psffit_axis *y,
                     const psffit_axis *x, double *scratch, double *stamp) noexcept
    void psffit_add(const double *stamp, Py_ssize_t n_coef, const double *terms, const psffit_axis *y,
                    const psffit_axis *x, double *scratch, double *basis) noexcept
    void psffit_multiply(const double *factor, Py_ssize_t n, double *stamp) noexcept

N_TAP = PSFFIT_TAPS
_KIND = [psf_interpolant_name(i).decode() for i in range(N_INTERPOLANT)].index("kaiser6")


def taps(const double[:] offset, Py_ssize_t n_pixel, Py_ssize_t n_sample, double sampling):
    """
    Make the weights that resample one axis of a model onto the pixels of each star's stamp.

    Pixel j of star i lies at the model's index (j - (n_pixel - 1)/2 - offset_i)/sampling + (n_sample - 1)/2 and is the
    sum of weight[i, j, k] times sample first[i, j] + k, with the interpolant "kaiser6" of `_psf`; the model is zero
    outside its grid.

    Parameters
    ----------
    offset : ndarray of float64 [n]
        Offset of each star's centre from its stamp's centre along this axis [pixel]; the weights of a star whose
        offset is not finite, or leads out of the stamp, are zero.
    n_pixel, n_sample : int
        Pixels of the stamp, odd, and samples of the model (12 or more) along this axis.
    sampling : float
        Step of the model's grid [pixel].

    Returns
    -------
    first : ndarray of int32 [n, n_pixel]
        First sample of each pixel.
    weight : ndarray of float64 [n, n_pixel, 12]
        Weights of the samples.

    Raises
    ------
    ValueError
        If the model is too small, the stamp has no pixels, or the sampling is not positive.
    """
    if n_sample < PSFFIT_TAPS or n_pixel < 1:
        raise ValueError(f"a model needs {PSFFIT_TAPS} samples and a stamp 1 pixel, not {n_sample} and {n_pixel}")
    if not (math.isfinite(sampling) and sampling > 0):
        raise ValueError(f"the sampling must be positive and finite, not {sampling}")
    cdef Py_ssize_t n = offset.shape[0], i
    cdef int kind = _KIND
    first = np.empty((n, n_pixel), dtype=np.int32)
    weight = np.empty((n, n_pixel, PSFFIT_TAPS))
    cdef int32_t[:, ::1] f = first
    cdef double[:, :, ::1] w = weight
    with nogil:
        for i in range(n):
            psffit_taps(kind, n_pixel, n_sample, sampling, offset[i], &f[i, 0], &w[i, 0, 0])
    return first, weight


def draw(basis, const double[:, ::1] terms, rows, columns):
    """
    Draw stars.

    Parameters
    ----------
    basis : ndarray of float64 [n_coef, m_y, m_x]
        Basis images.
    terms : ndarray of float64 [n, n_coef]
        Factors of the basis images for each star.
    rows, columns : tuple of ndarray
        What `taps` returned for the stars along y and along x.

    Returns
    -------
    ndarray of float64 [n, n_y, n_x]
        The stars.

    Raises
    ------
    ValueError
        If the shapes do not fit each other or a sample lies outside the model.
    """
    cdef Py_ssize_t n = terms.shape[0], n_coef = terms.shape[1], i
    cdef double[:, :, ::1] turned = _turned(basis)
    cdef _Axes axes = _Axes(n, n_coef, rows, columns, basis.shape)
    stamps = np.empty((n, axes.y.n_pixel, axes.x.n_pixel))
    cdef double[:, :, ::1] out = stamps
    cdef double[::1] scratch = axes.scratch()
    with nogil:
        for i in range(n):
            axes.move(i)
            psffit_draw(&turned[0, 0, 0], n_coef, &terms[i, 0], &axes.y, &axes.x, &scratch[0], &out[i, 0, 0])
    return stamps


def transpose(const double[:, :, ::1] stamps, const double[:, ::1] terms, rows, columns, Py_ssize_t m_y,
              Py_ssize_t m_x):
    """
    Apply the transpose of `draw`.

    Parameters
    ----------
    stamps : ndarray of float64 [n, n_y, n_x]
        Images of the stars.
    terms, rows, columns
        As in `draw`.
    m_y, m_x : int
        Shape of the basis images.

    Returns
    -------
    ndarray of float64 [n_coef, m_y, m_x]
        The transpose, summed over the stars in their order.

    Raises
    ------
    ValueError
        If the shapes do not fit each other or a sample lies outside the model.
    """
    cdef Py_ssize_t n = terms.shape[0], n_coef = terms.shape[1], i
    cdef _Axes axes = _Axes(n, n_coef, rows, columns, (n_coef, m_y, m_x))
    _check_stamps(stamps.shape[0], stamps.shape[1], stamps.shape[2], n, axes)
    images = np.zeros((n_coef, m_x, m_y))
    cdef double[:, :, ::1] out = images
    cdef double[::1] scratch = axes.scratch()
    with nogil:
        for i in range(n):
            axes.move(i)
            psffit_add(&stamps[i, 0, 0], n_coef, &terms[i, 0], &axes.y, &axes.x, &scratch[0], &out[0, 0, 0])
    return np.ascontiguousarray(images.transpose(0, 2, 1))


def normal(basis, const double[:, :, ::1] weights, const double[:, ::1] terms, rows, columns):
    """
    Apply the matrix of the normal equations: the transpose of `draw` to weights times `draw` of the basis.

    Parameters
    ----------
    basis : ndarray of float64 [n_coef, m_y, m_x]
        Basis images.
    weights : ndarray of float64 [n, n_y, n_x]
        Weights of the stars' pixels.
    terms, rows, columns
        As in `draw`.

    Returns
    -------
    ndarray of float64 [n_coef, m_y, m_x]
        The product, summed over the stars in their order.

    Raises
    ------
    ValueError
        If the shapes do not fit each other or a sample lies outside the model.
    """
    cdef Py_ssize_t n = terms.shape[0], n_coef = terms.shape[1], i
    cdef double[:, :, ::1] turned = _turned(basis)
    cdef _Axes axes = _Axes(n, n_coef, rows, columns, basis.shape)
    _check_stamps(weights.shape[0], weights.shape[1], weights.shape[2], n, axes)
    cdef Py_ssize_t n_pixel = axes.y.n_pixel * axes.x.n_pixel
    images = np.zeros((n_coef, axes.x.n_sample, axes.y.n_sample))
    cdef double[:, :, ::1] out = images
    cdef double[::1] scratch = axes.scratch()
    cdef double[::1] stamp = np.empty(n_pixel)
    with nogil:
        for i in range(n):
            axes.move(i)
            psffit_draw(&turned[0, 0, 0], n_coef, &terms[i, 0], &axes.y, &axes.x, &scratch[0], &stamp[0])
            psffit_multiply(&weights[i, 0, 0], n_pixel, &stamp[0])
            psffit_add(&stamp[0], n_coef, &terms[i, 0], &axes.y, &axes.x, &scratch[0], &out[0, 0, 0])
    return np.ascontiguousarray(images.transpose(0, 2, 1))


cdef class _Axes:
    """The axes of all stars, checked; x and y are those of the present star."""

    cdef psffit_axis x, y
    cdef const int32_t[:, ::1] first_x, first_y
    cdef const double[:, :, ::1] weight_x, weight_y

    def __init__(self, Py_ssize_t n, Py_ssize_t n_coef, rows, columns, basis_shape):
        self.first_y, self.weight_y = rows
        self.first_x, self.weight_x = columns
        if len(basis_shape) != 3 or basis_shape[0] != n_coef or n_coef < 1:
            raise ValueError(f"{n_coef} terms do not fit basis images of shape {tuple(basis_shape)}")
        _check_axis(rows, n, basis_shape[1])
        _check_axis(columns, n, basis_shape[2])
        self.y.n_sample, self.x.n_sample = basis_shape[1:]
        self.y.n_pixel, self.x.n_pixel = self.first_y.shape[1], self.first_x.shape[1]

    cdef void move(self, Py_ssize_t i) noexcept nogil:
        self.y.first, self.y.weight = &self.first_y[i, 0], &self.weight_y[i, 0, 0]
        self.x.first, self.x.weight = &self.first_x[i, 0], &self.weight_x[i, 0, 0]

    cdef scratch(self):
        return np.empty(psffit_scratch_size(self.y.n_pixel, self.x.n_pixel, self.y.n_sample, self.x.n_sample))


def _turned(basis):
    """Return basis images with x and y exchanged, in memory."""
    if np.ndim(basis) != 3:
        raise ValueError(f"basis images are an array of three axes, not of {np.ndim(basis)}")
    return np.ascontiguousarray(np.asarray(basis, dtype=np.float64).transpose(0, 2, 1))


def _check_axis(axis, n, n_sample):
    """Refuse taps of other stars or of a larger model."""
    first, weight = axis
    if len(first) != n or weight.shape != (*first.shape, PSFFIT_TAPS) or first.shape[1] == 0:
        raise ValueError(f"taps of shapes {first.shape} and {weight.shape} do not fit {n} stars")
    if n > 0 and (first.min() < 0 or first.max() > n_sample - PSFFIT_TAPS):
        raise ValueError(f"taps from {first.min()} to {first.max()} lead out of a model of {n_sample} samples")


cdef _check_stamps(n, n_y, n_x, n_star, _Axes axes):
    """Refuse stamps that are not those of the stars."""
    if n != n_star or n_y != axes.y.n_pixel or n_x != axes.x.n_pixel:
        expected = (n_star, axes.y.n_pixel, axes.x.n_pixel)
        raise ValueError(f"stamps of shape {(n, n_y, n_x)} where the taps are for {expected}")
