"""Large images made small for a picture: means of pixels, and of every flag bit the part of a cell that has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from shapempi.report.look_palette import bits_of

__all__ = ["Thumbnail", "make_thumbnail"]

#: Rows that are read at once, about.
_ROWS = 512

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Thumbnail:
    """A section of an image in cells of step x step pixels.

    Attributes
    ----------
    image : ndarray of float32 [y, x]
        Mean of the finite pixels of each cell; NaN where there is none.
    bits : mapping of int to ndarray of float32 [y, x]
        Of every bit that is set anywhere, the part of the pixels of each cell that have it; not zero if only one has.
    fractions : mapping of int to float
        Of every bit, the part of all pixels of the section.
    flagged : float
        Part of the pixels with any bit.
    box : tuple of int
        The section (y0, y1, x0, x1), half open.
    step : int
        Side of the cells [pixel]; those at the upper and the right edge may be narrower.
    """

    image: np.ndarray
    bits: Mapping[int, np.ndarray]
    fractions: Mapping[int, float]
    flagged: float
    box: Box
    step: int


def make_thumbnail(
    box: Box,
    image: Callable[[Box], np.ndarray],
    plane: Callable[[Box], np.ndarray] | None = None,
    *,
    longest: int = 1100,
) -> Thumbnail:
    """Read an image in strips and make it small.

    Parameters
    ----------
    box : tuple of int
        The section (y0, y1, x0, x1), half open.
    image : callable
        Returns the pixels of a section.
    plane : callable, optional
        Returns the flag bits of a section, integers.
    longest : int, optional
        Cells along the longer side, at most.

    Returns
    -------
    Thumbnail
        The section; a strip of it at a time is in memory.
    """
    y0, y1, x0, x1 = box
    step = max(-(-max(y1 - y0, x1 - x0) // longest), 1)
    shape = (-(-(y1 - y0) // step), -(-(x1 - x0) // step))
    mean = np.zeros(shape, np.float32)
    bits: dict[int, np.ndarray] = {}
    counts: dict[int, int] = {}
    n_flagged = 0
    for strip, rows in _strips(box, step):
        data = image(strip)
        finite = np.isfinite(data)
        number = _cells(finite, step)
        total = _cells(np.where(finite, data, 0).astype(np.float64, copy=False), step)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean[rows] = total / number
        if plane is None:
            continue
        flags = plane(strip)
        n_flagged += int(np.count_nonzero(flags))
        area = _cells(np.ones(flags.shape, bool), step)
        for bit in bits_of(int(np.bitwise_or.reduce(flags, axis=None))):
            set_here = (flags & bit) != 0
            counts[bit] = counts.get(bit, 0) + int(np.count_nonzero(set_here))
            bits.setdefault(bit, np.zeros(shape, np.float32))[rows] = _cells(set_here, step) / area
    n_pixel = (y1 - y0) * (x1 - x0)
    return Thumbnail(
        image=mean,
        bits=dict(sorted(bits.items())),
        fractions={bit: counts[bit] / n_pixel for bit in sorted(counts)},
        flagged=n_flagged / n_pixel,
        box=box,
        step=step,
    )


def _strips(box: Box, step: int) -> Iterator[tuple[Box, slice]]:
    """Yield sections of full width and the rows of cells that they fill, from the bottom."""
    y0, y1, x0, x1 = box
    height = max(_ROWS // step, 1) * step
    for bottom in range(y0, y1, height):
        top = min(bottom + height, y1)
        yield (bottom, top, x0, x1), slice((bottom - y0) // step, -(-(top - y0) // step))


def _cells(values: np.ndarray, step: int) -> np.ndarray:
    """Return the sums over cells of step x step pixels."""
    kind = np.int64 if values.dtype.kind == "b" else values.dtype
    if step == 1:
        return values.astype(kind)
    columns = np.add.reduceat(values, np.arange(0, values.shape[0], step), axis=0, dtype=kind)
    return np.add.reduceat(columns, np.arange(0, values.shape[1], step), axis=1)
