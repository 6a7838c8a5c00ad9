"""All settings of the PSF model, those of every engine included."""

from __future__ import annotations

from typing import Literal

from shapempi.measure.psf_params import NativePsfParams, PsfModelParams
from shapempi.params import key

__all__ = ["PsfParams"]


class PsfParams(PsfModelParams):
    """The PSF model of a CCD."""

    engine: Literal["native"] = key("native", "What makes the model: native the fit in process.")
    native: NativePsfParams = NativePsfParams()
