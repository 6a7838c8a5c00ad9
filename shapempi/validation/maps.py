"""Mean shapes of stars and model over the focal plane and over the CCD."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from shapempi.params import Params, key
from shapempi.validation.focal_plane import CameraLayout

__all__ = ["MAP_QUANTITIES", "MapParams", "MeanMap", "ccd_map", "coarser", "focal_map"]

#: What is averaged, with unit and meaning; shapes in the pixel frame, which is the focal plane's.
MAP_QUANTITIES: Mapping[str, tuple[str, str]] = {
    "e1_star": ("", "g1 of the stars"),
    "e1_model": ("", "g1 of the model"),
    "e1_residual": ("", "g1, star minus model"),
    "e2_star": ("", "g2 of the stars"),
    "e2_model": ("", "g2 of the model"),
    "e2_residual": ("", "g2, star minus model"),
    "T_star": ("arcsec2", "T = 2 sigma^2 of the stars"),
    "T_model": ("arcsec2", "T = 2 sigma^2 of the model"),
    "T_residual": ("", "(T_star - T_model)/T_star"),
}


class MapParams(Params):
    """Bins of the maps."""

    x_bins: int = key(5, "Bins of each CCD along x in maps of the focal plane.", ge=1)
    y_bins: int = key(10, "Bins of each CCD along y in maps of the focal plane.", ge=1)
    whisker_x_bins: int = key(2, "Whiskers of each CCD along x.", ge=1)
    whisker_y_bins: int = key(4, "Whiskers of each CCD along y.", ge=1)
    stack_x_bins: int = key(10, "Bins along x of the map in which all CCDs are stacked.", ge=1)
    stack_y_bins: int = key(20, "Bins along y of the map in which all CCDs are stacked.", ge=1)
    min_stars: float = key(4.0, "Mean number of stars of a bin; with fewer stars bins are larger.", gt=0)


@dataclass(frozen=True)
class MeanMap:
    """Means of stars in bins of panels.

    Attributes
    ----------
    n : ndarray of int64 [n_panel, y, x]
        Stars in each bin.
    mean : mapping of str to ndarray of float64 [n_panel, y, x]
        Means of `MAP_QUANTITIES`; NaN in a bin without stars.
    error : mapping of str to ndarray of float64 [n_panel, y, x]
        Their errors from the scatter of the bin's stars; NaN with fewer than two.
    rms : mapping of str to ndarray of float64 [n_panel]
        Rms of each residual over the panel's stars; NaN without stars.
    """

    n: np.ndarray
    mean: Mapping[str, np.ndarray]
    error: Mapping[str, np.ndarray]
    rms: Mapping[str, np.ndarray]


def coarser(x_bins: int, y_bins: int, stars: float, min_stars: float) -> tuple[int, int]:
    """Return fewer bins of about the same shape when there are too few stars for these.

    Parameters
    ----------
    x_bins, y_bins : int
        Bins of a CCD.
    stars : float
        Mean number of stars on a CCD.
    min_stars : float
        Mean number of stars that a bin must have.
    """
    factor = min(np.sqrt(stars / (min_stars * x_bins * y_bins)), 1.0)
    return max(round(factor * x_bins), 1), max(round(factor * y_bins), 1)


def focal_map(rows: np.ndarray, layout: CameraLayout, x_bins: int, y_bins: int) -> MeanMap:
    """Average stars in bins of the CCDs as they lie in the focal plane.

    Parameters
    ----------
    rows : ndarray of RESIDUAL_DTYPE [n]
        The stars, all on CCDs of the layout.
    layout : CameraLayout
        The mosaic.
    x_bins, y_bins : int
        Bins of each CCD.

    Returns
    -------
    MeanMap
        Panels as in the layout; y runs up and x to the right in every panel, so that CCDs that are read out upside down
        are turned by 180 degrees.
    """
    bins = _bins(rows, layout, x_bins, y_bins, layout.sign_of(rows["ccd"]) < 0)
    return _average(rows, layout.index_of(rows["ccd"]), bins, (len(layout.panels), y_bins, x_bins))


def ccd_map(rows: np.ndarray, layout: CameraLayout, x_bins: int, y_bins: int) -> MeanMap:
    """Average stars of all CCDs in bins of the CCD as it is read out: what electronics do to stars adds up there.

    Parameters and result are those of `focal_map`, with one panel; y and x are the CCD's own.
    """
    bins = _bins(rows, layout, x_bins, y_bins, np.zeros(len(rows), dtype=bool))
    return _average(rows, np.zeros(len(rows), dtype=np.intp), bins, (1, y_bins, x_bins))


def _bins(rows: np.ndarray, layout: CameraLayout, x_bins: int, y_bins: int, turned: np.ndarray) -> np.ndarray:
    """Return the bin of each star in its panel, int [n]; one beyond the section is in the bin at its edge."""
    x0, _, y0, _ = layout.section
    ny, nx = layout.shape
    column = np.clip(((rows["x"] - (x0 - 0.5)) / nx * x_bins).astype(int), 0, x_bins - 1)
    row = np.clip(((rows["y"] - (y0 - 0.5)) / ny * y_bins).astype(int), 0, y_bins - 1)
    column, row = np.where(turned, x_bins - 1 - column, column), np.where(turned, y_bins - 1 - row, row)
    return row * x_bins + column


def _average(rows: np.ndarray, panel: np.ndarray, bins: np.ndarray, shape: tuple[int, int, int]) -> MeanMap:
    """Average the quantities in the bins of panels."""
    n_bin = shape[0] * shape[1] * shape[2]
    place = panel * (shape[1] * shape[2]) + bins
    n = np.bincount(place, minlength=n_bin)
    n_panel = np.bincount(panel, minlength=shape[0])
    mean, error, rms = {}, {}, {}
    for name in MAP_QUANTITIES:
        values = _values(rows, name)
        average = np.where(n > 0, np.bincount(place, values, n_bin) / np.maximum(n, 1), np.nan)
        # About the mean of the bin: T varies over the focal plane by far more than it scatters in a bin.
        square = np.bincount(place, (values - average[place]) ** 2, n_bin)
        mean[name] = average.reshape(shape)
        error[name] = np.where(n > 1, np.sqrt(square / np.maximum(n * (n - 1), 1)), np.nan).reshape(shape)
        if name.endswith("residual"):
            total = np.bincount(panel, values**2, shape[0])
            rms[name] = np.where(n_panel > 0, np.sqrt(total / np.maximum(n_panel, 1)), np.nan)
    return MeanMap(n.reshape(shape), mean, error, rms)


def _values(rows: np.ndarray, name: str) -> np.ndarray:
    """Return one of `MAP_QUANTITIES` of each star, float64 [n]."""
    quantity, _, of = name.partition("_")
    model = rows[quantity].astype(float)
    change = rows[f"d{quantity}"].astype(float)
    # dT is relative to the star's size.
    star = model / (1 - change) if quantity == "T" else model + change
    return {"star": star, "model": model, "residual": change}[of]
