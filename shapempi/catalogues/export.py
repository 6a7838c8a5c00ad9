"""A catalogue in the form that another program reads: chosen columns, another grammar, primary objects."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shapempi.catalog import Column, fitted
from shapempi.catalogues.opened import OpenCatalogue, open_catalogue
from shapempi.errors import ConfigError
from shapempi.grammar import Translation, translation
from shapempi.io.column_list import read_column_list
from shapempi.io.table import Layout, chunk_rows
from shapempi.io.table_file import create_table

__all__ = ["FRAME", "Chosen", "Progress", "count_rows", "export_table", "primary_rows", "silent"]

#: Told (steps done, steps in all, name of the step), as `report.progress.counter` takes it.
Progress = Callable[[int, int, str], None]

#: Frame of g1 and g2, as files say it.
FRAME = "u West, v North; TreeCorr reads g1 and g2 as they are"
_PRIMARY = "FLAG_TILING"


def silent(done: int, total: int, text: str) -> None:
    """Show no progress."""


@dataclass(frozen=True)
class Chosen:
    """What is taken of a catalogue.

    Attributes
    ----------
    grammar : str
        Names of the columns: `native`, `legacy` or `v2`.
    columns : Path or None
        A list of the columns that are wanted; None for all.
    primary : bool
        Whether to take primary objects alone.
    """

    grammar: str = "native"
    columns: Path | None = None
    primary: bool = False


def export_table(
    source: Path,
    target: Path,
    kind: str,
    chosen: Chosen = Chosen(),
    *,
    overwrite: bool,
    progress: Progress = silent,
) -> int:
    """Copy a catalogue to a table in another format, some rows at a time.

    Parameters
    ----------
    source : Path
        The catalogue: a run, a file, or the folder of several.
    target : Path
        File to write; the table is named `RESULTS`.
    kind : str
        One of `shapempi.io.table_file.WRITERS`.
    chosen : Chosen, optional
        What is taken.
    overwrite : bool
        Whether a file that is there may be replaced.
    progress : callable, optional
        Told (rows done, rows in all, `rows`) whenever there are more to come.

    Returns
    -------
    int
        Rows written.

    Raises
    ------
    ConfigError
        If the target is there and must not be replaced, or the list of columns cannot be used.
    MissingInputError, DataError, EngineError
        If the catalogue or the list is not there or cannot be used, or the format needs a package that is not there.
    """
    with open_catalogue(source) as catalogue:
        how = _translation(catalogue, chosen)
        n_row = count_rows(catalogue, chosen.primary)
        attributes: dict[str, str | int | float] = {
            "SHEAR_FRAME": FRAME,
            "GRAMMAR": chosen.grammar,
            "PRIMARY_ONLY": int(chosen.primary),
        }
        layout = Layout("RESULTS", how.columns, n_row, attributes)
        with create_table(target, layout, kind, overwrite=overwrite) as sink:
            for rows in primary_rows(catalogue, how.needs, chosen.primary, n_row, progress):
                sink.append(how.translate(rows))
    return n_row


def _translation(catalogue: OpenCatalogue, chosen: Chosen) -> Translation:
    """Return how the columns that are wanted are made; columns from maps of the sky have one name in all grammars."""
    full = translation(chosen.grammar, catalogue.names)
    declared = {column.name for column in translation("native").columns}
    own = {column.name: column for column in catalogue.columns if column.name not in declared}
    known = {**{column.name: column for column in full.columns}, **own}
    if not known:
        raise ConfigError(f"{catalogue.path}: none of its columns has a name in the grammar {chosen.grammar}")
    names = list(known)
    if chosen.columns is not None:
        names = read_column_list(chosen.columns, names, f"the catalogue {catalogue.path} ({chosen.grammar} names)")
    part = translation(chosen.grammar, catalogue.names, [name for name in names if name not in own])
    kinds = {column.name: column.dtype for column in catalogue.columns}
    columns = fitted((known[name] for name in names), tile_width=np.dtype(kinds.get("tile", "S0")).itemsize)
    needs = (*part.needs, *(name for name in names if name in own))
    return Translation(columns, needs, _joined(part, columns, own))


def _joined(part: Translation, columns: Sequence[Column], own: dict[str, Column]) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function that makes rows of translated columns and of a catalogue's own."""
    dtype = Layout("", tuple(columns), 0, {}).dtype

    def translate(rows: np.ndarray) -> np.ndarray:
        table, translated = np.empty(len(rows), dtype=dtype), part.translate(rows)
        for column in columns:
            table[column.name] = (rows if column.name in own else translated)[column.name]
        return table

    return translate


def count_rows(catalogue: OpenCatalogue, primary: bool) -> int:
    """Return the number of primary objects, or of all.

    Raises
    ------
    ConfigError
        If primary objects are wanted, and nothing says which they are.
    """
    if not primary:
        return catalogue.n_row
    if _PRIMARY not in catalogue.names:
        raise ConfigError(f"{catalogue.path}: it has no column {_PRIMARY}, so nothing says which objects are primary")
    return sum(int(np.count_nonzero(rows[_PRIMARY] == 1)) for rows in catalogue.parts([_PRIMARY], 1_000_000))


def primary_rows(
    catalogue: OpenCatalogue, names: Sequence[str], primary: bool, n_row: int, progress: Progress
) -> Iterator[np.ndarray]:
    """Yield rows of a catalogue in parts that fit the memory, of primary objects alone or of all.

    Parameters
    ----------
    catalogue : OpenCatalogue
        The catalogue.
    names : sequence of str
        Columns that the rows must have.
    primary : bool
        Whether to leave out what is not primary.
    n_row : int
        What `count_rows` says.
    progress : callable
        Told (rows done, rows in all, `rows`) whenever a part is used and there are more to come.
    """
    wanted = list(dict.fromkeys([*names, *([_PRIMARY] if primary else [])]))
    kinds = {column.name: column for column in catalogue.columns}
    size, done = chunk_rows(Layout("", tuple(kinds[name] for name in wanted), 0, {}).dtype), 0
    for part in catalogue.parts(wanted, size):
        rows = part[part[_PRIMARY] == 1] if primary else part
        yield rows
        done += len(rows)
        if done < n_row:
            progress(done, n_row, "rows")
