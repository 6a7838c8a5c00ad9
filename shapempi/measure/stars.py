"""Stars of a CCD: the selection, from the standard file or the user's, and the split into training and validation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Literal

import numpy as np

from shapempi.errors import ConfigError
from shapempi.measure.setools.mode import mode
from shapempi.measure.setools.outcome import Selection, Statistic
from shapempi.measure.setools.program import Program, parse
from shapempi.measure.setools.source import nearest
from shapempi.params import Params, key

__all__ = [
    "IMAGE_CONSTANTS",
    "StarParams",
    "StarSelection",
    "check_program",
    "constants_of",
    "select_stars",
    "standard_program",
]

#: Constants of a selection that an image gives; the others are the numbers of `StarParams`.
IMAGE_CONSTANTS = ("pixel_scale", "ccd_nx", "ccd_ny", "exposure", "ccd")

_STANDARD_FILE = "star_selection.setools"

#: The mask whose mode is the stars' size, in the standard selection and in most others.
_PRESELECTION = "preselect"


class StarParams(Params):
    """Selection of stars by size and magnitude, and their split (docs/selection.md)."""

    selection: str = key(
        "", "Selection file (.setools); empty for the standard one, of which the next keys are limits."
    )
    mask: str = key("star_selection", "MASK section of the selection file that selects the stars.", min_length=1)
    split: str = key(
        "star_split", "RAND_SPLIT section of the selection file whose drawn part is held back; empty for none."
    )
    output: tuple[Literal["mask", "rand_split", "stat", "plot", "new_cat"], ...] = key(
        (), "What of the selection is written for every CCD: any of mask, rand_split, stat, plot, new_cat."
    )
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
        Mode of the FWHM [pixel] of the objects of the mask `preselect`, or of the stars if there is no such mask; NaN
        for no objects.
    reason : str
        Why there are no stars; empty if there are.
    statistics : mapping of str to float
        Numbers for reports; what needs stars is NaN without them.
    rows : tuple of Statistic
        The numbers of the selection's STAT sections: section, label, value (behaviour specification, section 6.6).
    outcome : Selection
        All masks and splits, and what plots and new catalogues need.
    """

    selected: np.ndarray
    train: np.ndarray
    test: np.ndarray
    fwhm_mode: float
    reason: str
    statistics: Mapping[str, float] = field(default_factory=dict)
    rows: tuple[Statistic, ...] = ()
    outcome: Selection | None = field(default=None, repr=False)


@cache
def standard_program() -> Program:
    """Return the standard selection (behaviour specification, section 6.9)."""
    text = resources.files("shapempi.measure.setools").joinpath(_STANDARD_FILE).read_text(encoding="utf-8")
    return parse(text, _STANDARD_FILE)


def constants_of(params: StarParams, image: Mapping[str, float]) -> dict[str, float]:
    """Return all constants of a selection: the numbers of the parameters and those of an image.

    Parameters
    ----------
    params : StarParams
        The parameters.
    image : mapping of str to float
        Values of some of `IMAGE_CONSTANTS`, or of more; those that are not known are NaN.
    """
    numbers = {name: value for name, value in params.model_dump().items() if isinstance(value, (int, float))}
    return {**numbers, **dict.fromkeys(IMAGE_CONSTANTS, math.nan), **image}


def check_program(program: Program, params: StarParams, dtype: np.dtype) -> None:
    """Check before anything is computed that a selection can be used.

    Parameters
    ----------
    program : Program
        The selection.
    params : StarParams
        Which of its sections select and split the stars, and the constants.
    dtype : numpy.dtype
        Type of the rows of the tables that it will be applied to.

    Raises
    ------
    ConfigError
        If a section, column or constant is missing, or an expression does not fit its place.
    """
    masks, splits = [mask.name for mask in program.masks], [split.name for split in program.splits]
    if params.mask not in masks:
        raise ConfigError(f"{program.name}: there is no section [MASK:{params.mask}]; {nearest(params.mask, masks)}")
    if params.split and params.split not in splits:
        raise ConfigError(
            f"{program.name}: there is no section [RAND_SPLIT:{params.split}]; {nearest(params.split, splits)}"
        )
    outcome = program.select(np.zeros(0, dtype=dtype), constants_of(params, {}), np.random.default_rng(0))
    outcome.figures()
    outcome.catalogues()


def select_stars(
    table: np.ndarray,
    pixel_scale_arcsec: float,
    params: StarParams,
    rng: np.random.Generator,
    *,
    program: Program | None = None,
    shape: tuple[int, int] | None = None,
    constants: Mapping[str, float] | None = None,
) -> StarSelection:
    """Select the stars of a CCD and split them.

    In the standard selection, unflagged objects of moderate magnitude and size show the stars' FWHM, as the mode of
    their sizes; the stars are the unflagged objects around it (behaviour specification, section 6.9), and
    ceil(N validation_ratio) of the N stars are held back.

    Parameters
    ----------
    table : structured ndarray [n]
        Detections with the columns that the selection uses; in the standard one MAG_AUTO [mag], FWHM_IMAGE [pixel],
        FLAGS, IMAFLAGS_ISO, XWIN_IMAGE and YWIN_IMAGE.
    pixel_scale_arcsec : float
        Size of a pixel [arcsec].
    params : StarParams
        Names of the sections that select and split, and the limits.
    rng : numpy.random.Generator
        Draws the validation stars: which, depends on the stars' positions and not on the order of the rows.
    program : Program, optional
        The selection; the standard one by default.
    shape : tuple of int, optional
        (ny, nx) of the CCD, for the stars' density.
    constants : mapping of str to float, optional
        More constants, such as exposure and ccd.

    Returns
    -------
    StarSelection
        Empty, with a reason, when there are no stars.

    Raises
    ------
    ConfigError
        If the selection uses a column or a constant that is not there; see also `check_program`.
    ValueError
        If `params` names a selection file and `program` is left out.
    """
    if program is None:
        if params.selection:
            raise ValueError(f"the program of the selection file {params.selection} is needed")
        program = standard_program()
    image = {"pixel_scale": pixel_scale_arcsec}
    if shape is not None:
        image |= {"ccd_ny": float(shape[0]), "ccd_nx": float(shape[1])}
    outcome = program.select(table, constants_of(params, {**image, **(constants or {})}), rng)
    selected = outcome.masks[params.mask].selected
    test = outcome.splits[params.split].drawn & selected if params.split else np.zeros(len(table), dtype=bool)
    fwhm = np.asarray(table["FWHM_IMAGE"], dtype=float)
    showing = outcome.masks[_PRESELECTION].selected if _PRESELECTION in outcome.masks else selected
    fwhm_mode = mode(fwhm[showing]) if np.isfinite(fwhm[showing]).any() else math.nan
    return StarSelection(
        selected=selected,
        train=selected & ~test,
        test=test,
        fwhm_mode=fwhm_mode,
        reason=outcome.reason(params.mask),
        statistics=_statistics(table, fwhm[selected], fwhm_mode, pixel_scale_arcsec, shape),
        rows=outcome.statistics,
        outcome=outcome,
    )


def _statistics(
    table: np.ndarray,
    star_fwhm: np.ndarray,
    fwhm_mode: float,
    pixel_scale_arcsec: float,
    shape: tuple[int, int] | None,
) -> dict[str, float]:
    """Return the numbers that every selection has, whatever its STAT sections are."""
    n_star = len(star_fwhm)
    sizes = star_fwhm[np.isfinite(star_fwhm)] * pixel_scale_arcsec
    clean = np.ones(len(table), dtype=bool)
    for name in ("FLAGS", "IMAFLAGS_ISO"):
        if name in (table.dtype.names or ()):
            clean &= table[name] == 0
    statistics = {
        "n_object": float(len(table)),
        "n_unflagged": float(clean.sum()),
        "n_star": float(n_star),
        "fwhm_mean_arcsec": float(sizes.mean()) if len(sizes) else math.nan,
        "fwhm_std_arcsec": float(sizes.std()) if len(sizes) else math.nan,
        "fwhm_mode_pix": fwhm_mode,
    }
    if shape is not None:
        area = shape[0] * shape[1] * (pixel_scale_arcsec / 3600.0) ** 2
        statistics["star_density_per_deg2"] = n_star / area
    return statistics
