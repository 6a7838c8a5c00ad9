"""Random fields that have names: the key from which all noise of one tile comes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["noise_key"]


def noise_key(seed: Sequence[int]) -> np.ndarray:
    """Return the key of all random fields of a tile.

    A field is a function of this key, the object's place, the exposure, the CCD and what the field is for
    (`kernels._noise.normal`).  Nothing is drawn in an order: a field depends neither on the batch, the rank or the
    thread, nor on which other objects were detected or which other exposures saw this one.

    Parameters
    ----------
    seed : sequence of int
        What the fields depend on beside object and epoch: the survey's seed and the tile; not negative.

    Returns
    -------
    ndarray of uint64 [4]
        The key.
    """
    return np.random.SeedSequence([int(number) for number in seed]).generate_state(4, np.uint64)
