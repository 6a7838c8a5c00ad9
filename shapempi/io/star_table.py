"""Tables of bright stars, one reader a format: each gives the columns that a star needs, by role.

A table has the columns RA, DEC [deg] and MAG and, optionally, CLASS (0 is a star), PMRA, PMDEC [mas/yr] and EPOCH
[Julian year]; the names that Gaia and common catalogues use are known, case aside.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import fitsio
import h5py
import numpy as np

from shapempi.errors import DataError, EngineError
from shapempi.io.column_names import choose_columns

__all__ = ["CURE", "TABLES", "Columns"]

#: Columns of a catalogue by role: ra, dec, mag; where there are such: class, pmra, pmdec, epoch.
Columns = dict[str, np.ndarray]

CURE = "columns RA, DEC [deg] and MAG are needed (CLASS, 0 for a star, is optional)"

_NAMES = {
    "ra": ("ra", "raj2000", "ra_icrs", "alpha_j2000"),
    "dec": ("dec", "decj2000", "dej2000", "de_icrs", "delta_j2000"),
    "mag": ("mag", "phot_g_mean_mag", "gmag"),
    "class": ("class", "clas"),
    "pmra": ("pmra", "pm_ra"),
    "pmdec": ("pmdec", "pmde", "pm_dec"),
    "epoch": ("epoch", "ref_epoch"),
}
_OPTIONAL = ("class", "pmra", "pmdec", "epoch")


def _choose(names: Iterable[str], path: Path) -> dict[str, str]:
    """Find the columns by their names."""
    return choose_columns(names, _NAMES, _OPTIONAL, path, CURE)


def _read_fits(path: Path) -> Columns:
    """Read the first table of a FITS file."""
    try:
        with fitsio.FITS(str(path)) as file:
            for hdu in file:
                if hdu.get_exttype() in ("BINARY_TBL", "ASCII_TBL"):
                    chosen = _choose(hdu.get_colnames(), path)
                    return {role: hdu.read_column(name) for role, name in chosen.items()}
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {str(error).strip().splitlines()[0]}") from error
    raise DataError(f"{path}: there is no table in the file; {CURE}")


def _read_hdf5(path: Path) -> Columns:
    """Read the first structured dataset of an HDF5 file, or one-dimensional datasets named as columns."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            tables: list[h5py.Dataset | h5py.Group] = []
            file.visititems(lambda _, item: tables.append(item) if _is_table(item) else None)
            if _is_table(file):
                tables.insert(0, file)
            if tables:
                table = tables[0]
                names = table.dtype.names if isinstance(table, h5py.Dataset) else list(table)
                chosen = _choose(names, path)
                return {role: table[name][...] for role, name in chosen.items()}
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    raise DataError(f"{path}: there is no table in the file; {CURE}")


def _is_table(item: h5py.Dataset | h5py.Group) -> bool:
    """Say whether an HDF5 object has columns: a structured dataset, or a group of 1-D datasets with a RA."""
    if isinstance(item, h5py.Dataset):
        return bool(item.dtype.names)
    return any(name.lower() in _NAMES["ra"] and isinstance(item[name], h5py.Dataset) for name in item)


def _read_csv(path: Path) -> Columns:
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
    return {role: _numbers(values, path, chosen[role]) for role, values in columns.items()}


def _numbers(values: list[str], path: Path, name: str) -> np.ndarray:
    """Turn text into numbers; empty values and `null` are NaN."""
    try:
        return np.array([float(v) if v.strip().lower() not in ("", "null", "---") else np.nan for v in values])
    except ValueError as error:
        raise DataError(f"{path}: column {name}: {error}") from error


def _read_parquet(path: Path) -> Columns:
    """Read a Parquet file, only the columns that are needed."""
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise EngineError(
            f"{path}: reading Parquet needs the package pyarrow; `pip install 'shapempi[parquet]'`, or write the "
            "catalogue as FITS, CSV or HDF5"
        ) from error
    try:
        with parquet.ParquetFile(path) as file:
            chosen = _choose(file.schema_arrow.names, path)
            table = file.read(columns=list(chosen.values()))
        # A missing value is null in Parquet and NaN in the array.
        return {role: table.column(name).to_numpy(zero_copy_only=False) for role, name in chosen.items()}
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{path}: cannot be read: {str(error).strip().splitlines()[0]}") from error


#: Readers by the ending of the file's name.
TABLES: Mapping[str, Callable[[Path], Columns]] = {
    "fits": _read_fits,
    "fit": _read_fits,
    "csv": _read_csv,
    "h5": _read_hdf5,
    "hdf5": _read_hdf5,
    "parquet": _read_parquet,
}
