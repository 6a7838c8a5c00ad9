"""What is measured on the pixels of each object above the detection threshold: its core width and its mask bits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from shapempi.measure.section import Section
from shapempi.measure.variance import UNUSABLE

__all__ = ["IsoPixels", "core_fwhm", "isophotal"]

#: Pixels handled at a time, so that the double-precision temporaries stay small.
BATCH_PIXELS = 1 << 18


@dataclass(frozen=True)
class IsoPixels:
    """The pixels of all objects of a segmentation map, object after object.

    Attributes
    ----------
    index : ndarray of int32 or int64 [m]
        Flat pixel indices; increasing within an object.
    owner : ndarray of int32 [m]
        0-based index of the object; increasing.
    first : ndarray of int64 [n + 1]
        Where each object starts, and m last.
    """

    index: np.ndarray
    owner: np.ndarray
    first: np.ndarray

    @classmethod
    def of(cls, segmentation: np.ndarray, number: np.ndarray) -> IsoPixels:
        """Collect the pixels of the objects of these numbers [int, n] in a segmentation map [int32, y, x]."""
        flat = segmentation.reshape(-1)
        index = np.flatnonzero(flat > 0)
        if flat.size <= np.iinfo(np.int32).max:
            index = index.astype(np.int32)
        owner = flat[index]
        row = np.full(max(int(number.max(initial=0)), int(owner.max(initial=0))) + 1, -1, np.int32)
        row[number] = np.arange(len(number))
        owner = row[owner]
        chosen = owner >= 0
        index, owner = index[chosen], owner[chosen]
        order = np.argsort(owner, kind="stable")
        index, owner = index[order], owner[order]
        return cls(index, owner, np.searchsorted(owner, np.arange(len(number) + 1)))

    def batches(self) -> Iterator[slice]:
        """Yield consecutive objects with about `BATCH_PIXELS` pixels together."""
        n, start = len(self.first) - 1, 0
        while start < n:
            stop = int(np.searchsorted(self.first, self.first[start] + BATCH_PIXELS, side="right")) - 1
            stop = min(max(stop, start + 1), n)
            yield slice(start, stop)
            start = stop

    def bits(self, plane: np.ndarray) -> np.ndarray:
        """Return the OR [int32, n] of a plane of bits [integer, y, x] over the pixels of each object."""
        result = np.zeros(len(self.first) - 1, dtype=np.int32)
        flat = plane.reshape(-1)
        for rows in self.batches():
            first = self.first[rows.start : rows.stop + 1]
            filled = np.flatnonzero(np.diff(first) > 0)
            if filled.size:
                values = flat[self.index[first[0] : first[-1]]].astype(np.int32)
                result[rows.start + filled] = np.bitwise_or.reduceat(values, first[filled] - first[0])
        return result


def isophotal(section: Section, pixels: IsoPixels, threshold: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Measure the isophotes of objects on an image in which they were not found.

    Parameters
    ----------
    section : Section
        Rows of the image that hold the objects.
    pixels : IsoPixels
        The pixels of the objects in these rows.
    threshold : float
        Threshold in units of the rms of a pixel.

    Returns
    -------
    peak : ndarray of float64 [n]
        Brightest usable pixel [ADU]; 0 where none is usable.
    level : ndarray of float64 [n]
        Mean of the threshold over the usable pixels [ADU]; 0 where none is.
    n_above : ndarray of int64 [n]
        Usable pixels above it.
    """
    n = len(pixels.first) - 1
    variance = section.variance.reshape(-1)[pixels.index]
    usable = variance < UNUSABLE / 2
    owner = pixels.owner[usable]
    value = section.data.reshape(-1)[pixels.index[usable]].astype(float)
    count = np.bincount(owner, minlength=n)
    level = threshold * np.bincount(owner, weights=np.sqrt(variance[usable].astype(float)), minlength=n)
    level /= np.maximum(count, 1)
    peak = np.full(n, -np.inf)
    np.maximum.at(peak, owner, value)
    peak[count == 0] = 0.0
    return peak, level, np.bincount(owner[value > level[owner]], minlength=n)


def core_fwhm(
    section: Section,
    pixels: IsoPixels,
    x: np.ndarray,
    y: np.ndarray,
    peak: np.ndarray,
    threshold: np.ndarray,
    saturate: np.ndarray,
    area: np.ndarray,
) -> np.ndarray:
    """Measure the full width at half maximum of a Gaussian core, as SExtractor's FWHM_IMAGE does.

    A straight line is fitted to ln(value) against the squared distance from the barycentre, weighted by value^2,
    over the object's pixels above both a fifth of its peak and the threshold, and below saturation.  With slope -k
    the width is w = 2 sqrt(ln 2 / k), less 1 / (4 w) for the size of the pixels; k is at least 1 / (13 a b).

    Parameters
    ----------
    section : Section
        Rows of the image that hold the objects.
    pixels : IsoPixels
        The pixels of the objects in these rows.
    x, y : ndarray of float64 [n]
        Isophotal barycentres, 0-based, in the whole image.
    peak, threshold : ndarray of float64 [n]
        Brightest pixel and detection threshold [ADU].
    saturate : ndarray of float64 [n]
        Saturation level above the background [ADU].
    area : ndarray of float64 [n]
        Product of the isophotal rms along both axes [pixel^2].

    Returns
    -------
    ndarray of float64 [n]
        Width [pixel]; 0 where fewer than two distances are left for the fit.
    """
    fwhm = np.zeros(len(x))
    for rows in pixels.batches():
        fwhm[rows] = _core_fwhm(section, pixels, x, y, np.maximum(peak / 5.0, threshold), saturate, area, rows)
    return fwhm


def _core_fwhm(
    section: Section,
    pixels: IsoPixels,
    x: np.ndarray,
    y: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    area: np.ndarray,
    rows: slice,
) -> np.ndarray:
    """Measure the widths of some consecutive objects, with pixels between low and high."""
    n, width = rows.stop - rows.start, section.data.shape[1]
    part = slice(pixels.first[rows.start], pixels.first[rows.stop])
    owner, index = pixels.owner[part] - rows.start, pixels.index[part]
    value = section.data.reshape(-1)[index].astype(float)
    keep = (value > low[rows][owner]) & (value < high[rows][owner]) & (value > 0)
    owner, index, value = owner[keep], index[keep], value[keep]
    dx, dy = index % width - x[rows][owner], index // width + section.y0 - y[rows][owner]
    d2 = dx**2 + dy**2
    log, weight = np.log(value), value * value
    terms = (np.ones_like(d2), d2, log, d2 * d2, log * d2)
    s, s_d, s_l, s_dd, s_dl = (np.bincount(owner, weights=weight * term, minlength=n) for term in terms)
    # Normalise first: products of sums of squared fluxes lose digits and can overflow.
    with np.errstate(divide="ignore", invalid="ignore"):
        m_d, m_l = s_d / s, s_l / s
        spread = s_dd / s - m_d * m_d
        slope = -(s_dl / s - m_d * m_l) / spread
        fwhm = 2.0 * np.sqrt(np.log(2.0) / np.maximum(slope, 1.0 / (13.0 * area[rows])))
        fwhm -= 1.0 / (4.0 * fwhm)
    return np.where((s > 0) & (spread > 1e-12) & np.isfinite(fwhm), np.maximum(fwhm, 0.0), 0.0)
