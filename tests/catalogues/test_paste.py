"""Tables of several files in one: as HDUs or side by side, and only if they are of the same objects."""

import fitsio
import numpy as np
import pytest
from astropy.table import Table

from shapempi.catalogues.paste import PasteParams, paste
from shapempi.errors import ConfigError, DataError
from shapempi.io.table_file import open_table


@pytest.fixture
def files(tmp_path):
    """Return three tables of 300 objects: FITS with two tables, Parquet in small groups, HDF5."""
    rng = np.random.default_rng(1)
    number = np.arange(1, 301)
    first = Table({"NUMBER": number, "ra": rng.random(300), "MAG": rng.random(300)})
    first["ra"].unit = "deg"
    second = Table({"number": number.astype("i2"), "MAG": rng.random(300), "e": rng.random((300, 2))})
    third = Table({"NUMBER": number.astype("f4"), "z": rng.random(300)})
    with fitsio.FITS(str(tmp_path / "one.fits"), "rw") as file:
        file.write(np.zeros(3, [("a", "i4")]), extname="OTHER")
        file.write(first.as_array(), extname="GALAXIES", units=["", "deg", "mag"])
    import pyarrow
    import pyarrow.parquet

    columns = [second["number"].data, second["MAG"].data]
    columns.append(pyarrow.FixedSizeListArray.from_arrays(second["e"].data.ravel(), 2))
    group = pyarrow.Table.from_arrays(list(map(pyarrow.array, columns[:2])) + columns[2:], names=["number", "MAG", "e"])
    pyarrow.parquet.write_table(group, tmp_path / "two.parquet", row_group_size=77)
    third.write(tmp_path / "three.h5", path="table")
    return [tmp_path / name for name in ("one.fits", "two.parquet", "three.h5")], (first, second, third)


HDUS = ("GALAXIES", None, None)


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr("shapempi.catalogues.paste.chunk_rows", lambda dtype: 64)


def test_tables_as_hdus(tmp_path, files):
    paths, tables = files
    output = tmp_path / "pasted.fits"
    result = paste(paths, output, PasteParams(hdus=HDUS, check="NUMBER"), overwrite=False)
    assert result.tables == (("one", 300, 3), ("two", 300, 3), ("three", 300, 2))
    with fitsio.FITS(str(output)) as file:
        assert [hdu.get_extname() for hdu in file][1:] == ["one", "two", "three"]
        for name, table in zip(("one", "two", "three"), tables, strict=True):
            rows = file[name].read()
            for column in table.colnames:
                np.testing.assert_array_equal(rows[column], table[column])
        assert file["one"].read_header()["TUNIT2"].strip() == "deg"
    assert Table.read(output, hdu=2)["e"].shape == (300, 2)


@pytest.mark.parametrize("ending", ["fits", "parquet", "h5", "npy"])
def test_columns_side_by_side(tmp_path, files, ending):
    paths, (first, second, third) = files
    output = tmp_path / f"pasted.{ending}"
    params = PasteParams(hdus=HDUS, names=("sex", "sm", "z"), check="NUMBER", join=True)
    result = paste(paths, output, params, overwrite=False)
    assert result.renamed == ("MAG -> MAG_sm",)
    with open_table(output) as table:
        names = [column.name for column in table.columns]
        rows = np.concatenate(list(table.parts(names, 70)))
    assert names == ["NUMBER", "ra", "MAG", "MAG_sm", "e", "z"]
    for name, column in (("NUMBER", first["NUMBER"]), ("MAG_sm", second["MAG"]), ("e", second["e"]), ("z", third["z"])):
        np.testing.assert_array_equal(rows[name], column)


def test_tables_of_other_objects_are_refused(tmp_path, files):
    paths, (_, _, third) = files
    third["NUMBER"][200] = 7
    third.write(paths[2], path="table", overwrite=True)
    output = tmp_path / "pasted.fits"
    with pytest.raises(DataError, match=r"three\.h5: NUMBER is 7\.0 in row 201, but 201 in .*one\.fits"):
        paste(paths, output, PasteParams(hdus=HDUS, check="NUMBER"), overwrite=False)
    third[:250].write(paths[2], path="table", overwrite=True)
    for params in (PasteParams(hdus=HDUS, check="NUMBER"), PasteParams(hdus=HDUS, join=True)):
        with pytest.raises(DataError, match=r"three\.h5 has 250 rows, but .*one\.fits 300"):
            paste(paths, output, params, overwrite=False)
    # Without a check they are tables of one file like any others.
    assert paste(paths, output, PasteParams(hdus=HDUS), overwrite=False).tables[2] == ("three", 250, 2)


@pytest.mark.parametrize(
    ("params", "name", "message"),
    [
        (PasteParams(hdus=(1, None)), "x.fits", "--hdu has 2 entries for 3 files"),
        (PasteParams(names=("a", "b")), "x.fits", "--name has 2 entries for 3 files"),
        (PasteParams(names=("a", "A", "c")), "x.fits", "two tables would have the same name"),
        (PasteParams(), "x.h5", "let the name end with .fits, or --join them"),
        (PasteParams(hdus=HDUS, check="z"), "x.fits", r"one\.fits: there is no column z"),
        (PasteParams(hdus=("STARS", None, None)), "x.fits", r"HDU STARS is no table; tables: 1 \(OTHER\), 2 \(GALAX"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, files, params, name, message):
    output = tmp_path / name
    with pytest.raises((ConfigError, DataError), match=message):
        paste(files[0], output, params, overwrite=False)
    assert not output.exists()
    output.write_text("mine")
    with pytest.raises(ConfigError, match="already there"):
        paste(files[0], output, PasteParams(hdus=HDUS), overwrite=False)
    assert output.read_text() == "mine"
