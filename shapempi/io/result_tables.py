"""Tables of results as the HDUs of one FITS file, every column with its unit and its meaning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import fitsio
import numpy as np

from shapempi.catalog import Column, dtype_of
from shapempi.errors import ConfigError
from shapempi.io.atomic import refuse_existing, replacing

__all__ = ["write_result_tables"]

#: What fits behind a value in a card.
_COMMENT = 60


def write_result_tables(
    path: Path, tables: Mapping[str, np.ndarray], columns: Sequence[Column], *, overwrite: bool
) -> None:
    """Write tables with the same columns.

    Parameters
    ----------
    path : Path
        The file; its folder must be there.
    tables : mapping of str to structured ndarray [n]
        Rows by the name of their HDU, in order; the first is HDU 1.
    columns : sequence of Column
        The columns, in order: names, types, units (TUNITn) and meanings (TCOMMn).
    overwrite : bool
        Whether a file that is there may be replaced.

    Raises
    ------
    ConfigError
        If the file is there and must not be replaced, or cannot be written.
    """
    refuse_existing(path, overwrite=overwrite)
    dtype = dtype_of(columns)
    try:
        with replacing(path) as temporary, fitsio.FITS(str(temporary), "rw", clobber=True) as file:
            for name, rows in tables.items():
                file.create_table_hdu(dtype=dtype, extname=name, units=[column.unit for column in columns])
                for number, column in enumerate(columns, start=1):
                    file[-1].write_key(f"TCOMM{number}", column.meaning[:_COMMENT])
                if len(rows):
                    file[-1].write(np.ascontiguousarray(rows, dtype=dtype))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {str(error).strip() or type(error).__name__}") from error
