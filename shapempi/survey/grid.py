"""The grid of tiles on the sky, and the tile to which an object in an overlap belongs (specification, 2.1 and 12.1)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from shapempi.ids import TileId
from shapempi.wcs import angular_distance

__all__ = ["cell_of", "n_column", "primary_of"]

#: Numbers of columns are whole: 720 cos 60 deg is 360, whatever the last bit of the cosine says.
_ROUNDING = 1e-9


def n_column(y: int) -> int:
    """Return how many columns a row of the grid has: those whose centres are below 360 degrees, one at least."""
    return max(1, math.ceil(720.0 * math.cos(math.radians(y / 2.0 - 90.0)) - _ROUNDING))


def cell_of(ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers X, Y of the cells of the tile grid in which positions lie.

    The row comes first, from the declination; the column is counted at the declination of the row, not of the
    position.

    Parameters
    ----------
    ra, dec : ndarray of float64 [n]
        Positions [deg].

    Returns
    -------
    x, y : ndarray of int64 [n]
        Cell numbers; a column whose centre would be at 360 degrees or beyond is column 0.
    """
    y = np.rint(2.0 * (np.asarray(dec, dtype=float) + 90.0)).astype(np.int64)
    cos_row = np.cos(np.radians(y / 2.0 - 90.0))
    x = np.rint(2.0 * (np.asarray(ra, dtype=float) % 360.0) * cos_row).astype(np.int64)
    return np.where(x >= 720.0 * cos_row - _ROUNDING, 0, x), y


def primary_of(ra: np.ndarray, dec: np.ndarray, tiles: Sequence[TileId]) -> np.ndarray:
    """Return the one tile of a survey to which each position belongs.

    It is the tile of the position's cell, or, where the survey does not have that one, the tile with the nearest
    centre; so every position has exactly one, whichever tiles see it.

    Parameters
    ----------
    ra, dec : ndarray of float64 [n]
        Positions [deg].
    tiles : sequence of TileId
        The tiles of the survey, at least one.

    Returns
    -------
    ndarray of int64 [n]
        Index in `tiles`; -1 for a position that is not finite.
    """
    ra, dec = np.asarray(ra, dtype=float), np.asarray(dec, dtype=float)
    index = np.full(len(ra), -1, dtype=np.int64)
    finite = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
    place = {(tile.x, tile.y): i for i, tile in enumerate(tiles)}
    cells = zip(*(values.tolist() for values in cell_of(ra[finite], dec[finite])), strict=True)
    index[finite] = [place.get(cell, -1) for cell in cells]
    centres = np.array([tile.centre for tile in tiles])
    for i in finite[index[finite] < 0]:
        # argmin takes the first of equals, and tiles are in the order of the survey.
        index[i] = np.argmin(angular_distance(centres[:, 0], centres[:, 1], ra[i], dec[i]))
    return index
