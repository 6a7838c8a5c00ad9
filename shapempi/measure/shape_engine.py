"""What every shape engine offers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from shapempi.measure.shape_params import ShapeParams
from shapempi.vignet import VignetStacks

__all__ = ["ShapeEngine"]


class ShapeEngine(Protocol):
    """What measures shapes."""

    def measure(
        self, stacks: VignetStacks, params: ShapeParams, seed: Sequence[int], *, n_threads: int = 1
    ) -> np.ndarray:
        """Return one row of `SHAPE_DTYPE` for each object, in order; see `measure_shapes`."""
        ...
