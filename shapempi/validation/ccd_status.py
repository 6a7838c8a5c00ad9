"""How many CCDs have an accepted PSF model, why the others have not, and how their numbers are distributed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from shapempi.validation.residuals import with_exposures_as

__all__ = ["STATUS_VALUES", "Histogram", "StatusSummary", "histogram", "summarise_status"]

#: Numbers of a CCD that are worth a histogram, as far as the table of states has them: unit and meaning.
STATUS_VALUES: Mapping[str, tuple[str, str]] = {
    "n_object": ("", "objects detected"),
    "n_unflagged": ("", "objects without flags"),
    "n_star": ("", "stars selected"),
    "n_used": ("", "stars that the model was fitted to"),
    "chi2": ("", "reduced chi^2 of the model"),
    "fwhm": ("pixel", "FWHM of the model"),
    "fwhm_mode_pix": ("pixel", "mode of the FWHM"),
    "fwhm_mean_arcsec": ("arcsec", "mean FWHM of the stars"),
    "fwhm_std_arcsec": ("arcsec", "scatter of the stars' FWHM"),
    "star_density_per_deg2": ("deg-2", "density of stars"),
}

#: One exposure: CCDs, accepted ones, and means over the latter of stars used, chi^2 and FWHM.
_EXPOSURE_DTYPE = np.dtype(
    [
        *(("exposure", "i4"), ("n_ccd", "i4"), ("n_accepted", "i4")),
        *(("n_used", "f8"), ("chi2", "f8"), ("fwhm_mean_arcsec", "f8")),
    ]
)


@dataclass(frozen=True)
class Histogram:
    """Counts of one number.

    Attributes
    ----------
    name, unit, meaning : str
        What was counted.
    edges : ndarray of float64 [n_bin + 1]
        Limits of the bins; empty without values.
    count : ndarray of int64 [n_bin]
        CCDs in each bin.
    """

    name: str
    unit: str
    meaning: str
    edges: np.ndarray
    count: np.ndarray


@dataclass(frozen=True)
class StatusSummary:
    """States of all CCDs.

    Attributes
    ----------
    n_ccd : int
        CCDs in the table.
    counts : mapping of str to int
        CCDs by status, the most frequent first.
    examples : mapping of str to str
        Of each status other than accepted: exposure, CCD and reason of the first.
    exposures : structured ndarray
        One row per exposure: exposure, n_ccd, n_accepted, and means over accepted CCDs of n_used, chi2 and
        fwhm_mean_arcsec, NaN without any.
    histograms : tuple of Histogram
        Of `STATUS_VALUES`.
    """

    n_ccd: int
    counts: Mapping[str, int]
    examples: Mapping[str, str]
    exposures: np.ndarray
    histograms: tuple[Histogram, ...]


def summarise_status(table: np.ndarray, *, n_bin: int = 50) -> StatusSummary:
    """Summarise the table of states.

    Parameters
    ----------
    table : structured ndarray [n]
        One row per CCD: exposure, ccd, status, and what there is of reason and `STATUS_VALUES`.
    n_bin : int, optional
        Most bins of a histogram.
    """
    status = np.array([_text(value) for value in table["status"]], dtype=str)
    words, first, number = np.unique(status, return_index=True, return_counts=True)
    order = np.lexsort((words, -number))
    counts = {str(words[i]): int(number[i]) for i in order}
    examples = {}
    for i in order:
        if words[i] != "accepted":
            row = table[first[i]]
            reason = _text(row["reason"]) if "reason" in (table.dtype.names or ()) else ""
            examples[str(words[i])] = f"{row['exposure']:07d}-{row['ccd']}" + (f": {reason}" if reason else "")
    histograms = tuple(
        Histogram(name, *STATUS_VALUES[name], *histogram(table[name], n_bin))
        for name in STATUS_VALUES
        if name in (table.dtype.names or ())
    )
    return StatusSummary(len(table), counts, examples, _by_exposure(table, status == "accepted"), histograms)


def histogram(values: np.ndarray, n_bin: int) -> tuple[np.ndarray, np.ndarray]:
    """Return edges and counts of equal bins from the least to the largest finite value; empty without one.

    Bins of integers are whole numbers wide, at most n_bin of them.
    """
    whole = np.asarray(values).dtype.kind in "iu"
    values = np.asarray(values, dtype=float)
    values = values[np.isfinite(values)]
    if not len(values):
        return np.zeros(0), np.zeros(0, dtype=np.int64)
    low, high = float(values.min()), float(values.max())
    if high <= low:  # one bin around a single value
        half = 0.5 if whole or low == 0 else 0.05 * abs(low)
        return np.array([low - half, low + half]), np.array([len(values)])
    if whole:
        width = int(np.ceil((high - low + 1) / n_bin))
        n_bin = int(np.ceil((high - low + 1) / width))
        low, high = low - 0.5, low - 0.5 + n_bin * width
    count, edges = np.histogram(values, bins=n_bin, range=(low, high))
    return edges, count


def _by_exposure(table: np.ndarray, accepted: np.ndarray) -> np.ndarray:
    """Return one row per exposure."""
    exposures, index = np.unique(table["exposure"], return_inverse=True)
    result = np.zeros(len(exposures), with_exposures_as(_EXPOSURE_DTYPE, table))
    result["exposure"] = exposures
    result["n_ccd"] = np.bincount(index, minlength=len(exposures))
    result["n_accepted"] = np.bincount(index, accepted, len(exposures))
    for name in ("n_used", "chi2", "fwhm_mean_arcsec"):
        result[name] = np.nan
        if name in (table.dtype.names or ()):
            values = table[name].astype(float)
            use = accepted & np.isfinite(values)
            n = np.bincount(index, use, len(exposures))
            total = np.bincount(index, np.where(use, values, 0.0), len(exposures))
            result[name] = np.where(n > 0, total / np.maximum(n, 1), np.nan)
    return result


def _text(value: object) -> str:
    """Return a text of a table."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
