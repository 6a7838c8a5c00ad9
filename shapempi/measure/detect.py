"""Detection: from a background-subtracted image to a table of objects with SExtractor's columns.

Behaviour specification, section 5.2.  The stages are `variance` (noise), `extraction` (objects), `photometry`,
`isophote` (core width, mask bits) and `windowed` (positions and moments); this module puts them together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sep

from shapempi.measure.background import BackgroundMesh
from shapempi.measure.detection_table import DETECTION_DTYPE, SexFlag, fill_magnitudes, fill_sky
from shapempi.measure.extraction import extract_objects
from shapempi.measure.isophote import IsoPixels, core_fwhm
from shapempi.measure.photometry import measure_photometry, over_the_side
from shapempi.measure.pixel_source import Frame, PixelSource
from shapempi.measure.variance import UNUSABLE, noise_ratio, variance_map
from shapempi.measure.windowed import EXTENT, measure_windowed, window_sigma
from shapempi.params import Params, key

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
    further : structured ndarray [n] or None
        Columns besides that the user asked the engine for.
    """

    table: np.ndarray
    segmentation: np.ndarray
    noise_ratio: float
    further: np.ndarray | None = None


def detect(
    source: PixelSource,
    frame: Frame,
    params: DetectionParams,
    *,
    background: BackgroundMesh | None = None,
    detection: PixelSource | None = None,
) -> Detections:
    """Find and measure the objects of an image.

    Pixels with a bit in the mask plane take part like all others; the bits are reported in IMAFLAGS_ISO.  Unusable
    pixels (weight not positive, value not finite) do not take part.

    Parameters
    ----------
    source : PixelSource
        The image.
    frame : Frame
        What its pixels mean.
    params : DetectionParams
        Thresholds and apertures.
    background : BackgroundMesh, optional
        What was subtracted, for the column BACKGROUND and for saturation; 0 if left out.
    detection : PixelSource, optional
        The image in which objects are found, on the same pixels; `source` if left out.

    Returns
    -------
    Detections
        Table and segmentation map; no object is a table without rows, not an error.

    Raises
    ------
    MeasurementError
        If the extraction fails for the whole image.
    """
    rows = source.read(0, source.shape[0])
    data, weight, mask_plane = rows.data, rows.weight, rows.flag
    wcs, gain, saturate, mag_zp = frame.wcs, frame.gain, frame.saturate, frame.mag_zp
    ratio = noise_ratio(data, weight, params.rescale_box) if params.rescale_weights else 1.0
    variance = variance_map(data, weight, ratio, out=weight)
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
    _fill_fluxes(table, photometry, windowed)
    fill_magnitudes(table, mag_zp)
    pixels = IsoPixels.of(segmentation, len(objects))
    table["IMAFLAGS_ISO"] = pixels.bits(mask_plane)
    area = objects["a"] * objects["b"]
    table["FWHM_IMAGE"] = core_fwhm(
        data, pixels, objects["x"], objects["y"], objects["peak"], objects["thresh"], saturate - level, area
    )
    fill_sky(table, wcs, mag_zp, objects["peak"], objects["thresh"])
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


def _fill_fluxes(table: np.ndarray, photometry: np.ndarray, windowed: np.ndarray) -> None:
    """Fill fluxes, radii and the windowed columns."""
    table["FLUX_AUTO"], table["FLUXERR_AUTO"] = photometry["auto"], photometry["auto_err"]
    table["FLUX_APER"], table["FLUXERR_APER"] = photometry["aper"], photometry["aper_err"]
    table["KRON_RADIUS"], table["FLUX_RADIUS"] = photometry["kron"], photometry["radius"]
    table["FLUX_WIN"], table["FLUXERR_WIN"] = windowed["flux"], windowed["fluxerr"]
    table["XWIN_IMAGE"], table["YWIN_IMAGE"] = windowed["x"] + 1, windowed["y"] + 1
    for name in ("x2", "y2", "xy", "errx2", "erry2", "errxy"):
        table[f"{name.upper()}WIN_IMAGE"] = windowed[name]
    table["FLAGS_WIN"] = windowed["flags"]
