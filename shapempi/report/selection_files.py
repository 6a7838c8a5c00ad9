"""The files of a star selection: masks, random parts, statistics, plots and new catalogues.

The folders are those of the behaviour specification, section 6: mask, plot, new_cat, rand_split, stat.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from shapempi.errors import ConfigError
from shapempi.io.ldac import write_ldac, write_table
from shapempi.io.text import write_statistics, write_text_table
from shapempi.measure.setools.outcome import Figure, NewCatalogue, Selection
from shapempi.measure.setools.sections import CatalogueForm
from shapempi.report.selection import save

__all__ = ["OUTPUTS", "write_selection"]

#: Writes one file: path, whether it may be replaced.
_Write = Callable[[Path, bool], None]


@dataclass(frozen=True)
class _Catalogue:
    """The catalogue that a selection was made from."""

    table: np.ndarray
    header: str
    units: Mapping[str, str]

    def write(self, rows: np.ndarray, path: Path, overwrite: bool) -> None:
        """Write some of its rows with all columns."""
        write_ldac(path, self.table[rows], self.header, overwrite=overwrite, units=self.units)


def _masks(found: Selection, source: _Catalogue, number: str) -> Iterator[tuple[str, _Write]]:
    for name, mask in found.masks.items():
        if mask.saved:
            yield f"{name}{number}.fits", partial(source.write, mask.selected)


def _splits(found: Selection, source: _Catalogue, number: str) -> Iterator[tuple[str, _Write]]:
    for name, split in found.splits.items():
        if not split.reason:
            for label, part in zip(split.labels, (split.drawn, split.rest), strict=True):
                yield f"{name}_ratio_{label}{number}.fits", partial(source.write, part)


def _statistics(found: Selection, source: _Catalogue, number: str) -> Iterator[tuple[str, _Write]]:
    sections: dict[str, list[tuple[str, float]]] = {}
    for row in found.statistics:
        sections.setdefault(row.section, []).append((row.label, row.value))
    for name, rows in sections.items():
        yield f"{name}{number}.txt", partial(_write_statistics, rows)


def _write_statistics(rows: Sequence[tuple[str, float]], path: Path, overwrite: bool) -> None:
    write_statistics(path, rows, overwrite=overwrite)


def _plots(found: Selection, source: _Catalogue, number: str) -> Iterator[tuple[str, _Write]]:
    for figure in found.figures():
        yield f"{figure.name}{number}.{figure.file_format}", partial(_write_figure, figure)


def _write_figure(figure: Figure, path: Path, overwrite: bool) -> None:
    save(figure, path)


def _catalogues(found: Selection, source: _Catalogue, number: str) -> Iterator[tuple[str, _Write]]:
    for new in found.catalogues():
        yield f"{new.name}{number}{_ENDINGS[new.form]}", partial(_WRITERS[new.form], new, source)


def _write_ldac(new: NewCatalogue, source: _Catalogue, path: Path, overwrite: bool) -> None:
    write_ldac(path, new.table, source.header, overwrite=overwrite)


def _write_fits(new: NewCatalogue, source: _Catalogue, path: Path, overwrite: bool) -> None:
    write_table(path, new.table, overwrite=overwrite)


def _write_text(new: NewCatalogue, source: _Catalogue, path: Path, overwrite: bool) -> None:
    write_text_table(path, new.table, overwrite=overwrite)


_WRITERS = {CatalogueForm.LDAC: _write_ldac, CatalogueForm.FITS: _write_fits, CatalogueForm.TEXT: _write_text}
_ENDINGS = {CatalogueForm.LDAC: ".fits", CatalogueForm.FITS: ".fits", CatalogueForm.TEXT: ".txt"}

_PLANS: dict[str, Callable[[Selection, _Catalogue, str], Iterator[tuple[str, _Write]]]] = {
    "mask": _masks,
    "plot": _plots,
    "new_cat": _catalogues,
    "rand_split": _splits,
    "stat": _statistics,
}

#: What of a selection can be written; the names of the folders.
OUTPUTS = tuple(_PLANS)


def write_selection(
    found: Selection,
    table: np.ndarray,
    header: str,
    folder: Path,
    number: str,
    kinds: Sequence[str],
    *,
    overwrite: bool,
    units: Mapping[str, str] | None = None,
) -> list[Path]:
    """Write the masks, parts, statistics, plots and new catalogues of a selection.

    Parameters
    ----------
    found : Selection
        The outcome.
    table : structured ndarray [n]
        The table that it was made from.
    header : str
        Header of the table's image, for FITS_LDAC files.
    folder : Path
        Where the folders are made, one for each kind of which there is something to write.
    number : str
        End of the files' names before the ending: `-2113737-10`.
    kinds : sequence of str
        Which of `OUTPUTS` are written.
    overwrite : bool
        Whether files that are there may be replaced; if not and one is there, nothing is written.
    units : mapping of str to str, optional
        Units of the table's columns.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    ConfigError
        If a file is there and must not be replaced, or cannot be written, or two have the same name.
    """
    source = _Catalogue(table, header, dict(units or {}))
    plan = [(folder / kind / name, write) for kind in kinds for name, write in _PLANS[kind](found, source, number)]
    names: dict[str, Path] = {}
    for path, _ in plan:
        other = names.setdefault(str(path).casefold(), path)  # some file systems see no difference of case
        if other is not path:
            raise ConfigError(f"two sections would be written to {other} and {path}; give one another name")
    existing = [path for path, _ in plan if path.exists()]
    if existing and not overwrite:
        more = f" (and {len(existing) - 1} more)" if len(existing) > 1 else ""
        raise ConfigError(f"{existing[0]} is already there{more}; give --overwrite to replace files")
    for path, write in plan:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path, overwrite)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written: {error.strerror}; change --output") from error
    return [path for path, _ in plan]
