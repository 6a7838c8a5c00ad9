"""Random points on the pixels of a tile that are not masked (behaviour specification, 12.3).

A pixel is drawn from those that are free, all with the same probability, and a place in it, uniform in both directions.
The pixels of a tangential projection have the same area to 6e-5 over half a degree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np

from shapempi.ids import TileId
from shapempi.survey.grid import primary_of
from shapempi.tile_grid import CFIS_GRID, TileGrid
from shapempi.wcs import Wcs

__all__ = ["Accept", "FreePixels", "draw_points", "free_pixels"]

#: Side of the squares of pixels that lie in one cell of the grid if their corners do [pixel].
_SIDE = 32
#: Candidates that are tried at most for every point, and in any case.
_TRIES, _LEAST = 1000, 100_000

#: Takes ra, dec [deg]; returns which positions are kept.
Accept = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class FreePixels:
    """The pixels of a tile on which points may lie.

    Attributes
    ----------
    free : ndarray of bool [y, x]
        Whether nothing masks the pixel, and its centre belongs to the tile.
    wcs : Wcs
        The tile's.
    area, unmasked : float
        Area of all pixels that belong to the tile, and of the free ones [deg^2].
    inside : callable
        Whether positions belong to the tile.
    """

    free: np.ndarray
    wcs: Wcs
    area: float
    unmasked: float
    inside: Accept


def free_pixels(
    mask: np.ndarray, wcs: Wcs, tile: TileId, tiles: Sequence[TileId] | None, grid: TileGrid = CFIS_GRID
) -> FreePixels:
    """Find the pixels on which points may lie.

    Parameters
    ----------
    mask : ndarray of int [y, x]
        The mask; 0 is free.
    wcs : Wcs
        The tile's.
    tile : TileId
        The tile.
    tiles : sequence of TileId or None
        The tiles of the survey near by, this one among them: then a pixel belongs to the tile if its position is
        primary there.  None: all pixels belong to it.
    grid : TileGrid, optional
        The grid of the tiles.
    """
    ny, nx = mask.shape
    y_edge, x_edge = (np.append(np.arange(0, n, _SIDE), n) for n in (ny, nx))
    inside = _everywhere if tiles is None else partial(_primary, tile, tuple(tiles), grid)
    own = np.ones(mask.shape, dtype=bool) if tiles is None else _own_pixels(wcs, y_edge, x_edge, inside)
    free = own & (mask == 0)
    y, x = (0.5 * (edge[:-1] + edge[1:] - 1) for edge in (y_edge, x_edge))
    grid_y, grid_x = (axis.ravel() for axis in np.meshgrid(y, x, indexing="ij"))
    dudx, dudy, dvdx, dvdy = wcs.jacobian(grid_x, grid_y).T
    pixel = np.abs(dudx * dvdy - dudy * dvdx).reshape(len(y), len(x)) / 3600.0**2
    area, unmasked = (float(np.sum(_counts(each, y_edge, x_edge) * pixel)) for each in (own, free))
    return FreePixels(free, wcs, area, unmasked, inside)


def _counts(plane: np.ndarray, y_edge: np.ndarray, x_edge: np.ndarray) -> np.ndarray:
    """Return the number of true pixels in each square."""
    # Row by row of squares: all at once, the plane would be there as integers of eight bytes.
    sums = (plane[y0:y1].sum(axis=0, dtype=np.int64) for y0, y1 in pairwise(y_edge))
    return np.stack([np.add.reduceat(each, x_edge[:-1]) for each in sums])


def _everywhere(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    return np.ones(len(ra), dtype=bool)


def _primary(tile: TileId, tiles: Sequence[TileId], grid: TileGrid, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    return primary_of(ra, dec, tiles, grid) == tiles.index(tile)


def _own_pixels(wcs: Wcs, y_edge: np.ndarray, x_edge: np.ndarray, inside: Accept) -> np.ndarray:
    """Return which pixels have centres in the tile: whole squares by their corners, the rest one by one."""
    grid_y, grid_x = (axis.ravel() for axis in np.meshgrid(y_edge - 0.5, x_edge - 0.5, indexing="ij"))
    corner = inside(*wcs.pixel_to_sky(grid_x, grid_y)).reshape(len(y_edge), len(x_edge))
    n_in = sum(corner[i : i + len(y_edge) - 1, j : j + len(x_edge) - 1].astype(int) for i in (0, 1) for j in (0, 1))
    own = np.repeat(np.repeat(n_in == 4, np.diff(y_edge), axis=0), np.diff(x_edge), axis=1)
    for i, j in np.argwhere((n_in > 0) & (n_in < 4)):
        rows, columns = slice(y_edge[i], y_edge[i + 1]), slice(x_edge[j], x_edge[j + 1])
        y, x = np.mgrid[rows, columns]
        own[rows, columns] = inside(*wcs.pixel_to_sky(x.ravel(), y.ravel())).reshape(y.shape)
    return own


def draw_points(
    region: FreePixels, n_point: int, rng: np.random.Generator, accept: Accept | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]:
    """Draw points.

    Parameters
    ----------
    region : FreePixels
        Where they may lie.
    n_point : int
        How many.
    rng : numpy Generator
        Source of random numbers.
    accept : callable, optional
        Takes ra, dec [deg]; returns which points are kept, of which there will be n_point.

    Returns
    -------
    ra, dec : ndarray of float64 [n]
        Positions [deg]; fewer than n_point, if hardly any are accepted.
    x, y : ndarray of float64 [n]
        The same in pixels, 0-based.
    kept : float
        Part of the points in the region that `accept` kept, 1 without it; NaN if there are none.
    """
    per_row = np.count_nonzero(region.free, axis=1)
    last = np.cumsum(per_row)
    n_free = int(last[-1]) if len(last) else 0
    parts: list[np.ndarray] = []
    n_found = n_tried = n_inside = 0
    most = max(_TRIES * n_point, _LEAST)
    while n_free and n_found < n_point and n_tried < most:
        n_draw = int(1.05 * (n_point - n_found) * max(n_inside, 1) / max(n_found, 1)) + 16
        n_draw = min(n_draw, most - n_tried, 5_000_000)
        n_tried += n_draw
        x, y = _places(region.free, per_row, last, rng.integers(0, n_free, n_draw))
        x, y = x + rng.uniform(-0.5, 0.5, n_draw), y + rng.uniform(-0.5, 0.5, n_draw)
        ra, dec = region.wcs.pixel_to_sky(x, y)
        keep = region.inside(ra, dec)  # a pixel at the border may lie on both sides
        points = np.stack([ra, dec, x, y])[:, keep]
        n_inside += points.shape[1]
        if accept is not None:
            points = points[:, accept(points[0], points[1])]
        parts.append(points)
        n_found += points.shape[1]
    found = np.concatenate([np.zeros((4, 0)), *parts], axis=1)
    kept = found.shape[1] / n_inside if n_inside else np.nan
    ra, dec, x, y = found[:, :n_point]
    return ra, dec, x, y, kept


def _places(free: np.ndarray, per_row: np.ndarray, last: np.ndarray, rank: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return x, y of the free pixels with these numbers, counted row by row."""
    y = np.searchsorted(last, rank, side="right")
    x = np.empty(len(rank), dtype=np.int64)
    order = np.argsort(y, kind="stable")
    rows, starts = np.unique(y[order], return_index=True)
    for row, members in zip(rows, np.split(order, starts[1:]), strict=True):
        x[members] = np.flatnonzero(free[row])[rank[members] - (last[row] - per_row[row])]
    return x, y
