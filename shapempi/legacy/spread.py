"""The spread model of a tile's objects, `sexcat_sm` (behaviour specification, section 10)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shapempi.catalog import Column, dtype_of
from shapempi.ids import TileId
from shapempi.io.ldac import write_ldac
from shapempi.legacy.part import TILE, Part, Product, Written, number_of
from shapempi.legacy.source import LegacySource
from shapempi.legacy.tile_epochs import read_epochs

__all__ = ["SPREAD"]

_COLUMNS = (
    Column("NUMBER", "i4", "", ""),
    Column("MAG", "f8", "mag", ""),
    Column("SPREAD_MODEL", "f8", "", ""),
    Column("SPREADERR_MODEL", "f8", "", ""),
)


def _write(source: LegacySource, tile: TileId, folder: Path) -> Written:
    """Write the spread model of a tile's objects (OUTPUT_MODE new)."""
    path = folder / f"sexcat_sm{number_of(tile)}.fits"
    found = source.rows.read(tile, read_epochs(source, tile).number)
    header = str(source.view.reader.read(source.view.need(tile.uid), names=()).attrs["header"])
    rows = np.zeros(len(found), dtype_of(_COLUMNS))
    rows["MAG"] = found["MAG_AUTO"]
    for name in ("NUMBER", "SPREAD_MODEL", "SPREADERR_MODEL"):
        rows[name] = found[name]
    write_ldac(path, rows, header, overwrite=source.overwrite, units={"MAG": "mag"})
    return Written((path,))


SPREAD = Product("spread model of each object of a tile", (Part(TILE, "spread_model_runner", _write),), gathered=True)
