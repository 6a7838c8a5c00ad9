"""`shapempi export --format ldac`: what a program that expects SExtractor's files finds, read by astropy."""

import shutil

import numpy as np
import pytest
from astropy.io import fits
from chain.program import verb
from chain.tiny import EXPOSURES, own_run

from shapempi.catalog import DETECTION_COLUMNS
from shapempi.export_ldac import epoch_tables
from shapempi.io.catalog import read_table
from shapempi.io.ldac import read_ldac
from shapempi.measure.epochs import EPOCH_DTYPE
from shapempi.run_view import RunView

NAME = "sexcat-241-293.fits"


@pytest.fixture(scope="module")
def run(reference, tmp_path_factory):
    """A copy of the run with its tiles exported."""
    folder = own_run(reference, tmp_path_factory.mktemp("export"))
    result = verb(folder, "export", "run", "--format", "ldac", "--output", "out", "--vignets")
    assert result.code == 0, result
    assert "out: 1 tiles, " in result.out
    return folder


def test_the_file_has_the_form_of_the_specification(run):
    catalogue = read_table(run / "run" / "catalogue.h5")
    epochs = read_table(run / "run" / "catalogue.h5", "epochs")
    with fits.open(run / "out" / NAME) as file:
        assert [hdu.name for hdu in file] == ["PRIMARY", "LDAC_IMHEAD", "LDAC_OBJECTS", "EPOCH_0", "EPOCH_1"]
        objects = file["LDAC_OBJECTS"].data
        header = fits.Header.fromstring(
            "".join(card.ljust(80) for card in np.atleast_1d(file["LDAC_IMHEAD"].data[0][0]))
        )
        tile = fits.getheader(run / "survey" / "tiles" / "CFIS.241.293.r.fits")
        assert [header[key] for key in ("CRVAL1", "CRPIX2", "CD1_1", "NAXIS1")] == [
            tile[key] for key in ("CRVAL1", "CRPIX2", "CD1_1", "NAXIS1")
        ]
        assert [int(str(card)[:60].split()[2][:7]) for card in header["HISTORY"]] == list(EXPOSURES)
        names = objects.columns.names
        assert {column.name for column in DETECTION_COLUMNS} | {"EXT_NUMBER", "N_EPOCH", "VIGNET"} == set(names)
        for name in ("NUMBER", "XWIN_IMAGE", "MAG_AUTO", "FLAGS", "N_EPOCH"):
            np.testing.assert_array_equal(objects[name], catalogue[name])
        assert objects["N_EPOCH"].dtype.newbyteorder("=") == np.int32
        assert objects.columns["FWHM_IMAGE"].unit == "pixel"
        hits = np.zeros(len(objects), int)
        for i, exposure in enumerate(EXPOSURES):
            epoch = file[f"EPOCH_{i}"]
            assert epoch.columns.names[:3] == ["NUMBER", "EXP_NAME", "CCD_N"]
            assert epoch.columns["EXP_NAME"].format == "7A"
            assert epoch.columns["CCD_N"].format == "J"
            np.testing.assert_array_equal(epoch.data["NUMBER"], objects["NUMBER"])
            assert set(epoch.data["EXP_NAME"]) == {str(exposure)}
            expected = np.full(len(objects), -1)
            mine = epochs[epochs["exposure"] == exposure]
            expected[np.searchsorted(objects["NUMBER"], mine["NUMBER"])] = mine["ccd"]
            np.testing.assert_array_equal(epoch.data["CCD_N"], expected)
            np.testing.assert_array_equal(epoch.data["EPOCH_FLAG"], np.where(expected < 0, 2, 0))
            hits += epoch.data["CCD_N"] >= 0
        np.testing.assert_array_equal(hits, objects["N_EPOCH"])


def test_vignets_hold_the_object_alone(run):
    view = RunView(run / "run")
    plane = view.reader.read(view.done["tile:241.293"], names=("segmentation",)).arrays["segmentation"]
    image = fits.getdata(run / "survey" / "tiles" / "CFIS.241.293.r.fits")
    weight = fits.getdata(run / "survey" / "tiles" / "CFIS.241.293.r.weight.fits.fz")
    rows = read_ldac(run / "out" / NAME)[1]
    assert rows["VIGNET"].shape == (len(rows), 51, 51)
    n_neighbour = 0
    for row in rows:
        xc, yc = (int(np.rint(row[f"{axis}_IMAGE"] - 1)) for axis in "XY")
        y, x = np.mgrid[yc - 25 : yc + 26, xc - 25 : xc + 26]
        inside = (y >= 0) & (y < 400) & (x >= 0) & (x < 400)
        y, x = y.clip(0, 399), x.clip(0, 399)
        foreign = (plane[y, x] != 0) & (plane[y, x] != row["NUMBER"])
        good = inside & ~foreign & (weight[y, x] > 0)
        np.testing.assert_array_equal(row["VIGNET"], np.where(good, image[y, x], np.float32(-1e30)))
        n_neighbour += foreign.any()
    assert n_neighbour > 10


def test_every_exposure_once_in_the_order_of_the_header():
    epochs = np.zeros(3, EPOCH_DTYPE)
    epochs["object"], epochs["exposure"], epochs["ccd"] = [0, 0, 2], [2, 1, 1], [7, 8, 9]
    tables = epoch_tables(
        np.array([11, 12, 13], np.int32), epochs, (2, 3, 1), absent=(3,), no_psf=np.array([False, True, False])
    )
    assert list(tables) == ["EPOCH_0", "EPOCH_1", "EPOCH_2"]
    assert [table["CCD_N"].tolist() for table in tables.values()] == [[7, -1, -1], [-1, -1, -1], [8, -1, 9]]
    assert [table["EPOCH_FLAG"].tolist() for table in tables.values()] == [[0, 2, 2], [4, 4, 4], [1, 2, 0]]
    assert [table["EXP_NAME"][0] for table in tables.values()] == [b"0000002", b"0000003", b"0000001"]


def test_what_is_wrong_is_said(run, tmp_path):
    before = (run / "out" / NAME).read_bytes()
    again = verb(run, "export", "run", "--format", "ldac", "--output", "out")
    assert again.code == 2
    assert f"{NAME} is already there" in again.err
    assert (run / "out" / NAME).read_bytes() == before
    assert (
        "--grammar is of no use with --format ldac"
        in verb(run, "export", "run", "--format", "ldac", "--grammar", "v2").err
    )
    assert (
        "--vignets is of no use with --format fits" in verb(run, "export", "run", "--vignets", "--output", "x.fits").err
    )
    assert verb(run, "export", tmp_path, "--format", "ldac").code == 3


def test_a_tile_that_is_not_done_is_named(run, tmp_path):
    shutil.copytree(run / "run", tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "parts")
    result = verb(tmp_path, "export", "run", "--format", "ldac")
    assert result.code == 1
    assert "not written: tile:241.293: not done yet; see `shapempi status run`" in result.err
    assert "0 tiles, 0 objects" in result.out
