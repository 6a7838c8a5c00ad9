"""The PSF of every object in every epoch, `galaxy_psf` (behaviour specification, section 8, MULTI-EPOCH)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from shapempi.ids import CcdId, TileId
from shapempi.io.sqlite_dict import create_sqlite_dict
from shapempi.legacy.part import TILE, Part, Product, Written, number_of
from shapempi.legacy.source import LegacySource
from shapempi.legacy.tile_epochs import EpochPsf, draw_tile, read_epochs

__all__ = ["EMPTY", "GALAXY_PSF"]

#: What stands for an object without epoch.
EMPTY = "empty"


def _write(source: LegacySource, tile: TileId, folder: Path) -> Written:
    """Write the store of a tile."""
    path = folder / f"galaxy_psf{number_of(tile)}.sqlite"
    found = read_epochs(source, tile)
    with create_sqlite_dict(path, overwrite=source.overwrite) as store:
        for part in draw_tile(source, found, source.view.settings.vignet.size):
            ends = np.cumsum(np.bincount(part.epochs["object"], minlength=len(part.number)))
            begins = np.concatenate([[0], ends[:-1]])
            for k, number in enumerate(part.number.tolist()):
                entry = {_name(part, i): _epoch(part, i) for i in range(int(begins[k]), int(ends[k]))}
                store.put(part.first + k + 1, str(number), entry or EMPTY)
    return Written((path,))


def _name(part: EpochPsf, i: int) -> str:
    return str(CcdId(int(part.epochs["exposure"][i]), int(part.epochs["ccd"][i])))


def _epoch(part: EpochPsf, i: int) -> dict[str, Any]:
    """Return the entry of one epoch; FLAG_PSF_HSM is 0 or 1, and the shape is NaN where it is 1."""
    row = part.shapes[i]
    shapes: dict[str, Any] = {name: float(row[name]) for name in ("E1_PSF_HSM", "E2_PSF_HSM", "SIGMA_PSF_HSM")}
    shapes["FLAG_PSF_HSM"] = int(row["FLAG_PSF_HSM"] != 0)
    return {"VIGNET": part.stamps[i].astype(np.float32), "SHAPES": shapes}


GALAXY_PSF = Product(
    "stamps and shapes of the PSF at each object of a tile in each epoch",
    (Part(TILE, "psfex_interp_runner_run_1", _write),),
)
