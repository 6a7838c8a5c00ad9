"""The variance map of a detection: the weight map brought to the noise that the image really has."""

from __future__ import annotations

import numpy as np
import sep

__all__ = ["noise_ratio", "usable_pixels", "variance_map"]

#: Rows handled at a time, a multiple of every sensible box size, so that temporaries stay small on a tile.
ROWS = 1024
#: Weights are sampled every so many pixels when the median of a box is taken.
SAMPLE = 4


def usable_pixels(data: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return where [bool, y, x] the weight is positive and finite and the value is finite."""
    usable = np.isfinite(data)
    usable &= weight > 0
    usable &= np.isfinite(weight)
    return usable


def _box_ratios(data: np.ndarray, weight: np.ndarray, bad: np.ndarray, box: int) -> np.ndarray:
    """Return sigma * sqrt(weight) of the boxes of one strip that have enough good pixels."""
    estimate = sep.Background(data, mask=bad, bw=box, bh=box, fw=1, fh=1)
    n_y, n_x = (n // box for n in data.shape)
    if n_y * n_x == 0:
        sigma, sampled, good = np.array([estimate.globalrms]), weight.reshape(1, -1), ~bad.reshape(1, -1)
    else:
        centre = slice(box // 2, None, box)
        sigma = estimate.rms(dtype=np.float32)[centre, centre][:n_y, :n_x].ravel()
        strips = []
        for plane in (weight, ~bad):
            part = plane[: n_y * box : SAMPLE, : n_x * box : SAMPLE]
            side = part.shape[0] // n_y
            part = part[: n_y * side, : n_x * side].reshape(n_y, side, n_x, side)
            strips.append(part.transpose(0, 2, 1, 3).reshape(n_y * n_x, side * side))
        sampled, good = strips
    full = 2 * np.count_nonzero(good, axis=1) > good.shape[1]
    if not full.any():
        return np.empty(0)
    middle = np.nanmedian(np.where(good[full], sampled[full], np.nan), axis=1)
    ratio = sigma[full] * np.sqrt(middle)
    return ratio[np.isfinite(ratio) & (ratio > 0)]


def noise_ratio(data: np.ndarray, weight: np.ndarray, bad: np.ndarray, box: int) -> float:
    """Measure how much noisier the sky is than the weight map says (SExtractor's RESCALE_WEIGHTS).

    Parameters
    ----------
    data : ndarray of float32 [y, x]
        Background-subtracted image [ADU].
    weight : ndarray of float32 [y, x]
        Inverse variance up to a factor.
    bad : ndarray of bool [y, x]
        Pixels to leave out.
    box : int
        Side of the boxes [pixel]; at most 1024 and a multiple of 4.

    Returns
    -------
    float
        Median over boxes of (rms of the sky) / (rms that the weight says); 1 where no box can tell.
    """
    step = ROWS // box * box
    strips = [slice(y, y + step) for y in range(0, data.shape[0], step)]
    ratios = np.concatenate([_box_ratios(data[rows], weight[rows], bad[rows], box) for rows in strips] or [np.empty(0)])
    return float(np.median(ratios)) if ratios.size else 1.0


def variance_map(weight: np.ndarray, bad: np.ndarray, ratio: float, out: np.ndarray | None = None) -> np.ndarray:
    """Return ratio^2 / weight [float32, y, x], and 1 where `bad`, in `out` (which may be `weight`) if given."""
    variance = np.empty(weight.shape, np.float32) if out is None else out
    np.divide(np.float32(ratio * ratio), weight, out=variance, where=~bad)
    variance[bad] = 1.0
    return variance
