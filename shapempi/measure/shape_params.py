"""All settings of the shape measurement."""

from __future__ import annotations

from typing import Literal

from shapempi.measure.fit import FitParams
from shapempi.measure.metacal import MetacalParams
from shapempi.measure.observation import EpochParams
from shapempi.params import key

__all__ = ["ShapeParams"]


class ShapeParams(EpochParams, MetacalParams, FitParams):
    """Shape measurement: epochs, metacalibration, fit."""

    engine: Literal["native", "galsim", "ngmix"] = key(
        "native",
        "What measures: native the compiled kernels; galsim the slow reference (GalSim and SciPy); ngmix an installed "
        "ngmix >= 2.4.",
    )
    precision: Literal["float64", "float32"] = key(
        "float64", "Precision of the metacalibration images in the native engine; all else is float64."
    )
    instruction_set: Literal["auto", "portable", "avx2", "avx512"] = key(
        "auto",
        "Instruction set of the native engine: auto takes the fastest that the CPU has; name one to get the same bits "
        "from different CPUs.",
    )
