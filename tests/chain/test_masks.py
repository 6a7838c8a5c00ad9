"""Masks in a run: their files, .mask files and catalogues, a CCD that is left out, a weight that does not fit."""

import re

import fitsio
import numpy as np
from astropy.io import fits
from chain.program import shapempi, verb
from chain.tiny import EXPOSURES, committed, failed, place, unpacked

from shapempi.flags import PixelFlag
from shapempi.io.catalog import read_table
from shapempi.io.exposure import ExposurePaths, read_ccd
from shapempi.io.parts import PartReader, scan
from shapempi.wcs import Wcs, tangent_offset

FIRST, SECOND = EXPOSURES
CHANGES = (
    ('star_catalogue = "survey/star_catalogue.fits"',
     'star_catalogue = "survey/star_catalogue.fits"\nngc_catalogue = "ngc.csv"'),
    ("border_width = 10\nspike_mag_limit = 15.5",
     'configuration = "exposures.mask"\noutput = ["flag", "regions"]\n[tile.mask]\noutput = ["flag"]'),
)  # fmt: skip
MASK = """[PROGRAM_PATH]
WW_PATH = ww
[BORDER_PARAMETERS]
BORDER_WIDTH = 10
[SPIKE_PARAMETERS]
SPIKE_MAG_LIM = 15.5
SPIKE_MASKMODEL_PATH = arrow.reg
SPIKE_FLAG_VALUE = 256
[MD_PARAMETERS]
MD_MAKE = True
MD_REMOVE = True
MD_THRESH_REMOVE = 0.5
"""
#: An arrow to the West, with a shorter arm to the North.
ARROW = "-3 -3\n90 -3\n90 3\n3 3\n3 40\n-3 40\n"


def arms(line, wcs):
    """Return the offsets (West, North) [arcsec] of the corners of an arrow from its star, the largest first."""
    corners = np.array(re.match(r"polygon\((.*?)\)", line).group(1).split(","), float).reshape(-1, 2) - 1.0
    (west,), (north,) = (v[:1] for v in wcs.pixel_to_sky(*corners[:1].T))
    u, v = tangent_offset(*wcs.pixel_to_sky(*corners.T), west, north)
    return u, v


def test_masks_of_a_run(reference, survey, tmp_path):
    folder = place(survey, tmp_path, *CHANGES)
    (folder / "exposures.mask").write_text(MASK)
    (folder / "arrow.reg").write_text(ARROW)
    exposures = folder / "survey" / "exposures"
    # A galaxy in the middle of the tile.
    tile = read_table(reference / "run" / "catalogue.h5")
    ra, dec = np.median(tile["ra"]), np.median(tile["dec"])
    (folder / "ngc.csv").write_text(f"ra,dec,major,minor,pa\n{ra},{dec},0.3,0.1,30\n")

    def mostly_zero(name, header, pixels):
        if name == "ccd21":
            pixels[:400] = 0

    def other_shape(name, header, pixels):
        if name == "ccd14":
            pixels.resize((pixels.shape[0] - 1, pixels.shape[1]), refcheck=False)

    unpacked(exposures / f"{FIRST}p.fits.fz", mostly_zero)
    unpacked(exposures / f"{SECOND}p.weight.fits.fz", other_shape)
    result = shapempi(folder, "run", "chain.toml", n_rank=3)
    assert result.code == 1, result
    assert "exposure.mask: exposures.mask: not used here: WW_PATH" in result.err
    ((uid, (error, reason)),) = failed(folder).items()
    assert (uid, error) == (f"ccd:{SECOND}-14", "DataError")
    assert f"{SECOND}p.weight.fits" in reason and "its shape (605, 496) differs from (606, 496)" in reason
    assert "has no PSF model" in result.err and "pixels are missing (limit 50%" in result.err

    masks = folder / "run" / "masks"
    names = [f"pipeline_flag-{FIRST}-22", f"pipeline_flag-{SECOND}-13"]
    assert sorted(path.name for path in masks.iterdir()) == sorted(
        [f"{name}.{ending}" for name in names for ending in ("fits", "reg")]
        + ["pipeline_flag-241-293.fits", f"removed-{FIRST}-21.txt"]
    )
    assert f"{FIRST}p.fits, HDU 22 (ccd21): left out" in (masks / f"removed-{FIRST}-21.txt").read_text()
    reader, places = PartReader(folder / "run"), scan(folder / "run").locations
    for exposure, ccd in ((FIRST, 22), (SECOND, 13)):
        name = masks / f"pipeline_flag-{exposure}-{ccd}"
        plane, header = fits.getdata(name.with_suffix(".fits")), fits.getheader(name.with_suffix(".fits"))
        location = next(where for uid, where in places.items() if uid.startswith(f"ccd:{exposure}-{ccd}"))
        np.testing.assert_array_equal(plane, reader.read(location, names=("mask",)).arrays["mask"])
        assert header["FLAG6"] == "SPIKE" and header["FBIT6"] == 256
        path = exposures / f"{exposure}p.fits"
        image = read_ccd(ExposurePaths(path if path.is_file() else path.with_suffix(".fits.fz"), None), ccd)
        lines = [line for line in name.with_suffix(".reg").read_text().splitlines() if "tag={spike}" in line]
        assert len(lines) == header["NSPIKE"] > 0
        for line in lines:
            # Also on CCD 13, which is read out upside down, the long arm points to the West and the other to the North.
            u, v = arms(line, image.wcs)
            assert u.max() > 2 * v.max() > 0 and u.argmax() in (1, 2) and v.argmax() in (4, 5)
            assert abs(u.min()) < 0.02 * u.max() and abs(v.min()) < 0.02 * u.max()
            assert abs(v[5] - v[4]) < 0.01 * u.max() and abs(u[1] - u[2]) < 0.01 * u.max()
        jacobian = image.wcs.jacobian(np.array([240.0]), np.array([300.0]))[0]
        assert np.sign(jacobian[0]) == (1 if ccd == 22 else -1)
    plane, header = (
        fits.getdata(masks / "pipeline_flag-241-293.fits"),
        fits.getheader(masks / "pipeline_flag-241-293.fits"),
    )
    assert header["NNGC"] == 1 and not (plane & int(PixelFlag.BORDER)).any()
    x, y = Wcs(header.tostring()).sky_to_pixel(np.array([ra]), np.array([dec]))
    assert plane[int(np.rint(y[0])), int(np.rint(x[0]))] & int(PixelFlag.NGC)
    assert np.count_nonzero(plane & int(PixelFlag.NGC)) > 100

    # What is written decides nothing; a template does, like a key.
    before = committed(folder)
    text = (folder / "chain.toml").read_text()
    (folder / "chain.toml").write_text(
        text.replace('output = ["flag", "regions"]', "").replace('output = ["flag"]', "")
    )
    assert shapempi(folder, "run", "chain.toml").code == 1
    (folder / "arrow.reg").write_text(ARROW.replace("90", "91"))
    result = shapempi(folder, "run", "chain.toml")
    assert result.code == 2 and "another configuration" in result.err
    assert committed(folder) == before


def test_files_of_masks_that_are_not_there_stop_the_start(survey, tmp_path):
    folder = place(survey, tmp_path, *CHANGES)
    (folder / "exposures.mask").write_text(MASK)
    for make, code, complaint in (
        (lambda: None, 2, "arrow.reg: the template of exposure.mask.spike_template cannot be read: No such file"),
        (lambda: (folder / "arrow.reg").write_text("1 2\n3 4\n"), 2, "arrow.reg: a polygon has three vertices or more"),
        (
            lambda: (folder / "arrow.reg").write_text(ARROW),
            3,
            "ngc.csv: the catalogue of extended objects does not exist",
        ),
    ):
        make()
        result = shapempi(folder, "run", "chain.toml")
        assert result.code == code, result
        assert complaint in result.err
        assert not (folder / "run").exists()
    result = verb(folder, "plan", "chain.toml")
    assert result.code == 3 and "ngc.csv: the catalogue of extended objects does not exist" in result.err
    stars = folder / "survey" / "star_catalogue.fits"
    stars.unlink()
    fitsio.write(stars, np.zeros(2, [("RA", "f8"), ("DEC", "f8"), ("V", "f4")]))
    (folder / "ngc.csv").write_text("ra,dec,major\n")
    result = shapempi(folder, "run", "chain.toml")
    assert result.code == 1
    assert (
        "star_catalogue.fits: no column for MAG among RA, DEC, V; columns RA, DEC [deg] and MAG are needed"
        in result.err
    )
