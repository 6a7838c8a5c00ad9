"""Grids of tiles: numbers, names and positions agree everywhere, around the sky and at the poles."""

import numpy as np
import pytest
from pydantic import ValidationError

from shapempi.errors import DataError
from shapempi.ids import TileId
from shapempi.tile_grid import CFIS_GRID, TileGrid

GRIDS = {
    "cfis": CFIS_GRID,
    "quarter": TileGrid(step=0.25, name="XXXX.YYYY"),
    "rings": TileGrid(step=0.7, first_row=-89.3, name="rXXX_YYYc"),
    "coarse": TileGrid(step=15.0, first_row=-85.0, name="YY-XX"),
}


@pytest.fixture(params=GRIDS, scope="module")
def grid(request):
    return GRIDS[request.param]


def rows_of(grid):
    """The rows whose centres are on the sky and not at a pole, where all columns are one point."""
    return [y for y in range(grid.n_row) if abs(grid.centre(TileId(0, y))[1]) < 90]


def test_every_tile_has_its_centre_and_its_name(grid):
    """Number to centre and back, name to numbers and back, for every tile."""
    n_tile = 0
    for y in rows_of(grid):
        tiles = [TileId(x, y) for x in range(grid.n_column(y))]
        ra, dec = np.transpose([grid.centre(tile) for tile in tiles])
        assert ((ra >= 0) & (ra < 360)).all() and (abs(dec) < 90).all()
        x_found, y_found = grid.cell_of(ra, dec)
        np.testing.assert_array_equal(y_found, y)
        np.testing.assert_array_equal(x_found, [tile.x for tile in tiles])
        for tile in tiles if grid.step >= 0.5 or y % 40 == 0 else tiles[:: max(len(tiles) // 7, 1)]:
            assert grid.parse(grid.write(tile)) == tile == grid.parse(str(tile))
            assert grid.has(tile)
        assert not grid.has(TileId(grid.n_column(y), y))
        n_tile += len(tiles)
    area = 4 * np.pi * np.degrees(1) ** 2 / grid.step**2
    assert area < n_tile + 2 * grid.n_column(rows_of(grid)[0]) + 2 and n_tile < area * (1 + grid.step / 20)


def test_the_tile_of_a_position_contains_it(grid):
    """10^5 positions all over the sky, at RA 0 and 360, and around the poles: each in the cell that is named."""
    rng = np.random.default_rng(1)
    n = 100_000
    ra = rng.uniform(0, 360, n)
    dec = np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
    ra[:20_000] = (rng.normal(0, 0.5, 20_000)) % 360
    ra[:4] = 0.0, 360.0, np.nextafter(360.0, 0), 720.0
    dec[20_000:40_000] = rng.choice([-1, 1], 20_000) * (90 - 3 * rng.random(20_000))
    low = grid.first_row - grid.step / 2
    dec = np.maximum(dec, low + 1e-9)
    x, y = grid.cell_of(ra, dec)
    half = grid.step / 2 * (1 + 1e-9)
    centre = y * grid.step + grid.first_row
    assert (abs(dec - centre) <= half).all()
    cos = np.cos(np.radians(np.clip(centre, -90, 90)))
    away = (ra - x * grid.step / np.maximum(cos, 1e-12) + 180) % 360 - 180
    at_pole = abs(centre) >= 90
    assert at_pole.any() or grid.step > 0.5
    # The last column and the first one meet at RA 0: the last may be narrower, never wider.
    assert (abs(away[~at_pole]) * cos[~at_pole] <= half).all()
    assert (x[at_pole] == 0).all()
    for i in range(0, n, 997):
        assert at_pole[i] or grid.has(TileId(int(x[i]), int(y[i])))


def test_the_specifications_position():
    x, y = CFIS_GRID.cell_of(np.array([213.68]), np.array([54.79]))
    assert (x[0], y[0]) == (245, 290)


def test_no_row_has_two_columns_of_one_centre(grid):
    for y in rows_of(grid):
        ra = np.array([grid.centre(TileId(x, y))[0] for x in range(grid.n_column(y))])
        assert np.all(np.diff(ra) > 0) and ra[-1] < 359.999999


def test_columns_of_some_rows():
    assert [CFIS_GRID.n_column(y) for y in (180, 300, 60, 0, 360)] == [720, 360, 360, 1, 1]


def test_right_ascension_wraps():
    x, _ = CFIS_GRID.cell_of(np.array([359.9, 0.1]), np.array([0.0, 0.0]))
    assert x.tolist() == [0, 0]


@pytest.mark.parametrize("text", ["241.293", "241-293", " 241.293\n"])
def test_names_of_cfis(text):
    assert CFIS_GRID.parse(text) == TileId(241, 293)
    assert CFIS_GRID.write(TileId(4, 93)) == "004.093"


@pytest.mark.parametrize("text", ["241293", "24.293", "241.293.r", "1241.293", "241.1293", "", "²41.293"])
def test_a_name_of_another_form(text):
    with pytest.raises(DataError, match=r"is not a tile name; write it as XXX\.YYY, for example 241\.293"):
        CFIS_GRID.parse(text)


def test_names_of_other_forms():
    grid = GRIDS["rings"]
    assert grid.write(TileId(7, 11)) == "r007_011c"
    assert grid.parse("r007_011c") == grid.parse("007.011") == TileId(7, 11)
    with pytest.raises(DataError, match="write it as rXXX_YYYc, for example r241_293c"):
        grid.parse("007_011")
    assert GRIDS["coarse"].parse("03-12") == TileId(12, 3)


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ({"step": 0.25}, "with steps of 0.25 deg X goes to 1439, which needs 4 digits"),
        ({"step": 0.25, "name": "XXXX.YY"}, "Y goes to 720, which needs 3 digits"),
        ({"name": "XXX"}, "the row of the tile needs one run of Y"),
        ({"name": "XX.XX.YYY"}, "the column of the tile needs one run of X"),
        ({"name": "t1_XXX.YYY"}, "no digits"),
        ({"step": 0.0}, "greater than or equal"),
        ({"first_row": 90.0}, "less than 90"),
    ],
)
def test_a_senseless_grid(keys, complaint):
    with pytest.raises(ValidationError, match=complaint):
        TileGrid(**keys)
