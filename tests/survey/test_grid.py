"""Every position has one primary tile."""

import numpy as np
import pytest

from shapempi.ids import TileId
from shapempi.survey.grid import primary_of
from shapempi.tile_grid import CFIS_GRID, TileGrid

cell_of = CFIS_GRID.cell_of


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


@pytest.mark.parametrize("grid", [CFIS_GRID, TileGrid(step=0.25, name="XXXX.YYYY")], ids=["cfis", "quarter"])
@pytest.mark.parametrize("where", [(0.0, 41.0), (359.9, -0.1), (120.0, 89.2), (12.0, 89.95)])
def test_one_primary_around_the_sky_and_at_the_pole(grid, where):
    """Of all tiles that see a position exactly one is its own, whichever tile's objects are asked."""
    rng = np.random.default_rng(4)
    ra = (where[0] + rng.normal(0, 1, 3000) / max(np.cos(np.radians(where[1])), 0.005)) % 360
    dec = np.clip(where[1] + rng.normal(0, 0.4, 3000), -90, 90)
    x, y = grid.cell_of(ra, dec)
    tiles = sorted({TileId(int(a), int(b)) for a, b in zip(x, y, strict=True)})
    index = primary_of(ra, dec, tiles, grid)
    assert [(tiles[i].x, tiles[i].y) for i in index] == list(zip(x, y, strict=True))
    shuffled = [tiles[i] for i in rng.permutation(len(tiles))]
    again = primary_of(ra, dec, shuffled, grid)
    assert [shuffled[i] for i in again] == [tiles[i] for i in index]
