"""The order in which a survey is worked off: neighbours on the sky one after the other."""

from __future__ import annotations

from collections.abc import Iterable

from shapempi.ids import TileId

__all__ = ["side_of", "sky_order"]

#: Cells along a side of the square that the curve fills, if tiles have three digits.
_SIDE = 1024


def side_of(tiles: Iterable[TileId]) -> int:
    """Return the side of the square that holds some tiles: a power of two, 1024 at least."""
    return max([_SIDE, *(1 << max(tile.x, tile.y).bit_length() for tile in tiles)])


def sky_order(tile: TileId, side: int = _SIDE) -> int:
    """Return the place of a tile on the Hilbert curve through the grid: tiles that follow one another touch.

    Exposures are shared by neighbouring tiles, so what one tile has read is of use to the next ones.

    Parameters
    ----------
    tile : TileId
        The tile.
    side : int, optional
        Side of the square that the curve fills; see `side_of`.
    """
    x, y, place = tile.x, tile.y, 0
    last, side = side - 1, side // 2
    while side > 0:
        right, upper = bool(x & side), bool(y & side)
        place += side * side * ((3 * right) ^ upper)
        if not upper:  # turn the quadrant so that the curve goes on where it came in
            if right:
                x, y = last - x, last - y
            x, y = y, x
        side //= 2
    return place
