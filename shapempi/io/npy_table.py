"""Structured arrays in .npy files, written and read in parts through a memory map."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from shapempi.catalog import Column
from shapempi.errors import ConfigError, DataError
from shapempi.io.table import Layout, TableSink

__all__ = ["create_npy", "open_npy"]


class _NpySink:
    """A structured array on the disk of which the first rows are written."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array
        self._next = 0

    def append(self, rows: np.ndarray) -> None:
        """Write the next rows."""
        stop = self._next + len(rows)
        for name in self._array.dtype.names or ():
            self._array[name][self._next : stop] = rows[name]
        self._next = stop


@contextmanager
def create_npy(path: Path, layout: Layout) -> Iterator[TableSink]:
    """Write a structured array; the format has no place for units and meanings.

    Raises
    ------
    ConfigError
        If nobody knows yet how many rows there will be, which the format has at its beginning.
    """
    if layout.n_row is None:
        raise ConfigError(f"{path.name}: a .npy file cannot grow; choose FITS, Parquet or HDF5")
    if layout.n_row == 0:  # nothing can be mapped
        with path.open("wb") as file:
            np.save(file, np.zeros(0, dtype=layout.dtype), allow_pickle=False)
        yield _NpySink(np.zeros(0, dtype=layout.dtype))
        return
    array = np.lib.format.open_memmap(path, mode="w+", dtype=layout.dtype, shape=(layout.n_row,))
    yield _NpySink(array)
    array.flush()


class _NpySource:
    """A structured array on the disk."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array
        self.n_row = len(array)
        found = []
        for name in array.dtype.names or ():
            dtype = array.dtype[name]
            kind = dtype.base.newbyteorder("=").str.lstrip("<>=|")
            found.append(Column(name, f"{dtype.shape}{kind}" if dtype.shape else kind, "", ""))
        self.columns = tuple(found)

    def parts(self, names: Sequence[str], n_row: int) -> Iterator[np.ndarray]:
        """Yield the rows in order; see `TableSource`."""
        kinds = {column.name: column.dtype for column in self.columns}
        for start in range(0, self.n_row, n_row):
            rows = self._array[start : start + n_row]
            table = np.empty(len(rows), dtype=[(name, kinds[name]) for name in names])
            for name in names:
                table[name] = rows[name]
            yield table


@contextmanager
def open_npy(path: Path, hdu: int | str | None = None) -> Iterator[_NpySource]:
    """Open a structured array; it is one table, so `hdu` must be None.

    Raises
    ------
    DataError
        If it is no .npy file, or not of a structured array.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a .npy file of a table: {error}") from error
    if hdu is not None or array.dtype.names is None or array.ndim != 1:
        raise DataError(f"{path}: a .npy file has one table, a structured array of one dimension")
    yield _NpySource(array)
