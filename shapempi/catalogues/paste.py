"""Tables of several files in one: as HDUs, or their columns side by side (behaviour specification, 12.6)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from shapempi.catalog import Column
from shapempi.catalogues.any_table import by_name, open_any
from shapempi.errors import ConfigError, DataError
from shapempi.io.atomic import refuse_existing, replacing
from shapempi.io.fits_table import create_tables
from shapempi.io.table import Layout, TableSource, chunk_rows, even_parts
from shapempi.io.table_file import create_table, format_of

__all__ = ["PasteParams", "Pasted", "paste"]


@dataclass(frozen=True)
class PasteParams:
    """How tables are put together.

    Attributes
    ----------
    hdus : tuple of int, str or None
        The table of each file; empty for the first of each.
    names : tuple of str
        Names of the tables, and suffixes of columns that several have; empty for the names of the files.
    check : str
        Column whose values must be the same in all tables, row by row; empty for none.
    join : bool
        Whether to put columns side by side in one table.
    """

    hdus: tuple[int | str | None, ...] = ()
    names: tuple[str, ...] = ()
    check: str = ""
    join: bool = False


@dataclass(frozen=True)
class Pasted:
    """What was written.

    Attributes
    ----------
    tables : tuple of (str, int, int)
        Name, rows and columns of each table.
    renamed : tuple of str
        Columns that got another name because several tables have them: `OLD -> NEW`.
    """

    tables: tuple[tuple[str, int, int], ...]
    renamed: tuple[str, ...] = ()


def paste(paths: Sequence[Path], output: Path, params: PasteParams, *, overwrite: bool) -> Pasted:
    """Put tables of several files into one file, some rows at a time.

    Parameters
    ----------
    paths : sequence of Path
        The files; a folder is a run or the files of a catalogue.
    output : Path
        FITS file to write, or with `join` one of any format.
    params : PasteParams
        How.
    overwrite : bool
        Whether a file that is there may be replaced.

    Returns
    -------
    Pasted
        What was written.

    Raises
    ------
    ConfigError
        If the output is there already, or numbers and names do not fit the files.
    DataError
        If the tables have different numbers of rows or different values in the column that is checked.
    MissingInputError, EngineError
        If a table cannot be read.
    """
    refuse_existing(output, overwrite=overwrite)
    kind = format_of(output)
    if kind != "fits" and not params.join:
        raise ConfigError(f"{output}: several tables in one file are FITS; let the name end with .fits, or --join them")
    for what, given in (("--hdu", params.hdus), ("--name", params.names)):
        if given and len(given) != len(paths):
            raise ConfigError(f"{what} has {len(given)} entries for {len(paths)} files; give one for each")
    names = params.names or tuple(_stem(path) for path in paths)
    if len({name.lower() for name in names}) < len(names):
        raise ConfigError(f"two tables would have the same name ({', '.join(names)}); give --name A,B,...")
    hdus = params.hdus or (None,) * len(paths)
    with ExitStack() as stack:
        sources = [stack.enter_context(open_any(path, hdu)) for path, hdu in zip(paths, hdus, strict=True)]
        if params.check:
            _check(sources, paths, params.check)
        if params.join:
            return _join(sources, paths, names, output, kind, params)
        with replacing(output) as temporary, create_tables(temporary) as add:
            for source, name in zip(sources, names, strict=True):
                sink = add(Layout(name, source.columns, source.n_row, {}))
                for rows in source.parts([column.name for column in source.columns], _size(source.columns)):
                    sink.append(rows)
    tables = ((name, each.n_row, len(each.columns)) for name, each in zip(names, sources, strict=True))
    return Pasted(tuple(tables))


def _stem(path: Path) -> str:
    """Return the name of a file without its endings."""
    return path.name.split(".")[0] or path.name


def _size(columns: Sequence[Column]) -> int:
    return chunk_rows(Layout("", tuple(columns), None, {}).dtype)


def _check(sources: Sequence[TableSource], paths: Sequence[Path], name: str) -> None:
    """Compare a column of all tables, row by row."""
    own = [by_name(source, name, path).name for source, path in zip(sources, paths, strict=True)]
    _same_length(sources, paths)
    parts = [even_parts(source, [column], 1_000_000) for source, column in zip(sources, own, strict=True)]
    done = 0
    for first, *others in zip(*parts, strict=True):
        for path, column, rows in zip(paths[1:], own[1:], others, strict=True):
            one, other = first[own[0]], rows[column]
            differs = one != other
            if one.dtype.kind == "f" and other.dtype.kind == "f":
                differs &= ~(np.isnan(one) & np.isnan(other))
            bad = np.flatnonzero(differs.reshape(len(first), -1).any(axis=1))
            if len(bad):
                row = int(bad[0])
                raise DataError(
                    f"{path}: {column} is {other[row]} in row {done + row + 1}, but {one[row]} in {paths[0]}; "
                    "the tables are not of the same objects in the same order"
                )
        done += len(first)


def _same_length(sources: Sequence[TableSource], paths: Sequence[Path]) -> None:
    for path, source in zip(paths[1:], sources[1:], strict=True):
        if source.n_row != sources[0].n_row:
            raise DataError(
                f"{path} has {source.n_row} rows, but {paths[0]} {sources[0].n_row}; they are not of the same objects"
            )


def _join(
    sources: Sequence[TableSource],
    paths: Sequence[Path],
    names: Sequence[str],
    output: Path,
    kind: str,
    params: PasteParams,
) -> Pasted:
    """Write one table with the columns of all."""
    _same_length(sources, paths)
    taken: set[str] = set()
    new: list[dict[str, Column]] = []  # of each table: its columns under their new names, by their own
    renamed = []
    for number, (source, name) in enumerate(zip(sources, names, strict=True)):
        chosen = {}
        for column in source.columns:
            if number and params.check and column.name.lower() == params.check.lower():
                continue  # the same in all
            kept = column
            if column.name.lower() in taken:
                kept = replace(column, name=f"{column.name}_{name}")
                renamed.append(f"{column.name} -> {kept.name}")
            if kept.name.lower() in taken:
                raise ConfigError(f"{paths[number]}: column {kept.name} is there already; give other names by --name")
            taken.add(kept.name.lower())
            chosen[column.name] = kept
        new.append(chosen)
    columns = tuple(column for each in new for column in each.values())
    layout = Layout("PASTED", columns, sources[0].n_row, {})
    size = _size(columns)
    with create_table(output, layout, kind, overwrite=True) as sink:
        parts = [even_parts(source, list(each), size) for source, each in zip(sources, new, strict=True) if each]
        having = [each for each in new if each]
        for rows in zip(*parts, strict=True):
            table = np.empty(len(rows[0]), dtype=layout.dtype)
            for part, each in zip(rows, having, strict=True):
                for name, column in each.items():
                    table[column.name] = part[name]
            sink.append(table)
    return Pasted((("PASTED", sources[0].n_row, len(columns)),), tuple(renamed))
