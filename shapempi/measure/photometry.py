"""Fluxes of detected objects in Kron ellipses and circles, their half-light radii, and who disturbs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sep

from shapempi.kernels import _vignet
from shapempi.measure.detection_table import SexFlag
from shapempi.measure.mirror import mirror_pixels
from shapempi.measure.section import Section
from shapempi.measure.stamp_group import stamp_groups, stamp_half
from shapempi.measure.variance import UNUSABLE
from shapempi.params import Params, key

__all__ = ["PHOTOMETRY_DTYPE", "PhotometryParams", "measure_photometry", "over_the_side", "photometry_reach"]

#: The Kron radius is measured in an ellipse of this many isophotal rms.
KRON_EXTENT = 6.0
#: An ellipse with a larger share of foreign or unusable pixels is crowded.
CROWDED_SHARE = 0.1

#: What stamps of the map have outside it: the number of no object.
OUTSIDE = int(np.iinfo(np.int32).min)

#: Parts of a pixel that the place of a corrected stamp is rounded to.
_FRACTION = 2.0**24

#: One object's photometry: fluxes [ADU], Kron radius [isophotal rms], light radius [pixel], `SexFlag` bits.
PHOTOMETRY_DTYPE = np.dtype(
    [(name, "f8") for name in ("kron", "auto", "auto_err", "aper", "aper_err", "radius")] + [("flags", "i2")]
)


class PhotometryParams(Params):
    """In what the fluxes of objects are measured."""

    kron_factor: float = key(2.5, "Kron ellipse in units of the Kron radius.", gt=0)
    kron_min: float = key(3.5, "Smallest Kron ellipse.", unit="isophotal rms", gt=0)
    aperture_diameter: float = key(5.0, "Diameter of the circular aperture.", unit="pixel", gt=0)
    light_fraction: float = key(0.5, "Fraction of the Kron flux inside FLUX_RADIUS.", gt=0, lt=1)


def over_the_side(
    x: np.ndarray, y: np.ndarray, reach_x: np.ndarray, reach_y: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """Return whether [bool, n] apertures around x, y that reach so far leave an image of this shape (ny, nx)."""
    leaves_x = (np.rint(x - reach_x) < 0) | (np.rint(x + reach_x) > shape[1] - 1)
    leaves_y = (np.rint(y - reach_y) < 0) | (np.rint(y + reach_y) > shape[0] - 1)
    return leaves_x | leaves_y


@dataclass(frozen=True)
class _Corrected:
    """The surroundings of some objects with corrected pixels, one under the other as one image.

    Attributes
    ----------
    value, variance : ndarray of float32 [n * size, size]
        Image and variance; pixels of neighbours and unusable pixels have the values of those opposite the object's
        centre, 0 where these are invalid, too (SExtractor's MASK_TYPE CORRECT).
    invalid, outside : ndarray of bool [n, size, size]
        Which pixels were corrected, and which are outside the image.
    x, y : ndarray of float64 [n]
        The objects' positions in it.
    """

    value: np.ndarray
    variance: np.ndarray
    invalid: np.ndarray
    outside: np.ndarray
    x: np.ndarray
    y: np.ndarray

    @classmethod
    def cut(
        cls, planes: Sequence[np.ndarray], x: np.ndarray, y: np.ndarray, number: np.ndarray, half: int
    ) -> _Corrected:
        """Cut the stamps of objects at x, y from image, variance and segmentation."""
        size = 2 * half + 1
        (value, noise, segment), _, offset, _, _ = _vignet.cut(list(planes), x, y, size, fill=[0.0, 0.0, OUTSIDE])
        # Fractions of so few bits that no place in the pile rounds them: the same object is the same everywhere.
        offset = np.rint(offset * _FRACTION) / _FRACTION
        outside = segment == OUTSIDE
        invalid = (noise > UNUSABLE / 2) | ((segment > 0) & (segment != number[:, None, None]))
        mirror_pixels((value, noise), invalid, invalid | outside, offset[:, 0], offset[:, 1])
        first = size * np.arange(len(x)) + half
        stacked = (len(x) * size, size)
        return cls(
            value.reshape(stacked), noise.reshape(stacked), invalid, outside, half + offset[:, 0], first + offset[:, 1]
        )

    def is_crowded(self, shapes: np.ndarray, factor: np.ndarray) -> np.ndarray:
        """Return whether [bool, n] neighbours or unusable pixels fill too much of the ellipses of so many rms [n]."""
        n, size, _ = self.invalid.shape
        grid = np.arange(size, dtype=float)
        dx = (grid - self.x[:, None])[:, None, :]
        dy = (grid - (self.y - size * np.arange(n))[:, None])[:, :, None]
        cxx, cyy, cxy = (shapes[name][:, None, None] for name in ("cxx", "cyy", "cxy"))
        r2 = cxx * dx * dx + cyy * dy * dy + cxy * dx * dy
        crowded = np.zeros(n, dtype=bool)
        for extent in (np.full(n, KRON_EXTENT), factor):
            inside = (r2 <= (extent * extent)[:, None, None]) & ~self.outside
            total = np.count_nonzero(inside, axis=(1, 2))
            crowded |= np.count_nonzero(inside & self.invalid, axis=(1, 2)) > CROWDED_SHARE * total
        return crowded


def photometry_reach(objects: np.ndarray, aperture_diameter: float, kron: np.ndarray | None = None) -> np.ndarray:
    """Return how many rows [float64, n] around their barycentres the photometry of objects needs.

    Parameters
    ----------
    objects : structured ndarray [n]
        Isophotal measurements.
    aperture_diameter : float
        Diameter of the circle [pixel].
    kron : ndarray of float64 [n], optional
        The Kron radius where it is known; without it what the Kron radius itself needs.
    """
    if kron is None:  # half the height of an ellipse of k rms is k times the rms along y
        return KRON_EXTENT * np.sqrt(objects["y2"]) + 2.0
    return stamp_half(_radius(objects, kron, aperture_diameter)) + 1.0


def _radius(objects: np.ndarray, kron: np.ndarray, aperture_diameter: float) -> np.ndarray:
    """Return the radius [pixel, n] of the circle around an object that holds all its apertures."""
    return np.maximum(np.maximum(kron, KRON_EXTENT) * objects["a"], aperture_diameter / 2) + 1.0


def measure_photometry(
    section: Section,
    segmentation: np.ndarray,
    objects: np.ndarray,
    number: np.ndarray,
    params: PhotometryParams,
    *,
    gain: float,
    shape: tuple[int, int],
    found: Section,
) -> np.ndarray:
    """Measure the fluxes of some objects of an image; pixels of neighbours and unusable pixels are corrected.

    They get the values of the pixels opposite the object's centre (SExtractor's MASK_TYPE CORRECT): what is behind a
    neighbour is as faint as what is on the other side, and not as bright as the mean over the aperture.  The Kron
    radius (Kron 1980, ApJS 43, 305) is measured without them.

    Parameters
    ----------
    section : Section
        Rows of the image that hold the apertures; what is not in them counts as outside the image.
    segmentation : ndarray of int32 [y, x]
        The same rows of the map: number of the object that owns a pixel, 0 or less for none.
    objects : structured ndarray [n]
        Isophotal measurements of `sep.extract`, in pixels of the whole image.
    number : ndarray of int32 [n]
        Their numbers in the map.
    params : PhotometryParams
        Apertures.
    gain : float
        Electrons per ADU for the photon noise of the object; 0 for none.
    shape : tuple of int
        (ny, nx) of the whole image.
    found : Section
        The same rows of the image in which the objects were found, where the Kron radius is measured.

    Returns
    -------
    ndarray of PHOTOMETRY_DTYPE [n]
        One row per object.
    """
    result = np.zeros(len(objects), PHOTOMETRY_DTYPE)
    apertures = _Apertures(gain, params)
    x, y = np.ascontiguousarray(objects["x"]), objects["y"] - section.y0
    owners = {"maskthresh": UNUSABLE / 2, "segmap": segmentation, "seg_id": number}
    result["kron"], masked = apertures.kron(found.data, x, y, objects, mask=found.variance, **owners)
    masked |= apertures.fluxes(section.data, section.variance, x, y, objects, result, mask=section.variance, **owners)
    touched = np.flatnonzero(masked)
    planes = (section.data, section.variance, segmentation)
    radius = _radius(objects, result["kron"], params.aperture_diameter)
    for half, group in stamp_groups(radius[touched]):
        rows = touched[group]
        image, part = _Corrected.cut(planes, x[rows], y[rows], number[rows], half), result[rows]
        apertures.fluxes(image.value, image.variance, image.x, image.y, objects[rows], part)
        part["flags"] = SexFlag.CROWDED * image.is_crowded(objects[rows], part["kron"])
        result[rows] = part
    # Half width and height of an ellipse of k rms are k times the rms along x and y.
    extent, circle = np.maximum(result["kron"], KRON_EXTENT), params.aperture_diameter / 2
    reach_x, reach_y = (np.maximum(extent * np.sqrt(objects[name]), circle) for name in ("x2", "y2"))
    result["flags"] |= SexFlag.APERTURE * over_the_side(objects["x"], objects["y"], reach_x, reach_y, shape)
    return result


@dataclass(frozen=True)
class _Apertures:
    """The apertures of `measure_photometry`, and what is measured in them."""

    gain: float
    params: PhotometryParams

    def kron(
        self, data: np.ndarray, x: np.ndarray, y: np.ndarray, objects: np.ndarray, **masks: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the Kron factors [isophotal rms, n] of objects at x, y, and whether [bool, n] a pixel was left out."""
        r1, flags = sep.kron_radius(data, x, y, *_axes(objects), KRON_EXTENT, **masks)
        return np.fmax(self.params.kron_factor * r1, self.params.kron_min), _left_out(flags)

    def fluxes(
        self,
        data: np.ndarray,
        variance: np.ndarray,
        x: np.ndarray,
        y: np.ndarray,
        objects: np.ndarray,
        result: np.ndarray,
        **masks: Any,
    ) -> np.ndarray:
        """Fill fluxes and light radii of the result, which has the Kron factors; returns as `kron` does."""
        noise = {"var": variance, "gain": self.gain if self.gain > 0 else None}
        auto, result["auto_err"], in_ellipse = sep.sum_ellipse(
            data, x, y, *_axes(objects), result["kron"], subpix=1, **noise, **masks
        )
        result["aper"], result["aper_err"], in_circle = sep.sum_circle(
            data, x, y, self.params.aperture_diameter / 2, subpix=5, **noise, **masks
        )
        positive = auto > 0
        radius, in_growth = sep.flux_radius(
            data,
            x,
            y,
            KRON_EXTENT * objects["a"],
            self.params.light_fraction,
            normflux=np.where(positive, auto, 1.0),
            subpix=5,
            **masks,
        )
        result["auto"], result["radius"] = auto, np.where(positive, radius, np.nan)
        return _left_out(in_ellipse | in_circle | in_growth)


def _axes(objects: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return semi-axes and angle of the isophotal ellipses as the library takes them."""
    a, b = (np.ascontiguousarray(objects[name]) for name in ("a", "b"))
    return a, b, np.clip(objects["theta"], -np.pi / 2, np.pi / 2)


def _left_out(flags: np.ndarray) -> np.ndarray:
    """Return whether [bool, n] pixels of an aperture were masked."""
    return np.asarray((flags & (sep.APER_HASMASKED | sep.APER_ALLMASKED)) != 0)
