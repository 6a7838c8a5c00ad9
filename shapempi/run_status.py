"""How a run stands, written down now and then for whoever looks at its folder."""

from __future__ import annotations

import os
import socket
import time

from shapempi.crew import Setup
from shapempi.io.journal import write_status
from shapempi.mpi.schedule import Schedule
from shapempi.report.progress import seconds_left

__all__ = ["StatusFile"]

#: Time between two writes of RUN/status.json [s].
STATUS_SECONDS = 10.0


class StatusFile:
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
