"""Searches among listed images: by position, area and number, and the cuts on exposures (specification, 2.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shapempi.errors import DataError
from shapempi.field.cfis import EXPOSURE_SIDE, MIN_EXPOSURE_TIME, VALIDATED
from shapempi.field.sky_region import SkyRectangle, in_square
from shapempi.field.tile_search import named_tile, side_of
from shapempi.ids import TileId
from shapempi.io.id_list import ImageId
from shapempi.io.image_list import UNKNOWN_TIME, ListedImage
from shapempi.tile_grid import CFIS_GRID, TileGrid
from shapempi.wcs import angular_distance

__all__ = ["Cuts", "at_position", "cut_exposures", "in_area", "nearest_tile", "with_number"]


@dataclass(frozen=True)
class Cuts:
    """What the cuts on exposures have left.

    Attributes
    ----------
    images : tuple of ListedImage
        What is left, in its order.
    n_short, n_invalid : int
        How many were too short, and how many of the others not validated.
    """

    images: tuple[ListedImage, ...]
    n_short: int
    n_invalid: int


def cut_exposures(images: Sequence[ListedImage]) -> Cuts:
    """Leave out exposures that are shorter than 95 s or not validated; what is unknown is no reason."""
    long_enough = [each for each in images if each.exp_time in (UNKNOWN_TIME,) or each.exp_time >= MIN_EXPOSURE_TIME]
    kept = tuple(each for each in long_enough if each.validation in ("", VALIDATED))
    return Cuts(kept, len(images) - len(long_enough), len(long_enough) - len(kept))


def _places(images: Sequence[ListedImage]) -> tuple[np.ndarray, np.ndarray]:
    """Return the centres of images [deg].

    Raises
    ------
    DataError
        If none is known.
    """
    ra, dec = np.array([(each.ra, each.dec) for each in images], dtype=float).reshape(-1, 2).T
    if len(images) and not np.isfinite(ra).any():
        raise DataError(
            "the list has no positions of exposures: give one with R.A. and declination, the observatory's log, "
            "or the folder of the exposures"
        )
    return ra, dec


def at_position(images: Sequence[ListedImage], ra: float, dec: float, grid: TileGrid = CFIS_GRID) -> list[ListedImage]:
    """Return all images that hold a point: tiles with their overlap, exposures as squares of one degree.

    Parameters
    ----------
    images : sequence of ListedImage
        Tiles or exposures.
    ra, dec : float
        The point [deg].
    grid : TileGrid, optional
        The grid of the tiles.

    Raises
    ------
    DataError
        If these are exposures and no position is known.
    """
    side = side_of(grid) if images and isinstance(images[0].image, TileId) else EXPOSURE_SIDE
    held = in_square(ra, dec, *_places(images), side)
    return [image for image, holds in zip(images, held, strict=True) if holds]


def nearest_tile(tiles: Sequence[ListedImage], ra: float, dec: float, grid: TileGrid = CFIS_GRID) -> ListedImage | None:
    """Return the tile of a point among tiles that hold it: the grid's own if it is among them, else the nearest.

    Parameters
    ----------
    tiles : sequence of ListedImage
        What `at_position` returned.
    ra, dec : float
        The point [deg].
    grid : TileGrid, optional
        The grid of the tiles.
    """
    own = named_tile(ra, dec, grid)
    for tile in tiles:
        if tile.image == own:
            return tile
    if not tiles:
        return None
    return tiles[int(np.argmin(angular_distance(*_places(tiles), ra, dec)))]


def in_area(images: Sequence[ListedImage], area: SkyRectangle) -> list[ListedImage]:
    """Return the images whose centres are in an area.

    Raises
    ------
    DataError
        If these are exposures and no position is known.
    """
    held = area.holds(*_places(images))
    return [image for image, holds in zip(images, held, strict=True) if holds]


def with_number(images: Sequence[ListedImage], number: ImageId) -> list[ListedImage]:
    """Return the image of a tile or an exposure: one or none."""
    return [image for image in images if image.image == number]
