"""Means over stars with errors from leaving out whole groups of stars: exposures, or CCDs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Groups", "delete_one_error", "exposure_groups"]


@dataclass(frozen=True)
class Groups:
    """What is left out together.

    Attributes
    ----------
    index : ndarray of int [n]
        Group of each star.
    n : int
        Number of groups.
    unit : str
        What a group is: "exposures", "CCDs" (each of each exposure for itself) or "stars".
    """

    index: np.ndarray
    n: int
    unit: str


#: Fewest exposures for a jackknife over them: an error from n groups is itself uncertain by 1/sqrt(2 (n - 1)).
MIN_EXPOSURES = 10


def exposure_groups(rows: np.ndarray) -> Groups:
    """Group stars by exposure; if there are fewer than ten by exposure and CCD; those of one CCD each for itself.

    What the atmosphere does is common to the CCDs of an exposure.  But each CCD of an exposure has its own model,
    so that CCDs are a fair second choice where exposures are too few to tell how much they differ.

    Parameters
    ----------
    rows : structured ndarray [n]
        With `exposure` and `ccd`.
    """
    code = rows["exposure"].astype(np.int64) << 16 | rows["ccd"]
    for values, unit, least in ((rows["exposure"], "exposures", MIN_EXPOSURES), (code, "CCDs", 2)):
        found, index = np.unique(values, return_inverse=True)
        if len(found) >= least:
            return Groups(index, len(found), unit)
    return Groups(np.arange(len(rows)), len(rows), "stars")


def delete_one_error(left_out: np.ndarray) -> np.ndarray:
    """Return the jackknife error, sqrt((n - 1)/n sum (x_i - mean)^2), of values without each of n groups.

    Parameters
    ----------
    left_out : ndarray of float64 [n, ...]
        NaN where a group held everything; such ones do not count.

    Returns
    -------
    ndarray of float64 [...]
        NaN where fewer than two values are left.
    """
    finite = np.isfinite(left_out)
    n = finite.sum(axis=0)
    values = np.where(finite, left_out, 0.0)
    mean = values.sum(axis=0) / np.maximum(n, 1)
    square = np.where(finite, (values - mean) ** 2, 0.0).sum(axis=0)
    return np.where(n > 1, np.sqrt((n - 1) / np.maximum(n, 1) * square), np.nan)
