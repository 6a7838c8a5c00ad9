"""How much of a run's predicted work is done, and how fast it goes, from its plan, its journal and its status alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from shapempi.report.run_record import DONE, Attempt, Job, RunRecord
from shapempi.report.survey_view import SurveyView

__all__ = ["WorkDone"]

#: Time over which the rate of objects is taken [s].
_RECENT = 600.0


@dataclass(frozen=True)
class WorkDone:
    """How far one job of a run is.

    Attributes
    ----------
    share : float or None
        Fraction of the predicted time of all units that is behind the run, with the prediction of each kind corrected
        by what its units took; None if the plan is not known.
    objects : float
        Objects that blocks finished in the last ten minutes [1/s].
    busy : float
        Fraction of their time that the ranks spent in units: of a job that has ended until its end, of one that runs
        until each rank last finished a unit.
    slowest : tuple of Attempt
        The three that took longest, of those that ended.
    """

    share: float | None
    objects: float
    busy: float
    slowest: tuple[Attempt, ...]

    @classmethod
    def of(
        cls,
        record: RunRecord,
        job: Job,
        survey: SurveyView | None,
        counts: Mapping[str, Mapping[str, int]],
        now: float,
        *,
        ended: bool,
    ) -> Self:
        """Find out how far a job is.

        Parameters
        ----------
        record : RunRecord
            What the journal says of this job.
        job : Job
            The job.
        survey : SurveyView or None
            The plan.
        counts : mapping
            Units by kind and state.
        now : float
            When that was so [s since 1970].
        ended : bool
            Whether the job has ended.
        """
        worked = record.worked()
        recent = min(max(now - job.start, 1e-3), _RECENT)
        rows = sum(a.n_row for a in worked if a.kind == "block" and a.state == DONE and a.end > now - recent)
        share = None if survey is None else _share(record, worked, survey, counts.get("block", {}))
        slowest = tuple(sorted(worked, key=lambda attempt: -attempt.elapsed)[:3])
        return cls(share, rows / recent, _busy(worked, job, now, ended=ended), slowest)


def _busy(worked: list[Attempt], job: Job, now: float, *, ended: bool) -> float:
    """Return the fraction of the ranks' time in units."""
    last: dict[int, float] = {}
    for attempt in worked:
        last[attempt.rank] = max(last.get(attempt.rank, 0.0), attempt.end)
    whole = len(job.workers) * (now - job.start) if ended else sum(end - job.start for end in last.values())
    return min(sum(attempt.elapsed for attempt in worked) / whole, 1.0) if whole > 0 else 0.0


def _share(
    record: RunRecord, worked: list[Attempt], survey: SurveyView, block_counts: Mapping[str, int]
) -> float | None:
    """Return the fraction of the work that is behind the run."""
    final = record.units
    n_block = sum(block_counts.values())
    ended = n_block - sum(block_counts.get(state, 0) for state in ("waiting", "ready", "running"))
    # What a tile's blocks will cost is known from its pixels; they count as they end, all as the mean one.
    behind = ended / n_block if n_block else 1.0
    promised = {
        uid: (behind if final[uid].state == DONE else 1.0) * cost
        for uid, cost in survey.promised.items()
        if uid in final
    }
    done = {"block": sum(promised.values())}
    whole = {"block": sum(survey.promised.values())}
    for kind, uids in (("ccd", survey.ccds), ("tile", survey.tiles)):
        done[kind] = sum(survey.costs.get(uid, 0.0) for uid in uids if uid in final)
        whole[kind] = sum(survey.costs.get(uid, 0.0) for uid in uids)
    rates = _rates(worked, survey, done["block"] / ended if ended else 0.0)
    total = sum(rates[kind] * whole[kind] for kind in whole)
    return sum(rates[kind] * done[kind] for kind in whole) / total if total > 0 else None


def _rates(worked: list[Attempt], survey: SurveyView, block_cost: float) -> dict[str, float]:
    """Return used / predicted time by kind; of a kind that has not been done that of all others."""
    used = dict.fromkeys(("ccd", "tile", "block"), 0.0)
    predicted = dict(used)
    for attempt in worked:
        if attempt.state == DONE and attempt.kind in used:
            used[attempt.kind] += attempt.elapsed
            predicted[attempt.kind] += survey.costs.get(attempt.uid, block_cost)
    together = sum(used.values()) / sum(predicted.values()) if sum(predicted.values()) > 0 else 1.0
    return {kind: used[kind] / predicted[kind] if predicted[kind] > 0 else together for kind in used}
