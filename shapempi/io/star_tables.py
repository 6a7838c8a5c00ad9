"""The tables of stars of a catalogue, read in parts: a survey has 10^8 of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from shapempi.errors import DataError, MissingInputError

__all__ = ["StarTables", "open_star_tables"]

#: Rows that are read at once.
CHUNK_ROWS = 1_000_000


class StarTables:
    """The open tables of a catalogue.

    Parameters
    ----------
    file : h5py.File
        The catalogue.
    path : Path
        Its name, for messages.
    """

    def __init__(self, file: h5py.File, path: Path) -> None:
        self._file = file
        self._path = path

    def has(self, table: str) -> bool:
        """Say whether there is a table of this name."""
        return isinstance(self._file.get(table), h5py.Group)

    def n_row(self, table: str) -> int:
        """Return the number of rows of a table.

        Raises
        ------
        DataError
            If there is no such table, or nothing says how long it is.
        """
        group = self._group(table)
        if "n_row" not in group.attrs:
            raise DataError(f"{self._path}: {table} is not a table of a catalogue: it has no attribute n_row")
        return int(group.attrs["n_row"])

    def columns(self, table: str) -> dict[str, str]:
        """Return the columns of a table with their units."""
        group = self._group(table)
        return {name: str(group[name].attrs.get("unit", "")) for name in group}

    def read(self, table: str, columns: Sequence[str] | None = None) -> np.ndarray:
        """Read a whole table; parameters and errors are those of `parts`."""
        names = list(self._group(table)) if columns is None else list(columns)
        parts = list(self.parts(table, names))
        return np.concatenate(parts) if parts else self._rows(table, names, 0, 0)

    def parts(self, table: str, columns: Sequence[str], *, n_row: int = CHUNK_ROWS) -> Iterator[np.ndarray]:
        """Read a table part by part.

        Parameters
        ----------
        table : str
            The table.
        columns : sequence of str
            Columns to read.
        n_row : int, optional
            Rows of a part.

        Yields
        ------
        ndarray
            Structured array of at most n_row rows; none if the table is empty.

        Raises
        ------
        DataError
            If the table or a column is not there, or cannot be read.
        """
        for start in range(0, self.n_row(table), n_row):
            yield self._rows(table, columns, start, min(start + n_row, self.n_row(table)))

    def _rows(self, table: str, columns: Sequence[str], start: int, stop: int) -> np.ndarray:
        group = self._group(table)
        absent = [name for name in columns if name not in group]
        if absent:
            raise DataError(f"{self._path}: table {table} has no column {', '.join(absent)}")
        rows = np.empty(stop - start, dtype=[(name, group[name].dtype) for name in columns])
        for name in columns:
            try:
                values = group[name][start:stop]
            except OSError as error:
                raise DataError(f"{self._path}: column {name} of {table} cannot be read: {error}") from error
            if values.shape != rows.shape:
                raise DataError(f"{self._path}: column {name} of {table} has not the rows that the table has")
            rows[name] = values
        return rows

    def _group(self, table: str) -> h5py.Group:
        if not self.has(table):
            raise DataError(f"{self._path}: there is no table {table}; tables are {', '.join(self._file)}")
        return self._file[table]


@contextmanager
def open_star_tables(path: Path) -> Iterator[StarTables]:
    """Open a catalogue for reading its tables of stars.

    Parameters
    ----------
    path : Path
        The catalogue, as `shapempi gather` writes it.

    Yields
    ------
    StarTables
        Its tables, as long as the block lasts.

    Raises
    ------
    MissingInputError
        If there is no such file.
    DataError
        If it is no HDF5 file.
    """
    try:
        file = h5py.File(path, "r", locking=False)
    except FileNotFoundError as error:
        raise MissingInputError(f"{path}: there is no catalogue; make it with `shapempi gather`") from error
    except OSError as error:
        raise DataError(f"{path}: not a catalogue: {error}") from error
    with file:
        yield StarTables(file, path)
