"""The calibration: joins its trials with the ranks, and its part files with the estimates.

A unit is one patch of one case; its product is the table of `trial`.  Rank 0 reads the tables in the order of the
patches, so that the result has the same bits for any number of ranks, and a calibration that was interrupted goes on
where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from shapempi.calibration.estimate import CaseResult, change, estimate
from shapempi.calibration.params import CalibrationParams, CaseParams
from shapempi.calibration.trial import Trial
from shapempi.config import Config
from shapempi.errors import ConfigError, MeasurementError, ShapempiError
from shapempi.io.parts import PartReader, PartWriter, scan
from shapempi.io.runfolder import RunFolder
from shapempi.measure.shape_params import ShapeParams
from shapempi.mpi.attempt import Stopwatch, attempt
from shapempi.mpi.comm import Comm
from shapempi.mpi.executor import Inline
from shapempi.mpi.farm import End, lead, work
from shapempi.mpi.master import Listener
from shapempi.mpi.schedule import Schedule
from shapempi.mpi.signals import Signals
from shapempi.mpi.unit import Outcome, Place, State, Unit
from shapempi.product import Location, Product
from shapempi.report.calibration import RESULT_NAME
from shapempi.report.progress import Progress, error_console

__all__ = ["calibrate_stamps", "choose_cases", "claim_folder"]


@dataclass(frozen=True)
class _Setup:
    """What every rank must know before it can work."""

    params: CalibrationParams
    shapes: ShapeParams
    size: int
    folder: Path
    job: str
    digest: str


def choose_cases(params: CalibrationParams, names: list[str] | None, pairs: int | None) -> CalibrationParams:
    """Return the calibration with some of its cases, or with another number of pairs in each.

    Parameters
    ----------
    params : CalibrationParams
        The calibration as configured.
    names : list of str, optional
        Cases to keep, with those that they refer to; all by default.
    pairs : int, optional
        Pairs of each case.

    Returns
    -------
    CalibrationParams
        The calibration to make.

    Raises
    ------
    ConfigError
        If there is no such case, or the number is too small.
    """
    by_name = {case.name: case for case in params.cases}
    wanted = set(by_name if names is None else names)
    for name in sorted(wanted - set(by_name)):
        raise ConfigError(f"there is no case {name!r} in calibration.cases; there are {', '.join(by_name)}")
    wanted |= {by_name[name].reference for name in wanted}
    if pairs is not None and pairs < 2 * params.patches:
        raise ConfigError(
            f"{pairs} pairs are too few for {params.patches} patches (calibration.patches) of two or more"
        )
    cases = [case for case in params.cases if case.name in wanted]
    if pairs is not None:
        cases = [case.model_copy(update={"pairs": pairs}) for case in cases]
    return params.model_copy(update={"cases": tuple(cases)})


def claim_folder(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds a finished calibration, or remove what that one made.

    Raises
    ------
    ConfigError
        If there is a result, or anything that no calibration made.
    """
    result = folder / RESULT_NAME
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not (folder / "config.digest").exists() and not result.exists():
        raise ConfigError(f"{folder} holds something else than a calibration: choose another calibration.folder")
    if overwrite:
        for name in ("parts", "chain"):
            shutil.rmtree(folder / name, ignore_errors=True)
        for path in (result, folder / "config.digest"):
            path.unlink(missing_ok=True)
    elif result.exists():
        raise ConfigError(f"{result} exists: give --overwrite to make it anew, or choose another calibration.folder")


def calibrate_stamps(comm: Comm, config: Config, params: CalibrationParams) -> list[CaseResult] | None:
    """Simulate and measure all cases on all ranks.

    Every rank calls this; rank 0 hands out the work and, unless it is alone, does none.

    Parameters
    ----------
    comm : Comm
        The ranks.
    config : Config
        Settings of the measurement and size of the stamps.
    params : CalibrationParams
        What to simulate.

    Returns
    -------
    list of CaseResult or None
        One per case, on rank 0; None on the others.

    Raises
    ------
    ConfigError
        On rank 0, if the folder cannot be used.
    MeasurementError
        On rank 0, if a unit failed; the others are kept and not done again by the same command.
    """
    failure: ShapempiError | None = None
    folder: RunFolder | None = None
    setup: _Setup | None = None
    if comm.rank == 0:
        digest = _digest(config, params)
        try:
            folder = RunFolder.open(params.folder, digest)
            setup = _Setup(params, config.shapes, config.vignet.size, folder.path, folder.job, digest)
        except ShapempiError as error:
            failure = error
    setup = comm.share(setup)
    if failure is not None:
        raise failure
    if setup is None:
        return None
    crew = _Crew(setup, comm)
    if folder is None:
        with Signals(prompt=True) as signals:
            if work(comm, Inline(crew.execute), signals):
                comm.leave(0)
        return None
    with folder:
        return _lead(comm, setup, crew, config.run.progress_interval)


def _digest(config: Config, params: CalibrationParams) -> str:
    """Return the fingerprint of everything that the rows depend on."""
    values = {
        "shapes": config.shapes.model_dump(mode="json"),
        "size": config.vignet.size,
        "calibration": params.model_dump(mode="json", include={"seed", "patches", "cases"}),
    }
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


class _Crew:
    """What one rank needs to do units: the trials, and a writer of its own part file."""

    def __init__(self, setup: _Setup, comm: Comm) -> None:
        self._setup = setup
        self._rank, self._host = comm.rank, comm.host
        self._cases = {case.name: case for case in setup.params.cases}
        self._trials: dict[str, Trial] = {}
        self._writer = PartWriter(setup.folder, setup.job, comm.rank, digest=setup.digest)

    def execute(self, unit: Unit, places: Mapping[str, Place]) -> Outcome:
        """Do one unit and commit its product; an exception of the unit becomes its outcome."""
        return attempt(self._work, unit, places, rank=self._rank, host=self._host)

    def _work(self, unit: Unit, places: Mapping[str, Place], watch: Stopwatch) -> Place:
        """Do one unit; returns where its product is committed."""
        table = self._trial(unit.payload["case"]).measure(range(unit.payload["start"], unit.payload["stop"]))
        location = self._writer.commit(unit.uid, Product({"rows": table}), len(table))
        return Place(location.file, location.group, location.crc32, location.n_row)

    def _trial(self, name: str) -> Trial:
        """Return the trial of a case, made when its first unit comes."""
        if name not in self._trials:
            params = self._setup.params
            self._trials[name] = Trial(
                self._cases[name], self._setup.shapes, size=self._setup.size, seed=params.seed, batch=params.batch
            )
        return self._trials[name]


def _lead(comm: Comm, setup: _Setup, crew: _Crew, interval: float) -> list[CaseResult]:
    """Hand out the work on rank 0; returns the results."""
    schedule = Schedule()
    for case in setup.params.cases:
        schedule.add(_units(case, setup.params.patches))
    committed = scan(setup.folder, setup.digest).locations
    schedule.restore({uid: Place(*astuple(location)) for uid, location in committed.items()})
    failed: list[str] = []

    def on_outcome(outcome: Outcome) -> None:
        if outcome.state is not State.DONE:
            failed.append(f"{outcome.uid} failed: {outcome.error}: {outcome.reason}")
            progress.say(failed[-1])

    progress = Progress(schedule, max(comm.size - 1, 1), interval=interval, console=error_console())
    with progress:
        if schedule.n_restored:
            progress.say(f"{schedule.n_restored} units are committed already and are not done again")
        with Signals(prompt=True) as signals:
            listener = Listener(on_outcome, tick=progress.tick)
            end, lost = lead(comm, schedule, signals, executor=Inline(crew.execute), listener=listener)
    if end is not End.COMPLETE or lost:
        raise MeasurementError(
            f"the calibration was {end} and lost {len(lost)} ranks; the same command goes on with it"
        )
    if failed:
        raise MeasurementError(f"{len(failed)} units failed, the first: {failed[0]}; the same command does them again")
    reader = PartReader(setup.folder)
    results = {}
    for case in setup.params.cases:
        step = float(case.shapes.get("step", setup.shapes.step))
        result = estimate(case, setup.params, step, _tables(reader, schedule, case, setup.params.patches))
        results[case.name] = result
    return [
        change(results[case.name], results[case.reference]) if case.reference else results[case.name]
        for case in setup.params.cases
    ]


def _units(case: CaseParams, n_patch: int) -> list[Unit]:
    """Return the units of a case, one per patch."""
    edges = np.linspace(0, case.pairs, min(n_patch, case.pairs) + 1).round().astype(int).tolist()
    units = []
    for index, (start, stop) in enumerate(pairwise(edges)):
        payload: dict[str, Any] = {"case": case.name, "start": start, "stop": stop}
        cost = float((stop - start) * len(case.views))
        units.append(Unit(f"{case.name}:{index}", case.name, cost=cost, payload=payload))
    return units


def _tables(reader: PartReader, schedule: Schedule, case: CaseParams, n_patch: int) -> Iterator[tuple[str, np.ndarray]]:
    """Read the rows of a case, patch by patch in their order."""
    for index, unit in enumerate(_units(case, n_patch)):
        outcome = schedule.outcome(unit.uid)
        assert outcome is not None and outcome.place is not None
        yield f"{index:04d}", reader.read(Location(*outcome.place)).arrays["rows"]
