"""Tables of HDF5 files, read and written in parts: a compound dataset as astropy's, or a group with a dataset a column.

Written are both, for no reader knows both: `Table.read(FILE)` finds the dataset with units and descriptions, TreeCorr
reads the group with `ext="columns"`.  That takes twice the room.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from shapempi.catalog import Column
from shapempi.errors import DataError
from shapempi.io.table import Layout, TableSink, astropy_header, chunk_rows

__all__ = ["COLUMNS", "Hdf5Source", "create_hdf5", "open_hdf5"]

#: Name of the group of columns.
COLUMNS = "columns"
#: What astropy adds to the name of a table for its header.
_HEADER = ".__table_column_meta__"
#: Bytes of a chunk on the disk.
_CHUNK = 2**20
#: Most rows of a chunk where nobody knows how many there will be.
_ROWS = 65_536


class _Hdf5Sink:
    """A table in both forms of which the first rows are written."""

    def __init__(self, whole: h5py.Dataset, columns: Mapping[str, h5py.Dataset]) -> None:
        self._whole, self._columns = whole, columns
        self._next = 0

    def append(self, rows: np.ndarray) -> None:
        """Write the next rows."""
        start, stop = self._next, self._next + len(rows)
        if stop > len(self._whole):
            for dataset in (self._whole, *self._columns.values()):
                dataset.resize(stop, axis=0)
        table = np.empty(len(rows), dtype=self._whole.dtype)
        for name, dataset in self._columns.items():
            table[name] = rows[name]
            dataset[start:stop] = rows[name]
        self._whole[start:stop] = table
        self._next = stop


@contextmanager
def create_hdf5(path: Path, layout: Layout) -> Iterator[TableSink]:
    """Write a file with one table: a compound dataset of the layout's name, and the group `columns`."""
    with h5py.File(path, "w", locking=False) as file:
        whole = _create(file, layout.name, layout.dtype, layout.n_row)
        for name, value in layout.attributes.items():
            whole.attrs[name] = value
        lines = [line.encode("utf-8") for line in astropy_header(layout)]
        file.create_dataset(layout.name + _HEADER, data=np.array(lines))
        group = file.create_group(COLUMNS, track_order=True)  # as they are declared, not by letter
        columns = {}
        for column in layout.columns:
            dataset = columns[column.name] = _create(group, column.name, layout.dtype[column.name], layout.n_row)
            dataset.attrs["unit"], dataset.attrs["meaning"] = column.unit, column.meaning
        yield _Hdf5Sink(whole, columns)


def _create(parent: h5py.Group, name: str, dtype: np.dtype, n_row: int | None) -> h5py.Dataset:
    """Make a dataset of n_row elements, or of none so far."""
    options: dict[str, Any] = {}
    if n_row != 0:
        chunk = min(n_row or _ROWS, chunk_rows(dtype, _CHUNK), _ROWS)
        options = {"chunks": (chunk, *dtype.shape), "compression": "gzip", "compression_opts": 1, "shuffle": True}
        options["maxshape"] = (n_row, *dtype.shape)  # None grows
    return parent.create_dataset(name, shape=(n_row or 0, *dtype.shape), dtype=dtype.base, **options)


class Hdf5Source:
    """A table that is open: a compound dataset, or a group of columns."""

    def __init__(self, item: h5py.Dataset | h5py.Group, path: Path) -> None:
        self._item, self._path = item, path
        if isinstance(item, h5py.Dataset):
            self.columns = _fields(item)
            self.n_row = int(item.shape[0])
        else:
            kept = [name for name in item if isinstance(item[name], h5py.Dataset) and item[name].ndim > 0]
            self.columns = tuple(_described(item[name], name) for name in kept)
            lengths = {item[name].shape[0] for name in kept}
            if len(lengths) > 1:
                raise DataError(f"{path}: the columns of {item.name} have different lengths: {sorted(lengths)}")
            self.n_row = int(item.attrs.get("n_row", lengths.pop() if lengths else 0))

    def parts(self, names: Sequence[str], n_row: int) -> Iterator[np.ndarray]:
        """Yield the rows in order; see `TableSource`."""
        for start in range(0, self.n_row, n_row):
            yield self.rows(names, start, min(start + n_row, self.n_row))

    def rows(self, names: Sequence[str], start: int, stop: int) -> np.ndarray:
        """Return the rows start..stop-1 with the columns named.

        Raises
        ------
        DataError
            If they cannot be read.
        """
        kinds = {column.name: column.dtype for column in self.columns}
        table = np.empty(stop - start, dtype=[(name, kinds[name]) for name in names])
        try:
            whole = self._item[start:stop] if isinstance(self._item, h5py.Dataset) else None
            for name in names:
                table[name] = self._item[name][start:stop] if whole is None else whole[name]
        except OSError as error:
            raise DataError(f"{self._path}: {self._item.name} cannot be read: {error}") from error
        return table


def _kind(dtype: np.dtype) -> str:
    """Return a type in the form of a declaration; texts of any length are objects."""
    base = dtype.base.newbyteorder("=").str.lstrip("<>=|") if not dtype.hasobject else "O"
    return f"{dtype.shape}{base}" if dtype.shape else base


def _fields(dataset: h5py.Dataset) -> tuple[Column, ...]:
    """Return the columns of a compound dataset; units and meanings are those of the group beside it."""
    columns = dataset.parent.get(COLUMNS)
    described = {}
    if isinstance(columns, h5py.Group):
        described = {name: columns[name].attrs for name in dataset.dtype.names if name in columns}
    found = []
    for name in dataset.dtype.names:
        unit, meaning = (str(described.get(name, {}).get(key, "")) for key in ("unit", "meaning"))
        found.append(Column(name, _kind(dataset.dtype[name]), unit, meaning))
    return tuple(found)


def _described(dataset: h5py.Dataset, name: str) -> Column:
    shape = dataset.shape[1:]
    kind = _kind(dataset.dtype)
    unit, meaning = (str(dataset.attrs.get(key, "")) for key in ("unit", "meaning"))
    return Column(name, f"{shape}{kind}" if shape else kind, unit, meaning)


def _tables(file: h5py.File) -> list[str]:
    """Return the tables of a file; the group of columns that was written beside a dataset is the same table."""
    found: list[str] = []

    def look(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset):
            if item.dtype.names:
                found.append(name)
        elif any(isinstance(each, h5py.Dataset) for each in item.values()):
            found.append(name)

    file.visititems(look)
    found.sort(key=lambda name: name == COLUMNS)
    columns = [name for name in file if isinstance(file[name], h5py.Dataset) and not file[name].dtype.names]
    return found or (["/"] if columns else [])


@contextmanager
def open_hdf5(path: Path, hdu: int | str | None = None) -> Iterator[Hdf5Source]:
    """Open a table of an HDF5 file.

    Parameters
    ----------
    path : Path
        The file.
    hdu : str, optional
        Name of the table; `catalogue` by default if there is one, else the first.

    Yields
    ------
    TableSource
        The table, as long as the block lasts.

    Raises
    ------
    DataError
        If it is no HDF5 file, or has no such table.
    """
    try:
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        raise DataError(f"{path}: not an HDF5 file: {error}") from error
    with file:
        tables = _tables(file)
        name = hdu if hdu is not None else next((each for each in ("catalogue", *tables) if each in tables), None)
        if name is None or str(name) not in tables:
            raise DataError(f"{path}: there is no table {name or ''}; tables: {', '.join(tables) or 'none'}")
        yield Hdf5Source(file[str(name)], path)
