"""How long units will take: c = c0 + a x epochs + b x objects + ..., with coefficients that learn while the run goes.

Each kind of unit has its own law, linear in the numbers of `Unit.size`.  The fit is least squares of relative errors:
the sums of the normal equations, older units fading, and beside them the coefficients that were assumed at the start
with a weak weight, so that the first unit already corrects them and a size that never varies does no harm.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from shapempi.mpi.unit import Unit

__all__ = ["CostModel"]

#: Name of the constant term.
CONSTANT = "unit"

#: Weight of the assumed ratios of the coefficients against one unit: each may be wrong by a factor of ten.
_PRIOR = 0.01
#: Relative change of the predictions that makes it worth to order the units anew.
_MUCH = 0.1
#: What is left of a unit's weight after the next one: the latest thousand count.
_FADE = 0.999


class _Law:
    """The law of one kind: names of the terms, sums of the normal equations."""

    def __init__(self, assumed: Mapping[str, float]) -> None:
        self.names = tuple(assumed)
        self.scale = np.array([max(value, 1e-12) for value in assumed.values()])
        n = len(self.names)
        # In units of the assumed coefficients, so that all are of order one.
        self.matrix = np.zeros((n, n))
        self.vector = np.zeros(n)
        self.factors = np.ones(n)
        self.n_unit = 0

    def terms(self, size: Mapping[str, float]) -> np.ndarray:
        """Return what each term contributes by the assumed coefficients [s]."""
        values = [1.0 if name == CONSTANT else float(size.get(name, 0.0)) for name in self.names]
        return np.asarray(values) * self.scale

    def learn(self, size: Mapping[str, float], seconds: float) -> None:
        """Add what one unit took."""
        terms = self.terms(size)
        weight = 1.0 / max(seconds, 1e-3) ** 2
        self.matrix = _FADE * self.matrix + weight * np.outer(terms, terms)
        self.vector = _FADE * self.vector + weight * terms * seconds
        self.n_unit += 1

    def solve(self) -> bool:
        """Find the coefficients; negative ones are none.  Return whether predictions are much different.

        First one factor for the whole law (another engine, another machine), then what each term differs from it.
        """
        before = self.factors
        whole = self.matrix.sum()
        scale = self.vector.sum() / whole if whole > 0.0 else 1.0
        prior = _PRIOR * np.eye(len(self.names))
        factors = np.linalg.solve(scale**2 * self.matrix + prior, scale * self.vector + np.diag(prior))
        self.factors = scale * np.maximum(factors, 0.0)
        # By the mean square of relative errors over what was learned: 1 per unit of weight where one predicts nothing.
        change = self.factors - before
        return bool(change @ self.matrix @ change > _MUCH**2 * (before @ self.matrix @ before))


class CostModel:
    """Predicts and learns the times of units.

    Parameters
    ----------
    assumed : mapping of str to mapping
        Per kind the assumed coefficient of each term [s per one]: of `unit`, the constant, and of names of `Unit.size`.
        Kinds that are not in it keep the cost that their units came with.
    """

    def __init__(self, assumed: Mapping[str, Mapping[str, float]] | None = None) -> None:
        self._laws = {kind: _Law(terms) for kind, terms in (assumed or {}).items()}

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that have a law."""
        return tuple(self._laws)

    def predict(self, unit: Unit) -> float:
        """Return the time that a unit will take [s]."""
        law = self._laws.get(unit.kind)
        if law is None or not unit.size:
            return unit.cost
        return float(law.terms(unit.size) @ law.factors)

    def learn(self, unit: Unit, seconds: float) -> bool:
        """Learn from a unit that is done.

        Parameters
        ----------
        unit : Unit
            The unit.
        seconds : float
            The time that it took [s].

        Returns
        -------
        bool
            Whether predictions are much different from now on; looked at after the first unit of its kind, the second,
            the fourth, ...
        """
        law = self._laws.get(unit.kind)
        if law is None or not unit.size:
            return False
        law.learn(unit.size, seconds)
        if law.n_unit & (law.n_unit - 1):
            return False
        return law.solve()

    def coefficients(self) -> dict[str, dict[str, float]]:
        """Return the coefficients as they are now [s per one], by kind and term."""
        return {
            kind: dict(zip(law.names, (law.scale * law.factors).tolist(), strict=True))
            for kind, law in self._laws.items()
        }

    def record(self) -> dict[str, Any]:
        """Return coefficients and numbers of units as plain values."""
        return {kind: {"n_unit": self._laws[kind].n_unit, **terms} for kind, terms in self.coefficients().items()}
