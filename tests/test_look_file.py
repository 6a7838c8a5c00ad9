"""Pictures of files without a run: what is read, where it is drawn, and what is refused."""

import numpy as np
import pytest
from astropy.io import fits
from tiny_survey import CCD_SHAPE, TILE, ccd_planes, write_survey

from shapempi import look_file as module
from shapempi.errors import ConfigError, DataError, MissingInputError
from shapempi.io.exposure import ccd_index
from shapempi.io.fits import image_hdus, read_section
from shapempi.io.ldac import write_ldac
from shapempi.look import View
from shapempi.look_file import FileSources, look_file
from shapempi.report.look_palette import EXTERNAL
from shapempi.wcs import Wcs

EXPOSURE = 2243881


@pytest.fixture
def drawn(monkeypatch):
    """What the drawing function got."""
    seen = []
    draw = module.draw_image
    monkeypatch.setattr(module, "draw_image", lambda sheet, path: (seen.append(sheet), draw(sheet, path)))
    return seen


@pytest.fixture
def exposure(tmp_path):
    """The three files of an exposure by their roles."""
    folder, _ = write_survey(tmp_path)
    roles = {"image": "", "weight": ".weight", "flag": ".flag"}
    return {role: folder / f"{EXPOSURE}p{part}.fits.fz" for role, part in roles.items()}


def write_mask(path, plane, **cards):
    fits.PrimaryHDU(plane, fits.Header(cards)).writeto(path)
    return path


def test_a_ccd_of_a_mosaic_with_all_its_flags(exposure, tmp_path, drawn):
    plane = np.zeros(CCD_SHAPE, np.int16)
    plane[:, :6], plane[30:40, 20:30], plane[10, 20] = 4, 64, 64
    mask = write_mask(tmp_path / "mask.fits", plane, FLAG1="HALO", FBIT1=64, FLAG2="BORDER", FBIT2=4)
    result = look_file(FileSources(**exposure, mask=mask, ccd=2), tmp_path / "a.png", View())
    (sheet,) = drawn
    image, weight, flag = ccd_planes(EXPOSURE, 2)
    np.testing.assert_array_equal(sheet.thumbnail.image, image)
    assert {bit: part * image.size for bit, part in sheet.thumbnail.fractions.items()} == pytest.approx(
        {1: np.count_nonzero(weight <= 0), 4: 6 * 70, 64: 101, 8 << EXTERNAL: np.count_nonzero(flag & 8)}
    )
    assert sheet.thumbnail.bits[8 << EXTERNAL][10, 20] == sheet.thumbnail.bits[1][10, 20] == 1
    assert "HALO 2.4 %" in result.lines[1]
    assert "flag 8 0.0238 %" in result.lines[1]
    assert sheet.title[0] == f"{EXPOSURE}p.fits.fz, HDU 3 (CCD02)"
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_a_section_by_the_sky_is_the_one_by_pixels(exposure, tmp_path, drawn):
    hdu = ccd_index(image_hdus(exposure["image"]))[1]
    ra, dec = (float(value[0]) for value in Wcs(hdu.header).pixel_to_sky(np.array([29.0]), np.array([39.0])))
    look_file(FileSources(exposure["image"], ccd=1), tmp_path / "a.png", View(sky=(ra, dec, 20 * 0.186)))
    look_file(FileSources(exposure["image"], ccd=1), tmp_path / "b.png", View(box=(30, 40, 20)))
    assert drawn[0].thumbnail.box == drawn[1].thumbnail.box == (29, 50, 19, 40)
    np.testing.assert_array_equal(drawn[1].thumbnail.image, read_section(hdu, (29, 50, 19, 40)))


def catalogue(path, **columns):
    """Write a catalogue of two objects."""
    table = np.zeros(2, [(name, "f8") for name in columns])
    for name, values in columns.items():
        table[name] = values
    write_ldac(path, table, "", overwrite=False)
    return path


def test_detections_are_ellipses_and_stars_are_markers(tmp_path, drawn):
    write_survey(tmp_path)
    tile = tmp_path / "tiles" / f"CFIS.{TILE}.r.fits"
    where = {"X_IMAGE": [11.0, 50.0], "Y_IMAGE": [21.0, 60.0]}
    kron = catalogue(
        tmp_path / "a.fits", **where, A_IMAGE=[3, 4], B_IMAGE=[2, 1], THETA_IMAGE=[10, 70], KRON_RADIUS=[3.5, 4]
    )
    # The same ellipse by its moments: a^2 along 30 degrees.
    c, s = np.cos(np.radians(30)), np.sin(np.radians(30))
    moments = {"X2_IMAGE": 9 * c * c + 4 * s * s, "Y2_IMAGE": 9 * s * s + 4 * c * c, "XY_IMAGE": 5 * s * c}
    rms = catalogue(tmp_path / "b.fits", **where, **moments)
    stars = catalogue(tmp_path / "c.fits", XWIN_IMAGE=[31, 32], YWIN_IMAGE=[1, 2])
    result = look_file(FileSources(tile, catalogue=kron, stars=stars), tmp_path / "a.png", View())
    look_file(FileSources(tile, catalogue=rms), tmp_path / "b.png", View())
    (first,), (second,) = (sheet.ellipses for sheet in drawn)
    assert (first.x.tolist(), first.y.tolist()) == ([10, 49], [20, 59])
    assert (first.a.tolist(), first.b.tolist(), first.theta.tolist()) == ([10.5, 16], [7, 4], [10, 70])
    np.testing.assert_allclose([second.a[0], second.b[0], second.theta[0]], [9, 6, 30])
    assert drawn[0].markers[0].x.tolist() == [30, 31]
    assert "2 detections (Kron ellipses)" in result.lines
    assert "2 selected stars" in result.lines


def test_what_cannot_be_shown_is_refused(exposure, tmp_path):
    out, image = tmp_path / "a.png", exposure["image"]
    nowhere = write_mask(tmp_path / "nowhere.fits", np.zeros((20, 20), np.float32))
    small = write_mask(tmp_path / "small.fits", np.zeros((5, 5), np.int16))
    real = write_mask(tmp_path / "real.fits", np.zeros(CCD_SHAPE, np.float32))
    wrong = write_mask(tmp_path / "wrong.fits", np.zeros(CCD_SHAPE, np.int16), FLAG1="HALO", FBIT1="two")
    bare = catalogue(tmp_path / "bare.fits", MAG=[1, 2])
    cases = [
        (FileSources(image), View(), ConfigError, "4 images; choose with --hdu or --ccd: 1 .CCD00., 2"),
        (FileSources(image, ccd=9), View(), ConfigError, "--ccd 9 is no image of it; there are 0 .CCD00., 1"),
        (FileSources(image, hdu=0), View(), ConfigError, "--hdu 0 is no image"),
        (FileSources(tmp_path / "no.fits"), View(), MissingInputError, "no.fits: the file does not exist"),
        (FileSources(nowhere), View(sky=(1, 2, 3)), ConfigError, "the image has no WCS for --sky 1 2 3"),
        (FileSources(image, ccd=1, mask=small), View(), DataError, "differs from"),
        (FileSources(image, ccd=1, mask=real), View(), DataError, "flags are integer bits"),
        (FileSources(image, ccd=1, mask=wrong), View(), DataError, "FBIT1 is 'two', not the bits of HALO"),
        (FileSources(image, ccd=1, catalogue=bare), View(), DataError, "no columns X_IMAGE and Y_IMAGE"),
    ]
    for sources, view, error, text in cases:
        with pytest.raises(error, match=text):
            look_file(sources, out, view)
    assert not out.exists()


def test_an_image_without_a_wcs_or_a_value_is_shown(tmp_path, drawn):
    blank = write_mask(tmp_path / "blank.fits", np.full((20, 30), np.nan, np.float32))
    look_file(FileSources(blank), tmp_path / "a.png", View())
    assert drawn[0].wcs is None
    assert np.isnan(drawn[0].thumbnail.image).all()
