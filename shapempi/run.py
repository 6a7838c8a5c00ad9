"""The run: joins the stages with the engine, and the units with what is already committed."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

from shapempi import __version__
from shapempi.crew import Crew, Setup, hire
from shapempi.errors import ConfigError, EngineError, ShapempiError
from shapempi.fault import Fault
from shapempi.ids import TileId
from shapempi.io.journal import Journal, read_journal
from shapempi.io.ledger import Ledger
from shapempi.io.parts import PartReader
from shapempi.measure.shapes import ENGINES
from shapempi.mpi.comm import Comm, connect
from shapempi.mpi.cost import CostModel
from shapempi.mpi.deadline import Deadline, find_deadline
from shapempi.mpi.executor import Executor, Inline, Limits
from shapempi.mpi.farm import End, lead, work
from shapempi.mpi.master import Listener, Policy, Waiting
from shapempi.mpi.nursery import Nursery
from shapempi.mpi.protocol import Pulse
from shapempi.mpi.schedule import Schedule
from shapempi.mpi.signals import Signals
from shapempi.mpi.supervisor import Supervised, serve
from shapempi.mpi.unit import Failure, Outcome, Place, State, Unit
from shapempi.opening import Draft, Opening, draft_run, open_run
from shapempi.placing import place_exposures
from shapempi.product import Location
from shapempi.report.progress import Progress, error_console
from shapempi.report.summary import RunSummary
from shapempi.run_status import StatusFile
from shapempi.survey.graph import SurveyPlan
from shapempi.units import (
    BLOCK_ARRAYS,
    STOCK,
    BlockCost,
    assumed_costs,
    block_units,
    commit_name,
    complete,
    first_units,
    with_block_cost,
)

__all__ = ["EXIT_DRAINED", "exit_code", "run"]

#: Exit codes of a run that was asked to end before it was complete, and of one that has lost all its workers.
EXIT_DRAINED, EXIT_ABANDONED = 10, 4

#: Where launchers say which rank a process is.
_RANKS = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "SLURM_PROCID")


def run(
    path: Path,
    *,
    live: bool = False,
    walltime: str | None = None,
    accept: Collection[str] = (),
    retry_quarantined: bool = False,
    isolate: bool = True,
) -> int:
    """Measure a survey, or go on where an earlier run stopped.

    Every rank calls this; rank 0 hands out the work and, unless it is alone, does none.

    Parameters
    ----------
    path : Path
        Configuration file; only rank 0 reads it.
    live : bool, optional
        Show the live bar also where a launcher hides the terminal.
    walltime : str, optional
        Time until the run must have ended, in Slurm's notation.
    accept : collection of str, optional
        What may have changed since the folder's units were made: `config`, `code`, `inputs`.
    retry_quarantined : bool, optional
        Try units again that have cost two ranks.
    isolate : bool, optional
        False if MPI runs already, so that no child can be started; else the configuration decides.

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
    trouble: ShapempiError | None = None
    deadline, nursery = Deadline(), None
    try:  # before MPI is there; what goes wrong is said when it is, for the other ranks wait for this one until then
        deadline = _deadline(walltime)
        nursery = Nursery.start(serve) if isolate else None
    except ConfigError as error:
        trouble = error
    except OSError as error:
        trouble = EngineError(f"no process can be started for the units: {error}")
    with connect() as comm:
        if trouble is not None and comm.rank > 0:
            raise trouble
        opening, failure = _open(comm, path, accept, trouble)
        setup: Setup | None = comm.share(None if opening is None else opening.setup)
        code, ranks_lost = 0, False
        if setup is not None:
            inline = nursery is None or not setup.config.run.isolate
            policy = _policy(setup, deadline, inline=inline)
            with Signals(prompt=inline) as signals:
                if opening is not None:
                    with opening.folder:
                        leader = _Leader(comm, opening, policy, signals, _executor(setup, comm, nursery))
                        code, ranks_lost = leader.run(live=live, retry_quarantined=retry_quarantined)
                else:
                    executor = _executor(setup, comm, nursery)
                    ranks_lost = work(comm, executor, signals, policy=policy)
                    executor.close()
        if ranks_lost:
            comm.leave(code)
    if nursery is not None:
        nursery.close()
    if failure is not None:
        raise failure
    return code


def _open(
    comm: Comm, path: Path, accept: Collection[str], failure: ShapempiError | None
) -> tuple[Opening | None, ShapempiError | None]:
    """Prepare the run with all ranks: returns, on rank 0, the run or why it cannot start."""
    draft: Draft | None = None
    if comm.rank == 0 and failure is None:
        try:
            draft = draft_run(path)
        except ShapempiError as error:
            failure = error
    if draft is None:
        place_exposures(comm, None)  # on rank 0 this tells the others that there is nothing to do
        return None, failure
    console = error_console()
    placed = place_exposures(
        comm,
        draft.inputs,
        say=lambda text: console.print(f"shapempi: {text}", markup=False),
        interval=draft.config.run.progress_interval,
    )
    try:
        return open_run(draft, placed, accept), None
    except ShapempiError as error:
        return None, error


def _deadline(walltime: str | None) -> Deadline:
    """Return the end of the allocation; only rank 0 asks for it, so that a large job does not storm the scheduler."""
    rank = next((os.environ[name] for name in _RANKS if name in os.environ), "0")
    try:
        return find_deadline(walltime) if rank == "0" else Deadline()
    except ValueError as error:
        raise ConfigError(f"--walltime: {error}") from error


def _policy(setup: Setup, deadline: Deadline, *, inline: bool) -> Policy:
    """Return how units are given out by the configuration; `inline` if the ranks do them themselves."""
    params = setup.config.run
    return Policy(
        limits=Limits(params.time_limit, int(params.memory_limit * 2**30)),
        deadline=deadline,
        pulse=Pulse(params.beat) if inline else Pulse(params.beat, params.silence),
        waiting=Waiting(margin=params.drain_margin),
    )


def _executor(setup: Setup, comm: Comm, nursery: Nursery | None) -> Executor:
    """Return what does the units of this rank."""
    if nursery is None or not setup.config.run.isolate:
        fault = Fault.read(os.environ, setup.folder / "faults", os.getpid())
        crew = Crew(setup, comm.rank, comm.host, fault)
        return Inline(crew.execute, crew.close)
    return Supervised(nursery, hire, (setup, comm.rank, comm.host, os.getpid()), rank=comm.rank, host=comm.host)


class _Leader:
    """What rank 0 does in a run.

    Parameters
    ----------
    comm : Comm
        The ranks.
    opening : Opening
        The run.
    policy : Policy
        How units are given out.
    signals : Signals
        What the system asks for.
    executor : Executor
        Does units if this rank is alone.
    """

    def __init__(self, comm: Comm, opening: Opening, policy: Policy, signals: Signals, executor: Executor) -> None:
        self._comm = comm
        self._setup, self._plan, self._accepted = opening.setup, opening.plan, opening.accepted
        self._ledger = Ledger.read(opening.folder.path)
        self._committed = {name: Place(*astuple(place)) for name, place in self._ledger.locations.items()}
        self._block_cost = BlockCost(ENGINES[self._setup.config.shapes.engine].epoch_seconds)
        self._schedule = Schedule(CostModel(assumed_costs(self._block_cost)), STOCK * max(comm.size - 1, 1))
        self._policy = replace(policy, inputs_of=self._inputs_of, prepare=self._prepare)
        self._signals = signals
        self._executor = executor
        self._summary = RunSummary()

    def run(self, *, live: bool, retry_quarantined: bool) -> tuple[int, bool]:
        """Hand out the work; returns the exit code and whether ranks were lost."""
        setup, schedule, comm = self._setup, self._schedule, self._comm
        n_worker = max(comm.size - 1, 1)
        start = time.monotonic()
        schedule.add(first_units(self._plan, n_worker, self._block_cost))
        progress = Progress(
            schedule, n_worker, interval=setup.config.run.progress_interval, console=error_console(live)
        )
        with Journal(setup.folder, job=setup.job) as journal, progress:
            self._journal, self._progress = journal, progress
            self._say_what_is_there()
            status = StatusFile(setup, schedule, comm.size)
            self._restore(retry_quarantined)

            def tick() -> None:
                progress.tick()
                status.tick()
                journal.tick()

            listener = Listener(self._on_outcome, self._on_event, tick)
            end, lost = lead(
                comm, schedule, self._signals, executor=self._executor, policy=self._policy, listener=listener
            )
            code = self._verdict(end)
            self._ledger.refresh().write()
            status.write(code)
            values = {"exit_code": code, "wall": round(time.monotonic() - start, 3), "end": str(end)}
            journal.write("stop", {**values, "costs": schedule.model.record(), "lost": sorted(lost)})
        self._executor.close()
        print("\n".join(self._summary.lines(wall=time.monotonic() - start, n_worker=n_worker)), flush=True)
        if end is not End.COMPLETE:
            print(f"shapempi: {end} before the survey was complete; the same command goes on", flush=True)
        return code, bool(lost)

    def _say_what_is_there(self) -> None:
        """Write down what the run begins with."""
        problems, damaged = [str(problem) for problem in self._plan.problems], self._ledger.damaged
        values = {"n_rank": self._comm.size, "problems": problems, "damaged": damaged, "accepted": self._accepted}
        values |= {"version": __version__, "digest": self._setup.digest}
        deadline = self._policy.deadline
        self._journal.write("start", {**values, "deadline": deadline.time if deadline.source else None})
        for text in problems:
            self._progress.say(f"input: {text}")
        for text in damaged:
            self._progress.say(f"damaged part file: {text}")

    def _restore(self, retry_quarantined: bool) -> None:
        """Take over what earlier starts have committed, and leave alone what they put in quarantine."""
        for outcome in self._schedule.restore(complete(self._committed, self._plan), self._expand):
            self._on_outcome(outcome)
        if not retry_quarantined:
            for outcome in _quarantined(self._setup.folder):
                if outcome.uid in self._schedule and not self._schedule.state(outcome.uid).final:
                    for each in (outcome, *self._schedule.exclude(outcome)):
                        self._on_outcome(each)
        self._journal.sync()
        if self._schedule.n_restored:
            self._progress.say(f"{self._schedule.n_restored} units are committed already and are not done again")

    def _expand(self, outcome: Outcome) -> list[Unit]:
        """Return the blocks of a tile that was committed before."""
        if outcome.kind != "tile" or outcome.place is None:
            return []
        unit = self._schedule.unit(outcome.uid)
        reader = PartReader(self._setup.folder)
        product = reader.read(Location(*outcome.place), names=BLOCK_ARRAYS)
        tile, digest = TileId.parse(unit.payload["tile"]), unit.payload["digest"]
        return list(block_units(tile, digest, product, unit.region))

    def _inputs_of(self, unit: Unit) -> dict[str, Place]:
        """Return the places that a unit must know; its own, too, if an earlier start made it of the same inputs."""
        places = self._schedule.inputs(unit)
        earlier = self._committed.get(commit_name(unit, places))
        return places if earlier is None else {**places, unit.uid: earlier}

    def _prepare(self, unit: Unit) -> Unit:
        """Complete a unit by what was learned up to now."""
        return with_block_cost(unit, self._schedule.model.coefficients(), self._setup.config.run.block_seconds)

    def _on_outcome(self, outcome: Outcome) -> None:
        if outcome.place is not None and Path(outcome.place.file).parent.name != self._setup.job:
            outcome = replace(outcome, restored=True)  # also those blocks that had to wait for their CCDs first
        self._summary.add(outcome.record())
        self._journal.write("unit", outcome.record())
        if outcome.state in (State.FAILED, State.QUARANTINED):
            self._progress.say(f"{outcome.uid} {outcome.state}: {outcome.error}: {outcome.reason}")
        elif outcome.state is State.DONE and outcome.reason:
            self._progress.say(f"{outcome.uid} has no PSF model: {outcome.reason}")

    def _on_event(self, name: str, values: Mapping[str, Any]) -> None:
        self._journal.write(name, values)
        self._progress.say(_SAYINGS[name].format_map(values))

    def _verdict(self, end: End) -> int:
        """Return the exit code."""
        if end is End.COMPLETE:
            return exit_code(self._summary, self._plan)
        return EXIT_DRAINED if end is End.DRAINED else EXIT_ABANDONED


def _quarantined(folder: Path) -> list[Outcome]:
    """Return the units that earlier starts have put in quarantine, by the journal."""
    latest = {event["uid"]: event for event in read_journal(folder)[0] if event["event"] == "unit"}
    cure = "; --retry-quarantined tries it again"
    return [
        Outcome(
            uid,
            event["kind"],
            State.QUARANTINED,
            error=event["error"],
            failure=Failure.LOST,
            reason=event["reason"].removesuffix(cure) + cure,
        )
        for uid, event in latest.items()
        if event["state"] == State.QUARANTINED
    ]


#: How events are told.
_SAYINGS = {
    "retry": "{uid} is tried again: {failure}: {error}: {reason}",
    "lost": "rank {rank} is lost, the run goes on without it: {reason}",
    "drain": "no more units are given out: {reason}; those that run have {seconds:.0f} s",
    "log": "rank {rank}: {text}",
}


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
