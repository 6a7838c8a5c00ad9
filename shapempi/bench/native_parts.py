"""The parts of the native engine, each to be called by itself on objects that are prepared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from shapempi.bench.operations import count_fits, count_images
from shapempi.catalog import SHEAR_TYPES
from shapempi.measure.joint_fit import fit_psfs, starting_points
from shapempi.measure.moments import adaptive_moments
from shapempi.measure.native_engine import (
    fit_images,
    lattice_period,
    make_images,
    measure_prepared,
    targets_of,
)
from shapempi.measure.observation import prepare
from shapempi.measure.shape_params import ShapeParams
from shapempi.measure.shape_table import new_table, record
from shapempi.vignet import VignetStacks

__all__ = ["FITS", "IMAGES", "NativeParts"]

#: The parts whose multiply-adds are counted.
IMAGES, FITS = "images of five types", "five fits"


class NativeParts:
    """Everything that the parts of the engine need, for objects that the engine would work on together.

    Parameters
    ----------
    stacks : VignetStacks
        The objects.
    params : ShapeParams
        Settings.
    seed : sequence of int
        Of the noise fields.
    """

    def __init__(self, stacks: VignetStacks, params: ShapeParams, seed: Sequence[int]) -> None:
        self._stacks, self._params, self._seed = stacks, params, tuple(seed)
        self._observations = o = prepare(stacks, params, seed)
        self._targets = targets_of(o, params)
        self._images, sigma = make_images(o, *self._targets, params)
        self._start, _ = starting_points(o, np.isfinite(sigma))
        self._measurement = measure_prepared(o, params)

    def functions(self) -> Mapping[str, Callable[[], object]]:
        """Return the parts by name, in the engine's order; one that is within another begins with a dash."""
        return {
            "prepare": lambda: prepare(self._stacks, self._params, self._seed),
            "- moments of image and PSF": self._moments,
            "PSF transform and target": lambda: targets_of(self._observations, self._params),
            IMAGES: lambda: make_images(self._observations, *self._targets, self._params),
            FITS: self._fit_images,
            "fits of the PSFs": lambda: fit_psfs(self._observations, self._params),
            "record": lambda: record(new_table(self._stacks.number), self._observations, self._measurement),
        }

    def _moments(self) -> None:
        o = self._observations
        adaptive_moments(o.image, o.weight)
        adaptive_moments(o.psf)

    def _fit_images(self) -> None:
        fit_images(self._observations, self._images, self._measurement.target_sigma, self._start, self._params)

    def image_operations(self) -> int:
        """Count the multiply-adds of the images."""
        o, size = self._observations, self._observations.image.shape[-1]
        return sum(
            count_images(jacobian, sigma, max_k, SHEAR_TYPES, self._params.step, size, lattice_period(size))
            for jacobian, sigma, max_k in zip(o.jacobian, *self._targets, strict=True)
        )

    def fit_operations(self) -> int:
        """Count the multiply-adds of the fits."""
        o, found = self._observations, self._measurement
        origin = np.einsum("eij,ej->ei", o.jacobian.reshape(-1, 2, 2), o.offset)
        return count_fits(found.fits, o.first, o.jacobian, found.target_sigma, origin, o.image.shape[-1])
