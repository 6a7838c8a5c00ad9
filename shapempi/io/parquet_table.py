"""Parquet files, written and read in parts: pyarrow's, with units and meanings where astropy looks for them.

Every field has the metadata `unit` and `description`; the schema has astropy's table header, too, so that
`astropy.table.Table.read` gives both back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from shapempi.catalog import Column
from shapempi.errors import DataError, EngineError
from shapempi.io.table import Layout, TableSink, astropy_header

__all__ = ["create_parquet", "open_parquet"]

#: Numbers that Parquet has; the rest of NumPy's is not written by anything here.
_NUMBERS = "biuf"


def _pyarrow(path: Path) -> tuple[Any, Any]:
    """Return pyarrow and its module for Parquet."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise EngineError(
            f"{path}: Parquet needs the package pyarrow; `pip install 'shapempi[parquet]'`, or choose FITS or HDF5"
        ) from error
    return pyarrow, pyarrow.parquet


class _ParquetSink:
    """A Parquet file that grows by a row group with every part."""

    def __init__(self, pyarrow: Any, writer: Any, layout: Layout) -> None:
        self._pyarrow, self._writer, self._layout = pyarrow, writer, layout

    def append(self, rows: np.ndarray) -> None:
        """Write the next rows."""
        arrow = self._pyarrow
        schema = self._writer.schema
        columns = [_arrow_array(arrow, rows[each.name], schema.field(each.name).type) for each in self._layout.columns]
        self._writer.write_table(arrow.Table.from_arrays(columns, schema=schema))


def _arrow_type(arrow: Any, dtype: np.dtype) -> Any:
    """Return the type of a column: text, a number, or a list of fixed length of them."""
    if dtype.shape:
        return arrow.list_(_arrow_type(arrow, dtype.base), int(np.prod(dtype.shape)))
    return arrow.string() if dtype.kind in "SU" else arrow.from_numpy_dtype(dtype)


def _arrow_array(arrow: Any, values: np.ndarray, kind: Any) -> Any:
    """Return a column; a float that is NaN stays NaN."""
    if values.ndim > 1:
        flat = _arrow_array(arrow, values.reshape(-1), kind.value_type)
        return arrow.FixedSizeListArray.from_arrays(flat, type=kind)
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "replace")
    return arrow.array(values.tolist() if values.dtype.kind == "U" else np.ascontiguousarray(values), type=kind)


@contextmanager
def create_parquet(path: Path, layout: Layout) -> Iterator[TableSink]:
    """Write a Parquet file.

    Raises
    ------
    EngineError
        If pyarrow is not installed.
    """
    arrow, parquet = _pyarrow(path)
    metadata = {"table_meta_yaml": "\n".join(astropy_header(layout))}
    metadata |= {name: str(value) for name, value in layout.attributes.items()}
    fields = []
    for column in layout.columns:
        dtype = layout.dtype[column.name]
        if dtype.base.kind in "SU":
            metadata[f"table::len::{column.name}"] = str(dtype.base.itemsize // (4 if dtype.base.kind == "U" else 1))
        described = {"unit": column.unit, "description": column.meaning}
        fields.append(arrow.field(column.name, _arrow_type(arrow, dtype), metadata=described))
    with parquet.ParquetWriter(str(path), arrow.schema(fields, metadata=metadata), compression="zstd") as writer:
        yield _ParquetSink(arrow, writer, layout)


class _ParquetSource:
    """A Parquet file that is open."""

    def __init__(self, arrow: Any, file: Any, path: Path) -> None:
        self._arrow, self._file, self._path = arrow, file, path
        self.n_row = int(file.metadata.num_rows)
        schema = file.schema_arrow
        self.columns = tuple(self._column(field, schema.metadata or {}) for field in schema)

    def _column(self, field: Any, metadata: dict[bytes, bytes]) -> Column:
        """Return the declaration of a column; one that holds neither numbers nor text has the type `O`."""
        types, kind = self._arrow.types, field.type
        shape = ""
        if types.is_fixed_size_list(kind):
            shape, kind = f"({kind.list_size},)", kind.value_type
        described = field.metadata or {}
        unit, meaning = (described.get(key, b"").decode() for key in (b"unit", b"description"))
        if types.is_string(kind) or types.is_large_string(kind):
            length = metadata.get(f"table::len::{field.name}".encode(), b"")
            width = int(length) if length.isdigit() else self._longest(field.name)
            return Column(field.name, f"{shape}S{max(width, 1)}", unit, meaning)
        try:
            dtype = np.dtype(kind.to_pandas_dtype())
        except (NotImplementedError, TypeError):
            dtype = np.dtype(object)
        name = dtype.str.lstrip("<>=|") if dtype.kind in _NUMBERS else "O"
        return Column(field.name, shape + name, unit, meaning)

    def _longest(self, name: str) -> int:
        """Return the bytes of the longest text of a column."""
        batches = self._file.iter_batches(columns=[name])
        return max(
            (len(str(text or "").encode()) for batch in batches for text in batch.column(0).to_pylist()), default=1
        )

    def parts(self, names: Sequence[str], n_row: int) -> Iterator[np.ndarray]:
        """Yield the rows in order; see `TableSource`.  A missing number is NaN; a missing integer is an error."""
        kinds = {column.name: column.dtype for column in self.columns}
        for batch in self._file.iter_batches(batch_size=n_row, columns=list(names)):
            table = np.empty(batch.num_rows, dtype=[(name, kinds[name]) for name in names])
            for name in names:
                table[name] = self._values(batch.column(batch.schema.get_field_index(name)), table.dtype[name], name)
            yield table

    def _values(self, column: Any, dtype: np.dtype, name: str) -> np.ndarray:
        if dtype.base.kind == "S":
            return np.array([str(text or "").encode() for text in column.to_pylist()], dtype=dtype.base)
        if dtype.base.kind in "iub" and column.null_count:
            raise DataError(f"{self._path}: column {name} lacks values, which integers cannot say; fill them first")
        if dtype.shape:
            return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), *dtype.shape)
        return column.to_numpy(zero_copy_only=False)


@contextmanager
def open_parquet(path: Path, hdu: int | str | None = None) -> Iterator[_ParquetSource]:
    """Open a Parquet file; it has one table, so `hdu` must be None.

    Raises
    ------
    DataError
        If it is no Parquet file.
    EngineError
        If pyarrow is not installed.
    """
    arrow, parquet = _pyarrow(path)
    if hdu is not None:
        raise DataError(f"{path}: a Parquet file has one table, not HDU {hdu}")
    try:
        file = parquet.ParquetFile(str(path))
    except (OSError, arrow.ArrowException) as error:
        raise DataError(f"{path}: not a Parquet file: {str(error).strip().splitlines()[0]}") from error
    with file:
        yield _ParquetSource(arrow, file, path)
