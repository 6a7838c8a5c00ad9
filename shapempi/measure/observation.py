"""The epochs of many objects made ready for shape measurement: rejection, masks, noise, guesses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Literal

import numpy as np

from shapempi.flags import PixelFlag
from shapempi.kernels import _noise
from shapempi.measure.moments import adaptive_moments, to_sky
from shapempi.measure.noise import noise_key
from shapempi.params import Params, key
from shapempi.vignet import VignetStacks

__all__ = ["EpochParams", "Observations", "Rejection", "prepare"]


#: How often the moments of a stamp with holes are measured again with the holes filled; what remains after the
#: second time is a thousandth of the flux where clumps cover a tenth of the pixels.
_N_FILLING = 2


class EpochParams(Params):
    """Which epochs are used, and with which weights."""

    max_masked_fraction: float = key(
        1.0 / 3.0,
        "Epochs with a larger fraction of unusable pixels in the stamp are rejected; neighbours' territory does not "
        "count.",
        ge=0,
        le=1,
    )
    max_territory_fraction: float = key(
        1.0,
        "Epochs that lose a larger fraction of the stamp to neighbours' territory are rejected (vignet.neighbours).",
        ge=0,
        le=1,
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
        Counts; unusable pixels are filled, those given up to neighbours are as they were seen.
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

    @cached_property
    def owner(self) -> np.ndarray:
        """The object of each epoch, int64 [n]."""
        return np.repeat(np.arange(len(self.first) - 1), np.diff(self.first))

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Return the sums of epochs' values [n] over each object's epochs, added up in their order."""
        return np.bincount(self.owner, weights=values, minlength=len(self.first) - 1)


def _noise_place(exposure: np.ndarray, ccd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the two int32 by which noise is drawn: exposure and CCD, the upper digits of a long number in the latter.

    Different pairs have different ones: an exposure has 14 digits at most, a CCD is below 4096.
    """
    exposure = np.asarray(exposure, np.int64)
    high, low = exposure >> 31, exposure & 0x7FFFFFFF
    return low.astype(np.int32), (np.asarray(ccd, np.int64) + (high << 12)).astype(np.int32)


def prepare(stacks: VignetStacks, params: EpochParams, seed: Sequence[int], *, n_threads: int = 1) -> Observations:
    """Reject epochs and make the others ready.

    Behaviour specification, sections 11.2, 11.3 and 11.6; metacalibration specification, sections 7.4 and 7.5.  A
    pixel is unusable if any bit of its flag is set (the neighbours' bits are among them), its weight is not positive,
    or it is not finite.  Pixels that are unusable for TERRITORY alone, good ones that are nearer to a neighbour, do
    not count as masked: in crowded fields many a stamp would have too many.  In the core they count like others.
    Unusable pixels keep the weight 0 and are filled with what the object has at the same elliptical radius
    (`kernels._noise.fill`) plus noise, or with noise alone where there are no moments.  Territory keeps what was seen
    there: it is mostly sky, and filling so much of a stamp biases the shear (docs/accuracy.md).  The noise field has no
    holes; metacalibration treats image and noise field alike.

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
    owner = np.repeat(np.arange(len(stacks)), np.diff(stacks.first))
    rows = np.arange(stacks.first[0], stacks.first[-1], dtype=np.int64)
    order = np.lexsort((stacks.ccd[rows], stacks.exposure[rows], owner))
    stamps = _stamps(stacks)
    jacobian, offset = (np.ascontiguousarray(array, np.float64) for array in (stacks.jacobian, stacks.offset))
    given_up = int(PixelFlag.TERRITORY)
    census = _noise.inspect(*stamps, jacobian, offset, params.core_radius, given_up=given_up, n_threads=n_threads)
    reason = _reasons(census, stamps[0][0].size if len(rows) else 0, jacobian, offset, params)[rows]
    rejected = np.zeros((len(stacks), len(Rejection)), np.int32)
    np.add.at(rejected, (owner[reason >= 0], reason[reason >= 0]), 1)
    order = order[reason[order] < 0]
    owner, rows = owner[order], rows[order]

    image, weight, psf = _noise.take(*stamps, census[4], rows, n_threads=n_threads)
    model = _measure(image, weight, n_threads)
    holed = np.flatnonzero(census[0][rows] < image[0].size) if len(rows) else rows
    image[holed], model[holed] = _fill(image[holed], weight[holed], model[holed], n_threads)
    noise, level, total_weight = _noise.finish(
        image,
        weight,
        model,
        noise_key(seed),
        np.asarray(stacks.place, np.int64)[owner],
        *_noise_place(stacks.exposure[rows], stacks.ccd[rows]),
        by_map=params.pixel_weight == "map",
        n_threads=n_threads,
    )
    _noise.restore(image, *stamps[:3], rows, given_up, n_threads=n_threads)
    return Observations(
        first=np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=len(stacks)))]),
        image=image,
        weight=weight,
        noise=noise,
        psf=psf,
        jacobian=jacobian[rows],
        offset=offset[rows],
        total_weight=total_weight,
        moments=_to_sky(model, jacobian[rows]),
        psf_moments=_to_sky(_measure(psf, None, n_threads), jacobian[rows]),
        noise_failed=level["measured"] == 0,
        noise_mismatch=level["agrees"] == 0,
        rejected=rejected,
    )


def _stamps(stacks: VignetStacks) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return image, weight, flag and PSF as the kernels take them."""
    with np.errstate(over="ignore"):  # too large for float32 is infinite: not usable
        image = np.ascontiguousarray(stacks.image, np.float32)
        weight = np.ascontiguousarray(stacks.weight, np.float32)
    return image, weight, np.ascontiguousarray(stacks.flag, np.int32), np.ascontiguousarray(stacks.psf, np.float64)


def _reasons(
    census: tuple[np.ndarray, ...], n_pixel: int, jacobian: np.ndarray, offset: np.ndarray, params: EpochParams
) -> np.ndarray:
    """Return why each epoch is rejected, as a column of `Observations.rejected`; -1 if it is not.

    A PSF must be finite with a positive sum, a Jacobian must not be singular, the object's position must be known.
    """
    n_good, n_sound, n_core, n_core_good, psf_sum = census
    with np.errstate(over="ignore", invalid="ignore"):
        determinant = np.abs(jacobian[:, 0] * jacobian[:, 3] - jacobian[:, 1] * jacobian[:, 2])
    framed = (determinant > 0) & np.isfinite(determinant) & np.isfinite(offset).all(axis=1)
    masked = (n_good == 0) | (n_pixel - n_sound > params.max_masked_fraction * n_pixel)
    masked |= n_sound - n_good > params.max_territory_fraction * n_pixel
    core_masked = n_core - n_core_good > params.max_core_masked_fraction * n_core
    column = {reason: i for i, reason in enumerate(Rejection)}
    return np.select(
        [masked, ~framed, core_masked, np.isnan(psf_sum)],
        [
            column[Rejection.MASKED],
            column[Rejection.METACAL],
            column[Rejection.MASKED_CORE],
            column[Rejection.NO_PSF],
        ],
        -1,
    )


def _measure(image: np.ndarray, weight: np.ndarray | None, n_threads: int) -> np.ndarray:
    """Return g1, g2, sigma, x, y, flux of the adaptive moments [n, 6] in pixels; NaN where they failed."""
    rows = adaptive_moments(image, weight, n_threads=n_threads)
    model = np.stack([rows[name] for name in ("g1", "g2", "sigma", "x", "y", "flux")], axis=1)
    model[(rows["flag"] != 0) | ~(rows["g1"] ** 2 + rows["g2"] ** 2 < 1)] = np.nan
    return model


def _fill(image: np.ndarray, weight: np.ndarray, model: np.ndarray, n_threads: int) -> tuple[np.ndarray, np.ndarray]:
    """Return stamps without holes, and the moments of these.

    The moments of the usable pixels alone, with which it begins, lack the light of the holes.
    """
    for _ in range(_N_FILLING):
        _noise.fill(image, weight, model, n_threads=n_threads)
        again = _measure(image, None, n_threads)
        model = np.where(np.isnan(again) | np.isnan(model), model, again)
    _noise.fill(image, weight, model, n_threads=n_threads)
    return image, model


def _to_sky(model: np.ndarray, jacobian: np.ndarray) -> np.ndarray:
    """Return g1, g2, T [arcsec^2] in the sky frame [n, 3]; NaN where there are no moments."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        sky = np.stack(to_sky(model[:, 0], model[:, 1], model[:, 2], jacobian), axis=1)
    sky[~np.isfinite(sky).all(axis=1)] = np.nan
    return sky
