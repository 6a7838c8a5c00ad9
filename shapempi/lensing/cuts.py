"""Which objects are used as galaxies: cuts on what shear does not change, and on what it does.

What metacalibration measures is cut on the columns of each type, so that the response of the selection can be measured
(Sheldon & Huff 2017, ApJ 841, 24; metacalibration specification, section 7.6).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from pydantic import model_validator

from shapempi.catalog import SHEAR_TYPES
from shapempi.flags import NO_RESULT
from shapempi.params import Params, key

__all__ = [
    "FIXED_COLUMNS",
    "NOSHEAR_COLUMNS",
    "TYPE_COLUMNS",
    "CutParams",
    "Step",
    "cut_steps",
    "selected",
    "size_ratio",
    "weights",
]

#: Columns that do not depend on the shear type.
FIXED_COLUMNS = (
    *("ra", "dec", "FLAG_TILING", "FLAGS", "IMAFLAGS_ISO", "n_epoch_used", "shape_flags", "mcal_flags"),
    *("psf_g1", "psf_g2", "psf_T", "SPREAD_CLASS", "MAG_AUTO"),
)

_MEASURED = ("g1", "g2", "g1_err", "g2_err", "T", "mag", "s2n")

#: Columns of every shear type, and those without shear.
TYPE_COLUMNS = tuple(f"{name}_{kind}" for kind in SHEAR_TYPES for name in _MEASURED)
NOSHEAR_COLUMNS = tuple(f"{name}_noshear" for name in _MEASURED)


class CutParams(Params):
    """Which objects are galaxies to measure shear with, and their weight."""

    primary_only: bool = key(True, "Take an object in the tile to which its position belongs only (FLAG_TILING).")
    flags_allowed: int = key(3, "Bits of FLAGS that an object may have; by default those of crowded ones.", ge=0)
    mask_allowed: int = key(0, "Bits of IMAFLAGS_ISO that an object may have.", ge=0)
    n_epoch_min: int = key(1, "Smallest n_epoch_used.", ge=1)
    s2n_min: float = key(10.0, "Smallest s2n of each type.", ge=0)
    s2n_max: float = key(500.0, "Upper limit of s2n of each type, which is less.", gt=0)
    size_ratio_min: float = key(0.5, "Smallest T / psf_T of each type.", ge=0)
    size_ratio_max: float = key(3.0, "Upper limit of T / psf_T of each type, which is less.", gt=0)
    mag_min: float = key(15.0, "Smallest mag of each type.", unit="mag")
    mag_max: float = key(30.0, "Upper limit of mag of each type, which is less.", unit="mag")
    weight_scatter: float = key(
        0.3,
        "Scatter s of g1 and g2 without noise, in the weight s^2 / (s^2 + (g1_err^2 + g2_err^2)/2) of each type; "
        "with a large one, 100, all weights are 1.",
        gt=0,
    )

    @model_validator(mode="after")
    def _ordered(self) -> CutParams:
        for name in ("s2n", "size_ratio", "mag"):
            if not getattr(self, f"{name}_min") < getattr(self, f"{name}_max"):
                raise ValueError(f"{name}_min is not less than {name}_max")
        return self


class Step(NamedTuple):
    """One cut: its name, and which objects pass it, ndarray of bool [n]."""

    name: str
    passed: np.ndarray


def cut_steps(table: np.ndarray, kind: str, params: CutParams) -> list[Step]:
    """Apply the cuts, each for itself.

    Parameters
    ----------
    table : structured ndarray [n]
        Rows with `FIXED_COLUMNS` and the columns of the type.
    kind : str
        Shear type.
    params : CutParams
        The cuts.

    Returns
    -------
    list of Step
        In the order in which they are counted.
    """
    s2n, ratio, mag = table[f"s2n_{kind}"], size_ratio(table, kind), table[f"mag_{kind}"]
    shape = (table["shape_flags"] & int(NO_RESULT) == 0) & (table["mcal_flags"] == 0)
    for name in ("ra", "dec", f"g1_{kind}", f"g2_{kind}"):
        shape &= np.isfinite(table[name])
    psf = (table["psf_T"] > 0) & np.isfinite(table["psf_g1"]) & np.isfinite(table["psf_g2"])
    primary = np.ones(len(table), dtype=bool)
    if params.primary_only:
        primary = table["FLAG_TILING"] == 1
    return [
        Step("in its own tile (FLAG_TILING)" if params.primary_only else "every tile", primary),
        Step(f"FLAGS without bits but {params.flags_allowed}", table["FLAGS"] & ~params.flags_allowed == 0),
        Step(f"IMAFLAGS_ISO without bits but {params.mask_allowed}", table["IMAFLAGS_ISO"] & ~params.mask_allowed == 0),
        Step(f"n_epoch_used at least {params.n_epoch_min}", table["n_epoch_used"] >= params.n_epoch_min),
        Step("shape in all five types", shape),
        Step("shape of the PSF", psf),
        Step(f"s2n {params.s2n_min:g} to {params.s2n_max:g}", _within(s2n, params.s2n_min, params.s2n_max)),
        Step(
            f"T/psf_T {params.size_ratio_min:g} to {params.size_ratio_max:g}",
            _within(ratio, params.size_ratio_min, params.size_ratio_max),
        ),
        Step(f"mag {params.mag_min:g} to {params.mag_max:g}", _within(mag, params.mag_min, params.mag_max)),
    ]


def selected(table: np.ndarray, kind: str, params: CutParams) -> np.ndarray:
    """Return which objects pass all cuts by the columns of a type, bool [n]; parameters are those of `cut_steps`."""
    return np.logical_and.reduce([step.passed for step in cut_steps(table, kind, params)])


def weights(table: np.ndarray, kind: str, params: CutParams) -> np.ndarray:
    """Return the weights by the columns of a type, float64 [n]; 0 where an error is not known."""
    noise = (table[f"g1_err_{kind}"] ** 2 + table[f"g2_err_{kind}"] ** 2) / 2
    square = params.weight_scatter**2
    return np.where(np.isfinite(noise), square / (square + np.nan_to_num(noise)), 0.0)


def size_ratio(table: np.ndarray, kind: str) -> np.ndarray:
    """Return T of a type in units of psf_T, float64 [n]; NaN where there is no PSF."""
    psf = np.asarray(table["psf_T"], float)
    return np.asarray(table[f"T_{kind}"], float) / np.where(psf > 0, psf, np.nan)


def _within(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Tell which values lie in [low, high); NaN does not."""
    return (values >= low) & (values < high)
