"""Merged catalogues: sorted, complete, with one primary measurement of every object, whatever was bad or twice."""

import tracemalloc

import h5py
import numpy as np
import pytest
from catalogues.native import random_rows, tile_rows, write_native
from scipy.spatial import KDTree

from shapempi.catalog import COLUMNS, EPOCH_COLUMNS, PSF_STATUS_COLUMNS, STAR_COLUMNS, dtype_of
from shapempi.catalogues.export import export_table
from shapempi.catalogues.merge import merge
from shapempi.catalogues.opened import applied_step
from shapempi.errors import ConfigError, DataError, MissingInputError
from shapempi.ids import TileId
from shapempi.io.catalog import read_missing, read_table
from shapempi.tile_grid import CFIS_GRID
from shapempi.wcs import ARCSEC, tangent_offset, unit_vectors

#: Half the side of a tile [arcsec]; that of a cell of the grid is 900.
HALF = 0.258 * 3600
#: Error of a position [arcsec].
NOISE = 0.1


def field(ra0, dec0, n_object, seed):
    """Return tiles and objects of a field, half of the objects within an arcsecond of a border of the grid."""
    rng = np.random.default_rng(seed)
    dec = dec0 + rng.uniform(-0.6, 0.6, n_object)
    ra = ra0 + rng.uniform(-0.6, 0.6, n_object) / np.cos(np.radians(dec0))
    quarter = n_object // 4
    row = np.rint(2 * (dec + 90))
    dec[:quarter] = (row[:quarter] + rng.choice([-0.5, 0.5], quarter)) / 2 - 90 + rng.normal(0, 0.2, quarter) / 3600
    cos_row = np.cos(np.radians(np.rint(2 * (dec + 90)) / 2 - 90))
    column = np.rint(2 * (ra % 360) * cos_row) + rng.choice([-0.5, 0.5], n_object)
    near = slice(quarter, 2 * quarter)
    ra[near] = (column / (2 * cos_row))[near] + rng.normal(0, 0.2, quarter) / 3600
    ra %= 360
    tiles = {TileId(x, y) for x, y in zip(*(cell.tolist() for cell in CFIS_GRID.cell_of(ra, dec)), strict=True)}
    return sorted(tiles), ra, dec


def measure(tile, ra, dec, seed):
    """Return the rows of a tile that sees these objects with errors of position; ISOAREA_IMAGE says which they are."""
    u, v = tangent_offset(ra, dec, *CFIS_GRID.centre(tile))
    seen = np.flatnonzero((np.abs(u) < HALF) & (np.abs(v) < HALF))
    rng = np.random.default_rng([seed, tile.x, tile.y])
    rng.shuffle(seen)
    noise = rng.normal(0, NOISE, (2, len(seen))) / 3600
    rows = tile_rows(
        tile, (ra[seen] + noise[0] / np.cos(np.radians(dec[seen]))) % 360, dec[seen] + noise[1], seed, tile.y
    )
    rows["ISOAREA_IMAGE"] = seen
    return rows


@pytest.mark.parametrize(("ra0", "dec0"), [(213.0, 55.0), (0.0, 30.0), (359.95, 62.5), (120.0, 78.0)])
def test_every_object_is_primary_once(tmp_path, ra0, dec0):
    tiles, ra, dec = field(ra0, dec0, 3000, 1)
    assert len(tiles) >= 9
    of_tile = {tile: measure(tile, ra, dec, 2) for tile in tiles}
    one = write_native(tmp_path / "one.h5", np.concatenate([of_tile[tile] for tile in tiles[:5]]))
    two = write_native(tmp_path / "two.h5", np.concatenate([of_tile[tile] for tile in reversed(tiles[5:])]))
    result = merge([two, one], tmp_path / "all.h5")
    assert (result.skipped, result.repeated, result.missing, result.n_tile) == ((), (), (), len(tiles))
    rows = read_table(tmp_path / "all.h5")
    assert len(rows) == sum(map(len, of_tile.values())) == result.n_row
    count = np.bincount(rows["ISOAREA_IMAGE"][rows["FLAG_TILING"] == 1], minlength=len(ra))
    seen = np.bincount(rows["ISOAREA_IMAGE"], minlength=len(ra))
    assert seen.min() >= 1 and (seen > 1).sum() > 1000
    # Pairs within an arcsecond are one object for a merge.
    apart = KDTree(unit_vectors(ra, dec)).query(unit_vectors(ra, dec), k=2)[0][:, 1] * ARCSEC > 2.5
    assert apart.sum() > 2500
    assert np.all(count[apart] == 1)
    # Without groups, borders would cost some objects and double others.
    x, y = CFIS_GRID.cell_of(rows["ra"], rows["dec"])
    alone = np.bincount(rows["ISOAREA_IMAGE"][(x == rows["TILE_X"]) & (y == rows["TILE_Y"])], minlength=len(ra))
    assert np.any(alone[apart] == 0) and np.any(alone[apart] == 2)


@pytest.fixture
def pair(tmp_path):
    """Return two catalogues of three tiles, of which they share one, and the rows by input and tile."""
    tiles, ra, dec = field(213.0, 55.0, 400, 3)
    made = {(name, tile): measure(tile, ra, dec, seed) for seed, name in enumerate("ab") for tile in tiles}
    paths = []
    for name, own in (("a", tiles[:3]), ("b", tiles[2:5])):
        rows = np.concatenate([made[name, tile] for tile in own])
        epochs = random_rows(EPOCH_COLUMNS, 2 * len(rows))
        epochs["tile"], epochs["NUMBER"] = np.repeat(rows["tile"], 2), np.repeat(rows["NUMBER"], 2)
        status = random_rows(PSF_STATUS_COLUMNS, 3)
        status["exposure"], status["ccd"] = 2243881, np.arange(3) if name == "a" else np.arange(1, 4)
        status["status"] = [b"accepted", b"failed", b"chi2"] if name == "a" else b"accepted"
        stars = random_rows(STAR_COLUMNS, 6)
        stars["exposure"], stars["CCD_NB"] = 2243881, np.repeat(status["ccd"], 2)
        stars["NUMBER"] = np.arange(6) + (100 if name == "b" else 0)
        if name == "a":
            stars = stars[stars["CCD_NB"] != 1]
        paths.append(write_native(tmp_path / f"{name}.h5", rows, epochs=epochs, status=status, stars=stars))
    return paths, tiles, made


def test_rows_are_sorted_and_those_of_the_inputs(tmp_path, pair):
    paths, tiles, made = pair
    result = merge(paths, tmp_path / "all.h5")
    rows = read_table(tmp_path / "all.h5")
    names = [TileId.parse(name.decode()) for name in rows["tile"]]
    assert names == sorted(names) and sorted(set(names)) == tiles[:5]
    assert result.repeated == (f"tile {tiles[2]}: taken from {paths[0]}, not from {paths[1]}",)
    for tile in tiles[:5]:
        got = rows[rows["tile"] == str(tile).encode()]
        assert np.all(np.diff(got["dec"]) >= 0)
        expected = made["a" if tile in tiles[:3] else "b", tile]
        got = got[np.argsort(got["NUMBER"])]
        for name in rows.dtype.names:
            if name != "FLAG_TILING":
                np.testing.assert_array_equal(got[name], expected[name], err_msg=name)
    assert result.n_primary == np.sum(rows["FLAG_TILING"] == 1)
    epochs = read_table(tmp_path / "all.h5", "epochs")
    assert len(epochs) == 2 * len(rows)
    with h5py.File(tmp_path / "all.h5") as file:
        assert (file.attrs["n_row"], file.attrs["n_tile"], file.attrs["n_epoch"]) == (len(rows), 5, 2 * len(rows))
        assert (file.attrs["n_star"], file.attrs["n_refused"], file.attrs["n_missing"]) == (8, 1, 0)
    assert export_table(tmp_path / "all.h5", tmp_path / "all.fits", "fits", overwrite=False) == len(rows)


def test_ccds_of_both_come_once_and_from_one_that_has_not_failed(tmp_path, pair):
    merge(pair[0], tmp_path / "all.h5")
    status = read_table(tmp_path / "all.h5", "psf_status")
    assert sorted(status["ccd"].tolist()) == [0, 1, 2, 3]
    assert dict(zip(status["ccd"].tolist(), status["status"].tolist(), strict=True)) == {
        0: b"accepted",
        1: b"accepted",
        2: b"chi2",
        3: b"accepted",
    }
    stars = read_table(tmp_path / "all.h5", "stars")
    assert sorted(stars["NUMBER"].tolist()) == [0, 1, 4, 5, 100, 101, 104, 105]  # CCD 1 from b, 2 from a


def test_a_tile_is_taken_where_it_is_complete(tmp_path, pair):
    (one, two), tiles, made = pair
    rows = read_table(one)
    lost = [f"block:{tiles[2]}:1", f"block:{tiles[0]}:0", "ccd:2243881-1", "ccd:2243881-30"]
    write_native(one, rows, missing=lost, status=read_table(one, "psf_status"))
    result = merge([one, two], tmp_path / "all.h5")
    assert result.repeated == (f"tile {tiles[2]}: taken from {two}, not from {one}",)
    # CCD 1 is in the other one; nobody has CCD 30, nor that block of the first tile.
    assert result.missing == (f"block:{tiles[0]}:0", "ccd:2243881-30")
    assert read_missing(tmp_path / "all.h5") == list(result.missing)
    got = read_table(tmp_path / "all.h5")
    assert np.sum(got["tile"] == str(tiles[2]).encode()) == len(made["b", tiles[2]])


def test_bad_inputs_are_skipped_by_name(tmp_path, pair):
    (one, two), _, _ = pair
    broken, empty = tmp_path / "broken.h5", tmp_path / "empty"
    broken.write_bytes(two.read_bytes()[:4000])
    empty.mkdir()
    result = merge([broken, one, tmp_path / "none.h5", empty], tmp_path / "all.h5")
    assert [text.split(":")[0].rsplit("/", 1)[1] for text in result.skipped] == ["broken.h5", "none.h5", "empty"]
    assert result.n_input == 1 and result.n_row == len(read_table(one))
    with pytest.raises(MissingInputError, match="there is nothing to merge"):
        merge([broken, empty], tmp_path / "nothing.h5")
    assert not (tmp_path / "nothing.h5").exists()


def test_lists_of_columns_and_tiles(tmp_path, pair):
    paths, tiles, _ = pair
    columns, wanted = tmp_path / "columns.txt", tmp_path / "tiles.txt"
    columns.write_bytes(b"MAG_AUTO\r\nra # again\r\n")
    wanted.write_bytes(f"# some\r\n\r\n{tiles[1]}\r\n{tiles[4].x:03d}-{tiles[4].y:03d}\r\n001.100\r\n".encode())
    result = merge(paths, tmp_path / "all.h5", columns=columns, tiles=wanted)
    rows = read_table(tmp_path / "all.h5")
    assert set(rows.dtype.names) == {"tile", "NUMBER", "dec", "FLAG_TILING", "MAG_AUTO", "ra"}
    assert sorted(set(rows["tile"].tolist())) == sorted(str(tiles[k]).encode() for k in (1, 4))
    assert result.missing == ("tile:001.100",)
    wanted.write_text("241.29\n")
    with pytest.raises(ConfigError, match=r"tiles\.txt, line 1: '241\.29' is not a tile name"):
        merge(paths, tmp_path / "more.h5", tiles=wanted)


def test_what_does_not_fit_together_is_refused(tmp_path, pair):
    (one, two), _, _ = pair
    with pytest.raises(ConfigError, match=r"b\.h5 is one of the inputs"):
        merge([one, two], two, overwrite=True)
    with pytest.raises(ConfigError, match=r"b\.h5 is already there; give --overwrite"):
        merge([one], two)
    with pytest.raises(ConfigError, match="it is named twice"):
        merge([one, two, one], tmp_path / "all.h5")
    fewer = [column for column in COLUMNS if column.name != "MAG_AUTO"]
    rows = read_table(two)
    short = np.zeros(len(rows), dtype=dtype_of(fewer))
    for name in short.dtype.names:
        short[name] = rows[name]
    write_native(two, short, columns=fewer)
    with pytest.raises(ConfigError, match="MAG_AUTO only one of them has; choose columns that both have"):
        merge([one, two], tmp_path / "all.h5")
    for path, step in ((one, 0.01), (two, 0.02)):
        write_native(path, read_table(one), metacal_step=step)
    with pytest.raises(ConfigError, match=r"sheared by different steps.*a\.h5: 0\.01.*b\.h5: 0\.02"):
        merge([one, two], tmp_path / "all.h5")
    assert not (tmp_path / "all.h5").exists()


def test_the_step_is_handed_on(tmp_path, pair):
    one, two = pair[0]
    for path in (one, two):
        write_native(path, read_table(path), metacal_step=0.02)
    merge([one, two], tmp_path / "all.h5")
    assert applied_step(tmp_path / "all.h5") == 0.02


def test_text_that_names_no_tile(tmp_path, pair):
    rows = read_table(pair[0][0])
    rows["tile"][7] = b"field1"
    write_native(pair[0][0], rows)
    with pytest.raises(MissingInputError, match="'field1' is not a tile name"):
        merge([pair[0][0]], tmp_path / "all.h5")
    with pytest.raises(DataError, match="is not a tile name"):
        TileId.parse("field1")


def test_memory_is_that_of_a_tile(tmp_path):
    columns = tmp_path / "columns.txt"
    columns.write_text("ra\nMAG_AUTO\n")
    peaks = []
    for n_tile in (4, 16):
        rows = []
        for k in range(n_tile):
            tile = TileId(100 + 8 * k, 293)  # far from one another
            ra0, dec0 = CFIS_GRID.centre(tile)
            rng = np.random.default_rng(k)
            rows.append(tile_rows(tile, ra0 + rng.uniform(-0.2, 0.2, 1500), dec0 + rng.uniform(-0.2, 0.2, 1500)))
        path = write_native(tmp_path / f"{n_tile}.h5", np.concatenate(rows))
        tracemalloc.start()
        merge([path], tmp_path / f"merged{n_tile}.h5", columns=columns)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # Positions of tiles stay for their neighbours: 16 bytes an object, 24 kB a tile.
    assert peaks[1] < 1.5 * peaks[0] + 12 * 30_000
