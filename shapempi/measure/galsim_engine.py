"""Shapes with images by GalSim and fits by SciPy: the reference that faster engines are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from shapempi.catalog import SHEAR_TYPES
from shapempi.measure.fit import HALF_LIGHT, FitFlag
from shapempi.measure.galsim_metacal import MetacalImages, metacal_images
from shapempi.measure.gaussfit import GaussianFit, Residuals, fit_by_scipy, pixel_list
from shapempi.measure.joint_fit import starting_points
from shapempi.measure.metacal import shear_matrix, sheared_weight
from shapempi.measure.observation import Observations, prepare
from shapempi.measure.shape_params import ShapeParams
from shapempi.measure.shape_table import Fits, Measurement, new_table, record
from shapempi.vignet import VignetStacks

__all__ = ["GalsimEngine", "as_fits"]


class GalsimEngine:
    """Metacalibration images by GalSim, fits by SciPy: the reference."""

    epoch_seconds: ClassVar[float] = 0.026

    def measure(
        self, stacks: VignetStacks, params: ShapeParams, seed: Sequence[int], *, n_threads: int = 1
    ) -> np.ndarray:
        """Measure each object by itself; see `measure_shapes`."""
        observations = prepare(stacks, params, seed, n_threads=n_threads)
        n_epoch = len(observations.image)
        made = [
            metacal_images(
                observations.image[e], observations.noise[e], observations.psf[e], observations.jacobian[e], params
            )
            for e in range(n_epoch)
        ]
        used = np.array([images is not None for images in made], dtype=bool)
        start, guessed = starting_points(observations, used)
        fits = []
        for i in range(len(stacks)):
            epochs = [e for e in range(int(observations.first[i]), int(observations.first[i + 1])) if used[e]]
            fits += self._fit_object(observations, epochs, made, start[i], params)
        table = new_table(stacks.number)
        measurement = Measurement(
            used=used,
            target_sigma=np.array([np.nan if images is None else images.sigma for images in made]),
            psf_fits=as_fits([self._fit_psf(observations, e, params) for e in range(n_epoch)], (n_epoch,)),
            fits=as_fits(fits, (len(stacks), len(SHEAR_TYPES))),
            guessed=guessed,
            half_light=HALF_LIGHT[params.model],
        )
        record(table, observations, measurement)
        return table

    def _fit_object(
        self,
        observations: Observations,
        epochs: Sequence[int],
        made: Sequence[MetacalImages | None],
        start: np.ndarray,
        params: ShapeParams,
    ) -> list[GaussianFit]:
        """Fit the images of each type in the epochs of one object."""
        fits: list[GaussianFit] = []
        for kind in SHEAR_TYPES:
            shear = shear_matrix(kind, params.step)
            pixels = []
            for e in epochs:
                images = made[e]
                assert images is not None
                pixels.append(
                    pixel_list(
                        images.image[kind],
                        sheared_weight(observations.weight[e]),
                        observations.jacobian[e],
                        observations.offset[e],
                        sigma=images.sigma,
                        shear=shear,
                    )
                )
            if kind == "noshear":
                start = np.array(start)
                start[5] = Residuals(pixels, params).best_flux(start)
            fits.append(fit_by_scipy(pixels, start, params))
            if kind == "noshear" and fits[0].flags == 0:
                # Started from one solution, the sheared fits differ by the shear alone.
                start = fits[0].parameters
        return fits

    def _fit_psf(self, observations: Observations, e: int, params: ShapeParams) -> GaussianFit:
        """Fit a Gaussian to one PSF as it is."""
        if np.isnan(observations.psf_moments[e]).any():
            return GaussianFit.failed(FitFlag.RANGE)
        # Any constant weight gives the same fit and, errors being scaled by the residuals, the same errors.
        pixels = pixel_list(observations.psf[e], np.ones_like(observations.psf[e]), observations.jacobian[e])
        start = np.array([0.0, 0.0, *observations.psf_moments[e], 1.0])
        return fit_by_scipy([pixels], start, params.model_copy(update={"model": "gauss"}), with_prior=False)


def as_fits(fits: Sequence[GaussianFit], shape: tuple[int, ...]) -> Fits:
    """Return single fits as arrays of a shape."""
    return Fits(
        parameters=np.array([fit.parameters for fit in fits]).reshape(*shape, 6),
        errors=np.array([fit.errors for fit in fits]).reshape(*shape, 6),
        s2n=np.array([fit.s2n for fit in fits]).reshape(shape),
        flags=np.array([fit.flags for fit in fits], dtype=np.int32).reshape(shape),
        n_evaluation=np.array([fit.n_evaluation for fit in fits], dtype=np.int32).reshape(shape),
    )
