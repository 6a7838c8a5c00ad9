"""The variance map of a detection: the weight map brought to the noise that the image really has.

Unusable pixels are part of the map, as a variance of `UNUSABLE`: a tile has no memory to spare for a plane of its own.
"""

from __future__ import annotations

import numpy as np
import sep

from shapempi.measure.pixel_source import PixelSource

__all__ = ["UNUSABLE", "noise_ratio", "variance_map"]

#: Variance [ADU^2] of pixels that take no part; half of it is the limit from which a pixel is unusable.
UNUSABLE = 1e30
#: Rows of an image whose boxes are compared at a time, at most.
ROWS = 1024
#: Weights are sampled every so many pixels when the median of a box is taken.
SAMPLE = 4


def _usable(data: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return where [bool, y, x] the weight is positive and finite and the value is finite."""
    return np.isfinite(data) & (weight > 0) & np.isfinite(weight)


def _box_ratios(data: np.ndarray, weight: np.ndarray, box: int) -> np.ndarray:
    """Return sigma * sqrt(weight) of the boxes of one strip that have enough usable pixels."""
    usable = _usable(data, weight)
    estimate = sep.Background(data, mask=~usable, bw=box, bh=box, fw=1, fh=1)
    n_y, n_x = (n // box for n in data.shape)
    if n_y * n_x == 0:
        sigma, sampled, good = np.array([estimate.globalrms]), weight.reshape(1, -1), usable.reshape(1, -1)
    else:
        centre = slice(box // 2, None, box)
        sigma = estimate.rms(dtype=np.float32)[centre, centre][:n_y, :n_x].ravel()
        side = box // SAMPLE
        sampled, good = (
            plane[: n_y * box : SAMPLE, : n_x * box : SAMPLE]
            .reshape(n_y, side, n_x, side)
            .transpose(0, 2, 1, 3)
            .reshape(n_y * n_x, side * side)
            for plane in (weight, usable)
        )
    full = 2 * np.count_nonzero(good, axis=1) > good.shape[1]
    if not full.any():
        return np.empty(0)
    middle = np.nanmedian(np.where(good[full], sampled[full], np.nan), axis=1)
    ratio = sigma[full] * np.sqrt(middle)
    return ratio[np.isfinite(ratio) & (ratio > 0)]


def noise_ratio(source: PixelSource, box: int) -> float:
    """Measure how much noisier the sky is than the weight map says (SExtractor's RESCALE_WEIGHTS).

    Parameters
    ----------
    source : PixelSource
        The image; its weights need be right up to a factor only.
    box : int
        Side of the boxes [pixel]; at most 1024 and a multiple of 4.

    Returns
    -------
    float
        Median over boxes of (rms of the sky) / (rms that the weight says); 1 where no box can tell.
    """
    # Always the same rows, whatever else is read in strips: the library's boxes begin where its image does.
    step = ROWS // box * box
    ny, nx = source.shape
    ratios = [np.empty(0)]
    for y in range(0, ny if nx > 0 else 0, step):
        rows = source.read(y, min(y + step, ny))
        ratios.append(_box_ratios(rows.data, rows.weight, box))
    ratio = np.concatenate(ratios)
    return float(np.median(ratio)) if ratio.size else 1.0


def variance_map(data: np.ndarray, weight: np.ndarray, ratio: float) -> np.ndarray:
    """Make the variance map of an image, and take its unusable pixels out.

    Parameters
    ----------
    data, weight : ndarray of float32 [y, x]
        Image [ADU] and its inverse variance.  Changed in place: `data` is 0 where it is unusable, `weight` is the
        result.
    ratio : float
        Factor on the rms that the weight says.

    Returns
    -------
    ndarray of float32 [y, x]
        ratio^2 / weight [ADU^2]; `UNUSABLE` where weight or value are unusable.
    """
    usable = _usable(data, weight)
    np.divide(np.float32(ratio * ratio), weight, out=weight, where=usable)
    unusable = np.flatnonzero(~usable)
    weight.reshape(-1)[unusable] = UNUSABLE
    data.reshape(-1)[unusable] = 0.0
    return weight
