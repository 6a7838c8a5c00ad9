"""Catalogues of several runs as one of the whole survey: sorted by sky, every object primary once.

Tiles follow one another in the order of their names, objects of a tile by declination, then right ascension.  A tile
that several inputs have is taken from the first in which it is complete.  Memory is that of a tile and the positions of
its neighbours.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from shapempi.catalog import Column
from shapempi.catalogues.export import Progress, silent
from shapempi.catalogues.opened import STEP, OpenCatalogue, applied_step, catalogue_files, open_catalogue
from shapempi.catalogues.primaries import TilePositions, primaries
from shapempi.catalogues.tile_rows import Span, index_tiles, read_spans
from shapempi.errors import ConfigError, DataError, MissingInputError
from shapempi.ids import TileId
from shapempi.io.atomic import refuse_existing
from shapempi.io.catalog import GRID, TableWriter, create_catalogue, read_attributes, read_missing
from shapempi.io.column_list import read_column_list
from shapempi.tile_grid import CFIS_GRID, TileGrid
from shapempi.wcs import angular_distance

__all__ = ["KEPT", "Merged", "merge"]

#: Columns that a merged catalogue always has.
KEPT = ("tile", "NUMBER", "ra", "dec", "FLAG_TILING")
#: Tiles whose positions are kept for their neighbours.
_N_KEPT = 400
#: Rows of the tables of stars that are copied at once.
_ROWS = 200_000
#: Tables with a row or more per CCD, and the column that names it.
_BY_CCD = {"psf_status": "ccd", "stars": "CCD_NB", "training_stars": "CCD_NB", "star_statistics": "ccd"}


@dataclass(frozen=True)
class Merged:
    """What a merged catalogue was made of.

    Attributes
    ----------
    path : Path
        The catalogue.
    n_row, n_primary, n_tile : int
        Objects, how many of them are primary, and tiles.
    n_input : int
        Inputs that it is made of.
    skipped : tuple of str
        Inputs that could not be used, each with its reason.
    repeated : tuple of str
        Tiles that several inputs have, each with the one that it was taken from.
    missing : tuple of str
        Units that are in none of the inputs although one of them should have them, and tiles that were asked for.
    """

    path: Path
    n_row: int
    n_primary: int
    n_tile: int
    n_input: int
    skipped: tuple[str, ...]
    repeated: tuple[str, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True)
class _Input:
    """One catalogue.

    Attributes
    ----------
    path : Path
        What the user named.
    tables : dict of str to OpenCatalogue
        Its tables that are there.
    spans : dict of TileId to tuple of Span
        The rows of its tiles.
    missing : frozenset of str
        Units that it was made without.
    attributes : tuple of dict
        Attributes of its files.
    """

    path: Path
    tables: dict[str, OpenCatalogue]
    spans: dict[TileId, tuple[Span, ...]]
    missing: frozenset[str]
    attributes: tuple[dict[str, Any], ...]

    def lacks(self, tile: TileId) -> bool:
        """Say whether a part of a tile is missing."""
        return any(uid == tile.uid or uid.startswith(f"block:{tile}:") for uid in self.missing)


@dataclass
class _Survey:
    """The inputs, and which of them gives which tile."""

    inputs: list[_Input]
    owner: dict[TileId, _Input]
    _positions: OrderedDict[TileId, TilePositions] = field(default_factory=OrderedDict)

    @cached_property
    def grid(self) -> TileGrid:
        """The grid of the tiles.

        Raises
        ------
        ConfigError
            If the inputs have different ones.
        """
        found = {str(each.get(GRID, "")): source.path for source in self.inputs for each in source.attributes}
        if len(found) > 1:
            raise ConfigError(f"{' and '.join(map(str, found.values()))} have tiles on different grids")
        text = next(iter(found), "")
        return TileGrid.model_validate_json(text) if text else CFIS_GRID

    @property
    def tiles(self) -> list[TileId]:
        """All tiles in order."""
        return sorted(self.owner)

    def positions(self, tile: TileId) -> TilePositions:
        """Return the positions of a tile's objects, as they are in its input."""
        if tile in self._positions:
            self._positions.move_to_end(tile)
            return self._positions[tile]
        source = self.owner[tile]
        rows = read_spans(source.tables["catalogue"], source.spans[tile], ("ra", "dec"))
        self._positions[tile] = TilePositions(tile, rows["ra"], rows["dec"])
        if len(self._positions) > _N_KEPT:
            self._positions.popitem(last=False)
        return self._positions[tile]


def merge(
    paths: Sequence[Path],
    output: Path,
    *,
    columns: Path | None = None,
    tiles: Path | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Merged:
    """Merge catalogues.

    Parameters
    ----------
    paths : sequence of Path
        Runs, catalogues, or folders of the files of one.
    output : Path
        The catalogue to write, as `shapempi gather` writes one.
    columns : Path, optional
        List of the columns of the main table to keep, beside KEPT; all by default.
    tiles : Path, optional
        List of the tiles to take, one XXX.YYY a line; all by default.
    overwrite : bool, optional
        Whether a file that is there may be replaced.
    progress : callable, optional
        Told (tiles done, tiles in all, name of the tile).

    Returns
    -------
    Merged
        What is in it, and what is not.

    Raises
    ------
    ConfigError
        If the output is there already, inputs do not fit together, or a list cannot be used.
    MissingInputError, DataError
        If no input can be used, or one cannot be read to its end; nothing is written then.
    """
    refuse_existing(output, overwrite=overwrite)
    if output.resolve() in {file.resolve() for path in paths if path.exists() for file in _files(path)}:
        raise ConfigError(f"{output} is one of the inputs; name another file")
    wanted = None if tiles is None else _read_tiles(tiles)
    skipped: list[str] = []
    with ExitStack() as stack:
        inputs = list(_open_all(paths, stack, skipped))
        if not inputs:
            raise MissingInputError("\n".join([*skipped, "there is nothing to merge"]))
        chosen = _choose_columns(inputs, columns)
        step = _step(inputs)
        survey, repeated = _assign(inputs, wanted)
        lost = _missing(survey, wanted)
        attributes = _attributes(survey, step)
        n_primary = 0
        with create_catalogue(output, attributes, overwrite=True) as file:
            if lost:
                file["missing"] = np.array(lost, dtype="S")
            n_row, n_primary = _write_catalogue(file, survey, chosen, progress)
            n_epoch = _write_epochs(file, survey)
            counts = {name: _write_by_ccd(file, survey, name, ccd) for name, ccd in _BY_CCD.items()}
            file.attrs.update({"n_row": n_row, "n_epoch": n_epoch, "n_star": counts["stars"]})
            file.attrs.update({"n_refused": _n_refused(file), "n_missing": len(lost)})
    return Merged(
        output, n_row, n_primary, len(survey.owner), len(inputs), tuple(skipped), tuple(repeated), tuple(lost)
    )


def _files(path: Path) -> list[Path]:
    """Return the files of a catalogue, none if it has none."""
    try:
        return catalogue_files(path)
    except (MissingInputError, DataError):
        return []


def _read_tiles(path: Path) -> set[TileId]:
    """Return the tiles that a list names; comments and blank lines are skipped."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise MissingInputError(f"{path}: the list of tiles does not exist") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the list of tiles cannot be read: {error}") from error
    found = set()
    for number, line in enumerate(lines, start=1):
        name = line.partition("#")[0].strip()
        if name:
            try:
                found.add(TileId.parse(name))
            except DataError as error:
                raise ConfigError(f"{path}, line {number}: {error}") from error
    if not found:
        raise ConfigError(f"{path}: the list names no tile")
    return found


def _open_all(paths: Sequence[Path], stack: ExitStack, skipped: list[str]) -> Iterator[_Input]:
    """Open the inputs; what cannot be used is noted with its reason."""
    seen: dict[Path, Path] = {}
    for path in paths:
        try:
            files = catalogue_files(path)
            if (place := files[0].resolve()) in seen:
                raise ConfigError(f"{path}: it is named twice (also as {seen[place]}); name every catalogue once")
            seen[place] = path
            with ExitStack() as held:
                main = held.enter_context(open_catalogue(path))
                tables = {"catalogue": main}
                with h5py.File(files[0], "r", locking=False) as file:
                    others = [name for name in ("epochs", *_BY_CCD) if name in file]
                tables |= {name: held.enter_context(open_catalogue(path, name)) for name in others}
                absent = [name for name in KEPT if name not in main.names]
                if absent:
                    raise DataError(f"{path}: the catalogue has no column {', '.join(absent)}")
                missing = frozenset(uid for file in files for uid in read_missing(file))
                attributes = tuple(read_attributes(file) for file in files)
                found = _Input(path, tables, index_tiles(main), missing, attributes)
                stack.push(held.pop_all())
            yield found
        except (MissingInputError, DataError) as error:
            skipped.append(str(error))


def _choose_columns(inputs: Sequence[_Input], listed: Path | None) -> list[Column]:
    """Return the columns of the main table: those of all inputs, or those of a list."""
    first = inputs[0].tables["catalogue"]
    by_name = {column.name: column for column in first.columns}
    names = list(by_name)
    if listed is not None:
        wanted = read_column_list(listed, names, f"the catalogue {first.path}")
        names = [*(name for name in KEPT if name not in wanted), *wanted]
    for other in inputs[1:]:
        there = {column.name: column for column in other.tables["catalogue"].columns}
        extra = [] if listed is not None else sorted(there.keys() - by_name.keys())
        absent = [name for name in names if name not in there]
        if absent or extra:
            raise ConfigError(
                f"{other.path} and {first.path} have not the same columns: {', '.join([*absent, *extra])} only one of "
                "them has; choose columns that both have by --columns FILE"
            )
        differ = [name for name in names if (there[name].dtype, there[name].unit) != _form(by_name[name])]
        if differ:
            raise ConfigError(
                f"{other.path} and {first.path} have columns of other types or units: {', '.join(differ)}"
            )
    return [by_name[name] for name in names]


def _form(column: Column) -> tuple[str, str]:
    return column.dtype, column.unit


def _step(inputs: Sequence[_Input]) -> float | None:
    """Return the shear that was applied to the images of all inputs."""
    steps = {each.path: applied_step(each.path) for each in inputs}
    known = {path: step for path, step in steps.items() if step is not None}
    if len(set(known.values())) > 1:
        said = ", ".join(f"{path}: {step:g}" for path, step in known.items())
        raise ConfigError(f"the images of the inputs were sheared by different steps, so they have no common R: {said}")
    return next(iter(known.values()), None) if len(known) == len(steps) else None


def _assign(inputs: list[_Input], wanted: set[TileId] | None) -> tuple[_Survey, list[str]]:
    """Decide which input gives which tile; returns that, and the tiles that several have."""
    owner: dict[TileId, _Input] = {}
    having: dict[TileId, list[_Input]] = {}
    for each in inputs:
        for tile in each.spans:
            if wanted is None or tile in wanted:
                having.setdefault(tile, []).append(each)
    for tile, candidates in having.items():
        owner[tile] = next((each for each in candidates if not each.lacks(tile)), candidates[0])
    if not owner:
        raise DataError("none of the inputs has an object of the tiles that are wanted")
    repeated = [
        f"tile {tile}: taken from {owner[tile].path}, not from "
        + ", ".join(str(each.path) for each in candidates if each is not owner[tile])
        for tile, candidates in sorted(having.items(), key=lambda item: item[0])
        if len(candidates) > 1
    ]
    return _Survey(inputs, owner), repeated


def _missing(survey: _Survey, wanted: set[TileId] | None) -> list[str]:
    """Return the units that no input has: of tiles those that the owner lacks, of CCDs those that all lack."""
    there = {
        (int(row["exposure"]), int(row["ccd"]))
        for each in survey.inputs
        if "psf_status" in each.tables
        for part in each.tables["psf_status"].parts(("exposure", "ccd", "status"), _ROWS)
        for row in part[part["status"] != b"failed"]
    }
    lost = set()
    for each in survey.inputs:
        for uid in each.missing:
            kind, _, name = uid.partition(":")
            if kind == "ccd":
                exposure, _, ccd = name.partition("-")
                if (int(exposure), int(ccd)) not in there:
                    lost.add(uid)
                continue
            tile = TileId.parse(name.partition(":")[0])
            if (wanted is None or tile in wanted) and survey.owner.get(tile, each) is each:
                lost.add(uid)
    absent = set() if wanted is None else {tile.uid for tile in wanted if tile not in survey.owner}
    return sorted(lost | absent)


def _attributes(survey: _Survey, step: float | None) -> dict[str, Any]:
    """Return the attributes of the file that are known before its rows."""
    made_from = [str(each.get("made_from", "")) for source in survey.inputs for each in source.attributes]
    engines = {
        name
        for source in survey.inputs
        for each in source.attributes
        for name in str(each.get("detection_engine", "")).split(", ")
        if name
    }
    found: dict[str, Any] = {
        "n_tile": len(survey.owner),
        "detection_engine": ", ".join(sorted(engines)),
        "made_from": hashlib.sha256("\n".join(made_from).encode()).hexdigest(),
        "merged_from": "\n".join(str(each.path) for each in survey.inputs)[:60_000],
    }
    if survey.grid != CFIS_GRID:
        found[GRID] = survey.grid.model_dump_json()
    return found if step is None else {**found, STEP: step}


def _write_catalogue(
    file: h5py.File, survey: _Survey, columns: Sequence[Column], progress: Progress
) -> tuple[int, int]:
    """Write the main table; returns its rows, and how many are primary."""
    n_row = sum(len(span) for tile, source in survey.owner.items() for span in source.spans[tile])
    writer = TableWriter(file, "catalogue", columns, n_row)
    names = [column.name for column in columns]
    tiles = survey.tiles
    centres = np.array([survey.grid.centre(tile) for tile in tiles])
    n_primary = 0
    for done, tile in enumerate(tiles, start=1):
        source = survey.owner[tile]
        rows = read_spans(source.tables["catalogue"], source.spans[tile], names)
        away = angular_distance(centres[:, 0], centres[:, 1], *survey.grid.centre(tile))
        near = [survey.positions(tiles[k]) for k in np.flatnonzero(away < survey.grid.reach) if tiles[k] != tile]
        own = primaries(survey.positions(tile), near, survey.grid)
        rows["FLAG_TILING"] = own
        n_primary += int(own.sum())
        writer.append(rows[np.lexsort((rows["NUMBER"], rows["ra"], rows["dec"]))])
        if done < len(tiles):
            progress(done, len(tiles), f"tile {tile}")
    writer.finish()
    return n_row, n_primary


def _write_epochs(file: h5py.File, survey: _Survey) -> int:
    """Write the epochs of the tiles, where the inputs have them; returns their number."""
    spans = {each.path: index_tiles(each.tables["epochs"]) for each in survey.inputs if "epochs" in each.tables}
    if len(spans) < len(survey.inputs):
        return 0
    of_tile = [(survey.owner[tile], spans[survey.owner[tile].path].get(tile, ())) for tile in survey.tiles]
    n_row = sum(len(span) for _, each in of_tile for span in each)
    columns = survey.inputs[0].tables["epochs"].columns
    writer = TableWriter(file, "epochs", columns, n_row)
    for source, each in of_tile:
        writer.append(read_spans(source.tables["epochs"], each, [column.name for column in columns]))
    writer.finish()
    return n_row


def _write_by_ccd(file: h5py.File, survey: _Survey, name: str, ccd: str) -> int:
    """Write a table of CCDs or their stars; a CCD that several inputs have is taken from one of them."""
    having = [each for each in survey.inputs if name in each.tables]
    if not having:
        return 0
    owners = _ccd_owners(survey.inputs)
    columns = having[0].tables[name].columns
    names = [column.name for column in columns]

    def parts(wanted: Sequence[str]) -> Iterator[np.ndarray]:
        for number, each in enumerate(survey.inputs):
            if name in each.tables:
                foreign = [_key(*key) for key, owner in owners.items() if owner != number]
                for rows in each.tables[name].parts(wanted, _ROWS):
                    yield rows[~np.isin(_key(rows["exposure"].astype(np.int64), rows[ccd]), foreign)]

    n_row = sum(len(rows) for rows in parts(("exposure", ccd)))
    writer = TableWriter(file, name, columns, n_row)
    for rows in parts(names):
        writer.append(rows)
    writer.finish()
    return n_row


def _key(exposure: Any, ccd: Any) -> Any:
    """Return one number for a CCD."""
    return exposure * 10_000 + ccd


def _ccd_owners(inputs: Sequence[_Input]) -> Mapping[tuple[int, int], int]:
    """Return which input gives each CCD: the first in which its unit has not failed."""
    owners: dict[tuple[int, int], int] = {}
    failed: dict[tuple[int, int], int] = {}
    for number, each in enumerate(inputs):
        if "psf_status" in each.tables:
            for rows in each.tables["psf_status"].parts(("exposure", "ccd", "status"), _ROWS):
                for exposure, ccd, status in rows.tolist():
                    (failed if status == b"failed" else owners).setdefault((exposure, ccd), number)
    return {**failed, **owners}


def _n_refused(file: h5py.File) -> int:
    """Return the number of CCDs that were done and have no accepted PSF model."""
    if "psf_status" not in file:
        return 0
    return int(np.sum(~np.isin(file["psf_status"]["status"][()], (b"accepted", b"failed"))))
