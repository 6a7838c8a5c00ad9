"""Finding objects: regions above the threshold, strip by strip, taken apart, cleaned and numbered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shapempi.measure.cleaning import WINGS_DTYPE, eaters, measure_wings
from shapempi.measure.deblend import OBJECT_DTYPE, split_regions
from shapempi.measure.region import find_regions
from shapempi.measure.section import SectionReader
from shapempi.params import Params, key

__all__ = ["Extraction", "ExtractionParams", "extract_objects"]

#: Rows of the map that are renumbered at a time.
ROWS = 512


class ExtractionParams(Params):
    """How objects are found."""

    threshold: float = key(1.5, "Detection threshold on the filtered image.", unit="rms of a pixel", gt=0)
    min_area: int = key(5, "Fewest pixels of an object.", unit="pixel", ge=1)
    deblend_levels: int = key(32, "Number of levels of the deblending tree.", ge=1)
    deblend_contrast: float = key(0.001, "Smallest share of the flux that makes a branch an object.", ge=0, le=1)
    clean: bool = key(True, "Merge detections that only the wings of a brighter neighbour lift over the threshold.")
    clean_efficiency: float = key(1.0, "Efficiency of the cleaning.", gt=0)
    pixel_stack: int = key(
        1_000_000,
        "A connected region of more pixels is not deblended; it stays one object with bit 64 in FLAGS.",
        unit="pixel",
        ge=1000,
    )
    strip_rows: int = key(512, "Rows of an image that are handled at a time; decides memory, never the result.", ge=1)


@dataclass(frozen=True)
class Extraction:
    """The objects of one image.

    Attributes
    ----------
    objects : structured ndarray [n]
        The columns of `sep.extract`, in the order of the objects' first pixels; positions are 0-based.
    segmentation : ndarray of int32 [y, x]
        Number (row + 1) of the object that owns a pixel, and less than 0 where it is that of an object that was
        merged with it; 0 for none.
    merged : ndarray of int64 [n]
        Pixels of the objects that were merged with each.
    """

    objects: np.ndarray
    segmentation: np.ndarray
    merged: np.ndarray


def extract_objects(reader: SectionReader, params: ExtractionParams, gain: float) -> Extraction:
    """Find the objects of an image.

    Parameters
    ----------
    reader : SectionReader
        The image; nothing is detected where it is unusable.
    params : ExtractionParams
        Thresholds; the height of the strips does not change the result.
    gain : float
        Electrons per ADU; 0 for no photon noise in the errors of the moments.

    Raises
    ------
    MeasurementError
        If the threshold is far too low for this image, or memory runs out.
    """
    segmentation = np.zeros(reader.shape, np.int32)
    objects, wings = [np.empty(0, OBJECT_DTYPE)], [np.empty(0, WINGS_DTYPE)]
    n = 0
    for regions in find_regions(reader, params.threshold, params.min_area, params.strip_rows):
        of_strip = split_regions(
            regions,
            segmentation,
            n,
            threshold=params.threshold,
            min_area=params.min_area,
            levels=params.deblend_levels,
            contrast=params.deblend_contrast,
            largest=params.pixel_stack,
            gain=gain,
        )
        objects.append(of_strip)
        wings.append(measure_wings(regions, segmentation, of_strip, n, params.threshold, params.min_area))
        n += len(of_strip)
    return _numbered(np.concatenate(objects), np.concatenate(wings), segmentation, params)


def _numbered(objects: np.ndarray, wings: np.ndarray, segmentation: np.ndarray, params: ExtractionParams) -> Extraction:
    """Clean and number the objects; changes the map in place."""
    n = len(objects)
    eater = eaters(objects, wings, params.clean_efficiency) if params.clean else np.full(n, -1)
    stays = np.flatnonzero(eater < 0)
    stays = stays[np.argsort(wings["first"][stays])]
    number = np.zeros(n + 1, np.int32)
    number[stays + 1] = np.arange(1, len(stays) + 1)
    eaten = np.flatnonzero(eater >= 0)
    number[eaten + 1] = -number[eater[eaten] + 1]
    for y in range(0, len(segmentation), ROWS):
        rows = segmentation[y : y + ROWS]
        rows[...] = number[rows]
    merged = np.bincount(-number[eaten + 1] - 1, weights=objects["npix"][eaten], minlength=len(stays))
    return Extraction(objects[stays], segmentation, merged.astype(np.int64))
