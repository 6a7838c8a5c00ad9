"""The catalogue of a run, of a merge, or of several files: one table of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shapempi.catalog import Column
from shapempi.config import load
from shapempi.errors import DataError, MissingInputError
from shapempi.io.catalog import INDEX, read_attributes, shard_files
from shapempi.io.hdf5_table import Hdf5Source, open_hdf5

__all__ = ["STEP", "OpenCatalogue", "applied_step", "catalogue_files", "open_catalogue"]

#: What `shapempi gather` makes in the folder of a run.
_ONE, _SEVERAL = "catalogue.h5", "catalogue"
#: Attribute of a merged catalogue: the shear that was applied to its images.
STEP = "metacal_step"


def catalogue_files(path: Path) -> list[Path]:
    """Return the files of a catalogue.

    Parameters
    ----------
    path : Path
        A file that `shapempi gather` or `shapempi merge` made, the folder of several, or the folder of a run.

    Raises
    ------
    MissingInputError, DataError
        If there is none, or its files are not those of its index.
    """
    if path.is_file():
        return [path]
    if (path / INDEX).is_file():
        return shard_files(path)
    if (path / _ONE).is_file():
        return [path / _ONE]
    if (path / _SEVERAL / INDEX).is_file():
        return shard_files(path / _SEVERAL)
    if path.is_dir():
        raise MissingInputError(f"{path}: there is no catalogue; make it with `shapempi gather {path}`")
    raise MissingInputError(f"{path}: there is no such run or catalogue")


@dataclass(frozen=True)
class OpenCatalogue:
    """One table of a catalogue, of one file or several.

    Attributes
    ----------
    path : Path
        What was opened.
    columns : tuple of Column
        Its columns, with units and meanings.
    n_row : int
        Its rows.
    attributes : dict
        Attributes of the first file.
    sources : tuple of Hdf5Source
        The table in each file, in order.
    """

    path: Path
    columns: tuple[Column, ...]
    n_row: int
    attributes: dict[str, Any]
    sources: tuple[Hdf5Source, ...]

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return [column.name for column in self.columns]

    def parts(self, names: Sequence[str], n_row: int) -> Iterator[np.ndarray]:
        """Yield the rows in order, at most n_row at a time, with the columns named."""
        for source in self.sources:
            yield from source.parts(names, n_row)


@contextmanager
def open_catalogue(path: Path, table: str = "catalogue") -> Iterator[OpenCatalogue]:
    """Open a table of a catalogue.

    Parameters
    ----------
    path : Path
        As for `catalogue_files`.
    table : str, optional
        The table.

    Yields
    ------
    OpenCatalogue
        The table, as long as the block lasts.

    Raises
    ------
    MissingInputError, DataError
        If there is no such catalogue or table, or its files differ in their columns.
    """
    files = catalogue_files(path)
    with ExitStack() as stack:
        sources = tuple(stack.enter_context(open_hdf5(file, table)) for file in files)
        columns = sources[0].columns
        for file, source in zip(files, sources, strict=True):
            if [each.name for each in source.columns] != [each.name for each in columns]:
                raise DataError(f"{file}: its columns are not those of {files[0]}; gather the run again")
        n_row = sum(source.n_row for source in sources)
        yield OpenCatalogue(path, columns, n_row, read_attributes(files[0]), sources)


def applied_step(path: Path) -> float | None:
    """Return the shear that was applied to the images of a catalogue, in each direction; None if nothing says it.

    A merged catalogue says it itself, that of a run is in the run's configuration.
    """
    files = catalogue_files(path)
    attributes = read_attributes(files[0])
    if STEP in attributes:
        return float(attributes[STEP])
    for folder in (path, *files[0].parents[:2]):
        if (folder / "config.toml").is_file() and (folder / "plan.json").is_file():
            return float(load(folder / "config.toml").shapes.step)
    return None
