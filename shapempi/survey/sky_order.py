"""The order in which a survey is worked off: neighbours on the sky one after the other."""

from __future__ import annotations

from shapempi.ids import TileId

__all__ = ["sky_order"]

#: Cells along a side of the square that the curve fills: tiles have three digits.
_SIDE = 1024


def sky_order(tile: TileId) -> int:
    """Return the place of a tile on the Hilbert curve through the grid: tiles that follow one another touch.

    Exposures are shared by neighbouring tiles, so what one tile has read is of use to the next ones.

    Parameters
    ----------
    tile : TileId
        The tile.
    """
    x, y, place, side = tile.x, tile.y, 0, _SIDE // 2
    while side > 0:
        right, upper = bool(x & side), bool(y & side)
        place += side * side * ((3 * right) ^ upper)
        if not upper:  # turn the quadrant so that the curve goes on where it came in
            if right:
                x, y = _SIDE - 1 - x, _SIDE - 1 - y
            x, y = y, x
        side //= 2
    return place
