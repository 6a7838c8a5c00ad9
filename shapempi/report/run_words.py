"""How the report of a run writes names, times, and that a table was cut."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime

from shapempi.report.document import Block, Paragraph
from shapempi.report.progress import duration

__all__ = ["MOST_ROWS", "cut", "moment", "named", "seconds", "span"]

#: Rows of a table, the rest is counted; and names in a cell.
MOST_ROWS, _NAMES = 30, 5


def cut(n: int, what: str, why: str = "more are in the journal", most: int = MOST_ROWS) -> tuple[Block, ...]:
    """Say that a table does not have all rows."""
    return (Paragraph(f"{n - most} {what} {why}."),) if n > most else ()


def named(names: Sequence[str]) -> str:
    """Write some names, and how many more there are."""
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return ", ".join(names[:_NAMES]) + more


def moment(time: float) -> str:
    """Write a time [s since 1970] as date and time, UTC."""
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%S")


def seconds(value: float) -> str:
    """Write a time [s] in three digits."""
    return "-" if math.isnan(value) else f"{value:.3g}" if value < 100 else f"{value:.0f}"


def span(value: float) -> str:
    """Write a time as people say it, with its tenths if it is short: 3.6 s, 5 h 12 min."""
    return f"{value:.2g} s" if value < 9.5 else duration(value)
