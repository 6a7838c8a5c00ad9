"""What an engine that makes PSF models can do."""

from __future__ import annotations

from typing import Protocol

from shapempi.measure.psf.outcome import PsfFit
from shapempi.measure.psf.sample import StarSample

__all__ = ["PsfEngine"]


class PsfEngine(Protocol):
    """Makes PSF models; an instance belongs to one process."""

    @property
    def version(self) -> str:
        """Name and version of what makes the model, for the status table."""
        ...

    def fit(self, stars: StarSample) -> PsfFit:
        """Fit a PSF model to the stars of one CCD; stars that are too few or too bad are no error.

        Raises
        ------
        EngineError
            If the engine itself fails: not there, or not able to run.
        """
        ...
