"""Fluxes of detected objects in Kron ellipses and circles, their half-light radii, and who disturbs them."""

from __future__ import annotations

import numpy as np
import sep

from shapempi.kernels import _vignet
from shapempi.measure.detection_table import SexFlag
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


def _crowded(
    variance: np.ndarray, segmentation: np.ndarray, objects: np.ndarray, kron: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """Return whether [bool, len(rows)] the Kron ellipse, or the one it was measured in, is crowded."""
    crowded = np.zeros(len(rows), dtype=bool)
    chosen, factor = objects[rows], kron[rows]
    for half, group in stamp_groups(np.maximum(factor, KRON_EXTENT) * chosen["a"] + 1.0):
        part = chosen[group]
        (noise, segment), _, offset, _, _ = _vignet.cut(
            [variance, segmentation],
            np.ascontiguousarray(part["x"]),
            np.ascontiguousarray(part["y"]),
            2 * half + 1,
            fill=[0.0, -1],
        )
        grid = np.arange(-half, half + 1, dtype=float)
        dx, dy = (grid - offset[:, :1])[:, None, :], (grid - offset[:, 1:])[:, :, None]
        cxx, cyy, cxy = (part[name][:, None, None] for name in ("cxx", "cyy", "cxy"))
        r2 = cxx * dx * dx + cyy * dy * dy + cxy * dx * dy
        own = (rows[group] + 1)[:, None, None]
        foreign = (noise > UNUSABLE / 2) | ((segment > 0) & (segment != own))
        for extent in (np.full(len(group), KRON_EXTENT), factor[group]):
            inside = (r2 <= (extent * extent)[:, None, None]) & (segment >= 0)
            total = np.count_nonzero(inside, axis=(1, 2))
            crowded[group] |= np.count_nonzero(inside & foreign, axis=(1, 2)) > CROWDED_SHARE * total
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
    """Measure the fluxes of all objects of an image; pixels of neighbours and unusable pixels are left out.

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
    x, y, a, b = (np.ascontiguousarray(objects[name]) for name in ("x", "y", "a", "b"))
    theta = np.clip(objects["theta"], -np.pi / 2, np.pi / 2)
    number = np.arange(1, len(objects) + 1, dtype=np.int32)
    pixels = {"mask": variance, "maskthresh": UNUSABLE / 2, "segmap": segmentation, "seg_id": number}
    noise = {"var": variance, "gain": gain if gain > 0 else None}
    r1, kron_flags = sep.kron_radius(data, x, y, a, b, theta, KRON_EXTENT, **pixels)
    kron = np.fmax(kron_factor * r1, kron_min)
    auto, auto_err, auto_flags = sep.sum_ellipse(data, x, y, a, b, theta, kron, subpix=1, **noise, **pixels)
    aper, aper_err, _ = sep.sum_circle(data, x, y, aperture_diameter / 2, subpix=5, **noise, **pixels)
    positive = auto > 0
    radius, _ = sep.flux_radius(
        data, x, y, KRON_EXTENT * a, light_fraction, normflux=np.where(positive, auto, 1.0), subpix=5, **pixels
    )
    either = kron_flags | auto_flags
    result["kron"], result["auto"], result["auto_err"] = kron, auto, auto_err
    result["aper"], result["aper_err"] = aper, aper_err
    result["radius"] = np.where(positive, radius, np.nan)
    # Half width and height of an ellipse of k rms are k times the rms along x and y.
    extent, circle = np.maximum(kron, KRON_EXTENT), aperture_diameter / 2
    reach_x, reach_y = (np.maximum(extent * np.sqrt(objects[name]), circle) for name in ("x2", "y2"))
    result["flags"] = SexFlag.APERTURE * over_the_side(x, y, reach_x, reach_y, data.shape)
    touched = np.flatnonzero((either & (sep.APER_HASMASKED | sep.APER_ALLMASKED)) != 0)
    crowded = touched[_crowded(variance, segmentation, objects, kron, touched)]
    result["flags"][crowded] |= SexFlag.CROWDED
    return result
