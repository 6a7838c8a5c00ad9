"""Any table that a user names: a file in one of the formats, or the catalogue of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from shapempi.catalog import Column
from shapempi.catalogues.opened import open_catalogue
from shapempi.errors import ConfigError, DataError
from shapempi.io.column_list import nearest_name, shortened
from shapempi.io.column_names import choose_columns
from shapempi.io.table import TableSource
from shapempi.io.table_file import open_table

__all__ = ["by_name", "hdu_of", "open_any", "position_columns", "read_whole"]

#: Names of positions, the best first.
_POSITIONS = {
    "ra": ("ra", "xwin_world", "x_world", "alpha_j2000", "alphawin_j2000", "raj2000", "ra_icrs"),
    "dec": ("dec", "ywin_world", "y_world", "delta_j2000", "deltawin_j2000", "dej2000", "decj2000", "de_icrs"),
}


def hdu_of(text: str | None) -> int | str | None:
    """Return the number or the name of an HDU as it is typed."""
    return int(text) if text is not None and text.isdigit() else text


@contextmanager
def open_any(path: Path, hdu: int | str | None = None) -> Iterator[TableSource]:
    """Open a table; a folder is a run or the files of a catalogue.

    Raises
    ------
    MissingInputError, ConfigError, DataError, EngineError
        If there is no such table, or it cannot be read.
    """
    if path.is_dir():
        with open_catalogue(path) as catalogue:
            yield catalogue
    else:
        with open_table(path, hdu) as source:
            yield source


def by_name(source: TableSource, name: str, path: Path) -> Column:
    """Return a column, case aside where that is clear.

    Raises
    ------
    ConfigError
        If there is none of this name.
    """
    exact = [column for column in source.columns if column.name == name]
    same = exact or [column for column in source.columns if column.name.lower() == name.lower()]
    if len(same) != 1:
        names = [column.name for column in source.columns]
        raise ConfigError(f"{path}: there is no column {name}{nearest_name(name, names)}; it has {shortened(names)}")
    return same[0]


def position_columns(source: TableSource, names: str | None, path: Path) -> tuple[str, str]:
    """Return the columns of right ascension and declination.

    Parameters
    ----------
    source : TableSource
        The table.
    names : str or None
        `RA,DEC` as the user has typed them; None looks for names that are known.
    path : Path
        Its file, for messages.

    Raises
    ------
    ConfigError, DataError
        If there are no such columns, or they do not hold numbers.
    """
    if names is None:
        cure = "name the columns of the positions [deg]"
        chosen = choose_columns([column.name for column in source.columns], _POSITIONS, (), path, cure)
        pair = [chosen["ra"], chosen["dec"]]
    else:
        pair = [name.strip() for name in names.split(",")]
        if len(pair) != 2:
            raise ConfigError(f"{names!r} does not name two columns; write RA,DEC with the columns' own names")
    columns = [by_name(source, name, path) for name in pair]
    for column in columns:
        if np.dtype(column.dtype).kind not in "iuf" or np.dtype(column.dtype).shape:
            raise DataError(f"{path}: column {column.name} does not hold one number a row, so it is no position")
        if column.unit.lower() not in ("", "deg", "degree", "degrees"):
            raise DataError(f"{path}: column {column.name} is in {column.unit}; positions must be in degrees")
    return columns[0].name, columns[1].name


def read_whole(source: TableSource, names: Sequence[str]) -> Mapping[str, np.ndarray]:
    """Return columns of a whole table."""
    kinds = {column.name: np.dtype(column.dtype) for column in source.columns}
    parts = list(source.parts(list(names), 1_000_000))
    empty = np.zeros(0, dtype=[(name, kinds[name]) for name in names])
    return {name: np.concatenate([empty[name], *(part[name] for part in parts)]) for name in names}
