"""Residuals against magnitude, size and signal-to-noise ratio; against magnitude shows the brighter-fatter effect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from shapempi.params import Params, key
from shapempi.validation.jackknife import delete_one_error, exposure_groups

__all__ = ["ABSCISSAE", "TREND_DTYPE", "TREND_QUANTITIES", "Trend", "TrendParams", "trend"]

#: What residuals are compared with: unit, meaning, and whether bins and slope are in its decimal logarithm.
ABSCISSAE: Mapping[str, tuple[str, str, bool]] = {
    "mag": ("mag", "MAG_AUTO", False),
    "T": ("arcsec2", "T of the model", False),
    "snr": ("", "signal-to-noise ratio", True),
}

#: Residuals whose trends are sought: sky frame and relative size.
TREND_QUANTITIES = ("dg1", "dg2", "dT")

#: One bin: limits, mean of the abscissa (of its logarithm, as a number, for snr), stars, means of residuals, errors.
TREND_DTYPE = np.dtype(
    [
        *(("low", "f8"), ("high", "f8"), ("centre", "f8"), ("n", "i8")),
        *((f"{name}{what}", "f8") for name in TREND_QUANTITIES for what in ("", "_err")),
    ]
)


class TrendParams(Params):
    """Bins of the trends."""

    n_bin: int = key(12, "Bins of equal numbers of stars.", ge=2)
    min_stars: int = key(10, "Fewest stars of a bin; with fewer stars there are fewer bins.", ge=2)


@dataclass(frozen=True)
class Trend:
    """Mean residuals in bins of one quantity.

    Attributes
    ----------
    abscissa : str
        One of `ABSCISSAE`.
    table : ndarray of TREND_DTYPE [n_bin]
        The bins.
    slope, slope_error : mapping of str to float
        Of a line through the means of the bins, weighted by the number of stars over their variance: change of each
        residual per unit of the abscissa, or per decade; NaN with fewer than two bins.
    pivot : float
        Abscissa (its logarithm for decades) at which `level` holds.
    level : mapping of str to float
        Value of the line at the pivot.
    """

    abscissa: str
    table: np.ndarray
    slope: Mapping[str, float]
    slope_error: Mapping[str, float]
    pivot: float
    level: Mapping[str, float]


def trend(rows: np.ndarray, abscissa: str, params: TrendParams) -> Trend:
    """Average residuals in bins, and fit a line.

    Parameters
    ----------
    rows : ndarray of RESIDUAL_DTYPE [n]
        The stars; those without the abscissa are left out.
    abscissa : str
        One of `ABSCISSAE`.
    params : TrendParams
        The bins.

    Returns
    -------
    Trend
        Errors of means and slopes are a jackknife over exposures (CCDs, stars; see `exposure_groups`).
    """
    logarithmic = ABSCISSAE[abscissa][2]
    x = rows[abscissa].astype(float)
    known = np.isfinite(x) & ((x > 0) | (not logarithmic))
    rows, x = rows[known], x[known]
    if logarithmic:
        x = np.log10(x)
    edges = _edges(x, params)
    n_bin = len(edges) - 1
    nan = dict.fromkeys(TREND_QUANTITIES, float("nan"))
    if n_bin < 1:
        return Trend(abscissa, np.zeros(0, TREND_DTYPE), nan, dict(nan), float("nan"), dict(nan))
    bins = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, n_bin - 1)
    groups = exposure_groups(rows)
    # Of many groups, as if each star were one, sums of hundreds of blocks say the same: memory stays bounded.
    n_block = min(groups.n, 400)
    place = (groups.index % n_block) * n_bin + bins
    count = np.bincount(place, minlength=n_block * n_bin).reshape(n_block, n_bin)
    total = count.sum(axis=0)
    table = np.zeros(n_bin, TREND_DTYPE)
    centre = np.bincount(bins, x, n_bin) / np.maximum(total, 1)
    limits = 10.0**edges if logarithmic else edges
    table["low"], table["high"], table["n"] = limits[:-1], limits[1:], total
    table["centre"] = 10.0**centre if logarithmic else centre
    slope, slope_error, level = {}, {}, {}
    pivot = float((total * centre).sum() / total.sum())
    for name in TREND_QUANTITIES:
        values = rows[name].astype(float)
        sums = np.bincount(place, values, n_block * n_bin).reshape(n_block, n_bin)
        mean = sums.sum(axis=0) / np.maximum(total, 1)
        variance = np.bincount(bins, (values - mean[bins]) ** 2, n_bin) / np.maximum(total, 1)
        # Where stars do not scatter at all, bins count by their stars.
        weight = total / variance if (variance > 0).all() else total.astype(float)
        rest = total - count
        left_out = np.where(rest > 0, (sums.sum(axis=0) - sums) / np.maximum(rest, 1), np.nan)
        error = delete_one_error(left_out)
        table[name], table[f"{name}_err"] = mean, error
        line = _line(centre - pivot, mean, weight)
        lines = np.array([_line(centre - pivot, each, weight) for each in left_out])
        level[name], slope[name] = line
        slope_error[name] = float(delete_one_error(lines[:, 1]))
    return Trend(abscissa, table, slope, slope_error, pivot, level)


def _edges(x: np.ndarray, params: TrendParams) -> np.ndarray:
    """Return the edges of bins of equal numbers; values that many stars share make fewer bins, none no bin."""
    n_bin = min(params.n_bin, len(x) // params.min_stars)
    if n_bin < 1:
        return np.zeros(0)
    edges = np.unique(np.quantile(x, np.linspace(0, 1, n_bin + 1)))
    return edges if len(edges) > 1 else np.zeros(0)


def _line(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """Fit a line to means; returns its value at 0 and its slope, NaN where there are not two points."""
    use = np.isfinite(y) & (weight > 0)
    if use.sum() < 2:
        return float("nan"), float("nan")
    x, y, weight = x[use], y[use], weight[use]
    mean_x, mean_y = np.average(x, weights=weight), np.average(y, weights=weight)
    spread = float((weight * (x - mean_x) ** 2).sum())
    slope = float((weight * (x - mean_x) * (y - mean_y)).sum()) / spread if spread > 0 else float("nan")
    return float(mean_y - slope * mean_x), slope
