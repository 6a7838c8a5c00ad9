"""Everything that a journal says of a run, as typed values: its jobs, the attempts at units, what became of these.

Journals of older versions lack some of the fields, and a journal that a crash cut off lacks its end: what is not there
has a value that says so, and nothing here fails.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

__all__ = ["BLOCKED", "DONE", "Attempt", "Job", "LostRank", "RunRecord", "in_order"]

DONE, BLOCKED = "done", "blocked"

#: The kinds of units of a run, in the order in which one depends on the other.
_KINDS = ("ccd", "tile", "block")

#: Class of a failure in a journal that does not say it.
_UNKNOWN_CLASS = "not recorded"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at a unit, or what is known of a unit that nobody did (blocked, or committed before).

    Attributes
    ----------
    job, uid, kind, state : str
        Start of the run, unit, kind of unit, and how it ended: done, failed, blocked, quarantined.
    number : int
        Which attempt it was, from 1.
    final : bool
        False if the unit was tried again.
    rank : int
        Who did it; negative for nobody.
    host : str
        Name of the machine.
    begin, end : float
        When [s since 1970].  In older journals the end is when rank 0 wrote it down.
    elapsed, cpu : float
        Wall-clock and processor time [s].
    cost : float
        Predicted time [s]; 0 if the journal does not say.
    rss_peak : int
        Largest resident memory of the process until then [byte].
    seconds : mapping of str to float
        Time of each step [s].
    failure, error, reason : str
        Class of the failure, class of the exception, and what went wrong; of a CCD that is done without an accepted
        PSF model the reason.
    n_row : int
        Rows of the result.
    restored : bool
        Whether an earlier job had committed it.
    """

    job: str
    uid: str
    kind: str
    state: str
    number: int = 1
    final: bool = True
    rank: int = -1
    host: str = ""
    begin: float = 0.0
    end: float = 0.0
    elapsed: float = 0.0
    cpu: float = 0.0
    cost: float = 0.0
    rss_peak: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    failure: str = ""
    error: str = ""
    reason: str = ""
    n_row: int = 0
    restored: bool = False

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> Self:
        """Read a line `unit` or `retry` of a journal."""
        elapsed, state = float(event.get("elapsed") or 0.0), str(event.get("state") or "failed")
        begin = float(event.get("begin") or 0.0)
        begin = begin if begin > 0 else float(event["time"]) - elapsed
        place = event.get("place")
        failure = str(event.get("failure") or "")
        if state not in (DONE, BLOCKED):
            failure = failure or _UNKNOWN_CLASS
        return cls(
            job=str(event.get("job", "")),
            uid=str(event.get("uid", "")),
            kind=str(event.get("kind", "")),
            state=state,
            number=int(event.get("attempt") or 1),
            final=event["event"] == "unit",
            rank=_rank(event),
            host=str(event.get("host") or ""),
            begin=begin,
            end=begin + elapsed,
            elapsed=elapsed,
            cpu=float(event.get("cpu") or 0.0),
            cost=float(event.get("cost") or 0.0),
            rss_peak=int(event.get("rss_peak") or 0),
            seconds={str(step): float(value) for step, value in (event.get("seconds") or {}).items()},
            failure=failure,
            error=str(event.get("error") or ""),
            reason=str(event.get("reason") or ""),
            n_row=int(place[3]) if place else 0,
            restored=bool(event.get("restored")),
        )

    @property
    def worked(self) -> bool:
        """Whether a rank spent time on it."""
        return self.rank >= 0 and not self.restored and self.state != BLOCKED


@dataclass(frozen=True)
class LostRank:
    """A rank that was heard of no more."""

    job: str
    rank: int
    host: str
    uid: str
    time: float


@dataclass(frozen=True)
class Job:
    """One start of the run.

    Attributes
    ----------
    name : str
        Its name.
    n_rank : int
        Ranks; 0 if the journal does not say.
    start, end : float
        When [s since 1970]; the end of a job that was killed is the last that it wrote.
    exit_code : int or None
        How it ended; None if it did not end, or was killed.
    drained : str
        Why it stopped to give out units; empty if it did not.
    """

    name: str
    n_rank: int
    start: float
    end: float
    exit_code: int | None = None
    drained: str = ""

    @property
    def wall(self) -> float:
        """Time from start to end [s]."""
        return max(self.end - self.start, 0.0)

    @property
    def workers(self) -> range:
        """The ranks that do units: all but rank 0, unless it is alone."""
        return range(1, self.n_rank) if self.n_rank > 1 else range(self.n_rank)

    @property
    def billed(self) -> float:
        """What a batch system charges [core-hours]: wall-clock time of all ranks, rank 0 included."""
        return self.wall * self.n_rank / 3600.0


@dataclass(frozen=True)
class RunRecord:
    """A run by its journal.

    Attributes
    ----------
    jobs : tuple of Job
        Starts of the run, in order.
    attempts : tuple of Attempt
        Everything that is said of units, in order.
    units : dict of str to Attempt
        What became of each unit.
    lost : tuple of LostRank
        Ranks that were lost.
    """

    jobs: tuple[Job, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    units: Mapping[str, Attempt] = field(default_factory=dict)
    lost: tuple[LostRank, ...] = ()

    @classmethod
    def of(cls, events: Iterable[Mapping[str, Any]]) -> Self:
        """Read the events of a journal (`shapempi.io.journal.read_journal`)."""
        jobs: dict[str, Job] = {}
        attempts: list[Attempt] = []
        lost: list[LostRank] = []
        for event in events:
            name, moment = str(event.get("job", "")), float(event["time"])
            job = jobs.get(name) or Job(name, 0, moment, moment)
            job = replace(job, end=max(job.end, moment))
            if event["event"] in ("start", "resume"):
                job = replace(job, n_rank=int(event.get("n_rank") or 0))
            elif event["event"] == "stop":
                code = event.get("exit_code")
                job = replace(job, exit_code=None if code is None else int(code))
            elif event["event"] == "drain":
                job = replace(job, drained=str(event.get("reason") or "no reason given"))
            elif event["event"] == "lost":
                uid, host = str(event.get("uid") or ""), str(event.get("host") or "")
                lost.append(LostRank(name, _rank(event), host, uid, moment))
            elif event["event"] in ("unit", "retry"):
                attempts.append(Attempt.of(event))
            jobs[name] = job
        ranks: dict[str, int] = {}
        for attempt in attempts:
            ranks[attempt.job] = max(ranks.get(attempt.job, 0), attempt.rank + 1)
        # A journal without its first line: there were at least the ranks that did something.
        whole = (replace(job, n_rank=job.n_rank or ranks.get(job.name, 0)) for job in jobs.values())
        return cls(tuple(whole), tuple(attempts), _latest(attempts), tuple(lost))

    def worked(self, job: str | None = None) -> list[Attempt]:
        """Return the attempts that a rank spent time on; of one job, or of all."""
        return [a for a in self.attempts if a.worked and job in (None, a.job)]

    def kinds(self) -> list[str]:
        """Return the kinds of units."""
        return in_order(attempt.kind for attempt in self.attempts)

    @property
    def n_row(self) -> int:
        """Rows of the catalogue: objects in blocks that are done."""
        return sum(unit.n_row for unit in self.units.values() if unit.kind == "block" and unit.state == DONE)


def _rank(event: Mapping[str, Any]) -> int:
    """Return the rank that an event is about; -1 for none."""
    rank = event.get("rank")
    return -1 if rank is None else int(rank)


def in_order(kinds: Iterable[str]) -> list[str]:
    """Return each kind once: those of a run in the order of the chain, others behind them."""
    found = set(kinds)
    return [kind for kind in _KINDS if kind in found] + sorted(found.difference(_KINDS))


def _latest(attempts: Iterable[Attempt]) -> dict[str, Attempt]:
    """Return what became of each unit: the last counts, but how it was done tells more than that it was found done."""
    latest: dict[str, Attempt] = {}
    for attempt in attempts:
        earlier = latest.get(attempt.uid)
        if attempt.final and (earlier is None or earlier.state != DONE or not attempt.restored):
            latest[attempt.uid] = attempt
    return latest
