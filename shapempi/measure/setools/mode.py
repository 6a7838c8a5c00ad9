"""The mode of a sample: the histogram's way, and two estimators that scatter less."""

from __future__ import annotations

import numpy as np

__all__ = ["half_sample_mode", "mode", "mode_kde"]

#: `mode` stops when fewer values than this would be left, or at this width of the interval.
_FEWEST_VALUES = 10
_NARROWEST = 1e-3

#: The shortest interval that holds a quarter of a Gaussian is this many sigma wide.
_QUARTER_WIDTH = 2 * 0.31863936


def _finite(values: np.ndarray) -> np.ndarray:
    """Return the finite values, in double precision."""
    data = np.asarray(values, dtype=float)
    return data[np.isfinite(data)]


def mode(values: np.ndarray) -> float:
    """Estimate the mode by zooming into the fullest bin of a histogram (behaviour specification, section 6.4).

    The histogram of N values has N // 5 bins over their range (N // 10 above 100 values).  The values in its first
    fullest bin, edges included, are the values of the next round, until no bin stands out, fewer than 10 values
    would be left, or the range is below 0.001.  The median of what is left is the mode.  Fewer than 20 values
    are not zoomed into: their median is returned.

    Parameters
    ----------
    values : ndarray of float [n]
        The sample; values that are not finite are left out.

    Returns
    -------
    float
        The mode; -1 for an empty sample.
    """
    data = _finite(values)
    if len(data) == 0:
        return -1.0
    while len(data) >= 2 * _FEWEST_VALUES and np.ptp(data) > _NARROWEST:
        n_bin = len(data) // 5 if len(data) <= 100 else len(data) // 10
        try:
            counts, edges = np.histogram(data, n_bin)
        except ValueError:  # the range is too narrow, or too wide, for so many different edges
            break
        fullest = int(np.argmax(counts))
        inside = data[(data >= edges[fullest]) & (data <= edges[fullest + 1])]
        if counts[fullest] == 1 or len(inside) < _FEWEST_VALUES or len(inside) == len(data):
            break
        data = inside
    return float(np.median(data))


def half_sample_mode(values: np.ndarray) -> float:
    """Estimate the mode as the place where half of half of half ... of the sample is closest together.

    Bickel and Fruehwirth 2006, Computational Statistics & Data Analysis 50, 3500.

    Parameters
    ----------
    values : ndarray of float [n]
        The sample; values that are not finite are left out.

    Returns
    -------
    float
        The mode; -1 for an empty sample.
    """
    data = np.sort(_finite(values))
    if len(data) == 0:
        return -1.0
    while len(data) > 3:
        half = (len(data) + 1) // 2
        widths = data[half - 1 :] - data[: len(data) - half + 1]
        # Of equally short halves the middle one: from the left, the estimate of a symmetric sample would be biased.
        shortest = np.flatnonzero(widths == widths.min())
        start = int(shortest[(len(shortest) - 1) // 2])
        data = data[start : start + half]
    if len(data) == 3:
        left, right = data[1] - data[0], data[2] - data[1]
        data = data[:2] if left < right else data[1:] if right < left else data[1:2]
    return float(np.mean(data))


def mode_kde(values: np.ndarray) -> float:
    """Estimate the mode as the maximum of the density, smoothed by a Gaussian.

    The width of the Gaussian is Scott's rule, 1.06 sigma n^(-1/5), for a sigma that a wide background does not
    widen: that of the shortest interval with a quarter of the sample.

    Parameters
    ----------
    values : ndarray of float [n]
        The sample; values that are not finite are left out.

    Returns
    -------
    float
        The mode; -1 for an empty sample.
    """
    data = np.sort(_finite(values))
    n = len(data)
    if n == 0:
        return -1.0
    quarter = max(n // 4, 2)
    if n < 3:
        return float(np.median(data))
    starts = data[: n - quarter + 1]
    widths = data[quarter - 1 :] - starts
    width = 1.06 * float(widths.min()) / _QUARTER_WIDTH * n**-0.2
    if not width > 1e-9 * np.abs(data).max():
        return half_sample_mode(data)  # a quarter of the sample is one value
    # The maximum is near the densest quarter: uphill from there (mean shift), from a few starts.
    best, highest = 0.0, -1.0
    for start in np.argsort(widths, kind="stable")[: 5 * max(n // 50, 1) : max(n // 50, 1)]:
        place = float(np.mean(data[start : start + quarter]))
        for _ in range(100):
            kernel = np.exp(-0.5 * ((data - place) / width) ** 2)
            density = float(kernel.sum())
            step = float((kernel * data).sum()) / density - place
            place += step
            if abs(step) < 1e-4 * width:
                break
        if density > highest:
            best, highest = place, density
    return best
