"""Measure simulated pairs: one row for each object and variant, with what the biases are made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shapempi.calibration.params import CaseParams
from shapempi.calibration.population import draw_pairs
from shapempi.calibration.stamps import StampMaker
from shapempi.catalog import SHEAR_TYPES
from shapempi.flags import NO_RESULT
from shapempi.measure.shape_params import ShapeParams
from shapempi.measure.shapes import measure_shapes

__all__ = ["TRIAL_DTYPE", "Trial"]

#: Columns of the shape measurement that are kept.
_MEASURED = tuple(f"{name}_{kind}" for kind in SHEAR_TYPES for name in ("g1", "g2", "T", "Tpsf", "s2n"))

#: One object in one variant: its pair, which of the two it is, the signs of the PSF's shape and of the shear, and what
#: was measured; g is NaN without a result.
TRIAL_DTYPE = np.dtype(
    [("pair", "i8"), ("member", "i1"), ("psf", "i1"), ("shear", "i1"), ("flags", "i4")]
    + [(name, "f8") for name in _MEASURED]
)


class Trial:
    """One case with the settings under trial.

    Parameters
    ----------
    case : CaseParams
        What is simulated.
    shapes : ShapeParams
        Settings of the measurement; those that the case changes are replaced.
    size : int
        Side of the stamps [pixel].
    seed : int
        Seed of galaxies, noise, and the measurement's own noise fields.
    batch : int
        Pairs that are drawn and measured at once.
    """

    def __init__(self, case: CaseParams, shapes: ShapeParams, *, size: int, seed: int, batch: int) -> None:
        self._case = case
        self._shapes = ShapeParams.model_validate({**shapes.model_dump(), **case.shapes})
        self._size, self._seed, self._batch = size, seed, batch
        self._maker = StampMaker(case, size)

    def measure(self, numbers: Sequence[int]) -> np.ndarray:
        """Simulate and measure pairs.

        Parameters
        ----------
        numbers : sequence of int [n]
            Numbers of the pairs in the case.

        Returns
        -------
        ndarray of TRIAL_DTYPE [n * variant * 2]
            By pair, variant and member.  The rows of a pair depend on nothing but its number.
        """
        parts = [np.zeros(0, TRIAL_DTYPE)]
        for start in range(0, len(numbers), self._batch):
            parts.append(self._measure(numbers[start : start + self._batch]))
        return np.concatenate(parts)

    def _measure(self, numbers: Sequence[int]) -> np.ndarray:
        """Measure one batch."""
        pairs = draw_pairs(self._case, numbers, self._size, self._seed)
        tables = []
        for kind, stacks in self._maker.stacks(pairs):
            shapes = measure_shapes(stacks, self._shapes, seed=(self._seed, 0, 0))
            rows = np.zeros(len(shapes), TRIAL_DTYPE)
            rows["pair"], rows["member"] = np.repeat(pairs.number, 2), np.tile([0, 1], len(numbers))
            rows["psf"], rows["shear"], rows["flags"] = kind.psf, kind.shear, shapes["flags"]
            for column in _MEASURED:
                rows[column] = shapes[column]
            lost = (shapes["flags"] & int(NO_RESULT)) != 0
            for component in (1, 2):
                for type_name in SHEAR_TYPES:
                    rows[f"g{component}_{type_name}"][lost] = np.nan
            tables.append(rows.reshape(len(numbers), 2))
        return np.stack(tables, axis=1).reshape(-1)
