"""The PSF fit in process as an engine."""

from __future__ import annotations

from shapempi import __version__
from shapempi.engines.psf_params import PsfParams
from shapempi.measure.psf.fit import fit_psf
from shapempi.measure.psf.outcome import PsfFit
from shapempi.measure.psf.sample import StarSample

__all__ = ["NativePsf"]


class NativePsf:
    """Fits PSF models in process.

    Parameters
    ----------
    params : PsfParams
        The settings.
    """

    def __init__(self, params: PsfParams) -> None:
        self._params = params

    @property
    def version(self) -> str:
        """Name and version."""
        return f"native {__version__}"

    def fit(self, stars: StarSample) -> PsfFit:
        """Fit a PSF model; see `PsfEngine.fit`."""
        return fit_psf(stars, self._params, self._params.native)
