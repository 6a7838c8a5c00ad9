"""Which CCD sees which object (behaviour specification, section 5.3, with its fixes)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shapempi.ids import CcdId
from shapempi.wcs import Wcs, tangent_offset

__all__ = ["EPOCH_DTYPE", "count_epochs", "find_epochs", "select_objects"]

#: One object on one CCD: index of the object, the CCD, and the position there [pixel, 0-based].
EPOCH_DTYPE = np.dtype([("object", "i4"), ("exposure", "i8"), ("ccd", "i4"), ("x", "f8"), ("y", "f8")])

#: Points per side of the grid on which a CCD's linear approximation is made.
_GRID = 5
#: Least width [pixel] that the linear approximation is trusted to beyond its own residuals.
_SLACK = 4.0


def _near(ra: np.ndarray, dec: np.ndarray, wcs: Wcs, box: tuple[int, int, int, int]) -> np.ndarray:
    """Return the objects that may lie in the box, by a linear approximation of the WCS that errs on the safe side."""
    y0, y1, x0, x1 = box
    gx, gy = (v.ravel() for v in np.meshgrid(np.linspace(x0, x1 - 1, _GRID), np.linspace(y0, y1 - 1, _GRID)))
    centre = _GRID * _GRID // 2
    grid_ra, grid_dec = wcs.pixel_to_sky(gx, gy)
    if not (np.isfinite(grid_ra).all() and np.isfinite(grid_dec).all()):
        return np.zeros(0, dtype=np.int64)
    ra0, dec0 = float(grid_ra[centre]), float(grid_dec[centre])
    u, v = tangent_offset(grid_ra, grid_dec, ra0, dec0)
    design = np.stack([np.ones_like(u), u, v], axis=-1)
    linear = np.linalg.lstsq(design, np.stack([gx, gy], axis=-1), rcond=None)[0]
    error = np.abs(design @ linear - np.stack([gx, gy], axis=-1)).max(axis=0)
    margin_x, margin_y = _SLACK + 2.0 * error

    radius = np.hypot(u, v).max() * 1.1 + 10.0  # arcsec; generous, it only spares trigonometry
    candidates = np.flatnonzero(np.abs(dec - dec0) * 3600.0 <= radius)
    candidates = candidates[np.cos(np.radians(ra[candidates] - ra0)) > 0]  # not the other side of the sky
    u, v = tangent_offset(ra[candidates], dec[candidates], ra0, dec0)
    x = linear[0, 0] + linear[1, 0] * u + linear[2, 0] * v
    y = linear[0, 1] + linear[1, 1] * u + linear[2, 1] * v
    close = (x >= x0 - margin_x) & (x <= x1 - 1 + margin_x) & (y >= y0 - margin_y) & (y <= y1 - 1 + margin_y)
    return candidates[close]


def find_epochs(
    ra: np.ndarray, dec: np.ndarray, ccds: Sequence[tuple[CcdId, Wcs, tuple[int, int, int, int]]]
) -> np.ndarray:
    """Find the CCDs that see each object.

    An object is on a CCD if its position is between the centres of the first and the last valid pixel of each axis,
    both included (in 1-based pixels: x_min <= x <= x_max).  Where two CCDs of one exposure see it, the one on which
    it is farther from the edge counts.

    Parameters
    ----------
    ra, dec : ndarray of float64 [n]
        Positions [deg]; an object whose position is not finite has no epoch.
    ccds : sequence of (CcdId, Wcs, valid_box)
        The CCDs to look at, each with its WCS and the part that has sky (y0, y1, x0, x1), half open, 0-based.

    Returns
    -------
    ndarray of EPOCH_DTYPE
        Sorted by object, then CCD; the order of `ccds` does not matter.
    """
    ra, dec = np.asarray(ra, dtype=float), np.asarray(dec, dtype=float)
    parts = [np.zeros(0, dtype=EPOCH_DTYPE)]
    edges = [np.zeros(0)]
    for ccd, wcs, box in ccds:
        y0, y1, x0, x1 = box
        near = _near(ra, dec, wcs, box)
        x, y = wcs.sky_to_pixel(ra[near], dec[near])
        edge = np.minimum(np.minimum(x - x0, x1 - 1 - x), np.minimum(y - y0, y1 - 1 - y))
        inside = edge >= 0  # False for NaN
        part = np.zeros(int(inside.sum()), dtype=EPOCH_DTYPE)
        part["object"], part["exposure"], part["ccd"] = near[inside], ccd.exposure, ccd.ccd
        part["x"], part["y"] = x[inside], y[inside]
        parts.append(part)
        edges.append(edge[inside])
    epochs, edge = np.concatenate(parts), np.concatenate(edges)
    order = np.lexsort((epochs["ccd"], -edge, epochs["exposure"], epochs["object"]))
    epochs = epochs[order]
    first = np.ones(len(epochs), dtype=bool)
    first[1:] = (epochs["object"][1:] != epochs["object"][:-1]) | (epochs["exposure"][1:] != epochs["exposure"][:-1])
    return epochs[first]


def count_epochs(epochs: np.ndarray, n_object: int) -> np.ndarray:
    """Return the number of epochs of each object [n_object], int32."""
    return np.bincount(epochs["object"], minlength=n_object).astype(np.int32)


def select_objects(epochs: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """Return the epochs of some objects, with `object` counting in the selection.

    Parameters
    ----------
    epochs : ndarray of EPOCH_DTYPE
        Epochs of all objects.
    objects : ndarray of int [k]
        The objects to keep, each once.

    Returns
    -------
    ndarray of EPOCH_DTYPE
        Sorted by the place in `objects`, then CCD.
    """
    objects = np.asarray(objects)
    size = max(int(epochs["object"].max(initial=-1)), int(objects.max(initial=-1))) + 1
    place = np.full(size, -1, dtype=np.int32)
    place[objects] = np.arange(len(objects), dtype=np.int32)
    chosen = epochs[place[epochs["object"]] >= 0]
    chosen["object"] = place[chosen["object"]]
    return chosen[np.lexsort((chosen["ccd"], chosen["exposure"], chosen["object"]))]
