"""Options of ShapePipe and their counterparts: one declaration from which files are converted and the page is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from shapempi.convert.ini import Entry
from shapempi.convert.module_run import ModuleRun
from shapempi.convert.note import Assignment, Fate, Note

__all__ = ["IMAGE", "Module", "Option", "Reader", "command", "instead", "read_by", "taken", "used", "without"]

#: What stands in keys for `exposure` or `tile`.
IMAGE = "IMAGE"

Found = Iterable[Assignment | Note]
Reader = Callable[[Entry, ModuleRun], Found]


@dataclass(frozen=True)
class Option:
    """One option of ShapePipe.

    Attributes
    ----------
    names : tuple of str
        Its name, then its other spellings.
    counterpart : tuple of str
        Keys of shapempi's, or a command; empty for none.
    why : str
        What is different, or why there is none.
    read : callable
        (entry, run) -> assignments and notes.
    """

    names: tuple[str, ...]
    counterpart: tuple[str, ...]
    why: str
    read: Reader


@dataclass(frozen=True)
class Module:
    """A module of ShapePipe, or a section that is of none.

    Attributes
    ----------
    names : tuple of str
        Its name, then those of other generations; with `_runner` and in capitals the name of its section.
    section : str
        Where the specification describes it.
    counterpart : str
        What does the same in shapempi.
    options : tuple of Option
        Its options, those that all modules have aside.
    image : str
        `exposure` or `tile` for a module that works on one kind; empty for both.
    """

    names: tuple[str, ...]
    section: str
    counterpart: str
    options: tuple[Option, ...]
    image: str = ""

    @property
    def fate(self) -> Fate:
        """Whether a run does this, another command, or nobody."""
        if self.counterpart.startswith("none"):
            return Fate.WITHOUT
        is_other = self.counterpart.startswith("`shapempi ") and not self.counterpart.startswith("`shapempi run")
        return Fate.COMMAND if is_other else Fate.TAKEN


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def taken(names: str, keys: str, read: Callable[[str], Any], why: str = "") -> Option:
    """Declare an option whose value goes to keys of shapempi's.

    Parameters
    ----------
    names, keys : str
        Spellings and dotted keys, with blanks between them.
    read : callable
        Makes the value of the text; a ValueError says what is wrong.
    why : str, optional
        What there is to know.
    """
    targets = _names(keys)

    def reader(entry: Entry, run: ModuleRun) -> Found:
        value = read(entry.value)
        for target in targets:
            if target.startswith(IMAGE) and not run.image:
                yield run.undecided(entry)
                return
            yield run.assignment(entry, target.replace(IMAGE, run.image), value)

    return Option(_names(names), targets, why, reader)


def read_by(names: str, counterpart: str, read: Reader, why: str) -> Option:
    """Declare an option that a function of its own reads; `counterpart` are the keys that it sets, or a command."""
    is_command = counterpart.startswith("shapempi ")
    return Option(_names(names), (counterpart,) if is_command else _names(counterpart), why, read)


def without(names: str, why: str) -> Option:
    """Declare an option that has no counterpart, and why."""

    def reader(entry: Entry, run: ModuleRun) -> Found:
        yield Note(Fate.WITHOUT, entry.where, str(entry), why)

    return Option(_names(names), (), why, reader)


def command(names: str, verb: str, why: str) -> Option:
    """Declare an option of something that another command does: `shapempi VERB`."""

    def reader(entry: Entry, run: ModuleRun) -> Found:
        yield Note(Fate.COMMAND, entry.where, str(entry), f"`shapempi {verb}`{f': {why}' if why else ''}")

    return Option(_names(names), (f"shapempi {verb}",), why, reader)


def instead(names: str, keys: str, why: str) -> Option:
    """Declare an option that has keys of shapempi's in its place, whose values are not those."""
    targets = _names(keys)

    def reader(entry: Entry, run: ModuleRun) -> Found:
        keys = ", ".join(targets).replace(IMAGE, run.image or IMAGE)
        yield Note(Fate.CHANGED, entry.where, str(entry), f"{why} (see {keys})")

    return Option(_names(names), targets, why, reader)


def used(names: str, keys: str, why: str) -> Option:
    """Declare an option that is read together with others of the file (`places`), into keys of shapempi's."""

    def reader(entry: Entry, run: ModuleRun) -> Found:
        yield Note(Fate.TAKEN, entry.where, str(entry), why)

    return Option(_names(names), _names(keys), why, reader)
