"""How the time of a run goes with the number of ranks: read from the journals of finished runs, as table and figure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from shapempi.errors import DataError
from shapempi.io.journal import read_journal, read_status

__all__ = ["Scaling", "ScalingRun"]


@dataclass(frozen=True)
class ScalingRun:
    """One run.

    Attributes
    ----------
    n_worker : int
        Ranks that did units.
    n_tile : int
        Tiles of its survey.
    n_unit : int
        Units that were done.
    span : float
        Time from the first assignment to the last result [s].
    command : float
        Time from the start of the launcher to its end [s].
    busy : float
        Time in units, over all workers [s].
    cpu : float
        Processor time of the units [s].
    """

    n_worker: int
    n_tile: int
    n_unit: int
    span: float
    command: float
    busy: float
    cpu: float

    @classmethod
    def read(cls, folder: Path, *, n_worker: int, n_tile: int, command: float) -> Self:
        """Read a finished run.

        Parameters
        ----------
        folder : Path
            The run folder.
        n_worker : int
            Ranks that were asked to do units.
        n_tile : int
            Tiles of its survey.
        command : float
            Time that the whole command took [s].

        Raises
        ------
        DataError
            If the run has not ended, had another number of ranks, did nothing, or found units done already.
        """
        status = read_status(folder)
        if status is None or status.get("exit_code") is None:
            raise DataError(f"{folder}: the run has not ended; its log says why")
        if status.get("n_rank") != n_worker + 1:
            raise DataError(
                f"{folder}: the run had {status.get('n_rank')} ranks, not {n_worker + 1}; does the launcher belong to "
                "the MPI library that mpi4py uses?"
            )
        outcomes = [event for event in read_journal(folder)[0] if event["event"] == "unit"]
        units = [outcome for outcome in outcomes if outcome["rank"] >= 0]  # the others nobody did
        if any(outcome["restored"] for outcome in outcomes):
            raise DataError(f"{folder}: units were done before this run: its time tells nothing; use a fresh folder")
        if not units:
            raise DataError(f"{folder}: no unit was done in this run")
        first = min(float(unit["time"]) - float(unit["elapsed"]) for unit in units)
        last = max(float(unit["time"]) for unit in units)
        return cls(
            n_worker=n_worker,
            n_tile=n_tile,
            n_unit=sum(unit["state"] == "done" for unit in units),
            span=last - first,
            command=command,
            busy=sum(float(unit["elapsed"]) for unit in units),
            cpu=sum(float(unit["cpu"]) for unit in units),
        )

    @property
    def busy_fraction(self) -> float:
        """Time in units as a fraction of the workers' time."""
        return self.busy / (self.n_worker * self.span)


@dataclass(frozen=True)
class Scaling:
    """Runs on different numbers of ranks.

    Attributes
    ----------
    runs : tuple of ScalingRun
        At least one, by the number of workers.
    weak : bool
        Whether the survey grows with the ranks; else all runs have the same one.
    n_core : int
        Cores that the process which started them may use.
    """

    runs: tuple[ScalingRun, ...]
    weak: bool
    n_core: int

    def speed_up(self, run: ScalingRun) -> float:
        """Return how many times as much work a run did per time as one worker, going by the smallest run."""
        return self.efficiency(run) * run.n_worker

    def efficiency(self, run: ScalingRun) -> float:
        """Return the speed-up per worker; of the smallest run it is 1."""
        first = self.runs[0]
        work = run.n_tile / first.n_tile  # of the same tiles 1
        return work * first.span * first.n_worker / (run.span * run.n_worker)

    def as_dict(self) -> dict[str, Any]:
        """Return all numbers, for JSON."""
        derived = [
            {"busy_fraction": r.busy_fraction, "speed_up": self.speed_up(r), "efficiency": self.efficiency(r)}
            for r in self.runs
        ]
        runs = [asdict(run) | more for run, more in zip(self.runs, derived, strict=True)]
        return {"weak": self.weak, "n_core": self.n_core, "runs": runs}

    def lines(self) -> list[str]:
        """Return the table."""
        kind = "weak scaling: the survey grows with the workers" if self.weak else "strong scaling: one survey"
        lines = [
            f"{kind}; {self.n_core} cores here, rank 0 besides the workers",
            "",
            "| workers | tiles | wall [s] | command [s] | units | busy fraction | cpu [s] | speed-up | efficiency |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        lines += [
            f"| {r.n_worker} | {r.n_tile} | {r.span:.1f} | {r.command:.1f} | {r.n_unit} | {r.busy_fraction:.3f} "
            f"| {r.cpu:.1f} | {self.speed_up(r):.2f} | {self.efficiency(r):.2f} |"
            for r in self.runs
        ]
        over = [str(r.n_worker) for r in self.runs if r.n_worker > self.n_core]
        if over:
            lines += ["", f"more workers than cores: {', '.join(over)}; unless the launcher has more nodes, they share"]
        return lines

    def draw(self, path: Path) -> None:
        """Draw wall-clock time and efficiency against the number of workers.

        Parameters
        ----------
        path : Path
            PNG file to write.
        """
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9, 3.6), layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2)
        workers = [run.n_worker for run in self.runs]
        first = self.runs[0]
        ideal = [first.span * (run.n_tile / first.n_tile) * first.n_worker / run.n_worker for run in self.runs]
        left.plot(workers, ideal, "--", color="0.6", label="ideal")
        left.plot(workers, [run.span for run in self.runs], "o-", color="#1b9e77", label="first unit to last")
        left.plot(workers, [run.command for run in self.runs], "s:", color="#7570b3", label="whole command")
        left.set(xlabel="workers", ylabel="wall-clock time [s]", xscale="log", yscale="log")
        right.axhline(1.0, ls="--", color="0.6")
        right.plot(workers, [self.efficiency(run) for run in self.runs], "o-", color="#1b9e77", label="efficiency")
        right.plot(workers, [run.busy_fraction for run in self.runs], "^:", color="#d95f02", label="busy fraction")
        right.set(xlabel="workers", xscale="log", ylim=(0.0, 1.1))
        for axes in (left, right):
            axes.set_xticks(workers, [str(n) for n in workers])
            axes.xaxis.minorticks_off()
            axes.legend(fontsize=8, frameon=False)
        left.set_title("weak scaling" if self.weak else "strong scaling")
        figure.savefig(path, dpi=110)
