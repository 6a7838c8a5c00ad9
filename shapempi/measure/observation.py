"""The epochs of many objects made ready for shape measurement: rejection, masks, noise, guesses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal

import numpy as np

from shapempi.measure.moments import adaptive_moments, to_sky
from shapempi.measure.noise import noise_fields, noise_level
from shapempi.params import Params, key
from shapempi.vignet import VignetStacks

__all__ = ["EpochParams", "Observations", "Rejection", "prepare"]


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
class Observations:
    """The usable epochs of many objects in one contiguous layout.

    Attributes
    ----------
    first : ndarray of int64 [n_object + 1]
        Epochs of object i are rows first[i] to first[i + 1] of the arrays below, in the order of (exposure, ccd).
    image : ndarray of float64 [n, y, x]
        Counts; unusable pixels are filled.
    weight : ndarray of float64 [n, y, x]
        Inverse variance; 0 where unusable.
    noise : ndarray of float64 [n, y, x]
        Independent noise of the same variance, without holes.
    psf : ndarray of float64 [n, y, x]
        PSF of unit sum.
    jacobian : ndarray of float64 [n, 4]
        dudx, dudy, dvdx, dvdy [arcsec/pixel].
    offset : ndarray of float64 [n, 2]
        dx, dy [pixel] of the object from the centre of the stamp.
    total_weight : ndarray of float64 [n]
        Sum of `weight`: the epoch's weight in means over epochs.
    moments : ndarray of float64 [n, 3]
        g1, g2, T [arcsec^2] of the image by adaptive moments, sky frame; NaN if they failed.
    psf_moments : ndarray of float64 [n, 3]
        The same of the PSF.
    noise_failed, noise_mismatch : ndarray of bool [n]
        True if the noise had to come from the weight map, or differs from it by more than 20 %.
    rejected : ndarray of int32 [n_object, 4]
        How many epochs were lost for each reason, columns in the order of `Rejection`.
    """

    first: np.ndarray
    image: np.ndarray
    weight: np.ndarray
    noise: np.ndarray
    psf: np.ndarray
    jacobian: np.ndarray
    offset: np.ndarray
    total_weight: np.ndarray
    moments: np.ndarray
    psf_moments: np.ndarray
    noise_failed: np.ndarray
    noise_mismatch: np.ndarray
    rejected: np.ndarray


def prepare(stacks: VignetStacks, params: EpochParams, seed: Sequence[int], *, n_threads: int = 1) -> Observations:
    """Reject epochs and make the others ready.

    Behaviour specification, sections 11.2, 11.3 and 11.6.  A pixel is unusable if any bit of its flag is set (the
    neighbours' bit is one of them), its weight is not positive, or it is not finite.

    Parameters
    ----------
    stacks : VignetStacks
        The objects and their epochs, in any order.
    params : EpochParams
        Limits and kind of weights.
    seed : sequence of int
        What random numbers depend on beside the object's place and the epoch: the survey's seed and the tile.
    n_threads : int, optional
        Threads; the result does not depend on it.

    Returns
    -------
    Observations
        Usable epochs and counts.
    """
    reasons = list(Rejection)
    n_object, size = len(stacks), stacks.image.shape[-1]
    rejected = np.zeros((n_object, len(reasons)), np.int32)
    rows, counts = [], np.zeros(n_object, np.int64)
    for i in range(n_object):
        begin, end = int(stacks.first[i]), int(stacks.first[i + 1])
        for epoch in begin + np.lexsort((stacks.ccd[begin:end], stacks.exposure[begin:end])):
            reason = _reason(stacks, epoch, _usable(stacks, epoch), params)
            if reason is None:
                rows.append((i, epoch))
                counts[i] += 1
            else:
                rejected[i, reasons.index(reason)] += 1
    n = len(rows)
    image, weight, noise, psf = (np.zeros((n, size, size)) for _ in range(4))
    failed, mismatch = np.zeros(n, bool), np.zeros(n, bool)
    taken = np.array([epoch for _, epoch in rows], np.int64)
    for row, epoch in enumerate(taken):
        good = _usable(stacks, epoch)
        weight[row] = np.where(good, stacks.weight[epoch], 0.0)
        image[row] = np.where(good, stacks.image[epoch], 0.0)
        psf[row] = np.asarray(stacks.psf[epoch], dtype=float) / np.asarray(stacks.psf[epoch], dtype=float).sum()
    jacobian = np.asarray(stacks.jacobian, dtype=float)[taken]
    shapes = adaptive_moments(image, weight)
    moments = _sky_moments(shapes, jacobian)
    psf_moments = _sky_moments(adaptive_moments(psf), jacobian)
    for row, (i, epoch) in enumerate(rows):
        good = weight[row] > 0
        profile = _profile(shapes[row], size) if np.isfinite(moments[row, 0]) else None
        level = noise_level(image[row], weight[row], profile)
        failed[row], mismatch[row] = not level.measured, not level.agrees
        if params.pixel_weight == "mask":
            sigma = np.full((size, size), level.sigma)
            weight[row] = np.where(good, level.sigma**-2, 0.0)
        else:
            sigma = 1.0 / np.sqrt(np.where(good, weight[row], np.median(weight[row][good])))
        name = [*seed, int(stacks.place[i]), int(stacks.exposure[epoch]), int(stacks.ccd[epoch])]
        fill, field = noise_fields(np.random.default_rng(name), 1, size)[0]
        image[row] = np.where(good, image[row], sigma * fill)
        noise[row] = sigma * field
    return Observations(
        first=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        image=image,
        weight=weight,
        noise=noise,
        psf=psf,
        jacobian=jacobian,
        offset=np.asarray(stacks.offset, dtype=float)[taken],
        total_weight=weight.sum(axis=(1, 2)),
        moments=moments,
        psf_moments=psf_moments,
        noise_failed=failed,
        noise_mismatch=mismatch,
        rejected=rejected,
    )


def _usable(stacks: VignetStacks, epoch: int) -> np.ndarray:
    """Return the usable pixels [y, x] of one epoch."""
    weight, image = stacks.weight[epoch], stacks.image[epoch]
    return (stacks.flag[epoch] == 0) & np.isfinite(weight) & (weight > 0) & np.isfinite(image)


def _reason(stacks: VignetStacks, epoch: int, good: np.ndarray, params: EpochParams) -> Rejection | None:
    """Return why an epoch must be rejected, or None."""
    if not good.any() or np.mean(~good) > params.max_masked_fraction:
        return Rejection.MASKED
    dudx, dudy, dvdx, dvdy = (float(value) for value in stacks.jacobian[epoch])
    if not np.isfinite(stacks.offset[epoch]).all() or not abs(dudx * dvdy - dudy * dvdx) > 0:
        return Rejection.METACAL
    ny, nx = good.shape
    x = np.arange(nx)[None, :] - 0.5 * (nx - 1) - stacks.offset[epoch][0]
    y = np.arange(ny)[:, None] - 0.5 * (ny - 1) - stacks.offset[epoch][1]
    core = np.hypot(dudx * x + dudy * y, dvdx * x + dvdy * y) <= params.core_radius
    if core.any() and np.mean(~good[core]) > params.max_core_masked_fraction:
        return Rejection.MASKED_CORE
    psf = stacks.psf[epoch]
    if not np.isfinite(psf).all() or not psf.sum() > 0:
        return Rejection.NO_PSF
    return None


def _profile(shape: np.void, size: int) -> np.ndarray:
    """Return the round Gaussian profile [y, x] of adaptive moments."""
    x = np.arange(size)[None, :] - 0.5 * (size - 1) - shape["x"]
    y = np.arange(size)[:, None] - 0.5 * (size - 1) - shape["y"]
    variance = shape["sigma"] ** 2
    return shape["flux"] / (2.0 * np.pi * variance) * np.exp(-0.5 * (x**2 + y**2) / variance)


def _sky_moments(shapes: np.ndarray, jacobian: np.ndarray) -> np.ndarray:
    """Return g1, g2, T [arcsec^2] in the sky frame [n, 3]; NaN where the moments failed."""
    bad = (shapes["flag"] != 0) | ~(shapes["g1"] ** 2 + shapes["g2"] ** 2 < 1)
    g1, g2, sigma = (np.where(bad, fallback, shapes[name]) for name, fallback in (("g1", 0), ("g2", 0), ("sigma", 1)))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        sky = np.stack(to_sky(g1, g2, sigma, jacobian), axis=1)
    sky[bad | ~np.isfinite(sky).all(axis=1)] = np.nan
    return sky
