"""The PSF engines by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from shapempi.engines.psf_engine import PsfEngine
from shapempi.engines.psf_native import NativePsf
from shapempi.engines.psf_params import PsfParams
from shapempi.engines.psf_piff import PiffPsf
from shapempi.engines.psf_psfex import PsfexPsf

__all__ = ["ENGINES", "make_engine"]

#: The engines of `psf.engine`.
ENGINES: Mapping[str, Callable[[PsfParams], PsfEngine]] = {"native": NativePsf, "psfex": PsfexPsf, "piff": PiffPsf}


def make_engine(params: PsfParams) -> PsfEngine:
    """Return the engine that `psf.engine` names.

    Raises
    ------
    EngineError
        If it is not installed; the message says how to get it.
    """
    return ENGINES[params.engine](params)
