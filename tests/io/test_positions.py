import numpy as np
import pytest

from shapempi.catalog import COLUMNS, empty_table
from shapempi.errors import DataError, MissingInputError
from shapempi.io.catalog import TableWriter, create_catalogue
from shapempi.io.ldac import write_ldac, write_table
from shapempi.io.positions import read_positions

HEADER = "CRVAL1  = 10.0".ljust(80)


def table(names=("RA", "DEC", "NUMBER")):
    rows = np.zeros(4, [(name, "i4" if name == "NUMBER" else "f8") for name in names] + [("MARK", "S3")])
    for i, name in enumerate(names):
        rows[name] = np.arange(4) + 10 * i
    return rows


def test_columns_number_and_header(tmp_path):
    write_ldac(tmp_path / "objects.fits", table(), HEADER, overwrite=False)
    positions = read_positions(tmp_path / "objects.fits", ("RA", "DEC"))
    assert positions.x.tolist() == [0, 1, 2, 3]
    assert positions.y.tolist() == [10, 11, 12, 13]
    assert positions.number.tolist() == [20, 21, 22, 23]
    assert positions.header == HEADER
    assert len(positions) == 4


def test_a_plain_table_and_columns_in_other_letters(tmp_path):
    write_table(tmp_path / "objects.fits", table(("ra", "Dec")), overwrite=False)
    positions = read_positions(tmp_path / "objects.fits", ("RA", "DEC"))
    assert positions.y.tolist() == [10, 11, 12, 13]
    assert positions.number is None
    assert positions.header == ""


def test_a_catalogue_of_ours(tmp_path):
    path = tmp_path / "catalogue.h5"
    with create_catalogue(path, {}, overwrite=False) as file:
        rows = empty_table(COLUMNS, 3)
        rows["ra"], rows["dec"], rows["NUMBER"] = [1, 2, 3], [4, 5, 6], [7, 8, 9]
        writer = TableWriter(file, "catalogue", COLUMNS, 3)
        writer.append(rows)
        writer.finish()
    positions = read_positions(path, ("RA", "DEC"))
    assert (positions.x.tolist(), positions.y.tolist()) == ([1, 2, 3], [4, 5, 6])
    assert positions.number.tolist() == [7, 8, 9]
    with pytest.raises(DataError, match=r"catalogue.h5: there is no column XWIN; name the columns"):
        read_positions(path, ("XWIN", "YWIN"))


def test_what_cannot_be_a_position_is_named(tmp_path):
    path = tmp_path / "objects.fits"
    write_table(path, table(), overwrite=False)
    with pytest.raises(DataError, match=r"objects.fits: there is no column X; .*: RA, DEC, NUMBER, MARK"):
        read_positions(path, ("X", "DEC"))
    with pytest.raises(DataError, match="MARK does not hold numbers"):
        read_positions(path, ("RA", "MARK"))
    with pytest.raises(MissingInputError):
        read_positions(tmp_path / "none.fits", ("RA", "DEC"))
    with pytest.raises(MissingInputError):
        read_positions(tmp_path / "none.h5", ("RA", "DEC"))
    (tmp_path / "text.h5").write_text("no catalogue")
    with pytest.raises(DataError, match=r"text.h5"):
        read_positions(tmp_path / "text.h5", ("RA", "DEC"))
