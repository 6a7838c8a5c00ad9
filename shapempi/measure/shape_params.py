"""All settings of the shape measurement."""

from __future__ import annotations

from typing import Literal

from shapempi.measure.galsim_metacal import MetacalParams
from shapempi.measure.gaussfit import FitParams
from shapempi.measure.observation import EpochParams
from shapempi.params import key

__all__ = ["ShapeParams"]


class ShapeParams(EpochParams, MetacalParams, FitParams):
    """Shape measurement: epochs, metacalibration, fit."""

    engine: Literal["galsim", "ngmix"] = key(
        "galsim",
        "What measures: galsim makes the images by GalSim and the fits by SciPy, the slow reference; ngmix asks the "
        "ngmix that you have installed (2.4 or newer).",
    )
