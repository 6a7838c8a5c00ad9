"""Catalogues of extended objects: Messier, NGC and IC, from whatever file the survey has.

Read are the FITS tables of ShapePipe (ra, dec, size_X, size_Y; units in TCUNIn), OpenNGC as SQLite (the `ongc.db` of
the package PyOngc) and as CSV with semicolons, and any FITS or CSV table with RA, DEC, MAJOR and, optionally, MINOR and
PA.  All sizes in files are full axes: the sizes of ShapePipe's table are 0.98 times OpenNGC's major axes in the median
of 11 281 common objects, so they are diameters, too (docs/accuracy.md).
"""

from __future__ import annotations

import csv
import math
import re
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from shapempi.errors import DataError, MissingInputError
from shapempi.io.column_names import choose_columns
from shapempi.io.fits import card_value, scan_hdus
from shapempi.io.ldac import read_ldac

__all__ = ["DEEP_SKY_DTYPE", "read_deep_sky"]

#: An extended object: ICRS position [deg], semi-axes [arcsec] (NaN: no minor axis known), position angle from North to
#: East [deg] (NaN: not known).
DEEP_SKY_DTYPE = np.dtype([("ra", "f8"), ("dec", "f8"), ("major", "f8"), ("minor", "f8"), ("angle", "f8")])

_NAMES = {
    "ra": ("ra", "raj2000", "ra_icrs"),
    "dec": ("dec", "dej2000", "decj2000", "de_icrs"),
    "major": ("major", "size_x", "majax", "majdiam"),
    "minor": ("minor", "size_y", "minax", "mindiam"),
    "angle": ("pa", "posang", "angle"),
}
_OPTIONAL = ("minor", "angle")
_ARCSEC = {"deg": 3600.0, "degree": 3600.0, "degrees": 3600.0, "arcmin": 60.0, "arcsec": 1.0}
_CURE = "columns RA, DEC [deg] and MAJOR (full axis [arcmin]) are needed, MINOR and PA [deg] are optional"

#: Rows of OpenNGC that are no objects.
_NO_OBJECT = ("NonEx", "Dup")


def read_deep_sky(path: Path, *, messier: bool) -> np.ndarray:
    """Read a catalogue of extended objects.

    Parameters
    ----------
    path : Path
        `.fits`, `.csv`, or the SQLite of OpenNGC (`.db`).
    messier : bool
        Which objects of OpenNGC, which has both kinds: those with a Messier number, or all of NGC and IC.

    Returns
    -------
    ndarray of DEEP_SKY_DTYPE [n]
        The objects that have a position and a size, in the order of the file.

    Raises
    ------
    MissingInputError
        If there is no such file.
    DataError
        If it cannot be read or lacks a column; the message names it.
    """
    path = Path(path)
    if not path.is_file():
        key = "messier_catalogue" if messier else "ngc_catalogue"
        raise MissingInputError(
            f"{path}: the catalogue of extended objects does not exist; correct [input] {key}, or leave it out"
        )
    suffix = re.sub(r"\.(fz|gz)$", "", path.name.lower()).rpartition(".")[2]
    reader = _READERS.get(suffix)
    if reader is None:
        known = ", ".join(sorted(_READERS))
        raise DataError(f"{path}: not a known format of a catalogue of extended objects; known: {known}")
    return reader(path, messier)


def _read_fits(path: Path, messier: bool) -> np.ndarray:
    """Read the binary table of a FITS file; sizes without a unit are arcmin."""
    _, table = read_ldac(path)
    chosen = _choose(table.dtype.names or (), path)
    cards = next(hdu.cards for hdu in scan_hdus(path) if card_value(hdu.cards, "XTENSION") == "BINTABLE")
    units = {}
    for role, name in chosen.items():
        number = list(table.dtype.names or ()).index(name) + 1
        unit = card_value(cards, f"TUNIT{number}") or card_value(cards, f"TCUNI{number}") or ""
        if unit and unit.lower() not in _ARCSEC:
            raise DataError(f"{path}: the unit of column {name} is {unit!r}; known are {', '.join(_ARCSEC)}")
        units[role] = unit.lower()
    try:
        columns = {role: np.asarray(table[name], dtype=float).ravel() for role, name in chosen.items()}
    except ValueError as error:
        raise DataError(f"{path}: a column is not numeric: {error}; {_CURE}") from error
    for role in ("ra", "dec", "angle"):
        if role in columns:
            columns[role] = columns[role] * _ARCSEC[units[role] or "deg"] / 3600.0
    for role in ("major", "minor"):
        if role in columns:
            columns[role] = columns[role] * _ARCSEC[units[role] or "arcmin"]
    return _objects(columns, path)


def _read_csv(path: Path, messier: bool) -> np.ndarray:
    """Read a CSV table with a header line, with commas, or with semicolons as OpenNGC has them."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = [line for line in file if line.strip() and not line.startswith("#")]
        delimiter = ";" if lines and lines[0].count(";") > lines[0].count(",") else ","
        rows = list(csv.reader(lines, delimiter=delimiter))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a CSV text: {error}") from error
    names = [name.strip() for name in rows[0]] if rows else []
    chosen = _choose(names, path)
    rows = [row + [""] * (len(names) - len(row)) for row in rows[1:]]
    if {"Name", "Type", "M"} <= set(names):  # OpenNGC
        name, kind, number = (names.index(each) for each in ("Name", "Type", "M"))
        rows = [row for row in rows if row[kind] not in _NO_OBJECT and _wanted(row[name], row[number], messier)]
    columns = {}
    for role, name_ in chosen.items():
        place, hours = names.index(name_), role == "ra"
        columns[role] = np.array([_number(row[place], path, name_, hours=hours) for row in rows])
    for role in ("major", "minor"):
        if role in columns:
            columns[role] = columns[role] * 60.0
    return _objects(columns, path)


def _read_sqlite(path: Path, messier: bool) -> np.ndarray:
    """Read OpenNGC's table `objects`: positions in radians, full axes in arcmin."""
    query = "SELECT name, messier, ra, dec, majax, minax, pa FROM objects WHERE type NOT IN (?, ?) ORDER BY id"
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as base:
            rows = base.execute(query, _NO_OBJECT).fetchall()
        chosen = [row[2:] for row in rows if _wanted(str(row[0]), str(row[1] or ""), messier)]
        values = np.array(chosen, dtype=float).reshape(-1, 5)  # what is not there is NaN
    except (sqlite3.Error, ValueError) as error:
        raise DataError(f"{path}: not the SQLite catalogue of OpenNGC (the ongc.db of PyOngc): {error}") from error
    ra, dec, major, minor, angle = values.T
    sizes = {"major": major * 60.0, "minor": minor * 60.0}
    return _objects({"ra": np.degrees(ra), "dec": np.degrees(dec), "angle": angle, **sizes}, path)


def _wanted(name: str, number: str, messier: bool) -> bool:
    """Say whether a row of OpenNGC is asked for."""
    return bool(number.strip()) if messier else name.upper().startswith(("NGC", "IC"))


def _choose(names: Iterable[str], path: Path) -> dict[str, str]:
    """Find the columns by their names."""
    return choose_columns(names, _NAMES, _OPTIONAL, path, _CURE)


def _number(text: str, path: Path, name: str, *, hours: bool) -> float:
    """Return a number, or the degrees of a sexagesimal one (hours where the column is a right ascension)."""
    words: Sequence[str] = text.strip().split(":")
    try:
        if len(words) == 1:
            return float(words[0]) if words[0] else math.nan
        sign = -1.0 if words[0].startswith("-") else 1.0
        value = sum(float(word.lstrip("+-")) / 60.0**k for k, word in enumerate(words))
    except ValueError as error:
        raise DataError(f"{path}: column {name}: {error}; {_CURE}") from error
    return sign * value * (15.0 if hours else 1.0)


def _objects(columns: Mapping[str, np.ndarray], path: Path) -> np.ndarray:
    """Make the table from full axes, without rows that have no position or no size."""
    n = len(columns["ra"])
    unknown = np.full(n, np.nan)
    table = np.zeros(n, dtype=DEEP_SKY_DTYPE)
    for role in DEEP_SKY_DTYPE.names or ():
        table[role] = columns.get(role, unknown)
    table["minor"][~(table["minor"] > 0)] = np.nan
    for role in ("major", "minor"):
        table[role] /= 2.0
    swapped = table["minor"] > table["major"]
    table["major"][swapped], table["minor"][swapped] = table["minor"][swapped], table["major"][swapped]
    table["angle"][swapped] += 90.0
    table = table[np.isfinite(table["ra"]) & np.isfinite(table["dec"]) & (table["major"] > 0)]
    table = table[np.isfinite(table["major"])]
    if len(table) and (np.abs(table["dec"]).max() > 90 or table["ra"].min() < -180 or table["ra"].max() > 360):
        raise DataError(f"{path}: positions outside the sky; RA and DEC must be in degrees")
    table["ra"] %= 360.0
    return table


_READERS: dict[str, Callable[[Path, bool], np.ndarray]] = {
    "fits": _read_fits,
    "fit": _read_fits,
    "csv": _read_csv,
    "txt": _read_csv,
    "db": _read_sqlite,
    "sqlite": _read_sqlite,
}
