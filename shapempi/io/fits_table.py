"""Binary tables of FITS files, read and written in parts, with the units and meanings of their columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fitsio
import numpy as np

from shapempi.catalog import Column
from shapempi.errors import ConfigError, DataError
from shapempi.io.table import Layout, TableSink

__all__ = ["FitsSource", "create_fits", "create_tables", "open_fits", "table_names"]

#: Most columns of a FITS table.
_MOST_COLUMNS = 999


class _FitsSink:
    """A binary table that grows."""

    def __init__(self, hdu: Any, dtype: np.dtype) -> None:
        self._hdu = hdu
        self._dtype = dtype

    def append(self, rows: np.ndarray) -> None:
        """Write the next rows."""
        table = np.empty(len(rows), dtype=self._dtype)
        for name in self._dtype.names or ():
            table[name] = rows[name]
        self._hdu.append(table)


def _add_table(file: fitsio.FITS, layout: Layout) -> TableSink:
    """Add an empty binary table to a file: TUNITn is the unit, TCOMMn the meaning of each column.

    Raises
    ------
    ConfigError
        If the table has more columns than FITS allows, or two whose names differ in nothing but case.
    """
    names = [column.name for column in layout.columns]
    if len(names) > _MOST_COLUMNS:
        raise ConfigError(f"{len(names)} columns; a FITS table has at most {_MOST_COLUMNS}")
    if len({name.lower() for name in names}) < len(names):
        raise ConfigError("two columns differ in the case of their letters only, which FITS does not tell apart")
    file.create_table_hdu(dtype=layout.dtype, extname=layout.name, units=[column.unit for column in layout.columns])
    hdu = file[len(file) - 1]
    for number, column in enumerate(layout.columns, start=1):
        if column.meaning:
            hdu.write_key(f"TCOMM{number}", column.meaning)
    for name, value in layout.attributes.items():
        hdu.write_key(name, value)
    return _FitsSink(hdu, layout.dtype)


@contextmanager
def create_fits(path: Path, layout: Layout) -> Iterator[TableSink]:
    """Write a file with one binary table, which is named as the layout says."""
    with create_tables(path) as add:
        yield add(layout)


@contextmanager
def create_tables(path: Path) -> Iterator[Callable[[Layout], TableSink]]:
    """Write a file with several binary tables: what is yielded adds one, which is written before the next is added."""
    with fitsio.FITS(str(path), "rw", clobber=True) as file:
        yield lambda layout: _add_table(file, layout)


class FitsSource:
    """A binary table in a file.

    Parameters
    ----------
    hdu : fitsio table HDU
        The table.
    path : Path
        Its file, for messages.
    """

    def __init__(self, hdu: Any, path: Path) -> None:
        self._hdu = hdu
        self._path = path
        header = hdu.read_header()
        dtype = hdu.get_rec_dtype()[0]
        found = []
        for number, name in enumerate(hdu.get_colnames(), start=1):
            base, shape = _as_bytes(dtype[name].base), dtype[name].shape
            kind = base.newbyteorder("=").str.lstrip("<>=|")
            unit, meaning = (str(header.get(f"{key}{number}", "") or "").strip() for key in ("TUNIT", "TCOMM"))
            found.append(Column(name, f"{shape}{kind}" if shape else kind, unit, meaning))
        self.columns = tuple(found)
        self.n_row = int(hdu.get_nrows())
        self.name = str(hdu.get_extname())

    def parts(self, names: Sequence[str], n_row: int) -> Iterator[np.ndarray]:
        """Yield the rows in order; see `TableSource`."""
        kinds = {column.name: column.dtype for column in self.columns}
        for start in range(0, self.n_row, n_row):
            try:
                rows = self._hdu.read(columns=list(names), rows=range(start, min(start + n_row, self.n_row)))
            except (OSError, ValueError) as error:
                raise DataError(f"{self._path}: the table cannot be read: {_first_line(error)}") from error
            # fitsio returns the columns in the order of the file.
            table = np.empty(len(rows), dtype=[(name, kinds[name]) for name in names])
            for name in names:
                table[name] = rows[name]
            yield table


def _as_bytes(dtype: np.dtype) -> np.dtype:
    """Return the type of a column: fitsio makes str of text, which FITS has as bytes."""
    return np.dtype(f"S{dtype.itemsize // 4}") if dtype.kind == "U" else dtype


def table_names(path: Path) -> list[str]:
    """Return the names of the tables of a FITS file."""
    with fitsio.FITS(str(path)) as file:
        return [str(file[number].get_extname()) for number in _table_hdus(file)]


def _table_hdus(file: fitsio.FITS) -> list[int]:
    """Return the numbers of the HDUs that are tables; LDAC headers are none."""
    return [
        number
        for number, hdu in enumerate(file)
        if hdu.get_exttype() in ("BINARY_TBL", "ASCII_TBL") and hdu.get_extname() != "LDAC_IMHEAD"
    ]


@contextmanager
def open_fits(path: Path, hdu: int | str | None = None) -> Iterator[FitsSource]:
    """Open a table of a FITS file.

    Parameters
    ----------
    path : Path
        The file.
    hdu : int or str, optional
        Number, from 0 for the primary HDU, or name of the table; the first table by default.

    Yields
    ------
    FitsSource
        The table, as long as the block lasts.

    Raises
    ------
    DataError
        If it is no FITS file, or has no such table.
    """
    try:
        file = fitsio.FITS(str(path))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a FITS file: {_first_line(error)}") from error
    with file:
        tables = _table_hdus(file)
        names = [file[number].get_extname() for number in tables]
        if hdu is None:
            chosen = tables[0] if tables else None
        elif isinstance(hdu, int):
            chosen = hdu if hdu in tables else None
        else:
            chosen = next((k for k, name in zip(tables, names, strict=True) if name.upper() == hdu.upper()), None)
        if chosen is None:
            there = ", ".join(f"{k} ({name})" if name else str(k) for k, name in zip(tables, names, strict=True))
            raise DataError(f"{path}: {'no table' if hdu is None else f'HDU {hdu} is no table'}; tables: {there or 0}")
        yield FitsSource(file[chosen], path)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
