"""Detection: from a background-subtracted image to a table of objects with SExtractor's columns.

Behaviour specification, section 5.2.  The stages are `variance` (noise), `extraction` (objects), `photometry`,
`isophote` (core width, mask bits) and `windowed` (positions and moments); this module puts them together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sep

from shapempi.errors import DataError
from shapempi.measure.background import BackgroundMesh
from shapempi.measure.detection_table import DETECTION_DTYPE, SexFlag, magnitude
from shapempi.measure.extraction import extract_objects
from shapempi.measure.isophote import IsoPixels, core_fwhm
from shapempi.measure.photometry import measure_photometry, over_the_side
from shapempi.measure.variance import UNUSABLE, noise_ratio, variance_map
from shapempi.measure.windowed import EXTENT, measure_windowed, window_sigma
from shapempi.params import Params, key
from shapempi.wcs import Wcs

__all__ = ["DETECTION_DTYPE", "DetectionParams", "Detections", "SexFlag", "detect"]


class DetectionParams(Params):
    """How objects are found and measured; the defaults are those of single exposures."""

    threshold: float = key(1.5, "Detection threshold on the filtered image.", unit="rms of a pixel", gt=0)
    min_area: int = key(5, "Fewest pixels of an object.", unit="pixel", ge=1)
    deblend_levels: int = key(32, "Number of levels of the deblending tree.", ge=1)
    deblend_contrast: float = key(0.001, "Smallest share of the flux that makes a branch an object.", ge=0, le=1)
    clean: bool = key(True, "Merge detections that only the wings of a brighter neighbour lift over the threshold.")
    clean_efficiency: float = key(1.0, "Efficiency of the cleaning.", gt=0)
    rescale_weights: bool = key(True, "Scale the weight map so that it agrees with the rms of the sky.")
    rescale_box: int = key(
        64, "Side of the boxes in which the rms of the sky is compared.", unit="pixel", ge=16, le=1024, multiple_of=4
    )
    kron_factor: float = key(2.5, "Kron ellipse in units of the Kron radius.", gt=0)
    kron_min: float = key(3.5, "Smallest Kron ellipse.", unit="isophotal rms", gt=0)
    aperture_diameter: float = key(5.0, "Diameter of the circular aperture.", unit="pixel", gt=0)
    light_fraction: float = key(0.5, "Fraction of the Kron flux inside FLUX_RADIUS.", gt=0, lt=1)
    pixel_stack: int = key(
        1_000_000, "First size of the buffer of active pixels; grows by itself.", unit="pixel", ge=1000
    )


@dataclass(frozen=True)
class Detections:
    """The objects of one image.

    Attributes
    ----------
    table : structured ndarray of DETECTION_DTYPE [n]
        One row per object, in the order in which the extraction finished them.
    segmentation : ndarray of int32 [y, x]
        NUMBER of the object that owns a pixel, 0 for none.
    noise_ratio : float
        Factor between the rms of the sky and that of the weight map, applied if `rescale_weights`.
    """

    table: np.ndarray
    segmentation: np.ndarray
    noise_ratio: float


def detect(
    data: np.ndarray,
    weight: np.ndarray,
    mask_plane: np.ndarray,
    wcs: Wcs,
    *,
    gain: float,
    saturate: float,
    mag_zp: float,
    params: DetectionParams,
    background: BackgroundMesh | None = None,
    overwrite_weight: bool = False,
) -> Detections:
    """Find and measure the objects of an image.

    Pixels with a bit in the mask plane take part like all others; the bits are reported in IMAFLAGS_ISO.  Unusable
    pixels (weight not positive, value not finite) do not take part.

    Parameters
    ----------
    data : ndarray of float32 [y, x]
        Background-subtracted full image [ADU].
    weight : ndarray of float32 [y, x]
        Inverse variance [ADU^-2]; 0 is unusable.
    mask_plane : ndarray of int [y, x]
        Flag bits, of any integer type.
    wcs : Wcs
        WCS of the image.
    gain : float
        Electrons per ADU; 0 if unknown.
    saturate : float
        Saturation level of the image before the subtraction of the background [ADU]; inf if unknown.
    mag_zp : float
        Magnitude of 1 ADU.
    params : DetectionParams
        Thresholds and apertures.
    background : BackgroundMesh, optional
        What was subtracted, for the column BACKGROUND and for saturation; 0 if left out.
    overwrite_weight : bool, optional
        Store the variance map in the memory of `weight` (float32 in native order), which saves 400 MB on a tile.

    Returns
    -------
    Detections
        Table and segmentation map; no object is a table without rows, not an error.

    Raises
    ------
    DataError
        If the shapes differ.
    MeasurementError
        If the extraction fails for the whole image.
    """
    if not data.shape == weight.shape == mask_plane.shape:
        raise DataError(
            f"detection: shapes of image {data.shape}, weight {weight.shape}, mask {mask_plane.shape} differ"
        )
    data = np.ascontiguousarray(data, dtype=np.float32)
    weight = np.ascontiguousarray(weight, dtype=np.float32)
    ratio = noise_ratio(data, weight, params.rescale_box) if params.rescale_weights else 1.0
    variance = variance_map(data, weight, ratio, out=weight if overwrite_weight else None)
    if data.size == 0 or variance.min() >= UNUSABLE / 2:
        return Detections(np.empty(0, DETECTION_DTYPE), np.zeros(data.shape, np.int32), 1.0)
    objects, segmentation = extract_objects(
        data,
        variance,
        threshold=params.threshold,
        min_area=params.min_area,
        deblend_levels=params.deblend_levels,
        deblend_contrast=params.deblend_contrast,
        clean=params.clean,
        clean_efficiency=params.clean_efficiency,
        pixel_stack=params.pixel_stack,
        gain=gain,
    )
    table = np.zeros(len(objects), DETECTION_DTYPE)
    if len(objects) == 0:
        return Detections(table, segmentation, ratio)
    level = background.at(objects["x"], objects["y"]) if background is not None else np.zeros(len(objects))
    _fill_isophotal(table, objects, level)
    photometry = measure_photometry(
        data,
        variance,
        segmentation,
        objects,
        gain=gain,
        kron_factor=params.kron_factor,
        kron_min=params.kron_min,
        aperture_diameter=params.aperture_diameter,
        light_fraction=params.light_fraction,
    )
    sigma = window_sigma(photometry["radius"])
    windowed = measure_windowed(data, variance, segmentation, objects, sigma, gain)
    _fill_fluxes(table, photometry, windowed, mag_zp)
    pixels = IsoPixels.of(segmentation, len(objects))
    table["IMAFLAGS_ISO"] = pixels.bits(mask_plane)
    area = objects["a"] * objects["b"]
    table["FWHM_IMAGE"] = core_fwhm(
        data, pixels, objects["x"], objects["y"], objects["peak"], objects["thresh"], saturate - level, area
    )
    _fill_sky(table, objects, wcs, mag_zp)
    table["FLAGS"] = (
        photometry["flags"]
        | SexFlag.APERTURE * over_the_side(windowed["x"], windowed["y"], EXTENT * sigma, EXTENT * sigma, data.shape)
        | SexFlag.BLENDED * ((objects["flag"] & sep.OBJ_MERGED) != 0)
        | SexFlag.SATURATED * (objects["peak"] + level >= saturate)
        | SexFlag.TRUNCATED * ((objects["flag"] & sep.OBJ_TRUNC) != 0)
        | SexFlag.DEBLEND_OVERFLOW * ((objects["flag"] & sep.OBJ_DOVERFLOW) != 0)
    )
    return Detections(table, segmentation, ratio)


def _fill_isophotal(table: np.ndarray, objects: np.ndarray, level: np.ndarray) -> None:
    """Fill the columns that the extraction itself gives."""
    table["NUMBER"] = np.arange(1, len(objects) + 1)
    table["X_IMAGE"], table["Y_IMAGE"] = objects["x"] + 1, objects["y"] + 1
    for name in ("x2", "y2", "xy", "errx2", "erry2", "errxy", "a", "b"):
        table[f"{name.upper()}_IMAGE"] = objects[name]
    table["THETA_IMAGE"] = np.degrees(objects["theta"])
    table["ELONGATION"] = objects["a"] / objects["b"]
    table["ELLIPTICITY"] = 1.0 - objects["b"] / objects["a"]
    table["ISOAREA_IMAGE"], table["ISOAREAF_IMAGE"] = objects["tnpix"], objects["npix"]
    table["BACKGROUND"] = level
    table["THRESHOLD"] = objects["thresh"]


def _fill_fluxes(table: np.ndarray, photometry: np.ndarray, windowed: np.ndarray, mag_zp: float) -> None:
    """Fill fluxes, magnitudes, radii and the windowed columns."""
    table["FLUX_AUTO"], table["FLUXERR_AUTO"] = photometry["auto"], photometry["auto_err"]
    table["FLUX_APER"], table["FLUXERR_APER"] = photometry["aper"], photometry["aper_err"]
    table["KRON_RADIUS"], table["FLUX_RADIUS"] = photometry["kron"], photometry["radius"]
    table["FLUX_WIN"], table["FLUXERR_WIN"] = windowed["flux"], windowed["fluxerr"]
    for kind in ("AUTO", "WIN"):
        flux, error = table[f"FLUX_{kind}"], table[f"FLUXERR_{kind}"]
        table[f"MAG_{kind}"] = magnitude(flux, mag_zp)
        table[f"MAGERR_{kind}"] = 2.5 / np.log(10) * error / np.where(flux > 0, flux, np.nan)
    error = windowed["fluxerr"]
    table["SNR_WIN"] = windowed["flux"] / np.where(error > 0, error, np.nan)
    table["XWIN_IMAGE"], table["YWIN_IMAGE"] = windowed["x"] + 1, windowed["y"] + 1
    for name in ("x2", "y2", "xy", "errx2", "erry2", "errxy"):
        table[f"{name.upper()}WIN_IMAGE"] = windowed[name]
    table["FLAGS_WIN"] = windowed["flags"]


def _fill_sky(table: np.ndarray, objects: np.ndarray, wcs: Wcs, mag_zp: float) -> None:
    """Fill sky positions and what needs the local pixel scale."""
    x, y = objects["x"], objects["y"]
    table["X_WORLD"], table["Y_WORLD"] = wcs.pixel_to_sky(x, y)
    table["XWIN_WORLD"], table["YWIN_WORLD"] = wcs.pixel_to_sky(table["XWIN_IMAGE"] - 1, table["YWIN_IMAGE"] - 1)
    dudx, dudy, dvdx, dvdy = wcs.jacobian(x, y).T
    pixel_area = np.abs(dudx * dvdy - dudy * dvdx)
    table["FWHM_WORLD"] = table["FWHM_IMAGE"] * np.sqrt(pixel_area) / 3600.0
    table["MU_MAX"] = magnitude(objects["peak"] / pixel_area, mag_zp)
    table["MU_THRESHOLD"] = magnitude(objects["thresh"] / pixel_area, mag_zp)
