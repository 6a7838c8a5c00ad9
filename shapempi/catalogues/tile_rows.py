"""Where the rows of each tile, or of each CCD, are in the tables of a catalogue."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from shapempi.catalogues.opened import OpenCatalogue
from shapempi.errors import DataError
from shapempi.ids import TileId

__all__ = ["Span", "index_tiles", "read_spans"]

#: Rows of one column that are looked at at once.
_ROWS = 1_000_000


@dataclass(frozen=True)
class Span:
    """Rows that follow one another in one file.

    Attributes
    ----------
    file : int
        Index of the file among the catalogue's.
    start, stop : int
        The rows start..stop-1 of the table in that file.
    """

    file: int
    start: int
    stop: int

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.stop - self.start


def index_tiles(table: OpenCatalogue) -> dict[TileId, tuple[Span, ...]]:
    """Return where the rows of each tile are, by the column `tile`.

    Raises
    ------
    DataError
        If the table has no such column, or it names no tiles.
    """
    if "tile" not in table.names:
        raise DataError(f"{table.path}: the catalogue has no column tile; gather or merge makes one that has")
    found: dict[TileId, list[Span]] = {}
    for number, source in enumerate(table.sources):
        done, last = 0, b""
        for part in source.parts(["tile"], _ROWS):
            names = part["tile"]
            edges = np.concatenate([[0], np.flatnonzero(names[1:] != names[:-1]) + 1, [len(names)]])
            for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
                name = bytes(names[start])
                spans = found.setdefault(TileId.parse(name.decode("ascii", "replace")), [])
                if start == 0 and name == last:  # goes on from the part before
                    spans[-1] = Span(number, spans[-1].start, done + stop)
                else:
                    spans.append(Span(number, done + start, done + stop))
                last = name
            done += len(names)
    return {tile: tuple(spans) for tile, spans in found.items()}


def read_spans(table: OpenCatalogue, spans: Sequence[Span], names: Sequence[str]) -> np.ndarray:
    """Return the rows of some spans, one after the other."""
    parts: Iterator[np.ndarray] = (table.sources[span.file].rows(names, span.start, span.stop) for span in spans)
    return np.concatenate([table.sources[0].rows(names, 0, 0), *parts])
