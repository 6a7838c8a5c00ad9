"""What becomes of the PSF model of a CCD: accepted, or why not."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from shapempi.params import Params, key
from shapempi.psf import PsfModel

__all__ = ["PsfAcceptance", "PsfFit", "PsfStatus"]


class PsfStatus(StrEnum):
    """Outcome of a CCD's PSF model, one word for tables."""

    ACCEPTED = "accepted"
    MISSING_DATA = "missing_data"  #: too many pixels of the CCD are missing
    NO_STARS = "no_stars"  #: the selection found none
    FEW_STARS = "few_stars"  #: fewer than `psf.acceptance.min_stars`, before or after rejection
    FIT_FAILED = "fit_failed"  #: no model could be made of the stars
    CHI2 = "chi2"  #: there is a model, and its chi^2 is above `psf.acceptance.max_chi2`


@dataclass(frozen=True)
class PsfFit:
    """Result of every PSF engine.

    Attributes
    ----------
    model : PsfModel or None
        The model; None where there is none.  Its degree is lower than asked for when there were too few stars.
    used : ndarray of bool [n]
        Stars that the model was fitted to.
    chi2 : ndarray of float64 [n]
        chi^2 per pixel of each star, noise as in the fit; NaN for a star without usable pixels.
    flux : ndarray of float64 [n]
        Flux of each star by the model; NaN for a star without usable pixels.
    shift : ndarray of float64 [n, 2]
        (dx, dy) [pixel] added to the given offsets, so that the model is centred.
    status : PsfStatus
        What became of it.
    reason : str
        Why the model is not accepted, in one sentence; empty when it is.
    """

    model: PsfModel | None
    used: np.ndarray
    chi2: np.ndarray
    flux: np.ndarray
    shift: np.ndarray
    status: PsfStatus
    reason: str

    @classmethod
    def refused(cls, n: int, status: PsfStatus, reason: str) -> PsfFit:
        """Return the result for n stars without a model."""
        nothing = np.full(n, np.nan)
        return cls(None, np.zeros(n, dtype=bool), nothing, nothing.copy(), np.zeros((n, 2)), status, reason)


class PsfAcceptance(Params):
    """When a CCD's PSF model may be used, for galaxies and for validation alike (specification, section 8)."""

    min_stars: int = key(20, "Fewest stars that a model must be fitted to.", ge=1)
    max_chi2: float = key(2.0, "Largest reduced chi^2 of the model.", gt=0)

    def too_few(self, n_star: int, what: str = "stars") -> str:
        """Return why n_star stars are too few, or an empty text if they are not."""
        if n_star >= self.min_stars:
            return ""
        return f"there are {n_star} {what} for the PSF model, fewer than psf.acceptance.min_stars = {self.min_stars}"

    def judge(self, n_used: int, chi2: float) -> tuple[PsfStatus, str]:
        """Return what becomes of a model of n_used stars and this reduced chi^2, and why if it is refused."""
        if self.too_few(n_used):
            return PsfStatus.FEW_STARS, self.too_few(n_used, "stars left after rejection")
        if not chi2 <= self.max_chi2:
            limit = f"more than psf.acceptance.max_chi2 = {self.max_chi2:g}"
            return PsfStatus.CHI2, f"the PSF model has chi2 = {chi2:.3g}, {limit}"
        return PsfStatus.ACCEPTED, ""
