"""Settings of PSF models: what all engines know, and those of the fit in process."""

from __future__ import annotations

import numpy as np
from pydantic import field_validator

from shapempi.measure.psf.outcome import PsfAcceptance
from shapempi.params import Params, key

__all__ = ["NativePsfParams", "PsfModelParams"]

#: Finest step of a grid [pixel].
_FINEST = 0.3
#: Steps of the grid per FWHM of the stars, the response of the pixels included, where the step is chosen: the
#: interpolation of the fit reproduces the size of a Moffat PSF to 1e-4 from 3.3 steps on.
_SAMPLES_PER_FWHM = 3.3


class PsfModelParams(Params):
    """The form of a PSF model, whatever engine makes it."""

    size: int = key(51, "Side of the model and of the stamps that its stars are cut into, odd.", unit="pixel", ge=13)
    sampling: float = key(0.0, "Step of the model's grid; 0 chooses it by the stars' size.", unit="pixel", ge=0, le=1)
    degree: int = key(2, "Total degree of the polynomial of the position on the CCD.", ge=0, le=5)
    acceptance: PsfAcceptance = PsfAcceptance()

    @field_validator("size")
    @classmethod
    def _has_a_central_pixel(cls, size: int) -> int:
        if size % 2 == 0:
            raise ValueError(f"must be odd, so that the PSF has a central pixel; {size} is even")
        return size

    @field_validator("sampling")
    @classmethod
    def _is_no_vanishing_step(cls, sampling: float) -> float:
        if 0 < sampling < _FINEST:
            raise ValueError(f"must be {_FINEST} or more, or 0 for a choice by the stars' size; it is {sampling:g}")
        return sampling

    def step(self, fwhm: float) -> float:
        """Return the step of the grid [pixel] for stars of a FWHM [pixel]: 1 where they are well sampled."""
        if self.sampling > 0:
            return self.sampling
        return float(np.clip(np.floor(20.0 * fwhm / _SAMPLES_PER_FWHM) / 20.0, _FINEST, 1.0))

    def grid_size(self, step: float) -> int:
        """Return the side of a grid of this step [model pixel], odd: the smallest that covers the stamps."""
        return 2 * int(np.ceil((self.size - 1) / 2 / step - 1e-9)) + 1


class NativePsfParams(Params):
    """The PSF fit in process."""

    stars_per_term: float = key(2.5, "Fewest stars per polynomial term; with fewer the degree is lowered.", ge=1.5)
    extrapolation: float = key(
        20.0, "Largest variance of the model on the CCD in units of a star's; beyond it the degree is lowered.", gt=0
    )
    choose_degree: bool = key(False, "Whether psf.degree is the highest of the degrees that are cross-validated.")
    accuracy: float = key(0.01, "Relative error of the model that is added to the noise of every pixel.", ge=0)
    recenter: bool = key(True, "Whether each star's centre is fitted, too.")
    centre_error: float = key(0.02, "Error of the given centres, with which they enter if fitted.", unit="pixel", gt=0)
    pixel_clip: float = key(5.0, "Pixels that deviate by more standard deviations are left out.", unit="sigma", gt=2)
    neighbour_clip: float = key(4.0, "Significance from which a residual is a neighbour.", unit="sigma", gt=2)
    star_clip: float = key(4.0, "Stars whose chi2 is above the median by more are left out.", unit="sigma", gt=1)
    prior_shape: float = key(0.5, "Prior deviation from the mean radial profile, as a fraction of it.", gt=0)
    prior_variation: float = key(0.2, "Prior variation over the CCD, as a fraction of the radial profile.", gt=0)
