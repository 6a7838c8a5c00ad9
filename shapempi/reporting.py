"""The report of a run from its folder, and its plan as the report sees it: works while the run goes on, too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shapempi.errors import ConfigError
from shapempi.gather import read_plan
from shapempi.io.atomic import replacing
from shapempi.io.journal import read_journal
from shapempi.report.document import Block, Paragraph
from shapempi.report.html_page import to_html
from shapempi.report.markdown import to_markdown
from shapempi.report.run_record import RunRecord
from shapempi.report.run_report import run_document
from shapempi.report.survey_view import SurveyView
from shapempi.report.timeline import TIMELINE, write_timeline
from shapempi.survey.graph import SurveyPlan
from shapempi.units import BlockCost

__all__ = ["report_folder", "survey_view", "write_report"]

#: Size of a pixel of the tiles, about [arcsec].
_TILE_PIXEL = 0.186


def survey_view(plan: SurveyPlan, name: str = "") -> SurveyView:
    """Return a plan as the report sees it.

    Parameters
    ----------
    plan : SurveyPlan
        The plan.
    name : str, optional
        Name of the survey.
    """
    pixels = {tile.tile.uid: plan.pixels.get(tile.tile.uid, 0) for tile in plan.tiles}
    return SurveyView(
        name=name,
        ccds=frozenset(ccd.uid for ccd in plan.ccds),
        tiles={tile.tile.uid: tuple(ccd.uid for ccd in tile.ccds) for tile in plan.tiles},
        missing={tile.tile.uid: tile.missing for tile in plan.tiles if tile.missing},
        costs=plan.costs,
        promised={uid: BlockCost().per_pixel * n for uid, n in pixels.items()},
        areas={uid: n * (_TILE_PIXEL / 3600.0) ** 2 for uid, n in pixels.items()},
    )


def report_folder(run_folder: Path) -> Path:
    """Return the folder of a run's report; it is made if it is not there.

    Raises
    ------
    ConfigError
        If it cannot be made.
    """
    folder = run_folder / "report"
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: the folder cannot be made: {error.strerror}; change its permissions") from error
    return folder


def write_report(run_folder: Path, name: str, *, catalogue: Sequence[Block]) -> Path:
    """Write RUN/report: report.md, report.html, timeline.csv and pictures; an older report is replaced.

    Parameters
    ----------
    run_folder : Path
        The run, at any stage.
    name : str
        Name of the survey.
    catalogue : sequence of Block
        What is said of the catalogue.

    Returns
    -------
    Path
        The HTML file; it needs none of the others.

    Raises
    ------
    MissingInputError
        If the folder is not a run's.
    ConfigError
        If the report cannot be written.
    """
    plan = read_plan(run_folder)
    events, n_torn = read_journal(run_folder)
    record = RunRecord.of(events)
    folder = report_folder(run_folder)
    notes: list[Block] = []
    if n_torn:
        text = f"{n_torn} lines of the journal are not whole, as a crash leaves them; nothing here is made from them."
        notes.append(Paragraph(text, warning=True))
    try:
        document = run_document(record, survey_view(plan, name), folder, notes=notes, catalogue=catalogue)
        page = folder / "report.html"
        for path, content in ((page, to_html(document)), (folder / "report.md", to_markdown(document))):
            with replacing(path) as temporary:
                temporary.write_text(content, encoding="utf-8")
        write_timeline(record, folder / TIMELINE)
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(
            f"{folder}: the report cannot be written: {reason}; change the folder's permissions"
        ) from error
    return page
