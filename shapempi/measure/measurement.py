"""Measuring the objects of an image strip by strip: each where all rows that it reaches are at hand.

An object is measured from pixels at the same distances from it whatever the rows are, so what is measured does not
depend on where strips begin and end, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from shapempi.measure.detection_table import SexFlag
from shapempi.measure.extraction import Extraction
from shapempi.measure.isophote import IsoPixels, core_fwhm, isophotal
from shapempi.measure.photometry import (
    PHOTOMETRY_DTYPE,
    PhotometryParams,
    measure_photometry,
    over_the_side,
    photometry_reach,
)
from shapempi.measure.section import Section, SectionReader
from shapempi.measure.windowed import EXTENT, WINDOWED_DTYPE, measure_windowed, window_reach, window_sigma

__all__ = ["MEASURED_DTYPE", "Measurement", "measure_objects"]

#: One object's measurements on an image: by apertures, by a window, and on the pixels of its isophote.
MEASURED_DTYPE = np.dtype(
    [
        ("photometry", PHOTOMETRY_DTYPE),
        ("windowed", WINDOWED_DTYPE),
        *((name, "f8") for name in ("peak", "thresh", "fwhm")),
        ("tnpix", "i8"),
        ("bits", "i4"),
        ("flags", "i2"),
    ]
)


@dataclass(frozen=True)
class Measurement:
    """What objects are measured on and how.

    Attributes
    ----------
    image : SectionReader
        The image in which they are measured.
    found : SectionReader
        The image in which they were found, the same or another one.
    extraction : Extraction
        The objects and their map.
    params : PhotometryParams
        Apertures.
    threshold : float
        Threshold of the isophotes [rms of a pixel].
    gain : float
        Electrons per ADU; 0 for no photon noise.
    saturate : ndarray of float64 [n]
        Saturation level above the background at each object [ADU].
    """

    image: SectionReader
    found: SectionReader
    extraction: Extraction
    params: PhotometryParams
    threshold: float
    gain: float
    saturate: np.ndarray

    def in_rows(self, chosen: np.ndarray, y0: int, y1: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Measure some objects in the rows y0 to y1, half open; y0 is even.

        Parameters
        ----------
        chosen : ndarray of int64 [n]
            Rows of the objects.
        y0, y1 : int
            The rows of the image.

        Returns
        -------
        values : ndarray of MEASURED_DTYPE [m]
            One row for each object that reaches no other rows.
        whole : ndarray of bool [n]
            Which those are.
        need : ndarray of int64 [n, 2]
            Rows, half open, that an object needs at least.
        """
        objects = self.extraction.objects[chosen]
        number = (chosen + 1).astype(np.int32)
        segmentation = self.extraction.segmentation[y0:y1]
        section = self.image.read(y0, y1)
        found = section if self.found is self.image else self.found.read(y0, y1)
        photometry = measure_photometry(
            section, segmentation, objects, number, self.params, gain=self.gain, shape=self.image.shape, found=found
        )
        whole, need = self._reached(objects, photometry, y0, y1)
        return self._rest(chosen[whole], photometry[whole], section, found), whole, need

    def _reached(self, objects: np.ndarray, photometry: np.ndarray, y0: int, y1: int) -> tuple[np.ndarray, np.ndarray]:
        """Return which objects reach no other rows, and the rows that each needs as far as that is known."""
        whole, need = np.ones(len(objects), dtype=bool), np.zeros((len(objects), 2), np.int64)
        diameter = self.params.aperture_diameter
        # What is measured first says how far the next step reaches; behind a step that was cut nothing is known.
        for reach in (
            photometry_reach(objects, diameter),
            photometry_reach(objects, diameter, photometry["kron"]),
            window_reach(window_sigma(photometry["radius"])),
        ):
            low = np.minimum(np.floor(objects["y"] - reach) - 1, objects["ymin"])
            high = np.maximum(np.ceil(objects["y"] + reach) + 2, objects["ymax"] + 1)
            rows = np.clip(np.stack([low, high], axis=1), 0, self.image.shape[0]).astype(np.int64)
            need[whole] = rows[whole]
            whole &= (rows[:, 0] >= y0) & (rows[:, 1] <= y1)
        return whole, need

    def _rest(self, chosen: np.ndarray, photometry: np.ndarray, section: Section, found: Section) -> np.ndarray:
        """Measure what is left of objects that lie whole in a section."""
        objects, number = self.extraction.objects[chosen], (chosen + 1).astype(np.int32)
        segmentation = self.extraction.segmentation[section.rows]
        sigma = window_sigma(photometry["radius"])
        windowed = measure_windowed(section, segmentation, objects, number, sigma, self.gain)
        pixels = IsoPixels.of(segmentation, number)
        peak, thresh, tnpix = objects["peak"], objects["thresh"], objects["tnpix"]
        if found is not section:
            peak, thresh, tnpix = isophotal(section, pixels, self.threshold)
        values = np.zeros(len(chosen), MEASURED_DTYPE)
        values["photometry"], values["windowed"], values["bits"] = photometry, windowed, pixels.bits(section.flag)
        values["peak"], values["thresh"], values["tnpix"] = peak, thresh, tnpix
        area = objects["a"] * objects["b"]
        values["fwhm"] = core_fwhm(
            section, pixels, objects["x"], objects["y"], peak, thresh, self.saturate[chosen], area
        )
        leaves = over_the_side(windowed["x"], windowed["y"], EXTENT * sigma, EXTENT * sigma, self.image.shape)
        values["flags"] = photometry["flags"] | SexFlag.APERTURE * leaves
        return values


def measure_objects(measurement: Measurement, strip_rows: int) -> np.ndarray:
    """Measure all objects of an image.

    Parameters
    ----------
    measurement : Measurement
        On what and how.
    strip_rows : int
        Rows of a strip; decides memory, not the result.

    Returns
    -------
    ndarray of MEASURED_DTYPE [n]
        One row per object.
    """
    objects = measurement.extraction.objects
    ny = measurement.image.shape[0]
    result = np.zeros(len(objects), MEASURED_DTYPE)
    need = np.zeros((len(objects), 2), np.int64)
    left = np.ones(len(objects), dtype=bool)

    def measure(chosen: np.ndarray, y0: int, y1: int) -> None:
        # Halves are rounded to the even row: from an even first row that is the same one.
        values, whole, need[chosen] = measurement.in_rows(chosen, y0 - y0 % 2, y1)
        result[chosen[whole]] = values
        left[chosen[whole]] = False

    margin = max(strip_rows // 4, 2)
    row = np.clip(np.floor(objects["y"]).astype(np.int64), 0, ny - 1)
    for y0 in range(0, ny, strip_rows):
        chosen = np.flatnonzero((row >= y0) & (row < y0 + strip_rows))
        if chosen.size:
            measure(chosen, max(y0 - margin, 0), min(y0 + strip_rows + margin, ny))
    while left.any():
        for chosen, y0, y1 in _together(np.flatnonzero(left), need[left], strip_rows + 2 * margin):
            measure(chosen, y0, y1)
    return result


def _together(chosen: np.ndarray, need: np.ndarray, height: int) -> Iterator[tuple[np.ndarray, int, int]]:
    """Group objects whose rows [n, 2] lie together, in sections of a height or what the first object needs."""
    order = np.argsort(need[:, 0], kind="stable")
    chosen, need = chosen[order], need[order]
    start = 0
    while start < len(chosen):
        y0 = int(need[start, 0])
        tall = max(height, int(need[start, 1]) - y0)
        beyond = np.flatnonzero(need[start:, 1] > y0 + tall)
        stop = start + int(beyond[0]) if beyond.size else len(chosen)
        yield chosen[start:stop], y0, int(need[start:stop, 1].max())
        start = stop
