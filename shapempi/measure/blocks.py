"""Compact blocks of a tile's objects: the units in which shapes are measured."""

from __future__ import annotations

import numpy as np

__all__ = ["partition"]


def partition(x: np.ndarray, y: np.ndarray, block_size: int) -> list[np.ndarray]:
    """Split objects into compact groups of nearly equal size (a k-d tree cut across the longer side).

    Parameters
    ----------
    x, y : ndarray of float64 [n]
        Positions [pixel]; objects without a finite position are put where the sort leaves them.
    block_size : int
        Largest number of objects in a group.

    Returns
    -------
    list of ndarray of int64
        Indices, ascending in each group; every object is in one group.  The result depends on the arguments only.

    Raises
    ------
    ValueError
        If `block_size` is less than 1 or the shapes differ.
    """
    if block_size < 1:
        raise ValueError(f"block_size is {block_size}, and a block needs at least one object")
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"x and y must be one-dimensional and alike, not of shapes {x.shape} and {y.shape}")
    groups: list[np.ndarray] = []
    waiting = [(np.arange(len(x)), -(-len(x) // block_size))]
    while waiting:
        members, n_group = waiting.pop()
        if n_group <= 1:
            if len(members):
                groups.append(np.sort(members))
            continue
        along = x if _extent(x[members]) >= _extent(y[members]) else y
        ordered = members[np.lexsort((members, along[members]))]
        n_low = n_group // 2
        cut = round(len(members) * n_low / n_group)
        waiting.append((ordered[cut:], n_group - n_low))
        waiting.append((ordered[:cut], n_low))
    return groups


def _extent(values: np.ndarray) -> float:
    """Return the range of the finite values."""
    finite = values[np.isfinite(values)]
    return float(finite.max() - finite.min()) if len(finite) else 0.0
