"""Pixels that are not an object's own, replaced by those opposite its centre (SExtractor's MASK_TYPE CORRECT)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["mirror_pixels"]


def mirror_pixels(
    planes: Sequence[np.ndarray], invalid: np.ndarray, unusable: np.ndarray, x: np.ndarray, y: np.ndarray
) -> None:
    """Give the invalid pixels of stamps the values of those opposite a centre.

    Parameters
    ----------
    planes : sequence of ndarray [n, size, size]
        Values to correct, in place; size is odd.
    invalid : ndarray of bool [n, size, size]
        Pixels to correct.
    unusable : ndarray of bool [n, size, size]
        Pixels that correct no others: where one of these, or nothing, is opposite, the value is 0.
    x, y : ndarray of float64 [n]
        The centres, relative to the middle of the stamps [pixel].
    """
    if not len(invalid):
        return
    last = invalid.shape[-1] - 1
    index = np.arange(last + 1)
    ix, iy = (last + np.rint(2 * centre[:, None]).astype(int) - index for centre in (x, y))
    inside = ((iy >= 0) & (iy <= last))[:, :, None] & ((ix >= 0) & (ix <= last))[:, None, :]
    source = (
        np.arange(len(invalid))[:, None, None],
        np.clip(iy, 0, last)[:, :, None],
        np.clip(ix, 0, last)[:, None, :],
    )
    usable = inside & ~unusable[source]
    for plane in planes:
        plane[...] = np.where(invalid, np.where(usable, plane[source], 0), plane)
