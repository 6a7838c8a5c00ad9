"""Where a detection gets its pixels: rows of an image, as many as it asks for; no image must be in memory whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from shapempi.errors import DataError
from shapempi.wcs import Wcs

__all__ = ["ArraySource", "Frame", "PixelRows", "PixelSource"]


@dataclass(frozen=True)
class Frame:
    """What the pixels of an image mean.

    Attributes
    ----------
    wcs : Wcs
        Maps pixels of the full image to the sky.
    gain : float
        Electrons per ADU; 0 if unknown.
    saturate : float
        Saturation level of the image before the subtraction of the background [ADU]; inf if unknown.
    mag_zp : float
        Magnitude of 1 ADU.
    """

    wcs: Wcs
    gain: float
    saturate: float
    mag_zp: float


@dataclass(frozen=True)
class PixelRows:
    """Some rows of an image, over its whole width.

    Attributes
    ----------
    data : ndarray of float32 [y, x]
        Background-subtracted image [ADU].
    weight : ndarray of float32 [y, x]
        Inverse variance [ADU^-2]; 0 is unusable.
    flag : ndarray of int [y, x]
        Flag bits, of any integer type; 0 is good.
    """

    data: np.ndarray
    weight: np.ndarray
    flag: np.ndarray


class PixelSource(Protocol):
    """Gives rows of one image; asked for the same rows again, it gives the same pixels."""

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx) of the image."""
        ...

    def read(self, y0: int, y1: int) -> PixelRows:
        """Return the rows y0 to y1 (half open, inside the image); the caller may change them."""
        ...


@dataclass(frozen=True)
class ArraySource:
    """An image that is in memory.

    Attributes
    ----------
    data, weight, flag : ndarray [y, x]
        As in `PixelRows`.

    Raises
    ------
    DataError
        If their shapes differ.
    """

    data: np.ndarray
    weight: np.ndarray
    flag: np.ndarray

    def __post_init__(self) -> None:
        """Refuse planes that do not belong together."""
        if not self.data.shape == self.weight.shape == self.flag.shape:
            raise DataError(
                f"detection: shapes of image {self.data.shape}, weight {self.weight.shape}, mask {self.flag.shape} "
                "differ"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx) of the image."""
        ny, nx = self.data.shape
        return ny, nx

    def read(self, y0: int, y1: int) -> PixelRows:
        """Return copies of the rows y0 to y1, in native byte order."""
        rows = slice(y0, y1)
        return PixelRows(
            np.array(self.data[rows], dtype=np.float32, order="C"),
            np.array(self.weight[rows], dtype=np.float32, order="C"),
            np.array(self.flag[rows], order="C"),
        )
