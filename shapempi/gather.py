"""Merge the part files of a run to one catalogue, completely or not without saying so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shapempi.catalog import (
    COLUMNS,
    EPOCH_COLUMNS,
    PSF_STATUS_COLUMNS,
    STAR_COLUMNS,
    STAR_STATISTIC_COLUMNS,
    Column,
    dtype_of,
    empty_table,
)
from shapempi.errors import MissingInputError
from shapempi.ids import BlockId
from shapempi.io.catalog import TableWriter, create_catalogue
from shapempi.io.parts import PartReader, scan
from shapempi.product import Location
from shapempi.survey.graph import SurveyPlan
from shapempi.survey.sky_masks import SkyColumn
from shapempi.units import complete, of_blocks

__all__ = ["Gathered", "gather", "read_plan"]


@dataclass(frozen=True)
class Gathered:
    """What a catalogue was made of.

    Attributes
    ----------
    path : Path
        The catalogue.
    n_row, n_epoch, n_star : int
        Rows of its tables.
    n_tile : int
        Tiles in it, complete ones.
    n_refused : int
        CCDs that were done and have no accepted PSF model.
    missing : tuple of str
        Units of the plan whose result is not there; their tiles are incomplete or absent.
    damaged : tuple of str
        Part files that could not be read.
    """

    path: Path
    n_row: int
    n_epoch: int
    n_star: int
    n_tile: int
    n_refused: int
    missing: tuple[str, ...]
    damaged: tuple[str, ...]


@dataclass(frozen=True)
class _Blocks:
    """The blocks of one tile that are there, and the rows that they must have."""

    places: tuple[Location, ...]
    n_row: int
    n_epoch: int


def read_plan(run_folder: Path) -> SurveyPlan:
    """Return the plan of a run's latest start.

    Raises
    ------
    MissingInputError
        If the folder is not a run's.
    """
    path = run_folder / "plan.json"
    try:
        return SurveyPlan.from_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MissingInputError(f"{run_folder}: not the folder of a run: {path.name} cannot be read") from error


def gather(
    run_folder: Path,
    output: Path | None = None,
    *,
    sky_columns: Sequence[SkyColumn] = (),
    overwrite: bool = False,
) -> Gathered:
    """Write the catalogue of a run: one row per detection, by tile and NUMBER.

    Memory is bounded by one tile.  The content depends on the committed products only, not on who made them.

    Parameters
    ----------
    run_folder : Path
        The run.
    output : Path, optional
        The catalogue; `catalogue.h5` in the run folder by default.
    sky_columns : sequence of SkyColumn, optional
        Columns from maps of the sky.
    overwrite : bool, optional
        Whether a catalogue that is there may be replaced.

    Returns
    -------
    Gathered
        What is in it and what is lacking.

    Raises
    ------
    MissingInputError
        If the folder is not a run's.
    ConfigError
        If the catalogue is there already or cannot be written.
    DataError
        If a committed product cannot be read, or rows do not add up.
    """
    path = run_folder / "catalogue.h5" if output is None else output
    plan = read_plan(run_folder)
    found = scan(run_folder)
    reader = PartReader(run_folder, patience=5.0)
    done = complete(found.locations, plan)
    missing = [ccd.uid for ccd in plan.ccds if ccd.uid not in done]
    tiles: list[_Blocks] = []
    engines: set[str] = set()
    for tile in sorted(plan.tiles, key=lambda plan_tile: plan_tile.tile):
        location = done.get(tile.tile.uid)
        if location is None:
            missing.append(tile.tile.uid)
            continue
        product = reader.read(location, names=("blocks",))
        engines |= {str(product.attrs.get("detection_engine", ""))} - {""}
        blocks = product.arrays["blocks"]
        places = of_blocks(found.locations, tile)
        uids = [BlockId(tile.tile, int(index)).uid for index in blocks["index"]]
        missing += [uid for uid in uids if uid not in places]
        there = np.array([uid in places for uid in uids], dtype=bool)
        if there.any():
            n_row, n_epoch = (int(blocks[name][there].sum()) for name in ("n_object", "n_epoch"))
            tiles.append(_Blocks(tuple(places[uid] for uid in uids if uid in places), n_row, n_epoch))
    ccds = [done[ccd.uid] for ccd in plan.ccds if ccd.uid in done]
    status, n_statistic = _psf_status(reader, plan, done)
    n_row, n_epoch = sum(tile.n_row for tile in tiles), sum(tile.n_epoch for tile in tiles)
    n_star, n_training = int(status["n_test"].sum()), int(status["n_train"].sum())
    attributes: dict[str, str | int] = {
        "n_tile": len(tiles),
        "n_missing": len(missing),
        "detection_engine": ", ".join(sorted(engines)),
    }
    with create_catalogue(path, attributes, overwrite=overwrite) as file:
        if missing:  # a dataset, for an attribute holds 64 kB at most
            file["missing"] = np.array(missing, dtype="S")
        for name, columns, total, parts in (
            (
                "catalogue",
                (*COLUMNS, *(sky.column for sky in sky_columns)),
                n_row,
                (_with_sky(_tile_rows(reader, tile, "catalogue"), sky_columns) for tile in tiles),
            ),
            ("epochs", EPOCH_COLUMNS, n_epoch, (_tile_rows(reader, tile, "epochs") for tile in tiles)),
            ("stars", STAR_COLUMNS, n_star, (_product_rows(reader, place, "stars") for place in ccds)),
            (
                "training_stars",
                STAR_COLUMNS,
                n_training,
                (_product_rows(reader, place, "training_stars") for place in ccds),
            ),
            ("psf_status", PSF_STATUS_COLUMNS, len(status), iter([status])),
            (
                "star_statistics",
                STAR_STATISTIC_COLUMNS,
                n_statistic,
                (_product_rows(reader, place, "star_statistics") for place in ccds),
            ),
        ):
            _write(TableWriter(file, name, columns, total), columns, parts)
    n_refused = int(np.sum(~np.isin(status["status"], (b"accepted", b"failed"))))
    return Gathered(path, n_row, n_epoch, n_star, len(tiles), n_refused, tuple(missing), tuple(found.damaged))


def _psf_status(reader: PartReader, plan: SurveyPlan, done: Mapping[str, Location]) -> tuple[np.ndarray, int]:
    """Return one row for each CCD of the plan, also for those whose unit failed, and the number of all statistics."""
    table = empty_table(PSF_STATUS_COLUMNS, len(plan.ccds))
    n_statistic = 0
    for i, ccd in enumerate(plan.ccds):
        if ccd.uid in done:
            arrays = reader.read(done[ccd.uid], names=("psf_status", "star_statistics")).arrays
            table[i] = arrays["psf_status"][0]
            n_statistic += len(arrays["star_statistics"])
        else:
            table[i]["exposure"], table[i]["ccd"] = ccd.exposure, ccd.ccd
            table[i]["status"], table[i]["reason"] = b"failed", b"the unit of the CCD failed or was not done"
    return table, n_statistic


def _write(writer: TableWriter, columns: tuple[Column, ...], parts: Iterator[np.ndarray]) -> None:
    """Write a table part by part."""
    expected = dtype_of(columns)
    for rows in parts:
        writer.append(rows.astype(expected, copy=False))
    writer.finish()


def _with_sky(rows: np.ndarray, sky_columns: Sequence[SkyColumn]) -> np.ndarray:
    """Add the columns from maps of the sky to rows of the catalogue."""
    if not sky_columns:
        return rows
    table = np.zeros(len(rows), dtype=dtype_of((*COLUMNS, *(sky.column for sky in sky_columns))))
    for column in COLUMNS:
        table[column.name] = rows[column.name]
    for sky in sky_columns:
        table[sky.column.name] = sky.values(rows)
    return table


def _product_rows(reader: PartReader, place: Location, name: str) -> np.ndarray:
    return reader.read(place, names=(name,)).arrays[name]


def _tile_rows(reader: PartReader, tile: _Blocks, name: str) -> np.ndarray:
    """Return the rows of all blocks of a tile in the order of NUMBER, whatever the blocks were."""
    rows = np.concatenate([_product_rows(reader, place, name) for place in tile.places])
    # Rows of one object come from one block and keep their order (the epochs': exposure, CCD).
    return rows[np.argsort(rows["NUMBER"], kind="stable")]
