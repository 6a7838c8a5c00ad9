"""The epochs of one object made ready for shape measurement: rejection, masks, noise, guesses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Literal

import numpy as np

from shapempi.measure.moments import adaptive_moments, to_sky
from shapempi.measure.noise import noise_fields, noise_level
from shapempi.params import Params, key
from shapempi.vignet import VignetStack

__all__ = ["EpochParams", "Observation", "Preparation", "Rejection", "prepare"]


class EpochParams(Params):
    """Which epochs are used, and with which weights."""

    max_masked_fraction: float = key(
        1.0 / 3.0, "Epochs with a larger fraction of unusable pixels in the stamp are rejected.", ge=0, le=1
    )
    core_radius: float = key(
        0.6, "Radius of the core of the object, in which few pixels may be lost.", unit="arcsec", ge=0
    )
    max_core_masked_fraction: float = key(
        0.1, "Epochs with a larger fraction of unusable pixels in the core are rejected.", ge=0, le=1
    )
    pixel_weight: Literal["mask", "map"] = key(
        "mask", "Weight of usable pixels: mask, one over the epoch's measured variance; map, the weight map's value."
    )


class Rejection(Enum):
    """Why an epoch is not used; an epoch counts for the first reason that it meets."""

    MASKED = "n_masked"
    MASKED_CORE = "n_masked_core"
    NO_PSF = "n_no_psf"
    METACAL = "n_metacal_failed"


@dataclass(frozen=True)
class Observation:
    """One epoch, ready to be measured.

    Attributes
    ----------
    image : ndarray of float64 [y, x]
        Counts; unusable pixels are filled with noise.
    weight : ndarray of float64 [y, x]
        Inverse variance; 0 where unusable.
    noise : ndarray of float64 [y, x]
        Independent noise of the same variance, without holes.
    psf : ndarray of float64 [y, x]
        PSF of unit sum.
    jacobian : ndarray of float64 [4]
        dudx, dudy, dvdx, dvdy [arcsec/pixel].
    offset : ndarray of float64 [2]
        dx, dy [pixel] of the object from the centre of the stamp.
    moments : tuple of float or None
        g1, g2, T [arcsec^2] of the image by adaptive moments, sky frame; None if they failed.
    psf_moments : tuple of float or None
        The same of the PSF.
    """

    image: np.ndarray
    weight: np.ndarray
    noise: np.ndarray
    psf: np.ndarray
    jacobian: np.ndarray
    offset: np.ndarray
    moments: tuple[float, float, float] | None
    psf_moments: tuple[float, float, float] | None

    @property
    def total_weight(self) -> float:
        """Weight of the epoch in means over epochs."""
        return float(np.sum(self.weight))


@dataclass(frozen=True)
class Preparation:
    """All epochs of an object after rejection.

    Attributes
    ----------
    observations : tuple of Observation
        The usable epochs in the order of (exposure, ccd).
    rejected : mapping of Rejection to int
        How many epochs were lost for each reason.
    n_noise_failed, n_noise_mismatch : int
        Usable epochs whose noise had to come from the weight map, or differs from it by more than 20 %.
    """

    observations: tuple[Observation, ...]
    rejected: Mapping[Rejection, int]
    n_noise_failed: int
    n_noise_mismatch: int


def prepare(stack: VignetStack, params: EpochParams, rng: np.random.Generator) -> Preparation:
    """Reject epochs and make the others ready.

    Behaviour specification, sections 11.2, 11.3 and 11.6.  A pixel is unusable if any bit of its flag is set (the
    neighbours' bit is one of them), its weight is not positive, or it is not finite.

    Parameters
    ----------
    stack : VignetStack
        The object's epochs, in any order.
    params : EpochParams
        Limits and kind of weights.
    rng : numpy.random.Generator
        The object's generator (`noise.object_generator`).

    Returns
    -------
    Preparation
        Usable epochs and counts.
    """
    order = np.lexsort((stack.ccd, stack.exposure))
    fields = noise_fields(rng, len(order), stack.image.shape[-1])
    rejected = dict.fromkeys(Rejection, 0)
    observations = []
    n_failed = n_mismatch = 0
    for epoch, (fill, noise) in zip(order, fields, strict=True):
        good = _usable(stack, epoch)
        reason = _reason(stack, epoch, good, params)
        if reason is not None:
            rejected[reason] += 1
            continue
        weight = np.where(good, stack.weight[epoch], 0.0)
        image = np.where(good, stack.image[epoch], 0.0).astype(float)
        moments, profile = _object_moments(image, weight, stack.jacobian[epoch])
        level = noise_level(image, weight, profile)
        n_failed += not level.measured
        n_mismatch += not level.agrees
        if params.pixel_weight == "mask":
            sigma = np.full(image.shape, level.sigma)
            weight = np.where(good, level.sigma**-2, 0.0)
        else:
            sigma = 1.0 / np.sqrt(np.where(good, weight, np.median(weight[good])))
        psf = np.asarray(stack.psf[epoch], dtype=float)
        psf = psf / psf.sum()
        observations.append(
            Observation(
                image=np.where(good, image, sigma * fill),
                weight=weight,
                noise=sigma * noise,
                psf=psf,
                jacobian=np.asarray(stack.jacobian[epoch], dtype=float),
                offset=np.asarray(stack.offset[epoch], dtype=float),
                moments=moments,
                psf_moments=_sky_moments(adaptive_moments(psf[None])[0], stack.jacobian[epoch]),
            )
        )
    return Preparation(tuple(observations), rejected, n_failed, n_mismatch)


def _usable(stack: VignetStack, epoch: int) -> np.ndarray:
    """Return the usable pixels [y, x] of one epoch."""
    weight, image = stack.weight[epoch], stack.image[epoch]
    return (stack.flag[epoch] == 0) & np.isfinite(weight) & (weight > 0) & np.isfinite(image)


def _reason(stack: VignetStack, epoch: int, good: np.ndarray, params: EpochParams) -> Rejection | None:
    """Return why an epoch must be rejected, or None."""
    if not good.any() or np.mean(~good) > params.max_masked_fraction:
        return Rejection.MASKED
    dudx, dudy, dvdx, dvdy = (float(value) for value in stack.jacobian[epoch])
    if not np.isfinite(stack.offset[epoch]).all() or not abs(dudx * dvdy - dudy * dvdx) > 0:
        return Rejection.METACAL
    ny, nx = good.shape
    x = np.arange(nx)[None, :] - 0.5 * (nx - 1) - stack.offset[epoch][0]
    y = np.arange(ny)[:, None] - 0.5 * (ny - 1) - stack.offset[epoch][1]
    core = np.hypot(dudx * x + dudy * y, dvdx * x + dvdy * y) <= params.core_radius
    if core.any() and np.mean(~good[core]) > params.max_core_masked_fraction:
        return Rejection.MASKED_CORE
    psf = stack.psf[epoch]
    if not np.isfinite(psf).all() or not psf.sum() > 0:
        return Rejection.NO_PSF
    return None


def _object_moments(
    image: np.ndarray, weight: np.ndarray, jacobian: np.ndarray
) -> tuple[tuple[float, float, float] | None, np.ndarray | None]:
    """Return the object's moments on the sky and its round Gaussian profile on the stamp, or None, None."""
    row = adaptive_moments(image[None], weight[None])[0]
    moments = _sky_moments(row, jacobian)
    if moments is None or not row["flux"] > 0:
        return None, None
    ny, nx = image.shape
    x = np.arange(nx)[None, :] - 0.5 * (nx - 1) - row["x"]
    y = np.arange(ny)[:, None] - 0.5 * (ny - 1) - row["y"]
    variance = row["sigma"] ** 2
    return moments, row["flux"] / (2.0 * np.pi * variance) * np.exp(-0.5 * (x**2 + y**2) / variance)


def _sky_moments(row: np.void, jacobian: np.ndarray) -> tuple[float, float, float] | None:
    """Return g1, g2, T [arcsec^2] in the sky frame, or None if the moments failed."""
    if row["flag"] != 0 or row["g1"] ** 2 + row["g2"] ** 2 >= 1:
        return None
    g1, g2, T = (float(value) for value in to_sky(row["g1"], row["g2"], row["sigma"], jacobian))
    return (g1, g2, T) if np.isfinite((g1, g2, T)).all() else None
