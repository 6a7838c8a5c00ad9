import h5py
import numpy as np
import pytest

from shapempi.catalog import STAR_COLUMNS, empty_table
from shapempi.errors import DataError, MissingInputError
from shapempi.io.catalog import TableWriter, create_catalogue
from shapempi.io.psf_maps import write_maps
from shapempi.io.star_tables import open_star_tables


def write(path, stars):
    with create_catalogue(path, {}, overwrite=True) as file:
        writer = TableWriter(file, "stars", STAR_COLUMNS, len(stars))
        writer.append(stars)
        writer.finish()


@pytest.mark.parametrize("n", [0, 1, 10])
def test_parts_are_the_table(tmp_path, n):
    stars = empty_table(STAR_COLUMNS, n)
    stars["X"], stars["CCD_NB"] = np.arange(n), np.arange(n) % 3
    write(tmp_path / "c.h5", stars)
    with open_star_tables(tmp_path / "c.h5") as tables:
        assert tables.has("stars") and not tables.has("psf_status") and tables.n_row("stars") == n
        parts = list(tables.parts("stars", ("CCD_NB", "X"), n_row=4))
        assert [len(part) for part in parts] == [4] * (n // 4) + [n % 4] * (n % 4 > 0)
        whole = tables.read("stars", ("CCD_NB", "X"))
        assert whole.dtype.names == ("CCD_NB", "X") and whole["X"].tolist() == list(range(n))
        assert tables.read("stars").dtype.names == stars.dtype.names
        assert tables.columns("stars")["RA"] == "deg"


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(MissingInputError, match="gather"), open_star_tables(tmp_path / "no.h5"):
        pass
    (tmp_path / "text.h5").write_text("no")
    with pytest.raises(DataError, match="not a catalogue"), open_star_tables(tmp_path / "text.h5"):
        pass
    write(tmp_path / "c.h5", empty_table(STAR_COLUMNS, 5))
    with open_star_tables(tmp_path / "c.h5") as tables:
        with pytest.raises(DataError, match="no table training_stars"):
            tables.read("training_stars")
        with pytest.raises(DataError, match="no column nonsense"):
            tables.read("stars", ("X", "nonsense"))
    with h5py.File(tmp_path / "c.h5", "a") as file:
        del file["stars/X"]
        file["stars/X"] = np.zeros(3)
    with open_star_tables(tmp_path / "c.h5") as tables, pytest.raises(DataError, match="column X"):
        tables.read("stars", ("X",))


def test_maps_have_units(tmp_path):
    maps = {"focal_plane": {"T": (np.ones((2, 3)), "arcsec2", "size"), "ccd": (np.arange(2), "", "number")}}
    write_maps(tmp_path / "maps.h5", maps, {"camera": "MegaCam"})
    with h5py.File(tmp_path / "maps.h5") as file:
        assert file["focal_plane/T"].attrs["unit"] == "arcsec2" and file["focal_plane/T"].shape == (2, 3)
        assert file.attrs["camera"] == "MegaCam" and list(file["focal_plane"]) == ["T", "ccd"]
