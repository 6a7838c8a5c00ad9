"""What each rank did when, as a table for other programs."""

from __future__ import annotations

import csv
from pathlib import Path

from shapempi.io.atomic import replacing
from shapempi.report.run_record import RunRecord

__all__ = ["TIMELINE", "write_timeline"]

TIMELINE = "timeline.csv"


def write_timeline(record: RunRecord, path: Path) -> None:
    """Write every attempt that a rank spent time on as a line of a CSV file, by time; an older file is replaced."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("rank", "uid", "kind", "attempt", "state", "begin", "end"))
        for a in sorted(record.worked(), key=lambda a: (a.begin, a.rank)):
            table.writerow((a.rank, a.uid, a.kind, a.number, a.state, f"{a.begin:.3f}", f"{a.end:.3f}"))
