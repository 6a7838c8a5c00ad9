"""A detection table: SExtractor's columns (declared in `shapempi.catalog`) and the bits of its flags."""

from __future__ import annotations

import numpy as np

from shapempi.catalog import DETECTION_COLUMNS
from shapempi.wcs import Wcs

__all__ = ["DETECTION_DTYPE", "SexFlag", "fill_magnitudes", "fill_sky", "magnitude"]


class SexFlag:
    """Bits of the FLAGS column, with SExtractor's values and meanings."""

    #: Neighbours or unusable pixels fill more than 10 % of the photometric ellipse: photometry is biased.
    CROWDED = 1
    #: Separated from a neighbour by deblending.
    BLENDED = 2
    #: At least one pixel is saturated.
    SATURATED = 4
    #: The isophote touches the side of the image.
    TRUNCATED = 8
    #: An aperture reaches over the side of the image: the Kron ellipse, the one it was measured in, circle or window.
    APERTURE = 16
    #: The deblending ran over its limit of sub-objects.
    DEBLEND_OVERFLOW = 64


#: One row of a detection table: the catalogue's columns, in double precision.
DETECTION_DTYPE = np.dtype(
    [(column.name, "f8" if column.dtype.startswith("f") else column.dtype) for column in DETECTION_COLUMNS]
)


def magnitude(flux: np.ndarray, zero_point: np.ndarray | float) -> np.ndarray:
    """Return zero_point - 2.5 log10(flux); NaN where the flux is not positive."""
    return zero_point - 2.5 * np.log10(np.where(flux > 0, flux, np.nan))


def fill_magnitudes(table: np.ndarray, mag_zp: float) -> None:
    """Fill what follows from fluxes and their errors: magnitudes, their errors, SNR_WIN; NaN where there is none.

    Parameters
    ----------
    table : ndarray of DETECTION_DTYPE [n]
        Changed in place.
    mag_zp : float
        Magnitude of 1 ADU.
    """
    for kind in ("AUTO", "WIN"):
        flux, error = table[f"FLUX_{kind}"], table[f"FLUXERR_{kind}"]
        table[f"MAG_{kind}"] = magnitude(flux, mag_zp)
        table[f"MAGERR_{kind}"] = 2.5 / np.log(10) * error / np.where(flux > 0, flux, np.nan)
    error = table["FLUXERR_WIN"]
    table["SNR_WIN"] = table["FLUX_WIN"] / np.where(error > 0, error, np.nan)


def fill_sky(table: np.ndarray, wcs: Wcs, mag_zp: float, peak: np.ndarray, threshold: np.ndarray) -> None:
    """Fill sky positions, and what needs the pixel scale at the object: FWHM_WORLD and surface brightness.

    Parameters
    ----------
    table : ndarray of DETECTION_DTYPE [n]
        Changed in place.
    wcs : Wcs
        The image's.
    mag_zp : float
        Magnitude of 1 ADU.
    peak, threshold : ndarray of float64 [n]
        Brightest pixel of each object, and its threshold in the image in which it was measured [ADU].
    """
    x, y = table["X_IMAGE"] - 1, table["Y_IMAGE"] - 1
    table["X_WORLD"], table["Y_WORLD"] = wcs.pixel_to_sky(x, y)
    table["XWIN_WORLD"], table["YWIN_WORLD"] = wcs.pixel_to_sky(table["XWIN_IMAGE"] - 1, table["YWIN_IMAGE"] - 1)
    dudx, dudy, dvdx, dvdy = wcs.jacobian(x, y).T
    pixel_area = np.abs(dudx * dvdy - dudy * dvdx)
    table["FWHM_WORLD"] = table["FWHM_IMAGE"] * np.sqrt(pixel_area) / 3600.0
    table["MU_MAX"] = magnitude(peak / pixel_area, mag_zp)
    table["MU_THRESHOLD"] = magnitude(threshold / pixel_area, mag_zp)
