"""Positions of objects in a catalogue of the user's: FITS, FITS_LDAC, text, or one of `shapempi gather`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from astropy.table import Table

from shapempi.errors import DataError, MissingInputError
from shapempi.io.catalog import read_table
from shapempi.io.ldac import read_ldac

__all__ = ["Positions", "read_positions"]

_NUMBER = "NUMBER"
_HDF5 = (".h5", ".hdf5")
_TEXT = (".csv", ".txt", ".dat", ".asc", ".ecsv")


@dataclass(frozen=True)
class Positions:
    """Positions of objects.

    Attributes
    ----------
    x, y : ndarray of float64 [n]
        The two columns, as they are.
    number : ndarray of int64 [n] or None
        The column NUMBER, if there is one.
    header : str
        The image's header, cards of 80 characters; empty if the file has none.
    """

    x: np.ndarray
    y: np.ndarray
    number: np.ndarray | None
    header: str

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self.x)


def read_positions(path: Path, columns: tuple[str, str]) -> Positions:
    """Read two columns of a catalogue, and NUMBER.

    Parameters
    ----------
    path : Path
        The catalogue; its name ends in .h5 or .hdf5 if it was made by `shapempi gather`, and in .csv, .txt, .dat, .asc
        or .ecsv if it is text with the names of the columns in its first line.
    columns : tuple of str
        The columns; the case of the letters matters only where two names differ in nothing else.

    Returns
    -------
    Positions
        In the order of the catalogue.

    Raises
    ------
    MissingInputError, DataError
        If the file is not there, cannot be used, or has no such columns of numbers.
    """
    if path.suffix in _TEXT:
        header, table = "", _read_text(path)
    else:
        header, table = _read_hdf5(path, columns) if path.suffix in _HDF5 else read_ldac(path)
    x, y = (_numbers(table, name, path) for name in columns)
    names = table.dtype.names or ()
    number = np.asarray(table[_NUMBER], dtype=np.int64) if _NUMBER in names else None
    return Positions(x, y, number, header)


def _read_hdf5(path: Path, columns: tuple[str, str]) -> tuple[str, np.ndarray]:
    read_table(path, columns=())  # says what is wrong with the file
    with h5py.File(path, "r", locking=False) as file:
        names = list(file["catalogue"])
    chosen = [_spelled(name, names, path) for name in columns]
    return "", read_table(path, columns=[*dict.fromkeys([*chosen, *({_NUMBER} & set(names))])])


def _read_text(path: Path) -> np.ndarray:
    """Read a table of text in any form that astropy guesses."""
    if not path.exists():
        raise MissingInputError(f"{path}: there is no such file")
    try:
        table = Table.read(path, format="ascii")
    except (OSError, ValueError) as error:  # what astropy raises for anything but a table is a ValueError
        raise DataError(f"{path}: not a table of text with the names of its columns in the first line") from error
    masked = [name for name in table.colnames if np.any(getattr(table[name], "mask", False))]
    if masked:
        raise DataError(f"{path}: there are rows without a value of {', '.join(masked)}")
    return np.asarray(table.as_array())


def _spelled(name: str, names: Sequence[str], path: Path) -> str:
    """Return a column's name as the catalogue spells it."""
    same = [other for other in names if other.lower() == name.lower()]
    if name in names or len(same) == 1:
        return name if name in names else same[0]
    raise DataError(f"{path}: there is no column {name}; name the columns of the positions: {', '.join(names)}")


def _numbers(table: np.ndarray, name: str, path: Path) -> np.ndarray:
    """Return a column of numbers."""
    names = [other for other in table.dtype.names or () if not table.dtype[other].shape]
    chosen = _spelled(name, names, path)
    if table.dtype[chosen].kind not in "iuf":
        raise DataError(f"{path}: the column {chosen} does not hold numbers, but {table.dtype[chosen]}")
    return np.asarray(table[chosen], dtype=float)
