"""The .setools files that [SETOOLS_RUNNER] names, and which of their sections PSFEx gets its stars from."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from shapempi.convert.ini import Entry
from shapempi.convert.module_run import ModuleRun
from shapempi.convert.note import Assignment, Fate, Note
from shapempi.convert.value import path_of
from shapempi.errors import ConfigError
from shapempi.measure.detection_table import DETECTION_DTYPE
from shapempi.measure.setools.program import Program
from shapempi.measure.setools.syntax import masks_in
from shapempi.measure.stars import StarParams, constants_of
from shapempi.selection import read_selection

__all__ = ["read_setools_file", "stars_of"]

_STANDARD = StarParams()


def _parsed(entry: Entry, run: ModuleRun) -> Program | Note:
    """Return the selection that a key names, or what is wrong with it."""
    path = path_of(entry.value, run.environment)
    try:
        return read_selection(path)
    except ConfigError as error:
        return Note(Fate.FAILED, entry.where, str(entry), f"{error}; the standard selection is taken")


def read_setools_file(entry: Entry, run: ModuleRun) -> Iterator[Assignment | Note]:
    """Refer to the .setools file: the language is the same, and the file its best home."""
    program = _parsed(entry, run)
    if isinstance(program, Note):
        yield program
        return
    yield run.assignment(entry, "stars.selection", str(path_of(entry.value, run.environment)))
    if program.plots:
        text = 'plots are made with stars.output = ["plot"], or by `shapempi select-stars FILE CATALOGUE --plots`'
        yield Note(Fate.CHANGED, entry.where, f"{len(program.plots)} PLOT sections of {program.name}", text)


def stars_of(selecting: ModuleRun, fitting: ModuleRun | None, entry: Entry) -> Iterator[Assignment | Note]:
    """Say which MASK section selects the stars and which RAND_SPLIT section holds stars back.

    ShapePipe says that by the name of the files that PSFEx gets.

    Parameters
    ----------
    selecting : ModuleRun
        The selection.
    fitting : ModuleRun or None
        The PSF model; None if none of the files has it.
    entry : Entry
        SETOOLS_CONFIG_PATH.
    """
    program = _parsed(entry, selecting)
    if isinstance(program, Note):
        return
    patterns = fitting.words("FILE_PATTERN") if fitting is not None else []
    source = fitting.setting("FILE_PATTERN") if fitting is not None and patterns else None
    pattern, said = (patterns or [_STANDARD.mask])[0], source or entry
    masks = [mask.name for mask in program.masks]
    if pattern in masks:
        yield Assignment("stars.mask", pattern, said.where, str(said))
        drawn = [split.name for split in program.splits]
        hint = f"; {drawn[0]} would hold some back" if drawn else "; a RAND_SPLIT section would hold some back"
        reason = f"PSFEx gets all stars of {pattern}, and none is held back for the validation{hint}"
        yield Assignment("stars.split", "", said.where, str(said), reason)
        return
    name, _, label = pattern.partition("_ratio_")
    split = next((split for split in program.splits if split.name == name), None)
    if split is None:
        known = ", ".join([*masks, *(f"{split.name}_ratio_..." for split in program.splits)])
        text = f"{program.name} makes no files {pattern}; it makes {known}; set stars.mask and stars.split"
        yield Note(Fate.FAILED, said.where, str(said), text)
        return
    try:
        outcome = program.select(np.empty(0, DETECTION_DTYPE), constants_of(_STANDARD, {}), np.random.default_rng(0))
    except ConfigError as error:
        yield Note(Fate.FAILED, entry.where, str(entry), str(error))
        return
    drawn_label, rest_label = outcome.splits[name].labels
    if label != rest_label:
        text = (
            f"shapempi fits the PSF model to the rest of a RAND_SPLIT, {name}_ratio_{rest_label}, and holds the drawn "
            f"part back; give {name} RATIO = {rest_label} in {program.name} to fit to {label} %"
            if label == drawn_label
            else f"{program.name} makes {name}_ratio_{drawn_label} and {name}_ratio_{rest_label}, not {pattern}"
        )
        yield Note(Fate.FAILED, said.where, str(said), text)
        return
    yield Assignment("stars.split", name, said.where, str(said))
    chosen = list(dict.fromkeys(masks_in(split.masks.tree))) if split.masks is not None else []
    if len(chosen) == 1:
        yield Assignment("stars.mask", chosen[0], said.where, str(said))
    else:
        text = (
            f"RAND_SPLIT {name} of {program.name} is of {len(chosen)} masks; set stars.mask to the one with the stars"
        )
        yield Note(Fate.FAILED, said.where, str(said), text)
