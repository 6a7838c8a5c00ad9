"""Merge the part files of a run to one catalogue, completely or not without saying so."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    fitted,
)
from shapempi.errors import ConfigError, DataError, MissingInputError
from shapempi.ids import BlockId
from shapempi.io.atomic import refuse_existing, replacing
from shapempi.io.catalog import (
    GRID,
    INDEX,
    TableWriter,
    create_catalogue,
    read_attributes,
    read_missing,
)
from shapempi.io.ledger import Ledger
from shapempi.io.parts import PartReader
from shapempi.mpi.attempt import Stopwatch, attempt
from shapempi.mpi.comm import Comm, SerialComm
from shapempi.mpi.executor import Inline
from shapempi.mpi.farm import End, lead, work
from shapempi.mpi.master import Listener
from shapempi.mpi.schedule import Schedule
from shapempi.mpi.signals import Signals
from shapempi.mpi.unit import Outcome, Place, State, Unit
from shapempi.product import Location
from shapempi.shard import Shard, TileParts, make_shards
from shapempi.survey.graph import SurveyPlan
from shapempi.survey.sky_masks import SkyColumn
from shapempi.tile_grid import CFIS_GRID

__all__ = ["Gathered", "gather", "read_plan"]

#: Counts that every file of a catalogue has among its attributes.
_COUNTS = ("n_row", "n_epoch", "n_star", "n_tile", "n_refused")


@dataclass(frozen=True)
class Gathered:
    """What a catalogue was made of.

    Attributes
    ----------
    path : Path
        The catalogue, or the folder of its files.
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
    n_file, n_kept : int
        Files of the catalogue, and how many of them were up to date and not touched.
    """

    path: Path
    n_row: int
    n_epoch: int
    n_star: int
    n_tile: int
    n_refused: int
    missing: tuple[str, ...]
    damaged: tuple[str, ...]
    n_file: int = 1
    n_kept: int = 0


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
    n_shard: int = 1,
    comm: Comm | None = None,
) -> Gathered | None:
    """Write the catalogue of a run: one row per detection, by tile and NUMBER.

    Memory is bounded by one tile.  The content depends on the committed products only, not on who made them.  A file
    that is there and made from the same products is left as it is.

    Parameters
    ----------
    run_folder : Path
        The run.
    output : Path, optional
        The catalogue; `catalogue.h5` in the run folder by default, or the folder `catalogue` if there are several
        files.
    sky_columns : sequence of SkyColumn, optional
        Columns from maps of the sky.
    overwrite : bool, optional
        Whether a catalogue that is there, and was made from other products, may be replaced.
    n_shard : int, optional
        Number of files, each with a contiguous part of the sky; the ranks write them side by side.
    comm : Comm, optional
        The ranks; all of them call this.  One by default.

    Returns
    -------
    Gathered or None
        What is in it and what is lacking, on rank 0; None on the others.

    Raises
    ------
    MissingInputError
        If the folder is not a run's.
    ConfigError
        If the catalogue is there already or cannot be written.
    DataError
        If a committed product cannot be read, or rows do not add up.
    """
    comm = comm or SerialComm()
    with Signals(prompt=True) as signals:
        if comm.rank > 0:
            if (sky := comm.share(None)) is not None:
                work(comm, Inline(_Writer(run_folder, sky, comm.rank, comm.host).execute), signals)
            return None
        try:
            path = output or run_folder / ("catalogue.h5" if n_shard == 1 else "catalogue")
            plan = read_plan(run_folder)
            ledger = Ledger.read(run_folder)
            columns = (*COLUMNS, *(sky.column for sky in sky_columns))
            shards = make_shards(plan, ledger.locations, path, n_shard, columns)
            outdated = _outdated(shards, path, overwrite=overwrite)
        except BaseException:
            comm.share(None)
            raise
        comm.share(tuple(sky_columns))
        _write_all(comm, signals, outdated, _Writer(run_folder, sky_columns, comm.rank, comm.host))
    found = [read_attributes(shard.path) for shard in shards]
    if n_shard > 1:
        _write_index(path, shards, found)
    missing = tuple(uid for shard in shards for uid in read_missing(shard.path))
    counts = {name: sum(int(attributes[name]) for attributes in found) for name in _COUNTS}
    n_kept = len(shards) - len(outdated)
    return Gathered(path, **counts, missing=missing, damaged=tuple(ledger.damaged), n_file=len(shards), n_kept=n_kept)


def _outdated(shards: Sequence[Shard], output: Path, *, overwrite: bool) -> list[Shard]:
    """Return the files that must be written; raise if one of them is there and must not be replaced."""
    if shards[0].path != output:
        try:
            output.mkdir(exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{output}: the folder cannot be made: {error.strerror}") from error
        others = sorted({*output.glob("catalogue-*.h5")} - {shard.path for shard in shards})
        if others and not overwrite:
            raise ConfigError(f"{others[0]} is of another division of the catalogue; give --overwrite to replace it")
        for path in others:
            path.unlink()
    outdated = []
    for shard in shards:
        try:
            if read_attributes(shard.path).get("made_from") == shard.made_from:
                continue
        except (MissingInputError, DataError):
            pass  # not there, or not readable: it is to be written
        refuse_existing(shard.path, overwrite=overwrite)
        outdated.append(shard)
    return outdated


def _write_all(comm: Comm, signals: Signals, shards: Sequence[Shard], writer: _Writer) -> None:
    """Have all files written by the ranks that there are."""
    schedule = Schedule()
    schedule.add(
        Unit(f"shard:{shard.path.name}", "shard", cost=float(len(shard.tiles)), payload={"shard": shard})
        for shard in shards
    )
    failed: list[Outcome] = []

    def on_outcome(outcome: Outcome) -> None:
        if outcome.state is not State.DONE:
            failed.append(outcome)

    end, _ = lead(comm, schedule, signals, executor=Inline(writer.execute), listener=Listener(on_outcome))
    if failed:
        raise {"ConfigError": ConfigError}.get(failed[0].error, DataError)(failed[0].reason)
    if end is not End.COMPLETE:
        raise DataError("the catalogue was not finished; the same command goes on")


def _write_index(folder: Path, shards: Sequence[Shard], found: Sequence[Mapping[str, Any]]) -> None:
    """Write which files a catalogue consists of, if that has changed."""
    entries = [
        {
            "file": shard.path.name,
            "tiles": [str(parts.tile.tile) for parts in shard.tiles],
            "made_from": shard.made_from,
            **{name: int(attributes[name]) for name in _COUNTS},
        }
        for shard, attributes in zip(shards, found, strict=True)
    ]
    text = json.dumps({"files": entries}, indent=1) + "\n"
    path = folder / INDEX
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


class _Writer:
    """Writes files of a catalogue."""

    def __init__(self, run_folder: Path, sky_columns: Sequence[SkyColumn], rank: int, host: str) -> None:
        self._reader = PartReader(run_folder, patience=5.0)
        self._sky_columns = sky_columns
        self._rank, self._host = rank, host

    def execute(self, unit: Unit, places: Mapping[str, Place]) -> Outcome:
        """Write one file."""
        return attempt(self._work, unit, places, rank=self._rank, host=self._host)

    def _work(self, unit: Unit, places: Mapping[str, Place], watch: Stopwatch) -> Place:
        shard: Shard = unit.payload["shard"]
        with watch("write"):
            n_row = self._write(shard)
        return Place(str(shard.path), "", 0, n_row)

    def _write(self, shard: Shard) -> int:
        """Write one file; returns the rows of its main table."""
        reader = self._reader
        missing = [ccd.uid for ccd, place in shard.ccds if place is None]
        tiles: list[_Blocks] = []
        engines: set[str] = set()
        for parts in shard.tiles:
            blocks, absent, engine = self._blocks(parts)
            missing += absent
            engines |= {engine} - {""}
            if blocks is not None:
                tiles.append(blocks)
        ccds = [place for _, place in shard.ccds if place is not None]
        status, n_statistic = self._psf_status(shard)
        n_row, n_epoch = sum(tile.n_row for tile in tiles), sum(tile.n_epoch for tile in tiles)
        n_star, n_training = int(status["n_test"].sum()), int(status["n_train"].sum())
        attributes: dict[str, str | int] = {
            "n_row": n_row,
            "n_epoch": n_epoch,
            "n_star": n_star,
            "n_tile": len(tiles),
            "n_refused": int(np.sum(~np.isin(status["status"], (b"accepted", b"failed")))),
            "n_missing": len(missing),
            "detection_engine": ", ".join(sorted(engines)),
            "made_from": shard.made_from,
            **({} if shard.grid == CFIS_GRID else {GRID: shard.grid.model_dump_json()}),
        }
        sky_columns = self._sky_columns

        def fit(columns: Sequence[Column]) -> tuple[Column, ...]:
            return fitted(columns, tile_width=shard.grid.width, exposure=shard.exposure)

        with create_catalogue(shard.path, attributes, overwrite=True) as file:
            if missing:  # a dataset, for an attribute holds 64 kB at most
                file["missing"] = np.array(missing, dtype="S")
            for name, columns, total, rows in (
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
                _write(TableWriter(file, name, fit(columns), total), fit(columns), rows)
        return n_row

    def _blocks(self, parts: TileParts) -> tuple[_Blocks | None, list[str], str]:
        """Return the blocks of a tile that are there, the units that are not, and what detected its objects."""
        if parts.place is None:
            return None, [parts.tile.tile.uid], ""
        product = self._reader.read(parts.place, names=("blocks",))
        blocks = product.arrays["blocks"]
        uids = [BlockId(parts.tile.tile, int(index)).uid for index in blocks["index"]]
        absent = [uid for uid in uids if uid not in parts.blocks]
        there = np.array([uid in parts.blocks for uid in uids], dtype=bool)
        engine = str(product.attrs.get("detection_engine", ""))
        if not there.any():
            return None, absent, engine
        n_row, n_epoch = (int(blocks[name][there].sum()) for name in ("n_object", "n_epoch"))
        places = tuple(parts.blocks[uid] for uid in uids if uid in parts.blocks)
        return _Blocks(places, n_row, n_epoch), absent, engine

    def _psf_status(self, shard: Shard) -> tuple[np.ndarray, int]:
        """Return one row for each CCD, also for those whose unit failed, and the number of all statistics."""
        table = empty_table(fitted(PSF_STATUS_COLUMNS, exposure=shard.exposure), len(shard.ccds))
        n_statistic = 0
        for i, (ccd, place) in enumerate(shard.ccds):
            if place is not None:
                arrays = self._reader.read(place, names=("psf_status", "star_statistics")).arrays
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
    own = fitted(COLUMNS, tile_width=rows.dtype["tile"].itemsize)
    table = np.zeros(len(rows), dtype=dtype_of((*own, *(sky.column for sky in sky_columns))))
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
