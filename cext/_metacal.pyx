# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: freethreading_compatible=True, embedsignature=True
"""Metacalibration images of many epochs, and the target PSF that they are convolved with.

One call does a whole batch.  There is no state; the GIL is released for the arithmetic, and the images of an epoch
depend neither on the number of threads nor on what else is in the batch.
"""

from cython.parallel cimport prange, threadid
from libc.math cimport isfinite
from libc.stdint cimport uintptr_t

import numpy as np

cdef extern from "isa.h" nogil:
    int isa_find(const char *name) noexcept

cdef extern from "metacal.h" nogil:
    enum:
        METACAL_LARGEST
    ctypedef size_t (*metacal_size)(Py_ssize_t n, Py_ssize_t period) noexcept
    ctypedef size_t (*metacal_space)(Py_ssize_t n, Py_ssize_t period, int with_dilated) noexcept
    ctypedef void (*metacal_tables)(Py_ssize_t n, Py_ssize_t period, void *tables) noexcept
    ctypedef void (*metacal_images)(const double *stamp, const double *psf, const double *noise,
                                    const double *jacobian, double sigma, double dilation, double max_k,
                                    const double *shear, Py_ssize_t n_type, Py_ssize_t n, Py_ssize_t period,
                                    const void *tables, void *scratch, void *out) noexcept
    cdef struct metacal_functions:
        metacal_size tables_size
        metacal_space scratch_size
        metacal_tables fill_tables
        metacal_images images
    metacal_functions metacal_select(int isa, int single) noexcept
    bint stamp_finite(const double *stamp, Py_ssize_t n) noexcept
    bint stamp_usable(const double *psf, const double *jacobian, Py_ssize_t n) noexcept

cdef extern from "psf_band.h" nogil:
    cdef struct psf_band:
        double max_k
        double sigma
    cdef enum psf_target:
        TARGET_NONE
        TARGET_GAUSS
        TARGET_AZGAUSS
    ctypedef size_t (*psf_band_size)(Py_ssize_t n) noexcept
    ctypedef void (*psf_band_tables)(Py_ssize_t n, void *tables) noexcept
    ctypedef void (*psf_band_find)(const double *psf, const double *jacobian, Py_ssize_t n, psf_target target,
                                   const void *tables, void *scratch, psf_band *band) noexcept
    cdef struct psf_band_functions:
        psf_band_size tables_size
        psf_band_size scratch_size
        psf_band_tables fill_tables
        psf_band_find find
    psf_band_functions psf_band_select(int isa) noexcept

_TARGETS = {"none": TARGET_NONE, "gauss": TARGET_GAUSS, "azgauss": TARGET_AZGAUSS}

#: Largest side of a stamp; the shortest is one pixel.
_LARGEST = METACAL_LARGEST


def band(const double[:, :, ::1] psf, const double[:, ::1] jacobian, *, target="none", isa="auto", int n_threads=1):
    """
    Find where the Fourier transforms of PSFs end, and the sizes of their round Gaussian targets.

    Parameters
    ----------
    psf : ndarray of float64 [n, y, x]
        PSFs with the pixel in them, centred on stamps of odd side; their sums do not matter.
    jacobian : ndarray of float64 [n, 4]
        dudx, dudy, dvdx, dvdy [arcsec/pixel].
    target : {"none", "gauss", "azgauss"}, optional
        The rule that gives the target's size.  `gauss`: 0.003 at the smallest wavenumber at which the PSF's
        transform is below 0.01.  `azgauss`: 0.009 where its azimuthal mean is 0.03.
    isa : str, optional
        Instruction set, one of `_isa.available()`; "auto" is the last of them.
    n_threads : int, optional
        Threads; the result does not depend on it.

    Returns
    -------
    max_k : ndarray of float64 [n]
        The largest wavenumber [1/arcsec] at which the transform is above 1e-3 of the flux.
    sigma : ndarray of float64 [n]
        Sigma of the target before its dilation [arcsec].  Both are NaN where the PSF or the Jacobian is unusable (a
        pixel that is not finite, a sum that is not positive, no area); sigma also where the rule gives none.

    Raises
    ------
    ValueError
        If the shapes do not fit each other, or a name is unknown.
    """
    cdef Py_ssize_t n = psf.shape[0], side = psf.shape[1], i, thread
    cdef psf_band_functions use = psf_band_select(_isa_number(isa))
    cdef psf_target rule
    _check_stamps(psf.shape[1], psf.shape[2])
    _check_jacobians(jacobian.shape[0], jacobian.shape[1], n)
    _check_threads(n_threads)
    if target not in _TARGETS:
        raise ValueError(f"target must be one of {', '.join(_TARGETS)}, not {target!r}")
    rule = _TARGETS[target]
    max_k = np.full(n, np.nan)
    sigma = np.full(n, np.nan)
    cdef double[::1] max_k_out = max_k, sigma_out = sigma
    space = _space(use.tables_size(side))
    scratch = [_space(use.scratch_size(side)) for _ in range(n_threads)]
    cdef void *tables = _address(space)
    cdef uintptr_t[::1] scratch_at = np.array([_number(s) for s in scratch], dtype=np.uintp)
    with nogil:
        use.fill_tables(side, tables)
        for i in prange(n, num_threads=n_threads, schedule="static"):
            thread = threadid()
            _band_one(use.find, &psf[i, 0, 0], &jacobian[i, 0], side, rule, tables, <void *>scratch_at[thread],
                      &max_k_out[i], &sigma_out[i])
    return max_k, sigma


def images(const double[:, :, ::1] image, const double[:, :, ::1] psf, const double[:, ::1] jacobian,
           const double[::1] sigma, const double[::1] max_k, const double[:, ::1] shear, *,
           const double[:, :, ::1] noise=None, double dilation=0.0, Py_ssize_t period=128, dtype=np.float64,
           isa="auto", int n_threads=1):
    """
    Make the metacalibration images of many epochs.

    An image is deconvolved by its PSF, sheared about the centre of the stamp, and convolved with a round Gaussian;
    the flux is kept.  The noise goes, turned by 90 degrees, through the same operation and is added.  See
    `cext/metacal.h` for the mathematics.

    Parameters
    ----------
    image, psf : ndarray of float64 [n, y, x]
        Stamps of odd side and PSFs with the pixel in them, of the same side, both centred.
    jacobian : ndarray of float64 [n, 4]
        dudx, dudy, dvdx, dvdy [arcsec/pixel].
    sigma : ndarray of float64 [n]
        Sigma of the target PSF [arcsec].
    max_k : ndarray of float64 [n]
        Largest wavenumber [1/arcsec] at which the PSF is deconvolved.
    shear : ndarray of float64 [n_type, 2]
        g1, g2 of each image.
    noise : ndarray of float64 [n, y, x], optional
        Independent noise of the images' level.
    dilation : float, optional
        If positive, the target is not a Gaussian but the PSF itself, larger by this factor (its pixel not).
    period : int, optional
        Period [pixel] of the Fourier lattice, even, not less than the side of the stamps.
    dtype : float64 or float32, optional
        Precision of the arithmetic and of the result.
    isa : str, optional
        Instruction set, one of `_isa.available()`; "auto" is the last of them.
    n_threads : int, optional
        Threads; the result does not depend on it.

    Returns
    -------
    ndarray of `dtype` [n, n_type, y, x]
        The images; NaN where an epoch cannot be computed (a value that is not finite, a PSF whose sum is not
        positive, a Jacobian without area, a target without size).

    Raises
    ------
    ValueError
        If the shapes do not fit each other, or a name or number is not allowed.
    """
    cdef Py_ssize_t n = image.shape[0], side = image.shape[1], n_type = shear.shape[0], i, thread
    cdef int single = np.dtype(dtype) == np.float32
    cdef metacal_functions use = metacal_select(_isa_number(isa), single)
    cdef bint with_noise = noise is not None
    cdef const double[:, :, ::1] noises = noise if with_noise else image
    _check_stamps(image.shape[1], image.shape[2])
    _check_like(psf.shape[0], psf.shape[1], psf.shape[2], n, side, "psf")
    _check_like(noises.shape[0], noises.shape[1], noises.shape[2], n, side, "noise")
    _check_jacobians(jacobian.shape[0], jacobian.shape[1], n)
    _check_threads(n_threads)
    if sigma.shape[0] != n or max_k.shape[0] != n:
        raise ValueError(f"sigma and max_k must have the length {n}, not {sigma.shape[0]} and {max_k.shape[0]}")
    if shear.shape[1] != 2 or not (np.square(shear).sum(axis=1) < 0.25).all():
        raise ValueError("shear must have two components per type, and be smaller than 0.5")
    if period < side or period % 2 or period > 4096:
        raise ValueError(f"the period must be even and from {side} to 4096, not {period}")
    if not (dilation == 0 or 1 <= dilation <= 1.5):
        raise ValueError(f"the dilation must be 0 or from 1 to 1.5, not {dilation}")
    if not single and np.dtype(dtype) != np.float64:
        raise ValueError(f"dtype must be float64 or float32, not {np.dtype(dtype)}")
    result = np.empty((n, n_type, side, side), dtype=dtype)
    if result.size == 0:
        return result
    cdef size_t item = result.itemsize * n_type * side * side
    cdef char *out = <char *>_address(result)
    space = _space(use.tables_size(side, period))
    scratch = [_space(use.scratch_size(side, period, dilation > 0)) for _ in range(n_threads)]
    cdef void *tables = _address(space)
    cdef uintptr_t[::1] scratch_at = np.array([_number(s) for s in scratch], dtype=np.uintp)
    cdef unsigned char[::1] done = np.zeros(n, dtype=np.uint8)
    with nogil:
        use.fill_tables(side, period, tables)
        for i in prange(n, num_threads=n_threads, schedule="static"):
            thread = threadid()
            if (
                stamp_usable(&psf[i, 0, 0], &jacobian[i, 0], side)
                and stamp_finite(&image[i, 0, 0], side)
                and (not with_noise or stamp_finite(&noises[i, 0, 0], side))
                and sigma[i] > 0 and isfinite(sigma[i]) and max_k[i] > 0 and isfinite(max_k[i])
            ):
                use.images(&image[i, 0, 0], &psf[i, 0, 0], &noises[i, 0, 0] if with_noise else NULL, &jacobian[i, 0],
                           sigma[i], dilation, max_k[i], &shear[0, 0], n_type, side, period, tables,
                           <void *>scratch_at[thread], out + i * item)
                done[i] = 1
    failed = ~np.asarray(done).astype(bool)
    if failed.any():
        result[failed] = np.nan
    return result


cdef void _band_one(psf_band_find find, const double *psf, const double *jacobian, Py_ssize_t side, psf_target rule,
                    void *tables, void *scratch, double *max_k, double *sigma) noexcept nogil:
    """Find one PSF's band, if it is usable."""
    cdef psf_band found
    if stamp_usable(psf, jacobian, side):
        find(psf, jacobian, side, rule, tables, scratch, &found)
        max_k[0] = found.max_k
        sigma[0] = found.sigma


def _isa_number(isa):
    """Return the number of an instruction set; refuse what is not there."""
    number = isa_find(isa.encode())
    if number < 0:
        raise ValueError(f"the instruction set {isa!r} is unknown, or neither built nor on this CPU")
    return number


def _space(Py_ssize_t n_bytes):
    """Return bytes that begin at a multiple of 64."""
    space = np.zeros(n_bytes + 64, dtype=np.uint8)
    start = -space.ctypes.data % 64
    return space[start:start + n_bytes]


def _number(array):
    """Return where an array begins."""
    return array.ctypes.data


cdef void *_address(array):
    """Return where an array begins."""
    return <void *><uintptr_t>array.ctypes.data


def _check_stamps(ny, nx):
    """Refuse stamps without a central pixel, and sides that are too long."""
    if ny != nx or ny % 2 == 0 or ny > _LARGEST:
        raise ValueError(f"stamps must be square, of one odd side up to {_LARGEST} pixels, not {(ny, nx)}")


def _check_like(n, ny, nx, n_image, side, name):
    """Refuse stamps that are not like the images."""
    if (n, ny, nx) != (n_image, side, side):
        raise ValueError(f"{name} must have the images' shape {(n_image, side, side)}, not {(n, ny, nx)}")


def _check_jacobians(rows, columns, n):
    """Refuse Jacobians of a wrong shape."""
    if (rows, columns) != (n, 4):
        raise ValueError(f"the Jacobians must have the shape {(n, 4)}, not {(rows, columns)}")


def _check_threads(n_threads):
    """Refuse a number of threads below one."""
    if n_threads < 1:
        raise ValueError(f"n_threads must be 1 or more, not {n_threads}")
