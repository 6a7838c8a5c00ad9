"""Files of ShapePipe become one set of keys, and a note on every key that they have."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from shapempi.config import Config, keys
from shapempi.convert.astromatic_file import nearest_name
from shapempi.convert.chain import MODULES, Chain, read_chain
from shapempi.convert.engine_options import ENGINE, EVERY_MODULE
from shapempi.convert.ini import DEFAULTS, Entry, read_ini
from shapempi.convert.module_run import ModuleRun, scheme_pattern
from shapempi.convert.note import Assignment, Fate, Note
from shapempi.convert.option import Module, Option
from shapempi.convert.places import Given, find_places
from shapempi.convert.setools_file import stars_of
from shapempi.convert.value import expand, list_of
from shapempi.errors import ConfigError
from shapempi.params import Params

__all__ = ["Conversion", "convert"]

_GROUPS: Mapping[str, type[Params]] = {".".join((*path, name)): group for path, group, name, _ in keys(Config)}
_MODULES: Mapping[str, Module] = {module.names[0]: module for module in MODULES}
_COMMON: Mapping[str, Option] = {name: option for option in EVERY_MODULE.options for name in option.names}

#: What sections name; none of them is an INI file of a chain.
_NAMED_FILES = (".mask", ".sex", ".param", ".conv", ".nnw", ".setools", ".psfex", ".reg")

#: Keys of which files may have different values on purpose: which one is taken, and why.
_ONE_OF: Mapping[str, tuple[Callable[[Any, Any], Any], str]] = {
    "psf.acceptance.min_stars": (max, "one threshold for galaxies and validation, the larger"),
    "psf.acceptance.max_chi2": (min, "one threshold for galaxies and validation, the smaller"),
}


@dataclass(frozen=True)
class Conversion:
    """The result.

    Attributes
    ----------
    values : mapping of str to (sequence of Assignment)
        For each key where its value comes from; the value is that of the first.
    notes : tuple of Note
        What became of each key of the files.
    """

    values: Mapping[str, Sequence[Assignment]]
    notes: tuple[Note, ...]

    @property
    def problems(self) -> tuple[Note, ...]:
        """The notes on what the user has to do something about."""
        return tuple(note for note in self.notes if note.fate.is_problem)


def convert(
    paths: Sequence[Path], given: Given, environment: Mapping[str, str], *, programs: bool = False
) -> Conversion:
    """Convert the INI files of one survey: any number of chains.

    Parameters
    ----------
    paths : sequence of Path
        The files, in the order in which ShapePipe runs them.
    given : Given
        What is known besides.
    environment : mapping of str to str
        Variables for paths.
    programs : bool, optional
        Use source-extractor and PSFEx with the user's own files; by default their settings go to the engines in
        process.

    Returns
    -------
    Conversion
        Keys and notes.

    Raises
    ------
    MissingInputError, ConfigError
        If a file is not there or is no INI file of ShapePipe's.
    """
    for path in paths:
        if path.suffix in _NAMED_FILES:
            raise ConfigError(f"{path}: {path.suffix} files are read with the INI file that names them: give that")
    chains = [read_chain(read_ini(path), environment, programs=programs) for path in paths]
    runs = [run for chain in chains for run in chain.runs]
    found: list[Assignment | Note] = []
    for chain in chains:
        found += chain.notes
        found += _engine(chain)
        for run in chain.runs:
            found += _module(run)
    found += find_places(runs, given)
    found += _stars(runs)
    return _merged(found)


def _engine(chain: Chain) -> Iterator[Assignment | Note]:
    """Read the sections that are of no module."""
    for module in ENGINE:
        known = {name: option for option in module.options for name in option.names}
        for name, entry in chain.file.sections.get(module.names[0], {}).items():
            inheriting = [run for run in chain.runs if entry.section == DEFAULTS and _option(run, name) is not None]
            if name in known:
                yield from _read(known[name], entry, _runless(chain))
            elif inheriting:
                for run in inheriting:
                    option = _option(run, name)
                    if option is not None and name not in run.file.sections.get(run.section, {}):
                        yield from _read(option, entry, run)
            else:
                yield _unknown(entry, list(known))


def _runless(chain: Chain) -> ModuleRun:
    """Return what reads a section that is of no module."""
    if chain.runs:
        return chain.runs[0]
    return ModuleRun(chain.file, "", "", "", True, "", {}, False)


def _module(run: ModuleRun) -> Iterator[Assignment | Note]:
    """Read a module's section."""
    module = _MODULES[run.module]
    named = run.file.get("EXECUTION", "MODULE")
    if named is not None:
        yield Note(module.fate, named.where, f"MODULE {run.written}", module.counterpart)
        if run.programs and run.module == "sextractor" and run.image:
            reason = "--programs; sep, in process, needs no program"
            yield Assignment(
                f"{run.image}.detection.engine", "source-extractor", named.where, f"MODULE {run.written}", reason
            )
        if run.programs and run.module == "psfex":
            reason = "--programs; native, in process, needs no program"
            yield Assignment("psf.engine", "psfex", named.where, f"MODULE {run.written}", reason)
    for name, entry in run.file.sections.get(run.section, {}).items():
        option = _option(run, name)
        if option is None:
            names = [known for each in (*module.options, *EVERY_MODULE.options) for known in each.names]
            yield _unknown(entry, names)
        else:
            yield from _read(option, entry, run)


def _option(run: ModuleRun, name: str) -> Option | None:
    """Return the option of a name in a module's section; None if there is none."""
    own = next((option for option in _MODULES[run.module].options if name in option.names), None)
    return own or _COMMON.get(name) or _COMMON.get(name.removeprefix("ADD_"))


def _unknown(entry: Entry, known: list[str]) -> Note:
    """Say that there is no such key, where it belongs, or what was probably meant."""
    homes = [module.names[0] for module in MODULES if any(entry.name in option.names for option in module.options)]
    near = nearest_name(entry.name, known)
    cure = near if near.startswith("did") or not homes else f"it belongs to {', '.join(homes)}"
    return Note(Fate.UNKNOWN, entry.where, str(entry), f"no such key in [{entry.section}]; {cure}")


def _read(option: Option, entry: Entry, run: ModuleRun) -> Iterator[Assignment | Note]:
    """Read one key."""
    if entry.remark:
        text = f"ShapePipe takes {entry.remark!r} as part of the value; it is taken as a comment"
        yield Note(Fate.CHANGED, entry.where, str(entry), text)
    try:
        _check_text(entry, run)
        yield from option.read(entry, run)
    except ValueError as error:
        yield Note(Fate.FAILED, entry.where, str(entry), str(error))


def _check_text(entry: Entry, run: ModuleRun) -> None:
    """Refuse what every list and path must not have, before anything is made of it.

    Raises
    ------
    ValueError
        If a variable is not set, or a comma is too many.
    """
    from_list = ("INPUT_DIR", "FILE_PATTERN", "FILE_EXT", "NUMBER_LIST", "INPUT_PATH", "INPUT_FILE_PATTERN")
    if entry.name.removeprefix("ADD_") in from_list:
        list_of(entry.value)
    if entry.name.removeprefix("ADD_") in ("INPUT_DIR", "INPUT_PATH", "OUTPUT_DIR", "OUTPUT_PATH"):
        expand(entry.value, run.environment)
    if entry.name == "NUMBERING_SCHEME":
        scheme_pattern(entry.value)
    if entry.name == "INPUT_NUMBERING":
        scheme_pattern(f"RE:{entry.value}")


def _stars(runs: Sequence[ModuleRun]) -> Iterator[Assignment | Note]:
    """Find out which sections of the .setools file give PSFEx its stars."""
    selecting = [run for run in runs if run.module == "setools" and run.own("SETOOLS_CONFIG_PATH") is not None]
    fitting = [run for run in runs if run.module == "psfex"]
    if not selecting:
        return
    entry = selecting[-1].own("SETOOLS_CONFIG_PATH")
    if entry is None:
        return
    try:
        yield from stars_of(selecting[-1], fitting[-1] if fitting else None, entry)
    except ValueError:
        return  # said where the key is read


def _merged(found: Iterable[Assignment | Note]) -> Conversion:
    """Join the values of all files, and say where they contradict one another."""
    values: dict[str, list[Assignment]] = {}
    notes: list[Note] = []
    for each in found:
        if isinstance(each, Note):
            notes.append(each)
            continue
        if wrong := _refusal(each):
            notes.append(Note(Fate.FAILED, each.where, each.what, f"{each.key} cannot be {each.value!r}: {wrong}"))
            continue
        earlier = values.setdefault(each.key, [])
        if not earlier or earlier[0].value == each.value:
            earlier.append(each)
            fate = Fate.CHANGED if each.reason else Fate.TAKEN
            reason = f" ({each.reason})" if each.reason else ""
            notes.append(Note(fate, each.where, each.what, f"{each.key} = {json.dumps(each.value)}{reason}"))
        else:
            notes.append(_different(earlier, each))
    return Conversion(values, tuple(dict.fromkeys(notes)))


def _different(earlier: list[Assignment], new: Assignment) -> Note:
    """Choose between two values of a key."""
    first = earlier[0]
    rule = _ONE_OF.get(new.key)
    if rule is None:
        text = (
            f"{new.key} is {json.dumps(new.value)} here and {json.dumps(first.value)} in {first.where}, {first.what}; "
            "the latter is taken"
        )
        return Note(Fate.CONTRADICTION, new.where, new.what, text)
    choose, reason = rule
    if choose(first.value, new.value) == new.value:
        earlier.insert(0, Assignment(new.key, new.value, new.where, new.what, reason))
    text = f"{new.key} = {json.dumps(earlier[0].value)} ({reason}; {first.where} has {json.dumps(first.value)})"
    return Note(Fate.CHANGED, new.where, new.what, text)


def _refusal(assignment: Assignment) -> str:
    """Return why a key cannot have a value; empty if it can."""
    group, name = _GROUPS[assignment.key], assignment.key.rpartition(".")[2]
    try:
        group.model_validate_json(json.dumps({name: assignment.value}), strict=True)
    except ValidationError as error:
        return "; ".join(str(each["msg"]) for each in error.errors() if each["loc"] and each["loc"][0] == name)
    return ""
