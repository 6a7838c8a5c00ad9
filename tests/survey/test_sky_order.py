"""Tiles that follow one another touch."""

from itertools import pairwise

from shapempi.ids import TileId
from shapempi.survey.sky_order import side_of, sky_order


def test_the_curve_visits_every_cell_once_and_never_jumps():
    for side in (8, 64):
        cells = {sky_order(TileId(x, y)): (x, y) for x in range(side) for y in range(side)}
        assert sorted(cells) == list(range(side * side))
        steps = [(cells[a], cells[b]) for a, b in pairwise(sorted(cells))]
        assert {abs(x1 - x0) + abs(y1 - y0) for (x0, y0), (x1, y1) in steps} == {1}


def test_the_largest_tile_has_a_place():
    assert sky_order(TileId(999, 999)) < 1024 * 1024


def test_a_finer_grid_has_a_larger_square():
    tiles = [TileId(x, y) for x in (0, 1439, 17999) for y in (0, 720, 8999)]
    assert side_of(tiles[:1]) == side_of([TileId(719, 360)]) == side_of([]) == 1024
    side = side_of(tiles)
    assert side == 32768
    assert len({sky_order(tile, side) for tile in tiles}) == len(tiles)
    assert all(0 <= sky_order(tile, side) < side * side for tile in tiles)
