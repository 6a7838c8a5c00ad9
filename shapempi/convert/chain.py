"""The modules that an INI file runs, by the names of either generation, and the sections that are of none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from shapempi.convert.astromatic_file import nearest_name
from shapempi.convert.catalogue_modules import CATALOGUE_MODULES
from shapempi.convert.engine_options import ENGINE
from shapempi.convert.image_modules import IMAGE_MODULES
from shapempi.convert.ini import Entry, IniFile
from shapempi.convert.module_run import ModuleRun, image_of_scheme
from shapempi.convert.note import Fate, Note
from shapempi.convert.option import Module
from shapempi.convert.shape_modules import SHAPE_MODULES
from shapempi.convert.star_modules import STAR_MODULES
from shapempi.convert.value import list_of
from shapempi.errors import ConfigError

__all__ = ["MODULES", "Chain", "module_named", "read_chain"]

#: All modules, in the order in which they run.
MODULES: tuple[Module, ...] = (*IMAGE_MODULES, *STAR_MODULES, *SHAPE_MODULES, *CATALOGUE_MODULES)

_RUNNERS: Mapping[str, Module] = {
    (name if name.endswith("runner2") else f"{name}_runner"): module for module in MODULES for name in module.names
}
_ENGINE_SECTIONS = frozenset(name for module in ENGINE for name in module.names)


@dataclass(frozen=True)
class Chain:
    """What a file runs.

    Attributes
    ----------
    file : IniFile
        The file.
    runs : tuple of ModuleRun
        Its modules, in order.
    notes : tuple of Note
        What is wrong with MODULE and with the names of sections.
    """

    file: IniFile
    runs: tuple[ModuleRun, ...]
    notes: tuple[Note, ...]


def module_named(written: str) -> Module | None:
    """Return the module of a name in MODULE, of either generation; None if there is none."""
    return _RUNNERS.get(written.lower())


def read_chain(file: IniFile, environment: Mapping[str, str], *, programs: bool) -> Chain:
    """Find the modules of a file and their sections.

    Parameters
    ----------
    file : IniFile
        The file.
    environment : mapping of str to str
        Variables for paths.
    programs : bool
        Whether source-extractor and PSFEx are to be used with the user's own files.

    Raises
    ------
    ConfigError
        If there is no list MODULE, or it ends with a comma.
    """
    entry = file.get("EXECUTION", "MODULE")
    if entry is None:
        raise ConfigError(
            f"{file.path}: there is no MODULE in a section [EXECUTION]; not all of a configuration of ShapePipe"
        )
    try:
        names = list_of(entry.value)
    except ValueError as error:
        raise ConfigError(f"{entry.where}: {entry}: {error}; ShapePipe refuses it, too") from error
    notes: list[Note] = []
    runs: list[ModuleRun] = []
    for place, written in enumerate(names):
        module = module_named(written)
        if module is None:
            cure = nearest_name(written, list(_RUNNERS))
            notes.append(Note(Fate.UNKNOWN, entry.where, f"MODULE {written}", f"no such module; {cure}"))
            continue
        suffix = f"_RUN_{names[: place + 1].count(written)}" if names.count(written) > 1 else ""
        section = _section_of(file, module, written, suffix)
        run = ModuleRun(file, module.names[0], written, section, place == 0, "", environment, programs)
        runs.append(_with_image(run, module))
    notes += _other_sections(file, {run.section for run in runs}, entry)
    return Chain(file, tuple(runs), tuple(notes))


def _section_of(file: IniFile, module: Module, written: str, suffix: str) -> str:
    """Return the name of a module's section: by its name, or by another spelling that the file has."""
    usual = f"{written.upper()}{suffix}"
    others = (name.upper() + suffix for name, known in _RUNNERS.items() if known is module)
    return next((name for name in (usual, *others) if name in file.sections), usual)


def _with_image(run: ModuleRun, module: Module) -> ModuleRun:
    """Find out whether a run works on exposures or on tiles."""

    def made(image: str) -> ModuleRun:
        return ModuleRun(
            run.file, run.module, run.written, run.section, run.first, image, run.environment, run.programs
        )

    if module.image:
        return made(module.image)
    try:
        patterns = [
            name for key in ("FILE_PATTERN", "INPUT_FILE_PATTERN", "OUTPUT_FILE_PATTERN") for name in run.words(key)
        ]
        if any(re.match(r"(?i)cfis|tile", name) for name in patterns):
            return made("tile")
        scheme = run.setting("NUMBERING_SCHEME")
        found = image_of_scheme(scheme.value) if scheme is not None else ""
    except ValueError:
        return made("")  # said where the key is read
    if not found and any(re.match(r"\d|image|exp", name) for name in patterns):
        found = "exposure"
    return made(found)


def _other_sections(file: IniFile, used: set[str], modules: Entry) -> list[Note]:
    """Say which sections are of no module that runs."""
    notes = []
    for section, line in file.lines.items():
        if section in used or section in _ENGINE_SECTIONS:
            continue
        where = f"{file.path}:{line}"
        if module_named(re.sub(r"_RUN_\d+$", "", section)) is not None:
            text = f"not in MODULE (line {modules.line}), so ShapePipe does not read it, and nothing of it is taken"
            notes.append(Note(Fate.WITHOUT, where, f"[{section}]", text))
        else:
            known = [*_ENGINE_SECTIONS, *(name.upper() for name in _RUNNERS)]
            text = f"no such section; {nearest_name(section.upper(), known)}; nothing of it is taken"
            notes.append(Note(Fate.UNKNOWN, where, f"[{section}]", text))
    return notes
