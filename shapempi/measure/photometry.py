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
from shapempi.measure.stamp_group import stamp_groups
from shapempi.measure.variance import UNUSABLE

__all__ = ["PHOTOMETRY_DTYPE", "measure_photometry", "over_the_side"]

#: The Kron radius is measured in an ellipse of this many isophotal rms.
KRON_EXTENT = 6.0
#: An ellipse with a larger share of foreign or unusable pixels is crowded.
CROWDED_SHARE = 0.1

#: One object's photometry: fluxes [ADU], Kron radius [isophotal rms], light radius [pixel], `SexFlag` bits.
PHOTOMETRY_DTYPE = np.dtype(
    [(name, "f8") for name in ("kron", "auto", "auto_err", "aper", "aper_err", "radius")] + [("flags", "i2")]
)


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
    def cut(cls, planes: Sequence[np.ndarray], objects: np.ndarray, rows: np.ndarray, half: int) -> _Corrected:
        """Cut the stamps of the chosen rows from image, variance and segmentation."""
        size = 2 * half + 1
        x, y = (np.ascontiguousarray(objects[name][rows]) for name in ("x", "y"))
        (value, noise, segment), _, offset, _, _ = _vignet.cut(list(planes), x, y, size, fill=[0.0, 0.0, -1])
        outside = segment < 0
        invalid = (noise > UNUSABLE / 2) | ((segment > 0) & (segment != (rows + 1)[:, None, None]))
        mirror_pixels((value, noise), invalid, invalid | outside, offset[:, 0], offset[:, 1])
        first = size * np.arange(len(rows)) + half
        stacked = (len(rows) * size, size)
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


def measure_photometry(
    data: np.ndarray,
    variance: np.ndarray,
    segmentation: np.ndarray,
    objects: np.ndarray,
    *,
    gain: float,
    kron_factor: float,
    kron_min: float,
    aperture_diameter: float,
    light_fraction: float,
) -> np.ndarray:
    """Measure the fluxes of all objects of an image; pixels of neighbours and unusable pixels are corrected.

    They get the values of the pixels opposite the object's centre (SExtractor's MASK_TYPE CORRECT): what is behind a
    neighbour is as faint as what is on the other side, and not as bright as the mean over the aperture.  The Kron
    radius is measured without them.

    Parameters
    ----------
    data, variance : ndarray of float32 [y, x]
        Background-subtracted image [ADU] and its variance [ADU^2], `UNUSABLE` for pixels to leave out.
    segmentation : ndarray of int32 [y, x]
        Number of the object that owns a pixel; row i of `objects` has number i + 1.
    objects : structured ndarray [n]
        Isophotal measurements of `sep.extract`.
    gain : float
        Electrons per ADU for the photon noise of the object; 0 for none.
    kron_factor, kron_min : float
        The Kron ellipse has max(kron_factor * r1, kron_min) isophotal rms (Kron 1980, ApJS 43, 305).
    aperture_diameter : float
        Diameter of the circle [pixel].
    light_fraction : float
        Fraction of the Kron flux inside the light radius.

    Returns
    -------
    ndarray of PHOTOMETRY_DTYPE [n]
        One row per object.
    """
    result = np.zeros(len(objects), PHOTOMETRY_DTYPE)
    apertures = _Apertures(gain, kron_factor, kron_min, aperture_diameter, light_fraction)
    x, y = (np.ascontiguousarray(objects[name]) for name in ("x", "y"))
    number = np.arange(1, len(objects) + 1, dtype=np.int32)
    masks = {"mask": variance, "maskthresh": UNUSABLE / 2, "segmap": segmentation, "seg_id": number}
    result["kron"], masked = apertures.kron(data, x, y, objects, **masks)
    masked |= apertures.fluxes(data, variance, x, y, objects, result, **masks)
    touched = np.flatnonzero(masked)
    planes = (data, variance, segmentation)
    reach = np.maximum(np.maximum(result["kron"], KRON_EXTENT) * objects["a"], aperture_diameter / 2)
    for half, group in stamp_groups(reach[touched] + 1.0):
        rows = touched[group]
        image, part = _Corrected.cut(planes, objects, rows, half), result[rows]
        apertures.fluxes(image.value, image.variance, image.x, image.y, objects[rows], part)
        part["flags"] = SexFlag.CROWDED * image.is_crowded(objects[rows], part["kron"])
        result[rows] = part
    # Half width and height of an ellipse of k rms are k times the rms along x and y.
    extent, circle = np.maximum(result["kron"], KRON_EXTENT), aperture_diameter / 2
    reach_x, reach_y = (np.maximum(extent * np.sqrt(objects[name]), circle) for name in ("x2", "y2"))
    result["flags"] |= SexFlag.APERTURE * over_the_side(x, y, reach_x, reach_y, data.shape)
    return result


@dataclass(frozen=True)
class _Apertures:
    """The apertures of `measure_photometry`, and what is measured in them."""

    gain: float
    kron_factor: float
    kron_min: float
    diameter: float
    light_fraction: float

    def kron(
        self, data: np.ndarray, x: np.ndarray, y: np.ndarray, objects: np.ndarray, **masks: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the Kron factors [isophotal rms, n] of objects at x, y, and whether [bool, n] a pixel was left out."""
        r1, flags = sep.kron_radius(data, x, y, *_axes(objects), KRON_EXTENT, **masks)
        return np.fmax(self.kron_factor * r1, self.kron_min), _left_out(flags)

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
            data, x, y, self.diameter / 2, subpix=5, **noise, **masks
        )
        positive = auto > 0
        radius, in_growth = sep.flux_radius(
            data,
            x,
            y,
            KRON_EXTENT * objects["a"],
            self.light_fraction,
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
