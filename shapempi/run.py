"""The run: joins the stages with the engine, and the units with what is already committed."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import astuple, replace
from pathlib import Path

from shapempi.config import Config, load
from shapempi.crew import Crew, Setup
from shapempi.engines.detection import make_detector
from shapempi.engines.detection_engine import DetectionEngine
from shapempi.engines.psf import make_engine
from shapempi.errors import ConfigError, ShapempiError
from shapempi.ids import TileId
from shapempi.io.journal import Journal, write_status
from shapempi.io.parts import PartReader, scan
from shapempi.io.runfolder import RunFolder
from shapempi.masking import RecipeFiles, read_recipe
from shapempi.measure.detection_table import DETECTION_DTYPE
from shapempi.measure.setools.program import Program
from shapempi.measure.shapes import ENGINES
from shapempi.measure.stars import check_program
from shapempi.mpi.comm import Comm, connect
from shapempi.mpi.farm import run_master, run_worker
from shapempi.mpi.schedule import Schedule
from shapempi.mpi.unit import Outcome, Place, State, Unit
from shapempi.product import Location
from shapempi.report.progress import Progress, error_console, seconds_left
from shapempi.report.summary import RunSummary
from shapempi.selection import read_selection
from shapempi.star_catalogue import StarsFound, find_stars
from shapempi.survey.graph import SurveyPlan, make_plan
from shapempi.survey.inputs import find_inputs
from shapempi.survey.sky_masks import open_sky_masks
from shapempi.units import BLOCK_ARRAYS, block_units, commit_name, complete, first_units

__all__ = ["exit_code", "run"]

_LOG = logging.getLogger(__name__)

#: Time between two writes of RUN/status.json [s].
STATUS_SECONDS = 10.0


def run(path: Path, *, live: bool = False) -> int:
    """Measure a survey, or go on where an earlier run stopped.

    Every rank calls this; rank 0 hands out the work and, unless it is alone, does none.

    Parameters
    ----------
    path : Path
        Configuration file; only rank 0 reads it.
    live : bool, optional
        Show the live bar also where a launcher hides the terminal.

    Returns
    -------
    int
        The exit code.

    Raises
    ------
    ShapempiError
        On rank 0, if the run cannot start.  The other ranks say nothing and return 0, then as always: launchers
        combine the exit codes of the ranks, and the run has one verdict.
    """
    failure: ShapempiError | None = None
    with connect() as comm:
        folder: RunFolder | None = None
        setup: Setup | None = None
        plan: SurveyPlan | None = None
        if comm.rank == 0:
            try:
                config = load(path)
                ENGINES[config.shapes.engine]()  # one that is not installed says so before any work
                make_engine(config.psf)
                detectors = [
                    make_detector(config.exposure.detection, "exposure.detection"),
                    make_detector(config.tile.detection, "tile.detection"),
                ]
                for note in dict.fromkeys(note for detector in detectors for note in detector.notes):
                    _LOG.warning(note)
                selection = read_selection(Path(config.stars.selection) if config.stars.selection else None)
                check_program(selection, config.stars, DETECTION_DTYPE)
                inputs = find_inputs(config.input)
                catalogue = config.input.star_catalogue
                stars = None if catalogue is None else find_stars(catalogue, config.run.folder)
                masks = _masks(config)
                open_sky_masks(config.sky_masks)  # gather needs them: what is wrong with them is said now
                plan = make_plan(inputs)
                recipes = {kind: found.recipe for kind, found in masks.items()}
                digest = config.digest(*_contents(config, selection, stars, masks, detectors))
                folder = RunFolder.open(config.run.folder, digest)
                folder.keep("config.toml", path.read_bytes())
                folder.keep("plan.json", plan.to_json().encode())
                index = None if stars is None else stars.keep(folder.path)
                setup = Setup(config, inputs, index, recipes, selection, folder.path, folder.job, digest)
            except ShapempiError as error:
                failure = error
        setup = comm.share(setup)
        if setup is None:
            code = 0
        elif folder is not None and plan is not None:
            with folder:
                code = _lead(comm, setup, plan, live)
        else:
            crew = Crew(setup, comm.rank, comm.host)
            run_worker(comm, crew.execute)
            crew.close()
            code = 0
    if failure is not None:
        raise failure
    return code


def _contents(
    config: Config,
    selection: Program,
    stars: StarsFound | None,
    masks: dict[str, RecipeFiles],
    detectors: Sequence[DetectionEngine],
) -> list[str]:
    """Return the contents of the files that the configuration names and that decide the catalogue like its keys."""
    contents = [selection.text] if config.stars.selection else []
    contents += [] if stars is None else [f"input.star_catalogue\n{stars.digest}"]
    contents += [text for found in masks.values() for text in found.contents]
    contents += [text for detector in detectors for text in detector.contents]
    psfex = config.psf.psfex.configuration
    if config.psf.engine == "psfex" and psfex is not None:
        try:
            contents.append(psfex.read_text(encoding="utf-8", errors="replace"))
        except OSError as error:
            raise ConfigError(f"psf.psfex.configuration: {psfex} cannot be read: {error.strerror}") from error
    return contents


def _masks(config: Config) -> dict[str, RecipeFiles]:
    """Read what is masked on CCDs and on tiles: templates, catalogues of extended objects, .mask files."""
    catalogues = {"messier": config.input.messier_catalogue, "ngc": config.input.ngc_catalogue}
    return {
        "ccd": read_recipe(config.exposure.mask, **catalogues, table="exposure.mask"),
        "tile": read_recipe(config.tile.mask, **catalogues, table="tile.mask"),
    }


def _lead(comm: Comm, setup: Setup, plan: SurveyPlan, live: bool) -> int:
    """Hand out the work on rank 0; returns the exit code of the run."""
    found = scan(setup.folder)
    committed = {name: Place(*astuple(location)) for name, location in found.locations.items()}
    reader = PartReader(setup.folder)
    schedule = Schedule()
    summary = RunSummary()
    n_worker = max(comm.size - 1, 1)
    start = time.monotonic()

    def expand(outcome: Outcome) -> list[Unit]:
        if outcome.kind != "tile" or outcome.place is None:
            return []
        payload = schedule.unit(outcome.uid).payload
        product = reader.read(Location(*outcome.place), names=BLOCK_ARRAYS)
        return list(block_units(TileId.parse(payload["tile"]), payload["digest"], product))

    def inputs_of(unit: Unit) -> dict[str, Place]:
        places = schedule.inputs(unit)
        earlier = committed.get(commit_name(unit, places))
        return places if earlier is None else {**places, unit.uid: earlier}

    schedule.add(first_units(plan))
    progress = Progress(schedule, n_worker, interval=setup.config.run.progress_interval, console=error_console(live))
    with Journal(setup.folder, job=setup.job) as journal, progress:
        problems = [str(problem) for problem in plan.problems]
        journal.write("start", {"n_rank": comm.size, "problems": problems, "damaged": found.damaged})

        def on_outcome(outcome: Outcome) -> None:
            if outcome.place is not None and Path(outcome.place.file).parent.name != setup.job:
                outcome = replace(outcome, restored=True)  # also those blocks that had to wait for their CCDs first
            summary.add(outcome.record())
            journal.write("unit", outcome.record())
            if outcome.state is State.FAILED:
                progress.say(f"{outcome.uid} failed: {outcome.error}: {outcome.reason}")
            elif outcome.state is State.DONE and outcome.reason:
                progress.say(f"{outcome.uid} has no PSF model: {outcome.reason}")

        for text in (*problems, *found.damaged):
            progress.say(f"input: {text}" if text in problems else f"damaged part file: {text}")
        for outcome in schedule.restore(complete(committed, plan), expand):
            on_outcome(outcome)
        journal.sync()
        if schedule.n_restored:
            progress.say(f"{schedule.n_restored} units are committed already and are not done again")
        status = _StatusFile(setup, schedule, comm.size)

        def tick() -> None:
            progress.tick()
            status.tick()
            journal.tick()

        crew = Crew(setup, comm.rank, comm.host)
        run_master(
            comm,
            schedule,
            execute=crew.execute,
            on_outcome=on_outcome,
            expand=expand,
            inputs_of=inputs_of,
            tick=tick,
        )
        crew.close()
        code = exit_code(summary, plan)
        status.write(code)
        journal.write("stop", {"exit_code": code, "wall": round(time.monotonic() - start, 3)})
    print("\n".join(summary.lines(wall=time.monotonic() - start, n_worker=n_worker)), flush=True)
    return code


def exit_code(summary: RunSummary, plan: SurveyPlan) -> int:
    """Return the exit code of a run that has ended.

    Parameters
    ----------
    summary : RunSummary
        What became of the units.
    plan : SurveyPlan
        The plan, with what is missing.

    Returns
    -------
    int
        0 complete; 3 if all that is lacking comes of missing files; 1 if anything else failed.
    """
    missing = [problem for problem in plan.problems if problem.missing]
    roots = [error for _, error, _ in summary.failures if error != "blocked"]
    if any(error != "MissingInputError" for error in roots) or len(missing) < len(plan.problems):
        return 1
    return 3 if missing or roots else 0


class _StatusFile:
    """Keeps RUN/status.json up to date for `shapempi status`."""

    def __init__(self, setup: Setup, schedule: Schedule, n_rank: int) -> None:
        self._setup = setup
        self._schedule = schedule
        self._n_rank = n_rank
        self._start = time.time()
        self._next = 0.0

    def tick(self) -> None:
        """Write the file if it is time to."""
        if time.monotonic() >= self._next:
            self.write(None)

    def write(self, code: int | None) -> None:
        """Write the file; `code` is None while the run goes on."""
        self._next = time.monotonic() + STATUS_SECONDS
        left = seconds_left(self._schedule, max(self._n_rank - 1, 1))
        write_status(
            self._setup.folder,
            {
                "job": self._setup.job,
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "n_rank": self._n_rank,
                "start": self._start,
                "time": time.time(),
                "counts": self._schedule.counts(),
                "seconds_left": left,
                "exit_code": code,
            },
        )
