"""The report of a run: what was done, what failed and who pays for it, where the time went, and what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shapempi.report.document import Block, Document, Section
from shapempi.report.run_outcome import about_blame, about_failures, about_run, about_times
from shapempi.report.run_record import RunRecord
from shapempi.report.run_use import about_cost, about_memory, about_predictions, about_ranks, about_waiting
from shapempi.report.survey_view import SurveyView

__all__ = ["run_document"]


def run_document(
    record: RunRecord, survey: SurveyView, folder: Path, *, notes: Sequence[Block] = (), catalogue: Sequence[Block]
) -> Document:
    """Make the report of a run and the pictures in it.

    Parameters
    ----------
    record : RunRecord
        The run by its journal.
    survey : SurveyView
        The run by its plan.
    folder : Path
        Where the pictures are written; those that are there are replaced.
    notes : sequence of Block, optional
        What is to be said first.
    catalogue : sequence of Block
        What is said of the catalogue, last.

    Returns
    -------
    Document
        The report.
    """
    sections = (
        Section("The run", (*notes, *about_run(record, survey))),
        Section("Units and their time", about_times(record, survey)),
        Section("Failures", about_failures(record)),
        Section("Who pays for it", about_blame(record, survey)),
        Section("Predicted and used time", about_predictions(record, survey, folder)),
        Section("Ranks", about_ranks(record, folder)),
        Section("Waiting", about_waiting(record)),
        Section("Memory", about_memory(record, folder)),
        Section("Cost", about_cost(record, survey)),
        Section("Catalogue", tuple(catalogue)),
    )
    return Document(f"Run report: {survey.name}", sections)
