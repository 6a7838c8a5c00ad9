"""Stars of a CCD: the size-magnitude selection and the split into training and validation stars."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from shapempi.params import Params, key

__all__ = ["StarParams", "StarSelection", "mode", "select_stars"]

#: `mode` stops when fewer values than this would be left, or at this width of the interval.
_FEWEST_VALUES = 10
_NARROWEST = 1e-3


class StarParams(Params):
    """Selection of stars by size and magnitude, and their split (behaviour specification, sections 6.5 and 6.9)."""

    preselect_mag_min: float = key(0.0, "Brightest MAG_AUTO of the objects that show the stars' size.", unit="mag")
    preselect_mag_max: float = key(21.0, "Faintest MAG_AUTO of the objects that show the stars' size.", unit="mag")
    preselect_fwhm_min: float = key(0.3, "Smallest FWHM of the objects that show the stars' size.", unit="arcsec", ge=0)
    preselect_fwhm_max: float = key(1.5, "Largest FWHM of the objects that show the stars' size.", unit="arcsec", gt=0)
    mag_min: float = key(18.0, "Brightest MAG_AUTO of a star; brighter ones saturate.", unit="mag")
    mag_max: float = key(22.0, "Faintest MAG_AUTO of a star.", unit="mag")
    fwhm_tolerance: float = key(0.2, "Largest distance of a star's FWHM from the stars' size.", unit="pixel", gt=0)
    validation_ratio: float = key(0.2, "Part of the stars that is held back for validation.", ge=0, lt=1)


@dataclass(frozen=True)
class StarSelection:
    """The stars of one CCD.

    Attributes
    ----------
    selected : ndarray of bool [n]
        Rows of the table that are stars.
    train, test : ndarray of bool [n]
        The stars that the PSF model is fitted to, and those held back.
    fwhm_mode : float
        The stars' FWHM [pixel]; NaN when no object shows it.
    reason : str
        Why there are no stars; empty if there are.
    statistics : mapping of str to float
        Numbers for reports (behaviour specification, section 6.6); what needs stars is NaN without them.
    """

    selected: np.ndarray
    train: np.ndarray
    test: np.ndarray
    fwhm_mode: float
    reason: str
    statistics: Mapping[str, float] = field(default_factory=dict)


def mode(values: np.ndarray) -> float:
    """Estimate the mode by zooming into the fullest bin of a histogram (behaviour specification, section 6.4).

    The histogram of N values has N // 5 bins over their range (N // 10 above 100 values).  The values in its first
    fullest bin, edges included, are the values of the next round, until no bin stands out, fewer than 10 values
    would be left, or the range is below 0.001.  The median of what is left is the mode.  Fewer than 20 values
    are not zoomed into: their median is returned.

    Parameters
    ----------
    values : ndarray of float [n]
        The sample; values that are not finite are left out.

    Returns
    -------
    float
        The mode; -1 for an empty sample.
    """
    data = np.asarray(values, dtype=float)
    data = data[np.isfinite(data)]
    if len(data) == 0:
        return -1.0
    while len(data) >= 2 * _FEWEST_VALUES and np.ptp(data) > _NARROWEST:
        n_bin = len(data) // 5 if len(data) <= 100 else len(data) // 10
        counts, edges = np.histogram(data, n_bin)
        fullest = int(np.argmax(counts))
        inside = data[(data >= edges[fullest]) & (data <= edges[fullest + 1])]
        if counts[fullest] == 1 or len(inside) < _FEWEST_VALUES or len(inside) == len(data):
            break
        data = inside
    return float(np.median(data))


def select_stars(
    table: np.ndarray,
    pixel_scale_arcsec: float,
    params: StarParams,
    rng: np.random.Generator,
    *,
    shape: tuple[int, int] | None = None,
) -> StarSelection:
    """Select the stars of a CCD and split them.

    Unflagged objects of moderate magnitude and size show the stars' FWHM, as the mode of their sizes; the stars are
    the unflagged objects around it (behaviour specification, section 6.9).  ceil(N validation_ratio) of the N stars
    are held back.

    Parameters
    ----------
    table : structured ndarray [n]
        Detections with MAG_AUTO [mag], FWHM_IMAGE [pixel], FLAGS, IMAFLAGS_ISO, XWIN_IMAGE and YWIN_IMAGE.
    pixel_scale_arcsec : float
        Size of a pixel [arcsec].
    params : StarParams
        The limits.
    rng : numpy.random.Generator
        Draws the validation stars: which, depends on the stars' positions and not on the order of the rows.
    shape : tuple of int, optional
        (ny, nx) of the CCD, for the stars' density in the statistics.

    Returns
    -------
    StarSelection
        Empty, with a reason, when there are no stars.
    """
    mag = np.asarray(table["MAG_AUTO"], dtype=float)
    fwhm = np.asarray(table["FWHM_IMAGE"], dtype=float)
    clean = (table["FLAGS"] == 0) & (table["IMAFLAGS_ISO"] == 0)
    size = fwhm * pixel_scale_arcsec
    preselected = (
        clean
        & (mag > params.preselect_mag_min)
        & (mag < params.preselect_mag_max)
        & (size > params.preselect_fwhm_min)
        & (size < params.preselect_fwhm_max)
    )
    fwhm_mode = mode(fwhm[preselected]) if preselected.any() else math.nan
    in_range = clean & (mag > params.mag_min) & (mag < params.mag_max)
    selected = in_range & (np.abs(fwhm - fwhm_mode) <= params.fwhm_tolerance)
    test = _draw_test_stars(table, selected, params.validation_ratio, rng)
    return StarSelection(
        selected=selected,
        train=selected & ~test,
        test=test,
        fwhm_mode=fwhm_mode,
        reason=_reason(len(table), int(clean.sum()), int(preselected.sum()), int(selected.sum()), fwhm_mode, params),
        statistics=_statistics(fwhm, clean, selected, fwhm_mode, pixel_scale_arcsec, params, shape),
    )


def _draw_test_stars(table: np.ndarray, selected: np.ndarray, ratio: float, rng: np.random.Generator) -> np.ndarray:
    """Draw ceil(N ratio) of the N selected rows, whatever their order in the table."""
    rows = np.flatnonzero(selected)
    rows = rows[np.lexsort((table["YWIN_IMAGE"][rows], table["XWIN_IMAGE"][rows]))]
    # 0.07 * 100 is 7.000000000000001: rounding errors of the product must not add a star.
    n_test = math.ceil(round(len(rows) * ratio, 9))
    test = np.zeros(len(table), dtype=bool)
    test[rows[rng.permutation(len(rows))[:n_test]]] = True
    return test


def _reason(n_object: int, n_clean: int, n_preselected: int, n_star: int, fwhm_mode: float, params: StarParams) -> str:
    """Say why there are no stars, or nothing if there are."""
    if n_star:
        return ""
    if n_object == 0:
        return "no object was detected"
    if n_clean == 0:
        return f"all {n_object} objects are flagged (FLAGS or IMAFLAGS_ISO)"
    if n_preselected == 0:
        return (
            f"none of {n_clean} unflagged objects has {params.preselect_mag_min:g} < MAG_AUTO < "
            f"{params.preselect_mag_max:g} and {params.preselect_fwhm_min:g} < FWHM < "
            f"{params.preselect_fwhm_max:g} arcsec"
        )
    return (
        f"none of {n_clean} unflagged objects has {params.mag_min:g} < MAG_AUTO < {params.mag_max:g} and a FWHM "
        f"within {params.fwhm_tolerance:g} pixel of the mode, {fwhm_mode:.2f} pixel"
    )


def _statistics(
    fwhm: np.ndarray,
    clean: np.ndarray,
    selected: np.ndarray,
    fwhm_mode: float,
    pixel_scale_arcsec: float,
    params: StarParams,
    shape: tuple[int, int] | None,
) -> dict[str, float]:
    """Return the statistics block of the selection."""
    n_star = int(selected.sum())
    sizes = fwhm[selected] * pixel_scale_arcsec
    statistics = {
        "n_object": float(len(fwhm)),
        "n_unflagged": float(clean.sum()),
        "n_star": float(n_star),
        "fwhm_mean_arcsec": float(sizes.mean()) if n_star else math.nan,
        "fwhm_std_arcsec": float(sizes.std()) if n_star else math.nan,
        "fwhm_mode_pix": fwhm_mode,
        "fwhm_min_cut_pix": fwhm_mode - params.fwhm_tolerance,
        "fwhm_max_cut_pix": fwhm_mode + params.fwhm_tolerance,
    }
    if shape is not None:
        area = shape[0] * shape[1] * (pixel_scale_arcsec / 3600.0) ** 2
        statistics["star_density_per_deg2"] = n_star / area
    return statistics
