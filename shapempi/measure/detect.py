"""Detection: from a background-subtracted image to a table of objects with SExtractor's columns.

Behaviour specification, section 5.  The steps are `variance` (noise), `extraction` (objects) and `measurement` (fluxes,
windows, core widths, mask bits); each goes through the image in strips, and this module puts them together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sep

from shapempi.errors import DataError
from shapempi.measure.background import BackgroundMesh
from shapempi.measure.detection_table import DETECTION_DTYPE, SexFlag, fill_magnitudes, fill_sky
from shapempi.measure.extraction import Extraction, ExtractionParams, extract_objects
from shapempi.measure.measurement import Measurement, measure_objects
from shapempi.measure.photometry import PhotometryParams
from shapempi.measure.pixel_source import Frame, PixelSource
from shapempi.measure.section import SectionReader
from shapempi.measure.variance import noise_ratio
from shapempi.params import key

__all__ = ["DETECTION_DTYPE", "DetectionParams", "Detections", "SexFlag", "detect"]


class DetectionParams(PhotometryParams, ExtractionParams):
    """How objects are found and measured; the defaults are those of single exposures."""

    rescale_weights: bool = key(True, "Scale the weight map so that it agrees with the rms of the sky.")
    rescale_box: int = key(
        64, "Side of the boxes in which the rms of the sky is compared.", unit="pixel", ge=16, le=1024, multiple_of=4
    )


@dataclass(frozen=True)
class Detections:
    """The objects of one image.

    Attributes
    ----------
    table : structured ndarray of DETECTION_DTYPE [n]
        One row per object, in the order of their first pixels.
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

    Objects that are found in another image have its positions, moments, Kron radius, ISOAREAF_IMAGE and THRESHOLD;
    fluxes, FLUX_RADIUS, windowed quantities, FWHM_IMAGE, MU_MAX, MU_THRESHOLD, ISOAREA_IMAGE and saturation are those
    of the image, as in SExtractor's dual-image mode.

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
    DataError
        If the two images differ in shape.
    MeasurementError
        If the extraction fails for the whole image: the threshold is far too low.
    """
    if detection is not None and detection.shape != source.shape:
        raise DataError(
            f"detection: the image in which objects are found has the shape {detection.shape}, that in which they are "
            f"measured {source.shape}"
        )
    image = _reader(source, params)
    found = image if detection is None else _reader(detection, params)
    extraction = extract_objects(found, params, frame.gain)
    objects = extraction.objects
    table = np.zeros(len(objects), DETECTION_DTYPE)
    if len(objects) > 0:
        level = background.at(objects["x"], objects["y"]) if background is not None else np.zeros(len(objects))
        saturate = frame.saturate - level
        measurement = Measurement(image, found, extraction, params, params.threshold, frame.gain, saturate)
        measured = measure_objects(measurement, params.strip_rows)
        _fill_isophotal(table, extraction, measured, level)
        _fill_fluxes(table, measured["photometry"], measured["windowed"])
        fill_magnitudes(table, frame.mag_zp)
        table["IMAFLAGS_ISO"], table["FWHM_IMAGE"] = measured["bits"], measured["fwhm"]
        fill_sky(table, frame.wcs, frame.mag_zp, measured["peak"], measured["thresh"])
        table["FLAGS"] = (
            measured["flags"]
            | SexFlag.BLENDED * ((objects["flag"] & sep.OBJ_MERGED) != 0)
            | SexFlag.SATURATED * (measured["peak"] + level >= frame.saturate)
            | SexFlag.TRUNCATED * ((objects["flag"] & sep.OBJ_TRUNC) != 0)
            | SexFlag.DEBLEND_OVERFLOW * ((objects["flag"] & sep.OBJ_DOVERFLOW) != 0)
        )
    # Pixels of what was merged with an object are its own from here on.
    np.abs(extraction.segmentation, out=extraction.segmentation)
    return Detections(table, extraction.segmentation, image.noise_ratio)


def _reader(source: PixelSource, params: DetectionParams) -> SectionReader:
    """Return what reads sections of an image with the noise that it has."""
    return SectionReader(source, noise_ratio(source, params.rescale_box) if params.rescale_weights else 1.0)


def _fill_isophotal(table: np.ndarray, extraction: Extraction, measured: np.ndarray, level: np.ndarray) -> None:
    """Fill the columns that the extraction itself gives."""
    objects = extraction.objects
    table["NUMBER"] = np.arange(1, len(objects) + 1)
    table["X_IMAGE"], table["Y_IMAGE"] = objects["x"] + 1, objects["y"] + 1
    for name in ("x2", "y2", "xy", "errx2", "erry2", "errxy", "a", "b"):
        table[f"{name.upper()}_IMAGE"] = objects[name]
    table["THETA_IMAGE"] = np.degrees(objects["theta"])
    table["ELONGATION"] = objects["a"] / objects["b"]
    table["ELLIPTICITY"] = 1.0 - objects["b"] / objects["a"]
    table["ISOAREA_IMAGE"] = measured["tnpix"]
    table["ISOAREAF_IMAGE"] = objects["npix"] + extraction.merged
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
