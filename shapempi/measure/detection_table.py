"""The columns of a detection table: SExtractor's names, units and definitions, declared once."""

from __future__ import annotations

import numpy as np

__all__ = ["DETECTION_COLUMNS", "DETECTION_DTYPE", "SexFlag", "magnitude"]


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


#: (name, dtype, unit, meaning) of every column, in order.
DETECTION_COLUMNS: tuple[tuple[str, str, str, str], ...] = (
    ("NUMBER", "i4", "", "number of the object, 1-based; its value in the segmentation map"),
    ("X_IMAGE", "f8", "pixel", "isophotal barycentre along x, 1-based"),
    ("Y_IMAGE", "f8", "pixel", "isophotal barycentre along y, 1-based"),
    ("X_WORLD", "f8", "deg", "right ascension of the isophotal barycentre"),
    ("Y_WORLD", "f8", "deg", "declination of the isophotal barycentre"),
    ("X2_IMAGE", "f8", "pixel2", "isophotal variance along x"),
    ("Y2_IMAGE", "f8", "pixel2", "isophotal variance along y"),
    ("XY_IMAGE", "f8", "pixel2", "isophotal covariance"),
    ("ERRX2_IMAGE", "f8", "pixel2", "variance of X_IMAGE"),
    ("ERRY2_IMAGE", "f8", "pixel2", "variance of Y_IMAGE"),
    ("ERRXY_IMAGE", "f8", "pixel2", "covariance of X_IMAGE and Y_IMAGE"),
    ("A_IMAGE", "f8", "pixel", "rms of the isophotal profile along its major axis"),
    ("B_IMAGE", "f8", "pixel", "rms of the isophotal profile along its minor axis"),
    ("THETA_IMAGE", "f8", "deg", "angle of the major axis from +x to +y"),
    ("ELONGATION", "f8", "", "A_IMAGE / B_IMAGE"),
    ("ELLIPTICITY", "f8", "", "1 - B_IMAGE / A_IMAGE"),
    ("ISOAREA_IMAGE", "i4", "pixel", "number of the object's pixels above the threshold in the unfiltered image"),
    ("ISOAREAF_IMAGE", "i4", "pixel", "number of the object's pixels, those above the threshold in the filtered image"),
    ("XWIN_IMAGE", "f8", "pixel", "windowed position along x, 1-based"),
    ("YWIN_IMAGE", "f8", "pixel", "windowed position along y, 1-based"),
    ("XWIN_WORLD", "f8", "deg", "right ascension of the windowed position"),
    ("YWIN_WORLD", "f8", "deg", "declination of the windowed position"),
    ("X2WIN_IMAGE", "f8", "pixel2", "windowed variance along x"),
    ("Y2WIN_IMAGE", "f8", "pixel2", "windowed variance along y"),
    ("XYWIN_IMAGE", "f8", "pixel2", "windowed covariance"),
    ("ERRX2WIN_IMAGE", "f8", "pixel2", "variance of XWIN_IMAGE"),
    ("ERRY2WIN_IMAGE", "f8", "pixel2", "variance of YWIN_IMAGE"),
    ("ERRXYWIN_IMAGE", "f8", "pixel2", "covariance of XWIN_IMAGE and YWIN_IMAGE"),
    ("FLAGS_WIN", "i2", "", "1 singular, 2 negative variance, 4 negative flux, 8 ran away; then isophotal values"),
    ("FLUX_WIN", "f8", "ADU", "flux weighted by the Gaussian window"),
    ("FLUXERR_WIN", "f8", "ADU", "rms error of FLUX_WIN"),
    ("MAG_WIN", "f8", "mag", "magnitude of FLUX_WIN; NaN where that is not positive"),
    ("MAGERR_WIN", "f8", "mag", "rms error of MAG_WIN"),
    ("SNR_WIN", "f8", "", "FLUX_WIN / FLUXERR_WIN"),
    ("FLUX_AUTO", "f8", "ADU", "flux in the Kron ellipse"),
    ("FLUXERR_AUTO", "f8", "ADU", "rms error of FLUX_AUTO"),
    ("MAG_AUTO", "f8", "mag", "magnitude of FLUX_AUTO; NaN where that is not positive"),
    ("MAGERR_AUTO", "f8", "mag", "rms error of MAG_AUTO"),
    ("KRON_RADIUS", "f8", "", "semi-axes of the Kron ellipse in units of A_IMAGE and B_IMAGE"),
    ("FLUX_APER", "f8", "ADU", "flux in the circular aperture"),
    ("FLUXERR_APER", "f8", "ADU", "rms error of FLUX_APER"),
    ("FLUX_RADIUS", "f8", "pixel", "radius that holds light_fraction of FLUX_AUTO; NaN where that is not positive"),
    ("FWHM_IMAGE", "f8", "pixel", "full width at half maximum of a Gaussian core"),
    ("FWHM_WORLD", "f8", "deg", "FWHM_IMAGE on the sky"),
    ("BACKGROUND", "f8", "ADU", "background at the barycentre"),
    ("THRESHOLD", "f8", "ADU", "detection threshold above the background"),
    ("MU_THRESHOLD", "f8", "mag/arcsec2", "surface brightness of THRESHOLD"),
    ("MU_MAX", "f8", "mag/arcsec2", "surface brightness of the brightest pixel"),
    ("FLAGS", "i2", "", "extraction flags, see SexFlag"),
    ("IMAFLAGS_ISO", "i4", "", "OR of the mask plane over the pixels of the object"),
)

#: One row of a detection table.
DETECTION_DTYPE = np.dtype([(name, dtype) for name, dtype, _, _ in DETECTION_COLUMNS])


def magnitude(flux: np.ndarray, zero_point: np.ndarray | float) -> np.ndarray:
    """Return zero_point - 2.5 log10(flux); NaN where the flux is not positive."""
    return zero_point - 2.5 * np.log10(np.where(flux > 0, flux, np.nan))
