"""Means, scatters and their errors of the residuals: per CCD, per exposure, of a whole survey."""

from __future__ import annotations

import numpy as np

from shapempi.validation.jackknife import Groups, exposure_groups
from shapempi.validation.residuals import with_exposures_as

__all__ = ["QUANTITIES", "STATISTICS", "STATISTICS_DTYPE", "statistics_by", "statistics_of"]

#: Residuals that are summarised: pixel frame, sky frame, relative size.
QUANTITIES = ("de1", "de2", "dg1", "dg2", "dT")

#: What is known of each: mean and its error, rms about zero and its error, median, and the scatter of the central
#: part (1.4826 x median absolute deviation).
STATISTICS = ("mean", "mean_err", "rms", "rms_err", "median", "nmad")

#: One group of stars; exposure and ccd are -1 where the group has several.
STATISTICS_DTYPE = np.dtype(
    [
        *(("exposure", "i4"), ("ccd", "i2"), ("n", "i8")),
        *((f"{quantity}_{statistic}", "f8") for quantity in QUANTITIES for statistic in STATISTICS),
    ]
)

_MAD_TO_SIGMA = 1.4826


def statistics_of(rows: np.ndarray) -> np.void:
    """Summarise all stars as one group.

    Parameters
    ----------
    rows : ndarray of RESIDUAL_DTYPE [n]
        The stars.

    Returns
    -------
    record of STATISTICS_DTYPE
        Errors are a jackknife over exposures, or over what `exposure_groups` finds instead.
        Without stars everything but n is NaN.
    """
    if len(rows):
        table = _summarise(rows, np.zeros(len(rows), dtype=np.intp), 1, exposure_groups(rows))
    else:
        table = np.zeros(1, with_exposures_as(STATISTICS_DTYPE, rows))
        for name in (f"{quantity}_{statistic}" for quantity in QUANTITIES for statistic in STATISTICS):
            table[name] = np.nan
    table["exposure"] = table["ccd"] = -1
    table["n"] = len(rows)
    for name in ("exposure", "ccd"):
        values = np.unique(rows[name])
        if len(values) == 1:
            table[name] = values[0]
    return table[0]


def statistics_by(rows: np.ndarray, *, ccds: bool) -> np.ndarray:
    """Summarise the stars of each exposure, or of each CCD of each exposure.

    Parameters
    ----------
    rows : ndarray of RESIDUAL_DTYPE [n]
        The stars.
    ccds : bool
        By CCD of an exposure; else by exposure.

    Returns
    -------
    ndarray of STATISTICS_DTYPE [n_group]
        Sorted by exposure and CCD.  Errors are a jackknife over the exposure's CCDs, or over the CCD's stars.
    """
    code = rows["exposure"].astype(np.int64) << 16 | rows["ccd"]
    codes, of_ccd = np.unique(code, return_inverse=True)
    if ccds:
        table = _summarise(rows, of_ccd, len(codes), Groups(np.arange(len(rows)), len(rows), "stars"))
        table["exposure"], table["ccd"] = codes >> 16, codes & 0xFFFF
        return table
    exposures, of_exposure = np.unique(rows["exposure"], return_inverse=True)
    table = _summarise(rows, of_exposure, len(exposures), Groups(of_ccd, len(codes), "CCDs"))
    table["exposure"], table["ccd"] = exposures, -1
    return table


def _summarise(rows: np.ndarray, group: np.ndarray, n_group: int, parts: Groups) -> np.ndarray:
    """Summarise groups of stars, with errors from leaving out each part of a group.

    group : int [n], the group of each star; a part lies in one group.
    """
    table = np.empty(n_group, with_exposures_as(STATISTICS_DTYPE, rows))
    table["n"] = np.bincount(group, minlength=n_group)
    owner = np.zeros(parts.n, dtype=np.intp)
    owner[parts.index] = group
    for quantity in QUANTITIES:
        values = rows[quantity].astype(float)
        mean, mean_err = _mean(values, group, owner, parts)
        square, square_err = _mean(values**2, group, owner, parts)
        rms = np.sqrt(square)
        median = _median(values, group, n_group)
        nmad = _MAD_TO_SIGMA * _median(np.abs(values - median[group]), group, n_group)
        # The error of a square root; where the scatter is zero so is its error.
        rms_err = np.where(rms > 0, square_err / np.where(rms > 0, 2 * rms, 1.0), square_err)
        for name, column in zip(STATISTICS, (mean, mean_err, rms, rms_err, median, nmad), strict=True):
            table[f"{quantity}_{name}"] = column
    return table


def _mean(values: np.ndarray, group: np.ndarray, owner: np.ndarray, parts: Groups) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of each group and its jackknife error; NaN for a group of one part."""
    n_group = int(group.max(initial=0)) + 1
    total, count = np.bincount(group, values, minlength=n_group), np.bincount(group, minlength=n_group)
    part_total = np.bincount(parts.index, values, minlength=parts.n)
    part_count = np.bincount(parts.index, minlength=parts.n)
    rest = count[owner] - part_count
    left_out = np.where(rest > 0, (total[owner] - part_total) / np.maximum(rest, 1), np.nan)
    n_part = np.bincount(owner, rest > 0, minlength=n_group)
    used = np.where(rest > 0, left_out, 0.0)
    centre = np.bincount(owner, used, minlength=n_group) / np.maximum(n_part, 1)
    deviation = np.where(rest > 0, (left_out - centre[owner]) ** 2, 0.0)
    variance = np.bincount(owner, deviation, minlength=n_group) * (n_part - 1) / np.maximum(n_part, 1)
    return total / np.maximum(count, 1), np.where(n_part > 1, np.sqrt(np.maximum(variance, 0.0)), np.nan)


def _median(values: np.ndarray, group: np.ndarray, n_group: int) -> np.ndarray:
    """Return the median of each group, all of which have members."""
    ordered = values[np.lexsort((values, group))]
    count = np.bincount(group, minlength=n_group)
    first = np.concatenate([[0], np.cumsum(count)[:-1]])
    return 0.5 * (ordered[first + (count - 1) // 2] + ordered[first + count // 2])
