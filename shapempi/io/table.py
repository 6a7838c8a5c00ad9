"""What the formats of tables have in common: rows come and go in parts, columns have units and meanings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from astropy.table import Table
from astropy.table.meta import get_yaml_from_table
from astropy.units import Unit

from shapempi.catalog import Column, dtype_of

__all__ = ["CHUNK_BYTES", "Layout", "TableSink", "TableSource", "astropy_header", "chunk_rows", "even_parts"]

#: Bytes of the rows that are in memory at once while a table is copied.
CHUNK_BYTES = 32 * 2**20


@dataclass(frozen=True)
class Layout:
    """What is known of a table before its rows.

    Attributes
    ----------
    name : str
        Name of the table, for formats that have several in a file.
    columns : tuple of Column
        Its columns.
    n_row : int or None
        Its rows; None where that is known only when all are written, which FITS, Parquet and HDF5 can do with.
    attributes : mapping of str to str, int or float
        What is to be said of the table as a whole.
    """

    name: str
    columns: tuple[Column, ...]
    n_row: int | None
    attributes: Mapping[str, str | int | float]

    @property
    def dtype(self) -> np.dtype:
        """The type of its rows."""
        return dtype_of(self.columns)


class TableSink(Protocol):
    """A table that is being written."""

    def append(self, rows: np.ndarray) -> None:
        """Write the next rows: a structured array with the columns of the layout."""
        ...


class TableSource(Protocol):
    """A table that is open for reading."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """Its columns, as far as the file describes them."""
        ...

    @property
    def n_row(self) -> int:
        """Its rows."""
        ...

    def parts(self, names: Sequence[str], n_row: int) -> Iterator[np.ndarray]:
        """Yield the rows in order, at most n_row of them at a time, with the columns named, in native byte order."""
        ...


def chunk_rows(dtype: np.dtype, n_byte: int = CHUNK_BYTES) -> int:
    """Return how many rows fit a piece of memory; at least one."""
    return max(1, n_byte // max(dtype.itemsize, 1))


def even_parts(source: TableSource, names: Sequence[str], n_row: int) -> Iterator[np.ndarray]:
    """Yield the rows of a table n_row at a time, so that the parts of several tables fit together.

    `TableSource.parts` may yield fewer, where a file of several ends or a group of rows does.
    """
    held: list[np.ndarray] = []
    n_held = 0
    for part in source.parts(names, n_row):
        held.append(part)
        n_held += len(part)
        while n_held >= n_row:
            rows = np.concatenate(held)
            yield rows[:n_row]
            held = [rows[n_row:]]
            n_held = len(held[0])
    if n_held:
        yield np.concatenate(held)


def astropy_header(layout: Layout) -> list[str]:
    """Return the lines by which astropy keeps units and descriptions of a table in HDF5 and Parquet."""
    table = Table(np.zeros(0, dtype=layout.dtype))
    for column in layout.columns:
        table[column.name].unit = Unit(column.unit, parse_strict="silent") if column.unit else None
        table[column.name].description = column.meaning
    table.meta.update(layout.attributes)
    return list(get_yaml_from_table(table))
