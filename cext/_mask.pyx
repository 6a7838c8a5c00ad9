# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: freethreading_compatible=True, embedsignature=True
"""Shapes painted into a plane of flag bits: polygons, ellipses, circles, the border.

A pixel belongs to a shape when its centre does.  Bits are OR-ed into the plane in place, so shapes may overlap
and the order does not matter.  There is no state; the GIL is released, and threads own whole rows, so the plane
does not depend on their number.  A shape whose numbers are not all finite (and below 1e15 pixels, where a double
still knows single pixels) paints nothing.
"""

from cython.parallel cimport prange, threadid
from libc.math cimport ceil, fabs

import numpy as np

cdef double LARGEST = 1e15


def fill_polygons(int[:, :] plane, const double[:, :] vertices, const long long[:] first, int bit, *,
                  int n_threads=1):
    """
    OR a bit into the pixels inside polygons, by the even-odd rule.

    Parameters
    ----------
    plane : ndarray of int32 [y, x]
        The plane, changed in place.
    vertices : ndarray of float64 [n_vertex, 2]
        x, y of the vertices of all polygons, 0-based pixels, one polygon after another, each closed by itself.
    first : ndarray of int64 [n_polygon + 1]
        Polygon i has the vertices first[i] to first[i + 1].
    bit : int
        The bit or bits to set, positive.
    n_threads : int, optional
        Threads; the result does not depend on it.

    Raises
    ------
    ValueError
        If the shapes do not fit each other or `first` does not lead through `vertices` in order.

    Notes
    -----
    An edge crosses row y when exactly one of its ends has y' <= y, so a vertex on a row counts once.  A pixel
    is inside when the number of crossings at or left of its centre is odd: left edges belong to the polygon,
    right edges do not, and polygons that share an edge share no pixel and leave none out.
    """
    cdef Py_ssize_t n_polygon = first.shape[0] - 1, i, j, y, longest = 0
    cdef double low, high
    cdef bint sound
    _check_paint(bit, n_threads)
    if vertices.shape[1] != 2:
        raise ValueError(f"vertices must have two columns (x, y), not {vertices.shape[1]}")
    if n_polygon < 0 or first[0] < 0 or first[n_polygon] > vertices.shape[0]:
        raise ValueError(f"first must have n_polygon + 1 elements from 0 up to at most {vertices.shape[0]}")
    if np.any(np.less(first[1:], first[:n_polygon])):
        raise ValueError("first must not decrease")
    rows = np.empty((n_polygon, 2))
    cdef double[:, ::1] extent = rows
    for i in range(n_polygon):
        longest = max(longest, first[i + 1] - first[i])
        low, high, sound = LARGEST, -LARGEST, True
        for j in range(first[i], first[i + 1]):
            sound = sound and fabs(vertices[j, 0]) <= LARGEST and fabs(vertices[j, 1]) <= LARGEST
            low = min(low, vertices[j, 1])
            high = max(high, vertices[j, 1])
        extent[i, 0], extent[i, 1] = (low, high) if sound else (LARGEST, -LARGEST)
    cdef double[:, ::1] crossings = np.empty((n_threads, longest + 1))
    for y in prange(plane.shape[0], nogil=True, num_threads=n_threads, schedule="dynamic", chunksize=64):
        for i in range(n_polygon):
            if extent[i, 0] <= y and y < extent[i, 1]:
                _fill_row(plane, y, vertices, first[i], first[i + 1], bit, &crossings[threadid(), 0])


def fill_ellipses(int[:, :] plane, const double[:] x, const double[:] y, const double[:] a, const double[:] b,
                  const double[:] theta_rad, int bit, *, int n_threads=1):
    """
    OR a bit into the pixels inside ellipses, their edges included.

    Parameters
    ----------
    plane : ndarray of int32 [y, x]
        The plane, changed in place.
    x, y : ndarray of float64 [n]
        Centres, 0-based [pixel].
    a, b : ndarray of float64 [n]
        Semi-axes [pixel]; an ellipse with an axis that is not positive paints nothing.
    theta_rad : ndarray of float64 [n]
        Angle of axis a from +x towards +y [radian].
    bit : int
        The bit or bits to set, positive.
    n_threads : int, optional
        Threads; the result does not depend on it.

    Raises
    ------
    ValueError
        If the arrays have different lengths.
    """
    _check_paint(bit, n_threads)
    if not x.shape[0] == y.shape[0] == a.shape[0] == b.shape[0] == theta_rad.shape[0]:
        raise ValueError("x, y, a, b and theta_rad must have the same length")
    with np.errstate(all="ignore"):  # what is not finite is sorted out row by row
        cosine, sine = np.cos(theta_rad), np.sin(theta_rad)
        a_axis, b_axis = np.asarray(a), np.asarray(b)
        shape = np.stack([cosine / a_axis, sine / a_axis, -sine / b_axis, cosine / b_axis], axis=-1)
        # Half width and half height of the box; one pixel more, so that rounding takes nothing away.
        box = np.stack([np.hypot(a_axis * cosine, b_axis * sine), np.hypot(a_axis * sine, b_axis * cosine)], axis=-1)
        sound = (a_axis > 0) & (b_axis > 0) & (box <= LARGEST).all(axis=-1) & np.isfinite(shape).all(axis=-1)
        box[~sound] = np.nan
    _fill_quadrics(plane, x, y, np.ascontiguousarray(shape), np.ascontiguousarray(box + 1.0), bit, n_threads)


def fill_circles(int[:, :] plane, const double[:] x, const double[:] y, const double[:] r, int bit, *,
                 int n_threads=1):
    """
    OR a bit into the pixels inside circles, their edges included.

    Parameters
    ----------
    plane : ndarray of int32 [y, x]
        The plane, changed in place.
    x, y : ndarray of float64 [n]
        Centres, 0-based [pixel].
    r : ndarray of float64 [n]
        Radii [pixel]; a circle whose radius is not positive paints nothing.
    bit : int
        The bit or bits to set, positive.
    n_threads : int, optional
        Threads; the result does not depend on it.

    Raises
    ------
    ValueError
        If the arrays have different lengths.
    """
    fill_ellipses(plane, x, y, r, r, np.zeros(r.shape[0]), bit, n_threads=n_threads)


def fill_border(int[:, :] plane, Py_ssize_t width, int bit):
    """
    OR a bit into the pixels within some width of the plane's edges.

    Parameters
    ----------
    plane : ndarray of int32 [y, x]
        The plane, changed in place.
    width : int
        Width of the border [pixel]; 0 paints nothing, half the plane or more paints all of it.
    bit : int
        The bit or bits to set, positive.

    Raises
    ------
    ValueError
        If the width is negative.
    """
    cdef Py_ssize_t ny = plane.shape[0], nx = plane.shape[1], x, y
    _check_paint(bit, 1)
    if width < 0:
        raise ValueError(f"the width of a border must not be negative, not {width}")
    with nogil:
        for y in range(ny):
            if y < width or ny - y <= width:
                for x in range(nx):
                    plane[y, x] |= bit
            else:
                for x in range(min(width, nx)):
                    plane[y, x] |= bit
                for x in range(max(nx - width, 0), nx):
                    plane[y, x] |= bit


def _check_paint(bit, n_threads):
    """Refuse a bit that sets nothing (or the sign) and a number of threads below one."""
    if bit <= 0:
        raise ValueError(f"bit must be positive, not {bit}")
    if n_threads < 1:
        raise ValueError(f"n_threads must be 1 or more, not {n_threads}")


cdef void _fill_row(int[:, :] plane, Py_ssize_t y, const double[:, :] vertices, Py_ssize_t begin, Py_ssize_t end,
                    int bit, double *crossing) noexcept nogil:
    """Paint row y of one polygon; `crossing` has room for one number per edge."""
    cdef Py_ssize_t n = 0, i, j, k, x, low, high
    cdef double yd = <double>y, at
    j = end - 1
    for i in range(begin, end):
        if (vertices[i, 1] <= yd) != (vertices[j, 1] <= yd):
            # Always from the same end, so that an edge is rounded alike in both polygons that share it.
            low, high = (i, j) if vertices[i, 1] <= yd else (j, i)
            at = vertices[low, 0] + (yd - vertices[low, 1]) / (vertices[high, 1] - vertices[low, 1]) * (
                vertices[high, 0] - vertices[low, 0])
            k = n  # insertion sort: a polygon crosses a row a handful of times
            while k > 0 and crossing[k - 1] > at:
                crossing[k] = crossing[k - 1]
                k = k - 1
            crossing[k] = at
            n = n + 1
        j = i
    for k in range(0, n - 1, 2):
        for x in range(_ceil_index(crossing[k], plane.shape[1]), _ceil_index(crossing[k + 1], plane.shape[1])):
            plane[y, x] |= bit


cdef void _fill_quadrics(int[:, :] plane, const double[:] x, const double[:] y, const double[:, ::1] shape,
                         const double[:, ::1] box, int bit, int n_threads) noexcept:
    """Paint |shape (dx, dy)| <= 1 for shapes [n, 4] within boxes [n, 2]."""
    cdef Py_ssize_t n = x.shape[0], i, row
    for row in prange(plane.shape[0], nogil=True, num_threads=n_threads, schedule="dynamic", chunksize=64):
        for i in range(n):
            if fabs(y[i]) <= LARGEST and fabs(x[i]) <= LARGEST and fabs(row - y[i]) <= box[i, 1]:
                _fill_quadric_row(plane, row, x[i], y[i], &shape[i, 0], box[i, 0], bit)


cdef void _fill_quadric_row(int[:, :] plane, Py_ssize_t row, double x, double y, const double *shape, double reach,
                            int bit) noexcept nogil:
    """Paint one row of one ellipse."""
    cdef Py_ssize_t column
    cdef double dx, dy = <double>row - y, p, q
    for column in range(_ceil_index(x - reach, plane.shape[1]), _ceil_index(x + reach + 1.0, plane.shape[1])):
        dx = <double>column - x
        p = dx * shape[0] + dy * shape[1]
        q = dx * shape[2] + dy * shape[3]
        if p * p + q * q <= 1.0:
            plane[row, column] |= bit


cdef inline Py_ssize_t _ceil_index(double position, Py_ssize_t n) noexcept nogil:
    """Return the first pixel at or right of a position, within 0 .. n; n for a position that is no number."""
    if position <= 0.0:
        return 0
    if position < <double>n:
        return <Py_ssize_t>ceil(position)
    return n
