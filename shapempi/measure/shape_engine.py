"""What every shape engine offers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

import numpy as np

from shapempi.measure.shape_params import ShapeParams
from shapempi.vignet import VignetStacks

__all__ = ["ShapeEngine"]


class ShapeEngine(Protocol):
    """What measures shapes.

    Attributes
    ----------
    epoch_seconds : float
        Time of one object on one CCD, about [s]; plans and the first predictions of a run are made with it.
    """

    epoch_seconds: ClassVar[float]

    def measure(
        self, stacks: VignetStacks, params: ShapeParams, seed: Sequence[int], *, n_threads: int = 1
    ) -> np.ndarray:
        """Return one row of `SHAPE_DTYPE` for each object, in order; see `measure_shapes`."""
        ...
