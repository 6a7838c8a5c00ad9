"""Which of several measurements of an object is its primary one, where tiles overlap.

The tile of a position (behaviour specification, 12.1) decides; but two tiles place an object at two positions, which
may lie on either side of a border, so that both or neither measurement would be primary.  Measurements of several tiles
within an arcsecond are therefore one group, with one position: that of its first member.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from shapempi.ids import TileId
from shapempi.survey.grid import primary_of
from shapempi.tile_grid import CFIS_GRID, TileGrid
from shapempi.wcs import angular_distance, tangent_offset, unit_vectors

__all__ = ["SAME", "TilePositions", "primaries"]

#: Largest distance between measurements of one object in several tiles [arcsec].
SAME = 1.0
#: How far around a tile its neighbours' objects are looked at [arcsec].
_MARGIN = 10.0


@dataclass(frozen=True)
class TilePositions:
    """Where the objects of a tile are.

    Attributes
    ----------
    tile : TileId
        The tile.
    ra, dec : ndarray of float64 [n]
        Positions [deg].
    """

    tile: TileId
    ra: np.ndarray
    dec: np.ndarray


def primaries(own: TilePositions, others: Sequence[TilePositions], grid: TileGrid = CFIS_GRID) -> np.ndarray:
    """Return which objects of a tile are primary.

    The answers for all tiles of a survey fit together: of every group of measurements one is primary.

    Parameters
    ----------
    own : TilePositions
        The tile.
    others : sequence of TilePositions
        All other tiles with centres within `grid.reach`.
    grid : TileGrid, optional
        The grid of the tiles.

    Returns
    -------
    ndarray of bool [n]
        False where the position is not finite.
    """
    parts = sorted([own, *others], key=lambda part: part.tile)
    tiles = [part.tile for part in parts]
    place = tiles.index(own.tile)
    result = primary_of(own.ra, own.dec, tiles, grid) == place
    near = [np.flatnonzero(_beside(part, own, grid)) for part in parts]
    first = np.cumsum([0, *(len(rows) for rows in near)])
    ra, dec = (np.concatenate([getattr(p, n)[k] for p, k in zip(parts, near, strict=True)]) for n in ("ra", "dec"))
    tile = np.repeat(np.arange(len(parts)), np.diff(first))
    of_tile = [slice(int(start), int(stop)) for start, stop in pairwise(first)]
    pairs = [_pairs(ra, dec, one, other) for one, other in combinations(of_tile, 2)]
    ends = np.concatenate([np.zeros((0, 2), np.int64), *pairs])
    if not len(ends):
        return result
    links = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(len(ra), len(ra)))
    group = connected_components(links, directed=False)[1]
    order = np.argsort(group, kind="stable")  # members of a group in the order of tiles and rows
    order = order[np.bincount(group)[group[order]] > 1]
    for members in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        ours = members[tile[members] == place]
        if len(ours):
            winner = members[_winner(ra[members], dec[members], tile[members], tiles, grid)]
            result[near[place][ours - first[place]]] = ours == winner
    return result


def _winner(ra: np.ndarray, dec: np.ndarray, tile: np.ndarray, tiles: Sequence[TileId], grid: TileGrid) -> int:
    """Return which member of a group is primary: that of the tile of the first member's position, or nearest to it."""
    home = primary_of(ra[:1], dec[:1], tiles, grid)[0]
    if np.any(tile == home):
        return int(np.argmax(tile == home))
    centres = np.array([grid.centre(tiles[k]) for k in tile])
    return int(np.argmin(angular_distance(centres[:, 0], centres[:, 1], ra[0], dec[0])))


def _beside(part: TilePositions, own: TilePositions, grid: TileGrid) -> np.ndarray:
    """Return which objects of a tile lie where another one has objects, and a little around."""
    finite = np.isfinite(part.ra) & np.isfinite(part.dec)
    known = np.isfinite(own.ra) & np.isfinite(own.dec)
    if not known.any() or not finite.any():
        return np.zeros(len(part.ra), dtype=bool)
    centre = grid.centre(own.tile)
    near = finite & (angular_distance(part.ra, part.dec, *centre) < 2 * grid.reach)
    inside = near.copy()
    for ours, theirs in zip(
        tangent_offset(own.ra[known], own.dec[known], *centre), tangent_offset(part.ra, part.dec, *centre), strict=True
    ):
        inside &= (theirs >= ours.min() - _MARGIN) & (theirs <= ours.max() + _MARGIN)
    return inside


def _pairs(ra: np.ndarray, dec: np.ndarray, one: slice, other: slice) -> np.ndarray:
    """Return the pairs [n, 2] of objects of two tiles that are each other's nearest, within SAME."""
    if one.start == one.stop or other.start == other.stop:
        return np.zeros((0, 2), np.int64)
    limit = 2 * np.sin(np.radians(SAME / 3600) / 2)
    left, right = (unit_vectors(ra[part], dec[part]) for part in (one, other))
    forth = KDTree(right).query(left, distance_upper_bound=limit)[1]
    back = KDTree(left).query(right, distance_upper_bound=limit)[1]
    found = np.flatnonzero(forth < len(right))
    mutual = found[back[forth[found]] == found]
    return np.stack([one.start + mutual, other.start + forth[mutual]], axis=1)
