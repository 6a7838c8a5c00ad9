"""How the ranks of a job spent their time: busy, waiting for others, and idle at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shapempi.report.run_record import Attempt, Job, RunRecord

__all__ = ["MOST_ROWS", "RankUse", "choose_ranks", "rank_use"]

#: Ranks that one picture can show.
MOST_ROWS = 64
#: Of those, how many are the busiest and how many the laziest; the others are a sample.
_EXTREMES = 8


@dataclass(frozen=True)
class RankUse:
    """One job and its ranks that do units.

    Attributes
    ----------
    job : Job
        Which.
    attempts : dict of int to list of Attempt
        What each rank did, in order; every rank that does units is there.
    busy : dict of int to float
        Fraction of the wall-clock time that each rank spent in units.
    lost : dict of int to float
        When ranks were lost [s since 1970].
    tail : float
        Time [s] from the moment when the first rank had nothing more to do until the end; ranks that were lost do not
        count, for they end early for another reason.
    tail_lost : float
        What the ranks together idled in the tail [core-hours].
    """

    job: Job
    attempts: Mapping[int, list[Attempt]]
    busy: Mapping[int, float]
    lost: Mapping[int, float]
    tail: float
    tail_lost: float

    @property
    def mean_busy(self) -> float:
        """Mean busy fraction; 0 without ranks."""
        return sum(self.busy.values()) / len(self.busy) if self.busy else 0.0


def rank_use(record: RunRecord, job: Job) -> RankUse:
    """Return how the ranks of a job spent their time."""
    attempts: dict[int, list[Attempt]] = {rank: [] for rank in job.workers}
    for attempt in record.worked(job.name):
        attempts.setdefault(attempt.rank, []).append(attempt)
    for done in attempts.values():
        done.sort(key=lambda attempt: attempt.begin)
    wall = job.wall
    busy = {rank: min(sum(a.elapsed for a in done) / wall, 1.0) if wall > 0 else 0.0 for rank, done in attempts.items()}
    lost = {each.rank: each.time for each in record.lost if each.job == job.name}
    last = [max([a.end for a in done], default=job.start) for rank, done in attempts.items() if rank not in lost]
    rests = [max(job.end - end, 0.0) for end in last]
    return RankUse(job, attempts, busy, lost, max(rests, default=0.0), sum(rests) / 3600.0)


def choose_ranks(use: RankUse, most: int = MOST_ROWS) -> tuple[Sequence[int], str]:
    """Choose the ranks to show.

    Parameters
    ----------
    use : RankUse
        The ranks.
    most : int, optional
        How many can be shown.

    Returns
    -------
    ranks : sequence of int
        In order.
    note : str
        How they were chosen; empty if they are all.
    """
    ranks = sorted(use.attempts)
    if len(ranks) <= most:
        return ranks, ""
    by_use = sorted(ranks, key=lambda rank: (use.busy[rank], rank))
    extremes = min(_EXTREMES, most // 2)
    chosen = {*by_use[:extremes], *by_use[len(by_use) - extremes :]}
    others = [rank for rank in ranks if rank not in chosen]
    n_other = most - len(chosen)
    chosen.update(others[k * len(others) // n_other] for k in range(n_other))
    note = (
        f"{len(chosen)} of {len(ranks)} ranks: the {extremes} busiest, the {extremes} laziest, {n_other} of the others"
    )
    return sorted(chosen), note
