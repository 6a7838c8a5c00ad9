"""Settings of PSF models: what all engines know, and those of the fit in process."""

from __future__ import annotations

from pydantic import field_validator

from shapempi.measure.psf_outcome import PsfAcceptance
from shapempi.params import Params, key

__all__ = ["NativePsfParams", "PsfModelParams"]


class PsfModelParams(Params):
    """The form of a PSF model, whatever engine makes it."""

    size: int = key(51, "Side of the model's grid, odd.", unit="model pixel", ge=11)
    sampling: float = key(1.0, "Step of the model's grid.", unit="pixel", ge=0.3, le=1)
    degree: int = key(2, "Total degree of the polynomial of the position on the CCD.", ge=0, le=5)
    acceptance: PsfAcceptance = PsfAcceptance()

    @field_validator("size")
    @classmethod
    def _has_a_central_pixel(cls, size: int) -> int:
        if size % 2 == 0:
            raise ValueError(f"must be odd, so that the PSF has a central pixel; {size} is even")
        return size


class NativePsfParams(Params):
    """The PSF fit in process."""

    stars_per_term: float = key(2.5, "Fewest stars per polynomial term; with fewer the degree is lowered.", ge=1.5)
    accuracy: float = key(0.01, "Relative error of the model that is added to the noise of every pixel.", ge=0)
    recenter: bool = key(False, "Whether each star's centre is fitted, too.")
    centre_error: float = key(0.02, "Error of the given centres, with which they enter if fitted.", unit="pixel", gt=0)
    pixel_clip: float = key(5.0, "Pixels that deviate by more standard deviations are left out.", unit="sigma", gt=2)
    neighbour_clip: float = key(4.0, "Significance from which a residual is a neighbour.", unit="sigma", gt=2)
    star_clip: float = key(4.0, "Stars whose chi2 is above the median by more are left out.", unit="sigma", gt=1)
    prior_shape: float = key(0.5, "Prior deviation from the mean radial profile, as a fraction of it.", gt=0)
    prior_variation: float = key(0.3, "Prior variation over the CCD, as a fraction of the radial profile.", gt=0)
