"""One module in the list MODULE of a file: its section, and whether it works on exposures or on tiles."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shapempi.convert.ini import Entry, IniFile
from shapempi.convert.note import Assignment, Fate, Note
from shapempi.convert.value import list_of

__all__ = ["ModuleRun", "image_of_scheme", "is_running_number", "scheme_pattern"]

#: Number strings as they are in file names.
_CCD, _EXPOSURE, _TILE, _RUNNING = "-2079614-9", "-2079614", "-277-282", ("-51", "_51")


def scheme_pattern(scheme: str) -> re.Pattern[str]:
    """Return a NUMBERING_SCHEME as a regular expression (behaviour specification, section 1.2).

    Raises
    ------
    ValueError
        If a scheme `RE:...` is no regular expression.
    """
    try:
        if scheme.startswith("RE:"):
            return re.compile(scheme[3:])
    except re.error as error:
        raise ValueError(f"{scheme!r} is no regular expression: {error}") from error
    pieces = re.findall(r"\d+|\D+", scheme)
    digits = (rf"\d{{{len(piece)}}}" if len(piece) > 1 else r"\d+" for piece in pieces)
    return re.compile(
        "".join(d if piece.isdigit() else re.escape(piece) for d, piece in zip(digits, pieces, strict=True))
    )


def is_running_number(scheme: str) -> bool:
    """Whether a scheme is that of tiles by running number, as the older generation has them."""
    form = scheme_pattern(scheme)
    return any(form.fullmatch(number) for number in _RUNNING)


def image_of_scheme(scheme: str) -> str:
    """Return `exposure` or `tile` for a NUMBERING_SCHEME, or nothing if it may be either."""
    form = scheme_pattern(scheme)
    kinds = {"exposure" for number in (_CCD, _EXPOSURE) if form.fullmatch(number)}
    if is_running_number(scheme) or form.fullmatch(_TILE):
        # A running number can have seven digits, too, but there are not so many tiles.
        kinds = {"tile"} if not form.fullmatch(_CCD) else {"tile", "exposure"}
    return kinds.pop() if len(kinds) == 1 else ""


@dataclass(frozen=True)
class ModuleRun:
    """A module of a chain.

    Attributes
    ----------
    file : IniFile
        The file.
    module : str
        Its name in the newer generation, without `_runner`; the section's name for what is no module.
    written : str
        Its name as the file has it.
    section : str
        Its section.
    first : bool
        Whether it is the first of its file, to which [FILE]'s patterns apply.
    image : str
        `exposure` or `tile`; empty if the file does not say.
    environment : mapping of str to str
        Variables for paths.
    programs : bool
        Whether source-extractor and PSFEx are to be used with the user's own files.
    """

    file: IniFile
    module: str
    written: str
    section: str
    first: bool
    image: str
    environment: Mapping[str, str]
    programs: bool

    def own(self, name: str) -> Entry | None:
        """Return a key of the section, or the one inherited from [DEFAULT], or None."""
        return self.file.get(self.section, name)

    def setting(self, name: str) -> Entry | None:
        """Return a key of the section, or of [FILE] where that holds for it (section 13.5), or None.

        Patterns and extensions of [FILE] are the first module's only; folders and numbers are everyone's.
        """
        own = self.own(name)
        if own is not None or (name in ("FILE_PATTERN", "FILE_EXT") and not self.first):
            return own
        return self.file.get("FILE", name)

    def words(self, name: str) -> list[str]:
        """Return a list setting with what ADD_... adds to it; empty if it is not there.

        Raises
        ------
        ValueError
            If a comma is wrong.
        """
        entries = (self.setting(name), self.own(f"ADD_{name}"))
        return [item for entry in entries if entry is not None for item in list_of(entry.value)]

    def says(self, name: str) -> str:
        """Return a setting in lower case; empty if it is not there."""
        entry = self.setting(name)
        return entry.value.lower() if entry is not None else ""

    def assignment(self, entry: Entry, key: str, value: Any, reason: str = "") -> Assignment:
        """Return a value for a key."""
        return Assignment(key, value, entry.where, str(entry), reason)

    def undecided(self, entry: Entry) -> Note:
        """Say that it is not known whether exposures or tiles are meant."""
        cure = "give the section NUMBERING_SCHEME = -0000000-0 (CCDs) or -000-000 (tiles)"
        return Note(Fate.FAILED, entry.where, str(entry), f"exposures or tiles? {cure}")
