"""Rows of an image with the variance of their pixels, as the steps of a detection use them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shapempi.measure.pixel_source import PixelSource
from shapempi.measure.variance import variance_map

__all__ = ["Section", "SectionReader"]


@dataclass(frozen=True)
class Section:
    """Some rows of an image, over its whole width.

    Attributes
    ----------
    y0 : int
        The first row.
    data, variance : ndarray of float32 [y, x]
        Background-subtracted image [ADU] and its variance [ADU^2]; 0 and `UNUSABLE` for pixels that take no part.
    flag : ndarray of int [y, x]
        Flag bits.
    """

    y0: int
    data: np.ndarray
    variance: np.ndarray
    flag: np.ndarray

    @property
    def rows(self) -> slice:
        """The rows, as an index of the whole image."""
        return slice(self.y0, self.y0 + len(self.data))

    def part(self, y0: int, y1: int) -> Section:
        """Return the rows y0 to y1, which are among these, without a copy."""
        rows = slice(y0 - self.y0, y1 - self.y0)
        return Section(y0, self.data[rows], self.variance[rows], self.flag[rows])


class SectionReader:
    """Gives sections of one image, and keeps the last one: strips that follow each other share rows.

    Parameters
    ----------
    source : PixelSource
        The image.
    noise_ratio : float
        Factor on the rms that its weights say.
    """

    def __init__(self, source: PixelSource, noise_ratio: float) -> None:
        self.source = source
        self.noise_ratio = noise_ratio
        self._last: Section | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx) of the image."""
        return self.source.shape

    def read(self, y0: int, y1: int) -> Section:
        """Return the rows y0 to y1, half open, inside the image; nobody may change them."""
        last = self._last
        if last is None or not last.y0 <= y0 < last.rows.stop:
            section = self._new(y0, y1)
        elif y1 <= last.rows.stop:
            return last.part(y0, y1)
        else:
            stop = last.rows.stop
            known, new = last.part(y0, stop), self._new(stop, y1)
            planes = ((getattr(known, name), getattr(new, name)) for name in ("data", "variance", "flag"))
            section = Section(y0, *(np.concatenate(pair) for pair in planes))
        self._last = section
        return section

    def _new(self, y0: int, y1: int) -> Section:
        """Read rows from the source."""
        rows = self.source.read(y0, y1)
        return Section(y0, rows.data, variance_map(rows.data, rows.weight, self.noise_ratio), rows.flag)
