"""Mean shear of simulated galaxies beside the truth, and the bias from two simulations of opposite shear."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from shapempi.measure.response import ResponseSum, jackknife_error

__all__ = ["ShearBias", "ShearResult", "mean_shear", "shear_bias", "whole_pairs"]

#: Groups of galaxies that the jackknife leaves out one by one; more would cost time and tell nothing.
_N_PATCH = 200


@dataclass(frozen=True)
class ShearResult:
    """Mean shear of the matched galaxies, corrected by the mean response, beside the truth.

    Attributes
    ----------
    g, error, true_g : ndarray of float64 [2]
        Measured, its standard error, and the mean true shear of the same galaxies.
    R : ndarray of float64 [2, 2]
        Mean response.
    n_galaxy : int
        Galaxies used.
    """

    g: np.ndarray
    error: np.ndarray
    true_g: np.ndarray
    R: np.ndarray
    n_galaxy: int

    @property
    def pull(self) -> np.ndarray:
        """Difference from the truth in units of the error, [2]."""
        return (self.g - self.true_g) / self.error

    def lines(self) -> list[str]:
        """Return the result as lines of text."""
        return [f"shear of {self.n_galaxy} galaxies, response R11 {self.R[0, 0]:.3f} R22 {self.R[1, 1]:.3f}"] + [
            f"  g{i + 1} = {self.g[i]:+.5f} +- {self.error[i]:.5f}, true {self.true_g[i]:+.5f}, "
            f"difference {self.pull[i]:+.2f} sigma"
            for i in range(2)
        ]


@dataclass(frozen=True)
class ShearBias:
    """Multiplicative and additive bias: measured = (1 + m) true + c, by component.

    Attributes
    ----------
    m, m_error, c, c_error : ndarray of float64 [2]
        The biases and their standard errors; m of a component without true shear is NaN.
    n_galaxy : int
        Galaxies measured in both simulations.
    """

    m: np.ndarray
    m_error: np.ndarray
    c: np.ndarray
    c_error: np.ndarray
    n_galaxy: int

    def lines(self) -> list[str]:
        """Return the biases as lines of text."""
        return [f"bias from {self.n_galaxy} galaxies with opposite shears"] + [
            f"  m{i + 1} = {self.m[i]:+.4f} +- {self.m_error[i]:.4f}, "
            f"c{i + 1} = {self.c[i]:+.5f} +- {self.c_error[i]:.5f}"
            for i in range(2)
        ]


def whole_pairs(pair: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Tell which galaxies can be used so that no pair is broken.

    Parameters
    ----------
    pair : ndarray of int [n]
        Number of the pair that a galaxy belongs to; -1 for none.
    usable : ndarray of bool [n]
        Galaxies with a measurement.

    Returns
    -------
    ndarray of bool [n]
        Usable galaxies whose partner is usable, too; without pairs all usable ones.  The shapes of two galaxies that
        differ by a rotation by 90 degrees cancel, but one alone brings its whole shape noise.
    """
    paired = pair >= 0
    if not paired.any():
        return usable
    members = np.bincount(pair[usable & paired], minlength=int(pair.max()) + 1)
    return usable & paired & (members[np.maximum(pair, 0)] == 2)


def mean_shear(rows: np.ndarray, truth: np.ndarray) -> ShearResult | None:
    """Return the mean shear of galaxies, corrected by their mean response.

    Parameters
    ----------
    rows : ndarray [n]
        Rows of the catalogue, all with a shape.
    truth : ndarray [n]
        Their truth: g1, g2 and pair.

    Returns
    -------
    ShearResult or None
        None for fewer than three galaxies.  The error of rotated pairs is a jackknife over pairs: their shapes are
        not independent, and the scatter of the shapes says nothing about the mean's error.
    """
    kept = whole_pairs(truth["pair"], np.ones(len(rows), dtype=bool))
    rows, truth = rows[kept], truth[kept]
    if len(rows) < 3:
        return None
    if (truth["pair"] >= 0).any():
        total = _sum(rows, truth["pair"])
    else:
        total = ResponseSum()
        total.add(rows)
    g, error = total.shear()
    true_g = np.array([truth["g1"].mean(), truth["g2"].mean()])
    return ShearResult(g, error, true_g, total.R(), len(rows))


def shear_bias(first: np.ndarray, second: np.ndarray, truth: np.ndarray) -> ShearBias | None:
    """Return the bias of the mean shear from two simulations that differ in the sign of the shear only.

    With the same sky and the same noise, half the difference of the two mean shears has nearly no noise: it
    measures m.  Half their sum is the additive bias c, with the noise of one simulation.

    Parameters
    ----------
    first, second : ndarray [n]
        Rows of the two catalogues, the same galaxy in the same row, all with a shape.
    truth : ndarray [n]
        Truth of the first simulation: g1, g2 and pair.

    Returns
    -------
    ShearBias or None
        None if fewer than ten galaxies, or pairs, are left.  Errors are those of a jackknife over galaxies, or pairs.
    """
    kept = whole_pairs(truth["pair"], np.ones(len(truth), dtype=bool))
    first, second, truth = first[kept], second[kept], truth[kept]
    group = truth["pair"] if (truth["pair"] >= 0).any() else np.arange(len(truth))
    if len(np.unique(group)) < 10:
        return None
    sums = [_sum(rows, group) for rows in (first, second)]
    whole = [total.shear().g for total in sums]
    parts = [total.leave_one_out() for total in sums]
    difference, mean = (whole[0] - whole[1]) / 2, (whole[0] + whole[1]) / 2
    true_g = np.array([truth["g1"].mean(), truth["g2"].mean()])
    true_g[true_g == 0] = np.nan
    return ShearBias(
        m=difference / true_g - 1.0,
        m_error=jackknife_error((parts[0] - parts[1]) / 2) / np.abs(true_g),
        c=mean,
        c_error=jackknife_error((parts[0] + parts[1]) / 2),
        n_galaxy=len(truth),
    )


def _sum(rows: np.ndarray, group: np.ndarray) -> ResponseSum:
    """Return the sums of galaxies, those of a group in the same patch."""
    total = ResponseSum()
    for name, members in _patches(group):
        total.add(rows[members], patch=name)
    return total


def _patches(group: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Divide rows into at most `_N_PATCH` patches that hold whole groups."""
    patch = np.unique(group, return_inverse=True)[1] % _N_PATCH
    for index in np.unique(patch):
        yield f"{index:03d}", np.flatnonzero(patch == index)
