"""Shear response of a sample, by sums that can be added up in any order.

With the types +j and -j sheared by the step h in component j, and any selection and weights that were computed
anew on each type (Sheldon & Huff 2017, section 2):

* R_shear[i, j] = <g_i of +j - g_i of -j>/(2 h), objects and weights as selected without shear;
* R_selection[i, j] = (<g_i without shear> selected on +j - the same selected on -j)/(2 h);
* shear = (R_shear + R_selection)^-1 <g without shear>.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from shapempi.catalog import SHEAR_TYPES

__all__ = ["ResponseSum", "Shear", "add_to_bins", "jackknife_error"]

_N_TYPE = len(SHEAR_TYPES)


class Shear(NamedTuple):
    """Mean shear of a sample: `g` [2] and its standard errors `error` [2]."""

    g: np.ndarray
    error: np.ndarray


@dataclass(frozen=True)
class _Sums:
    """Sums over the objects of one patch.

    Attributes
    ----------
    n : ndarray of int64 [5]
        Objects that each type selects.
    weight : ndarray of float64 [5]
        Sum of their weights.
    fixed : ndarray of float64 [5, 2]
        Sum of weight times g of each type, selected and weighted without shear.
    selected : ndarray of float64 [5, 2]
        Sum of weight times g without shear, selected and weighted on each type.
    square : ndarray of float64 [6]
        Sums of w^2, w^2 g1, w^2 g2, w^2 g1^2, w^2 g2^2, w^2 g1 g2, without shear.
    """

    n: np.ndarray
    weight: np.ndarray
    fixed: np.ndarray
    selected: np.ndarray
    square: np.ndarray

    @classmethod
    def zero(cls) -> _Sums:
        """Return the sums over nothing."""
        pairs = np.zeros((_N_TYPE, 2))
        return cls(np.zeros(_N_TYPE, np.int64), np.zeros(_N_TYPE), pairs, pairs.copy(), np.zeros(6))

    def __add__(self, other: _Sums) -> _Sums:
        return _Sums(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    def __sub__(self, other: _Sums) -> _Sums:
        return _Sums(*(getattr(self, name) - getattr(other, name) for name in self.__dataclass_fields__))


class ResponseSum:
    """Sums from which response and mean shear of a sample follow.

    Parameters
    ----------
    step : float, optional
        Shear that was applied to the images, in each direction.

    Notes
    -----
    Sums are kept by patch (a tile, say) and added up in the order of the patches' names.  As long as a patch is
    added once, the result has the same bits whatever the order of `add` and `merge`.
    """

    def __init__(self, step: float = 0.01) -> None:
        self.step = step
        self._patches: dict[str, _Sums] = {}

    def add(
        self,
        table: np.ndarray,
        *,
        select: Mapping[str, np.ndarray] | None = None,
        weight: Mapping[str, np.ndarray] | None = None,
        patch: str = "",
    ) -> None:
        """Add objects.

        Parameters
        ----------
        table : ndarray, structured [n]
            Columns g1_<type> and g2_<type> of each type.  Objects without a shape in every type are left out.
        select : mapping of str to ndarray of bool [n], optional
            The selection computed on each type's own columns; all objects by default.
        weight : mapping of str to ndarray of float64 [n], optional
            The weight computed on each type's own columns; 1 by default.
        patch : str, optional
            The part of the sky that the objects are in: the unit that the jackknife leaves out.

        Raises
        ------
        ValueError
            If `select` or `weight` lacks a type.
        """
        for name, mapping in (("select", select), ("weight", weight)):
            if mapping is not None and set(mapping) != set(SHEAR_TYPES):
                raise ValueError(f"{name} must have the types {', '.join(SHEAR_TYPES)}, not {', '.join(mapping)}")
        everything = np.ones(len(table), dtype=bool)
        self._patches.setdefault(patch, _Sums.zero())  # one without objects is a patch, too
        place = {kind: np.where(everything if select is None else select[kind], 0, -1) for kind in SHEAR_TYPES}
        add_to_bins([self], table, place, weight=weight, patch=np.zeros(len(table), np.int64), names=[patch])

    def merge(self, other: ResponseSum) -> None:
        """Add the sums of another part of the sample.

        Raises
        ------
        ValueError
            If the two were made with different steps.
        """
        if other.step != self.step:
            raise ValueError(f"cannot merge sums of step {other.step} with sums of step {self.step}")
        for patch, sums in other._patches.items():
            self._patches[patch] = self._patches.get(patch, _Sums.zero()) + sums

    @property
    def n(self) -> int:
        """Objects selected without shear."""
        return int(self._total().n[0])

    def R_shear(self) -> np.ndarray:  # noqa: N802 (the name in the papers)
        """Return the mean response [2, 2] of the shapes; row i is the shape's component, column j the shear's."""
        return _responses(self._total(), self.step)[0]

    def R_selection(self) -> np.ndarray:  # noqa: N802 (the name in the papers)
        """Return the response [2, 2] of the selection and of the weights."""
        return _responses(self._total(), self.step)[1]

    def R(self) -> np.ndarray:  # noqa: N802 (the name in the papers)
        """Return the whole response [2, 2]; NaN without objects."""
        return np.sum(_responses(self._total(), self.step), axis=0)

    def mean_g(self) -> np.ndarray:
        """Return the weighted mean shape [2] without shear, not corrected for the response."""
        total = self._total()
        return _ratio(total.fixed[0], total.weight[0])

    def shear(self) -> Shear:
        """Return the mean shear, corrected for the response.

        Returns
        -------
        Shear
            With at least ten patches the errors are those of a jackknife over patches, the response's included;
            with fewer they come from the scatter of the shapes.  NaN without objects.
        """
        total = self._total()
        estimate = _estimate(total, self.step)
        if len(self._patches) < 10:
            return Shear(estimate, self._scatter_error(total))
        return Shear(estimate, jackknife_error(self.leave_one_out()))

    def leave_one_out(self) -> np.ndarray:
        """Return the mean shear [n_patch, 2] without each patch, in the order of the patches' names."""
        total = self._total()
        return np.array([_estimate(total - self._patches[name], self.step) for name in sorted(self._patches)])

    def without_each(self) -> Iterator[ResponseSum]:
        """Yield the sums without each patch, in the order of the patches' names; each has one patch only."""
        total = self._total()
        for name in sorted(self._patches):
            rest = ResponseSum(self.step)
            rest._patches[""] = total - self._patches[name]
            yield rest

    def _total(self) -> _Sums:
        """Return the sums over all patches, in the order of their names."""
        total = _Sums.zero()
        for name in sorted(self._patches):
            total = total + self._patches[name]
        return total

    def _scatter_error(self, total: _Sums) -> np.ndarray:
        """Return the errors [2] that follow from the scatter of the shapes: R^-1 C R^-T."""
        if total.n[0] < 2:
            return np.full(2, np.nan)
        m1, m2 = total.fixed[0] / total.weight[0]
        s, s1, s2, s11, s22, s12 = total.square
        c11, c22 = s11 - 2 * m1 * s1 + m1**2 * s, s22 - 2 * m2 * s2 + m2**2 * s
        c12 = s12 - m1 * s2 - m2 * s1 + m1 * m2 * s
        covariance = np.array([[c11, c12], [c12, c22]]) / total.weight[0] ** 2
        R = np.sum(_responses(total, self.step), axis=0)
        if not np.isfinite(R).all() or np.linalg.det(R) == 0:
            return np.full(2, np.nan)
        inverse = np.linalg.inv(R)
        # Shapes that are all equal leave a variance of plus or minus a rounding error.
        return np.sqrt(np.maximum(np.diag(inverse @ covariance @ inverse.T), 0.0))


def add_to_bins(
    bins: Sequence[ResponseSum],
    table: np.ndarray,
    place: Mapping[str, np.ndarray],
    *,
    weight: Mapping[str, np.ndarray] | None = None,
    patch: np.ndarray,
    names: Sequence[str],
) -> None:
    """Add objects to the sums of the bins that they are in, which may differ from type to type.

    Parameters
    ----------
    bins : sequence of ResponseSum [n_bin]
        The sums.
    table : ndarray, structured [n]
        Columns g1_<type> and g2_<type> of each type.  Objects without a shape in every type are left out.
    place : mapping of str to ndarray of int [n]
        The bin by each type's own columns; negative where that type does not select the object.
    weight : mapping of str to ndarray of float64 [n], optional
        The weight computed on each type's own columns; 1 by default.
    patch : ndarray of int [n]
        Patch of each object.
    names : sequence of str
        Names of the patches.
    """
    g = np.stack([np.stack([table[f"g{i}_{kind}"] for i in (1, 2)]) for kind in SHEAR_TYPES])  # [5, 2, n]
    usable = np.isfinite(g).all(axis=(0, 1))
    g = np.where(usable, g, 0.0)
    n_cell = len(bins) * len(names)
    cells = [np.where(usable & (place[kind] >= 0), patch * len(bins) + place[kind], n_cell) for kind in SHEAR_TYPES]
    w = [np.ones(len(table)) if weight is None else weight[kind] for kind in SHEAR_TYPES]
    w = [np.where(cell < n_cell, each, 0.0) for cell, each in zip(cells, w, strict=True)]

    def sums(kind: int, values: np.ndarray) -> np.ndarray:
        return np.bincount(cells[kind], values, minlength=n_cell + 1)[:n_cell]

    types = range(_N_TYPE)
    n = np.stack([np.bincount(cell, minlength=n_cell + 1)[:n_cell] for cell in cells], axis=-1)
    total = np.stack([sums(t, w[t]) for t in types], axis=-1)
    fixed = np.stack([[sums(0, w[0] * g[t, i]) for i in (0, 1)] for t in types]).transpose(2, 0, 1)
    selected = np.stack([[sums(t, w[t] * g[0, i]) for i in (0, 1)] for t in types]).transpose(2, 0, 1)
    g1, g2 = g[0]
    products = (np.ones(len(table)), g1, g2, g1**2, g2**2, g1 * g2)
    square = np.stack([sums(0, w[0] ** 2 * product) for product in products], axis=-1)
    for cell in np.flatnonzero(n.any(axis=1)).tolist():
        name, of = names[cell // len(bins)], bins[cell % len(bins)]._patches
        here = _Sums(n[cell], total[cell], fixed[cell], selected[cell], square[cell])
        of[name] = of.get(name, _Sums.zero()) + here


def jackknife_error(left_out: np.ndarray) -> np.ndarray:
    """Return standard errors [...] from the estimates [n, ...] that leave one of n patches out each."""
    n = len(left_out)
    return np.sqrt((n - 1) / n * np.sum((left_out - left_out.mean(axis=0)) ** 2, axis=0))


def _ratio(sums: np.ndarray, weight: float) -> np.ndarray:
    """Return sums over a weight; NaN where that is not positive."""
    return sums / weight if weight > 0 else np.full(np.shape(sums), np.nan)


def _responses(sums: _Sums, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the responses [2, 2] of shapes and of selection."""
    fixed = _ratio(sums.fixed, sums.weight[0])
    selected = np.stack([_ratio(sums.selected[t], sums.weight[t]) for t in range(_N_TYPE)])
    # Types are noshear, 1p, 1m, 2p, 2m.
    plus, minus = [1, 3], [2, 4]
    return (fixed[plus] - fixed[minus]).T / (2 * step), (selected[plus] - selected[minus]).T / (2 * step)


def _estimate(sums: _Sums, step: float) -> np.ndarray:
    """Return the mean shear [2], NaN if the response cannot be inverted."""
    R = np.sum(_responses(sums, step), axis=0)
    if not np.isfinite(R).all() or np.linalg.det(R) == 0:
        return np.full(2, np.nan)
    return np.linalg.solve(R, _ratio(sums.fixed[0], sums.weight[0]))
