"""Sections of the report of a run about what became of it: jobs, units, failures, and who pays for them."""

from __future__ import annotations

from collections import Counter

from shapempi.report.document import Block, Paragraph, Table
from shapempi.report.run_failures import blame, failure_groups, failures_by_class, settled, tile_losses
from shapempi.report.run_record import RunRecord, in_order
from shapempi.report.run_words import MOST_ROWS, cut, moment, named, seconds, span
from shapempi.report.survey_view import SurveyView
from shapempi.report.unit_times import step_times

__all__ = ["about_blame", "about_failures", "about_run", "about_times"]


def about_run(record: RunRecord, survey: SurveyView) -> tuple[Block, ...]:
    """Say what ran, where, and how it ended."""
    if not record.jobs:
        return (Paragraph("The run has not started: its journal is empty.", warning=True),)
    hosts: dict[str, dict[str, None]] = {}
    for attempt in record.attempts:
        if attempt.host and not attempt.restored:
            hosts.setdefault(attempt.job, {})[attempt.host] = None
    rows = [
        (
            job.name,
            named(list(hosts.get(job.name, ()))) or "-",
            job.n_rank,
            moment(job.start),
            moment(job.end),
            span(job.wall),
            "none: running or killed" if job.exit_code is None else job.exit_code,
            job.drained or "-",
        )
        for job in record.jobs
    ]
    blocks: list[Block] = [
        Paragraph(
            f"{survey.name}: {len(survey.tiles)} tiles, {len(survey.ccds)} CCDs; jobs: "
            f"{len(record.jobs)}. Times are UTC; a job without an exit code ends with the last "
            "line that it wrote."
        ),
        Table.of("<job|<hosts|ranks|<start|<end|wall|exit code|<drained", rows[-MOST_ROWS:]),
        *cut(len(rows), "jobs", "are older"),
    ]
    left = _open(record, survey)
    if left:
        text = ", ".join(f"{n} {kind}" for kind, n in left.items())
        blocks.append(Paragraph(f"The run is incomplete: not ended are {text} units and what follows from them.", True))
    if record.lost:
        lost = [(each.job, each.rank, each.host or "-", each.uid or "-", moment(each.time)) for each in record.lost]
        blocks += [Paragraph(f"{len(record.lost)} ranks were lost.", warning=True)]
        blocks += [Table.of("<job|rank|<host|<unit|<when", lost[:MOST_ROWS]), *cut(len(lost), "ranks")]
    return tuple(blocks)


def _open(record: RunRecord, survey: SurveyView) -> dict[str, int]:
    """Return the number of planned units that have not ended, by kind."""
    planned = {"ccd": survey.ccds, "tile": survey.tiles}
    left = {kind: sum(uid not in record.units for uid in uids) for kind, uids in planned.items()}
    return {kind: n for kind, n in left.items() if n}


def about_times(record: RunRecord, survey: SurveyView) -> tuple[Block, ...]:
    """Count units by kind and state; tell the time of every step."""
    states: dict[str, Counter[str]] = {}
    for unit in record.units.values():
        states.setdefault(unit.kind, Counter())[unit.state] += 1
    if not states:
        return (Paragraph("No unit has ended."),)
    found = {attempt.uid: attempt.kind for attempt in record.attempts if attempt.restored}
    restored = Counter(found.values())
    again = Counter(attempt.kind for attempt in record.attempts if not attempt.final)
    counts = [
        (kind, count["done"], count["failed"], count["blocked"], count["quarantined"], again[kind], restored[kind])
        for kind in in_order(states)
        for count in (states[kind],)
    ]
    times = [
        (t.kind, t.step, t.n, span(t.total), seconds(t.p50), seconds(t.p99), f"{t.share:.1%}")
        for t in step_times(record)
    ]
    blocks: list[Block] = [
        Table.of("<kind|done|failed|blocked|quarantined|retries|found committed", counts),
    ]
    if times:
        text = (
            "All jobs and ranks together. p50 and p99 are of units that are done; the share is that of all units' time."
        )
        blocks += [Paragraph(text), Table.of("<kind|<step|attempts|time|p50 [s]|p99 [s]|share", times)]
    return tuple(blocks)


def about_failures(record: RunRecord) -> tuple[Block, ...]:
    """Show failures by class, then by reason."""
    groups = failure_groups(record)
    if not groups:
        return (Paragraph("Nothing failed."),)
    classes = [(name, *numbers) for name, numbers in failures_by_class(settled(record)).items()]
    rows = [
        (g.failure, g.error or "-", len(g.units), g.n_retry, g.reason, named([*g.units, *g.retried])) for g in groups
    ]
    blocks: list[Block] = []
    if classes:
        blocks.append(Table.of("<class|units failed|attempts tried again", classes))
    blocks += [
        Paragraph("By reason; # is a number that differs."),
        Table.of("<class|<error|units|retries|<reason|<which", rows[:MOST_ROWS]),
        *cut(len(rows), "reasons"),
    ]
    return tuple(blocks)


def about_blame(record: RunRecord, survey: SurveyView) -> tuple[Block, ...]:
    """Show which exposures cost tiles their epochs, and which tiles lack something."""
    guilty, losses = blame(record, survey), tile_losses(record, survey)
    if not guilty and not losses:
        return (Paragraph("No tile lacks anything."),)
    blocks: list[Block] = []
    if guilty:
        rows = [
            (
                b.exposure,
                len(b.ccds) or "all",
                len(b.tiles),
                named([t.removeprefix("tile:") for t in b.tiles]),
                b.reason,
            )
            for b in guilty
        ]
        blocks += [
            Paragraph("Exposures with CCDs that failed or have no accepted PSF model: the tiles lost these epochs."),
            Table.of("<exposure|CCDs|tiles|<which tiles|<reason", rows[:MOST_ROWS]),
            *cut(len(rows), "exposures"),
        ]
    if losses:
        lacking = [
            (x.tile.removeprefix("tile:"), x.state, f"{x.n_lost} of {x.n_ccd}", len(x.blocks), x.reason or "-")
            for x in losses
        ]
        blocks += [
            Paragraph("Tiles that are missing, incomplete (blocks failed) or shallower (epochs were lost)."),
            Table.of("<tile|<state|CCDs lost|blocks failed|<reason", lacking[:MOST_ROWS]),
            *cut(len(lacking), "tiles"),
        ]
    return tuple(blocks)
