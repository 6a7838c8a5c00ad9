"""Response and mean shear in bins of a quantity: signal-to-noise ratio, size, magnitude, shape and size of the PSF.

A bin is a selection: an object is in the bin of each type's own value, and the response has the selection's part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from pydantic import field_validator

from shapempi.catalog import SHEAR_TYPES
from shapempi.lensing.cuts import CutParams, size_ratio
from shapempi.lensing.patches import MIN_PATCHES
from shapempi.measure.response import ResponseSum, add_to_bins, jackknife_error
from shapempi.params import Params, key

__all__ = ["BIN_DTYPE", "QUANTITIES", "Axis", "BinParams", "BinnedSums", "Quantity", "make_axis", "record_of"]


class BinParams(Params):
    """Bins of the tables of response and mean shear."""

    n_bin: int = key(8, "Bins of equal numbers of galaxies, where no limits are given.", ge=1, le=100)
    s2n: tuple[float, ...] = key((), "Limits of bins of s2n; at least two.")
    size_ratio: tuple[float, ...] = key((), "Limits of bins of T / psf_T.")
    mag: tuple[float, ...] = key((), "Limits of bins of mag.", unit="mag")

    @field_validator("s2n", "size_ratio", "mag")
    @classmethod
    def _increasing(cls, limits: tuple[float, ...]) -> tuple[float, ...]:
        if len(limits) == 1 or any(low >= high for low, high in pairwise(limits)):
            raise ValueError("limits of bins must be two or more, each larger than the one before it")
        return limits


@dataclass(frozen=True)
class Quantity:
    """What galaxies are binned by.

    Attributes
    ----------
    label, unit : str
        For tables and figures.
    of : callable
        Values of rows, by the columns of a shear type: of(table, kind).
    sheared : bool
        Whether the value depends on the type.
    """

    label: str
    unit: str
    of: Callable[[np.ndarray, str], np.ndarray]
    sheared: bool


QUANTITIES: Mapping[str, Quantity] = {
    "s2n": Quantity("signal-to-noise ratio", "", lambda table, kind: table[f"s2n_{kind}"], sheared=True),
    "size_ratio": Quantity("T / psf_T", "", size_ratio, sheared=True),
    "mag": Quantity("magnitude", "mag", lambda table, kind: table[f"mag_{kind}"], sheared=True),
    "psf_g1": Quantity("g1 of the PSF", "", lambda table, kind: table["psf_g1"], sheared=False),
    "psf_g2": Quantity("g2 of the PSF", "", lambda table, kind: table["psf_g2"], sheared=False),
    "psf_T": Quantity("T of the PSF", "arcsec2", lambda table, kind: table["psf_T"], sheared=False),
}

_NUMBERS = ("R11", "R12", "R21", "R22", "R11_err", "R22_err", "Rsel11", "Rsel12", "Rsel21", "Rsel22")

#: One bin: limits and weighted mean of the quantity, galaxies, whole response with errors, its part of the selection,
#: and the mean shear with errors.
BIN_DTYPE = np.dtype(
    [
        *(("low", "f8"), ("high", "f8"), ("mean", "f8"), ("n", "i8")),
        *((name, "f8") for name in (*_NUMBERS, "g1", "g2", "g1_err", "g2_err")),
    ]
)


@dataclass(frozen=True)
class Axis:
    """Bins of one quantity.

    Attributes
    ----------
    name : str
        A key of `QUANTITIES`.
    edges : ndarray of float64 [n_bin + 1]
        Limits; a bin holds its lower one.
    """

    name: str
    edges: np.ndarray

    def __len__(self) -> int:
        """Return the number of bins."""
        return len(self.edges) - 1

    def place(self, values: np.ndarray) -> np.ndarray:
        """Return the bin of each value, int64 [n]; -1 outside."""
        index = np.searchsorted(self.edges, values, side="right") - 1
        return np.where(np.isfinite(values) & (index < len(self)), index, -1)


def make_axis(name: str, values: np.ndarray, bins: BinParams, cuts: CutParams) -> Axis:
    """Return the bins of a quantity: those that are configured, or some of equal numbers.

    Parameters
    ----------
    name : str
        The quantity.
    values : ndarray of float64 [n]
        Its values of galaxies, or of some of them, without shear.
    bins, cuts : BinParams, CutParams
        Limits of bins, and of the sample.
    """
    given = getattr(bins, name, ())
    if given:
        return Axis(name, np.asarray(given, float))
    low, high = float(getattr(cuts, f"{name}_min", -np.inf)), float(getattr(cuts, f"{name}_max", np.inf))
    inner = np.unique(np.quantile(np.asarray(values, float), np.linspace(0, 1, bins.n_bin + 1)[1:-1]))
    return Axis(name, np.array([low, *inner[(inner > low) & (inner < high)], high]))


class BinnedSums:
    """Sums of response and mean shear in bins of one quantity, or of two.

    Parameters
    ----------
    axes : sequence of Axis
        The quantities; the last one runs fastest.
    step : float
        Shear of the types.
    """

    def __init__(self, axes: Sequence[Axis], step: float) -> None:
        self.axes = tuple(axes)
        self._shape = tuple(len(axis) for axis in axes)
        n = int(np.prod(self._shape))
        self.sums = [ResponseSum(step) for _ in range(n)]
        self._weight = np.zeros(n)
        self._weighted = np.zeros((len(axes), n))

    def add(
        self,
        table: np.ndarray,
        select: Mapping[str, np.ndarray],
        weight: Mapping[str, np.ndarray],
        patch: np.ndarray,
        names: Sequence[str],
    ) -> None:
        """Add rows: which are selected, and their weights, by type; their patches, and the names of the patches."""
        place = {kind: self._place(table, kind, select[kind]) for kind in SHEAR_TYPES}
        add_to_bins(self.sums, table, place, weight=weight, patch=patch, names=names)
        used = place["noshear"] >= 0
        cells, w = place["noshear"][used], weight["noshear"][used]
        self._weight += np.bincount(cells, w, minlength=len(self.sums))
        for total, axis in zip(self._weighted, self.axes, strict=True):
            values = np.asarray(QUANTITIES[axis.name].of(table, "noshear"), float)[used]
            total += np.bincount(cells, w * values, minlength=len(self.sums))

    def _place(self, table: np.ndarray, kind: str, select: np.ndarray) -> np.ndarray:
        places = [axis.place(QUANTITIES[axis.name].of(table, kind)) for axis in self.axes]
        inside = select & np.logical_and.reduce([place >= 0 for place in places])
        cells = np.ravel_multi_index([np.maximum(place, 0) for place in places], self._shape)
        return np.where(inside, cells, -1)

    def table(self, axis: int = 0) -> np.ndarray:
        """Return the bins as an ndarray of BIN_DTYPE [bins of each axis]; limits and mean are those of one axis."""
        table = np.zeros(len(self.sums), BIN_DTYPE)
        for row, sums in zip(table, self.sums, strict=True):
            record_of(sums, row)
        index = np.unravel_index(np.arange(len(table)), self._shape)[axis]
        table["low"], table["high"] = self.axes[axis].edges[index], self.axes[axis].edges[index + 1]
        known = self._weight > 0
        table["mean"] = np.where(known, self._weighted[axis] / np.where(known, self._weight, 1.0), np.nan)
        return table.reshape(self._shape)


def record_of(sums: ResponseSum, row: np.void) -> np.void:
    """Write number, response and mean shear of a sample into a record of BIN_DTYPE; returns the record."""
    R, selection, shear = sums.R(), sums.R_selection(), sums.shear()
    rest = np.array([each.R() for each in sums.without_each()])
    error = jackknife_error(rest) if len(rest) >= MIN_PATCHES else np.full((2, 2), np.nan)
    row["n"] = sums.n
    for i in range(2):
        row[f"g{i + 1}"], row[f"g{i + 1}_err"] = shear.g[i], shear.error[i]
        row[f"R{i + 1}{i + 1}_err"] = error[i, i]
        for j in range(2):
            row[f"R{i + 1}{j + 1}"], row[f"Rsel{i + 1}{j + 1}"] = R[i, j], selection[i, j]
    return row
