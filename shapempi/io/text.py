"""Lines as plain text; tables and statistics as older scripts read them (behaviour specification, 6.6 and 6.8)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from shapempi.errors import ConfigError, DataError
from shapempi.io.atomic import refuse_existing, replacing

__all__ = ["write_lines", "write_statistics", "write_text_table"]


def write_text_table(path: Path, table: np.ndarray, *, overwrite: bool) -> None:
    """Write a table: a line `# HEADER`, a line `# ` with the names of the columns, and a line per row, with tabs.

    Parameters
    ----------
    path : Path
        The file; its folder must be there.
    table : structured ndarray [n]
        Columns of single values.
    overwrite : bool
        Whether a file that is there may be replaced.

    Raises
    ------
    ConfigError
        If the file is there and must not be replaced, or cannot be written.
    DataError
        If a column has several values per row.
    """
    names = table.dtype.names or ()
    for name in names:
        if table.dtype[name].shape:
            raise DataError(f"{path}: the column {name} has {table.dtype[name].shape} values per row; text has one")
    lines = ["# HEADER", "# " + "\t".join(names)]
    lines += ["\t".join(_written(value) for value in row) for row in table.tolist()]
    write_lines(path, lines, overwrite=overwrite)


def write_statistics(path: Path, rows: Sequence[tuple[str, float]], *, overwrite: bool) -> None:
    """Write labelled numbers: a line `# Statistics` and a line `label = value` for each.

    Parameters
    ----------
    path : Path
        The file; its folder must be there.
    rows : sequence of (str, float)
        Labels and values.
    overwrite : bool
        Whether a file that is there may be replaced.

    Raises
    ------
    ConfigError
        If the file is there and must not be replaced, or cannot be written.
    """
    write_lines(path, ["# Statistics", *(f"{label} = {_written(value)}" for label, value in rows)], overwrite=overwrite)


def _written(value: object) -> str:
    """Write a value; 12 digits are enough for a position on the sky."""
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def write_lines(path: Path, lines: Sequence[str], *, overwrite: bool) -> None:
    """Write lines in one step.

    Parameters
    ----------
    path : Path
        The file; its folder must be there.
    lines : sequence of str
        The lines, without their ends.
    overwrite : bool
        Whether a file that is there may be replaced.

    Raises
    ------
    ConfigError
        If the file is there and must not be replaced, or cannot be written.
    """
    refuse_existing(path, overwrite=overwrite)
    try:
        with replacing(path) as temporary:
            temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error
