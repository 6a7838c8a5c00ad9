"""The state of a run from its folder alone: works while it runs and from any machine that sees the files."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from shapempi.io.journal import read_journal, read_status
from shapempi.report.progress import duration
from shapempi.report.summary import RunSummary

__all__ = ["RunStatus"]

#: A run whose status is older than this is taken for dead [s].
SILENT_SECONDS = 120.0


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
    """

    status: dict[str, Any]
    summary: RunSummary
    age: float

    @classmethod
    def read(cls, run_folder: Path) -> Self:
        """Read the state of a run."""
        status = read_status(run_folder) or {}
        job = status.get("job")
        outcomes = [e for e in read_journal(run_folder)[0] if e["event"] == "unit" and e["job"] == job]
        return cls(status, RunSummary.of(outcomes), time.time() - status.get("time", 0.0))

    @property
    def state(self) -> str:
        """Return running, ended, dead or not started."""
        if not self.status:
            return "not started"
        if self.status["exit_code"] is not None:
            return "ended"
        return "running" if self.age < SILENT_SECONDS and self._process_there() else "dead"

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
        left = self.status["seconds_left"]
        if self.state == "running" and left is not None:
            text.append(f"about {duration(left)} left")
        text.append(f"{'units':10s} {'all':>7s} {'done':>7s} {'running':>8s} {'failed':>7s} {'blocked':>8s}")
        text += [
            f"{kind:10s} {sum(states.values()):7d} {states['done']:7d} {states['running']:8d} "
            f"{states['failed']:7d} {states['blocked']:8d}"
            for kind, states in self.status["counts"].items()
        ]
        return text + self.summary.failure_lines()
