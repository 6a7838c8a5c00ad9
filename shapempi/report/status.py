"""The state of a run from its folder alone: works while it runs and from any machine that sees the files."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from shapempi.io.journal import read_journal, read_status
from shapempi.report.progress import duration
from shapempi.report.run_failures import failures_by_class, settled
from shapempi.report.run_record import Job, RunRecord
from shapempi.report.run_words import span
from shapempi.report.summary import RunSummary
from shapempi.report.survey_view import SurveyView
from shapempi.report.work_done import WorkDone

__all__ = ["RunStatus"]

#: A run whose status is older than this is taken for dead [s].
SILENT_SECONDS = 120.0

#: Lost ranks that are named.
_SHOWN = 8


@dataclass(frozen=True)
class RunStatus:
    """What is known of a run.

    Attributes
    ----------
    status : dict
        The latest status.json; empty if there is none.
    summary : RunSummary
        Outcomes of the latest job.
    age : float
        Age of the status [s].
    record : RunRecord
        What the journal says of the latest job.
    work : WorkDone or None
        How far it is; None if it has not begun.
    """

    status: dict[str, Any]
    summary: RunSummary
    age: float
    record: RunRecord = field(default_factory=RunRecord)
    work: WorkDone | None = None

    @classmethod
    def read(cls, run_folder: Path, survey: SurveyView | None = None) -> Self:
        """Read the state of a run.

        Parameters
        ----------
        run_folder : Path
            The run.
        survey : SurveyView, optional
            Its plan; without it nothing is said of the share of the work that is done.
        """
        status = read_status(run_folder) or {}
        name = status.get("job")
        events = [event for event in read_journal(run_folder)[0] if event.get("job") == name]
        summary = RunSummary.of(event for event in events if event["event"] == "unit")
        age = time.time() - status.get("time", 0.0)
        if not status:
            return cls(status, summary, age)
        record = RunRecord.of(events)
        start = float(status.get("start") or (record.jobs[0].start if record.jobs else status["time"]))
        job = Job(str(name), int(status["n_rank"]), start, float(status["time"]))
        ended = status["exit_code"] is not None
        work = WorkDone.of(record, job, survey, status["counts"], job.end, ended=ended)
        return cls(status, summary, age, record, work)

    @property
    def state(self) -> str:
        """Return running, ended, dead or not started."""
        if not self.status:
            return "not started"
        if self.status["exit_code"] is not None:
            return "ended"
        return "running" if self.age < SILENT_SECONDS and self._process_there() else "dead"

    @property
    def over(self) -> bool:
        """Whether nothing more is to be expected: the run has ended or is dead."""
        return self.state in ("ended", "dead")

    def _process_there(self) -> bool:
        """Whether rank 0 may still run: certain on its own machine only."""
        pid = self.status.get("pid")
        if pid is None or self.status.get("host") != socket.gethostname():
            return True
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # it is there, and another user's
            pass
        return True

    @property
    def exit_code(self) -> int:
        """The verdict: the exit code of a run that ended; 1 of one that is not complete."""
        code = self.status.get("exit_code")
        return 1 if code is None else int(code)

    def lines(self) -> list[str]:
        """Return the state as lines of text."""
        if not self.status:
            return ["this run has not started any unit"]
        text = [f"job {self.status['job']} on {self.status['host']}, {self.status['n_rank']} ranks: {self.state}"]
        if self.state == "dead":
            text.append(f"nothing was heard of it for {duration(self.age)}; the same `shapempi run` command goes on")
        if self.state == "ended":
            text.append(f"exit code {self.status['exit_code']}")
        text += [f"asked to end: {job.drained}" for job in self.record.jobs if job.drained]
        left = self.status["seconds_left"]
        if self.state == "running" and left is not None:
            text.append(f"about {duration(left)} left")
        text += self._pace()
        text.append(f"{'units':10s}     all    done  running  failed  blocked  quarantined")
        text += [
            f"{kind:10s} {sum(states.values()):7d} {states['done']:7d} {states['running']:8d} "
            f"{states['failed']:7d} {states['blocked']:8d} {states.get('quarantined', 0):12d}"
            for kind, states in self.status["counts"].items()
        ]
        return text + self._trouble() + self.summary.failure_lines()

    def line(self) -> str:
        """Return the state as one line of text."""
        parts = [self.state, *self._pace()[:1]]
        lacking = 0
        for kind, states in self.status.get("counts", {}).items():
            is_open = sum(states.get(state, 0) for state in ("waiting", "ready", "running"))
            parts.append(f"{kind} {sum(states.values()) - is_open}/{sum(states.values())}")
            lacking += sum(states.get(state, 0) for state in ("failed", "blocked", "quarantined"))
        parts += [f"{lacking} FAILED"] * bool(lacking)
        left = self.status.get("seconds_left")
        parts += [] if left is None else [f"about {duration(left)} left"]
        return ", ".join(parts)

    def _pace(self) -> list[str]:
        """Return how far and how fast it is."""
        if self.work is None:
            return []
        running = sum(states["running"] for states in self.status["counts"].values())
        parts = [] if self.work.share is None else [f"{self.work.share:.0%} of the predicted work done"]
        if self.state == "running":
            parts.append(f"{self.work.objects:.3g} objects/s")
        parts.append(f"ranks busy {self.work.busy:.0%}")
        if self.state == "running":
            parts[-1] += f", {running} of {max(self.status['n_rank'] - 1, 1)} at work"
        text = [", ".join(parts)]
        if self.work.slowest:
            text.append("slowest: " + ", ".join(f"{a.uid} {span(a.elapsed)}" for a in self.work.slowest))
        return text

    def _trouble(self) -> list[str]:
        """Return failures by class, retries, and ranks that were lost."""
        found = failures_by_class(settled(self.record))
        final = ", ".join(f"{name} {n}" for name, (n, _) in found.items() if n)
        again = ", ".join(f"{name} {n}" for name, (_, n) in found.items() if n)
        text = [f"failures by class: {final}"] if final else []
        text += [f"attempts tried again: {again}"] if again else []
        if self.record.lost:
            ranks = ", ".join(f"{each.rank} ({each.host or 'host unknown'})" for each in self.record.lost[:_SHOWN])
            more = len(self.record.lost) - _SHOWN
            text.append(f"ranks lost: {ranks}" + (f" and {more} more" if more > 0 else ""))
        return text
