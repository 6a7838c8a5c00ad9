"""The catalogue of a run, one tile at a time."""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np

from shapempi.errors import DataError, MissingInputError
from shapempi.ids import TileId
from shapempi.io.catalog import INDEX, read_table, shard_files

__all__ = ["TileRows"]

#: Rows of one column that are looked at at once.
_STEP = 1_000_000


class TileRows:
    """Where the rows of each tile are in the catalogue of a run.

    Parameters
    ----------
    folder : Path
        The run, gathered.

    Raises
    ------
    MissingInputError, DataError
        If there is no catalogue, or its files are not those of its index.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        several = folder / "catalogue"
        if (folder / "catalogue.h5").is_file():
            self._files = [folder / "catalogue.h5"]
        elif (several / INDEX).is_file():
            self._files = shard_files(several)
        else:
            raise MissingInputError(
                f"{folder}: the run has no catalogue, from which this is made; make it with `shapempi gather {folder}`"
            )

    @cached_property
    def _places(self) -> dict[bytes, tuple[Path, int, int]]:
        """File, first row and end of each tile's rows, which follow one another."""
        found: dict[bytes, tuple[Path, int, int]] = {}
        for path in self._files:
            start = 0
            while len(names := read_table(path, columns=["tile"], rows=slice(start, start + _STEP))["tile"]):
                edges = [0, *(np.flatnonzero(names[1:] != names[:-1]) + 1).tolist(), len(names)]
                for first, end in pairwise(edges):
                    name = bytes(names[first])
                    _, before, _ = found.get(name, (path, start + first, 0))
                    found[name] = path, before, start + end
                start += len(names)
        return found

    def read(self, tile: TileId, number: np.ndarray) -> np.ndarray:
        """Return the rows of a tile.

        Parameters
        ----------
        tile : TileId
            The tile.
        number : ndarray of int [n]
            NUMBER of the objects that it must have, sorted.

        Returns
        -------
        structured ndarray [n]
            All columns.

        Raises
        ------
        DataError
            If the catalogue lacks some of the objects, or has others.
        """
        path, start, end = self._places.get(str(tile).encode(), (self._files[0], 0, 0))
        rows = read_table(path, rows=slice(start, end))
        if not np.array_equal(rows["NUMBER"], number):
            raise DataError(
                f"{tile.uid}: the catalogue has {len(rows)} rows of it, and the run detected {len(number)} objects; "
                f"when the run is complete, gather it again: `shapempi gather {self._folder} --overwrite`"
            )
        return rows
