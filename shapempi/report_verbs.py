"""What the verbs about a run as a whole do: how far it is, and what is to be said of it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from shapempi.chain import catalogue_and_truth, tiles_of
from shapempi.config import Config, load
from shapempi.errors import ConfigError
from shapempi.gather import read_plan
from shapempi.io.catalog import read_missing, read_table
from shapempi.io.journal import read_journal
from shapempi.io.ledger import Ledger
from shapempi.io.truth import read_truth
from shapempi.report.document import Block, Listing, Paragraph, Picture
from shapempi.report.figures import draw_overview
from shapempi.report.status import RunStatus
from shapempi.report.summary import RunSummary
from shapempi.report.truth import compare, compare_opposite
from shapempi.report.watch import watch
from shapempi.reporting import report_folder, survey_view, write_report
from shapempi.sim.write import SurveyFiles

__all__ = ["report", "status"]


def status(options: argparse.Namespace) -> int:
    """Say how far a run is."""
    survey = survey_view(read_plan(options.run))  # says so if this is no run
    if options.committed:
        return _count_committed(options.run)
    if options.watch:
        if not options.interval > 0:
            raise ConfigError(f"--interval {options.interval:g}: the time between two looks must be greater than 0 s")
        try:
            state = watch(lambda: RunStatus.read(options.run, survey), options.interval)
        except KeyboardInterrupt:  # ends the watching; the run knows nothing of it
            return 130
    else:
        state = RunStatus.read(options.run, survey)
        print("\n".join(state.lines()))
    return state.exit_code if options.exit_code else 0


def _count_committed(run_folder: Path) -> int:
    """Print the number of committed units: what the part files say, whatever the journal does."""
    found = Ledger.read(run_folder)
    print(len(found.locations))
    for text in found.damaged:
        print(f"shapempi: damaged part file: {text}", file=sys.stderr)
    return 0


def report(options: argparse.Namespace) -> int:
    """Print the summary, draw the figures, compare with the truth; write all that a run can say of itself."""
    read_plan(options.run)  # says so if this is no run
    settings = load(options.run / "config.toml")
    folder = report_folder(options.run)
    outcomes = [event for event in read_journal(options.run)[0] if event["event"] == "unit"]
    lines = RunSummary.of(outcomes).lines()
    path = options.run / "catalogue.h5"
    blocks: list[Block]
    if path.exists() or options.truth is not None or options.opposite is not None:
        blocks, more = _about_catalogue(options, settings, folder / "overview.png")
        last = folder / "overview.png"
    else:
        text = f"There is no catalogue yet, so nothing is said of it; `shapempi gather {options.run}` makes it."
        blocks, more = [Paragraph(text)], ["", text]
        last = folder / "report.html"
    lines += more
    page = write_report(options.run, settings.survey.name, catalogue=blocks)
    print("\n".join(lines))
    (folder / "report.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n" + "\n".join(str(each) for each in dict.fromkeys((page, last))))
    return 0


def _about_catalogue(options: argparse.Namespace, settings: Config, picture: Path) -> tuple[list[Block], list[str]]:
    """Draw a run's catalogue and compare it with the truth; returns what the report and the summary say of it."""
    path = options.run / "catalogue.h5"
    catalogue, stars, missing = read_table(path), read_table(path, "stars"), read_missing(path)
    draw_overview(catalogue, stars, picture, title=f"{settings.survey.name}: {len(catalogue)} objects")
    blocks: list[Block] = [Paragraph(f"{path}: {len(catalogue)} objects, {len(stars)} held-back stars.")]
    if missing:
        blocks.append(Paragraph(f"{len(missing)} units of the plan are not in the catalogue.", warning=True))
    blocks.append(Picture(picture, "Sky, sizes, classes, PSF residuals of the held-back stars, and shapes."))
    lines: list[str] = []
    truth_path = options.truth or SurveyFiles(settings.input.exposure_folder.parent).truth
    if options.truth is not None or options.opposite is not None or truth_path.exists():
        tiles, truth = tiles_of(settings), read_truth(truth_path)
        lines += ["", f"against the truth, {truth_path}", *compare(catalogue, truth, tiles).lines()]
        if options.opposite is not None:
            bias = compare_opposite((catalogue, truth), catalogue_and_truth(options.opposite), tiles)
            lines += ["", f"with {options.opposite}: too few galaxies"] if bias is None else ["", *bias.lines()]
        blocks.append(Listing(tuple(lines[1:])))
    return blocks, lines
