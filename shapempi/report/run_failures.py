"""What went wrong in a run: failures by class and reason, and which tiles pay for which CCD."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from shapempi.report.run_record import BLOCKED, DONE, Attempt, RunRecord
from shapempi.report.survey_view import SurveyView

__all__ = [
    "Blame",
    "FailureGroup",
    "TileLoss",
    "blame",
    "failure_groups",
    "failures_by_class",
    "settled",
    "tile_losses",
]

_NUMBER = re.compile(r"\d+(?:[.:\-]\d+)*(?:[eE][+-]?\d+)?")


@dataclass(frozen=True)
class FailureGroup:
    """Failures that differ in their numbers only.

    Attributes
    ----------
    failure, error : str
        Class of the failure and of the exception.
    reason : str
        What went wrong; where it differs, numbers are `#`.
    units : tuple of str
        Units that failed of it.
    n_retry : int
        Attempts that failed of it and were tried again.
    retried : tuple of str
        Their units, those that failed in the end left out.
    """

    failure: str
    error: str
    reason: str
    units: tuple[str, ...]
    n_retry: int
    retried: tuple[str, ...]


def failures_by_class(attempts: Iterable[Attempt]) -> dict[str, tuple[int, int]]:
    """Return, by class, how many units failed for good and how many attempts were tried again; the most first."""
    final: Counter[str] = Counter()
    again: Counter[str] = Counter()
    for attempt in attempts:
        if attempt.state not in (DONE, BLOCKED):
            (final if attempt.final else again)[attempt.failure] += 1
    names = sorted(final | again, key=lambda name: (-final[name], -again[name], name))
    return {name: (final[name], again[name]) for name in names}


def settled(record: RunRecord) -> list[Attempt]:
    """Return what counts as failure: the last word on every unit, and attempts that were tried again."""
    return [*record.units.values(), *(attempt for attempt in record.attempts if not attempt.final)]


def failure_groups(record: RunRecord) -> list[FailureGroup]:
    """Return all failures, those of one class, error and reason together; the largest group first."""
    groups: dict[tuple[str, str, str], list[Attempt]] = {}
    for attempt in settled(record):
        if attempt.state != DONE:
            failure = BLOCKED if attempt.state == BLOCKED else attempt.failure
            groups.setdefault((failure, attempt.error, _NUMBER.sub("#", attempt.reason)), []).append(attempt)
    found = []
    for (failure, error, shape), members in groups.items():
        reasons = {attempt.reason for attempt in members}
        units = tuple(dict.fromkeys(attempt.uid for attempt in members if attempt.final))
        again = [attempt.uid for attempt in members if not attempt.final]
        retried = tuple(uid for uid in dict.fromkeys(again) if uid not in units)
        reason = reasons.pop() if len(reasons) == 1 else shape
        found.append(FailureGroup(failure, error, reason, units, len(again), retried))
    return sorted(found, key=lambda group: (-len(group.units), -group.n_retry, group.failure, group.reason))


@dataclass(frozen=True)
class Blame:
    """An exposure, or a CCD's unit of another name, and the tiles that lack it.

    Attributes
    ----------
    exposure : str
        Which.
    ccds : tuple of str
        CCDs that are lost; empty if the exposure's files are missing.
    tiles : tuple of str
        Tiles that lost epochs by it.
    reason : str
        Why; the commonest, if the CCDs differ.
    """

    exposure: str
    ccds: tuple[str, ...]
    tiles: tuple[str, ...]
    reason: str


def blame(record: RunRecord, survey: SurveyView) -> list[Blame]:
    """Return the exposures that cost tiles epochs, the worst first.

    A CCD is lost if it failed, and if it is done without an accepted PSF model.

    Parameters
    ----------
    record : RunRecord
        What became of the units.
    survey : SurveyView
        Which CCDs each tile needs.
    """
    lost = _lost_ccds(record)
    tiles: dict[str, dict[str, None]] = {}
    ccds: dict[str, dict[str, None]] = {}
    for tile, needed in survey.tiles.items():
        for uid in needed:
            if uid in lost:
                exposure = _exposure(uid)
                tiles.setdefault(exposure, {})[tile] = None
                ccds.setdefault(exposure, {})[uid] = None
    found = []
    for exposure, of_exposure in ccds.items():
        reason, n = Counter(lost[uid] for uid in of_exposure).most_common(1)[0]
        reason = reason if n == len(of_exposure) else f"{reason} ({n} of {len(of_exposure)} CCDs)"
        found.append(Blame(exposure, tuple(sorted(of_exposure)), tuple(tiles[exposure]), reason))
    absent: dict[int, list[str]] = {}
    for tile, exposures in survey.missing.items():
        for number in exposures:
            absent.setdefault(number, []).append(tile)
    found += [Blame(f"{n:07d}", (), tuple(of), "its files are missing or unreadable") for n, of in absent.items()]
    return sorted(found, key=lambda each: (-len(each.tiles), -len(each.ccds), each.exposure))


def _lost_ccds(record: RunRecord) -> dict[str, str]:
    """Return why each lost CCD is lost."""
    lost = {}
    for uid, unit in record.units.items():
        if unit.kind == "ccd":
            if unit.state != DONE:
                lost[uid] = f"{unit.error or unit.state}: {unit.reason}"
            elif unit.reason:
                lost[uid] = f"no accepted PSF model: {unit.reason}"
    return lost


def _exposure(uid: str) -> str:
    """Return the exposure in the name of a CCD's unit."""
    return uid.partition(":")[2].rpartition("-")[0] or uid


@dataclass(frozen=True)
class TileLoss:
    """A tile that is not what it could be.

    Attributes
    ----------
    tile : str
        Its unit.
    state : str
        missing, incomplete (blocks are lacking) or shallower (epochs are lacking).
    n_lost, n_ccd : int
        CCDs that are lost, and all that touch it.
    blocks : tuple of str
        Blocks that failed.
    reason : str
        Why it or a block failed.
    """

    tile: str
    state: str
    n_lost: int
    n_ccd: int
    blocks: tuple[str, ...]
    reason: str


def tile_losses(record: RunRecord, survey: SurveyView) -> list[TileLoss]:
    """Return the tiles that are missing, incomplete or shallower, the worst first."""
    lost = _lost_ccds(record)
    failed: dict[str, list[Attempt]] = {}
    for unit in record.units.values():
        if unit.kind == "block" and unit.state != DONE:
            failed.setdefault(f"tile:{unit.uid.split(':')[1]}" if ":" in unit.uid else "", []).append(unit)
    found = []
    for tile, needed in survey.tiles.items():
        own, blocks = record.units.get(tile), failed.get(tile, [])
        n_lost, absent = sum(uid in lost for uid in needed), survey.missing.get(tile, ())
        reason = ""
        if own is not None and own.state != DONE:
            state, reason = "missing", f"{own.error or own.state}: {own.reason}"
        elif blocks:
            state, reason = "incomplete", f"{blocks[0].error or blocks[0].state}: {blocks[0].reason}"
        elif n_lost or absent:
            state = "shallower"
            reason = f"{len(absent)} exposures are missing" if absent else ""
        else:
            continue
        found.append(TileLoss(tile, state, n_lost, len(needed), tuple(block.uid for block in blocks), reason))
    order = {"missing": 0, "incomplete": 1, "shallower": 2}
    return sorted(found, key=lambda loss: (order[loss.state], -len(loss.blocks), -loss.n_lost, loss.tile))
