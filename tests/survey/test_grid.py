"""The tile grid: names and positions agree everywhere, and every position has one primary tile."""

import numpy as np

from shapempi.ids import TileId
from shapempi.survey.grid import primary_of
from shapempi.tile_grid import CFIS_GRID

cell_of = CFIS_GRID.cell_of


def test_centre_and_cell_agree_for_every_tile():
    for y in range(1, 360):
        n_column = int(np.ceil(720 * np.cos(np.radians(y / 2 - 90))))
        tiles = [TileId(x, y) for x in range(min(n_column, 1000))]
        ra, dec = np.transpose([CFIS_GRID.centre(tile) for tile in tiles])
        x_found, y_found = cell_of(ra, dec)
        np.testing.assert_array_equal(y_found, y)
        np.testing.assert_array_equal(x_found, [tile.x for tile in tiles])


def test_the_specifications_position():
    x, y = cell_of(np.array([213.68]), np.array([54.79]))
    assert (x[0], y[0]) == (245, 290)


def test_the_tile_of_a_position_contains_it():
    rng = np.random.default_rng(1)
    ra, dec = rng.uniform(110, 270, 4000), rng.uniform(30, 60, 4000)
    for x, y, r, d in zip(*cell_of(ra, dec), ra, dec, strict=True):
        centre = CFIS_GRID.centre(TileId(int(x), int(y)))
        assert abs(d - centre[1]) <= 0.2501
        assert abs(r - centre[0]) * np.cos(np.radians(centre[1])) <= 0.2501


def test_one_primary_also_where_the_cell_is_not_in_the_survey():
    tiles = [TileId(245, 290), TileId(246, 290), TileId(245, 291)]
    rng = np.random.default_rng(2)
    ra, dec = rng.uniform(212, 216, 300), rng.uniform(54, 56, 300)
    index = primary_of(ra, dec, tiles)
    assert set(index) <= {0, 1, 2}
    x, y = cell_of(ra, dec)
    own = [(tile.x, tile.y) for tile in tiles]
    inside = np.array([(a, b) in own for a, b in zip(x, y, strict=True)])
    assert inside.any()
    assert [own[i] for i in index[inside]] == list(zip(x[inside], y[inside], strict=True))


def test_positions_that_are_not_finite_belong_nowhere():
    assert primary_of(np.array([np.nan, 213.68]), np.array([54.79, np.inf]), [TileId(245, 290)]).tolist() == [-1, -1]


def test_right_ascension_wraps():
    x, _ = cell_of(np.array([359.9, 0.1]), np.array([0.0, 0.0]))
    assert x.tolist() == [0, 0]
