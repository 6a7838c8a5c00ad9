"""Biases of a case from the rows of its trial.

Every galaxy is measured under the shear g and under -g with the same noise (Pujol et al. 2019, A&A 621, A2), so half
the difference of the two mean shears, which gives m, has nearly no noise, and half their sum is the additive bias c.
Pairs that differ by a rotation by 90 degrees keep the shape noise out of c.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from shapempi.calibration.params import CalibrationParams, CaseParams
from shapempi.calibration.stamps import variants
from shapempi.catalog import SHEAR_TYPES
from shapempi.measure.response import ResponseSum, jackknife_error

__all__ = ["QUANTITIES", "CaseResult", "Quantity", "change", "estimate"]

#: What is estimated, by name, in the order of the report.
QUANTITIES: Mapping[str, str] = {
    "m": "multiplicative bias along the shear",
    "m_cross": "measured shear across the true one, relative to it",
    "m1": "multiplicative bias of g1",
    "m2": "multiplicative bias of g2",
    "c1": "additive bias of g1",
    "c2": "additive bias of g2",
    "alpha": "leakage of the PSF's shape into the shear, along the PSF's shape",
    "alpha_cross": "the same across it",
    "R11": "mean response",
    "R22": "mean response",
    "m_cut": "m of the selected sample with the selection's response",
    "m_cut_bare": "m of the selected sample without the selection's response",
    "R_selection": "mean response of the selection",
}


@dataclass(frozen=True)
class Quantity:
    """A number, its jackknife error, and the values without each patch [n_patch]; NaN where it does not apply."""

    value: float
    error: float
    left_out: np.ndarray


@dataclass(frozen=True)
class CaseResult:
    """The biases of one case.

    Attributes
    ----------
    name : str
        The case.
    n_pair, n_used : int
        Pairs simulated, and those of which every object was measured in every variant.
    cut_fraction : float
        Part of the objects that the selection keeps.
    quantities : mapping of str to Quantity
        By the names of `QUANTITIES`; those of a change (`change`) besides.
    """

    name: str
    n_pair: int
    n_used: int
    cut_fraction: float
    quantities: Mapping[str, Quantity]


@dataclass
class _Samples:
    """Sums over the samples of a case: by sign of the shear, all and selected, and by sign of the PSF's shape."""

    shear: dict[int, ResponseSum]
    cut: dict[int, ResponseSum]
    psf: dict[int, ResponseSum]

    def split(self) -> Iterable[_Samples]:
        """Yield the samples without each patch."""
        sums = [*self.shear.values(), *self.cut.values(), *self.psf.values()]
        for parts in zip(*(each.without_each() for each in sums), strict=True):
            rest = iter(parts)
            yield _Samples(*({sign: next(rest) for sign in group} for group in (self.shear, self.cut, self.psf)))


def estimate(
    case: CaseParams, params: CalibrationParams, step: float, tables: Iterable[tuple[str, np.ndarray]]
) -> CaseResult:
    """Estimate the biases of a case.

    Parameters
    ----------
    case : CaseParams
        The case, for its true shear and PSF.
    params : CalibrationParams
        The cut of the selected sample.
    step : float
        Shear of the metacalibration images.
    tables : iterable of (str, ndarray of TRIAL_DTYPE)
        Name and rows of each patch, whole pairs in the order of `Trial.measure`.

    Returns
    -------
    CaseResult
        Of pairs of which an object is without a shape in any variant nothing is used.
    """
    kinds = variants(case)
    samples = _Samples(*({sign: ResponseSum(step) for sign in {kind[i] for kind in kinds}} for i in (1, 1, 0)))
    n_pair = n_used = n_cut = n_object = 0
    for patch, table in tables:
        rows = table.reshape(-1, len(kinds), 2)
        whole = np.all([np.isfinite(rows[f"g{i}_{kind}"]) for i in (1, 2) for kind in SHEAR_TYPES], axis=(0, 2, 3))
        n_pair, n_used = n_pair + len(rows), n_used + int(whole.sum())
        for column, kind in enumerate(kinds):
            used = rows[whole, column].ravel()
            selected = {name: _select(used, name, params) for name in SHEAR_TYPES}
            samples.shear[kind.shear].add(used, patch=patch)
            samples.psf[kind.psf].add(used, patch=patch)
            samples.cut[kind.shear].add(used, select=selected, patch=patch)
            n_object, n_cut = n_object + len(used), n_cut + int(selected["noshear"].sum())
    with np.errstate(invalid="ignore"):
        values = _biases(case, samples)
        left_out = [_biases(case, rest) for rest in samples.split()]
        quantities = {
            name: _quantity(value, np.array([each[name] for each in left_out])) for name, value in values.items()
        }
    return CaseResult(case.name, n_pair, n_used, n_cut / n_object if n_object else float("nan"), quantities)


def change(result: CaseResult, reference: CaseResult) -> CaseResult:
    """Return a result with the change of m from another case with the same galaxies and noise.

    Parameters
    ----------
    result, reference : CaseResult
        The two cases, of the same number of pairs and patches.

    Returns
    -------
    CaseResult
        The first, with the quantities dm, dc1 and dc2.  What the two have in common falls out of their errors.
    """
    differences = {}
    for name in ("m", "c1", "c2"):
        ours, theirs = result.quantities[name], reference.quantities[name]
        differences[f"d{name}"] = _quantity(ours.value - theirs.value, ours.left_out - theirs.left_out)
    return CaseResult(
        result.name, result.n_pair, result.n_used, result.cut_fraction, {**result.quantities, **differences}
    )


def _quantity(value: float, left_out: np.ndarray) -> Quantity:
    """Return a value with its jackknife error."""
    return Quantity(float(value), float(jackknife_error(left_out)), left_out)


def _select(rows: np.ndarray, kind: str, params: CalibrationParams) -> np.ndarray:
    """Return the selection computed on the columns of one type, bool [n]."""
    ratio = rows[f"T_{kind}"] / rows[f"Tpsf_{kind}"]
    return (ratio > params.cut_size) & (rows[f"s2n_{kind}"] > params.cut_s2n)


def _biases(case: CaseParams, samples: _Samples) -> dict[str, float]:
    """Return every quantity of `QUANTITIES`; NaN where it does not apply."""
    nan = float("nan")
    found = dict.fromkeys(QUANTITIES, nan)
    R = np.mean([sums.R() for sums in samples.shear.values()], axis=0)
    found["R11"], found["R22"] = R[0, 0], R[1, 1]
    if case.stars:
        return found
    g = np.array([case.g1, case.g2])
    plus, minus = (samples.shear[sign].shear().g for sign in (1, -1))
    found["m"], found["m_cross"] = _project((plus - minus) / 2.0, g)
    found["m"] -= 1.0
    for i in (0, 1):
        found[f"m{i + 1}"] = (plus - minus)[i] / (2.0 * g[i]) - 1.0 if g[i] else nan
        found[f"c{i + 1}"] = (plus + minus)[i] / 2.0
    if len(samples.psf) == 2:
        psf = np.mean([(view.psf_g1, view.psf_g2) for view in case.views], axis=0)
        plus, minus = (samples.psf[sign].shear().g for sign in (1, -1))
        found["alpha"], found["alpha_cross"] = _project((plus - minus) / 2.0, psf)
    estimators: tuple[tuple[str, Callable[[ResponseSum], np.ndarray]], ...] = (
        ("m_cut", lambda sums: sums.shear().g),
        ("m_cut_bare", _without_selection),
    )
    for name, estimator in estimators:
        plus, minus = (estimator(samples.cut[sign]) for sign in (1, -1))
        found[name] = _project((plus - minus) / 2.0, g)[0] - 1.0
    found["R_selection"] = float(np.mean([np.trace(sums.R_selection()) / 2.0 for sums in samples.cut.values()]))
    return found


def _project(vector: np.ndarray, axis: np.ndarray) -> tuple[float, float]:
    """Return the components of a shear along and across another one, relative to it; NaN if that is zero."""
    square = float(axis @ axis)
    if square == 0.0:
        return float("nan"), float("nan")
    return float(vector @ axis) / square, float(vector[1] * axis[0] - vector[0] * axis[1]) / square


def _without_selection(sums: ResponseSum) -> np.ndarray:
    """Return the mean shear [2] as if the selection had no response."""
    R = sums.R_shear()
    if not np.isfinite(R).all() or np.linalg.det(R) == 0:
        return np.full(2, np.nan)
    return np.linalg.solve(R, sums.mean_g())
