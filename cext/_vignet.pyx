# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: freethreading_compatible=True, embedsignature=True
"""Vignets: many stamps cut out of the planes of one image, at positions between the pixels.

One call cuts the same boxes out of every plane.  There is no state; the GIL is released, and a stamp depends
neither on the number of threads nor on what else is in the batch.
"""

from cython.parallel cimport prange
from libc.math cimport fabs, rint
from libc.string cimport memcpy

import numpy as np

# Kept well inside the int32 of `centre`, for any size of stamp that fits in memory.
cdef double FARTHEST = 1e9

_DTYPES = tuple(np.dtype(name) for name in ("float32", "float64", "int16", "int32", "uint8"))


def cut(planes, const double[:] x, const double[:] y, Py_ssize_t size, *, fill, int n_threads=1):
    """
    Cut stamps out of several planes of one image.

    Parameters
    ----------
    planes : sequence of ndarray [y, x]
        Planes of equal shape; float32, float64, int16, int32 or uint8 in native byte order.  Rows may be
        strided (a section of a larger array); a plane with strided columns is copied first.
    x, y : ndarray of float64 [n]
        Positions, 0-based, relative to element [0, 0] of the planes [pixel].
    size : int
        Side of the stamps [pixel], odd.
    fill : sequence of float or int
        For each plane, the value of stamp pixels that lie outside it.
    n_threads : int, optional
        Threads; the result does not depend on it.

    Returns
    -------
    stamps : list of ndarray [n, size, size]
        The stamps of each plane, in its dtype.
    centre : ndarray of int32 [n, 2]
        xc, yc: the pixel at the stamps' centre, the nearest to the position (half-way ones to the even pixel).
        -1, -1 where the position is not finite or farther than 1e9 pixels.
    offset : ndarray of float64 [n, 2]
        x - xc, y - yc [pixel]; NaN where the position is not finite or farther than 1e9 pixels.
    inside : ndarray of float64 [n]
        Fraction of the stamp's pixels that lie inside the planes.
    valid : ndarray of bool [n]
        The position is finite and the central pixel is inside.

    Raises
    ------
    TypeError
        If a plane has another dtype or byte order.
    ValueError
        If the shapes do not fit each other, the size is not odd, or a fill value does not fit its plane.
    """
    cdef Py_ssize_t n = x.shape[0], half = size // 2, ny, nx, i, xc, yc
    planes = [_plane(plane, k) for k, plane in enumerate(planes)]
    fill = list(fill)
    _check(planes, n, y.shape[0], size, fill, n_threads)
    ny, nx = planes[0].shape

    centre = np.empty((n, 2), dtype=np.int32)
    offset = np.empty((n, 2))
    inside = np.empty(n)
    valid = np.empty(n, dtype=np.uint8)
    cdef int[:, ::1] centre_view = centre
    cdef double[:, ::1] offset_view = offset
    cdef double[::1] inside_view = inside
    cdef unsigned char[::1] valid_view = valid
    # First and end row and column of each stamp in the planes, and the stamp's origin there.
    cdef Py_ssize_t[:, ::1] box = np.zeros((n, 6), dtype=np.intp)
    for i in range(n):
        if not (fabs(x[i]) <= FARTHEST and fabs(y[i]) <= FARTHEST):
            centre_view[i, 0] = centre_view[i, 1] = -1
            offset_view[i, 0] = offset_view[i, 1] = float("nan")
            inside_view[i] = 0.0
            valid_view[i] = False
            continue
        xc, yc = <Py_ssize_t>rint(x[i]), <Py_ssize_t>rint(y[i])
        centre_view[i, 0], centre_view[i, 1] = <int>xc, <int>yc
        offset_view[i, 0], offset_view[i, 1] = x[i] - xc, y[i] - yc
        box[i, 0], box[i, 1] = max(yc - half, 0), min(yc + half + 1, ny)
        box[i, 2], box[i, 3] = max(xc - half, 0), min(xc + half + 1, nx)
        box[i, 4], box[i, 5] = yc - half, xc - half
        inside_view[i] = (
            max(box[i, 1] - box[i, 0], 0) * max(box[i, 3] - box[i, 2], 0) / <double>(size * size))
        valid_view[i] = 0 <= xc < nx and 0 <= yc < ny

    stamps = []
    partly_outside = np.flatnonzero(inside < 1.0)
    for plane, outside in zip(planes, fill):
        stamp = np.empty((n, size, size), dtype=plane.dtype)
        stamp[partly_outside] = outside
        if n > 0 and ny > 0 and nx > 0:
            _copy(plane.view(np.uint8), stamp.view(np.uint8), box, plane.itemsize, n_threads)
        stamps.append(stamp)
    return stamps, centre, offset, inside, valid.view(bool)


def _plane(plane, k):
    """Return a plane as an array whose rows are contiguous, or refuse it."""
    plane = np.asarray(plane)
    if plane.ndim != 2:
        raise ValueError(f"plane {k} must have two dimensions, not the shape {plane.shape}")
    if plane.dtype not in _DTYPES:
        raise TypeError(f"plane {k} is {plane.dtype.str}; a plane is one of {', '.join(map(str, _DTYPES))}, native")
    return plane if plane.strides[1] == plane.itemsize else np.ascontiguousarray(plane)


def _check(planes, n, n_y, size, fill, n_threads):
    """Refuse arguments that do not fit each other."""
    if not planes:
        raise ValueError("there must be at least one plane")
    if any(plane.shape != planes[0].shape for plane in planes):
        raise ValueError(f"the planes have different shapes: {', '.join(str(plane.shape) for plane in planes)}")
    if len(fill) != len(planes):
        raise ValueError(f"{len(planes)} planes need as many fill values, not {len(fill)}")
    for plane, outside in zip(planes, fill):
        if plane.dtype.kind != "f" and not (
            np.iinfo(plane.dtype).min <= outside <= np.iinfo(plane.dtype).max and outside == int(outside)
        ):
            raise ValueError(f"the fill value {outside} does not fit {plane.dtype}")
    if n != n_y:
        raise ValueError(f"x has {n} elements and y {n_y}")
    if size < 1 or size % 2 == 0:
        raise ValueError(f"the size of a stamp must be odd and positive, not {size}")
    if n_threads < 1:
        raise ValueError(f"n_threads must be 1 or more, not {n_threads}")


cdef int _copy(const unsigned char[:, :] plane, unsigned char[:, :, ::1] stamp, const Py_ssize_t[:, ::1] box,
               Py_ssize_t itemsize, int n_threads) except -1:
    """Copy the part of every stamp that is inside the plane, as bytes: one code for every dtype."""
    cdef Py_ssize_t i
    for i in prange(stamp.shape[0], nogil=True, num_threads=n_threads, schedule="static"):
        _copy_one(plane, stamp, i, &box[i, 0], itemsize)
    return 0


cdef void _copy_one(const unsigned char[:, :] plane, unsigned char[:, :, ::1] stamp, Py_ssize_t i,
                    const Py_ssize_t *box, Py_ssize_t itemsize) noexcept nogil:
    """Copy one stamp row by row."""
    cdef Py_ssize_t row
    if box[3] > box[2]:
        for row in range(box[0], box[1]):
            memcpy(&stamp[i, row - box[4], (box[2] - box[5]) * itemsize], &plane[row, box[2] * itemsize],
                   (box[3] - box[2]) * itemsize)
