"""Shapes with images by GalSim and fits by SciPy: the reference that faster engines are compared with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shapempi.catalog import SHEAR_TYPES
from shapempi.flags import ObjectFlag
from shapempi.measure.galsim_metacal import MetacalImages, metacal_images, shear_matrix, sheared_weight
from shapempi.measure.gaussfit import FitParams, PixelList, Residuals, fit_gaussian, pixel_list
from shapempi.measure.observation import Observations, prepare
from shapempi.measure.shape_params import ShapeParams
from shapempi.measure.shape_table import mean_over_epochs, new_table, record_epochs, record_fits, record_psf
from shapempi.vignet import VignetStacks

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
        observations = prepare(stacks, params, seed, n_threads=n_threads)
        for i in range(len(stacks)):
            self._measure_object(observations, i, params, table[i : i + 1])
        return table

    def _measure_object(self, observations: Observations, i: int, params: ShapeParams, row: np.ndarray) -> None:
        """Measure object i into a table of one row."""
        used: list[int] = []
        images: list[MetacalImages] = []
        for epoch in range(int(observations.first[i]), int(observations.first[i + 1])):
            made = metacal_images(
                observations.image[epoch],
                observations.noise[epoch],
                observations.psf[epoch],
                observations.jacobian[epoch],
                params,
            )
            if made is not None:
                used.append(epoch)
                images.append(made)
        record_epochs(row, observations, i, len(used))
        if not used:
            return
        record_psf(row, observations, used, params)
        pixels = {kind: _pixel_lists(observations, used, images, kind, params) for kind in SHEAR_TYPES}
        start, guessed = first_guess(observations, used, pixels["noshear"], params)
        if not guessed:
            row["moments_failed"] = 1
            row["flags"] |= ObjectFlag.MOMENTS_FAILED
        fits = {}
        for kind in SHEAR_TYPES:
            fits[kind] = fit_gaussian(pixels[kind], start, params)
            if kind == "noshear" and fits[kind].flags == 0:
                # Started from one solution, the sheared fits differ by the shear alone.
                start = fits[kind].parameters
        sizes = [2.0 * epoch.sigma**2 for epoch in images]
        record_fits(row, fits, mean_over_epochs(sizes, observations.total_weight[used]))


def first_guess(
    observations: Observations, used: Sequence[int], pixels: Sequence[PixelList], params: FitParams
) -> tuple[np.ndarray, bool]:
    """Return where the fit of `noshear` starts, and whether it comes from adaptive moments.

    Parameters
    ----------
    observations : Observations
        Epochs of many objects.
    used : sequence of int
        The object's epochs among them.
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
    sizes = observations.moments[used, 2] - observations.psf_moments[used, 2]
    sizes = sizes[np.isfinite(sizes)]
    T = max(float(np.mean(sizes)), _SMALLEST_T) if sizes.size else _DEFAULT_T
    start = np.array([0.0, 0.0, 0.0, 0.0, T, 0.0])
    start[5] = Residuals(pixels, params).best_flux(start)
    return start, sizes.size > 0


def _pixel_lists(
    observations: Observations, used: Sequence[int], images: Sequence[MetacalImages], kind: str, params: ShapeParams
) -> list[PixelList]:
    """Return the pixels of one type in all epochs."""
    shear = shear_matrix(kind, params.step)
    return [
        pixel_list(
            made.image[kind],
            sheared_weight(observations.weight[epoch]),
            observations.jacobian[epoch],
            observations.offset[epoch],
            sigma=made.sigma,
            shear=shear,
        )
        for epoch, made in zip(used, images, strict=True)
    ]
