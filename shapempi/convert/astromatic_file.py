"""The files of source-extractor and PSFEx that sections name: each keyword goes its own way, like a key of an INI."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path

from shapempi.convert.ini import Entry
from shapempi.convert.module_run import ModuleRun
from shapempi.convert.note import Assignment, Fate, Note
from shapempi.convert.option import Option
from shapempi.convert.value import path_of
from shapempi.io.astromatic import parse_keywords

__all__ = ["nearest_name", "read_keywords", "read_text"]


def read_text(entry: Entry, run: ModuleRun) -> tuple[Path, str] | Note:
    """Return path and content of the file that a key names, or what is wrong with it."""
    path = path_of(entry.value, run.environment)
    try:
        return path, path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        text = f"there is no file {path}; put it there, or correct {entry.name}"
    except OSError as error:
        text = f"{path} cannot be read: {error.strerror}"
    return Note(Fate.FAILED, entry.where, str(entry), text)


def read_keywords(path: Path, text: str, options: Sequence[Option], run: ModuleRun) -> Iterator[Assignment | Note]:
    """Read the lines `KEYWORD value` of a file, each by its option."""
    known = {name: option for option in options for name in option.names}
    for keyword in parse_keywords(text).values():
        entry = Entry(path.name, keyword.name, keyword.value, path, keyword.line)
        if keyword.name not in known:
            yield Note(Fate.UNKNOWN, entry.where, str(entry), f"no such keyword; {nearest_name(keyword.name, known)}")
            continue
        try:
            yield from known[keyword.name].read(entry, run)
        except ValueError as error:
            yield Note(Fate.FAILED, entry.where, str(entry), str(error))


def nearest_name(name: str, known: Sequence[str] | dict[str, Option]) -> str:
    """Say what was probably meant."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if near:
        return f"did you mean {near[0]}?"
    shown = sorted(known)
    return f"known are {', '.join(shown)}" if len(shown) <= 16 else "see docs/moving_from_shapepipe.md for all that are"
