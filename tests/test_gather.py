"""The catalogue of a run: complete, in order, the same whoever made its parts, in little memory."""

import tracemalloc

import h5py
import numpy as np
import pytest

from shapempi.catalog import (
    COLUMNS,
    EPOCH_COLUMNS,
    PSF_STATUS_COLUMNS,
    STAR_COLUMNS,
    STAR_STATISTIC_COLUMNS,
    dtype_of,
)
from shapempi.errors import ConfigError, DataError, MissingInputError
from shapempi.gather import gather
from shapempi.ids import BlockId, CcdId, TileId
from shapempi.io.catalog import read_table
from shapempi.io.parts import PartWriter
from shapempi.product import Product
from shapempi.survey.graph import SurveyPlan, TilePlan
from shapempi.units import tile_digest

CCDS = tuple(CcdId(2_243_881, k) for k in range(4))
TILES = tuple(TilePlan(TileId(x, 293), (2_243_881,), CCDS) for x in (241, 9, 100))
PLAN = SurveyPlan(CCDS, TILES, {}, {})
N_OBJECT = 120
BLOCK = np.dtype([("index", "i4"), ("n_object", "i8"), ("n_epoch", "i8")])


def fill(columns, n_row, *seed):
    """Return a table whose every value is random and depends on the seed alone."""
    rng = np.random.default_rng(seed)
    table = np.zeros(n_row, dtype_of(columns))
    for name in table.dtype.names:
        kind = table.dtype[name].kind
        table[name] = b"t" if kind == "S" else rng.random(n_row) if kind == "f" else rng.integers(0, 100, n_row)
    return table


def tables_of(tile):
    """Return a tile's rows and its epochs (one, two or three an object) in the order of NUMBER."""
    rows = fill(COLUMNS, N_OBJECT, tile.tile.x)
    rows["NUMBER"] = np.arange(1, N_OBJECT + 1)
    number = np.repeat(rows["NUMBER"], 1 + rows["NUMBER"] % 3)
    epochs = fill(EPOCH_COLUMNS, len(number), tile.tile.x, 1)
    epochs["NUMBER"] = number
    return rows, epochs


def ccd_tables(ccd):
    status = fill(PSF_STATUS_COLUMNS, 1, ccd.ccd)
    status["exposure"], status["ccd"], status["n_test"], status["n_train"] = ccd.exposure, ccd.ccd, 30, 90 + ccd.ccd
    status["status"] = b"few_stars" if ccd.ccd == 1 else b"accepted"
    return {
        "stars": fill(STAR_COLUMNS, 30, ccd.ccd),
        "training_stars": fill(STAR_COLUMNS, 90 + ccd.ccd, ccd.ccd, 1),
        "psf_status": status,
        "star_statistics": fill(STAR_STATISTIC_COLUMNS, 2 + ccd.ccd, ccd.ccd, 2),
    }


def make_run(folder, *, n_block, n_rank, seed, skip=()):
    """Commit a whole survey, its objects dealt to blocks and its units to ranks at random, in random order."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    (folder / "plan.json").write_text(PLAN.to_json())
    work = []
    for ccd in CCDS:
        work.append((ccd.uid, Product(ccd_tables(ccd)), 30))
    for tile in TILES:
        rows, epochs = tables_of(tile)
        of_block = rng.integers(0, n_block, N_OBJECT)
        blocks = np.zeros(n_block, BLOCK)
        for k in range(n_block):
            mine, seen = rows[of_block == k], epochs[of_block[epochs["NUMBER"] - 1] == k]
            blocks[k] = (k, len(mine), len(seen))
            name = f"{BlockId(tile.tile, k).uid}~{tile_digest(tile)}"
            work.append((name, Product({"catalogue": mine, "epochs": seen}), len(mine)))
        work.append((f"{tile.tile.uid}~{tile_digest(tile)}", Product({"blocks": blocks}), N_OBJECT))
    writers = [PartWriter(folder, "0001", rank) for rank in range(n_rank)]
    for index in rng.permutation(len(work)):
        name, product, n_row = work[index]
        if not name.startswith(tuple(skip)):
            writers[int(rng.integers(n_rank))].commit(name, product, n_row)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gather") / "run"
    make_run(folder, n_block=1, n_rank=1, seed=1)
    return folder, gather(folder)


def test_rows_are_those_of_the_units_by_tile_and_number(reference):
    result = reference[1]
    assert (result.n_row, result.n_tile, result.n_star) == (3 * N_OBJECT, 3, 120)
    assert (result.missing, result.damaged, result.n_refused) == ((), (), 1)
    for name in ("training_stars", "star_statistics", "psf_status"):
        expected = np.concatenate([ccd_tables(ccd)[name] for ccd in CCDS])
        np.testing.assert_array_equal(read_table(result.path, name), expected)
    expected = [tables_of(tile) for tile in sorted(TILES, key=lambda tile: tile.tile)]
    for name, index in (("catalogue", 0), ("epochs", 1)):
        tables = [pair[index] for pair in expected]
        np.testing.assert_array_equal(read_table(result.path, name), np.concatenate(tables))
    assert result.n_epoch == sum(len(epochs) for _, epochs in expected)
    with h5py.File(result.path, locking=False) as file:
        for column in COLUMNS:
            dataset = file["catalogue"][column.name]
            assert (dataset.attrs["unit"], dataset.attrs["meaning"]) == (column.unit, column.meaning)
            assert dataset.dtype == column.dtype


@pytest.mark.parametrize(("n_block", "n_rank"), [(2, 1), (5, 3), (7, 12)])
def test_the_catalogue_does_not_know_who_made_it(tmp_path, reference, n_block, n_rank):
    make_run(tmp_path / "run", n_block=n_block, n_rank=n_rank, seed=n_block)
    result = gather(tmp_path / "run")
    for table in ("catalogue", "epochs", "stars", "training_stars", "psf_status", "star_statistics"):
        assert read_table(result.path, table).tobytes() == read_table(reference[1].path, table).tobytes()


def test_what_is_lacking_is_named(tmp_path):
    folder = tmp_path / "run"
    make_run(folder, n_block=3, n_rank=2, seed=3, skip=("ccd:2243881-2", "tile:009.293", "block:241.293:1"))
    result = gather(folder)
    assert set(result.missing) == {"ccd:2243881-2", "tile:009.293", "block:241.293:1"}
    assert result.n_tile == 2
    status = read_table(result.path, "psf_status")
    lost = status["status"] == b"failed"
    assert [(row["exposure"], row["ccd"]) for row in status[lost]] == [(2243881, 2)]
    assert b"failed" in status["reason"][lost][0]
    with h5py.File(result.path, locking=False) as file:
        assert [name.decode() for name in file["missing"]] == list(result.missing)
        assert list(file["catalogue"]) == [column.name for column in COLUMNS]
    assert result.n_row == len(read_table(result.path)) < 2 * N_OBJECT


def test_a_file_that_is_there_is_kept(tmp_path, reference):
    folder, result = reference
    before, date = result.path.read_bytes(), result.path.stat().st_mtime_ns
    again = gather(folder, overwrite=True)
    assert (again.n_row, again.n_file, again.n_kept) == (result.n_row, 1, 1)
    assert result.path.stat().st_mtime_ns == date  # made from the same: not touched
    other = gather(folder, tmp_path / "other.h5")
    assert read_table(result.path).tobytes() == read_table(other.path).tobytes()
    with h5py.File(other.path, "r+") as file:
        file.attrs["made_from"] = "something else"
    with pytest.raises(ConfigError, match="is already there; give --overwrite"):
        gather(folder, other.path)
    assert gather(folder, other.path, overwrite=True).n_kept == 0
    assert before == result.path.read_bytes()
    with pytest.raises(MissingInputError, match="not the folder of a run"):
        gather(tmp_path)


@pytest.mark.parametrize("n_shard", [2, 3, 7])
def test_several_files_hold_the_same_rows(tmp_path, reference, n_shard):
    folder = tmp_path / "run"
    make_run(folder, n_block=3, n_rank=2, seed=2)
    result = gather(folder, n_shard=n_shard)
    assert result.path == folder / "catalogue"
    assert result.n_file == min(n_shard, len(TILES)) == len(list(result.path.glob("*.h5")))
    whole = reference[1]
    assert (result.n_row, result.n_epoch, result.n_star, result.n_refused) == (
        whole.n_row,
        whole.n_epoch,
        whole.n_star,
        whole.n_refused,
    )
    for table in ("catalogue", "epochs", "stars", "training_stars", "psf_status", "star_statistics"):
        assert read_table(result.path, table).tobytes() == read_table(whole.path, table).tobytes()


def test_only_files_of_changed_tiles_are_written_again(tmp_path):
    folder = tmp_path / "run"
    make_run(folder, n_block=2, n_rank=1, seed=1, skip=("block:100.293:1",))
    result = gather(folder, n_shard=3)
    assert result.missing == ("block:100.293:1",)
    dates = {path.name: path.stat().st_mtime_ns for path in result.path.glob("*")}
    make_run(tmp_path / "whole", n_block=2, n_rank=1, seed=1)
    (folder / "parts" / "0002").mkdir()
    (tmp_path / "whole" / "parts" / "0001" / "rank-00000.h5").rename(folder / "parts" / "0002" / "rank-00000.h5")
    with pytest.raises(ConfigError, match=r"00001-of-00003\.h5 is already there; give --overwrite"):
        gather(folder, n_shard=3)
    again = gather(folder, n_shard=3, overwrite=True)
    assert (again.missing, again.n_kept, again.n_file) == ((), 2, 3)
    changed = {path.name for path in again.path.glob("*") if path.stat().st_mtime_ns != dates[path.name]}
    assert changed == {"catalogue-00001-of-00003.h5", "index.json"}
    with pytest.raises(ConfigError, match="of another division of the catalogue"):
        gather(folder, n_shard=2)
    assert gather(folder, n_shard=2, overwrite=True).n_kept == 0
    assert len(list(again.path.glob("*.h5"))) == 2


def test_a_file_that_is_gone_or_another_is_noticed(tmp_path):
    folder = tmp_path / "run"
    make_run(folder, n_block=1, n_rank=1, seed=1)
    result = gather(folder, n_shard=3)
    first, second = sorted(result.path.glob("*.h5"))[:2]
    content = first.read_bytes()
    first.unlink()
    with pytest.raises(MissingInputError, match=first.name):
        read_table(result.path)
    first.write_bytes(second.read_bytes())
    with pytest.raises(DataError, match=r"is not the file that index\.json names"):
        read_table(result.path)
    first.write_bytes(content)
    assert len(read_table(result.path)) == 3 * N_OBJECT


def test_a_damaged_part_costs_an_error_not_wrong_rows(tmp_path):
    folder = tmp_path / "run"
    make_run(folder, n_block=2, n_rank=1, seed=1)
    path = next(folder.glob("parts/*/*.h5"))
    content = bytearray(path.read_bytes())
    for offset in range(len(content) // 2, len(content) - 1000, 997):  # whatever is there
        content[offset] ^= 0x55
    path.write_bytes(content)
    try:
        result = gather(folder)
    except DataError as error:
        assert str(path) in str(error)
    else:
        assert result.missing


def test_memory_is_that_of_a_tile(tmp_path, monkeypatch):
    """Five times the tiles, the same memory."""
    peaks = []
    for n_tile in (2, 10):
        tiles = tuple(TilePlan(TileId(x, 1), (2_243_881,), CCDS) for x in range(n_tile))
        monkeypatch.setattr(f"{__name__}.TILES", tiles)
        monkeypatch.setattr(f"{__name__}.PLAN", SurveyPlan(CCDS, tiles, {}, {}))
        folder = tmp_path / str(n_tile)
        make_run(folder, n_block=2, n_rank=2, seed=1)
        tracemalloc.start()
        assert gather(folder).n_row == n_tile * N_OBJECT
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0] + 300_000
