"""The catalogue file: HDF5 tables by column, written in slices.

The tables are /catalogue/<column>, /epochs, /stars, /training_stars, /psf_status and /star_statistics; every column has
the attributes unit and meaning.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from shapempi.catalog import Column
from shapempi.errors import ConfigError, DataError, MissingInputError
from shapempi.io.atomic import refuse_existing, replacing

__all__ = [
    "GRID",
    "INDEX",
    "TableWriter",
    "create_catalogue",
    "read_attributes",
    "read_missing",
    "read_table",
    "shard_files",
]

#: Attribute of a catalogue whose tiles are on another grid than those of CFIS: the grid as JSON.
GRID = "tile_grid"

#: What lists the files of a catalogue of several.
INDEX = "index.json"

#: Rows that are held in memory at once while a catalogue is copied.
CHUNK_ROWS = 65_536


class TableWriter:
    """Writes one table of a catalogue, slice by slice.

    Parameters
    ----------
    file : h5py.File
        The open catalogue.
    name : str
        Name of the table.
    columns : sequence of Column
        Its columns.
    n_row : int
        Its rows; all must be written.
    """

    def __init__(self, file: h5py.File, name: str, columns: Sequence[Column], n_row: int) -> None:
        self._name = name
        self._n_row = n_row
        self._next = 0
        group = file.create_group(name, track_order=True)  # columns are listed as they are declared, not by letter
        group.attrs["n_row"] = n_row
        self._datasets = {}
        for column in columns:
            options = {"chunks": (min(n_row, CHUNK_ROWS),), "compression": "gzip", "compression_opts": 1}
            dataset = group.create_dataset(
                column.name, shape=(n_row,), dtype=column.dtype, **(options | {"shuffle": True} if n_row else {})
            )
            dataset.attrs["unit"] = column.unit
            dataset.attrs["meaning"] = column.meaning
            self._datasets[column.name] = dataset

    def append(self, rows: np.ndarray) -> None:
        """Write the next rows.

        Raises
        ------
        DataError
            If there are more rows than announced.
        """
        stop = self._next + len(rows)
        if stop > self._n_row:
            raise DataError(f"table {self._name}: more than the announced {self._n_row} rows")
        for name, dataset in self._datasets.items():
            dataset[self._next : stop] = rows[name]
        self._next = stop

    def finish(self) -> None:
        """Check that every row was written.

        Raises
        ------
        DataError
            If rows are missing.
        """
        if self._next != self._n_row:
            raise DataError(f"table {self._name}: {self._next} of {self._n_row} rows were written")


@contextmanager
def create_catalogue(path: Path, attributes: Mapping[str, str | int], *, overwrite: bool) -> Iterator[h5py.File]:
    """Open a new catalogue for writing; it appears under its name when the block ends well.

    Parameters
    ----------
    path : Path
        The file.
    attributes : mapping
        Attributes of the file.
    overwrite : bool
        Whether a file that is there may be replaced.

    Yields
    ------
    h5py.File
        The open file.

    Raises
    ------
    ConfigError
        If the file is there and must not be replaced, or cannot be written.
    """
    refuse_existing(path, overwrite=overwrite)
    try:
        with replacing(path) as temporary, h5py.File(temporary, "w", locking=False) as file:
            for name, value in attributes.items():
                file.attrs[name] = value
            yield file
    except PermissionError as error:
        raise ConfigError(f"{path}: cannot write the catalogue: {error.strerror}") from error


def _open(path: Path) -> h5py.File:
    """Open a catalogue for reading."""
    try:
        return h5py.File(path, "r", locking=False)
    except FileNotFoundError as error:
        raise MissingInputError(f"{path}: there is no catalogue; make it with `shapempi gather`") from error
    except OSError as error:
        raise DataError(f"{path}: not a catalogue: {error}") from error


def read_table(
    path: Path, name: str = "catalogue", columns: Sequence[str] | None = None, rows: slice | None = None
) -> np.ndarray:
    """Read a table of a catalogue.

    Parameters
    ----------
    path : Path
        The catalogue, or the folder of its files.
    name : str, optional
        The table.
    columns : sequence of str, optional
        Columns to read; all by default.
    rows : slice, optional
        Rows to read, of one file; all by default.

    Returns
    -------
    ndarray
        Structured array.

    Raises
    ------
    MissingInputError, DataError
        If the file, the table or a column is not there.
    """
    if path.is_dir():
        return np.concatenate([read_table(file, name, columns) for file in shard_files(path)])
    with _open(path) as file:
        group = _group(file, path, name)
        return _read_rows(group, list(group) if columns is None else columns, path, rows or slice(None))


def shard_files(folder: Path) -> list[Path]:
    """Return the files of a catalogue of several, in their order.

    Raises
    ------
    MissingInputError, DataError
        If the folder has no index, or a file that it names is not there or not the one that was indexed.
    """
    try:
        entries = json.loads((folder / INDEX).read_text(encoding="utf-8"))["files"]
    except OSError as error:
        raise MissingInputError(f"{folder}: there is no catalogue; make it with `shapempi gather --shards`") from error
    except (ValueError, KeyError) as error:
        raise DataError(f"{folder / INDEX}: not the index of a catalogue: {error}") from error
    files = []
    for entry in entries:
        path = folder / entry["file"]
        if read_attributes(path).get("made_from") != entry["made_from"]:
            raise DataError(f"{path} is not the file that {INDEX} names; gather the run again")
        files.append(path)
    return files


def read_attributes(path: Path) -> dict[str, Any]:
    """Return the attributes of a catalogue's file.

    Raises
    ------
    MissingInputError, DataError
        If it is not there or no catalogue.
    """
    with _open(path) as file:
        return dict(file.attrs)


def read_missing(path: Path) -> list[str]:
    """Return the units that a catalogue was made without.

    Raises
    ------
    MissingInputError, DataError
        If the file is not there, or no catalogue.
    """
    if path.is_dir():
        return [uid for file in shard_files(path) for uid in read_missing(file)]
    with _open(path) as file:
        return [name.decode() for name in file["missing"]] if "missing" in file else []


def _group(file: h5py.File, path: Path, name: str) -> h5py.Group:
    if name not in file:
        raise DataError(f"{path}: there is no table {name}; tables are {', '.join(file)}")
    return file[name]


def _read_rows(group: h5py.Group, columns: Sequence[str], path: Path, rows: slice) -> np.ndarray:
    """Read some rows of a table."""
    absent = [name for name in columns if name not in group]
    if absent:
        raise DataError(f"{path}: table {group.name} has no column {', '.join(absent)}")
    start, stop, _ = rows.indices(int(group.attrs["n_row"]))
    table = np.zeros(stop - start, dtype=[(name, group[name].dtype) for name in columns])
    for name in columns:
        table[name] = group[name][start:stop]
    return table
