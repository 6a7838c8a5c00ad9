"""Matching by position: the nearest on the sphere, within the tolerance, and what becomes of those without a match."""

import fitsio
import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.table import Table
from catalogues.native import tile_rows, write_native

from shapempi.catalogues.match import MatchParams, match, nearest
from shapempi.errors import ConfigError, DataError, MissingInputError
from shapempi.ids import TileId
from shapempi.io.table_file import open_table
from shapempi.tile_grid import CFIS_GRID


@pytest.mark.parametrize(("ra0", "dec0"), [(120.0, 20.0), (0.0, -40.0), (33.0, 89.95)])
def test_the_nearest_is_astropys(ra0, dec0):
    rng = np.random.default_rng(1)
    centre = SkyCoord(ra0 * units.deg, dec0 * units.deg)

    def cloud(n):
        return centre.directional_offset_by(
            rng.uniform(0, 360, n) * units.deg, 0.02 * np.sqrt(rng.random(n)) * units.deg
        )

    ours, theirs = cloud(2000), cloud(3000)
    index, distance = nearest(ours.ra.deg, ours.dec.deg, theirs.ra.deg, theirs.dec.deg, 1.0)
    expected, away, _ = ours.match_to_catalog_sky(theirs)
    found = away.arcsec < 1.0
    assert 300 < found.sum() < 1900
    np.testing.assert_array_equal(index, np.where(found, expected, -1))
    np.testing.assert_allclose(distance[found], away.arcsec[found], rtol=1e-6, atol=1e-7)
    assert np.all(np.isnan(distance[~found]))


def test_unique_matches_are_the_best():
    ra = np.array([10.0, 10.0 + 0.2 / 3600, 10.0 - 0.1 / 3600, 50.0, np.nan])
    external = np.array([10.0, 50.0 + 0.25 / 3600, np.nan])
    zero, zeros = np.zeros(5), np.zeros(3)
    index, _ = nearest(ra, zero, external, zeros, 0.3)
    assert index.tolist() == [0, 0, 0, 1, -1]
    index, distance = nearest(ra, zero, external, zeros, 0.3, unique=True)
    assert index.tolist() == [0, -1, -1, 1, -1]
    assert distance[3] == pytest.approx(0.25) and np.isnan(distance[1])
    # of equals the first
    index, _ = nearest(np.array([10.0, 10.0]), np.zeros(2), external, zeros, 0.3, unique=True)
    assert index.tolist() == [0, -1]
    for away, expected in ((0.9999, 0), (1.0001, -1)):
        dec = np.array([away / 3600])
        assert nearest(np.array([0.0]), np.array([0.0]), np.array([0.0]), dec, 1.0)[0].tolist() == [expected]
    assert nearest(np.array([0.0]), np.array([0.0]), np.zeros(0), np.zeros(0), 1.0)[0].tolist() == [-1]


@pytest.fixture
def catalogue(tmp_path):
    tile = TileId(241, 293)
    ra0, dec0 = CFIS_GRID.centre(tile)
    rows = tile_rows(tile, ra0 + np.arange(500) * 0.001, np.full(500, dec0))
    return write_native(tmp_path / "catalogue.h5", rows), rows


@pytest.fixture
def external(tmp_path, catalogue):
    """Return a catalogue of redshifts of every third object, in another order, 0.1 arcsec away, and of others."""
    rows = catalogue[1]
    source = np.random.default_rng(2).permutation(np.arange(0, 500, 3))
    table = Table()
    table["RA"] = np.append(rows["ra"][source], [10.0, 11.0])
    table["DEC"] = np.append(rows["dec"][source] + 0.1 / 3600, [1.0, 1.0])
    table["z"] = np.append(rows["NUMBER"][source] / 1000.0, [9.0, 9.0]).astype("f4")
    table["n_visit"] = np.append(rows["NUMBER"][source], [0, 0]).astype("i4")
    table["survey"] = ["deep"] * len(table)
    table["NUMBER"] = np.arange(len(table))
    table["z"].unit = "km/s"
    path = tmp_path / "external.fits"
    table.write(path)
    return path, rows["NUMBER"][np.sort(source)]


@pytest.mark.parametrize("ending", ["fits", "parquet", "h5", "npy"])
def test_matched_rows_with_copied_columns(tmp_path, catalogue, external, ending, monkeypatch):
    monkeypatch.setattr("shapempi.catalogues.match.chunk_rows", lambda dtype: 64)
    output = tmp_path / f"matched.{ending}"
    params = MatchParams(copy=("z", "NUMBER"), distance=True)
    result = match(catalogue[0], external[0], output, params, overwrite=False)
    assert (result.n_row, result.n_matched, result.n_written, result.n_external) == (500, 167, 167, 169)
    with open_table(output) as table:
        names = [column.name for column in table.columns]
        rows = np.concatenate(list(table.parts(names, 50)))
        by_name = {column.name: column for column in table.columns}
    assert names[-3:] == ["z_ext", "NUMBER_ext", "DISTANCE"]
    np.testing.assert_array_equal(rows["NUMBER"], external[1])
    np.testing.assert_array_equal(rows["z_ext"], (external[1] / 1000).astype("f4"))
    np.testing.assert_allclose(rows["DISTANCE"], 0.1, rtol=1e-5)
    kept = catalogue[1][external[1] - 1]
    for name in kept.dtype.names:
        np.testing.assert_array_equal(rows[name], kept[name], err_msg=name)
    if ending != "npy":
        assert (by_name["z_ext"].unit.replace(" ", ""), by_name["DISTANCE"].unit) == ("km/s", "arcsec") or (
            by_name["z_ext"].unit == "km s-1"
        )


@pytest.mark.parametrize("mark", [0.0, -99.0])
def test_rows_without_a_match_have_the_mark(tmp_path, catalogue, external, mark):
    output = tmp_path / "matched.fits"
    params = MatchParams(copy=("z", "n_visit", "survey"), suffix="_deep", mark=mark, distance=True)
    assert match(catalogue[0], external[0], output, params, overwrite=False).n_written == 500
    rows = fitsio.read(str(output), ext="MATCHED")
    found = np.isin(rows["NUMBER"], external[1])
    np.testing.assert_array_equal(rows["MATCHED"], found)
    np.testing.assert_array_equal(rows["NUMBER"], np.arange(1, 501))
    assert np.all(rows["z_deep"][~found] == mark) and np.all(rows["n_visit_deep"][~found] == mark)
    np.testing.assert_array_equal(rows["n_visit_deep"][found], external[1])
    assert set(np.char.strip(rows["survey_deep"][~found].astype("S"))) == {b""}
    assert np.all(np.isnan(rows["DISTANCE"][~found]))


def test_without_a_mark_floats_are_nan_and_integers_are_refused(tmp_path, catalogue, external):
    output = tmp_path / "matched.fits"
    match(catalogue[0], external[0], output, MatchParams(copy=("z",), keep=True), overwrite=False)
    rows = fitsio.read(str(output))
    np.testing.assert_array_equal(np.isnan(rows["z_ext"]), rows["MATCHED"] == 0)
    with pytest.raises(ConfigError, match="n_visit holds integers, which cannot be NaN; give --mark"):
        match(catalogue[0], external[0], output, MatchParams(copy=("n_visit",), keep=True), overwrite=True)
    with pytest.raises(ConfigError, match=r"n_visit holds integers \(int32\), which cannot be 0.5"):
        match(catalogue[0], external[0], output, MatchParams(copy=("n_visit",), mark=0.5), overwrite=True)
    assert len(fitsio.read(str(output))) == 500


def test_no_match_no_file(tmp_path, catalogue, external):
    output = tmp_path / "matched.fits"
    result = match(catalogue[0], external[0], output, MatchParams(tolerance=0.05), overwrite=False)
    assert (result.n_matched, result.n_written) == (0, 0)
    assert not output.exists()


def test_ldac_with_its_epochs(tmp_path, external, catalogue):
    rows = catalogue[1]
    path = tmp_path / "sexcat.fits"
    objects = np.zeros(500, [("NUMBER", "i4"), ("XWIN_WORLD", "f8"), ("YWIN_WORLD", "f8"), ("VIGNET", "f4", (5, 5))])
    for name in ("NUMBER", "XWIN_WORLD", "YWIN_WORLD"):
        objects[name] = rows[name]
    objects["VIGNET"] = rows["NUMBER"][:, None, None]
    epoch = np.zeros(500, [("NUMBER", "i4"), ("EXP_NAME", "S7"), ("CCD_N", "i4")])
    epoch["NUMBER"], epoch["EXP_NAME"] = rows["NUMBER"], b"2243881"
    with fitsio.FITS(str(path), "rw") as file:
        file.write(np.zeros(1, [("Field Header Card", "S80")]), extname="LDAC_IMHEAD")
        file.write(objects, extname="LDAC_OBJECTS")
        for k in range(2):
            epoch["CCD_N"] = rows["NUMBER"] % 40 + k
            file.write(epoch, extname=f"EPOCH_{k}")
    output = tmp_path / "matched.fits"
    match(path, external[0], output, MatchParams(copy=("z",), epochs=True), overwrite=False)
    with fitsio.FITS(str(output)) as file:
        assert [hdu.get_extname() for hdu in file][1:] == ["MATCHED", "EPOCH_0", "EPOCH_1"]
        found = file["MATCHED"].read()
        np.testing.assert_array_equal(found["NUMBER"], external[1])
        np.testing.assert_array_equal(found["VIGNET"][:, 2, 3], external[1])
        np.testing.assert_array_equal(file["EPOCH_1"].read()["CCD_N"], external[1] % 40 + 1)
    with pytest.raises(DataError, match=r"there is no table EPOCH_"):
        match(external[0], external[0], tmp_path / "x.fits", MatchParams(epochs=True), overwrite=False)
    with pytest.raises(ConfigError, match="which this is not"):
        match(catalogue[0], external[0], tmp_path / "x.fits", MatchParams(epochs=True), overwrite=False)
    assert not (tmp_path / "x.fits").exists()


def test_text_tables_and_tables_by_name(tmp_path, catalogue):
    rows = catalogue[1]
    text = tmp_path / "redshifts.csv"
    lines = [f"{row['ra']:.9f},{row['dec']:.9f},{row['NUMBER']},star" for row in rows[:10]]
    lines[3] = lines[3].replace(",4,star", ",,")
    text.write_text("# by hand\nlon,lat,z,kind\n" + "\n".join(lines) + "\n")
    output = tmp_path / "matched.fits"
    params = MatchParams(external_position="LON,lat", copy=("z", "kind"), hdu="catalogue")
    assert match(catalogue[0], text, output, params, overwrite=False).n_matched == 10
    found = fitsio.read(str(output))
    np.testing.assert_array_equal(found["z_ext"], [1, 2, 3, np.nan, 5, 6, 7, 8, 9, 10])
    with pytest.raises(DataError, match=r"no table nothing; tables: catalogue"):
        match(catalogue[0], text, output, MatchParams(hdu="nothing"), overwrite=True)
    with pytest.raises(DataError, match=r"a text has one table, not HDU 2"):
        match(catalogue[0], text, output, MatchParams(external_hdu=2), overwrite=True)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (MatchParams(copy=("zz",)), r"external\.fits: there is no column zz; the nearest is z; it has RA, DEC"),
        (MatchParams(suffix=""), "RA would become RA, which is there already; choose --suffix"),
        (MatchParams(position="ra"), "'ra' does not name two columns"),
        (MatchParams(position="ra,deck"), "there is no column deck; the nearest is dec"),
        (MatchParams(tolerance=0.0), "the tolerance must be greater than 0 arcsec"),
        (MatchParams(copy=("z",), suffix="", mark=0.0, external_hdu=3), "HDU 3 is no table; tables: 1"),
        (MatchParams(position="tile,dec"), "column tile does not hold one number a row"),
        (MatchParams(position="FLUX_AUTO,dec"), "column FLUX_AUTO is in adu; positions must be in degrees"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, catalogue, external, params, message):
    output = tmp_path / "matched.fits"
    with pytest.raises((ConfigError, DataError), match=message):
        match(catalogue[0], external[0], output, params, overwrite=False)
    assert not output.exists()


def test_files_that_are_there_or_not(tmp_path, catalogue, external):
    output = tmp_path / "matched.fits"
    output.write_text("mine")
    with pytest.raises(ConfigError, match="already there"):
        match(catalogue[0], external[0], output, MatchParams(), overwrite=False)
    with pytest.raises(MissingInputError, match=r"none\.fits: there is no such table"):
        match(catalogue[0], tmp_path / "none.fits", output, MatchParams(), overwrite=True)
    with pytest.raises(ConfigError, match=r"its name says no format; let it end with one of \.fits"):
        match(catalogue[0], external[0], tmp_path / "matched.dat", MatchParams(), overwrite=False)
    assert output.read_text() == "mine"
