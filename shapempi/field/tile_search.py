"""Tiles of the grid by position, by area and by number, without any list (specification, 2.1)."""

from __future__ import annotations

import numpy as np

from shapempi.errors import ConfigError
from shapempi.field.cfis import TILE_SIDE
from shapempi.field.sky_region import SkyRectangle, in_square
from shapempi.ids import TileId
from shapempi.tile_grid import CFIS_GRID, TileGrid
from shapempi.wcs import angular_distance

__all__ = ["check_tile", "named_tile", "side_of", "tiles_at", "tiles_in"]


def side_of(grid: TileGrid) -> float:
    """Return the side of a tile with its overlap [deg]: that of CFIS, in proportion to the steps."""
    return TILE_SIDE * (grid.step / CFIS_GRID.step)


def check_tile(tile: TileId, grid: TileGrid = CFIS_GRID) -> TileId:
    """Return a tile that the grid has.

    Raises
    ------
    ConfigError
        If it has no such row, or its row no such column.
    """
    if tile.y >= grid.n_row:
        raise ConfigError(f"the grid has no tile {tile}: rows go from 000 to {grid.n_row - 1}")
    columns = grid.n_column(tile.y)
    if tile.x >= columns:
        raise ConfigError(
            f"the grid has no tile {tile}: row {tile.y:03d} (Dec {grid.centre(tile)[1]:g}) has the columns "
            f"000 to {columns - 1:03d}"
        )
    return tile


def tiles_at(ra: float, dec: float, grid: TileGrid = CFIS_GRID) -> list[TileId]:
    """Return all tiles whose footprint, overlap included, holds a point, sorted.

    Parameters
    ----------
    ra, dec : float
        The point [deg].
    grid : TileGrid, optional
        The grid.
    """
    row = int(np.rint((dec - grid.first_row) / grid.step))
    near: set[TileId] = set()
    for y in range(max(row - 1, 0), min(row + 1, grid.n_row - 1) + 1):
        columns = grid.n_column(y)
        middle = int(np.rint((ra % 360.0) / grid.step * np.cos(np.radians(grid.dec_of(y)))))
        # at the pole a tile reaches across many columns; elsewhere the last column is narrower than the others
        reach = columns if columns <= 30 else 2
        near.update(TileId((middle + step) % columns, y) for step in range(-reach, reach + 1))
    tiles = sorted(near)
    centres = np.array([grid.centre(tile) for tile in tiles]).reshape(-1, 2)
    held = in_square(ra, dec, centres[:, 0], centres[:, 1], side_of(grid))
    return [tile for tile, holds in zip(tiles, held, strict=True) if holds]


def named_tile(ra: float, dec: float, grid: TileGrid = CFIS_GRID) -> TileId | None:
    """Return the tile of a point: that of its cell, or, near a pole, the nearest that holds it.

    Parameters
    ----------
    ra, dec : float
        The point [deg].
    grid : TileGrid, optional
        The grid.

    Returns
    -------
    TileId or None
        None where no tile holds the point: near the poles the grid has gaps.
    """
    x, y = grid.cell_of(np.array([ra]), np.array([dec]))
    own, held = TileId(int(x[0]), int(y[0])), tiles_at(ra, dec, grid)
    if own in held or not held:
        return own if held else None
    centres = np.array([grid.centre(tile) for tile in held])
    return held[int(np.argmin(angular_distance(centres[:, 0], centres[:, 1], ra, dec)))]


def tiles_in(area: SkyRectangle, grid: TileGrid = CFIS_GRID) -> list[TileId]:
    """Return the tiles whose centres are in an area, sorted.

    Parameters
    ----------
    area : SkyRectangle
        The area.
    grid : TileGrid, optional
        The grid.
    """
    tiles = []
    for y in range(grid.n_row):
        dec = grid.dec_of(y)
        x = np.arange(grid.n_column(y))
        held = area.holds(x * grid.step / np.cos(np.radians(dec)), np.full(len(x), dec))
        tiles += [TileId(int(column), y) for column in x[held]]
    return sorted(tiles)
