"""Random parts of a selection that depend on which objects there are, not on the order of the table's rows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

__all__ = ["POSITIONS", "Split", "draw_part", "part_labels", "position_columns"]

#: Columns that say where an object is, in the order of preference.
POSITIONS = (("XWIN_IMAGE", "YWIN_IMAGE"), ("X_IMAGE", "Y_IMAGE"), ("ALPHA_J2000", "DELTA_J2000"), ("ra", "dec"))


def position_columns(dtype: np.dtype) -> tuple[str, str] | None:
    """Return the columns of a table that say where an object is, or None if there are none."""
    names = dtype.names or ()
    return next((pair for pair in POSITIONS if pair[0] in names and pair[1] in names), None)


@dataclass(frozen=True)
class Split:
    """A random part of a selection and the rest of it.

    Attributes
    ----------
    name : str
        Name of the section.
    labels : tuple of str
        Names of the two parts: their ratios in per cent.
    drawn, rest : ndarray of bool [n]
        Rows of the table that are in the one and in the other.
    reason : str
        Why a part is empty; empty if none is.
    """

    name: str
    labels: tuple[str, str]
    drawn: np.ndarray
    rest: np.ndarray
    reason: str


def part_labels(ratio: float) -> tuple[str, str]:
    """Return the labels of a part and of its rest: `("20", "80")` for 0.2, `("12.5", "87.5")` for 0.125.

    Two halves are `50` and `50_rest`, because they are files of one folder.
    """
    # 0.29 * 100 is 28.999999999999996.
    percent = round(100.0 * ratio, 6)
    label, rest = f"{percent:.10g}", f"{round(100.0 - percent, 6):.10g}"
    return label, rest if rest != label else f"{rest}_rest"


def draw_part(
    table: np.ndarray, selected: np.ndarray, ratio: float, rng: np.random.Generator, *, n_cell: int = 1
) -> np.ndarray:
    """Draw ceil(N ratio) of the N selected rows.

    Parameters
    ----------
    table : structured ndarray [n]
        The objects; those with positions (XWIN_IMAGE, X_IMAGE, ALPHA_J2000 or ra, and the like) are drawn by their
        positions, whatever their order in the table, others by their rows.
    selected : ndarray of bool [n]
        Rows that are drawn from.
    ratio : float
        The part, 0 to 1.
    rng : numpy.random.Generator
        Draws.
    n_cell : int, optional
        Divide the selected objects' range into this many cells along each axis, and draw from each cell its share, to
        within one object; positions are needed for that.

    Returns
    -------
    ndarray of bool [n]
        The rows drawn.
    """
    drawn = np.zeros(len(table), dtype=bool)
    rows = np.flatnonzero(selected)
    # 0.07 * 100 is 7.000000000000001: rounding errors of the product must not add an object.
    n_draw = math.ceil(round(len(rows) * ratio, 9))
    if n_draw == 0:
        return drawn
    position = position_columns(table.dtype)
    if position is not None:
        rows = rows[np.lexsort((table[position[1]][rows], table[position[0]][rows]))]
    rows = rows[rng.permutation(len(rows))]
    if n_cell > 1 and position is not None:
        cells = _cells(table[position[0]][rows], n_cell) * n_cell + _cells(table[position[1]][rows], n_cell)
        rows = rows[np.argsort(cells, kind="stable")]
        # Every so many-th object from a random start: from a cell of m objects m n_draw / N are drawn, to within one.
        picks = np.floor((np.arange(n_draw) + rng.random()) * (len(rows) / n_draw)).astype(int)
        rows = rows[np.minimum(picks, len(rows) - 1)]
    drawn[rows[:n_draw]] = True
    return drawn


def _cells(values: np.ndarray, n_cell: int) -> np.ndarray:
    """Return the cell of each value along one axis; what is not finite is in the first one."""
    values = np.asarray(values, dtype=float)
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(len(values), dtype=int)
    low, high = values[finite].min(), values[finite].max()
    scaled = np.where(finite, values - low, 0.0) / (high - low if high > low else 1.0)
    return np.minimum((scaled * n_cell).astype(int), n_cell - 1)
