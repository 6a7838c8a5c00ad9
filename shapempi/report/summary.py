"""The summary of a run: units by state, rows, time by step, failures with their reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from shapempi.report.progress import duration

__all__ = ["RunSummary"]

#: Reasons shown per kind of failure; the journal has all of them.
_SHOWN = 8


@dataclass
class RunSummary:
    """What became of the units, built up outcome by outcome.

    Attributes
    ----------
    states : dict of str to Counter
        Number of units by kind and final state.
    restored : int
        Units that an earlier run had committed.
    rows : int
        Catalogue rows of the blocks.
    seconds : dict of str to float
        Time by kind and step [s], over all ranks.
    elapsed : float
        Time in units, over all ranks [s].
    cpu : float
        Processor time of the units [s].
    rss_peak : int
        Largest resident memory of a rank [byte].
    counts : Counter
        What the units counted, by name.
    failures : list of (uid, error class, reason)
        Units that failed or are blocked.
    refused : list of (uid, reason)
        CCDs that were done and have no accepted PSF model.
    """

    states: dict[str, Counter[str]] = field(default_factory=dict)
    restored: int = 0
    rows: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    elapsed: float = 0.0
    cpu: float = 0.0
    rss_peak: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[str, str, str]] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)

    @classmethod
    def of(cls, outcomes: Iterable[Mapping[str, Any]]) -> Self:
        """Add up outcomes in the form of journal lines.

        Of a unit with several outcomes the last counts; but how it was done tells more than that it was found done.
        """
        summary = cls()
        latest: dict[str, Mapping[str, Any]] = {}
        for outcome in outcomes:
            earlier = latest.get(str(outcome["uid"]))
            if earlier is None or earlier["state"] != "done" or not outcome["restored"]:
                latest[str(outcome["uid"])] = outcome
        for outcome in latest.values():
            summary.add(outcome)
        return summary

    def add(self, outcome: Mapping[str, Any]) -> None:
        """Add one outcome in the form of a journal line."""
        kind, state = str(outcome["kind"]), str(outcome["state"])
        self.states.setdefault(kind, Counter())[state] += 1
        self.restored += bool(outcome["restored"])
        if kind == "block" and outcome["place"]:
            self.rows += int(outcome["place"][3])
        for step, seconds in outcome["seconds"].items():
            name = f"{kind}: {step}"
            self.seconds[name] = self.seconds.get(name, 0.0) + float(seconds)
        self.elapsed += float(outcome["elapsed"])
        self.cpu += float(outcome["cpu"])
        self.rss_peak = max(self.rss_peak, int(outcome["rss_peak"]))
        self.counts.update(outcome.get("counts") or {})  # not in journals of older versions
        if state != "done":
            self.failures.append((str(outcome["uid"]), str(outcome["error"]) or state, str(outcome["reason"])))
        elif outcome["reason"]:
            self.refused.append((str(outcome["uid"]), str(outcome["reason"])))

    @property
    def n_failed(self) -> int:
        """Units that failed or are blocked."""
        return len(self.failures)

    def lines(self, *, wall: float | None = None, n_worker: int = 1) -> list[str]:
        """Return the summary as lines of text.

        Parameters
        ----------
        wall : float, optional
            Time from start to end [s].
        n_worker : int, optional
            Ranks that did units.
        """
        text = ["", "units         done   failed  blocked  quarantined"]
        text += [
            f"{kind:10s} {states['done']:7d} {states['failed']:8d} {states['blocked']:8d} {states['quarantined']:12d}"
            for kind, states in self.states.items()
        ]
        text.append(f"catalogue rows {self.rows}; {self.restored} units were committed before")
        if self.seconds:
            text += ["", "time by step, all ranks together"]
            total = max(sum(self.seconds.values()), 1e-9)
            text += [f"  {step:24s} {seconds:9.1f} s {seconds / total:6.1%}" for step, seconds in self._longest()]
        if wall is not None and wall > 0:
            busy = self.elapsed / (wall * max(n_worker, 1))
            text.append(
                f"wall {duration(wall)}, {self.cpu / 3600:.3f} core-hours in units, workers busy {min(busy, 1.0):.0%}, "
                f"memory peak {self.rss_peak / 2**30:.2f} GiB"
            )
        if self.counts:
            text.append(
                f"exposure files on the nodes' disks: {self.counts['cache_hits']} found, "
                f"{self.counts['cache_copies']} copied ({self.counts['cache_bytes'] / 2**30:.2f} GiB), "
                f"{self.counts['cache_originals']} read from where they are"
            )
        return text + self.failure_lines()

    def failure_lines(self) -> list[str]:
        """Return CCDs without a PSF model, then the failures, those with the same class together."""
        text: list[str] = []
        by_class: dict[str, list[tuple[str, str]]] = {}
        for uid, error, reason in self.failures:
            by_class.setdefault(error, []).append((uid, reason))
        by_class = {"done, without an accepted PSF model": self.refused} | by_class if self.refused else by_class
        for error, members in by_class.items():
            text += ["", f"{error} ({len(members)})"]
            text += [f"  {uid}: {reason}" for uid, reason in members[:_SHOWN]]
            if len(members) > _SHOWN:
                text.append(f"  and {len(members) - _SHOWN} more; see journal.jsonl")
        return text

    def _longest(self) -> list[tuple[str, float]]:
        return sorted(self.seconds.items(), key=lambda item: -item[1])[:14]
