"""Columns of an external catalogue for the objects of a catalogue, by position (behaviour specification, 12.5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.spatial import KDTree

from shapempi.catalog import Column
from shapempi.catalogues.any_table import by_name, open_any, position_columns, read_whole
from shapempi.errors import ConfigError, DataError
from shapempi.io.atomic import refuse_existing, replacing
from shapempi.io.fits_table import create_tables, open_fits, table_names
from shapempi.io.table import Layout, TableSink, TableSource, chunk_rows
from shapempi.io.table_file import create_table, format_of
from shapempi.wcs import ARCSEC, unit_vectors

__all__ = ["DISTANCE", "MATCHED", "MatchParams", "Matched", "match", "nearest"]

#: Columns that matching makes: the distance, and where rows without a match are kept whether there is one.
DISTANCE, MATCHED = "DISTANCE", "MATCHED"


@dataclass(frozen=True)
class MatchParams:
    """How catalogues are matched.

    Attributes
    ----------
    tolerance : float
        A match is nearer than this [arcsec].
    position, external_position : str or None
        `RA,DEC`: the columns of the positions [deg]; None looks for names that are known.
    copy : tuple of str
        Columns of the external catalogue to copy; all if there are none.
    suffix : str
        What is added to the names of copied columns.
    unique : bool
        Whether an external object serves only the nearest of the objects that it is nearest to.
    mark : float or None
        What copied numbers are in rows without a match, which are kept then; None leaves such rows out.
    keep : bool
        Whether rows without a match are kept although there is no mark: floats are NaN, texts empty.
    distance : bool
        Whether to write the column DISTANCE [arcsec].
    hdu, external_hdu : int, str or None
        Tables in the files; None for the first.
    epochs : bool
        Whether to copy the same rows of the EPOCH tables of the catalogue, which are FITS then.
    """

    tolerance: float = 0.3
    position: str | None = None
    external_position: str | None = None
    copy: tuple[str, ...] = ()
    suffix: str = "_ext"
    unique: bool = False
    mark: float | None = None
    keep: bool = False
    distance: bool = False
    hdu: int | str | None = None
    external_hdu: int | str | None = None
    epochs: bool = False


@dataclass(frozen=True)
class Matched:
    """What was found.

    Attributes
    ----------
    n_row, n_matched, n_written : int
        Objects of the catalogue, those with a match, and rows written.
    n_external, n_shared : int
        External objects, and how many of them are the match of several objects.
    """

    n_row: int
    n_matched: int
    n_written: int
    n_external: int
    n_shared: int


def nearest(
    ra: np.ndarray,
    dec: np.ndarray,
    external_ra: np.ndarray,
    external_dec: np.ndarray,
    tolerance: float,
    *,
    unique: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest external object of every object, on the sphere.

    Parameters
    ----------
    ra, dec : ndarray of float64 [n]
        Positions [deg]; one that is not finite has no match.
    external_ra, external_dec : ndarray of float64 [m]
        Positions of the external objects [deg].
    tolerance : float
        A match is nearer than this [arcsec].
    unique : bool, optional
        Whether an external object serves only the nearest of the objects that it is nearest to; the first of equals.

    Returns
    -------
    index : ndarray of int64 [n]
        The external object; -1 without a match.
    distance : ndarray of float64 [n]
        Its distance [arcsec]; NaN without a match.
    """
    index = np.full(len(ra), -1, dtype=np.int64)
    distance = np.full(len(ra), np.nan)
    known = np.flatnonzero(np.isfinite(external_ra) & np.isfinite(external_dec))
    asked = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
    if not len(known) or not len(asked):
        return index, distance
    tree = KDTree(unit_vectors(external_ra[known], external_dec[known]))
    limit = 2.0 * np.sin(min(tolerance / ARCSEC, np.pi) / 2.0)
    chord, place = tree.query(unit_vectors(ra[asked], dec[asked]), distance_upper_bound=limit)
    near = place < len(known)
    found = asked[near]
    index[found] = known[place[near]]
    distance[found] = 2.0 * np.arcsin(np.minimum(chord[near] / 2.0, 1.0)) * ARCSEC
    if unique:
        order = found[np.lexsort((found, distance[found]))]
        best = np.unique(index[order], return_index=True)[1]
        losers = np.setdiff1d(found, order[best])
        index[losers], distance[losers] = -1, np.nan
    return index, distance


def match(catalogue: Path, external: Path, output: Path, params: MatchParams, *, overwrite: bool) -> Matched:
    """Write the rows of a catalogue with columns of an external one; the table is named MATCHED.

    Memory is that of the positions, of the columns that are copied, and of some rows.

    Parameters
    ----------
    catalogue : Path
        A table, or a run.
    external : Path
        The external catalogue.
    output : Path
        File to write.
    params : MatchParams
        How.
    overwrite : bool
        Whether a file that is there may be replaced.

    Returns
    -------
    Matched
        What was found; without any match nothing is written.

    Raises
    ------
    ConfigError
        If the output is there already, or names and values do not fit.
    MissingInputError, DataError, EngineError
        If a table cannot be read.
    """
    if not (np.isfinite(params.tolerance) and params.tolerance > 0):
        raise ConfigError(f"the tolerance must be greater than 0 arcsec, not {params.tolerance}")
    refuse_existing(output, overwrite=overwrite)
    kind = format_of(output)
    if params.epochs and kind != "fits":
        raise ConfigError(f"{output}: --epochs copies FITS tables; let the name end with .fits")
    with ExitStack() as stack:
        source = stack.enter_context(open_any(catalogue, params.hdu))
        other = stack.enter_context(open_any(external, params.external_hdu))
        names = position_columns(source, params.position, catalogue)
        other_names = position_columns(other, params.external_position, external)
        copied = _copied(source, other, params, external)
        theirs = read_whole(other, list(dict.fromkeys([*other_names, *copied])))
        ours = read_whole(source, names)
        ra, dec = (np.asarray(ours[name], dtype=float) for name in names)
        external_ra, external_dec = (np.asarray(theirs[name], dtype=float) for name in other_names)
        index, distance = nearest(ra, dec, external_ra, external_dec, params.tolerance, unique=params.unique)
        used = np.bincount(index[index >= 0], minlength=1)
        n_matched = int(np.count_nonzero(index >= 0))
        keep = np.arange(len(index)) if _keeps(params) else np.flatnonzero(index >= 0)
        result = Matched(len(index), n_matched, len(keep), other.n_row, int(np.count_nonzero(used > 1)))
        if not n_matched:
            return replace(result, n_written=0)
        added = [*copied.values(), *([_DISTANCE] if params.distance else []), *([_MATCHED] if _keeps(params) else [])]
        layout = Layout("MATCHED", (*source.columns, *added), len(keep), {})
        with _created(output, layout, kind, catalogue if params.epochs else None, keep) as sink:
            size = chunk_rows(layout.dtype)
            done = 0
            for rows in source.parts([column.name for column in source.columns], size):
                mine = keep[np.searchsorted(keep, done) : np.searchsorted(keep, done + len(rows))]
                table = np.zeros(len(mine), dtype=layout.dtype)
                for column in source.columns:
                    table[column.name] = rows[column.name][mine - done]
                for name, column in copied.items():
                    table[column.name] = _values(theirs[name], index[mine], params.mark)
                if params.distance:
                    table[DISTANCE] = distance[mine]
                if _keeps(params):
                    table[MATCHED] = index[mine] >= 0
                sink.append(table)
                done += len(rows)
    return result


_DISTANCE = Column(DISTANCE, "f8", "arcsec", "Distance to the matched external object.")
_MATCHED = Column(MATCHED, "i2", "", "1 if there is a matched external object.")


def _keeps(params: MatchParams) -> bool:
    return params.keep or params.mark is not None


def _copied(source: TableSource, other: TableSource, params: MatchParams, external: Path) -> dict[str, Column]:
    """Return the columns to copy under their new names, by their own.

    Raises
    ------
    ConfigError
        If a new name is taken, or a column cannot say that there is no match.
    """
    names = params.copy or tuple(column.name for column in other.columns)
    columns = [by_name(other, name, external) for name in names]
    taken = {column.name.lower() for column in source.columns}
    taken |= {DISTANCE.lower()} if params.distance else set()
    taken |= {MATCHED.lower()} if _keeps(params) else set()
    copied = {}
    for column in columns:
        new = column.name + params.suffix
        if new.lower() in taken:
            raise ConfigError(f"{external}: {column.name} would become {new}, which is there already; choose --suffix")
        if column.dtype == "O":
            raise ConfigError(f"{external}: {column.name} holds neither numbers nor text; choose others by --copy")
        taken.add(new.lower())
        dtype = np.dtype(column.dtype).base
        if _keeps(params) and dtype.kind in "iub":
            mark = params.mark
            if mark is None:
                raise ConfigError(f"{external}: {column.name} holds integers, which cannot be NaN; give --mark VALUE")
            limits = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
            if not (np.isfinite(mark) and mark == int(mark) and limits[0] <= mark <= limits[1]):
                raise ConfigError(f"{external}: {column.name} holds integers ({dtype}), which cannot be {mark:g}")
        copied[column.name] = replace(column, name=new)
    return copied


def _values(values: np.ndarray, index: np.ndarray, mark: float | None) -> np.ndarray:
    """Return a copied column: rows without a match have the mark, texts are empty there."""
    result = values[np.maximum(index, 0)]
    lost = index < 0
    if lost.any():
        if result.dtype.kind in "SU":
            result[lost] = b"" if result.dtype.kind == "S" else ""
        else:
            result[lost] = np.nan if mark is None else mark
    return result


@contextmanager
def _created(path: Path, layout: Layout, kind: str, epochs_of: Path | None, keep: np.ndarray) -> Iterator[TableSink]:
    """Write the table; behind it, the same rows of the EPOCH tables of a FITS file."""
    if epochs_of is None:
        with create_table(path, layout, kind, overwrite=True) as sink:
            yield sink
        return
    names = [name for name in _epoch_tables(epochs_of) if name.upper().startswith("EPOCH")]
    if not names:
        raise DataError(f"{epochs_of}: there is no table EPOCH_..., so --epochs has nothing to copy")
    with replacing(path) as temporary, create_tables(temporary) as add:
        yield add(layout)
        for name in names:
            with open_fits(epochs_of, name) as table:
                _copy_rows(add, table, name, keep, epochs_of)


def _epoch_tables(path: Path) -> Sequence[str]:
    if path.is_dir() or format_of(path) != "fits":
        raise ConfigError(f"{path}: --epochs copies the EPOCH tables of a FITS file, which this is not")
    return table_names(path)


def _copy_rows(add: Callable[[Layout], TableSink], table: TableSource, name: str, keep: np.ndarray, path: Path) -> None:
    """Copy some rows of a table."""
    if len(keep) and keep[-1] >= table.n_row:
        raise DataError(f"{path}: table {name} has {table.n_row} rows, fewer than the catalogue")
    sink = add(Layout(name, table.columns, len(keep), {}))
    done = 0
    for rows in table.parts([column.name for column in table.columns], 100_000):
        mine = keep[np.searchsorted(keep, done) : np.searchsorted(keep, done + len(rows))]
        sink.append(rows[mine - done])
        done += len(rows)
