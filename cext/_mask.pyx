# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: freethreading_compatible=True, embedsignature=True
"""Shapes painted into a plane of flag bits: polygons, ellipses, circles, the border; and the counting of bits.

A pixel belongs to a shape when its centre does.  Bits are OR-ed into the plane in place, so shapes may overlap
and the order does not matter.  There is no state; the GIL is released, and threads own whole rows, so the plane
does not depend on their number.  A shape whose numbers are not all finite (and below 1e15 pixels, where a double
still knows single pixels) paints nothing.
"""

from cython.parallel cimport prange, threadid
from libc.math cimport ceil, fabs

import numpy as np

cdef double LARGEST = 1e15

#: Rows that are painted together, and how many crossings of one polygon with them a thread has room for.
cdef Py_ssize_t BAND = 64
cdef Py_ssize_t LARGEST_LIST = 1 << 20


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
    cdef Py_ssize_t n_polygon = first.shape[0] - 1, ny = plane.shape[0], nx = plane.shape[1]
    cdef Py_ssize_t i, j, band, height, row, longest = 0
    cdef double low, high
    cdef bint sound
    _check_paint(bit, n_threads)
    if vertices.shape[1] != 2:
        raise ValueError(f"vertices must have two columns (x, y), not {vertices.shape[1]}")
    if n_polygon < 0 or first[0] < 0 or first[n_polygon] > vertices.shape[0]:
        raise ValueError(f"first must have n_polygon + 1 elements from 0 up to at most {vertices.shape[0]}")
    if np.any(np.less(first[1:], first[:n_polygon])):
        raise ValueError("first must not decrease")
    rows = np.empty((n_polygon, 2), np.intp)
    cdef Py_ssize_t[:, ::1] extent = rows
    for i in range(n_polygon):
        longest = max(longest, first[i + 1] - first[i])
        low, high, sound = LARGEST, -LARGEST, True
        for j in range(first[i], first[i + 1]):
            sound = sound and fabs(vertices[j, 0]) <= LARGEST and fabs(vertices[j, 1]) <= LARGEST
            low = min(low, vertices[j, 1])
            high = max(high, vertices[j, 1])
        if not sound:
            low, high = 0.0, 0.0
        extent[i, 0], extent[i, 1] = _ceil_index(low, ny), _ceil_index(high, ny)
    # As many rows at a time as keep what a thread writes in the cache, and few where polygons have very many vertices.
    height = max(1, min(BAND, LARGEST_LIST // max(longest, 1)))
    starts, members = _bands(rows, ny, height)
    cdef const long long[::1] start = starts, member = members
    cdef double[:, :, ::1] crossings = np.empty((n_threads, height, longest + 1))
    cdef Py_ssize_t[:, ::1] n_crossing = np.zeros((n_threads, height), np.intp)
    cdef int[:, :, ::1] cover = np.zeros((n_threads, height, nx + 1), np.intc)
    for band in prange(start.shape[0] - 1, nogil=True, num_threads=n_threads, schedule="dynamic"):
        for i in range(start[band], start[band + 1]):
            j = member[i]
            _cover_polygon(vertices, first[j], first[j + 1], band * height,
                           max(extent[j, 0], band * height), min(extent[j, 1], (band + 1) * height), nx,
                           crossings[threadid()], n_crossing[threadid()], cover[threadid()])
        if start[band + 1] > start[band]:
            for row in range(min(height, ny - band * height)):
                _paint_covered(plane, band * height + row, bit, &cover[threadid(), row, 0])


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
    box += 1.0
    # The first row of each box and the one behind its last; what has no box, or no place, is in no row.
    height, y_axis = plane.shape[0], np.asarray(y)
    sound &= (np.abs(y_axis) <= LARGEST) & (np.abs(np.asarray(x)) <= LARGEST)
    rows = np.zeros((x.shape[0], 2), np.intp)
    rows[sound, 0] = np.clip(np.ceil(y_axis - box[:, 1])[sound], 0, height)
    rows[sound, 1] = np.clip(np.floor(y_axis + box[:, 1])[sound] + 1, 0, height)
    starts, members = _bands(rows, height, BAND)
    _fill_quadrics(plane, x, y, np.ascontiguousarray(shape), np.ascontiguousarray(box), rows, starts, members, bit,
                   n_threads)


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


def count_bits(const int[:, :] plane, const int[:] bits):
    """
    Count the pixels that have any bit of each of some sets.

    Parameters
    ----------
    plane : ndarray of int32 [y, x]
        The plane.
    bits : ndarray of int32 [n]
        Sets of bits; -1 is all of them.

    Returns
    -------
    ndarray of int64 [n]
        Numbers of pixels.
    """
    cdef Py_ssize_t x, y, k, since, nx = plane.shape[1]
    counts = np.zeros(bits.shape[0], np.int64)
    cdef long long[::1] count = counts
    cdef int value
    with nogil:
        for y in range(plane.shape[0]):
            since = 0
            for x in range(1, nx + 1):  # masks are runs of the same value
                if x == nx or plane[y, x] != plane[y, since]:
                    value = plane[y, since]
                    if value != 0:
                        for k in range(bits.shape[0]):
                            if value & bits[k]:
                                count[k] += x - since
                    since = x
    return counts


def _check_paint(bit, n_threads):
    """Refuse a bit that sets nothing (or the sign) and a number of threads below one."""
    if bit <= 0:
        raise ValueError(f"bit must be positive, not {bit}")
    if n_threads < 1:
        raise ValueError(f"n_threads must be 1 or more, not {n_threads}")


def _bands(rows, Py_ssize_t ny, Py_ssize_t height):
    """
    Sort shapes into bands of rows, so that each row meets only the shapes that may touch it.

    Parameters
    ----------
    rows : ndarray of intp [n, 2]
        First row of each shape and the row behind its last, within 0 .. ny.
    ny, height : int
        Rows of the plane and of a band.

    Returns
    -------
    start : ndarray of int64 [n_band + 1]
        Band k has members[start[k]:start[k + 1]].
    members : ndarray of int64
        Indices of shapes, ascending within a band.
    """
    cdef Py_ssize_t n_band = (ny + height - 1) // height, i, k
    starts = np.zeros(n_band + 1, np.int64)
    cdef long long[::1] start = starts
    cdef const Py_ssize_t[:, ::1] extent = rows
    for i in range(extent.shape[0]):
        if extent[i, 0] < extent[i, 1]:
            for k in range(extent[i, 0] // height, (extent[i, 1] - 1) // height + 1):
                start[k + 1] += 1
    np.cumsum(starts, out=starts)
    members = np.empty(starts[n_band], np.int64)
    cdef long long[::1] member = members, place = starts[:n_band].copy()
    for i in range(extent.shape[0]):
        if extent[i, 0] < extent[i, 1]:
            for k in range(extent[i, 0] // height, (extent[i, 1] - 1) // height + 1):
                member[place[k]] = i
                place[k] += 1
    return starts, members


cdef void _cover_polygon(const double[:, :] vertices, Py_ssize_t begin, Py_ssize_t end, Py_ssize_t origin,
                         Py_ssize_t y0, Py_ssize_t y1, Py_ssize_t nx, double[:, ::1] crossings,
                         Py_ssize_t[::1] n_crossing, int[:, ::1] cover) noexcept nogil:
    """Count one polygon in the rows y0 to y1 of a band that begins at row `origin`.

    `cover` [row, nx + 1] is one more from the first pixel of each span on and one less behind its last.
    """
    cdef Py_ssize_t i, j, k, y, row, low, high
    cdef double at
    j = end - 1
    for i in range(begin, end):
        # Always from the same end, so that an edge is rounded alike in both polygons that share it.
        low, high = (i, j) if vertices[i, 1] <= vertices[j, 1] else (j, i)
        j = i
        for y in range(max(_ceil_index(vertices[low, 1], y1), y0), _ceil_index(vertices[high, 1], y1)):
            at = vertices[low, 0] + (<double>y - vertices[low, 1]) / (vertices[high, 1] - vertices[low, 1]) * (
                vertices[high, 0] - vertices[low, 0])
            row = y - origin
            k = n_crossing[row]  # insertion sort: a polygon crosses a row a handful of times
            n_crossing[row] = k + 1
            while k > 0 and crossings[row, k - 1] > at:
                crossings[row, k] = crossings[row, k - 1]
                k = k - 1
            crossings[row, k] = at
    for y in range(y0, y1):
        row = y - origin
        for k in range(0, n_crossing[row] - 1, 2):
            cover[row, _ceil_index(crossings[row, k], nx)] += 1
            cover[row, _ceil_index(crossings[row, k + 1], nx)] -= 1
        n_crossing[row] = 0


cdef void _paint_covered(int[:, :] plane, Py_ssize_t y, int bit, int *cover) noexcept nogil:
    """Paint the pixels of row y that some span covers, and make the counts zero again."""
    cdef Py_ssize_t x, nx = plane.shape[1]
    cdef int n = 0
    for x in range(nx):
        n += cover[x]
        cover[x] = 0
        plane[y, x] |= bit if n > 0 else 0
    cover[nx] = 0


cdef void _fill_quadrics(int[:, :] plane, const double[:] x, const double[:] y, const double[:, ::1] shape,
                         const double[:, ::1] box, const Py_ssize_t[:, ::1] rows, const long long[::1] start,
                         const long long[::1] member, int bit, int n_threads) noexcept:
    """Paint |shape (dx, dy)| <= 1 for shapes [n, 4] within boxes [n, 2], which are sorted into bands of rows."""
    cdef Py_ssize_t band, i, j, row
    for band in prange(start.shape[0] - 1, nogil=True, num_threads=n_threads, schedule="dynamic"):
        for i in range(start[band], start[band + 1]):
            j = member[i]
            for row in range(max(rows[j, 0], band * BAND), min(rows[j, 1], (band + 1) * BAND)):
                _fill_quadric_row(plane, row, x[j], y[j], &shape[j, 0], box[j, 0], bit)


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
