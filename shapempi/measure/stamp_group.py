"""Groups of objects that are measured together on stamps of one size."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

__all__ = ["stamp_groups", "stamp_half"]

#: Pixels of one plane of one group: small enough for the second-level cache.
GROUP_PIXELS = 1 << 17


def stamp_half(radius: np.ndarray) -> np.ndarray:
    """Return the half sizes [int, n] of the stamps that hold circles of these radii [pixel] around their centre pixels.

    The size of an object's stamp depends on its own radius only, so its result does not depend on its group.
    """
    # Steps of 2 pixels for small stamps and of an eighth for large ones keep the number of sizes low.
    exponent = np.maximum(np.floor(np.log2(np.maximum(radius, 1.0))) - 3, 1)
    step = 2.0**exponent
    return (np.ceil(radius / step) * step).astype(int)


def stamp_groups(radius: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Group objects by the stamp that holds a circle around each.

    Parameters
    ----------
    radius : ndarray of float64 [n]
        Radius that the stamp must hold around the centre pixel [pixel].

    Yields
    ------
    half : int
        Half size: the stamps have 2 half + 1 pixels along each side.
    rows : ndarray of int64
        Indices of the objects, increasing.
    """
    halves = stamp_half(radius)
    for half in np.unique(halves):
        rows = np.flatnonzero(halves == half)
        count = max(1, GROUP_PIXELS // (2 * int(half) + 1) ** 2)
        for start in range(0, len(rows), count):
            yield int(half), rows[start : start + count]
