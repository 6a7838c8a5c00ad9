"""The run's diary on rank 0: an append-only journal, and one small file that says how things stand now.

Neither decides anything: what is committed in the part files is the truth.  They serve `shapempi status`, the
report, and whoever asks why a unit failed.
"""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from shapempi.io.atomic import replacing

__all__ = ["Journal", "read_journal", "read_status", "write_status"]

JOURNAL, STATUS = "journal.jsonl", "status.json"

#: Lines and seconds after which the journal is brought to the disk.
_SYNC_LINES, _SYNC_SECONDS = 64, 1.0


class Journal:
    """Appends one JSON line per event; after a crash at most the last second is missing.

    Parameters
    ----------
    folder : Path
        The run folder; the file is RUN/journal.jsonl.  A last line that a crash cut off is closed, not continued.
    job : str, optional
        Name of this start of the run, written with every line.
    clock : callable, optional
        Gives the time written with each line [s since 1970].
    """

    def __init__(self, folder: Path, *, job: str = "", clock: Callable[[], float] = time.time) -> None:
        path = folder / JOURNAL
        self._job = job
        self._clock = clock
        self._file = path.open("ab")
        self._n_line = 0
        self._synced = time.monotonic()
        if self._file.tell() > 0 and not _ends_with_newline(path):
            self._file.write(b"\n")

    def write(self, event: str, values: Mapping[str, Any] | None = None) -> None:
        """Append an event: `start`, `unit`, `stop`, ...

        Parameters
        ----------
        event : str
            What happened.
        values : mapping, optional
            Plain values that belong to it.
        """
        line = {"event": event, "time": round(self._clock(), 3), "job": self._job, **(values or {})}
        self._file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
        self._n_line += 1
        if event != "unit":
            self.sync()
        else:
            self.tick()

    def tick(self) -> None:
        """Bring the journal to the disk if it is time."""
        if self._n_line >= _SYNC_LINES or time.monotonic() - self._synced >= _SYNC_SECONDS:
            self.sync()

    def sync(self) -> None:
        """Bring the journal to the disk now."""
        if self._n_line:
            self._file.flush()
            os.fsync(self._file.fileno())
        self._n_line = 0
        self._synced = time.monotonic()

    def close(self) -> None:
        """Bring the journal to the disk and close it."""
        self.sync()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_journal(folder: Path) -> tuple[list[dict[str, Any]], int]:
    """Read a journal, also while it is written.

    Parameters
    ----------
    folder : Path
        The run folder.

    Returns
    -------
    events : list of dict
        Every whole line, in order; each has `event` and `time`.  Empty if there is no journal.
    n_torn : int
        Lines that are no JSON object: those that a crash or the moment of reading cut off.
    """
    events: list[dict[str, Any]] = []
    n_torn = 0
    try:
        lines = (folder / JOURNAL).read_bytes().split(b"\n")
    except FileNotFoundError:
        return events, n_torn
    for line in lines:
        if not line:
            continue
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if isinstance(event, dict) and "event" in event and "time" in event:
            events.append(event)
        else:
            n_torn += 1
    return events, n_torn


def write_status(folder: Path, values: Mapping[str, Any]) -> None:
    """Replace RUN/status.json as a whole, so that a reader never sees half of it.

    Parameters
    ----------
    folder : Path
        The run folder.
    values : mapping
        Plain values.
    """
    with replacing(folder / STATUS) as temporary:
        temporary.write_text(json.dumps(values, indent=1) + "\n")


def read_status(folder: Path) -> dict[str, Any] | None:
    """Read RUN/status.json; None if there is none or it is not ours."""
    try:
        status = json.loads((folder / STATUS).read_text())
    except (FileNotFoundError, ValueError):
        return None
    return status if isinstance(status, dict) and "time" in status else None


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, io.SEEK_END)
        return file.read(1) == b"\n"
