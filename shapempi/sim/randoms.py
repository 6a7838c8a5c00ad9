"""Random numbers of the simulator: one generator for each thing, so that no order and no rank can change a pixel."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

__all__ = ["Stream", "generator"]


class Stream(IntEnum):
    """What a generator is for; its value is part of the seed, so it must never change."""

    POINTING = 1
    PSF = 2
    GALAXIES = 3
    STARS = 4
    GRID = 5
    BAD_COLUMNS = 6
    SKY = 7
    NOISE = 8
    COSMIC_RAYS = 9


def generator(seed: int, stream: Stream, *ids: int) -> np.random.Generator:
    """Return the generator of one thing.

    Parameters
    ----------
    seed : int
        The seed of the survey or of its noise.
    stream : Stream
        What the numbers are for.
    *ids : int
        What names the thing: exposure and CCD, cell of the sky, tile.
    """
    return np.random.default_rng([seed, int(stream), *ids])
