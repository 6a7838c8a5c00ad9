"""The random part of a pair of objects: shape, size, brightness, place on the pixels, noise, masked pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shapempi.calibration.params import LARGEST_SHAPE, CaseParams

__all__ = ["Pairs", "draw_pairs"]

#: What a generator is for; part of its seed.
_OBJECTS, _MASK = 0, 1


@dataclass(frozen=True)
class Pairs:
    """Pairs of objects.

    Attributes
    ----------
    number : ndarray of int64 [n]
        Number of each pair in its case.
    g : ndarray of float64 [n, 2]
        Intrinsic shear of the first of each pair; the second has the opposite.
    hlr : ndarray of float64 [n]
        Half-light radius [arcsec].
    s2n : ndarray of float64 [n]
        Signal-to-noise ratio of all epochs together.
    offset : ndarray of float64 [n, epoch, 2]
        dx, dy [pixel] from the centre of the stamp.
    noise : ndarray of float64 [n, 2, epoch, y, x]
        Noise of unit variance.
    order : ndarray of float64 [n, 2, epoch, y, x]
        Uniform random numbers: the pixels with the smallest are masked first; empty if the case masks none.
    """

    number: np.ndarray
    g: np.ndarray
    hlr: np.ndarray
    s2n: np.ndarray
    offset: np.ndarray
    noise: np.ndarray
    order: np.ndarray


def draw_pairs(case: CaseParams, numbers: Sequence[int], size: int, seed: int) -> Pairs:
    """Draw pairs at random.

    Parameters
    ----------
    case : CaseParams
        What they are like.
    numbers : sequence of int [n]
        Numbers of the pairs.
    size : int
        Side of the stamps [pixel].
    seed : int
        Seed of the calibration.

    Returns
    -------
    Pairs
        A pair depends on the seed, its number, the case's ranges and the number of epochs only, so cases that differ
        in other things have the same galaxies and noise.
    """
    n, n_epoch = len(numbers), len(case.views)
    pairs = Pairs(
        number=np.asarray(numbers, dtype=np.int64),
        g=np.zeros((n, 2)),
        hlr=np.zeros(n),
        s2n=np.zeros(n),
        offset=np.zeros((n, n_epoch, 2)),
        noise=np.zeros((n, 2, n_epoch, size, size)),
        order=np.zeros((n, 2, n_epoch, size, size) if case.masked_fraction > 0 else (n, 0, 0, 0, 0)),
    )
    for i, number in enumerate(numbers):
        rng = np.random.default_rng([seed, number, _OBJECTS])
        fraction, angle, size_fraction, s2n_fraction = rng.random(4)
        pairs.g[i] = _shape(case, fraction, angle)
        pairs.hlr[i] = _between(case.hlr_min, case.hlr_max, size_fraction)
        pairs.s2n[i] = _between(case.s2n_min, case.s2n_max, s2n_fraction)
        pairs.offset[i] = rng.uniform(-0.5, 0.5, (n_epoch, 2))
        rng.standard_normal(out=pairs.noise[i])
        if case.masked_fraction > 0:
            np.random.default_rng([seed, number, _MASK]).random(out=pairs.order[i])
    return pairs


def _shape(case: CaseParams, fraction: float, angle: float) -> tuple[float, float]:
    """Return an intrinsic shear, normal in each component but for the largest, from two uniform random numbers."""
    if case.shape_noise == 0.0 or case.stars:
        return 0.0, 0.0
    inside = 1.0 - np.exp(-0.5 * (LARGEST_SHAPE / case.shape_noise) ** 2)
    g = case.shape_noise * np.sqrt(-2.0 * np.log(1.0 - inside * fraction))
    return g * np.cos(2.0 * np.pi * angle), g * np.sin(2.0 * np.pi * angle)


def _between(low: float, high: float, fraction: float) -> float:
    """Return the value at a fraction of the way from low to high, logarithmically."""
    return low * (high / low) ** fraction
