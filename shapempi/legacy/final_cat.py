"""The catalogue of a tile, `final_cat` (behaviour specification, section 12.1)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shapempi.catalog import DETECTION_COLUMNS, Column, dtype_of, fitted
from shapempi.grammar import columns_of, translator
from shapempi.ids import TileId
from shapempi.io.result_tables import write_result_tables
from shapempi.legacy.part import TILE, Part, Product, Written, number_of
from shapempi.legacy.source import LegacySource
from shapempi.legacy.tile_epochs import TileEpochs, draw_tile, read_epochs
from shapempi.measure.epochs import count_epochs

__all__ = ["FINAL_CAT"]

#: FWHM of a Gaussian in units of its sigma.
_FWHM = float(2.0 * np.sqrt(2.0 * np.log(2.0)))

#: What is in front, as it is in the reference system; then its other columns, then ours.
_DETECTION = ("NUMBER", *(column.name for column in DETECTION_COLUMNS if column.name != "NUMBER"), "N_EPOCH")
_CLASS = ("TILE_ID", "SPREAD_MODEL", "SPREADERR_MODEL", "SPREAD_CLASS")
_OURS = ("TILE_X", "TILE_Y", "FLAG_TILING")

_EXTENSION = Column("EXT_NUMBER", "i2", "", "Extension of the image: 1.")
_STATUS = Column("SHAPE_FLAGS", "i4", "", "ObjectFlag bits of the shape; 0 is good.")


def _columns() -> tuple[Column, ...]:
    """Return the columns without those of the PSF."""
    named = {column.name: column for column in columns_of("legacy")}
    shapes = [name for name in named if name.startswith("NGMIX_")]
    first, *detection = (named[name] for name in _DETECTION)
    rest = (named[name] for name in (*_CLASS, *shapes, *_OURS))
    return (first, _EXTENSION, *detection, *rest, _STATUS)


def _psf_columns(n_epoch: int, width: int) -> tuple[Column, ...]:
    """Return the columns of the PSF in so many epochs; the number of an exposure has so many digits."""
    return tuple(
        column
        for k in range(1, n_epoch + 1)
        for column in (
            Column(f"PSF_ELL_{k}", "(2,)f8", "", f"g1, g2 of the PSF in epoch {k}, pixel frame."),
            Column(f"PSF_FWHM_{k}", "f8", "pixel", f"FWHM of the PSF in epoch {k}."),
            Column(f"PSF_FLAG_{k}", "i2", "", f"0 if there is a PSF in epoch {k}."),
            Column(f"PSF_EXP_{k}", f"S{width}", "", f"Exposure of epoch {k}."),
            Column(f"PSF_CCD_{k}", "i2", "", f"CCD of epoch {k}; -1 without."),
        )
    )


def _write(source: LegacySource, tile: TileId, folder: Path) -> Written:
    """Write a row for each detection of a tile."""
    path = folder / f"final_cat{number_of(tile)}.fits"
    found = read_epochs(source, tile)
    rows = source.rows.read(tile, found.number)
    columns = fitted(_columns(), tile_width=len(str(tile)))
    n_epoch = int(count_epochs(found.epochs, len(found.number)).max(initial=0)) + 1
    if source.psf_data:
        columns += _psf_columns(n_epoch, max((len(f"{exposure:07d}") for exposure in found.exposures), default=7))
    translated = translator("legacy")(rows)
    table = np.zeros(len(rows), dtype_of(columns))
    for name in translated.dtype.names or ():
        table[name] = translated[name]
    table["EXT_NUMBER"], table["SHAPE_FLAGS"] = 1, rows["shape_flags"]
    if source.psf_data:
        _fill_psf(source, found, table, n_epoch)
    write_result_tables(path, {"RESULTS": table}, columns, overwrite=source.overwrite)
    return Written((path,))


def _fill_psf(source: LegacySource, found: TileEpochs, table: np.ndarray, n_epoch: int) -> None:
    """Write the shape of the PSF in the epochs where it could be measured; the first of them is epoch 1."""
    for k in range(1, n_epoch + 1):
        table[f"PSF_ELL_{k}"], table[f"PSF_FLAG_{k}"], table[f"PSF_CCD_{k}"] = -10.0, 1, -1
    for part in draw_tile(source, found, source.view.settings.vignet.size):
        good = part.shapes["FLAG_PSF_HSM"] == 0
        epochs, shapes = part.epochs[good], part.shapes[good]
        first = np.searchsorted(epochs["object"], epochs["object"], side="left")
        place = np.arange(len(epochs)) - first + 1
        for k in range(1, n_epoch + 1):
            here = place == k
            row = part.first + epochs["object"][here]
            table[f"PSF_ELL_{k}"][row] = np.stack([shapes["E1_PSF_HSM"][here], shapes["E2_PSF_HSM"][here]], axis=-1)
            table[f"PSF_FWHM_{k}"][row] = _FWHM * shapes["SIGMA_PSF_HSM"][here]
            table[f"PSF_FLAG_{k}"][row] = 0
            table[f"PSF_EXP_{k}"][row] = [f"{exposure:07d}".encode() for exposure in epochs["exposure"][here].tolist()]
            table[f"PSF_CCD_{k}"][row] = epochs["ccd"][here]


FINAL_CAT = Product("the final catalogue of each tile", (Part(TILE, "make_cat_runner", _write),), gathered=True)
