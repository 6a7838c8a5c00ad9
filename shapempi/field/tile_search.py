"""Tiles of the grid by position, by area and by number, without any list (specification, 2.1)."""

from __future__ import annotations

import numpy as np

from shapempi.errors import ConfigError
from shapempi.field.cfis import TILE_SIDE
from shapempi.field.sky_region import SkyRectangle, in_square
from shapempi.ids import TileId
from shapempi.survey.grid import cell_of, n_column
from shapempi.wcs import angular_distance

__all__ = ["centre_of", "check_tile", "named_tile", "tiles_at", "tiles_in"]

#: Rows of the grid: the poles have one each.
_LAST_ROW = 360


def centre_of(tile: TileId) -> tuple[float, float]:
    """Return the centre of a tile, RA and Dec [deg]."""
    return tile.centre


def check_tile(tile: TileId) -> TileId:
    """Return a tile that the grid has.

    Raises
    ------
    ConfigError
        If it has no such row, or its row no such column.
    """
    if tile.y > _LAST_ROW:
        raise ConfigError(f"the grid has no tile {tile}: rows go from 000 to {_LAST_ROW}")
    columns = n_column(tile.y)
    if tile.x >= columns:
        raise ConfigError(
            f"the grid has no tile {tile}: row {tile.y:03d} (Dec {centre_of(tile)[1]:g}) has the columns "
            f"000 to {columns - 1:03d}"
        )
    return tile


def tiles_at(ra: float, dec: float) -> list[TileId]:
    """Return all tiles whose footprint, overlap included, holds a point, sorted.

    Parameters
    ----------
    ra, dec : float
        The point [deg].
    """
    row = int(np.rint(2.0 * (dec + 90.0)))
    near: set[TileId] = set()
    for y in range(max(row - 1, 0), min(row + 1, _LAST_ROW) + 1):
        columns = n_column(y)
        middle = int(np.rint(2.0 * (ra % 360.0) * np.cos(np.radians(y / 2.0 - 90.0))))
        # at the pole a tile reaches across many columns; elsewhere the last column is narrower than the others
        reach = columns if columns <= 30 else 2
        near.update(TileId((middle + step) % columns, y) for step in range(-reach, reach + 1))
    tiles = sorted(near)
    centres = np.array([centre_of(tile) for tile in tiles])
    held = in_square(ra, dec, centres[:, 0], centres[:, 1], TILE_SIDE)
    return [tile for tile, holds in zip(tiles, held, strict=True) if holds]


def named_tile(ra: float, dec: float) -> TileId | None:
    """Return the tile of a point: that of its cell, or, near a pole, the nearest that holds it.

    Parameters
    ----------
    ra, dec : float
        The point [deg].

    Returns
    -------
    TileId or None
        None where no tile holds the point: near the poles the grid has gaps.
    """
    x, y = cell_of(np.array([ra]), np.array([dec]))
    own, held = TileId(int(x[0]), int(y[0])), tiles_at(ra, dec)
    if own in held or not held:
        return own if held else None
    centres = np.array([centre_of(tile) for tile in held])
    return held[int(np.argmin(angular_distance(centres[:, 0], centres[:, 1], ra, dec)))]


def tiles_in(area: SkyRectangle) -> list[TileId]:
    """Return the tiles whose centres are in an area, sorted.

    Parameters
    ----------
    area : SkyRectangle
        The area.
    """
    tiles = []
    for y in range(_LAST_ROW + 1):
        dec = y / 2.0 - 90.0
        x = np.arange(n_column(y))
        held = area.holds(x / (2.0 * np.cos(np.radians(dec))), np.full(len(x), dec))
        tiles += [TileId(int(column), y) for column in x[held]]
    return sorted(tiles)
