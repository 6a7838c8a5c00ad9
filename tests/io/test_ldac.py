"""FITS_LDAC catalogues: what is written is read back, by us and by astropy, and what is broken is said."""

from __future__ import annotations

import fitsio
import numpy as np
import pytest
from astropy.io import fits

from shapempi.errors import ConfigError, DataError, MissingInputError
from shapempi.io.ldac import read_ldac, read_ldac_units, write_ldac, write_ldac_parts, write_table

HEADER = "".join(
    card.ljust(80)
    for card in ("SIMPLE  =                    T", "NAXIS1  =                 2048", "OBJECT  = 'it''s a field'")
)


def make_table(n=7):
    table = np.zeros(
        n, [("NUMBER", "i4"), ("FLAGS", "i2"), ("XWIN_IMAGE", "f8"), ("VIGNET", "f4", (5, 3)), ("ID", "S4")]
    )
    table["NUMBER"], table["XWIN_IMAGE"] = np.arange(1, n + 1), np.linspace(1, 2048, n)
    table["VIGNET"] = np.arange(n * 15).reshape(n, 5, 3)
    table["VIGNET"][:, 0, 0] = -1e30
    table["ID"] = b"star"
    return table


def assert_same(read, table):
    assert read.dtype.names == table.dtype.names
    for name in table.dtype.names:
        expected = table[name].astype("U") if table[name].dtype.kind == "S" else table[name]
        assert (read[name] == expected).all()
        assert read[name].shape == table[name].shape
        assert read[name].dtype.isnative


@pytest.mark.parametrize("n", [7, 1, 0])
def test_what_is_written_is_read_back(tmp_path, n):
    path = tmp_path / "stars.fits"
    write_ldac(path, make_table(n), HEADER, overwrite=False, units={"XWIN_IMAGE": "pixel"})
    header, table = read_ldac(path)
    assert header == HEADER
    assert_same(table, make_table(n))
    assert read_ldac_units(path) == {"XWIN_IMAGE": "pixel"}


def test_astropy_sees_what_sextractor_writes(tmp_path):
    path = tmp_path / "stars.fits"
    write_ldac(path, make_table(), HEADER, overwrite=False)
    with fits.open(path) as file:
        assert [hdu.name for hdu in file[1:]] == ["LDAC_IMHEAD", "LDAC_OBJECTS"]
        head = file[1]
        assert (head.header["TTYPE1"], head.header["TFORM1"]) == ("Field Header Card", "320A")
        assert head.header["TDIM1"].replace(" ", "") == "(80,4)"
        assert head.data[0][0][-1].rstrip() == "END"
        assert file[2].header["TDIM4"].replace(" ", "") == "(3,5)"
        assert (file[2].data["VIGNET"] == make_table()["VIGNET"]).all()


@pytest.mark.parametrize(
    "text", [HEADER + "END".ljust(80) + "rest".ljust(80), "\n".join([HEADER[:30], HEADER[80:110]])]
)
def test_header_texts(tmp_path, text):
    write_ldac(tmp_path / "a.fits", make_table(), text, overwrite=False)
    header, _ = read_ldac(tmp_path / "a.fits")
    assert header.startswith(HEADER[:160])
    assert len(header) == (240 if "rest" in text else 160)


@pytest.mark.parametrize("text", ["x" * 81 + "\n", "caf\xe9", "tab\there"])
def test_what_is_no_header_is_refused(tmp_path, text):
    with pytest.raises(DataError, match="not a card"):
        write_ldac(tmp_path / "a.fits", make_table(), text, overwrite=False)
    assert not list(tmp_path.iterdir())


def test_a_header_without_tdim_is_read(tmp_path):
    text = HEADER + "END".ljust(80)
    cell = np.array([(text.encode(),)], [("Field Header Card", f"S{len(text)}")])
    with fitsio.FITS(str(tmp_path / "a.fits"), "rw") as file:
        file.write(cell, extname="LDAC_IMHEAD")
        file.write(make_table(), extname="LDAC_OBJECTS")
    assert read_ldac(tmp_path / "a.fits")[0] == HEADER


def test_a_plain_table_is_read(tmp_path):
    write_table(tmp_path / "a.fits", make_table(), overwrite=False, units={"NUMBER": "1"})
    header, table = read_ldac(tmp_path / "a.fits")
    assert header == ""
    assert_same(table, make_table())


def test_several_images(tmp_path):
    path = tmp_path / "a.fits"
    write_ldac(path, make_table(3), HEADER, overwrite=False)
    with fitsio.FITS(str(path), "rw") as file:
        file.write(np.array([((b"SECOND".ljust(80),),)], [("Field Header Card", "S80", (1,))]), extname="LDAC_IMHEAD")
        file.write(make_table(5), extname="LDAC_OBJECTS")
    with pytest.raises(DataError, match=r"2 tables of objects, HDUs 2 \(LDAC_OBJECTS\), 4"):
        read_ldac(path)
    assert len(read_ldac(path, image=0)[1]) == 3
    header, table = read_ldac(path, image=1)
    assert (header, len(table)) == ("SECOND".ljust(80), 5)
    with pytest.raises(DataError, match="no image 2"):
        read_ldac(path, image=2)


def test_nothing_is_replaced_without_being_asked(tmp_path):
    path = tmp_path / "a.fits"
    write_ldac(path, make_table(), HEADER, overwrite=False)
    with pytest.raises(ConfigError, match="already there"):
        write_ldac(path, make_table(2), HEADER, overwrite=False)
    assert len(read_ldac(path)[1]) == 7
    write_ldac(path, make_table(2), HEADER, overwrite=True)
    assert len(read_ldac(path)[1]) == 2
    assert [file.name for file in tmp_path.iterdir()] == ["a.fits"]


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(ConfigError, match="cannot be written"):
        write_ldac(tmp_path / "no" / "a.fits", make_table(), HEADER, overwrite=False)
    with pytest.raises(DataError, match="float16 of column b"):
        write_table(tmp_path / "a.fits", np.zeros(2, [("a", "f4"), ("b", "f2")]), overwrite=False)
    with pytest.raises(DataError, match="not a table"):
        write_table(tmp_path / "a.fits", np.zeros((2, 2)), overwrite=False)
    assert not list(tmp_path.iterdir())


def test_broken_files(tmp_path):
    path = tmp_path / "a.fits"
    with pytest.raises(MissingInputError):
        read_ldac(path)
    path.write_bytes(b"no FITS file" * 300)
    with pytest.raises(DataError, match="not a FITS file"):
        read_ldac(path)
    fitsio.write(str(path), np.zeros((4, 4)), clobber=True)
    with pytest.raises(DataError, match="no table LDAC_OBJECTS"):
        read_ldac(path)
    write_ldac(path, np.tile(make_table(), 60), HEADER, overwrite=True)
    path.write_bytes(path.read_bytes()[:-2880])
    with pytest.raises(DataError, match="truncated"):
        read_ldac(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"TFORM4  = '15E     '", b"TFORM4  = '95E     '"),
        (b"TFORM4  = '15E     '", b"TFORM4  = '-5E     '"),
        (b"TDIM4   = '(3,5)   '", b"TDIM4   = '(3,9)   '"),
        (b"NAXIS1  =                   78", b"NAXIS1  =                   79"),
        (b"TFIELDS =                    5", b"TFIELDS =                    x"),
        (b"TFIELDS =                    5", b"TFIELDS =                    4"),
    ],
)
def test_a_header_that_contradicts_itself(tmp_path, old, new):
    path = tmp_path / "a.fits"
    write_ldac(path, make_table(), HEADER, overwrite=False)
    content = path.read_bytes()
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, new))
    for read in (read_ldac, read_ldac_units):
        with pytest.raises(DataError, match="contradicts itself"):
            read(path)


def test_damaged_files_are_read_or_refused(tmp_path):
    path = tmp_path / "a.fits"
    write_ldac(path, make_table(), HEADER, overwrite=False, units={"XWIN_IMAGE": "pixel"})
    good = path.read_bytes()
    cards = [start for start in range(0, len(good), 80) if good[start : start + 8].strip(b" \0").isalnum()]
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(good)
        for _ in range(rng.integers(1, 4)):
            damaged[rng.choice(cards) + rng.integers(32)] = rng.integers(32, 127)
        path.write_bytes(damaged)
        try:
            read_ldac(path)
            read_ldac_units(path)
        except DataError as error:
            assert str(path) in str(error)
            refused += 1
    assert 100 < refused < 300


def test_an_empty_header_is_a_header(tmp_path):
    write_ldac(tmp_path / "a.fits", make_table(), "", overwrite=False)
    assert dict(fits.Header.fromstring(read_ldac(tmp_path / "a.fits")[0])) == {"SIMPLE": True, "BITPIX": 8, "NAXIS": 0}


def test_a_column_without_width_is_left_out(tmp_path):
    columns = [
        fits.Column("NUMBER", "J", array=[1, 2, 3]),
        fits.Column("NOTHING", "0D", array=np.zeros((3, 0))),
        fits.Column("FLUX", "D", array=[1.5, 2.5, 3.5]),
    ]
    objects = fits.BinTableHDU.from_columns(columns, name="LDAC_OBJECTS")
    fits.HDUList([fits.PrimaryHDU(), objects]).writeto(tmp_path / "psfex.cat")
    _, table = read_ldac(tmp_path / "psfex.cat")
    assert table.dtype.names == ("NUMBER", "FLUX")
    assert table["NUMBER"].tolist() == [1, 2, 3]
    assert table["FLUX"].tolist() == [1.5, 2.5, 3.5]


def test_parts_make_the_same_file_as_the_whole(tmp_path):
    table = make_table()
    write_ldac(tmp_path / "whole.fits", table, HEADER, overwrite=False)
    parts = (table[:3], table[3:3], table[3:4], table[4:])
    write_ldac_parts(tmp_path / "parts.fits", table.dtype, iter(parts), HEADER, overwrite=False)
    assert (tmp_path / "parts.fits").read_bytes() == (tmp_path / "whole.fits").read_bytes()

    def broken():
        yield table[:3]
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError):
        write_ldac_parts(tmp_path / "broken.fits", table.dtype, broken(), HEADER, overwrite=False)
    assert not list(tmp_path.glob("*broken*"))


def test_further_tables_stand_behind_the_objects(tmp_path):
    objects = np.zeros(3, [("NUMBER", "i4")])
    first = np.array([(1, b"2243881"), (2, b"2243881")], [("NUMBER", "i4"), ("EXP_NAME", "S7")])
    more = {"EPOCH_0": first, "EPOCH_1": np.zeros(0, [("CCD_N", "i4")])}
    write_ldac(tmp_path / "a.fits", objects, "", overwrite=False, more=more)
    with fits.open(tmp_path / "a.fits") as file:
        assert [hdu.name for hdu in file][2:] == ["LDAC_OBJECTS", "EPOCH_0", "EPOCH_1"]
        assert file["EPOCH_0"].data["EXP_NAME"].tolist() == ["2243881"] * 2
        assert len(file["EPOCH_1"].data) == 0
    assert len(read_ldac(tmp_path / "a.fits")[1]) == 3  # the objects are still the catalogue
    with pytest.raises(DataError, match="float16 of column x"):
        write_ldac(tmp_path / "b.fits", objects, "", overwrite=False, more={"EPOCH_0": np.zeros(1, [("x", "f2")])})
    assert not (tmp_path / "b.fits").exists()
