"""How source-extractor, with PSFEx's model, classes objects; and how well a value tells two kinds apart."""

import subprocess
import tempfile
from pathlib import Path

import fitsio
import numpy as np
from astropy.io import fits

from shapempi.io.ldac import read_ldac

COLUMNS = """NUMBER X_IMAGE Y_IMAGE XWIN_WORLD YWIN_WORLD FLUX_AUTO FLUXERR_AUTO FLUX_RADIUS MAG_AUTO FLAGS
ELONGATION SNR_WIN FLUX_APER(1) FLUXERR_APER(1)"""
SETTINGS = {
    "CATALOG_TYPE": "FITS_LDAC",
    "DETECT_THRESH": 1.5,
    "ANALYSIS_THRESH": 1.5,
    "DETECT_MINAREA": 5,
    "DEBLEND_MINCONT": 0.0005,
    "FILTER": "N",
    "BACK_TYPE": "MANUAL",
    "BACK_VALUE": 0,
    "WEIGHT_TYPE": "MAP_WEIGHT",
    "MAG_ZEROPOINT": 30,
    "PIXEL_SCALE": 0,
    "SEEING_FWHM": 0.7,
    "SATUR_KEY": "NONE",
    "SATUR_LEVEL": 1e9,
    "PHOT_APERTURES": 10,
    "VERBOSE_TYPE": "QUIET",
}


def detect(folder, name, columns, **settings):
    """Run source-extractor on the tile in a folder; returns its table."""
    (folder / f"{name}.param").write_text("\n".join(columns))
    (folder / "default.sex").write_text("")
    nnw = next(Path("/usr/share").rglob("default.nnw"))
    arguments = {"CATALOG_NAME": f"{name}.cat", "PARAMETERS_NAME": f"{name}.param", "WEIGHT_IMAGE": "weight.fits"}
    arguments |= {"STARNNW_NAME": nnw} | SETTINGS | settings
    words = [text for key, value in arguments.items() for text in (f"-{key}", str(value))]
    subprocess.run(["source-extractor", "image.fits", "-c", "default.sex", *words], cwd=folder, check=True)
    return read_ldac(folder / f"{name}.cat")[1]


def source_extractor(image_path, weight_path, degree=2, **settings):
    """Return what source-extractor says of an image with PSFEx's model of it, which varies by this degree."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path, target in ((image_path, "image.fits"), (weight_path, "weight.fits")):
            with fits.open(path) as file:
                hdu = next(hdu for hdu in file if hdu.data is not None)
                fits.PrimaryHDU(hdu.data, hdu.header).writeto(folder / target)
        found = detect(folder, "stars", [*COLUMNS.split(), "VIGNET(35,35)"], **settings)
        words = f"-PSF_SIZE 35,35 -PSFVAR_DEGREES {degree} -SAMPLE_MINSN 50 -BASIS_TYPE PIXEL_AUTO -CHECKPLOT_TYPE NONE"
        words += " -CHECKIMAGE_TYPE NONE -VERBOSE_TYPE QUIET -WRITE_XML N"
        (folder / "psfex.conf").write_text("")
        subprocess.run(["psfex", "stars.cat", "-c", "psfex.conf", *words.split()], cwd=folder, check=True)
        n_star = fitsio.read_header(folder / "stars.psf", 1)["ACCEPTED"]
        print(f"source-extractor: {len(found)} objects, psfex: {n_star} stars")
        more = ["SPREAD_MODEL", "SPREADERR_MODEL", "CLASS_STAR"]
        return detect(folder, "model", [*COLUMNS.split(), *more], PSF_NAME="stars.psf", **settings)


def area_under(star, galaxy):
    """Return the probability that a galaxy has a larger value than a star."""
    values = np.concatenate([star, galaxy])
    rank = np.argsort(np.argsort(values, kind="stable"), kind="stable") + 1.0
    return (rank[len(star) :].sum() - len(galaxy) * (len(galaxy) + 1) / 2) / (len(star) * len(galaxy))
