"""Tables in comma-separated text, read whole by astropy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from astropy.table import Table

from shapempi.catalog import Column
from shapempi.errors import DataError

__all__ = ["open_csv"]


class _CsvSource:
    """A text that has been read."""

    def __init__(self, table: Table, path: Path) -> None:
        rows = {}
        for name in table.colnames:
            values = table[name]
            if hasattr(values, "filled"):  # empty fields
                values = values.astype(float).filled(np.nan) if values.dtype.kind in "iuf" else values.filled("")
            array = np.asarray(values)
            rows[name] = np.char.encode(array, "utf-8") if array.dtype.kind == "U" else array
        self._rows, self._path = rows, path
        self.columns = tuple(Column(name, array.dtype.str.lstrip("<>=|"), "", "") for name, array in rows.items())
        self.n_row = len(table)

    def parts(self, names: Sequence[str], n_row: int) -> Iterator[np.ndarray]:
        """Yield the rows in order; see `TableSource`."""
        for start in range(0, self.n_row, n_row):
            stop = min(start + n_row, self.n_row)
            table = np.empty(stop - start, dtype=[(name, self._rows[name].dtype) for name in names])
            for name in names:
                table[name] = self._rows[name][start:stop]
            yield table


@contextmanager
def open_csv(path: Path, hdu: int | str | None = None) -> Iterator[_CsvSource]:
    """Open a text with a header line; lines that begin with # are comments.  It is one table: `hdu` must be None.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    if hdu is not None:
        raise DataError(f"{path}: a text has one table, not HDU {hdu}")
    try:
        table = Table.read(str(path), format="ascii.csv", comment="#")
    except Exception as error:  # astropy raises many classes; each means that the text is no table
        raise DataError(f"{path}: not a table of comma-separated text: {error}") from error
    yield _CsvSource(table, path)
