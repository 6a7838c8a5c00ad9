"""The functions of the language.

Statistics are of the finite values of their argument: what is NaN or infinite is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from shapempi.measure.setools.mode import half_sample_mode, mode, mode_kde

__all__ = ["FUNCTIONS", "Function"]

_MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True)
class Function:
    """A function.

    Attributes
    ----------
    usage : str
        How to call it.
    n_column : int
        How many of the first arguments must be columns, at most; 0 for a function of single values, which is applied
        to each object of a column.
    fewest, most : int
        Number of arguments.
    n_number : int
        How many of the last arguments must be numbers.
    apply : callable
        The function of arrays.  It raises ValueError, with what is wrong, for numbers that are out of range.
    """

    usage: str
    apply: Callable[..., Any]
    fewest: int = 1
    most: int = 1
    n_column: int = 1
    n_number: int = 0


def _statistic(compute: Callable[[np.ndarray], Any], empty: float = math.nan) -> Callable[[np.ndarray], float]:
    """Return a statistic of the finite values, with its value for none."""

    def apply(values: np.ndarray) -> float:
        finite = values[np.isfinite(values)]
        return float(compute(finite)) if len(finite) else empty

    return apply


def _sigma_mad(values: np.ndarray) -> float:
    return _MAD_TO_SIGMA * float(np.median(np.abs(values - np.median(values))))


def _percentile(values: np.ndarray, percent: float) -> float:
    if not 0 <= percent <= 100:
        raise ValueError(f"the second argument of percentile must be between 0 and 100, not {percent:g}")
    return _statistic(lambda finite: np.percentile(finite, percent))(values)


def _homogen(*arguments: Any) -> float:
    """Return how unevenly objects fill cells: 0 evenly, 100 all in one (behaviour specification, section 6.3)."""
    *columns, n = arguments
    side = round(math.sqrt(n)) if 1 <= n <= 1e6 else 0
    if side * side != n:
        raise ValueError(f"the number of cells of homogen must be a square of at most 1e6, not {n:g}")
    finite = np.isfinite(columns[0])
    for column in columns[1:]:
        finite &= np.isfinite(column)
    sample = np.stack([column[finite] for column in columns], axis=1)
    if len(sample) == 0:
        return math.nan
    if n == 1:
        return 0.0
    n_bin = int(n) if len(columns) == 1 else side
    low, range_ = sample.min(axis=0), np.ptp(sample, axis=0)
    cells = np.minimum((sample - low) / np.where(range_ > 0, range_, 1.0) * n_bin, n_bin - 1).astype(int)
    cell = cells[:, 0] if len(columns) == 1 else cells[:, 0] * n_bin + cells[:, 1]
    counts = np.bincount(cell, minlength=int(n))
    worst = math.sqrt(n - 1)  # the standard deviation of (n, 0, 0, ...)
    return 100.0 * float(np.std(counts * n / len(sample))) / worst


def _elementwise(name: str, apply: Callable[..., Any]) -> Function:
    return Function(f"{name}(x)", apply, n_column=0)


def _of_column(name: str, apply: Callable[[np.ndarray], Any]) -> Function:
    return Function(f"{name}(column)", apply)


#: All functions by name.
FUNCTIONS: dict[str, Function] = {
    "mean": _of_column("mean", _statistic(np.mean)),
    "median": _of_column("median", _statistic(np.median)),
    "mode": _of_column("mode", mode),
    "mode_kde": _of_column("mode_kde", mode_kde),
    "half_sample_mode": _of_column("half_sample_mode", half_sample_mode),
    "std": _of_column("std", _statistic(np.std)),
    "var": _of_column("var", _statistic(np.var)),
    "sigma_mad": _of_column("sigma_mad", _statistic(_sigma_mad, -1.0)),
    "min": _of_column("min", _statistic(np.min)),
    "max": _of_column("max", _statistic(np.max)),
    "sum": _of_column("sum", _statistic(np.sum, 0.0)),
    "len": _of_column("len", len),
    "percentile": Function("percentile(column, percent)", _percentile, fewest=2, most=2, n_number=1),
    "homogen": Function(
        "homogen(column, n) or homogen(column, column, n)", _homogen, fewest=2, most=3, n_column=2, n_number=1
    ),
    "sqrt": _elementwise("sqrt", np.sqrt),
    "exp": _elementwise("exp", np.exp),
    "log": _elementwise("log", np.log),
    "log10": _elementwise("log10", np.log10),
    "abs": _elementwise("abs", np.abs),
    "when": Function(
        "when(condition, x)", lambda true, x: np.where(true, x, math.nan)[()], fewest=2, most=2, n_column=0
    ),
    "pow": Function("pow(x, y)", np.power, fewest=2, most=2, n_column=0),
}
