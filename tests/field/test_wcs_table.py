"""The WCS store: what comes back maps pixels as the files do, whatever form it has; what is missing is named."""

import astropy.table
import fitsio
import numpy as np
import pytest
import tiny_survey

from shapempi.errors import ConfigError, DataError, MissingInputError
from shapempi.field.wcs_table import make_wcs_table
from shapempi.io.exposure import CFIS_KEYWORDS
from shapempi.io.fits import image_hdus
from shapempi.io.wcs_store import read_wcs_store, write_wcs_store
from shapempi.wcs import Wcs

FIRST, SECOND = tiny_survey.EXPOSURES
NY, NX = tiny_survey.CCD_SHAPE


@pytest.fixture
def files(tmp_path):
    """Return the image files of a survey of two exposures."""
    folder, _ = tiny_survey.write_survey(tmp_path)
    return {exposure: folder / f"{exposure}p.fits.fz" for exposure in (SECOND, FIRST)}


def table_of(files, tolerance=1e-3, n_ccd=4):
    options = {"n_ccd": n_ccd, "mag_zp": 30.0, "progress": lambda *step: None}
    return make_wcs_table(files, CFIS_KEYWORDS, tolerance=tolerance, **options)


@pytest.mark.parametrize("ending", [".fits", ".h5"])
def test_every_row_is_the_ccds_mapping(files, tmp_path, ending):
    table = table_of(files)
    assert table.problems == ()
    path = tmp_path / f"store{ending}"
    write_wcs_store(path, table.rows, table.columns, overwrite=False)
    rows = read_wcs_store(path)
    assert rows.dtype.names == table.rows.dtype.names
    assert [tuple(row) for row in rows[["EXPOSURE", "CCD"]]] == [(e, c) for e in (FIRST, SECOND) for c in range(4)]
    x, y = np.array([0.0, 30.0, 59.0]), np.array([69.0, 20.0, 0.0])
    for row in rows:
        hdu = image_hdus(files[int(row["EXPOSURE"])])[row["CCD"]]
        truth = Wcs(hdu.header)
        ra, dec = truth.pixel_to_sky(x, y)
        np.testing.assert_array_equal(Wcs(row["HEADER"].decode()).pixel_to_sky(x, y), (ra, dec))
        back = np.array(Wcs(row["SIP_HEADER"].decode()).sky_to_pixel(ra, dec))
        assert np.hypot(*(back - [x, y])).max() < 1e-3 and 0 < row["SIP_RESIDUAL"] < 1e-3
        assert (row["NAXIS1"], row["NAXIS2"], row["HDU"], row["ACTIVE"]) == (NX, NY, row["CCD"] + 1, 1)
        assert row["SECTION"].tolist() == [4, 56, 0, 66]
        corners = np.stack(truth.pixel_to_sky(np.array([3.5, 55.5, 55.5, 3.5]), np.array([-0.5, -0.5, 65.5, 65.5])))
        np.testing.assert_allclose([row["CORNER_RA"], row["CORNER_DEC"]], corners, rtol=0, atol=1e-12)
        assert (row["GAIN"], row["SATURATE"], row["MAG_ZP"]) == (1.6, 62000.0, 31.97)
        assert row["PIXEL_SCALE"] == pytest.approx(0.186, rel=1e-3)
        assert row["FILE"].decode() == str(files[int(row["EXPOSURE"])])


def test_the_keywords_are_numbers(files):
    rows = table_of(files, tolerance=None).rows
    assert "SIP_A" not in rows.dtype.names and "A" not in rows.dtype.names
    row = rows[2]
    cards = {card["name"]: card["value"] for card in tiny_survey.ccd_header(2)}
    assert row["CRPIX"].tolist() == [cards["CRPIX1"], cards["CRPIX2"]]
    assert row["CRVAL"].tolist() == [tiny_survey.RA, tiny_survey.DEC]
    np.testing.assert_allclose(row["CD"], [[cards[f"CD{i}_{j}"] for j in (1, 2)] for i in (1, 2)], rtol=1e-12)
    assert {i: v for i, v in enumerate(row["PV1"]) if np.isfinite(v)} == {0: 0.0, 1: 1.0, 4: 0.02, 7: 0.3}
    assert row["CTYPE1"] == b"RA---TPV"


def test_sip_numbers_are_those_of_its_header(files):
    for row in table_of(files).rows:
        cards = tiny_survey.fits.Header.fromstring(row["SIP_HEADER"].decode())
        assert row["SIP_ORDER"] == cards["A_ORDER"] >= 2
        for name in ("A", "B", "AP", "BP"):
            terms = row[f"SIP_{name}"]
            assert terms[2, 0] == cards[f"{name}_2_0"] and np.count_nonzero(terms) > 2
        assert row["SIP_CRVAL"].tolist() == [cards["CRVAL1"], cards["CRVAL2"]]


def test_astropy_reads_it(files, tmp_path):
    table = table_of(files)
    write_wcs_store(tmp_path / "store.fits", table.rows, table.columns, overwrite=False)
    read = astropy.table.Table.read(tmp_path / "store.fits")
    assert len(read) == 8 and str(read["RA"].unit) == "deg" and read["CD"].shape == (8, 2, 2)
    np.testing.assert_array_equal(read["CD"], table.rows["CD"])


def test_a_file_is_not_replaced(files, tmp_path):
    table = table_of(files, tolerance=None)
    path = tmp_path / "store.fits"
    path.write_text("mine")
    with pytest.raises(ConfigError, match="--overwrite"):
        write_wcs_store(path, table.rows, table.columns, overwrite=False)
    assert path.read_text() == "mine"
    with pytest.raises(DataError, match="not a WCS store"):
        read_wcs_store(path)
    write_wcs_store(path, table.rows, table.columns, overwrite=True)
    assert len(read_wcs_store(path)) == 8
    with pytest.raises(ConfigError, match=r"\.fits, \.h5"):
        write_wcs_store(tmp_path / "store.txt", table.rows, table.columns, overwrite=False)
    with pytest.raises(MissingInputError, match="shapempi headers"):
        read_wcs_store(tmp_path / "none.fits")


def test_what_is_missing_is_named(files, tmp_path):
    tiny_survey.truncate(files[FIRST], 0.45)
    files[SECOND].write_bytes(b"no mosaic")
    table = table_of(files | {1111111: tmp_path / "none.fits.fz"})
    assert len(table.rows) < 4
    said = "\n".join(table.problems)
    assert f"{FIRST}p.fits.fz" in said and f"the table has {len(table.rows)} of its 4 CCDs" in said
    assert f"{SECOND}p.fits.fz: not a FITS file" in said and "none.fits.fz: the file does not exist" in said


def test_a_ccd_without_wcs_or_with_a_wrong_keyword_costs_that_ccd(files):
    def change(ccd, key, value):
        planes = {n: tiny_survey.ccd_planes(FIRST, n)[0] for n in range(4)}
        tiny_survey.write_mosaic(files[FIRST], planes)
        with fitsio.FITS(str(files[FIRST]), "rw") as file:
            file[ccd + 1].write_key(key, value)

    change(2, "GAIN", "unknown")
    table = table_of({FIRST: files[FIRST]})
    assert table.rows["CCD"].tolist() == [0, 1, 3]
    assert "CCD 2243881-2" in table.problems[0] and "GAIN" in table.problems[0]


def test_a_conversion_that_misses_names_the_ccd(files):
    with pytest.raises(DataError, match=r"CCD 2243881-0: .*SIP of order \d misses(.|\n)*no table was written"):
        table_of(files, tolerance=1e-14)


def test_a_survey_without_zero_points(tmp_path, monkeypatch):
    cards = tiny_survey.ccd_header
    monkeypatch.setattr(
        tiny_survey,
        "ccd_header",
        lambda ccd, **more: [card for card in cards(ccd, **more) if card["name"] not in ("PHOTZP", "FSCALE", "GAIN")],
    )
    tiny_survey.write_exposure(tmp_path, FIRST)
    table = table_of({FIRST: tmp_path / f"{FIRST}p.fits.fz"}, tolerance=None)
    assert table.problems == () and np.isnan(table.rows["MAG_ZP"]).all() and np.isnan(table.rows["GAIN"]).all()
