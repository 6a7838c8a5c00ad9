"""Tiles of the grid: every position has a tile that holds it, numbers come back, also at RA 0 and near the poles."""

import numpy as np
import pytest

from shapempi.errors import ConfigError
from shapempi.field.cfis import TILE_SIDE
from shapempi.field.image_name import ImageNames, id_in_name, pipeline_name
from shapempi.field.sky_region import SkyRectangle, in_square
from shapempi.field.tile_search import check_tile, named_tile, tiles_at, tiles_in
from shapempi.ids import TileId
from shapempi.tile_grid import CFIS_GRID


def inside(tile, ra, dec):
    ra0, dec0 = CFIS_GRID.centre(tile)
    return in_square(ra, dec, np.array([ra0]), np.array([dec0]), TILE_SIDE)[0]


def random_positions(n, dec_limit, seed=1):
    rng = np.random.default_rng(seed)
    limit = np.sin(np.radians(dec_limit))
    return rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-limit, limit, n)))


def test_each_of_100000_positions_is_in_the_tile_of_its_cell():
    ra, dec = random_positions(100_000, 80.0)
    x, y = CFIS_GRID.cell_of(ra, dec)
    cos_row = np.cos(np.radians(y / 2 - 90))
    dra = np.radians((ra - x / (2 * cos_row) + 180) % 360 - 180)
    d, d0 = np.radians(dec), np.radians(y / 2 - 90)
    away = np.sin(d0) * np.sin(d) + np.cos(d0) * np.cos(d) * np.cos(dra)
    xi = np.cos(d) * np.sin(dra) / away
    eta = (np.cos(d0) * np.sin(d) - np.sin(d0) * np.cos(d) * np.cos(dra)) / away
    assert np.degrees(np.maximum(np.abs(xi), np.abs(eta))).max() <= TILE_SIDE / 2
    assert np.all(x < [CFIS_GRID.n_column(row) for row in y])


@pytest.mark.parametrize("dec_limit", [60.0, 89.99])
def test_the_named_tile_holds_the_position(dec_limit):
    n_gap = 0
    for ra, dec in zip(*random_positions(1500, dec_limit, seed=2), strict=True):
        tile = named_tile(ra, dec)
        n_gap += tile is None
        if tile is not None:
            assert inside(tile, ra, dec)
            assert tile in tiles_at(ra, dec)
    assert n_gap <= 3


@pytest.mark.parametrize(
    ("ra", "dec"),
    [(359.99, 0.1), (0.001, 45.2), (359.7, 54.9), (12.0, 89.9), (200.0, -90.0), (77.0, 90.0), (3.0, 88.3)],
)
def test_all_tiles_that_hold_a_position_are_found(ra, dec):
    near = [TileId(x, y) for y in range(361) if abs(y / 2 - 90 - dec) < 1.5 for x in range(CFIS_GRID.n_column(y))]
    assert tiles_at(ra, dec) == sorted(tile for tile in near if inside(tile, ra, dec))
    assert named_tile(ra, dec) in tiles_at(ra, dec)


def test_a_corner_is_in_four_tiles():
    ra, dec = CFIS_GRID.centre(TileId(245, 290))
    assert len(tiles_at(ra, dec)) == 1
    assert len(tiles_at(0.25, 0.25)) == 4
    assert {tile.x for tile in tiles_at(359.75, 0.0)} == {0, 719}


def test_the_position_of_the_specification():
    assert named_tile(213.68, 54.79) == TileId(245, 290)


def test_numbers_that_the_grid_does_not_have():
    assert check_tile(TileId(412, 290)) == TileId(412, 290)
    for tile, why in ((TileId(413, 290), "000 to 412"), (TileId(0, 361), "000 to 360"), (TileId(1, 360), "000 to 000")):
        with pytest.raises(ConfigError, match=why):
            check_tile(tile)


def test_tiles_of_an_area_are_those_with_centres_in_it():
    area = SkyRectangle.between(358.9, 53.9, 1.1, 55.1)
    found = tiles_in(area)
    near = [TileId(x, y) for y in (287, 288, 289, 290, 291) for x in range(CFIS_GRID.n_column(y))]
    centres = [((CFIS_GRID.centre(tile)[0] + 180) % 360 - 180, CFIS_GRID.centre(tile)[1]) for tile in near]
    expected = {tile for tile, (ra, dec) in zip(near, centres, strict=True) if abs(ra) <= 1.1 and 53.9 <= dec <= 55.1}
    assert found == sorted(expected) and len(found) == 11
    assert all(area.holds(*np.array(CFIS_GRID.centre(tile))[:, np.newaxis])[0] for tile in found)
    assert {tile.y for tile in found} == {288, 289, 290}
    assert found == tiles_in(SkyRectangle.between(358.9, 53.9, 361.1, 55.1))
    assert found == tiles_in(SkyRectangle.between(-1.1, 55.1, 1.1, 53.9))
    assert TileId(0, 360) in tiles_in(SkyRectangle.between(0, 89, 360, 90))


def test_the_whole_sky_is_all_tiles():
    n = sum(CFIS_GRID.n_column(y) for y in range(361))
    assert len(tiles_in(SkyRectangle.between(0, -90, 360, 90))) == n


@pytest.mark.parametrize(
    "corners", [(10, 0, 10, 5), (10, 5, 20, 5), (10, 0, 20, 95), (np.nan, 0, 20, 5), (900, 0, 5, 5)]
)
def test_areas_that_are_none(corners):
    with pytest.raises(ConfigError, match="--area"):
        SkyRectangle.between(*corners)


def test_names_to_numbers_and_back():
    names = ImageNames.of()
    for kind, pattern in names.patterns.items():
        image = TileId(7, 290) if pattern.of_tiles else 2243881
        for name in pattern.names(image):
            assert pattern.parse(name) == image, kind
        assert pattern.parse("x" + pattern.names(image)[0]) is None
        assert pattern.parse(pattern.names(image)[0] + ".old") is None
    assert names.in_band("u").patterns["weight.fz"].names(TileId(7, 290)) == ("CFIS.007.290.u.weight.fits.fz",)
    assert names.patterns["exposure"].parse("12243881123p.fits.fz") is None
    assert id_in_name("CFIS_image-277-282.fits") == id_in_name("CFIS.277.282.r.fits") == TileId(277, 282)
    assert id_in_name("277.282.283.284.fits") is None and id_in_name("tile.fits") is None


def test_names_of_the_pipeline():
    tile = TileId(277, 282)
    assert pipeline_name("image", 2228303, "2228303p.fits.fz") == "image-2228303.fitsfz"
    assert pipeline_name("flag", 979412, "979412p.flag.fits.fz") == "flag-0979412.fitsfz"
    assert pipeline_name("image", tile, "CFIS.277.282.r.fits") == "CFIS_image-277-282.fits"
    assert pipeline_name("weight", tile, "CFIS.277.282.r.weight.fits.fz") == "CFIS_weight-277-282.fitsfz"
    assert pipeline_name("image", tile, "CFIS_image-277-282.fits", "coadd") == "coadd-277-282.fits"
    assert ImageNames.of().tiles[1].parse("CFIS_image-277-282.fits") == tile
    assert ImageNames.of().exposures[1].parse("image-2228303.fitsfz") == 2228303
