# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: freethreading_compatible=True, embedsignature=True
"""Connected regions of an image above a threshold: the filter before it, and their labels.

There is no state; the GIL is released.  What a kernel says of a pixel or a region depends on the pixels around it
alone, never on where the image begins or ends, if those pixels are in it.
"""

from libc.math cimport sqrtf

import numpy as np


def smooth(const float[:, ::1] data, const float[:, ::1] kernel):
    """
    Filter an image; what lies outside it counts as 0.

    Parameters
    ----------
    data : ndarray of float32 [y, x]
        The image.
    kernel : ndarray of float32 [ky, kx]
        The filter, of odd sides; applied as it is (a correlation).

    Returns
    -------
    ndarray of float32 [y, x]
        The filtered image.  The products are added in single precision, in the order of the filter's pixels.

    Raises
    ------
    ValueError
        If a side of the filter is even.
    """
    cdef Py_ssize_t ny = data.shape[0], nx = data.shape[1], ky = kernel.shape[0], kx = kernel.shape[1]
    cdef Py_ssize_t y, i, j, source
    if ky % 2 == 0 or kx % 2 == 0:
        raise ValueError(f"the sides of the filter must be odd, not {ky} x {kx}")
    smoothed = np.zeros((ny, nx), np.float32)
    cdef float[:, ::1] out = smoothed
    if nx == 0:
        return smoothed
    with nogil:
        for y in range(ny):
            for i in range(ky):
                source = y + i - ky // 2
                if 0 <= source < ny:
                    for j in range(kx):
                        _add_row(&out[y, 0], &data[source, 0], nx, j - kx // 2, kernel[i, j])
    return smoothed


cdef void _add_row(float *out, const float *row, Py_ssize_t nx, Py_ssize_t shift, float factor) noexcept nogil:
    """Add a row, moved to the left by `shift` and multiplied, to another."""
    cdef Py_ssize_t x
    for x in range(max(0, -shift), min(nx, nx - shift)):
        out[x] += factor * row[x + shift]


def label(const float[:, ::1] smoothed, const float[:, ::1] variance, float threshold):
    """
    Find the 8-connected regions of pixels above a threshold in units of the noise.

    Parameters
    ----------
    smoothed : ndarray of float32 [y, x]
        The filtered image.
    variance : ndarray of float32 [y, x]
        Variance of a pixel before the filter.
    threshold : float
        A pixel belongs to a region if it is above this times the square root of its variance.

    Returns
    -------
    labels : ndarray of int32 [y, x]
        Number of the region that owns a pixel, from 1 in the order of the regions' first pixels; 0 for none.
    boxes : ndarray of int64 [n_region, 4]
        y0, y1, x0, x1: rows and columns of each region, half open.
    n_pixel : ndarray of int64 [n_region]
        Pixels of each region.
    n_peak : ndarray of int64 [n_region]
        Pixels of each region to which none of their neighbours in it is superior.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    cdef Py_ssize_t ny = smoothed.shape[0], nx = smoothed.shape[1]
    cdef int n = 0, n_region = 0
    if variance.shape[0] != ny or variance.shape[1] != nx:
        raise ValueError("smoothed and variance differ in shape")
    plane = np.zeros((ny, nx), np.int32)
    if ny == 0 or nx == 0:
        return plane, np.empty((0, 4), np.int64), np.empty(0, np.int64), np.empty(0, np.int64)
    # A pixel that begins a region has no neighbour above it or to its left: at most one in each 2 x 2.
    roots = np.empty(((ny + 1) // 2) * ((nx + 1) // 2) + 1, np.int32)
    above = np.empty(nx, np.uint8)
    cdef int[:, ::1] labels = plane
    cdef int[::1] root = roots
    cdef unsigned char[::1] is_above = above
    with nogil:
        n = _connect(smoothed, variance, threshold, labels, root, is_above)
        n_region = _number(root, n)
    boxes = np.empty((n_region, 4), np.int64)
    counts, peaks = np.zeros(n_region, np.int64), np.zeros(n_region, np.int64)
    boxes[:, [0, 2]] = ny, nx
    boxes[:, [1, 3]] = 0
    if n_region > 0:
        _measure(labels, root, boxes, counts)
        _count_peaks(smoothed, labels, peaks)
    return plane, boxes, counts, peaks


cdef int _connect(const float[:, ::1] smoothed, const float[:, ::1] variance, float threshold, int[:, ::1] labels,
                  int[::1] root, unsigned char[::1] above) noexcept nogil:
    """Give every pixel above the threshold a label, and every label one of its region; returns their number."""
    cdef Py_ssize_t ny = labels.shape[0], nx = labels.shape[1], x, y
    cdef int n = 0, own, other
    for y in range(ny):
        for x in range(nx):
            above[x] = smoothed[y, x] > threshold * sqrtf(variance[y, x])
        own = 0
        for x in range(nx):
            if not above[x]:
                own = 0
                continue
            # What touches the left neighbour from above is known already: only what is above to the right is new.
            if own == 0 and y > 0:
                if x > 0 and labels[y - 1, x - 1] > 0:
                    own = labels[y - 1, x - 1]
                elif labels[y - 1, x] > 0:
                    own = labels[y - 1, x]
            other = labels[y - 1, x + 1] if y > 0 and x + 1 < nx else 0
            if own == 0:
                own = other
            elif other > 0 and other != own:
                _join(root, own, other)
            if own == 0:
                n += 1
                own = n
                root[n] = n
            labels[y, x] = own
    return n


cdef inline int _root_of(int[::1] root, int label) noexcept nogil:
    """Return the smallest label that a label is joined to, and shorten the way to it."""
    while root[label] != label:
        root[label] = root[root[label]]
        label = root[label]
    return label


cdef inline void _join(int[::1] root, int a, int b) noexcept nogil:
    """Join the regions of two labels; the smaller one, whose pixel came first, stands for both."""
    a, b = _root_of(root, a), _root_of(root, b)
    root[max(a, b)] = min(a, b)


cdef int _number(int[::1] root, int n) noexcept nogil:
    """Turn roots into the numbers of regions; returns how many there are."""
    cdef int label, n_region = 0
    root[0] = 0
    for label in range(1, n + 1):
        # Roots are smaller than what is joined to them, so theirs are numbers already.
        if root[label] == label:
            n_region += 1
            root[label] = n_region
        else:
            root[label] = root[root[label]]
    return n_region


cdef void _measure(int[:, ::1] labels, const int[::1] root, long long[:, ::1] boxes, long long[::1] counts) noexcept:
    """Give the pixels the numbers of their regions; find extent and size of these."""
    cdef Py_ssize_t x, y
    cdef int k
    with nogil:
        for y in range(labels.shape[0]):
            for x in range(labels.shape[1]):
                if labels[y, x] == 0:
                    continue
                labels[y, x] = root[labels[y, x]]
                k = labels[y, x] - 1
                counts[k] += 1
                boxes[k, 0] = min(boxes[k, 0], y)
                boxes[k, 1] = max(boxes[k, 1], y + 1)
                boxes[k, 2] = min(boxes[k, 2], x)
                boxes[k, 3] = max(boxes[k, 3], x + 1)


cdef void _count_peaks(const float[:, ::1] smoothed, const int[:, ::1] labels, long long[::1] peaks) noexcept:
    """Count the pixels of each region to which no neighbour is superior; all neighbours with a label are in it."""
    cdef Py_ssize_t x, y, near_x, near_y
    cdef bint peak
    with nogil:
        for y in range(labels.shape[0]):
            for x in range(labels.shape[1]):
                if labels[y, x] == 0:
                    continue
                peak = True
                for near_y in range(max(y - 1, 0), min(y + 2, labels.shape[0])):
                    for near_x in range(max(x - 1, 0), min(x + 2, labels.shape[1])):
                        if labels[near_y, near_x] > 0 and smoothed[near_y, near_x] > smoothed[y, x]:
                            peak = False
                peaks[labels[y, x] - 1] += peak
