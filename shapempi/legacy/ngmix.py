"""The shapes of a tile's objects, an HDU for each metacalibration type, `ngmix` (behaviour specification, 11.1)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shapempi.catalog import COLUMNS, Column, dtype_of
from shapempi.flags import NO_RESULT
from shapempi.ids import TileId
from shapempi.io.result_tables import write_result_tables
from shapempi.legacy.part import TILE, Part, Product, Written, number_of
from shapempi.legacy.source import LegacySource
from shapempi.legacy.tile_epochs import read_epochs

__all__ = ["NGMIX", "TYPES"]

#: The HDUs in their order.
TYPES = ("1m", "1p", "2m", "2p", "noshear")

#: Columns that are the same in all HDUs, and the columns of the run's catalogue that they are.
_SHARED = {
    "id": "NUMBER",
    "n_epoch_model": "n_epoch_used",
    "moments_fail": "moments_failed",
    "g1_psfo_ngmix": "psf_g1",
    "g2_psfo_ngmix": "psf_g2",
    "T_psfo_ngmix": "psf_T",
    "mcal_flags": "mcal_flags",
}

#: Columns of each type: in the catalogue they have its name at their end.
_OF_TYPE = ("g1", "g1_err", "g2", "g2_err", "T", "T_err", "Tpsf", "flux", "flux_err", "s2n", "mag", "mag_err", "flags")

_UNITS = {column.name: column.unit for column in COLUMNS}


def _shared(name: str, dtype: str, meaning: str) -> Column:
    return Column(name, dtype, _UNITS[_SHARED[name]], meaning)


def _of_type(name: str, dtype: str, meaning: str) -> Column:
    return Column(name, dtype, _UNITS[f"{name}_noshear"], meaning)


_COLUMNS = (
    _shared("id", "i8", "NUMBER of the object in its tile."),
    _shared("n_epoch_model", "i4", "Epochs that entered the fit."),
    _shared("moments_fail", "i4", "1 if no epoch gave a guess by moments."),
    Column("ntry_fit", "i4", "", "Tries of the fit: -1, a run does not record them."),
    _shared("g1_psfo_ngmix", "f8", "g1 of the original PSF, mean over epochs."),
    _shared("g2_psfo_ngmix", "f8", "g2 of the original PSF, mean over epochs."),
    _shared("T_psfo_ngmix", "f8", "T = 2 sigma^2 of the original PSF."),
    Column("g1_err_psfo_ngmix", "f8", "", "NaN: a run does not keep it."),
    Column("g2_err_psfo_ngmix", "f8", "", "NaN: a run does not keep it."),
    Column("T_err_psfo_ngmix", "f8", "arcsec2", "NaN: a run does not keep it."),
    _of_type("g1", "f8", "g1 of the galaxy."),
    _of_type("g1_err", "f8", "Error of g1."),
    _of_type("g2", "f8", "g2 of the galaxy."),
    _of_type("g2_err", "f8", "Error of g2."),
    _of_type("T", "f8", "T = 2 sigma^2 of the galaxy."),
    _of_type("T_err", "f8", "Error of T."),
    _of_type("Tpsf", "f8", "T of the reconvolution PSF."),
    Column("g1_psf", "f8", "", "g1 of the reconvolution PSF; NaN if unknown."),
    Column("g2_psf", "f8", "", "g2 of the reconvolution PSF; NaN if unknown."),
    _of_type("flux", "f8", "Model flux at the survey's zero point."),
    _of_type("flux_err", "f8", "Error of flux."),
    _of_type("s2n", "f8", "Signal-to-noise ratio of the model."),
    _of_type("mag", "f8", "Magnitude of flux."),
    _of_type("mag_err", "f8", "Error of mag."),
    _of_type("flags", "i4", "Fit flags; 0 is good."),
    _shared("mcal_flags", "i4", "OR of flags over the types."),
)

#: The target PSF that keeps the shape of the original one, which no column of a run's catalogue has.
_SHAPED = "dilate"


def _write(source: LegacySource, tile: TileId, folder: Path) -> Written:
    """Write the objects of a tile that have a shape."""
    path = folder / f"ngmix{number_of(tile)}.fits"
    rows = source.rows.read(tile, read_epochs(source, tile).number)
    rows = rows[(rows["shape_flags"] & int(NO_RESULT)) == 0]
    round_target = source.view.settings.shapes.target_psf != _SHAPED
    tables = {kind.upper(): _table(rows, kind, 0.0 if round_target else np.nan) for kind in TYPES}
    write_result_tables(path, tables, _COLUMNS, overwrite=source.overwrite)
    return Written((path,))


def _table(rows: np.ndarray, kind: str, target_shape: float) -> np.ndarray:
    """Return the HDU of one type."""
    table = np.zeros(len(rows), dtype_of(_COLUMNS))
    for name, native in _SHARED.items():
        table[name] = rows[native]
    for name in _OF_TYPE:
        table[name] = rows[f"{name}_{kind}"]
    table["ntry_fit"] = -1
    for name in ("g1_err_psfo_ngmix", "g2_err_psfo_ngmix", "T_err_psfo_ngmix"):
        table[name] = np.nan
    table["g1_psf"] = table["g2_psf"] = target_shape
    return table


NGMIX = Product(
    "shapes of each object of a tile, by metacalibration type", (Part(TILE, "ngmix_runner", _write),), gathered=True
)
