# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: freethreading_compatible=True, embedsignature=True
"""Epochs made ready for metacalibration: usable pixels, noise levels, and random fields that have names.

A random number is a function of a key and of what it is for: object, exposure, CCD, field and pixel.  There is no
state and no order of drawing.  One call does a whole batch, the GIL is released, and a stamp depends neither on the
number of threads nor on what else is in the batch.  Every function gives the same bits on every CPU.
"""

from cython.parallel cimport prange, threadid
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

import numpy as np

cdef extern from "threefry.h" nogil:
    void threefry_blocks(const uint64_t *key, const uint64_t *first, Py_ssize_t n, uint64_t *words) noexcept
    void threefry_normal(const uint64_t *key, uint64_t place, uint32_t exposure, uint32_t ccd, uint32_t field,
                         Py_ssize_t n, double *out) noexcept

cdef extern from "epoch.h" nogil:
    ctypedef struct epoch_noise:
        double sigma
        double mapped
        int32_t measured
        int32_t agrees
    void epoch_inspect(const float *image, const float *weight, const int32_t *flag, Py_ssize_t ny, Py_ssize_t nx,
                       const double *psf, Py_ssize_t n_psf, const double *jacobian, const double *offset,
                       double core_radius, int32_t given_up, int32_t *n_good, int32_t *n_sound, int32_t *n_core,
                       int32_t *n_core_good, double *psf_sum) noexcept
    void epoch_take(const float *image, const float *weight, const int32_t *flag, Py_ssize_t n, const double *psf,
                    Py_ssize_t n_psf, double psf_sum, double *image_out, double *weight_out,
                    double *psf_out) noexcept
    void epoch_restore(const float *image, const float *weight, const int32_t *flag, Py_ssize_t n, int32_t given_up,
                       double *image_out) noexcept
    Py_ssize_t epoch_noise_scratch(Py_ssize_t n) noexcept
    void epoch_noise_level(const double *image, const double *weight, Py_ssize_t ny, Py_ssize_t nx,
                           const double *model, float *scratch, epoch_noise *noise) noexcept
    void epoch_fill(double *image, const double *weight, Py_ssize_t ny, Py_ssize_t nx, const double *model,
                    double *doubles) noexcept
    void epoch_finish(double *image, double *weight, Py_ssize_t ny, Py_ssize_t nx, const double *model,
                      const uint64_t *key, uint64_t place, uint32_t exposure, uint32_t ccd, int by_map,
                      float *floats, double *doubles, double *noise, epoch_noise *level,
                      double *total_weight) noexcept

#: The random fields of an epoch: what fills masked pixels, and the noise image of metacalibration.
FILL, NOISE = 0, 1

#: The noise of one stamp, see `level`.
LEVEL_DTYPE = np.dtype([("sigma", "f8"), ("mapped", "f8"), ("measured", "i4"), ("agrees", "i4")])


def blocks(const uint64_t[::1] key, const uint64_t[::1] first, Py_ssize_t n):
    """
    Return random words: Threefry-4x64-20 of Salmon et al. (2011, SC11).

    Parameters
    ----------
    key : ndarray of uint64 [4]
        The key.
    first : ndarray of uint64 [4]
        The counter of the first block; the first word counts on from block to block.
    n : int
        Number of blocks.

    Returns
    -------
    ndarray of uint64 [4, n]
        The words of each block.

    Raises
    ------
    ValueError
        If key or counter do not have four words, or n is negative.
    """
    _check_key(key.shape[0])
    if first.shape[0] != 4 or n < 0:
        raise ValueError(f"a counter has 4 words, not {first.shape[0]}, and {n} blocks cannot be made")
    words = np.empty((4, n), np.uint64)
    cdef uint64_t[:, ::1] out = words
    if n > 0:
        with nogil:
            threefry_blocks(&key[0], &first[0], n, &out[0, 0])
    return words


def normal(const uint64_t[::1] key, const int64_t[::1] place, const int32_t[::1] exposure, const int32_t[::1] ccd,
           int field, Py_ssize_t size, *, int n_threads=1):
    """
    Draw fields of normal numbers of mean 0 and variance 1, by the method of Box and Muller.

    Parameters
    ----------
    key : ndarray of uint64 [4]
        What all fields depend on.
    place : ndarray of int64 [n]
        The object that each field is for.
    exposure, ccd : ndarray of int32 [n]
        The epoch that each field is for.
    field : int
        Which of an epoch's fields, from 0: `FILL` or `NOISE`.
    size : int
        Side of the stamps [pixel].
    n_threads : int, optional
        Threads; the result does not depend on it.

    Returns
    -------
    ndarray of float64 [n, size, size]
        The fields.

    Raises
    ------
    ValueError
        If the lengths do not fit each other, or the field or the size is out of range.
    """
    cdef Py_ssize_t n = place.shape[0], i
    _check_key(key.shape[0])
    _check_lengths(n_threads, n, exposure.shape[0], ccd.shape[0])
    if field < 0 or size < 1:
        raise ValueError(f"field {field} of stamps of {size} pixels cannot be made")
    fields = np.empty((n, size, size))
    cdef double[:, :, ::1] out = fields
    for i in prange(n, nogil=True, num_threads=n_threads, schedule="static"):
        threefry_normal(&key[0], <uint64_t>place[i], <uint32_t>exposure[i], <uint32_t>ccd[i], <uint32_t>field,
                        size * size, &out[i, 0, 0])
    return fields


def inspect(const float[:, :, ::1] image, const float[:, :, ::1] weight, const int32_t[:, :, ::1] flag,
            const double[:, :, ::1] psf, const double[:, ::1] jacobian, const double[:, ::1] offset,
            double core_radius, *, int32_t given_up=0, int n_threads=1):
    """
    Count the usable pixels of each stamp: flag 0, weight positive and finite, value finite.

    Parameters
    ----------
    image, weight : ndarray of float32 [n, y, x]
        Stamps and their inverse variance, C-contiguous.
    flag : ndarray of int32 [n, y, x]
        Flags of the pixels.
    psf : ndarray of float64 [n, y, x]
        PSFs, in stamps of any size.
    jacobian : ndarray of float64 [n, 4]
        dudx, dudy, dvdx, dvdy [arcsec/pixel].
    offset : ndarray of float64 [n, 2]
        dx, dy [pixel] of the object from the centre of the stamp.
    core_radius : float
        Radius of the core [arcsec].
    given_up : int, optional
        Bits of the flags of pixels that are sound, but not to be used.
    n_threads : int, optional
        Threads; the result does not depend on it.

    Returns
    -------
    n_good, n_sound : ndarray of int32 [n]
        Usable pixels, and those that are usable but for the bits `given_up`.
    n_core, n_core_good : ndarray of int32 [n]
        Pixels of the core, and usable ones among them.
    psf_sum : ndarray of float64 [n]
        Sum of the PSF; NaN if the PSF cannot be divided by it.

    Raises
    ------
    ValueError
        If the shapes do not fit each other.
    """
    cdef Py_ssize_t n = image.shape[0], ny = image.shape[1], nx = image.shape[2], i
    cdef Py_ssize_t n_psf = psf.shape[1] * psf.shape[2]
    _check_lengths(n_threads, n, weight.shape[0], flag.shape[0], psf.shape[0], jacobian.shape[0], offset.shape[0])
    _check_stamps(ny, nx, weight.shape[1], weight.shape[2], flag.shape[1], flag.shape[2])
    if n_psf == 0 or jacobian.shape[1] != 4 or offset.shape[1] != 2:
        raise ValueError("PSFs need pixels, Jacobians 4 numbers and offsets 2")
    counts, psf_sum = np.empty((4, n), np.int32), np.empty(n)
    cdef int32_t[:, ::1] count = counts
    cdef double[::1] sums = psf_sum
    for i in prange(n, nogil=True, num_threads=n_threads, schedule="static"):
        epoch_inspect(&image[i, 0, 0], &weight[i, 0, 0], &flag[i, 0, 0], ny, nx, &psf[i, 0, 0], n_psf,
                      &jacobian[i, 0], &offset[i, 0], core_radius, given_up, &count[0, i], &count[1, i], &count[2, i],
                      &count[3, i], &sums[i])
    return counts[0], counts[1], counts[2], counts[3], psf_sum


def take(const float[:, :, ::1] image, const float[:, :, ::1] weight, const int32_t[:, :, ::1] flag,
         const double[:, :, ::1] psf, const double[::1] psf_sum, const int64_t[::1] rows, *, int n_threads=1):
    """
    Copy some of the stamps in double precision, with zeros where a pixel is not usable, and PSFs of unit sum.

    Parameters
    ----------
    image, weight, flag, psf : ndarray
        As in `inspect`.
    psf_sum : ndarray of float64 [n]
        What each PSF is divided by.
    rows : ndarray of int64 [m]
        The stamps that are copied.
    n_threads : int, optional
        Threads; the result does not depend on it.

    Returns
    -------
    image, weight, psf : ndarray of float64 [m, y, x]
        The copies.

    Raises
    ------
    ValueError
        If the shapes do not fit each other.
    IndexError
        If there is no such row.
    """
    cdef Py_ssize_t n = image.shape[0], ny = image.shape[1], nx = image.shape[2], m = rows.shape[0], i, row
    cdef Py_ssize_t n_psf = psf.shape[1] * psf.shape[2]
    _check_lengths(n_threads, n, weight.shape[0], flag.shape[0], psf.shape[0], psf_sum.shape[0])
    _check_stamps(ny, nx, weight.shape[1], weight.shape[2], flag.shape[1], flag.shape[2])
    _check_rows(rows, n)
    images, weights, psfs = np.empty((m, ny, nx)), np.empty((m, ny, nx)), np.empty((m, psf.shape[1], psf.shape[2]))
    if n_psf == 0 or m == 0:
        return images, weights, psfs
    cdef double[:, :, ::1] image_out = images, weight_out = weights, psf_out = psfs
    for i in prange(m, nogil=True, num_threads=n_threads, schedule="static"):
        row = rows[i]
        epoch_take(&image[row, 0, 0], &weight[row, 0, 0], &flag[row, 0, 0], ny * nx, &psf[row, 0, 0], n_psf,
                   psf_sum[row], &image_out[i, 0, 0], &weight_out[i, 0, 0], &psf_out[i, 0, 0])
    return images, weights, psfs


def restore(double[:, :, ::1] taken, const float[:, :, ::1] image, const float[:, :, ::1] weight,
            const int32_t[:, :, ::1] flag, const int64_t[::1] rows, int32_t given_up, *, int n_threads=1):
    """
    Put what was seen back in place into sound pixels that were given up, whatever has filled them.

    Parameters
    ----------
    taken : ndarray of float64 [m, y, x]
        The images that `take` made of some stamps, filled and with noise; changed in place.
    image, weight, flag, rows : ndarray
        As in `take`.
    given_up : int
        Bits of the flags, as in `inspect`.
    n_threads : int, optional
        Threads; the result does not depend on it.

    Raises
    ------
    ValueError
        If the shapes do not fit each other.
    IndexError
        If there is no such row.
    """
    cdef Py_ssize_t n = image.shape[0], ny = image.shape[1], nx = image.shape[2], m = rows.shape[0], i, row
    _check_lengths(n_threads, n, weight.shape[0], flag.shape[0])
    _check_lengths(n_threads, m, taken.shape[0])
    _check_stamps(ny, nx, weight.shape[1], weight.shape[2], flag.shape[1], flag.shape[2])
    _check_stamps(ny, nx, taken.shape[1], taken.shape[2], ny, nx)
    _check_rows(rows, n)
    for i in prange(m, nogil=True, num_threads=n_threads, schedule="static"):
        row = rows[i]
        epoch_restore(&image[row, 0, 0], &weight[row, 0, 0], &flag[row, 0, 0], ny * nx, given_up, &taken[i, 0, 0])


def level(const double[:, :, ::1] image, const double[:, :, ::1] weight, const double[:, ::1] model, *,
          int n_threads=1):
    """
    Measure the noise of each stamp from the pixels outside the object.

    With s0 the sigma of all usable pixels, the level is the sigma of those in which the round Gaussian with the
    object's flux and size is fainter than 1.2 s0; sigma is 1.4826 times the median absolute deviation.  With fewer
    than 50 such pixels, or if they do not scatter, the level is that of the weight map.

    Parameters
    ----------
    image, weight : ndarray of float64 [n, y, x]
        Stamps and their inverse variance; where that is 0 a pixel may hold anything.
    model : ndarray of float64 [n, 6]
        g1, g2, sigma, x, y, flux of the object's adaptive moments in pixels, centre from the stamp's centre.  NaN if
        there are none: all usable pixels count then.
    n_threads : int, optional
        Threads; the result does not depend on it.

    Returns
    -------
    ndarray of LEVEL_DTYPE [n]
        sigma: standard deviation of a pixel; mapped: the same by the median weight, NaN without usable pixels;
        measured: 1 if sigma comes from the pixels; agrees: 0 if sigma and mapped differ by more than 20 %.

    Raises
    ------
    ValueError
        If the shapes do not fit each other.
    """
    cdef Py_ssize_t n = image.shape[0], ny = image.shape[1], nx = image.shape[2], i, thread
    _check_lengths(n_threads, n, weight.shape[0], model.shape[0])
    _check_stamps(ny, nx, weight.shape[1], weight.shape[2], ny, nx)
    _check_model(model.shape[1])
    levels = np.empty(n, LEVEL_DTYPE)
    cdef epoch_noise[::1] out = levels
    cdef float[:, ::1] scratch = np.empty((n_threads, epoch_noise_scratch(ny * nx)), np.float32)
    for i in prange(n, nogil=True, num_threads=n_threads, schedule="static"):
        thread = threadid()
        epoch_noise_level(&image[i, 0, 0], &weight[i, 0, 0], ny, nx, &model[i, 0], &scratch[thread, 0], &out[i])
    return levels


def fill(double[:, :, ::1] image, const double[:, :, ::1] weight, const double[:, ::1] model, *, int n_threads=1):
    """
    Fill the pixels without weight in place by the profile of the usable ones.

    A pixel becomes the elliptical Gaussian of the adaptive moments plus the mean and the quadrupole of what this
    Gaussian leaves in the usable pixels at the same elliptical radius, in rings one pixel wide with linear
    interpolation.  It becomes no brighter than the brightest usable pixel.  Rings with few usable pixels, or with
    little of their circle, have no quadrupole.

    Parameters
    ----------
    image : ndarray of float64 [n, y, x]
        Stamps; changed in place.
    weight : ndarray of float64 [n, y, x]
        Inverse variance; 0 is a hole.
    model : ndarray of float64 [n, 6]
        As in `level`; without one (NaN), holes become 0.
    n_threads : int, optional
        Threads; the result does not depend on it.

    Raises
    ------
    ValueError
        If the shapes do not fit each other.
    """
    cdef Py_ssize_t n = image.shape[0], ny = image.shape[1], nx = image.shape[2], i, thread
    _check_lengths(n_threads, n, weight.shape[0], model.shape[0])
    _check_stamps(ny, nx, weight.shape[1], weight.shape[2], ny, nx)
    _check_model(model.shape[1])
    cdef double[:, ::1] doubles = np.empty((n_threads, 4 * ny * nx))
    for i in prange(n, nogil=True, num_threads=n_threads, schedule="static"):
        thread = threadid()
        epoch_fill(&image[i, 0, 0], &weight[i, 0, 0], ny, nx, &model[i, 0], &doubles[thread, 0])


def finish(double[:, :, ::1] image, double[:, :, ::1] weight, const double[:, ::1] model, const uint64_t[::1] key,
           const int64_t[::1] place, const int32_t[::1] exposure, const int32_t[::1] ccd, *, bint by_map=False,
           int n_threads=1):
    """
    Make the stamps of `take` ready in place, and draw the noise that metacalibration adds.

    Pixels without weight get noise (`FILL`) on top of what they hold: what `fill` put there, or 0.

    Parameters
    ----------
    image, weight : ndarray of float64 [n, y, x]
        As `take` makes them, filled or not; changed in place.
    model : ndarray of float64 [n, 6]
        As in `level`.
    key, place, exposure, ccd : ndarray
        As in `normal`.
    by_map : bool, optional
        Keep the weights, and give each pixel the noise of its weight, or of the median weight where it has none.  By
        default all pixels have the noise of the `level`, and weights become one over its square.
    n_threads : int, optional
        Threads; the result does not depend on it.

    Returns
    -------
    noise : ndarray of float64 [n, y, x]
        Independent noise, without holes (`NOISE`).
    level : ndarray of LEVEL_DTYPE [n]
        As in `level`.
    total_weight : ndarray of float64 [n]
        Sum of the weights.

    Raises
    ------
    ValueError
        If the shapes do not fit each other.
    """
    cdef Py_ssize_t n = image.shape[0], ny = image.shape[1], nx = image.shape[2], i, thread
    _check_key(key.shape[0])
    _check_lengths(n_threads, n, weight.shape[0], model.shape[0], place.shape[0], exposure.shape[0], ccd.shape[0])
    _check_stamps(ny, nx, weight.shape[1], weight.shape[2], ny, nx)
    _check_model(model.shape[1])
    fields, levels, totals = np.empty((n, ny, nx)), np.empty(n, LEVEL_DTYPE), np.empty(n)
    cdef double[:, :, ::1] out = fields
    cdef epoch_noise[::1] noise = levels
    cdef double[::1] total = totals
    cdef float[:, ::1] floats = np.empty((n_threads, epoch_noise_scratch(ny * nx)), np.float32)
    cdef double[:, ::1] doubles = np.empty((n_threads, ny * nx))
    for i in prange(n, nogil=True, num_threads=n_threads, schedule="static"):
        thread = threadid()
        epoch_finish(&image[i, 0, 0], &weight[i, 0, 0], ny, nx, &model[i, 0], &key[0], <uint64_t>place[i],
                     <uint32_t>exposure[i], <uint32_t>ccd[i], by_map, &floats[thread, 0], &doubles[thread, 0],
                     &out[i, 0, 0], &noise[i], &total[i])
    return fields, levels, totals


def _check_key(n_word):
    """Refuse a key that is not 256 bits long."""
    if n_word != 4:
        raise ValueError(f"a key has 4 words of 64 bits, not {n_word}")


def _check_lengths(n_threads, *lengths):
    """Refuse arrays of different lengths and a number of threads below one."""
    if len(set(lengths)) != 1:
        raise ValueError(f"the arrays of a batch have different lengths: {', '.join(map(str, lengths))}")
    if n_threads < 1:
        raise ValueError(f"n_threads must be 1 or more, not {n_threads}")


def _check_stamps(ny, nx, ny2, nx2, ny3, nx3):
    """Refuse stamps without pixels or of different shapes."""
    if not (ny, nx) == (ny2, nx2) == (ny3, nx3) or ny < 1 or nx < 1:
        raise ValueError(f"stamps must have one shape with pixels, not {(ny, nx)}, {(ny2, nx2)}, {(ny3, nx3)}")


def _check_rows(const int64_t[::1] rows, n):
    """Refuse rows that are not among n stamps."""
    cdef Py_ssize_t i
    for i in range(rows.shape[0]):
        if rows[i] < 0 or rows[i] >= n:
            raise IndexError(f"there is no row {rows[i]} among {n} stamps")


def _check_model(n_number):
    """Refuse models without the six numbers of adaptive moments."""
    if n_number != 6:
        raise ValueError(f"a model has 6 numbers (g1, g2, sigma, x, y, flux), not {n_number}")
