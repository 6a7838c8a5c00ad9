"""How long units took, step by step, and how much of that they waited; how much memory they had."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from shapempi.report.run_record import DONE, Attempt, RunRecord, in_order

__all__ = ["WHOLE", "StepTime", "Waiting", "is_io", "memory_peaks", "step_times", "waiting"]

#: Name of the line that is about whole units.
WHOLE = "all steps"


@dataclass(frozen=True)
class StepTime:
    """Time that one step of one kind of unit took.

    Attributes
    ----------
    kind, step : str
        Which; step `WHOLE` is the whole unit.
    n : int
        Attempts that came to this step, failed ones included.
    total : float
        Time of all of them [s].
    p50, p99 : float
        Percentiles of the units that are done [s]; NaN if none is.
    share : float
        Fraction of the time of all units of all kinds.
    """

    kind: str
    step: str
    n: int
    total: float
    p50: float
    p99: float
    share: float


def step_times(record: RunRecord) -> list[StepTime]:
    """Return the times of every kind and its steps, the longest step first; of all jobs together."""
    worked = record.worked()
    whole = max(sum(attempt.elapsed for attempt in worked), 1e-9)
    times: list[StepTime] = []
    for kind in record.kinds():
        mine = [attempt for attempt in worked if attempt.kind == kind]
        if not mine:
            continue
        done = [a.elapsed for a in mine if a.state == DONE]
        times.append(_time(kind, WHOLE, [a.elapsed for a in mine], done, whole))
        steps = dict.fromkeys(step for attempt in mine for step in attempt.seconds)
        parts = [
            _time(
                kind,
                step,
                [a.seconds[step] for a in mine if step in a.seconds],
                [a.seconds[step] for a in mine if step in a.seconds and a.state == DONE],
                whole,
            )
            for step in steps
        ]
        times += sorted(parts, key=lambda part: -part.total)
    return times


def _time(kind: str, step: str, all_seconds: list[float], done: list[float], whole: float) -> StepTime:
    p50, p99 = np.percentile(done, (50, 99)) if done else (np.nan, np.nan)
    total = sum(all_seconds)
    return StepTime(kind, step, len(all_seconds), total, float(p50), float(p99), total / whole)


@dataclass(frozen=True)
class Waiting:
    """How much of its time a kind of unit did not compute.

    Attributes
    ----------
    kind : str
        Which.
    share : float
        (elapsed - cpu) / elapsed, at least 0: waiting for files, or for a core that others use.
    read, commit : float
        Fraction of the time in the steps that read, and in the step that commits.
    """

    kind: str
    share: float
    read: float
    commit: float


def is_io(step: str) -> bool:
    """Whether a step only reads files: its name begins with read, or it cuts vignets."""
    return step.startswith("read") or step == "vignets"


def waiting(attempts: Iterable[Attempt]) -> list[Waiting]:
    """Return the waiting of every kind of unit among the attempts."""
    by_kind: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        by_kind.setdefault(attempt.kind, []).append(attempt)
    found = []
    for kind in in_order(by_kind):
        mine = by_kind[kind]
        elapsed = sum(a.elapsed for a in mine)
        if elapsed <= 0:
            continue
        read = sum(seconds for a in mine for step, seconds in a.seconds.items() if is_io(step))
        commit = sum(a.seconds.get("commit", 0.0) for a in mine)
        cpu = sum(a.cpu for a in mine)
        found.append(Waiting(kind, max(0.0, 1.0 - cpu / elapsed), read / elapsed, commit / elapsed))
    return found


def memory_peaks(attempts: Iterable[Attempt]) -> dict[str, dict[str, int]]:
    """Return the largest resident memory [byte] by host and kind; the host with the largest first."""
    peaks: dict[str, dict[str, int]] = {}
    for attempt in attempts:
        if attempt.rss_peak > 0:
            of_host = peaks.setdefault(attempt.host or "unknown host", {})
            of_host[attempt.kind] = max(of_host.get(attempt.kind, 0), attempt.rss_peak)
    return dict(sorted(peaks.items(), key=lambda item: (-max(item[1].values()), item[0])))
