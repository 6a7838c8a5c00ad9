"""Tiles: the exposures resampled to the tile's pixels and averaged with inverse-variance weights.

As a survey's coadds do, this takes the exposures as they were written, removes what is left of the sky, resamples with
a Lanczos-3 kernel, conserves flux, and leaves flagged pixels out.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy.interpolate import RectBivariateSpline
from scipy.ndimage import binary_dilation

from shapempi.image import Image
from shapempi.sim.detector import Defect
from shapempi.wcs import Wcs

__all__ = ["coadd", "sky_plane"]

#: Half width of the kernel [pixel].
_HALF = 3

#: Step of the grid on which the map between pixels is exact; between, it is a cubic spline (better than 1e-5 pixel).
_MAP_STEP = 32

#: Rows of the tile that are worked on together: bounds the memory.
_ROWS = 256

#: Weight of flagged pixels relative to the others: where no exposure has a good pixel, the image shows them anyway,
#: so that a saturated star is not a hole; their weight in the weight image is 0.
_FAINT = 1e-9

#: Bad pixels whose neighbours are good: bridged before resampling.
_REPAIR = int(Defect.BAD | Defect.COSMIC_RAY)


def sky_plane(data: np.ndarray, good: np.ndarray, *, cell: int = 64) -> np.ndarray:
    """Estimate the sky as a plane.

    Parameters
    ----------
    data : ndarray of float32 [y, x]
        Counts.
    good : ndarray of bool [y, x]
        Pixels to use.
    cell : int, optional
        Side of the squares of which each gives one clipped mode [pixel].

    Returns
    -------
    ndarray of float64 [3]
        Value at the array's centre and slopes per pixel along y and x.
    """
    centre_y, centre_x = (np.array(data.shape) - 1) / 2
    points = []
    for y0 in range(0, data.shape[0], cell):
        for x0 in range(0, data.shape[1], cell):
            part = (slice(y0, y0 + cell), slice(x0, x0 + cell))
            values = data[part][good[part]].astype(float)
            if values.size < cell * cell // 4:
                continue
            for _ in range(8):
                middle, sigma = np.median(values), np.std(values)
                kept = values[np.abs(values - middle) <= 2.5 * sigma]
                if kept.size == values.size:
                    break
                values = kept
            mode = 2.5 * np.median(values) - 1.5 * np.mean(values)
            y, x = y0 + (data[part].shape[0] - 1) / 2, x0 + (data[part].shape[1] - 1) / 2
            points.append((1.0, y - centre_y, x - centre_x, mode))
    if len(points) < 4:
        return np.zeros(3)
    table = np.array(points)
    use = np.ones(len(table), bool)
    plane = np.zeros(3)
    for _ in range(5):
        plane = np.linalg.lstsq(table[use, :3], table[use, 3], rcond=None)[0]
        residual = table[:, 3] - table[:, :3] @ plane
        sigma = 1.4826 * np.median(np.abs(residual[use] - np.median(residual[use])))
        new = np.abs(residual) <= max(3 * sigma, 1e-12)
        if np.count_nonzero(new) < 4 or (new == use).all():
            break
        use = new
    return plane


def _bridge(data: np.ndarray, repair: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Replace bad pixels by linear interpolation along their row."""
    out = data.astype(np.float64)
    x = np.arange(data.shape[1])
    for row in np.flatnonzero(repair.any(axis=1)):
        here = good[row]
        if here.any():
            out[row, repair[row]] = np.interp(x[repair[row]], x[here], data[row, here])
    return out


def _lanczos(offset: np.ndarray) -> list[np.ndarray]:
    """Return the six kernel values for offsets 0..1 from the third pixel, normalised to unit sum."""
    taps = [np.sinc(offset - k) * np.sinc((offset - k) / _HALF) for k in range(1 - _HALF, _HALF + 1)]
    total = sum(taps)
    return [tap / total for tap in taps]


def _resample(data: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Interpolate an array at positions that are at least three pixels inside it."""
    nx = data.shape[1]
    first_x, first_y = np.floor(x).astype(np.intp), np.floor(y).astype(np.intp)
    kernel_x, kernel_y = _lanczos(x - first_x), _lanczos(y - first_y)
    flat = data.ravel()
    corner = (first_y - _HALF + 1) * nx + first_x - _HALF + 1
    result = np.zeros(len(x))
    for j in range(2 * _HALF):
        row = np.zeros(len(x))
        for i in range(2 * _HALF):
            row += kernel_x[i] * flat[corner + (j * nx + i)]
        result += kernel_y[j] * row
    return result


class _Resampler:
    """One CCD, ready to be resampled to a tile in parts."""

    def __init__(self, source: Image, tile: Wcs, size: int) -> None:
        good = source.weight > 0
        ny, nx = source.data.shape
        centre, slope_y, slope_x = sky_plane(source.data, good)
        bridged = _bridge(source.data, (source.flag & _REPAIR) != 0, good)
        bridged -= centre + slope_y * (np.arange(ny) - (ny - 1) / 2)[:, None]
        bridged -= slope_x * (np.arange(nx) - (nx - 1) / 2)
        self._data = bridged
        # The kernel rings around what is not bridged (saturated stars); elsewhere the nearest pixels decide.
        spoiled = binary_dilation(~good, np.ones((3, 3), bool))
        hard = ~good & ((source.flag & _REPAIR) == 0)
        spoiled |= binary_dilation(hard, np.ones((2 * _HALF + 1, 2 * _HALF + 1), bool))
        self._weight = np.where(spoiled, np.float32(0), source.weight)
        self._typical = float(np.median(source.weight[good])) if good.any() else 0.0
        self._scale = source.flux_scale

        node = np.arange(-_MAP_STEP, size + 2 * _MAP_STEP, _MAP_STEP, dtype=float)
        grid_y, grid_x = np.meshgrid(node, node, indexing="ij")
        x, y = source.wcs.sky_to_pixel(*tile.pixel_to_sky(grid_x.ravel(), grid_y.ravel()))
        self._map_x, self._map_y = (
            RectBivariateSpline(node, node, v.reshape(grid_x.shape) - origin)
            for v, origin in ((x, source.origin[1]), (y, source.origin[0]))
        )
        corner_x = np.array([-0.5, nx - 0.5, nx - 0.5, -0.5]) + source.origin[1]
        corner_y = np.array([-0.5, -0.5, ny - 0.5, ny - 0.5]) + source.origin[0]
        on_tile = tile.sky_to_pixel(*source.wcs.pixel_to_sky(corner_x, corner_y))
        # The map is smooth: a few pixels of margin cover the curvature of the CCD's edges.
        (self.x0, self.x1), (self.y0, self.y1) = (
            (int(np.clip(v.min() - 8, 0, size)), int(np.clip(v.max() + 9, 0, size))) for v in on_tile
        )

    def add_to(self, sums: np.ndarray, shown: np.ndarray, weights: np.ndarray) -> None:
        """Add the CCD to the tile's weighted sums, to the weights of what is shown, and to the true weights."""
        ny, nx = self._data.shape
        columns = np.arange(self.x0, self.x1, dtype=float)
        for y0 in range(self.y0, self.y1 if len(columns) else self.y0, _ROWS):
            rows = np.arange(y0, min(y0 + _ROWS, self.y1), dtype=float)
            x, y = self._map_x(rows, columns), self._map_y(rows, columns)
            # All six taps of the kernel must be pixels of the CCD.
            inside = (x >= _HALF - 1) & (x < nx - _HALF) & (y >= _HALF - 1) & (y < ny - _HALF)
            if not inside.any():
                continue
            det = self._map_x(rows, columns, dy=1) * self._map_y(rows, columns, dx=1)
            det -= self._map_x(rows, columns, dx=1) * self._map_y(rows, columns, dy=1)
            # Flux per tile pixel = flux per CCD pixel x CCD pixels under a tile pixel.
            factor = np.abs(det[inside]) * self._scale
            x, y = x[inside], y[inside]
            value = _resample(self._data, x, y) * factor
            weight = self._weight[np.rint(y).astype(np.intp), np.rint(x).astype(np.intp)] / factor**2
            show = np.maximum(weight, _FAINT * self._typical / factor**2)
            part = (slice(y0, y0 + len(rows)), slice(self.x0, self.x1))
            sums[part][inside] += value * show
            shown[part][inside] += show
            weights[part][inside] += weight


def coadd(images: Iterable[Image], tile: Wcs, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Coadd CCDs on a tile.

    Parameters
    ----------
    images : iterable of Image
        The CCDs, each cut to its imaging area; taken one at a time, in an order that decides the rounding.
    tile : Wcs
        The tile's WCS.
    size : int
        The tile's side [pixel].

    Returns
    -------
    image : ndarray of float32 [size, size]
        Counts at the tile's zero point; 0 where no CCD reaches.
    weight : ndarray of float32 [size, size]
        Sum of the inputs' inverse variances; 0 where no good pixel reaches.
    """
    sums, shown, weights = (np.zeros((size, size), np.float32) for _ in range(3))
    for image in images:
        _Resampler(image, tile, size).add_to(sums, shown, weights)
    np.divide(sums, shown, out=sums, where=shown > 0)
    return sums, weights
