import h5py
import numpy as np
import pytest

from shapempi.catalog import dtype_of, empty_table
from shapempi.errors import ConfigError, DataError
from shapempi.io.epoch_psf import INDEX_COLUMNS, MOMENT_COLUMNS, OBJECT_COLUMNS, STATUS_COLUMNS, create_epoch_psf


def index_of(*objects, status=b"accepted"):
    index = np.zeros(len(objects), dtype_of(INDEX_COLUMNS))
    index["object"], index["status"] = objects, status
    return index


def objects_of(n):
    return {"NUMBER": np.arange(n) + 1, "RA": np.full(n, 10.0), "DEC": np.full(n, 20.0)}


def test_rows_that_are_appended_are_read_back(tmp_path):
    path, rng = tmp_path / "psf.h5", np.random.default_rng(1)
    stamps = rng.uniform(0, 1, (3, 5, 5))
    moments = np.zeros(3, dtype_of(MOMENT_COLUMNS))
    moments["T_psf"] = rng.uniform(0, 1, 3)
    with create_epoch_psf(path, 5, {"size": 5}, shapes=True, overwrite=False) as writer:
        writer.append(index_of(2, 0, 3), stamps, moments)
        writer.append(index_of(0, 2, status=b"chi2"))
        writer.append(index_of(2), stamps[:1], moments[:1])
        writer.finish(objects_of(4), empty_table(STATUS_COLUMNS, 2))
    with h5py.File(path) as file:
        assert file["psf"].dtype == np.float32
        assert np.array_equal(file["psf"][[0, 1, 2, 5]], stamps[[0, 1, 2, 0]].astype("f4"))
        assert not file["psf"][3:5].any()
        np.testing.assert_array_equal(
            file["moments/T_psf"][:], [*moments["T_psf"], np.nan, np.nan, moments["T_psf"][0]]
        )
        assert file["moments/FLAG_PSF_HSM"][:].tolist() == [0, 0, 0, 1, 1, 0]
        assert file["order"][:].tolist() == [1, 3, 0, 4, 5, 2]
        assert file["objects/n_epoch"][:].tolist() == [2, 0, 3, 1]
        assert file["objects/n_epoch_used"][:].tolist() == [1, 0, 2, 1]
        assert file["objects/first"][:].tolist() == [0, 2, 2, 5]
        for name, columns in (("index", INDEX_COLUMNS), ("objects", OBJECT_COLUMNS), ("psf_status", STATUS_COLUMNS)):
            assert list(file[name]) == [column.name for column in columns]
            assert all(file[name][column.name].attrs["meaning"] == column.meaning for column in columns)
        assert file["index/x"].attrs["unit"] == "pixel"


def test_stamps_of_refused_ccds_take_no_space(tmp_path):
    path = tmp_path / "psf.h5"
    with create_epoch_psf(path, 51, {}, shapes=False, overwrite=False) as writer:
        writer.append(index_of(*range(2000), status=b"few_stars"))
        writer.finish(objects_of(2000), empty_table(STATUS_COLUMNS, 1))
    assert path.stat().st_size < 1e6  # the stamps would be 20 MB


def test_nothing_at_all_is_a_file_too(tmp_path):
    path = tmp_path / "psf.h5"
    with create_epoch_psf(path, 5, {}, shapes=True, overwrite=False) as writer:
        writer.finish(objects_of(3), empty_table(STATUS_COLUMNS, 0))
    with h5py.File(path) as file:
        assert file["psf"].shape == (0, 5, 5)
        assert file["objects/n_epoch"][:].tolist() == [0, 0, 0]


def test_an_index_of_objects_that_there_are_not_is_refused_and_leaves_no_file(tmp_path):
    path = tmp_path / "psf.h5"
    with (
        pytest.raises(DataError, match="names objects 0 to 4; there are 4"),
        create_epoch_psf(path, 5, {}, shapes=False, overwrite=False) as writer,
    ):
        writer.append(index_of(0, 4))
        writer.finish(objects_of(4), empty_table(STATUS_COLUMNS, 0))
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_there_is_kept(tmp_path):
    path = tmp_path / "psf.h5"
    path.write_text("mine")
    with pytest.raises(ConfigError, match="already there"), create_epoch_psf(path, 5, {}, shapes=True, overwrite=False):
        pass
    assert path.read_text() == "mine"
