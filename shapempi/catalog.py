"""The columns of the catalogue: name, dtype, unit and meaning, declared once.

Everything that writes, describes or translates a catalogue reads these declarations: the rows of a block, the
HDF5 and FITS files, the generated page `docs/columns.md`.  Conventions:

* Columns with SExtractor's names have SExtractor's definitions (pixel positions are 1-based).
* g1, g2 are reduced shears, g = (a - b)/(a + b), in the frame u West, v North.
* T is 2 sigma^2 of the Gaussian model before the PSF, in arcsec^2.  r50 is the half-light radius of the same model.
* A float that could not be measured is NaN, and `shape_flags` says why.

Two older grammars are declared beside the native names: `legacy` (`NGMIX_ELL_1P`, a vector of two) and `v2`
(`NGMIX_G1_1P`), with the values that those write for "no result".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

__all__ = [
    "COLUMNS",
    "DETECTION_COLUMNS",
    "EPOCH_COLUMNS",
    "PSF_STATUS_COLUMNS",
    "SHEAR_TYPES",
    "STAR_COLUMNS",
    "STAR_STATISTIC_COLUMNS",
    "Alias",
    "Column",
    "dtype_of",
    "empty_table",
    "fitted",
]

#: Metacalibration types in the order in which they are stored.
SHEAR_TYPES = ("noshear", "1p", "1m", "2p", "2m")


@dataclass(frozen=True)
class Alias:
    """A column's place in an older grammar.

    Attributes
    ----------
    name : str
        The old column name.
    element : int or None
        Index in a vector of two, or None for a scalar.
    missing : float
        What the old grammar writes where there is no result.
    """

    name: str
    element: int | None = None
    missing: float = float("nan")


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes
    ----------
    name : str
        Name in shapempi's own catalogue; unique without regard to case, as FITS needs.
    dtype : str
        NumPy dtype.
    unit : str
        Unit in FITS notation; empty for pure numbers.
    meaning : str
        One sentence.
    legacy, v2 : Alias or None
        The same quantity in the older grammars.
    """

    name: str
    dtype: str
    unit: str
    meaning: str
    legacy: Alias | None = None
    v2: Alias | None = None


def _kept(name: str, dtype: str, unit: str, meaning: str) -> Column:
    """Declare a column that has the same name in all three grammars."""
    return Column(name, dtype, unit, meaning, Alias(name), Alias(name))


_NUMBER = _kept("NUMBER", "i4", "", "Number of the object in its tile, 1-based; its value in the segmentation.")

_IDENTITY = (
    Column("tile", "S7", "", "Tile XXX.YYY in which the object was detected.", Alias("TILE_ID"), Alias("TILE_ID")),
    _kept("TILE_X", "i2", "", "First number of the tile."),
    _kept("TILE_Y", "i2", "", "Second number of the tile."),
    _NUMBER,
    Column("ra", "f8", "deg", "Right ascension of the windowed centroid (ICRS)."),
    Column("dec", "f8", "deg", "Declination of the windowed centroid (ICRS)."),
    _kept("FLAG_TILING", "i2", "", "1 in the one tile to which the object's position belongs, 0 in overlapping ones."),
)

#: What the detection measures: SExtractor's names and definitions.
DETECTION_COLUMNS = (
    _NUMBER,
    _kept("X_IMAGE", "f8", "pixel", "Isophotal barycentre along x, 1-based."),
    _kept("Y_IMAGE", "f8", "pixel", "Isophotal barycentre along y, 1-based."),
    _kept("X_WORLD", "f8", "deg", "Right ascension of the isophotal barycentre."),
    _kept("Y_WORLD", "f8", "deg", "Declination of the isophotal barycentre."),
    _kept("X2_IMAGE", "f4", "pixel2", "Isophotal variance along x."),
    _kept("Y2_IMAGE", "f4", "pixel2", "Isophotal variance along y."),
    _kept("XY_IMAGE", "f4", "pixel2", "Isophotal covariance."),
    _kept("ERRX2_IMAGE", "f4", "pixel2", "Variance of X_IMAGE."),
    _kept("ERRY2_IMAGE", "f4", "pixel2", "Variance of Y_IMAGE."),
    _kept("ERRXY_IMAGE", "f4", "pixel2", "Covariance of X_IMAGE and Y_IMAGE."),
    _kept("A_IMAGE", "f4", "pixel", "Rms of the isophotal profile along its major axis."),
    _kept("B_IMAGE", "f4", "pixel", "Rms of the isophotal profile along its minor axis."),
    _kept("THETA_IMAGE", "f4", "deg", "Angle of the major axis from +x to +y."),
    _kept("ELONGATION", "f4", "", "A_IMAGE / B_IMAGE."),
    _kept("ELLIPTICITY", "f4", "", "1 - B_IMAGE / A_IMAGE."),
    _kept("ISOAREA_IMAGE", "i4", "pixel", "Number of the object's pixels above the threshold in the unfiltered image."),
    _kept(
        "ISOAREAF_IMAGE",
        "i4",
        "pixel",
        "Number of the object's pixels, those above the threshold in the filtered image, merged ones too.",
    ),
    _kept("XWIN_IMAGE", "f8", "pixel", "Windowed position along x, 1-based."),
    _kept("YWIN_IMAGE", "f8", "pixel", "Windowed position along y, 1-based."),
    _kept("XWIN_WORLD", "f8", "deg", "Right ascension of the windowed position."),
    _kept("YWIN_WORLD", "f8", "deg", "Declination of the windowed position."),
    _kept("X2WIN_IMAGE", "f4", "pixel2", "Windowed variance along x."),
    _kept("Y2WIN_IMAGE", "f4", "pixel2", "Windowed variance along y."),
    _kept("XYWIN_IMAGE", "f4", "pixel2", "Windowed covariance."),
    _kept("ERRX2WIN_IMAGE", "f4", "pixel2", "Variance of XWIN_IMAGE."),
    _kept("ERRY2WIN_IMAGE", "f4", "pixel2", "Variance of YWIN_IMAGE."),
    _kept("ERRXYWIN_IMAGE", "f4", "pixel2", "Covariance of XWIN_IMAGE and YWIN_IMAGE."),
    _kept(
        "FLAGS_WIN",
        "i2",
        "",
        "1 singular, 2 negative variance, 4 negative flux, 8 ran away; then isophotal values.",
    ),
    _kept("FLUX_WIN", "f4", "adu", "Flux weighted by the Gaussian window."),
    _kept("FLUXERR_WIN", "f4", "adu", "Rms error of FLUX_WIN."),
    _kept("MAG_WIN", "f4", "mag", "Magnitude of FLUX_WIN; NaN where that is not positive."),
    _kept("MAGERR_WIN", "f4", "mag", "Rms error of MAG_WIN."),
    _kept("SNR_WIN", "f4", "", "FLUX_WIN / FLUXERR_WIN."),
    _kept("FLUX_AUTO", "f4", "adu", "Flux in the Kron ellipse."),
    _kept("FLUXERR_AUTO", "f4", "adu", "Rms error of FLUX_AUTO."),
    _kept("MAG_AUTO", "f4", "mag", "Magnitude of FLUX_AUTO; NaN where that is not positive."),
    _kept("MAGERR_AUTO", "f4", "mag", "Rms error of MAG_AUTO."),
    _kept("KRON_RADIUS", "f4", "", "Semi-axes of the Kron ellipse in units of A_IMAGE and B_IMAGE."),
    _kept("FLUX_APER", "f4", "adu", "Flux in the circular aperture."),
    _kept("FLUXERR_APER", "f4", "adu", "Rms error of FLUX_APER."),
    _kept(
        "FLUX_RADIUS",
        "f4",
        "pixel",
        "Radius that holds half of FLUX_AUTO (light_fraction); NaN where that is not positive.",
    ),
    _kept("FWHM_IMAGE", "f4", "pixel", "Full width at half maximum of a Gaussian core."),
    _kept("FWHM_WORLD", "f4", "deg", "FWHM_IMAGE on the sky."),
    _kept("BACKGROUND", "f4", "adu", "Background at the barycentre."),
    _kept("THRESHOLD", "f4", "adu", "Detection threshold above the background."),
    _kept("MU_THRESHOLD", "f4", "mag arcsec-2", "Surface brightness of THRESHOLD."),
    _kept("MU_MAX", "f4", "mag arcsec-2", "Surface brightness of the brightest pixel."),
    _kept("FLAGS", "i2", "", "Extraction flags, as SExtractor defines them."),
    _kept("IMAFLAGS_ISO", "i4", "", "OR of the mask plane over the pixels of the object."),
)

_CLASS = (
    _kept("N_EPOCH", "i2", "", "Exposure CCDs that cover the object."),
    _kept("SPREAD_MODEL", "f4", "", "Point-source against extended statistic; 0 is a star, -1 is without result."),
    _kept("SPREADERR_MODEL", "f4", "", "Error of SPREAD_MODEL; 1 is without result."),
    _kept("SPREAD_CLASS", "i2", "", "0 star, 1 galaxy, 2 other, from SPREAD_MODEL + 2 SPREADERR_MODEL."),
    Column("spread_class_53", "i2", "", "SPREAD_CLASS with the older slope, 5/3 instead of 2."),
    Column("size_ratio", "f4", "", "T_noshear / psf_T, the size before the PSF in units of the PSF's; 0 is a star."),
    Column("size_ratio_err", "f4", "", "Error of size_ratio, correlated noise included."),
    Column("size_class", "i2", "", "0 star, 1 galaxy, 2 other or not measured, from size_ratio and its error."),
)

_SHAPE = (
    Column("shape_flags", "i4", "", "ObjectFlag bits of the shape measurement; 0 is good."),
    Column(
        "n_epoch_used",
        "i2",
        "",
        "Epochs that entered the fit.",
        Alias("NGMIX_N_EPOCH", missing=0),
        Alias("NGMIX_N_EPOCH", missing=0),
    ),
    Column(
        "moments_failed",
        "i2",
        "",
        "1 if no epoch gave a guess by adaptive moments.",
        Alias("NGMIX_MOM_FAIL", missing=0),
        Alias("NGMIX_MOM_FAIL", missing=0),
    ),
    Column(
        "mcal_flags",
        "i4",
        "",
        "OR of the five types' fit flags.",
        Alias("NGMIX_MCAL_FLAGS", missing=0),
        Alias("NGMIX_MCAL_FLAGS", missing=0),
    ),
    Column("psf_g1", "f4", "", "Mean g1 of the PSF over the used epochs, weighted by their weight."),
    Column("psf_g2", "f4", "", "Mean g2 of the PSF over the used epochs."),
    Column("psf_T", "f4", "arcsec2", "Mean T of the PSF over the used epochs."),
)


def _shear_columns(kind: str) -> Iterable[Column]:
    """Declare the columns of one metacalibration type."""
    old = kind.upper()

    def pair(name: str, component: int, legacy: str, v2: str, meaning: str) -> Column:
        return Column(
            f"{name}_{kind}",
            "f8",
            "",
            meaning,
            Alias(f"NGMIX_{legacy}_{old}", component - 1, -10.0),
            Alias(f"NGMIX_{v2}_{old}", None, -10.0),
        )

    def single(name: str, dtype: str, unit: str, old_name: str, missing: float, meaning: str) -> Column:
        alias = Alias(f"NGMIX_{old_name}_{old}", None, missing)
        return Column(f"{name}_{kind}", dtype, unit, meaning, alias, alias)

    where = "without shear" if kind == "noshear" else f"of the image sheared by {kind}"
    yield pair("g1", 1, "ELL", "G1", f"g1 of the galaxy {where}.")
    yield pair("g2", 2, "ELL", "G2", f"g2 of the galaxy {where}.")
    yield pair("g1_err", 1, "ELL_ERR", "G1_ERR", f"Error of g1_{kind}.")
    yield pair("g2_err", 2, "ELL_ERR", "G2_ERR", f"Error of g2_{kind}.")
    yield single("T", "f8", "arcsec2", "T", 0.0, f"Size T = 2 sigma^2 of the galaxy {where}.")
    yield single("T_err", "f8", "arcsec2", "T_ERR", 1e30, f"Error of T_{kind}.")
    yield Column(f"r50_{kind}", "f4", "arcsec", f"Half-light radius of the galaxy {where}.")
    yield single("Tpsf", "f4", "arcsec2", "Tpsf", 0.0, "T of the reconvolution PSF, the same for all types.")
    yield single("flux", "f8", "adu", "FLUX", 0.0, f"Model flux {where}, at the survey's zero point.")
    yield single("flux_err", "f8", "adu", "FLUX_ERR", -1.0, f"Error of flux_{kind}.")
    yield single("mag", "f4", "mag", "MAG", 0.0, f"Magnitude of flux_{kind}.")
    yield single("mag_err", "f4", "mag", "MAG_ERR", -1.0, f"Error of mag_{kind}.")
    yield single("s2n", "f4", "", "SNR", 0.0, f"Signal-to-noise ratio of the model {where}.")
    yield single("flags", "i4", "", "FLAGS", 0.0, f"Fit flags {where}; 0 is good.")


#: The catalogue: one row per detection.
COLUMNS: tuple[Column, ...] = (
    *_IDENTITY,
    *DETECTION_COLUMNS[1:],  # NUMBER is there already
    *_CLASS,
    *_SHAPE,
    *(column for kind in SHEAR_TYPES for column in _shear_columns(kind)),
)

#: The epochs of every object: one row per object and CCD.
EPOCH_COLUMNS: tuple[Column, ...] = (
    Column("tile", "S7", "", "Tile of the object."),
    Column("NUMBER", "i4", "", "Number of the object in its tile."),
    Column("exposure", "i4", "", "Exposure number."),
    Column("ccd", "i2", "", "CCD index."),
    Column("x", "f8", "pixel", "Position of the object on the CCD along x, 1-based."),
    Column("y", "f8", "pixel", "Position of the object on the CCD along y, 1-based."),
    Column("psf_g1", "f4", "", "g1 of the PSF model at the object, sky frame."),
    Column("psf_g2", "f4", "", "g2 of the PSF model at the object, sky frame."),
    Column("psf_T", "f4", "arcsec2", "T of the PSF model at the object."),
    Column("psf_flag", "i2", "", "0 if the PSF's moments converged; 1 if not, or if the CCD has no PSF model."),
)

#: Stars with the PSF model beside them: those held back (table `stars`) and those that the model was fitted to
#: (`training_stars`).
STAR_COLUMNS: tuple[Column, ...] = (
    Column("exposure", "i4", "", "Exposure number."),
    Column("CCD_NB", "i2", "", "CCD index."),
    Column("NUMBER", "i4", "", "Number of the star among the detections of its CCD, 1-based."),
    Column("X", "f8", "pixel", "Windowed centroid along x, 1-based."),
    Column("Y", "f8", "pixel", "Windowed centroid along y, 1-based."),
    Column("RA", "f8", "deg", "Right ascension."),
    Column("DEC", "f8", "deg", "Declination."),
    Column("MAG", "f4", "mag", "MAG_AUTO."),
    Column("SNR", "f4", "", "SNR_WIN."),
    Column("FWHM_IMAGE", "f4", "pixel", "FWHM by which the star was selected."),
    Column("USED", "i2", "", "1 if the PSF model was fitted to the star; 0 if it was held back or rejected."),
    Column("ACCEPTED", "i2", "", "1 if the CCD's PSF model is accepted; if not, the model serves no object."),
    Column(
        "chi2", "f8", "", "chi^2 per degree of freedom of the star against the model, within 6 sigma of the centre."
    ),
    Column("E1_PSF_HSM", "f8", "", "Reduced shear g1 of the model, pixel frame (the name is historic)."),
    Column("E2_PSF_HSM", "f8", "", "Reduced shear g2 of the model, pixel frame."),
    Column("SIGMA_PSF_HSM", "f8", "pixel", "Adaptive-moment sigma of the model."),
    Column("FLAG_PSF_HSM", "i2", "", "0 if the model's moments converged; else bits that say why, 1 without a model."),
    Column("E1_STAR_HSM", "f8", "", "Reduced shear g1 of the star, pixel frame."),
    Column("E2_STAR_HSM", "f8", "", "Reduced shear g2 of the star, pixel frame."),
    Column("SIGMA_STAR_HSM", "f8", "pixel", "Adaptive-moment sigma of the star."),
    Column("FLAG_STAR_HSM", "i2", "", "0 if the star's moments converged; else bits that say why."),
    Column("g1_psf", "f8", "", "g1 of the model, sky frame."),
    Column("g2_psf", "f8", "", "g2 of the model, sky frame."),
    Column("T_psf", "f8", "arcsec2", "T of the model."),
    Column("g1_star", "f8", "", "g1 of the star, sky frame."),
    Column("g2_star", "f8", "", "g2 of the star, sky frame."),
    Column("T_star", "f8", "arcsec2", "T of the star."),
)

#: One row per CCD: its stars, its PSF model, and what became of it.
PSF_STATUS_COLUMNS: tuple[Column, ...] = (
    Column("exposure", "i4", "", "Exposure number."),
    Column("ccd", "i2", "", "CCD index."),
    Column(
        "status", "S16", "", "accepted, missing_data, no_stars, few_stars, fit_failed, chi2; failed if its unit failed."
    ),
    Column("n_object", "i4", "", "Detections."),
    Column("n_unflagged", "i4", "", "Detections without FLAGS and IMAFLAGS_ISO."),
    Column("n_star", "i4", "", "Selected stars."),
    Column("n_train", "i4", "", "Stars given to the fit."),
    Column("n_test", "i4", "", "Stars held back."),
    Column("n_used", "i4", "", "Stars that the model was fitted to, after rejection."),
    Column("chi2", "f8", "", "Reduced chi^2 of the model."),
    Column("fwhm", "f8", "pixel", "FWHM of the model in the middle of the CCD."),
    Column("degree", "i2", "", "Degree of the model's polynomial."),
    Column("sampling", "f4", "pixel", "Step of the model's grid."),
    Column("nx", "i4", "pixel", "Width of the CCD."),
    Column("ny", "i4", "pixel", "Height of the CCD."),
    Column("star_density_per_deg2", "f4", "deg-2", "Selected stars per square degree."),
    Column("fwhm_mode_pix", "f4", "pixel", "FWHM of the stars as the selection sees it."),
    Column("fwhm_mean_arcsec", "f4", "arcsec", "Mean FWHM of the selected stars."),
    Column("fwhm_std_arcsec", "f4", "arcsec", "Its standard deviation."),
    Column("engine", "S32", "", "What made the model, with its version."),
    Column("detection", "S32", "", "What detected the objects, with its version."),
    Column("reason", "S256", "", "Why the model is not accepted; empty if it is."),
)

#: The statistics that the star selection computes on each CCD.
STAR_STATISTIC_COLUMNS: tuple[Column, ...] = (
    Column("exposure", "i4", "", "Exposure number."),
    Column("ccd", "i2", "", "CCD index."),
    Column("section", "S32", "", "STAT section of the selection."),
    Column("label", "S64", "", "Label in that section."),
    Column("value", "f8", "", "Its value."),
)


def dtype_of(columns: Iterable[Column]) -> np.dtype:
    """Return the structured dtype of a table with these columns."""
    return np.dtype([(column.name, column.dtype) for column in columns])


def fitted(columns: Iterable[Column], *, tile_width: int = 0, exposure: int = 0) -> tuple[Column, ...]:
    """Return columns that have room for the names of a survey: wider ones where those of CFIS are too narrow.

    Parameters
    ----------
    columns : iterable of Column
        The columns.
    tile_width : int, optional
        Length of the longest name of a tile.
    exposure : int, optional
        Largest number of an exposure.
    """
    found = []
    for column in columns:
        dtype = column.dtype
        if column.name in ("tile", "TILE_ID") and tile_width > np.dtype(dtype).itemsize:
            dtype = f"S{tile_width}"
        if column.name in ("exposure", "EXP") and exposure > np.iinfo(dtype).max:
            dtype = "i8"
        found.append(replace(column, dtype=dtype))
    return tuple(found)


def empty_table(columns: Iterable[Column], n_row: int) -> np.ndarray:
    """Return a table in which every float is NaN, every integer 0 and every text empty.

    Parameters
    ----------
    columns : iterable of Column
        The columns.
    n_row : int
        Rows.

    Returns
    -------
    ndarray
        Structured array of shape [n_row].
    """
    table = np.zeros(n_row, dtype=dtype_of(columns))
    for name in table.dtype.names or ():
        if table[name].dtype.kind == "f":
            table[name] = np.nan
    return table
