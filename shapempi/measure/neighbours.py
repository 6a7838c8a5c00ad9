"""Pixels of vignets that belong to other objects than the one in the middle, by the segmentation of the tile.

A stamp pixel goes to the sky and to the tile by the two local Jacobians at the object; the nearest tile pixel decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import numpy as np

from shapempi.flags import PixelFlag
from shapempi.kernels import _uberseg
from shapempi.wcs import Wcs

__all__ = ["NEIGHBOURS", "Neighbours", "TileSegmentation", "flag_neighbours"]

#: Epochs whose pixels are projected at once: bounds the memory.
_CHUNK = 128

#: Largest coordinate of a centre [pixel]; positions that are no numbers are there.
_FARTHEST = float(1 << 30)

#: Flags by what `_uberseg.territory` says of a pixel.
_TERRITORY_FLAGS = np.zeros(3, np.int32)
_TERRITORY_FLAGS[_uberseg.NEIGHBOUR] = PixelFlag.NEIGHBOUR
_TERRITORY_FLAGS[_uberseg.NEARER] = PixelFlag.TERRITORY


@dataclass(frozen=True)
class TileSegmentation:
    """Which pixel of the tile belongs to which object, around the objects of a block.

    Attributes
    ----------
    plane : ndarray of int32 [y, x]
        Numbers of the objects; 0 is sky.  At least the section that `vignets.segmentation_box` asks for.
    origin : tuple of int
        (y0, x0): pixel of the tile at element [0, 0].
    wcs : Wcs
        The tile's WCS.
    x, y : ndarray of float64 [n_object]
        Positions of the block's objects on the tile [pixel, 0-based].
    """

    plane: np.ndarray
    origin: tuple[int, int]
    wcs: Wcs
    x: np.ndarray
    y: np.ndarray


class Neighbours(Protocol):
    """What takes pixels from an object."""

    def flags(self, objects: np.ndarray, jacobian: np.ndarray, offset: np.ndarray) -> np.ndarray:
        """Return the flags of stamp pixels that are not their object's.

        Parameters
        ----------
        objects : ndarray of int [n]
            The object of each stamp, an index into the block's objects.
        jacobian : ndarray of float64 [n, 4]
            dudx, dudy, dvdx, dvdy of the CCD at the object [arcsec/pixel].
        offset : ndarray of float64 [n, 2]
            dx, dy [pixel] of the object from the centre of the stamp.

        Returns
        -------
        ndarray of int32 [n, size, size]
            Bits of `PixelFlag`.
        """
        ...


class _Projection:
    """From the pixels of stamps to those of the tile."""

    def __init__(self, segmentation: TileSegmentation, size: int) -> None:
        self._x, self._y = segmentation.x, segmentation.y
        self._jacobian = segmentation.wcs.jacobian(segmentation.x, segmentation.y)
        self._size = size

    def places(
        self,
        objects: np.ndarray,
        jacobian: np.ndarray,
        offset: np.ndarray,
        first: tuple[np.ndarray, np.ndarray],
        shape: tuple[int, int],
    ) -> np.ndarray:
        """Return where the nearest tile pixels are in a plane with one more pixel on each side, in which all else is.

        Parameters
        ----------
        objects, jacobian, offset : ndarray
            As in `Neighbours.flags`.
        first : tuple of ndarray of float64 [n]
            Row and column of the tile at the plane's first element, without the pixel more.
        shape : tuple of int
            (ny, nx) of the plane, without the pixels more.

        Returns
        -------
        ndarray of intp [n, size, size]
            Flat indices.
        """
        half = self._size // 2
        grid = np.arange(-half, half + 1, dtype=float)
        ccd_dudx, ccd_dudy, ccd_dvdx, ccd_dvdy = jacobian.T
        dudx, dudy, dvdx, dvdy = self._jacobian[objects].T
        determinant = dudx * dvdy - dudy * dvdx
        tile_x_x = (dvdy * ccd_dudx - dudy * ccd_dvdx) / determinant
        tile_x_y = (dvdy * ccd_dudy - dudy * ccd_dvdy) / determinant
        tile_y_x = (dudx * ccd_dvdx - dvdx * ccd_dudx) / determinant
        tile_y_y = (dudx * ccd_dvdy - dvdx * ccd_dudy) / determinant
        dx = grid - offset[:, 0, None]
        dy = grid - offset[:, 1, None]
        ny, nx = shape
        column = self._pixel(self._x[objects], tile_x_x[:, None] * dx, tile_x_y[:, None] * dy, first[1], nx)
        row = self._pixel(self._y[objects], tile_y_x[:, None] * dx, tile_y_y[:, None] * dy, first[0], ny)
        row *= nx + 2
        row += column
        return row

    def _pixel(
        self, centre: np.ndarray, along_x: np.ndarray, along_y: np.ndarray, first: np.ndarray, length: int
    ) -> np.ndarray:
        """Return the nearest pixel [n, y, x] along one axis of the plane: 0 and length + 1 are outside.

        So is what is more than `size` pixels from the centre, where some sections would still hold the tile's pixels.
        """
        position = (along_y + centre[:, None])[:, :, None] + along_x[:, None, :]
        np.rint(position, out=position)
        position[np.abs(position - np.rint(centre)[:, None, None]) > self._size] = -np.inf
        position -= (first - 1)[:, None, None]
        np.clip(position, 0, length + 1, out=position)
        return position.astype(np.intp)


class _OwnPixels:
    """Others' own pixels."""

    def __init__(self, number: np.ndarray, segmentation: TileSegmentation, size: int, *, n_threads: int) -> None:
        self._number = number
        self._projection = _Projection(segmentation, size)
        self._origin = segmentation.origin
        self._shape = segmentation.plane.shape
        self._padded = np.pad(segmentation.plane, 1).ravel()  # positions off the section are sky

    def flags(self, objects: np.ndarray, jacobian: np.ndarray, offset: np.ndarray) -> np.ndarray:
        """Return NEIGHBOUR in others' pixels; see `Neighbours`."""
        y0, x0 = (np.full(len(objects), float(first)) for first in self._origin)
        owner = self._padded.take(self._projection.places(objects, jacobian, offset, (y0, x0), self._shape))
        foreign = (owner != 0) & (owner != self._number[objects][:, None, None])
        return foreign * np.int32(PixelFlag.NEIGHBOUR)


class _Territory:
    """Others' own pixels, and those that are nearer to these than to the object's: "uberseg".

    Jarvis et al. (2016, MNRAS 460, 2245).  Nearest means on the tile: there the segmentation was made, distances in
    its square pixels are those of the sky, and an object's territory is the same in all its epochs, however the CCDs
    lie.  It is found once for all of them.
    """

    def __init__(self, number: np.ndarray, segmentation: TileSegmentation, size: int, *, n_threads: int) -> None:
        self._projection = _Projection(segmentation, size)
        self._size = size
        self._y, self._x = (
            np.where(np.isfinite(centre), np.clip(np.rint(centre), -_FARTHEST, _FARTHEST), -_FARTHEST)
            for centre in (segmentation.y, segmentation.x)
        )
        y0, x0 = segmentation.origin
        windows = _uberseg.territory(
            np.ascontiguousarray(segmentation.plane, np.int32),
            np.ascontiguousarray(number, np.int32),
            self._x.astype(np.int64) - x0,
            self._y.astype(np.int64) - y0,
            size,
            n_threads=n_threads,
        )
        self._padded = np.pad(windows, ((0, 0), (1, 1), (1, 1)))  # positions off the window are nobody else's

    def flags(self, objects: np.ndarray, jacobian: np.ndarray, offset: np.ndarray) -> np.ndarray:
        """Return NEIGHBOUR in others' pixels and TERRITORY in those nearer to them; see `Neighbours`."""
        first = self._y[objects] - self._size, self._x[objects] - self._size
        side = 2 * self._size + 1
        place = self._projection.places(objects, jacobian, offset, first, (side, side))
        place += (objects * (side + 2) ** 2)[:, None, None]
        return _TERRITORY_FLAGS.take(self._padded.ravel().take(place))


class _Nobody:
    """Every pixel is the object's."""

    def __init__(self, number: np.ndarray, segmentation: TileSegmentation, size: int, *, n_threads: int) -> None:
        self._size = size

    def flags(self, objects: np.ndarray, jacobian: np.ndarray, offset: np.ndarray) -> np.ndarray:
        """Return no flag; see `Neighbours`."""
        return np.zeros((len(objects), self._size, self._size), np.int32)


#: What takes pixels from an object, by its name in the configuration: made of the objects' numbers, the segmentation,
#: the side of the stamps, and n_threads.
NEIGHBOURS: Mapping[str, Callable[..., Neighbours]] = MappingProxyType(
    {"none": _Nobody, "mask": _OwnPixels, "uberseg": _Territory}
)


def flag_neighbours(
    flag: np.ndarray,
    rows: np.ndarray,
    neighbours: Neighbours,
    objects: np.ndarray,
    jacobian: np.ndarray,
    offset: np.ndarray,
) -> None:
    """Set the flags of neighbours in some stamps.

    Parameters
    ----------
    flag : ndarray of int32 [n, y, x]
        Flags of all stamps; changed in place.
    rows : ndarray of int [m]
        The stamps.
    neighbours : Neighbours
        What takes pixels from the objects.
    objects, jacobian, offset : ndarray
        As in `Neighbours.flags`, of all stamps.
    """
    for start in range(0, len(rows), _CHUNK):
        part = rows[start : start + _CHUNK]
        found = neighbours.flags(objects[part], jacobian[part], offset[part])
        some = found.any(axis=(1, 2))
        flag[part[some]] |= found[some]
