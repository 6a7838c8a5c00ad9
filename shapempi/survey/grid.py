"""The tile to which an object in an overlap belongs (specification, 12.1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shapempi.ids import TileId
from shapempi.tile_grid import CFIS_GRID, TileGrid
from shapempi.wcs import angular_distance

__all__ = ["primary_of"]


def primary_of(ra: np.ndarray, dec: np.ndarray, tiles: Sequence[TileId], grid: TileGrid = CFIS_GRID) -> np.ndarray:
    """Return the one tile of a survey to which each position belongs.

    It is the tile of the position's cell, or, where the survey does not have that one, the tile with the nearest
    centre; so every position has exactly one, whichever tiles see it.

    Parameters
    ----------
    ra, dec : ndarray of float64 [n]
        Positions [deg].
    tiles : sequence of TileId
        The tiles of the survey, at least one.
    grid : TileGrid, optional
        Their grid.

    Returns
    -------
    ndarray of int64 [n]
        Index in `tiles`; -1 for a position that is not finite.
    """
    ra, dec = np.asarray(ra, dtype=float), np.asarray(dec, dtype=float)
    index = np.full(len(ra), -1, dtype=np.int64)
    finite = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
    place = {(tile.x, tile.y): i for i, tile in enumerate(tiles)}
    cells = zip(*(values.tolist() for values in grid.cell_of(ra[finite], dec[finite])), strict=True)
    index[finite] = [place.get(cell, -1) for cell in cells]
    centres = np.array([grid.centre(tile) for tile in tiles])
    for i in finite[index[finite] < 0]:
        # argmin takes the first of equals, and tiles are in the order of the survey.
        index[i] = np.argmin(angular_distance(centres[:, 0], centres[:, 1], ra[i], dec[i]))
    return index
