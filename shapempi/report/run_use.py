"""Sections of the report of a run about what it used: time as predicted, ranks, waiting, memory, core-hours."""

from __future__ import annotations

import math
from pathlib import Path

from shapempi.report.document import Block, Paragraph, Picture, Table
from shapempi.report.rank_use import choose_ranks, rank_use
from shapempi.report.run_cost import RunCost, predictions
from shapempi.report.run_figures import MOST_HOSTS, draw_cost, draw_gantt, draw_memory
from shapempi.report.run_record import RunRecord, in_order
from shapempi.report.run_words import MOST_ROWS, cut, seconds, span
from shapempi.report.survey_view import SurveyView
from shapempi.report.timeline import TIMELINE
from shapempi.report.unit_times import memory_peaks, waiting

__all__ = ["about_cost", "about_memory", "about_predictions", "about_ranks", "about_waiting"]

#: Jobs with a picture.
_JOBS = 4
#: A kind of unit that computes for less than this fraction of its time is said to wait.
_BUSY_ENOUGH = 0.6


def about_predictions(record: RunRecord, survey: SurveyView, folder: Path) -> tuple[Block, ...]:
    """Compare predicted with used time."""
    found = predictions(record, survey)
    if not found:
        return (Paragraph("No unit that is done has a prediction."),)
    draw_cost(found, folder / "cost.png")
    rows = [
        (
            p.kind,
            len(p.used),
            seconds(p.predicted.sum()),
            seconds(p.used.sum()),
            f"{p.median:.3g}",
            _factor(p.scatter),
        )
        for p in found
    ]
    table = Table.of("<kind|units|predicted [s]|used [s]|median used/predicted|68% within a factor", rows)
    caption = "A point for each unit that is done: what was predicted when it was given out, and what it took."
    return table, Picture(folder / "cost.png", caption)


def about_ranks(record: RunRecord, folder: Path) -> tuple[Block, ...]:
    """Show what the ranks of each job did."""
    uses = [use for job in record.jobs if any((use := rank_use(record, job)).attempts.values())]
    if not uses:
        return (Paragraph("No rank has done anything."),)
    rows = []
    for use in uses:
        busy = sorted(use.busy.values())
        share = use.tail / use.job.wall if use.job.wall > 0 else 0.0
        tail = (span(use.tail), f"{share:.0%}", f"{use.tail_lost:.3g}")
        rows.append((use.job.name, len(busy), f"{use.mean_busy:.0%}", f"{busy[0]:.0%}", f"{busy[-1]:.0%}", *tail))
    blocks: list[Block] = [
        Paragraph(
            "The idle tail begins when the first rank has nothing more to do, and lasts until the end of the job."
        ),
        Table.of("<job|ranks|busy|laziest|busiest|idle tail|of the wall|core-hours idle in it", rows[-MOST_ROWS:]),
        *cut(len(rows), "jobs", "are older"),
    ]
    if len(uses) > _JOBS:
        blocks.append(Paragraph(f"Pictures of the last {_JOBS} jobs that did units; {TIMELINE} has all."))
    for number, use in list(enumerate(uses, start=1))[-_JOBS:]:
        path = folder / f"ranks-{number}.png"
        draw_gantt(use, path)
        note = choose_ranks(use)[1]
        what = (
            f"Job {use.job.name}: a row for each rank that does units, a colour for each kind, and the busy fraction."
        )
        blocks.append(Picture(path, f"{what} Shown are {note}." if note else what))
    return tuple(blocks)


def about_waiting(record: RunRecord) -> tuple[Block, ...]:
    """Tell how much of their time units did not compute."""
    found = waiting(record.worked())
    if not found:
        return (Paragraph("No unit took any time."),)
    slow = [each for each in found if each.share > 1 - _BUSY_ENOUGH]
    return (
        Paragraph("Waiting is (elapsed - processor time) / elapsed: for files, or for a core that others use, too."),
        Table.of(
            "<kind|waiting|steps that read|commit",
            [(each.kind, f"{each.share:.1%}", f"{each.read:.1%}", f"{each.commit:.1%}") for each in found],
        ),
        *(
            Paragraph(f"I/O-bound: units of kind {each.kind} wait {each.share:.0%} of their time.", warning=True)
            for each in slow
        ),
    )


def about_memory(record: RunRecord, folder: Path) -> tuple[Block, ...]:
    """Show memory peaks by host and kind."""
    peaks = memory_peaks(record.worked())
    if not peaks:
        return (Paragraph("The journal tells nothing of memory."),)
    draw_memory(peaks, folder / "memory.png")
    kinds = in_order(kind for of_host in peaks.values() for kind in of_host)
    rows = [
        (host, *(f"{of_host[kind] / 2**30:.2f}" if kind in of_host else "-" for kind in kinds))
        for host, of_host in list(peaks.items())[:MOST_HOSTS]
    ]
    text = "Largest resident memory of a rank until a unit ended, in GiB: what earlier units of the rank needed counts."
    table = Table((("host", True), *((kind, False) for kind in kinds)), tuple(rows))
    return (
        Paragraph(text),
        table,
        *cut(len(peaks), "hosts", most=MOST_HOSTS),
        Picture(folder / "memory.png", "The same as a picture."),
    )


def about_cost(record: RunRecord, survey: SurveyView) -> tuple[Block, ...]:
    """Tell what the run cost."""
    cost = RunCost.of(record, survey)
    per = (cost.n_tile, cost.area, cost.n_object / 1e6)
    rows = [
        (name, f"{hours:.4g}", *(f"{hours / n:.4g}" if n > 0 else "-" for n in per))
        for name, hours in (
            ("processor time of units", cost.cpu),
            ("units, by the clock", cost.occupied),
            ("of these, attempts that failed", cost.wasted),
            ("billed: wall x ranks", cost.billed),
        )
    ]
    text = (
        f"Core-hours of all jobs, for {cost.n_tile} complete tiles of {cost.area:.4g} deg2 (of the images, with their "
        f"overlaps) and {cost.n_object} objects. Start of the program and planning are not in it."
    )
    return Paragraph(text), Table.of("<core-hours|all|per tile|per deg2|per million objects", rows)


def _factor(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"
