"""Shapes of galaxies: metacalibration and joint Gaussian fit of all epochs, one row per object.

An engine is a module of its own (`native_engine`, `galsim_engine`, `ngmix_engine`): it prepares the epochs with
`observation.prepare`, makes images and fits in its own way, and writes its rows by `shape_table`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from shapempi.measure.galsim_engine import GalsimEngine
from shapempi.measure.native_engine import NativeEngine
from shapempi.measure.ngmix_engine import NgmixEngine
from shapempi.measure.shape_engine import ShapeEngine
from shapempi.measure.shape_params import ShapeParams
from shapempi.measure.shape_table import record_magnitudes
from shapempi.vignet import VignetStacks

__all__ = ["ENGINES", "measure_shapes"]

#: The engines by their names in the configuration.
ENGINES: Mapping[str, type[ShapeEngine]] = MappingProxyType(
    {"native": NativeEngine, "galsim": GalsimEngine, "ngmix": NgmixEngine}
)


def measure_shapes(
    stacks: VignetStacks,
    params: ShapeParams,
    *,
    seed: Sequence[int],
    n_threads: int = 1,
    mag_zp: float = 30.0,
) -> np.ndarray:
    """Measure the shapes of many objects.

    Parameters
    ----------
    stacks : VignetStacks
        The objects and their epochs.
    params : ShapeParams
        All settings, the engine among them.
    seed : sequence of int
        What random numbers depend on beside the object's place and the epoch: the survey's seed and the tile.
    n_threads : int, optional
        Threads of the native engine; the result does not depend on it.
    mag_zp : float, optional
        Zero point of the counts [mag].

    Returns
    -------
    ndarray of SHAPE_DTYPE [n_object]
        One row per object, in order.  A row depends on its own object and the seed only.  An object that cannot be
        measured raises nothing: its floats are NaN and its flags say why.
    """
    table = ENGINES[params.engine]().measure(stacks, params, seed, n_threads=n_threads)
    record_magnitudes(table, mag_zp)
    return table
