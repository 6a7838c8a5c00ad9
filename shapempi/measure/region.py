"""Regions: what is connected above the threshold in the filtered image, found strip by strip.

A strip owns the regions whose first row is in it, and it is read on downwards until none of them is cut.  So a region
and its number in the order of first pixels do not depend on where strips begin and end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from shapempi.errors import MeasurementError
from shapempi.kernels import _region
from shapempi.measure.section import Section, SectionReader

__all__ = ["FILTER_KERNEL", "Regions", "find_regions"]

#: The 3 x 3 filter of SExtractor's default, normalised.
FILTER_KERNEL = np.array([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]], dtype=np.float32) / np.float32(16.0)

#: Rows at either side that the filter needs.
REACH = len(FILTER_KERNEL) // 2
#: Rows that a strip is first read on, for regions that are not much longer.
OVERLAP = 64
#: A region with a larger share of the image's pixels is no object, but a background or a noise that is wrong.
LARGEST = 0.25


@dataclass(frozen=True)
class Regions:
    """The regions that one strip owns, with the rows that hold them.

    Attributes
    ----------
    section : Section
        The rows, and `FILTER_KERNEL`'s reach around every region.
    smoothed : ndarray of float32 [y, x]
        The filtered rows; not right in the first and last ones unless they are the image's.
    labels : ndarray of int32 [y, x]
        Label of the region that owns a pixel; not only of these regions.
    label : ndarray of int64 [n]
        Labels of the regions, in the order of their first pixels.
    boxes : ndarray of int64 [n, 4]
        y0, y1, x0, x1: rows of the section and columns of each region, half open.
    n_pixel : ndarray of int64 [n]
        Pixels of each.
    n_peak : ndarray of int64 [n]
        Pixels of each that no neighbour in the region outshines in the filtered image.
    """

    section: Section
    smoothed: np.ndarray
    labels: np.ndarray
    label: np.ndarray
    boxes: np.ndarray
    n_pixel: np.ndarray
    n_peak: np.ndarray


def find_regions(reader: SectionReader, threshold: float, min_area: int, strip_rows: int) -> Iterator[Regions]:
    """Find the regions of an image.

    Parameters
    ----------
    reader : SectionReader
        The image.
    threshold : float
        Threshold on the filtered image, in units of the rms of a pixel before the filter, as SExtractor has it.
    min_area : int
        Fewest pixels of a region.
    strip_rows : int
        Rows of a strip; decides memory, not the regions.

    Yields
    ------
    Regions
        Strip after strip, those without a region left out.

    Raises
    ------
    MeasurementError
        If a region is larger than a quarter of the image.
    """
    ny = reader.shape[0]
    for y0 in range(0, ny, strip_rows):
        found = _of_strip(reader, y0, min(y0 + strip_rows, ny), threshold, min_area)
        if len(found.label):
            yield found


def _of_strip(reader: SectionReader, y0: int, y1: int, threshold: float, min_area: int) -> Regions:
    """Find the regions whose first row is y0 to y1."""
    ny, nx = reader.shape
    top, overlap = max(y0 - 2 * REACH, 0), OVERLAP
    while True:
        bottom = min(y1 + overlap, ny)
        section = reader.read(top, bottom)
        smoothed = _region.smooth(section.data, FILTER_KERNEL)
        labels, boxes, n_pixel, n_peak = _region.label(smoothed, section.variance, threshold)
        if n_pixel.max(initial=0) > LARGEST * ny * nx:
            raise MeasurementError(
                f"detection failed: more than {LARGEST:.0%} of the pixels are one region above the threshold; is the "
                "background subtracted and the weight map an inverse variance? If so, raise detection threshold"
            )
        own = (boxes[:, 0] >= y0 - top) & (boxes[:, 0] < y1 - top)
        # Behind the last row that is filtered with all its neighbours a region may go on.
        cut = own & (boxes[:, 1] >= bottom - top - REACH)
        if bottom == ny or not cut.any():
            break
        overlap *= 2
    chosen = np.flatnonzero(own & (n_pixel >= min_area))
    return Regions(section, smoothed, labels, chosen + 1, boxes[chosen], n_pixel[chosen], n_peak[chosen])
