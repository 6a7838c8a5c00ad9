"""What code that reads the reference system's files does, by the behaviour specification alone, sections 1 and 3 to 12.

Nothing of shapempi is imported here.  Pickles are read: tests have just written these files themselves.
"""

from __future__ import annotations

import pickle
import sqlite3
from contextlib import closing

import numpy as np
from astropy.io import fits

KINDS = ("1M", "1P", "2M", "2P", "NOSHEAR")

#: Columns of an HDU of ngmix (section 11.1), with the kinds of their types.
NGMIX = {
    **dict.fromkeys(("id", "n_epoch_model", "moments_fail", "ntry_fit", "flags", "mcal_flags"), "i"),
    **{f"{name}{error}_psfo_ngmix": "f" for name in ("g1", "g2", "T") for error in ("", "_err")},
    **{f"{name}{error}": "f" for name in ("g1", "g2", "T", "flux", "mag") for error in ("", "_err")},
    **dict.fromkeys(("Tpsf", "g1_psf", "g2_psf", "s2n"), "f"),
}

#: Columns of validation_psf (section 8).
VALIDATION = (
    *(f"{name}_PSF_HSM" for name in ("E1", "E2", "SIGMA", "FLAG")),
    *(f"{name}_STAR_HSM" for name in ("E1", "E2", "SIGMA", "FLAG")),
    *("NUMBER", "X", "Y", "RA", "DEC", "MAG", "SNR", "ACCEPTED"),
)

#: Columns of the detections (section 5.2).
SEXTRACTOR = (
    "NUMBER EXT_NUMBER FLUX_AUTO FLUXERR_AUTO MAG_AUTO MAGERR_AUTO FLUX_WIN FLUXERR_WIN MAG_WIN MAGERR_WIN FLUX_APER "
    "FLUXERR_APER FLUX_RADIUS SNR_WIN BACKGROUND THRESHOLD X_IMAGE Y_IMAGE X_WORLD Y_WORLD X2_IMAGE Y2_IMAGE XY_IMAGE "
    "ERRX2_IMAGE ERRY2_IMAGE ERRXY_IMAGE XWIN_IMAGE YWIN_IMAGE XWIN_WORLD YWIN_WORLD X2WIN_IMAGE Y2WIN_IMAGE "
    "XYWIN_IMAGE ERRX2WIN_IMAGE ERRY2WIN_IMAGE ERRXYWIN_IMAGE MU_THRESHOLD MU_MAX FLAGS FLAGS_WIN IMAFLAGS_ISO "
    "FWHM_IMAGE FWHM_WORLD ELONGATION ELLIPTICITY"
).split()

#: Columns of final_cat by type of image, and their values where there is no shape (section 12.1).
FINAL = {
    "NGMIX_ELL": -10.0,
    "NGMIX_ELL_ERR": -10.0,
    "NGMIX_T": 0.0,
    "NGMIX_T_ERR": 1e30,
    "NGMIX_Tpsf": 0.0,
    "NGMIX_SNR": 0.0,
    "NGMIX_FLUX": 0.0,
    "NGMIX_FLUX_ERR": -1.0,
    "NGMIX_MAG": 0.0,
    "NGMIX_MAG_ERR": -1.0,
    "NGMIX_ELL_PSFo": -10.0,
    "NGMIX_T_PSFo": 0.0,
}


def column(rows):
    """Return a table in native byte order, as copies by name."""
    return {name: np.array(rows[name]) for name in rows.dtype.names}


class Tree:
    """The output tree (section 1.4)."""

    def __init__(self, root):
        self.root = root

    def path(self, module, name):
        return self.root / module / "output" / name

    def image(self, module, name):
        """Return pixels and header of a file with one image in its primary HDU."""
        with fits.open(self.path(module, name)) as file:
            assert len(file) == 1
            return np.array(file[0].data), file[0].header

    def ldac(self, module, name):
        """Return header and objects of a FITS_LDAC file, and its further tables."""
        with fits.open(self.path(module, name)) as file:
            assert [hdu.name for hdu in file][:3] == ["PRIMARY", "LDAC_IMHEAD", "LDAC_OBJECTS"]
            assert len(file["LDAC_IMHEAD"].data) == 1
            cards = np.atleast_1d(file["LDAC_IMHEAD"].data[0][0])
            header = fits.Header.fromstring("".join(str(card).ljust(80) for card in cards))
            more = {hdu.name: column(hdu.data) for hdu in file[3:]}
            return header, column(file["LDAC_OBJECTS"].data), more

    def store(self, module, name):
        """Return a store as a dictionary, in the order in which sqlitedict goes through it."""
        path = self.path(module, name)
        assert path.is_file()
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            (layout,) = connection.execute("SELECT sql FROM sqlite_master WHERE type = 'table'").fetchall()
            assert layout == ('CREATE TABLE "unnamed" (key TEXT PRIMARY KEY, value BLOB)',)
            rows = connection.execute('SELECT key, value FROM "unnamed" ORDER BY rowid').fetchall()
        return {key: pickle.loads(value) for key, value in rows}

    def headers(self, exposure):
        """Return the headers of an exposure."""
        return np.load(self.path("split_exp_runner", f"headers-{exposure}.npy"), allow_pickle=True)

    def psf(self, exposure, ccd):
        """Return basis images and header of a PSF model."""
        with fits.open(self.path("psfex_runner", f"star_split_ratio_80-{exposure}-{ccd}.psf")) as file:
            table = file[1]
            assert table.name == "PSF_DATA"
            assert len(table.data) == 1
            return np.array(table.data["PSF_MASK"][0], dtype=float), table.header

    def table(self, module, name):
        """Return the tables of a file by the names of their HDUs, from HDU 1."""
        with fits.open(self.path(module, name)) as file:
            return {hdu.name: column(hdu.data) for hdu in file[1:]}


def psf_stamp(basis, header, x, y):
    """Draw a PSF model at 1-based positions (section 7.3): the polynomial of the basis images is the stamp."""
    assert header["POLNAXIS"] == 2
    assert header["PSF_SAMP"] == 1
    degree = header["POLDEG1"]
    u = (x - header["POLZERO1"]) / header["POLSCAL1"]
    v = (y - header["POLZERO2"]) / header["POLSCAL2"]
    terms = [u**p * v**q for q in range(degree + 1) for p in range(degree + 1 - q)]
    assert len(terms) == len(basis) == header["PSFAXIS3"]
    return sum(term * image for term, image in zip(terms, basis, strict=True))
