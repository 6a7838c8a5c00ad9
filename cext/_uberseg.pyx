# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: freethreading_compatible=True, embedsignature=True
"""Territories of objects in a segmentation: which pixels are nearer to another object than to an object's own pixels.

One call does a whole batch, the GIL is released, and a window depends neither on the number of threads nor on what else
is in the batch.  Only integers are used: every CPU gives the same result.
"""

from cython.parallel cimport prange, threadid
from libc.stdint cimport int32_t, int64_t, uint8_t

import numpy as np

cdef extern from "uberseg.h" nogil:
    const Py_ssize_t UBERSEG_REACH
    const int UBERSEG_KEPT, UBERSEG_NEIGHBOUR, UBERSEG_NEARER
    Py_ssize_t uberseg_scratch(Py_ssize_t reach) noexcept
    void uberseg_territory(const int32_t *plane, Py_ssize_t ny, Py_ssize_t nx, Py_ssize_t x, Py_ssize_t y,
                           Py_ssize_t reach, int32_t number, int32_t *scratch, uint8_t *territory) noexcept

#: What a pixel is: nobody else's, another object's own, or nearer to another object.
KEPT, NEIGHBOUR, NEARER = UBERSEG_KEPT, UBERSEG_NEIGHBOUR, UBERSEG_NEARER

cdef int64_t FARTHEST = 1 << 40


def territory(const int32_t[:, ::1] plane, const int32_t[::1] number, const int64_t[::1] x, const int64_t[::1] y,
              Py_ssize_t reach, *, int n_threads=1):
    """
    Divide windows of a segmentation between the object in their centre and all others.

    Distances are exact, between the centres of pixels, to all segmented pixels in the window.  A pixel at the same
    distance from the object and from another one is the object's.  An object without pixels in its window has the one
    at its centre.  The time is linear in the number of pixels (Meijster, Roerdink & Hesselink 2000).

    Parameters
    ----------
    plane : ndarray of int32 [y, x]
        Numbers of the objects; 0 is sky.
    number : ndarray of int32 [n]
        The objects.
    x, y : ndarray of int64 [n]
        Pixels of the plane that are the windows' centres; nothing is segmented outside the plane.
    reach : int
        Half side of the windows without the centre [pixel].
    n_threads : int, optional
        Threads; the result does not depend on it.

    Returns
    -------
    ndarray of uint8 [n, 2 reach + 1, 2 reach + 1]
        `NEIGHBOUR` in others' pixels, `NEARER` in pixels that are nearer to one of these, `KEPT` elsewhere.

    Raises
    ------
    ValueError
        If the lengths do not fit each other, or the reach, a position or the number of threads is out of range.
    """
    cdef Py_ssize_t n = number.shape[0], ny = plane.shape[0], nx = plane.shape[1], i
    cdef int thread
    cdef const int32_t *pixels = NULL
    if x.shape[0] != n or y.shape[0] != n:
        raise ValueError(f"{n} objects have {x.shape[0]} positions x and {y.shape[0]} positions y")
    if reach < 0 or reach > UBERSEG_REACH:
        raise ValueError(f"a window reaches 0 to {UBERSEG_REACH} pixels, not {reach}")
    if n_threads < 1:
        raise ValueError(f"n_threads must be 1 or more, not {n_threads}")
    for i in range(n):
        if not (-FARTHEST < x[i] < FARTHEST and -FARTHEST < y[i] < FARTHEST):
            raise ValueError(f"the position ({x[i]}, {y[i]}) is too far from the plane")
    windows = np.empty((n, 2 * reach + 1, 2 * reach + 1), np.uint8)
    if n == 0:
        return windows
    if ny > 0 and nx > 0:
        pixels = &plane[0, 0]
    else:
        ny = nx = 0
    cdef uint8_t[:, :, ::1] out = windows
    cdef int32_t[:, ::1] scratch = np.empty((n_threads, uberseg_scratch(reach)), np.int32)
    for i in prange(n, nogil=True, num_threads=n_threads, schedule="static"):
        thread = threadid()
        uberseg_territory(pixels, ny, nx, x[i], y[i], reach, number[i], &scratch[thread, 0], &out[i, 0, 0])
    return windows
