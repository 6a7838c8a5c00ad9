"""The pixels of a tile for a detection: rows read from its files as they are asked for, with their mask.

Image and weight are read again for every step that goes through them, which costs less than the 800 MB of a full tile.
The mask is made once, of rows that are read for the first time, and kept in the smallest integers that hold it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from shapempi.image import Image
from shapempi.io.tile import TilePlanes
from shapempi.measure.mask import MaskPlane
from shapempi.measure.pixel_source import PixelRows

__all__ = ["PlanesSource", "TileSource"]

#: Rows of which the mask is made at a time when nobody has asked for them.
ROWS = 512


@dataclass(frozen=True)
class PlanesSource:
    """An image and its weight in files, without a mask.

    Attributes
    ----------
    planes : TilePlanes
        The files.
    background : float
        Level of the sky in the image, which is subtracted [ADU].
    """

    planes: TilePlanes
    background: float

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx) of the image."""
        return self.planes.shape

    def read(self, y0: int, y1: int) -> PixelRows:
        """Return the rows y0 to y1, none flagged."""
        data, weight = self.planes.read((y0, y1, 0, self.shape[1]))
        np.subtract(data, np.float32(self.background), out=data)
        return PixelRows(data, weight, np.zeros(data.shape, np.uint8))


class TileSource:
    """A tile in its files, less the level of the sky that its header may name, with the mask that is made of it.

    Parameters
    ----------
    tile : Image
        Any section of the tile: what it says of the whole is used.
    planes : TilePlanes
        Its files.
    make_mask : callable
        Makes the mask of a section of the tile.
    """

    def __init__(self, tile: Image, planes: TilePlanes, make_mask: Callable[[Image], MaskPlane]) -> None:
        self._tile = tile
        self._planes = planes
        self._make_mask = make_mask
        self._plane = np.zeros(planes.shape, np.uint8)
        self._masked = np.zeros(planes.shape[0], dtype=bool)
        self._counts: dict[str, int] = {}
        self._n_missing = 0

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx) of the tile."""
        return self._planes.shape

    def read(self, y0: int, y1: int) -> PixelRows:
        """Return the rows y0 to y1, with their mask."""
        data, weight = self._planes.read((y0, y1, 0, self.shape[1]))
        new = y0 + np.flatnonzero(~self._masked[y0:y1])
        for rows in np.split(new, np.flatnonzero(np.diff(new) > 1) + 1):
            if rows.size:
                first, stop = int(rows[0]), int(rows[-1]) + 1
                part = slice(first - y0, stop - y0)
                self._mask(first, data[part], weight[part])
        if self._tile.background is not None:
            np.subtract(data, np.float32(self._tile.background), out=data)
        return PixelRows(data, weight, self._plane[y0:y1].copy())

    def _mask(self, y0: int, data: np.ndarray, weight: np.ndarray) -> None:
        """Make the mask of rows that have none yet."""
        flag = np.zeros(data.shape, np.int32)
        mask = self._make_mask(replace(self._tile, data=data, weight=weight, flag=flag, origin=(y0, 0)))
        plane = mask.compact()
        if not np.can_cast(plane.dtype, self._plane.dtype):
            self._plane = self._plane.astype(np.promote_types(plane.dtype, self._plane.dtype))
        rows = slice(y0, y0 + len(data))
        self._plane[rows] = plane
        self._masked[rows] = True
        for name, fraction in mask.fractions.items():
            self._counts[name] = self._counts.get(name, 0) + round(fraction * plane.size)
        self._n_missing += round(mask.missing_ratio * plane.size)

    def finish(self) -> None:
        """Make the mask of the rows that nobody has asked for."""
        for y0 in range(0, self.shape[0], ROWS):
            y1 = min(y0 + ROWS, self.shape[0])
            if not self._masked[y0:y1].all():
                self.read(y0, y1)

    @property
    def plane(self) -> np.ndarray:
        """The mask [y, x], 0 where nothing is masked, in the rows that have one."""
        return self._plane

    @property
    def fractions(self) -> dict[str, float]:
        """Fraction of the pixels with each bit, as `MaskPlane.fractions`, in the rows that have a mask."""
        n_pixel = max(int(np.count_nonzero(self._masked)) * self.shape[1], 1)
        return {name: count / n_pixel for name, count in self._counts.items()}

    @property
    def missing_ratio(self) -> float:
        """Fraction of the pixels that are exactly zero, in the rows that have a mask; a tile has sky all over."""
        return self._n_missing / max(int(np.count_nonzero(self._masked)) * self.shape[1], 1)
