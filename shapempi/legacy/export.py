"""Write products of a run into a tree as the reference system leaves it, one CCD, exposure or tile at a time."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from shapempi.errors import ConfigError, DataError, ShapempiError
from shapempi.ids import CcdId, TileId
from shapempi.legacy.part import CCD, EXPOSURE, SURVEY, TILE, Part, number_of
from shapempi.legacy.products import PRODUCTS
from shapempi.legacy.source import LegacySource
from shapempi.legacy.tile_rows import TileRows
from shapempi.mpi.attempt import Stopwatch, attempt
from shapempi.mpi.comm import Comm, SerialComm
from shapempi.mpi.executor import Inline
from shapempi.mpi.farm import End, lead, work
from shapempi.mpi.master import Listener
from shapempi.mpi.schedule import Schedule
from shapempi.mpi.signals import Signals
from shapempi.mpi.unit import Outcome, Place, State, Unit
from shapempi.report.progress import Progress
from shapempi.run_view import ObjectId, RunView

__all__ = ["Exported", "LegacyRequest", "export_legacy"]

#: End of the name of a file that belongs to a CCD, an exposure or a tile.
_NUMBERED = re.compile(r"[^.].*?((?:-\d+)+)\.\w+")

#: Time between two lines about the progress where there is no terminal [s].
_INTERVAL = 60.0

#: Work of a part of something, in units of the time that its unit took in the run; only ratios matter.
_LEAST_COST = 0.1

_Item = CcdId | TileId | int | None


@dataclass(frozen=True)
class LegacyRequest:
    """What is to be written.

    Attributes
    ----------
    run : Path
        The run.
    output : Path
        The folder of the tree.
    products : tuple of str
        Names of `PRODUCTS`, in their order.
    tiles, exposures : tuple of str
        Names of tiles and numbers of exposures; without either all.  Tiles alone bring their CCDs along; exposures
        alone are written without tiles.
    named : bool
        Whether the products were asked for by name: then each must have something to write.
    psf_data : bool
        Whether the final catalogues have the PSF of every epoch.
    overwrite : bool
        Whether files that are there may be replaced.
    """

    run: Path
    output: Path
    products: tuple[str, ...]
    tiles: tuple[str, ...] = ()
    exposures: tuple[str, ...] = ()
    named: bool = True
    psf_data: bool = False
    overwrite: bool = False


@dataclass
class Exported:
    """What was written.

    Attributes
    ----------
    n_file : dict of str to int
        Files by product.
    n_lacking, n_noted : dict of str to int
        CCDs for which there was nothing to write, and those of whose files readers must know something, by product.
    failed : list of str
        What could not be written, each with its reason.
    complete : bool
        Whether all was tried; if not, a signal asked to end.
    """

    n_file: dict[str, int] = field(default_factory=dict)
    n_lacking: dict[str, int] = field(default_factory=dict)
    n_noted: dict[str, int] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    complete: bool = True


def export_legacy(request: LegacyRequest, *, comm: Comm | None = None) -> Exported | None:
    """Write products of a run.

    Whatever is wrong with the request is found out before anything is written.  A file that cannot be written costs
    itself: the others are.  Each appears under its name when it is complete.

    Parameters
    ----------
    request : LegacyRequest
        What is wanted; the same on all ranks.
    comm : Comm, optional
        The ranks; all of them call this.  One by default.

    Returns
    -------
    Exported or None
        What was written, on rank 0; None on the others.

    Raises
    ------
    MissingInputError
        If the folder is not a run's, or has no catalogue and a product is made from it.
    ConfigError
        If the run has no such tile or exposure, or a file is there and must not be replaced.
    DataError
        If the run cannot be read.
    """
    comm = comm or SerialComm()
    with Signals(prompt=True) as signals:
        if comm.rank > 0:
            if comm.share(None):
                work(comm, Inline(_Writer(request, comm.rank, comm.host).execute), signals)
            return None
        try:
            units = _units(request)
            _prepare(request, units)
        except BaseException:
            comm.share(False)
            raise
        comm.share(True)
        schedule, result = Schedule(), Exported()
        schedule.add(units)
        writer = _Writer(request, comm.rank, comm.host)
        with Progress(schedule, max(comm.size - 1, 1), interval=_INTERVAL) as progress:
            listener = Listener(partial(_count, result), tick=progress.tick)
            end, _ = lead(comm, schedule, signals, executor=Inline(writer.execute), listener=listener)
        result.complete = end is End.COMPLETE
    return result


def _count(result: Exported, outcome: Outcome) -> None:
    """Add what became of a unit."""
    for name, count in outcome.counts.items():
        product, _, what = name.partition(".")
        counts = {"": result.n_file, "lacking": result.n_lacking, "noted": result.n_noted}[what]
        counts[product] = counts.get(product, 0) + count
    if outcome.state is not State.DONE:
        result.failed.append(
            f"{outcome.uid}: {outcome.reason}" if outcome.uid not in outcome.reason else outcome.reason
        )


def _units(request: LegacyRequest) -> list[Unit]:
    """Return the work: a unit for everything that files are written of."""
    view = RunView(request.run)
    items = _items(request, view)
    units = []
    for kind, some in items.items():
        names = [name for name in request.products if any(part.kind == kind for part in PRODUCTS[name].parts)]
        for item in some if names else ():
            uid = f"{kind}:{_text(item)}"
            cost = max(view.plan.costs.get(uid, 0.0), _LEAST_COST)
            units.append(Unit(uid, kind, cost=cost, payload={"item": item, "products": tuple(names)}))
    if any(PRODUCTS[name].gathered for unit in units if unit.kind == TILE for name in unit.payload["products"]):
        TileRows(request.run)  # says so if there is no catalogue
    for name in request.products:
        if request.named and not any(name in unit.payload["products"] for unit in units):
            raise ConfigError(f"{name} has files of tiles only, and --exposure alone asks for none; add --tile XXX.YYY")
    return units


def _text(item: Any) -> str:
    """Return something's name."""
    return "headers" if isinstance(item, tuple) else f"{item:07d}" if isinstance(item, int) else str(item)


def _items(request: LegacyRequest, view: RunView) -> dict[str, Sequence[Any]]:
    """Return the tiles, CCDs and exposures that are asked for, and the exposures of the survey's one file."""
    tiles = [_tile(view, text) for text in dict.fromkeys(request.tiles)]
    wanted = [_exposure(view, text) for text in dict.fromkeys(request.exposures)]
    if not tiles and not wanted:
        tiles = [plan.tile for plan in view.plan.tiles]
        ccds = list(view.plan.ccds)
    elif wanted:
        ccds = [ccd for ccd in view.plan.ccds if ccd.exposure in wanted]
    else:
        ccds = sorted({ccd for tile in tiles for ccd in view.tile_plan(tile).ccds})
    exposures = tuple(sorted({ccd.exposure for ccd in ccds}))
    return {CCD: ccds, EXPOSURE: exposures, TILE: tiles, SURVEY: [exposures] if exposures else []}


def _tile(view: RunView, text: str) -> TileId:
    """Return a tile that the run has."""
    found = view.parse(text)
    if isinstance(found, TileId):
        return found
    what = "an object" if isinstance(found, ObjectId) else "a CCD"
    raise ConfigError(f"--tile {text} names {what}; write a tile as 241.293")


def _exposure(view: RunView, text: str) -> int:
    """Return an exposure of which the run has CCDs."""
    known = sorted({ccd.exposure for ccd in view.plan.ccds})
    digits = text.removesuffix("p")
    if not (digits.isascii() and digits.isdigit()):
        raise ConfigError(f"--exposure {text} is no number of an exposure; write 2243881")
    if int(digits) not in known:
        near = ", ".join(f"{each:07d}" for each in sorted(known, key=lambda each: abs(each - int(digits)))[:3])
        raise ConfigError(
            f"{view.folder}: the run has no CCD of exposure {digits}; it has {len(known)} exposures, nearest "
            f"{near or 'none'}"
        )
    return int(digits)


def _parts(unit: Unit) -> Iterator[tuple[str, Part]]:
    """Yield name of the product and part for all that a unit writes."""
    for name in unit.payload["products"]:
        for part in PRODUCTS[name].parts:
            if part.kind == unit.kind:
                yield name, part


def _prepare(request: LegacyRequest, units: Iterable[Unit]) -> None:
    """Refuse files that are there, and make the folders."""
    there: dict[Path, dict[str, Path]] = {}
    for unit in units:
        item: _Item = None if unit.kind == SURVEY else unit.payload["item"]
        for _, part in _parts(unit):
            folder = part.folder(request.output)
            if folder not in there:
                there[folder] = _existing(folder)
            path = there[folder].get(number_of(item))
            if path is not None and not request.overwrite:
                raise ConfigError(f"{path} is already there; give --overwrite to replace it, or another --output")
    for folder in there:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{folder}: the folder cannot be made: {error.strerror}") from error


def _existing(folder: Path) -> dict[str, Path]:
    """Return a file for each number that files in a folder have; for none one that has no number."""
    found: dict[str, Path] = {}
    for path in folder.rglob("*"):
        if path.is_file() and not path.name.startswith("."):
            match = _NUMBERED.fullmatch(path.name)
            found.setdefault(match.group(1) if match else "", path)
    return found


class _Writer:
    """Writes the files of one thing after the other."""

    def __init__(self, request: LegacyRequest, rank: int, host: str) -> None:
        self._request = request
        self._rank, self._host = rank, host
        self._source: LegacySource | None = None
        self._counts: dict[str, int] = {}

    def execute(self, unit: Unit, places: Mapping[str, Place]) -> Outcome:
        """Write the files of one thing."""
        self._counts = {}
        outcome = attempt(self._work, unit, places, rank=self._rank, host=self._host)
        return replace(outcome, counts=dict(self._counts))

    def _work(self, unit: Unit, places: Mapping[str, Place], watch: Stopwatch) -> Place:
        request = self._request
        if self._source is None:
            self._source = LegacySource(request.run, overwrite=request.overwrite, psf_data=request.psf_data)
        problems: list[str] = []
        for name, part in _parts(unit):
            try:
                with watch(name):
                    written = part.write(self._source, unit.payload["item"], part.folder(request.output))
            except ShapempiError as error:
                problems += [f"{name}: {error}"]
                continue
            self._add(name, len(written.paths))
            for what in ("lacking", "noted"):
                if getattr(written, what):
                    self._add(f"{name}.{what}", 1)
        if problems:
            raise DataError("; ".join(problems))
        return Place(str(request.output), "", 0, sum(self._counts.values()))

    def _add(self, name: str, count: int) -> None:
        self._counts[name] = self._counts.get(name, 0) + count
