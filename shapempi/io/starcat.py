"""Catalogues of bright stars: positions and magnitudes, from whatever file the survey has.

Tables (FITS, CSV, HDF5) have the columns RA, DEC [deg], MAG and, optionally, CLASS (0 is a star); Gaia's names
`ra, dec, phot_g_mean_mag` are read too.  The text of the GSC 2.2 client that the reference system stores is read
by the names in its header line (behaviour specification, section 2.4).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import fitsio
import h5py
import numpy as np

from shapempi.errors import DataError, MissingInputError

__all__ = ["STAR_DTYPE", "read_star_catalogue"]

#: A bright star: ICRS position [deg] and magnitude.
STAR_DTYPE = np.dtype([("ra", "f8"), ("dec", "f8"), ("mag", "f8")])

_NAMES = {
    "ra": ("ra", "raj2000", "ra_icrs", "alpha_j2000"),
    "dec": ("dec", "decj2000", "dej2000", "de_icrs", "delta_j2000"),
    "mag": ("mag", "phot_g_mean_mag", "gmag"),
    "class": ("class", "clas"),
}
_CLIENT_MAGNITUDES = ("fmag", "jmag", "vmag", "nmag")
_CURE = "columns RA, DEC [deg] and MAG are needed (CLASS, 0 for a star, is optional)"


def read_star_catalogue(path: Path) -> np.ndarray:
    """Read a bright-star catalogue.

    Parameters
    ----------
    path : Path
        A table (`.fits`, `.csv`, `.h5`, `.hdf5`), one text of the GSC client, or a folder of such texts
        (`star_cat*.cat`).

    Returns
    -------
    ndarray of STAR_DTYPE [n]
        The stars (rows of another class, or without position or magnitude, are left out), each once, sorted by
        declination.

    Raises
    ------
    MissingInputError
        If there is no such file, or no `star_cat*.cat` in the folder.
    DataError
        If it cannot be read or lacks a column; the message names it.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(path.glob("star_cat*.cat"))
        if not files:
            raise MissingInputError(f"{path}: no file star_cat*.cat in this folder of star catalogues")
        stars = np.concatenate([_read_client(file) for file in files])
    elif not path.is_file():
        raise MissingInputError(
            f"{path}: the star catalogue does not exist; correct [input] star_catalogue, or leave it out "
            "to mask no stars"
        )
    else:
        suffix = re.sub(r"\.(fz|gz)$", "", path.name.lower()).rpartition(".")[2]
        reader = _READERS.get(suffix)
        if reader is None:
            raise DataError(f"{path}: not a known star catalogue format; known: {', '.join(sorted(_READERS))}")
        stars = reader(path)
    stars = np.unique(stars)
    return stars[np.lexsort((stars["mag"], stars["ra"], stars["dec"]))]


def _read_fits(path: Path) -> np.ndarray:
    """Read the first table of a FITS file."""
    try:
        with fitsio.FITS(str(path)) as file:
            for hdu in file:
                if hdu.get_exttype() in ("BINARY_TBL", "ASCII_TBL"):
                    chosen = _choose(hdu.get_colnames(), path)
                    return _stars({role: hdu.read_column(name) for role, name in chosen.items()}, path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {str(error).strip().splitlines()[0]}") from error
    raise DataError(f"{path}: there is no table in the file; {_CURE}")


def _read_hdf5(path: Path) -> np.ndarray:
    """Read the first structured dataset of an HDF5 file, or one-dimensional datasets named as columns."""
    try:
        with h5py.File(path, "r") as file:
            tables: list[h5py.Dataset | h5py.Group] = []
            file.visititems(lambda _, item: tables.append(item) if _is_table(item) else None)
            if _is_table(file):
                tables.insert(0, file)
            if tables:
                table = tables[0]
                names = table.dtype.names if isinstance(table, h5py.Dataset) else list(table)
                chosen = _choose(names, path)
                return _stars({role: table[name][...] for role, name in chosen.items()}, path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    raise DataError(f"{path}: there is no table in the file; {_CURE}")


def _is_table(item: h5py.Dataset | h5py.Group) -> bool:
    """Say whether an HDF5 object has columns: a structured dataset, or a group of 1-D datasets with a RA."""
    if isinstance(item, h5py.Dataset):
        return bool(item.dtype.names)
    return any(name.lower() in _NAMES["ra"] and isinstance(item[name], h5py.Dataset) for name in item)


def _read_csv(path: Path) -> np.ndarray:
    """Read a CSV file with a header line; lines that start with # are comments."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.reader(line for line in file if line.strip() and not line.startswith("#"))
            names = [name.strip() for name in next(rows, [])]
            chosen = _choose(names, path)
            places = {role: names.index(name) for role, name in chosen.items()}
            columns: dict[str, list[str]] = {role: [] for role in chosen}
            for row in rows:
                for role, place in places.items():
                    columns[role].append(row[place] if place < len(row) else "")
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a CSV text: {error}") from error
    return _stars({role: _numbers(values, path, chosen[role]) for role, values in columns.items()}, path)


def _read_client(path: Path) -> np.ndarray:
    """Read the text of the GSC client: columns by the header line, magnitude the mean of those that are there."""
    rows: list[tuple[float, float, float]] = []
    places: dict[str, int] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        tokens = [token for token in line.replace(";", " ").split() if token]
        if line.startswith("#") or not tokens:
            header = [re.sub(r"\(.*?\)", "", token).lower() for token in (tokens or [""])]
            header[0] = header[0].lstrip("#")
            if "ra" in header and "dec" in header:
                places = {name: place for place, name in enumerate(token for token in header if token)}
            continue
        if not places:
            raise DataError(f"{path}: data before the line that names the columns (RA(J2000) Dec(J2000) Fmag ... Clas)")
        values = {name: _client_number(tokens, place) for name, place in places.items()}
        magnitudes = [value for name in _CLIENT_MAGNITUDES if np.isfinite(value := values.get(name, np.nan))]
        if magnitudes and values.get("clas", 0) == 0:
            rows.append((values["ra"], values["dec"], float(np.mean(magnitudes))))
    table = np.array(rows, dtype=STAR_DTYPE)
    return table[np.isfinite(table["ra"]) & np.isfinite(table["dec"])]


def _client_number(tokens: list[str], place: int) -> float:
    """Read one value of the client's text: `---` and absent ones are NaN, error bars and footnotes are cut off."""
    if place >= len(tokens):
        return np.nan
    pieces = [piece for piece in re.split(r"[,#]", tokens[place]) if piece]
    try:
        return float(pieces[-1]) if pieces else np.nan
    except ValueError:
        return np.nan


def _choose(names: Iterable[str], path: Path) -> dict[str, str]:
    """Find the columns by their names, case aside."""
    known = {name.lower(): name for name in names}
    chosen = {}
    for role, candidates in _NAMES.items():
        name = next((known[candidate] for candidate in candidates if candidate in known), None)
        if name is not None:
            chosen[role] = name
        elif role != "class":
            raise DataError(f"{path}: no column for {role.upper()} among {', '.join(known.values())}; {_CURE}")
    return chosen


def _numbers(values: list[str], path: Path, name: str) -> np.ndarray:
    """Turn text into numbers; empty values and `null` are NaN."""
    try:
        return np.array([float(v) if v.strip().lower() not in ("", "null", "---") else np.nan for v in values])
    except ValueError as error:
        raise DataError(f"{path}: column {name}: {error}") from error


def _stars(columns: Mapping[str, np.ndarray], path: Path) -> np.ndarray:
    """Make the table from columns, without rows that are no stars or lack a value."""
    try:
        ra, dec, mag = (np.asarray(columns[role], dtype=float).ravel() for role in ("ra", "dec", "mag"))
        good = np.isfinite(ra) & np.isfinite(dec) & np.isfinite(mag)
        if "class" in columns:
            good &= np.asarray(columns["class"], dtype=float).ravel() == 0
    except ValueError as error:
        raise DataError(f"{path}: a column is not numeric: {error}; {_CURE}") from error
    if good.any() and (np.abs(dec[good]).max() > 90 or ra[good].min() < -180 or ra[good].max() > 360):
        raise DataError(f"{path}: positions outside the sky; RA and DEC must be in degrees")
    table = np.empty(int(good.sum()), dtype=STAR_DTYPE)
    table["ra"], table["dec"], table["mag"] = ra[good] % 360.0, dec[good], mag[good]
    return table


_READERS: dict[str, Callable[[Path], np.ndarray]] = {
    "fits": _read_fits,
    "csv": _read_csv,
    "h5": _read_hdf5,
    "hdf5": _read_hdf5,
    "cat": _read_client,
    "txt": _read_client,
}
