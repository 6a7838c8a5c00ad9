"""Catalogues of extended objects: all forms give the same objects, and what cannot be used is named."""

import sqlite3

import fitsio
import numpy as np
import pytest

from shapempi.errors import DataError, MissingInputError
from shapempi.io.deep_sky import read_deep_sky

#: M31, M32 and NGC 206, which has no Messier number: ra, dec [deg], full axes [arcmin], position angle.
NAMES = ("NGC0224", "NGC0221", "NGC0206")
NUMBERS = ("031", "032", "")
ROWS = [
    (10.6847, 41.2687, 177.83, 69.66, 35.0),
    (10.6743, 40.8652, 7.74, 4.86, 170.0),
    (10.133, 40.733, 4.2, None, None),
]
EXPECTED = np.array(
    [(r, d, a * 30, np.nan if b is None else b * 30, np.nan if p is None else p) for r, d, a, b, p in ROWS]
)


def columns_of(table):
    return np.stack([table[name] for name in table.dtype.names], axis=1)


def same(table, expected, rtol=1e-6):
    np.testing.assert_allclose(columns_of(table), expected, rtol=rtol, equal_nan=True)


def sexagesimal(value, hours):
    value = value / 15 if hours else value
    minutes, seconds = divmod(abs(value) * 3600, 60)
    return (
        f"{'-' if value < 0 else '' if hours else '+'}{int(minutes // 60):02d}:{int(minutes % 60):02d}:{seconds:07.4f}"
    )


def write_openngc_csv(path):
    lines = ["Name;Type;RA;Dec;Const;MajAx;MinAx;PosAng;B-Mag;M;NGC;IC"]
    for name, number, (ra, dec, *sizes) in zip(NAMES, NUMBERS, ROWS, strict=True):
        a, b, p = ("" if value is None else str(value) for value in sizes)
        lines.append(f"{name};G;{sexagesimal(ra, True)};{sexagesimal(dec, False)};And;{a};{b};{p};4.3;{number};;")
    lines += ["IC0001;**;00:08:27.05;+27:43:03.6;Peg;;;;;;;", "NGC9999;NonEx;00:08:27.05;+27:43:03.6;Peg;3;3;;;;;"]
    lines += [
        "ESO056-115;G;05:23:34.60;-69:45:22.0;Dor;600;500;170;;;;",
        "IC9998;Dup;00:08:27.05;+27:43:03.6;Peg;3;3;;;;;",
    ]
    lines += ["Mel022;OCl;03:47:28.6;+24:06:19;Tau;150;150;90;;045;;"]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_openngc_sqlite(path):
    base = sqlite3.connect(path)
    base.execute(
        "CREATE TABLE objects (id INTEGER PRIMARY KEY, name TEXT, type TEXT, ra REAL, dec REAL, majax REAL, "
        "minax REAL, pa INTEGER, messier TEXT)"
    )
    rows = [
        (name, "G", np.radians(ra), np.radians(dec), *sizes, number)
        for name, number, (ra, dec, *sizes) in zip(NAMES, NUMBERS, ROWS, strict=True)
    ]
    rows += [("IC0001", "**", 0.03, 0.4, None, None, None, ""), ("NGC9999", "NonEx", 0.03, 0.4, 3, 3, None, None)]
    rows += [("ESO056-115", "G", 1.4, -1.2, 600, 500, 170, ""), ("Mel022", "OCl", 0.99, 0.42, 150, 150, 90, "045")]
    base.executemany(
        "INSERT INTO objects (name, type, ra, dec, majax, minax, pa, messier) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows
    )
    base.commit()
    base.close()
    return path


@pytest.mark.parametrize(("write", "name"), [(write_openngc_csv, "NGC.csv"), (write_openngc_sqlite, "ongc.db")])
def test_openngc_has_both_kinds(tmp_path, write, name):
    path = write(tmp_path / name)
    same(read_deep_sky(path, messier=False), EXPECTED)
    found = read_deep_sky(path, messier=True)
    same(found[:2], EXPECTED[:2])
    assert len(found) == 3 and found["major"][2] == pytest.approx(75 * 60)  # the Pleiades


def write_fits(path, table, **header):
    fitsio.write(path, table, header=header, clobber=True)
    return path


def test_the_table_of_the_reference_system_has_full_axes_and_no_angle(tmp_path):
    table = np.zeros(3, [("ra", "f4"), ("dec", "f4"), ("size_X", "f4"), ("size_Y", "f4"), ("kind", "S1")])
    for row, (ra, dec, a, b, _) in zip(table, ROWS, strict=True):
        row["ra"], row["dec"], row["size_X"], row["size_Y"] = ra, dec, a, b or 0
    units = {"TCUNI1": "deg", "TCUNI2": "deg", "TCUNI3": "arcmin", "TCUNI4": "arcmin"}
    expected = EXPECTED.copy()
    expected[:, 4] = np.nan
    for messier in (True, False):
        same(read_deep_sky(write_fits(tmp_path / "ngc.fits", table, **units), messier=messier), expected)


def test_any_table_with_the_columns(tmp_path):
    table = np.array([tuple(np.nan if v is None else v for v in row) for row in ROWS], [(n, "f8") for n in "abcde"])
    table.dtype.names = ("RA", "DEC", "MAJOR", "MINOR", "PA")
    same(read_deep_sky(write_fits(tmp_path / "t.fits", table), messier=False), EXPECTED)
    degrees = table.copy()
    degrees["MAJOR"] /= 60
    degrees["MINOR"] *= 60
    path = write_fits(tmp_path / "u.fits", degrees, TUNIT3="deg", TUNIT4="arcsec")
    same(read_deep_sky(path, messier=False), EXPECTED)
    text = "RA,Dec,Major,Minor,PA\n" + "".join(
        ",".join("" if value is None else str(value) for value in row) + "\n" for row in ROWS
    )
    (tmp_path / "t.csv").write_text("# ours\n" + text)
    same(read_deep_sky(tmp_path / "t.csv", messier=True), EXPECTED)
    (tmp_path / "few.csv").write_text("ra,dec,major\n359.5,-3,2\n-0.5,-3,2\n1,2,\n1,,3\n1,2,-3\n1,2,0\n")
    same(read_deep_sky(tmp_path / "few.csv", messier=False), [[359.5, -3, 60, np.nan, np.nan]] * 2)
    (tmp_path / "swapped.csv").write_text("ra,dec,major,minor,pa\n1,2,3,8,20\n")
    same(read_deep_sky(tmp_path / "swapped.csv", messier=False), [[1, 2, 240, 90, 110]])


def test_what_cannot_be_used_is_named(tmp_path):
    for messier, name in ((True, "messier_catalogue"), (False, "ngc_catalogue")):
        with pytest.raises(MissingInputError, match=rf"none\.fits: .*does not exist; correct \[input\] {name}"):
            read_deep_sky(tmp_path / "none.fits", messier=messier)
    cases = {
        "old.npy": ("x", "not a known format of a catalogue of extended objects; known: csv, db, fit"),
        "a.csv": ("ra,dec,size\n1,2,3\n", "no column for MAJOR among ra, dec, size; columns RA, DEC"),
        "b.csv": ("", "no column for RA among no columns"),
        "c.csv": ("ra,dec,major\n1,2,wide\n", "column major: could not convert"),
        "d.csv": ("ra,dec,major\n1,200,3\n", "positions outside the sky"),
        "e.db": ("no base", r"not the SQLite catalogue of OpenNGC \(the ongc.db of PyOngc\)"),
        "f.fits": ("no table", "not a FITS file"),
    }
    for name, (text, complaint) in cases.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(DataError, match=complaint) as caught:
            read_deep_sky(tmp_path / name, messier=False)
        assert str(tmp_path / name) in str(caught.value)
    sqlite3.connect(tmp_path / "empty.db").close()
    with pytest.raises(DataError, match="no such table"):
        read_deep_sky(tmp_path / "empty.db", messier=False)
    table = np.zeros(1, [("ra", "f4"), ("dec", "f4"), ("major", "f4")])
    with pytest.raises(DataError, match="the unit of column major is 'pc'"):
        read_deep_sky(write_fits(tmp_path / "pc.fits", table, TUNIT3="pc"), messier=False)
    names = np.zeros(1, [("ra", "f4"), ("dec", "f4"), ("major", "S4")])
    names["major"] = b"wide"
    with pytest.raises(DataError, match="a column is not numeric"):
        read_deep_sky(write_fits(tmp_path / "text.fits", names), messier=False)
