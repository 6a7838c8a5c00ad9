"""What the files of a survey looked like when a run used them: sizes and dates, to notice that one was replaced."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from shapempi.survey.graph import SurveyPlan
from shapempi.survey.inputs import SurveyInputs
from shapempi.survey.placed_exposure import Looks

__all__ = ["changed_files", "fingerprint"]


def fingerprint(inputs: SurveyInputs, plan: SurveyPlan) -> dict[str, Looks]:
    """Return size and date of every file that a plan uses and that is there.

    Parameters
    ----------
    inputs : SurveyInputs
        The files.
    plan : SurveyPlan
        The units that use them.

    Returns
    -------
    dict
        By path.
    """
    paths: set[Path] = set()
    for exposure in {ccd.exposure for ccd in plan.ccds}:
        for files in inputs.exposure_files(exposure):
            paths |= {path for path in (files.image, files.weight, files.flag) if path is not None}
    for tile in plan.tiles:
        paths |= {*inputs.tile_paths(tile.tile), *(inputs.detection_paths(tile.tile) or ())}
    looks = {}
    for path in sorted(paths):
        try:
            stat = path.stat()
        except OSError:  # missing: the unit that needs it says so
            continue
        looks[str(path)] = (stat.st_size, stat.st_mtime_ns)
    return looks


def changed_files(before: Mapping[str, Looks], now: Mapping[str, Looks]) -> list[str]:
    """Return the files that look otherwise than before; new and missing ones have not changed.

    Parameters
    ----------
    before, now : mapping
        What `fingerprint` gave.
    """
    return [path for path, looks in now.items() if path in before and tuple(before[path]) != tuple(looks)]
