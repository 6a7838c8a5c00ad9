"""Positions, moments and fluxes under a Gaussian window: SExtractor's WIN parameters.

For every object the window is a circular Gaussian of the object's own size that follows its centroid (SExtractor's
manual, "Windowed positional parameters").  Pixels of neighbours and unusable pixels are replaced by the
pixel opposite the object's centre (MASK_TYPE CORRECT).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shapempi.kernels import _vignet
from shapempi.measure.mirror import mirror_pixels
from shapempi.measure.section import Section
from shapempi.measure.stamp_group import stamp_groups, stamp_half
from shapempi.measure.variance import UNUSABLE

__all__ = ["EXTENT", "WINDOWED_DTYPE", "WindowedFlag", "measure_windowed", "window_reach", "window_sigma"]

#: The window ends at this many sigma.
EXTENT = 4.0
#: The step that brings a Gaussian's centroid home at once when the window has its size.
STEP_FACTOR = 2.0
MAX_STEPS = 16
#: Steps below this [pixel] end the iteration.
STEP_MIN = 1e-4
#: How often the mirror images of invalid pixels follow the centre.
MIRROR_PASSES = 4
#: How far [pixel] the centre may wander inside its stamp before the window is cut.
WANDER = 3.0
#: Variance of a pixel's own extent [pixel^2]; moments with a smaller determinant than its square are not resolved.
PIXEL_VARIANCE = 1.0 / 12.0

#: One object's windowed measurement: 0-based position, moments [pixel^2], their errors, flux [ADU], flag bits.
WINDOWED_DTYPE = np.dtype(
    [(name, "f8") for name in ("x", "y", "x2", "y2", "xy", "errx2", "erry2", "errxy", "flux", "fluxerr")]
    + [("flags", "i2")]
)


class WindowedFlag:
    """Bits of a windowed measurement; with any of them position and moments are the isophotal ones."""

    #: The determinant of the moments is negative.
    SINGULAR = 1
    #: A variance is negative.
    NEGATIVE_VARIANCE = 2
    #: The flux in the window is not positive.
    NEGATIVE_FLUX = 4
    #: The position left the 1-sigma ellipse of the isophotal one.
    RAN_AWAY = 8


@dataclass(frozen=True)
class _Stamps:
    """Stamps [n, size, size] of one group: values and variances with corrected pixels, and which those are.

    Positions are relative to the middle of the stamp; `grid` [size] are those of its pixels.
    """

    value: np.ndarray
    variance: np.ndarray
    invalid: np.ndarray
    sigma: np.ndarray
    grid: np.ndarray

    def mirror(self, rows: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
        """Give the invalid pixels of some stamps the values opposite x, y [n]; 0 where those are invalid too."""
        planes = [plane[rows] for plane in (self.value, self.variance)]
        mirror_pixels(planes, self.invalid[rows], self.invalid[rows], x[rows], y[rows])
        self.value[rows], self.variance[rows] = planes


def window_sigma(half_light_radius: np.ndarray) -> np.ndarray:
    """Return the sigma of the window [pixel] from half-light radii [pixel]; NaN and less than 0.5 count as 0.5."""
    return np.fmax(half_light_radius, 0.5) * 2.0 / 2.35


def _cut(
    planes: tuple[np.ndarray, ...], number: np.ndarray, x: np.ndarray, y: np.ndarray, sigma: np.ndarray, half: int
) -> tuple[_Stamps, np.ndarray, np.ndarray]:
    """Cut the stamps of one group; returns them and the positions x, y relative to their middles."""
    (value, variance, segment), _, offset, _, _ = _vignet.cut(list(planes), x, y, 2 * half + 1, fill=[0.0, UNUSABLE, 0])
    invalid = (variance > UNUSABLE / 2) | ((segment > 0) & (segment != number[:, None, None]))
    value[invalid] = variance[invalid] = 0.0
    return _Stamps(value, variance, invalid, sigma, np.arange(-half, half + 1, dtype=float)), offset[:, 0], offset[:, 1]


def _window(
    stamps: _Stamps, rows: np.ndarray, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the window [n, size, size] of the chosen rows and the offsets ux, uy [n, size] of its columns and rows."""
    ux, uy = stamps.grid - x[:, None], stamps.grid - y[:, None]
    sigma = stamps.sigma[rows][:, None]
    gauss_x, gauss_y = np.exp(-0.5 * (ux / sigma) ** 2), np.exp(-0.5 * (uy / sigma) ** 2)
    radius = np.sqrt((uy * uy)[:, :, None] + (ux * ux)[:, None, :])
    # The share of a pixel inside the circle, to first order; the window has fallen to 3e-4 there.
    window = np.clip(EXTENT * sigma[:, :, None] + 0.5 - radius, 0.0, 1.0)
    window *= gauss_y[:, :, None]
    window *= gauss_x[:, None, :]
    return window, ux, uy


def _iterate(stamps: _Stamps, rows: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    """Move the windows of some objects of a group to their centroids; changes x, y [n] in place."""
    active, limit = rows, stamps.grid[-1]
    for _ in range(MAX_STEPS):
        window, ux, uy = _window(stamps, active, x[active], y[active])
        window *= stamps.value if len(active) == len(x) else stamps.value[active]
        columns, lines = window.sum(axis=1), window.sum(axis=2)
        flux = lines.sum(axis=1)
        positive = flux > 0
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            dx = np.where(positive, (columns * ux).sum(axis=1) / flux, 0.0)
            dy = np.where(positive, (lines * uy).sum(axis=1) / flux, 0.0)
        x[active] = np.clip(x[active] + STEP_FACTOR * dx, -limit, limit)
        y[active] = np.clip(y[active] + STEP_FACTOR * dy, -limit, limit)
        active = active[dx * dx + dy * dy >= STEP_MIN * STEP_MIN]
        if active.size == 0:
            break


def _centre(stamps: _Stamps, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the windowed positions of a group that starts at x, y, with invalid pixels mirrored about them."""
    x, y = x.copy(), y.copy()
    touched = np.flatnonzero(stamps.invalid.any(axis=(1, 2)))
    stamps.mirror(touched, x, y)
    rows = np.arange(len(x))
    for _ in range(MIRROR_PASSES):
        before = np.rint(2 * x), np.rint(2 * y)
        _iterate(stamps, rows, x, y)
        moved = (np.rint(2 * x) != before[0]) | (np.rint(2 * y) != before[1])
        rows = touched[moved[touched]]
        if rows.size == 0:
            break
        stamps.mirror(rows, x, y)
    return x, y


def _moments(stamps: _Stamps, x: np.ndarray, y: np.ndarray, gain: float) -> np.ndarray:
    """Measure flux, moments and errors of a group at the final positions."""
    result = np.zeros(len(x), WINDOWED_DTYPE)
    window, ux, uy = _window(stamps, np.arange(len(x)), x, y)
    light = window * stamps.value
    noise = stamps.variance + np.maximum(stamps.value, 0.0) / gain if gain > 0 else stamps.variance
    noise = window * window * noise
    with np.errstate(divide="ignore", invalid="ignore"):
        flux, dx, dy, xx, yy, xy = _sums(light, ux, uy)
        dx, dy = dx / flux, dy / flux
        result["x2"], result["y2"], result["xy"] = xx / flux - dx * dx, yy / flux - dy * dy, xy / flux - dx * dy
        noise_sum, _, _, xx, yy, xy = _sums(noise, ux, uy)
        norm = (STEP_FACTOR / flux) ** 2
        result["errx2"] = (xx + noise_sum * PIXEL_VARIANCE) * norm
        result["erry2"] = (yy + noise_sum * PIXEL_VARIANCE) * norm
        result["errxy"] = xy * norm
    result["x"], result["y"], result["flux"], result["fluxerr"] = x, y, flux, np.sqrt(noise_sum)
    return result


def _sums(plane: np.ndarray, ux: np.ndarray, uy: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the sums of plane times 1, x, y, x^2, y^2, xy [n] over stamps [n, size, size]."""
    columns, lines = plane.sum(axis=1), plane.sum(axis=2)
    cross = (plane * ux[:, None, :]).sum(axis=2)
    return (
        lines.sum(axis=1),
        (columns * ux).sum(axis=1),
        (lines * uy).sum(axis=1),
        (columns * ux * ux).sum(axis=1),
        (lines * uy * uy).sum(axis=1),
        (cross * uy).sum(axis=1),
    )


def window_reach(sigma: np.ndarray) -> np.ndarray:
    """Return how many rows [n] around their barycentres the windows of these sigmas [pixel] need."""
    return stamp_half(_radius(sigma)) + 1


def _radius(sigma: np.ndarray) -> np.ndarray:
    """Return the radius [pixel, n] of the circle that a stamp must hold."""
    return EXTENT * sigma + 1.0 + WANDER


def measure_windowed(
    section: Section, segmentation: np.ndarray, objects: np.ndarray, number: np.ndarray, sigma: np.ndarray, gain: float
) -> np.ndarray:
    """Measure some objects of an image under a Gaussian window.

    Parameters
    ----------
    section : Section
        Rows of the image that hold the stamps; what is not in them counts as outside the image.
    segmentation : ndarray of int32 [y, x]
        The same rows of the map: number of the object that owns a pixel, 0 or less for none.
    objects : structured ndarray [n]
        Isophotal measurements: `x`, `y` (0-based, in the whole image), `x2`, `y2`, `xy`, `errx2`, `erry2`, `errxy`,
        `cxx`, `cyy`, `cxy`.
    number : ndarray of int32 [n]
        Their numbers in the map.
    sigma : ndarray of float64 [n]
        Sigma of the windows [pixel].
    gain : float
        Electrons per ADU for the photon noise of the object; 0 for none.

    Returns
    -------
    ndarray of WINDOWED_DTYPE [n]
        Where a flag is set, position, moments and their errors are the isophotal ones.
    """
    result = np.zeros(len(objects), WINDOWED_DTYPE)
    planes = (section.data, section.variance, segmentation)
    for half, rows in stamp_groups(_radius(sigma)):
        x, y = np.ascontiguousarray(objects["x"][rows]), np.ascontiguousarray(objects["y"][rows])
        stamps, dx, dy = _cut(planes, number[rows], x, y - section.y0, sigma[rows], half)
        found = _moments(stamps, *_centre(stamps, dx, dy), gain)
        found["x"] += x - dx
        found["y"] += y - dy
        result[rows] = found
    det = result["x2"] * result["y2"] - result["xy"] ** 2
    dx, dy = result["x"] - objects["x"], result["y"] - objects["y"]
    distance = objects["cxx"] * dx * dx + objects["cyy"] * dy * dy + objects["cxy"] * dx * dy
    result["flags"] = (
        WindowedFlag.RAN_AWAY * ((np.abs(dx) > 1.0) & (np.abs(dy) > 1.0) & (distance > 1.0))
        | WindowedFlag.NEGATIVE_FLUX * ~(result["flux"] > 0)
        | WindowedFlag.NEGATIVE_VARIANCE * ((result["x2"] < 0) | (result["y2"] < 0))
        | WindowedFlag.SINGULAR * (det < 0)
    )
    unresolved = det < PIXEL_VARIANCE**2
    for name in ("x2", "y2"):
        result[name][unresolved] += PIXEL_VARIANCE
    failed = result["flags"] != 0
    for name in ("x", "y", "x2", "y2", "xy", "errx2", "erry2", "errxy"):
        result[name][failed] = objects[name][failed]
    return result
