"""Shapes with images by GalSim and fits by SciPy: the reference that faster engines are compared with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shapempi.catalog import SHEAR_TYPES
from shapempi.flags import ObjectFlag
from shapempi.measure.galsim_metacal import MetacalImages, metacal_images, shear_matrix, sheared_weight
from shapempi.measure.gaussfit import FitParams, PixelList, Residuals, fit_gaussian, pixel_list
from shapempi.measure.noise import object_generator
from shapempi.measure.observation import Observation, prepare
from shapempi.measure.shape_params import ShapeParams
from shapempi.measure.shape_table import mean_over_epochs, new_table, record_epochs, record_fits, record_psf
from shapempi.vignet import VignetStack, VignetStacks

__all__ = ["GalsimEngine", "first_guess"]

#: Size [arcsec^2] at which the fit starts where moments give none, and the smallest at which it starts.
_DEFAULT_T, _SMALLEST_T = 0.2, 0.02


class GalsimEngine:
    """Metacalibration images by GalSim, fits by SciPy: the reference."""

    def measure(
        self, stacks: VignetStacks, params: ShapeParams, seed: Sequence[int], *, n_threads: int = 1
    ) -> np.ndarray:
        """Measure each object by itself; see `measure_shapes`."""
        table = new_table(stacks.number)
        for i in range(len(stacks)):
            stack = stacks[i]
            self._measure_object(stack, params, object_generator(seed, stack.place), table[i : i + 1])
        return table

    def _measure_object(
        self, stack: VignetStack, params: ShapeParams, rng: np.random.Generator, row: np.ndarray
    ) -> None:
        """Measure one object into a table of one row."""
        preparation = prepare(stack, params, rng)
        used: list[Observation] = []
        images: list[MetacalImages] = []
        for observation in preparation.observations:
            epoch = metacal_images(observation.image, observation.noise, observation.psf, observation.jacobian, params)
            if epoch is not None:
                used.append(observation)
                images.append(epoch)
        record_epochs(row, preparation, len(used))
        if not used:
            return
        record_psf(row, used, params)
        pixels = {kind: _pixel_lists(used, images, kind, params) for kind in SHEAR_TYPES}
        start, guessed = first_guess(used, pixels["noshear"], params)
        if not guessed:
            row["moments_failed"] = 1
            row["flags"] |= ObjectFlag.MOMENTS_FAILED
        fits = {}
        for kind in SHEAR_TYPES:
            fits[kind] = fit_gaussian(pixels[kind], start, params)
            if kind == "noshear" and fits[kind].flags == 0:
                # Started from one solution, the sheared fits differ by the shear alone.
                start = fits[kind].parameters
        record_fits(row, fits, mean_over_epochs([2.0 * epoch.sigma**2 for epoch in images], used))


def first_guess(used: Sequence[Observation], pixels: Sequence[PixelList], params: FitParams) -> tuple[np.ndarray, bool]:
    """Return where the fit of `noshear` starts, and whether it comes from adaptive moments.

    Parameters
    ----------
    used : sequence of Observation
        The epochs.
    pixels : sequence of PixelList
        Their metacalibration images of type `noshear`.
    params : FitParams
        Ranges of the parameters.

    Returns
    -------
    start : ndarray of float64 [6]
        Centre 0, shape 0, T the mean over epochs of the image's T less the PSF's, and the best flux for them.
    guessed : bool
        False if no epoch has moments; T is then a default.
    """
    sizes = [o.moments[2] - o.psf_moments[2] for o in used if o.moments is not None and o.psf_moments is not None]
    T = max(float(np.mean(sizes)), _SMALLEST_T) if sizes else _DEFAULT_T
    start = np.array([0.0, 0.0, 0.0, 0.0, T, 0.0])
    start[5] = Residuals(pixels, params).best_flux(start)
    return start, bool(sizes)


def _pixel_lists(
    used: Sequence[Observation], images: Sequence[MetacalImages], kind: str, params: ShapeParams
) -> list[PixelList]:
    """Return the pixels of one type in all epochs."""
    shear = shear_matrix(kind, params.step)
    return [
        pixel_list(
            epoch.image[kind],
            sheared_weight(observation.weight),
            observation.jacobian,
            observation.offset,
            sigma=epoch.sigma,
            shear=shear,
        )
        for observation, epoch in zip(used, images, strict=True)
    ]
