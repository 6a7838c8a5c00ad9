"""Noise of one epoch: its level from the pixels outside the object, and the random fields that metacal needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["NoiseLevel", "mad_sigma", "noise_fields", "noise_level", "object_generator"]

#: Standard deviation of a normal distribution over its median absolute deviation, 1/Phi^-1(3/4).
_SIGMA_OVER_MAD = 1.482602218505602

#: Pixels that are fainter than this many sigma in the model of the object count as being outside it.
_OUTSIDE = 1.2

#: Fewest pixels from which a noise level is taken.
_FEWEST_PIXELS = 50

#: Relative difference between the measured level and the weight map's above which they do not agree.
_AGREEMENT = 0.2


@dataclass(frozen=True)
class NoiseLevel:
    """The noise of one stamp.

    Attributes
    ----------
    sigma : float
        Standard deviation of a pixel; NaN if neither the pixels nor the weights give one.
    measured : bool
        True if sigma comes from the pixels, False if it had to come from the weight map.
    agrees : bool
        False if pixels and weight map differ by more than 20 %.
    """

    sigma: float
    measured: bool
    agrees: bool


def mad_sigma(values: np.ndarray) -> float:
    """Return 1.4826 times the median absolute deviation of values [n]; NaN if there are none."""
    if values.size == 0:
        return float("nan")
    return float(_SIGMA_OVER_MAD * np.median(np.abs(values - np.median(values))))


def noise_level(image: np.ndarray, weight: np.ndarray, profile: np.ndarray | None = None) -> NoiseLevel:
    """Measure the noise of a stamp from the pixels outside the object.

    Behaviour specification, section 11.3: with s0 the MAD sigma of all good pixels, the level is the MAD sigma of
    the good pixels in which a Gaussian model of the object is fainter than 1.2 s0.

    Parameters
    ----------
    image : ndarray of float [y, x]
        Background-subtracted stamp.
    weight : ndarray of float [y, x]
        Inverse variance; pixels with 0 are left out and may hold anything.
    profile : ndarray of float [y, x], optional
        Model of the object.  Without one all good pixels count.

    Returns
    -------
    NoiseLevel
        The level.  If the pixels give none (too few, or all equal), the weight map's level stands in.
    """
    good = weight > 0
    values = image[good].astype(float)
    mapped = 1.0 / np.sqrt(float(np.median(weight[good]))) if values.size else float("nan")
    sigma = mad_sigma(values)
    if profile is not None:
        outside = values[profile[good] < _OUTSIDE * sigma]
        sigma = mad_sigma(outside)
        values = outside
    if values.size < _FEWEST_PIXELS or not sigma > 0:
        return NoiseLevel(sigma=mapped, measured=False, agrees=True)
    return NoiseLevel(sigma=sigma, measured=True, agrees=bool(abs(sigma / mapped - 1.0) <= _AGREEMENT))


def object_generator(seed: Sequence[int], place: int) -> np.random.Generator:
    """Return the random generator of one object.

    Parameters
    ----------
    seed : sequence of int
        What the numbers depend on beside the object: the survey's seed and the tile.
    place : int
        The cell of the tile that the object is in (`VignetStacks.place`).

    Returns
    -------
    numpy.random.Generator
        It depends on nothing else, so that a result does not depend on the batch, the rank, the order, or on what
        else was detected.
    """
    return np.random.default_rng([*seed, place])


def noise_fields(rng: np.random.Generator, n_epoch: int, size: int) -> np.ndarray:
    """Draw the two unit-variance noise fields of every epoch of one object.

    Parameters
    ----------
    rng : numpy.random.Generator
        The object's generator.
    n_epoch : int
        All epochs of the object, the rejected ones too, in the order of (exposure, ccd): the field of one epoch
        then does not depend on what happens to another.
    size : int
        Side of the stamps [pixel].

    Returns
    -------
    ndarray of float64 [n_epoch, 2, y, x]
        Field 0 fills masked pixels, field 1 is the noise image of the metacalibration.
    """
    return rng.standard_normal((n_epoch, 2, size, size))
