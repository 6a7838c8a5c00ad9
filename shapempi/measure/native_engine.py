"""Shapes by the native kernels: exact metacalibration images and joint fits, many objects per call."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from shapempi.catalog import SHEAR_TYPES
from shapempi.kernels import _metacal
from shapempi.measure.fit import HALF_LIGHT
from shapempi.measure.joint_fit import fit_objects, fit_psfs, starting_points
from shapempi.measure.metacal import dilation_of, find_targets, shear_components, shear_matrix, sheared_weight
from shapempi.measure.observation import Observations, prepare
from shapempi.measure.shape_params import ShapeParams
from shapempi.measure.shape_table import Fits, Measurement, new_table, record
from shapempi.vignet import VignetStacks

__all__ = [
    "EPOCHS_PER_PART",
    "NativeEngine",
    "fit_images",
    "lattice_period",
    "make_images",
    "measure_prepared",
    "targets_of",
]

#: Period of the Fourier lattice over the side of the stamp, at least.  What is folded back over the gap changes shapes
#: by 2e-5 of their errors and the mean response by less than 1e-6, compared with a period of 256 (docs/accuracy.md);
#: the cost goes with the square of the period.
_PERIOD = 1.125

#: Epochs that are worked on together: their images of all types, 0.1 MB each, stay in the cache.
EPOCHS_PER_PART = 96


class NativeEngine:
    """Metacalibration images and fits by the compiled kernels."""

    epoch_seconds: ClassVar[float] = 0.0005

    def measure(
        self, stacks: VignetStacks, params: ShapeParams, seed: Sequence[int], *, n_threads: int = 1
    ) -> np.ndarray:
        """Measure part after part of the objects; see `measure_shapes`."""
        table = new_table(stacks.number)
        for begin, end in _parts(stacks.first, EPOCHS_PER_PART * n_threads):
            observations = prepare(stacks.part(begin, end), params, seed, n_threads=n_threads)
            record(table[begin:end], observations, measure_prepared(observations, params, n_threads=n_threads))
        return table


def measure_prepared(observations: Observations, params: ShapeParams, *, n_threads: int = 1) -> Measurement:
    """Measure prepared epochs: targets, images, fits.

    Parameters
    ----------
    observations : Observations
        The epochs.
    params : ShapeParams
        All settings.
    n_threads : int, optional
        Threads; the result does not depend on it.

    Returns
    -------
    Measurement
        The results.
    """
    targets = targets_of(observations, params, n_threads=n_threads)
    images, sigma = make_images(observations, *targets, params, n_threads=n_threads)
    used = np.isfinite(sigma)
    start, guessed = starting_points(observations, used)
    return Measurement(
        used=used,
        target_sigma=sigma,
        psf_fits=fit_psfs(observations, params, isa=params.instruction_set, n_threads=n_threads),
        fits=fit_images(observations, images, sigma, start, params, n_threads=n_threads),
        guessed=guessed,
        half_light=HALF_LIGHT[params.model],
    )


def _parts(first: np.ndarray, n_epoch: int) -> list[tuple[int, int]]:
    """Cut objects, whose epochs begin at `first`, into ranges of about so many epochs."""
    parts, begin = [], 0
    for i in range(1, len(first)):
        if i == len(first) - 1 or first[i + 1] - first[begin] > n_epoch:
            parts.append((begin, i))
            begin = i
    return parts


def lattice_period(size: int) -> int:
    """Return the period [pixel] of the Fourier lattice for stamps of a side; even."""
    return 2 * math.ceil(0.5 * _PERIOD * size)


def _target(params: ShapeParams) -> str | float:
    """Return the rule for the target PSF, or its sigma [arcsec]."""
    return params.target_sigma or params.target_psf


def targets_of(observations: Observations, params: ShapeParams, *, n_threads: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return sigma and largest wavenumber of the target of each prepared epoch; see `find_targets`."""
    return find_targets(
        observations.psf,
        observations.jacobian,
        _target(params),
        params.step,
        isa=params.instruction_set,
        n_threads=n_threads,
    )


def make_images(
    observations: Observations, sigma: np.ndarray, max_k: np.ndarray, params: ShapeParams, *, n_threads: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Make the metacalibration images of prepared epochs.

    Parameters
    ----------
    observations : Observations
        The epochs.
    sigma, max_k : ndarray of float64 [n_epoch]
        Their targets (`targets_of`).
    params : ShapeParams
        Step, target PSF, precision.
    n_threads : int, optional
        Threads; the result does not depend on it.

    Returns
    -------
    images : ndarray of float64 [n_epoch, n_type, y, x]
        In the order of `SHEAR_TYPES`.
    sigma : ndarray of float64 [n_epoch]
        Sigma of the target PSF [arcsec]; NaN where there are no images.
    """
    images = _metacal.images(
        observations.image,
        observations.psf,
        observations.jacobian,
        sigma,
        max_k,
        shear_components(SHEAR_TYPES, params.step),
        noise=observations.noise,
        dilation=dilation_of(_target(params), params.step),
        period=lattice_period(observations.image.shape[-1]),
        dtype=np.dtype(params.precision),
        isa=params.instruction_set,
        n_threads=n_threads,
    )
    failed = np.isnan(images[:, 0, 0, 0])
    return images.astype(float, copy=False), np.where(failed, np.nan, sigma)


def fit_images(
    observations: Observations,
    images: np.ndarray,
    sigma: np.ndarray,
    start: np.ndarray,
    params: ShapeParams,
    *,
    n_threads: int = 1,
) -> Fits:
    """Fit the metacalibration images of all epochs of each object.

    Parameters
    ----------
    observations : Observations
        The epochs.
    images : ndarray of float64 [n_epoch, n_type, y, x]
        Their images.
    sigma : ndarray of float64 [n_epoch]
        Sigma of the target PSF [arcsec]; epochs with NaN are left out.
    start : ndarray of float64 [n_object, 6]
        Where the fits of `noshear` start.
    params : ShapeParams
        Model, priors, ranges and tolerance.
    n_threads : int, optional
        Threads; the result does not depend on it.

    Returns
    -------
    Fits [n_object, n_type]
        The results; an object without epochs has a flag.
    """
    used = np.isfinite(sigma)
    weight = sheared_weight(observations.weight)
    if not used.all():
        weight[~used] = 0.0
    dudx, dudy, dvdx, dvdy = observations.jacobian.T
    dx, dy = observations.offset.T
    # The object moves with the shear about the stamp's centre.
    matrices = np.stack([shear_matrix(kind, params.step) for kind in SHEAR_TYPES])
    u, v = dudx * dx + dudy * dy, dvdx * dx + dvdy * dy
    origin = np.stack(
        [
            matrices[:, 0, 0] * u[:, None] + matrices[:, 0, 1] * v[:, None],
            matrices[:, 1, 0] * u[:, None] + matrices[:, 1, 1] * v[:, None],
        ],
        axis=-1,
    )
    return fit_objects(
        images,
        weight,
        observations.jacobian,
        np.ascontiguousarray(origin),
        np.where(used, sigma, 1.0),
        observations.first,
        start,
        params,
        isa=params.instruction_set,
        n_threads=n_threads,
    )
