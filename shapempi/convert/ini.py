"""The INI files of ShapePipe: sections, keys and values, each with the line that it is in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from shapempi.errors import ConfigError, MissingInputError

__all__ = ["DEFAULTS", "Entry", "IniFile", "read_ini"]

#: The section whose keys all others inherit.
DEFAULTS = "DEFAULT"

_SECTION = re.compile(r"\[([^\]]+)\]")
_REMARK = re.compile(r"\s[#;].*")


@dataclass(frozen=True)
class Entry:
    """One key of an INI file.

    Attributes
    ----------
    section, name : str
        Section as it is written, key in capitals.
    value : str
        The value; lines that continue it are joined by line ends.
    path : Path
        The file.
    line : int
        The line of the key, from 1.
    remark : str
        What follows the value behind ` #` or ` ;`, without these.
    """

    section: str
    name: str
    value: str
    path: Path
    line: int
    remark: str = ""

    @property
    def where(self) -> str:
        """File and line."""
        return f"{self.path}:{self.line}"

    def __str__(self) -> str:
        """Return section, key and value as they can be searched for in the file."""
        shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in " ".join(self.value.split()))
        return f"[{self.section}] {self.name} = {shown if len(shown) <= 60 else shown[:57] + '...'}"


@dataclass(frozen=True)
class IniFile:
    """A parsed file.

    Attributes
    ----------
    path : Path
        The file.
    sections : mapping of str to (mapping of str to Entry)
        Keys by section, in the order of the file.
    lines : mapping of str to int
        The line of each section's heading.
    """

    path: Path
    sections: Mapping[str, Mapping[str, Entry]] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)

    def get(self, section: str, name: str) -> Entry | None:
        """Return a key of a section, or the one that it inherits from [DEFAULT], or None."""
        for place in (section, DEFAULTS):
            entry = self.sections.get(place, {}).get(name)
            if entry is not None:
                return entry
        return None


def read_ini(path: Path) -> IniFile:
    """Read an INI file: `#` and `;` begin comments, indented lines continue a value, `=` or `:` ends a key.

    Windows line ends and a byte order mark make no difference.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    IniFile
        Its sections.

    Raises
    ------
    MissingInputError
        If it does not exist.
    ConfigError
        If it cannot be read, or a line is no INI; the message is `file:line: what is wrong; the cure`.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise MissingInputError(f"{path}: there is no such file") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the configuration: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not an INI file: byte {error.start} is no UTF-8 text") from error
    sections: dict[str, dict[str, Entry]] = {}
    lines: dict[str, int] = {}
    current: Entry | None = None
    section = ""
    for number, raw in enumerate(text.splitlines(), 1):
        words = raw.strip()
        if not words or words[0] in "#;":
            continue
        where = f"{path}:{number}"
        if raw[0].isspace() and current is not None:
            current = _continued(current, words)
            sections[section][current.name] = current
            continue
        if words.startswith("["):
            section, current = _heading(words, where, lines), None
            lines[section] = number
            sections[section] = {}
            continue
        current = _entry(words, section, path, number)
        earlier = sections[section].setdefault(current.name, current)
        if earlier is not current:
            raise ConfigError(
                f"{where}: {current.name} of [{section}] is already given in line {earlier.line}, as "
                f"{earlier.value!r}; remove one of the two"
            )
    return IniFile(path, sections, lines)


def _heading(words: str, where: str, lines: Mapping[str, int]) -> str:
    """Return the name of a section."""
    match = _SECTION.fullmatch(_REMARK.sub("", words).strip())
    if match is None:
        raise ConfigError(f"{where}: {words!r} is no section; write [NAME]")
    name = match.group(1).strip()
    if name in lines:
        raise ConfigError(f"{where}: the section [{name}] is already there, in line {lines[name]}; join the two")
    return name


def _entry(words: str, section: str, path: Path, number: int) -> Entry:
    """Return the key of a line."""
    match = re.match(r"([^=:]*?)\s*[=:]\s*(.*)", words)
    where = f"{path}:{number}"
    if match is None or not match.group(1):
        raise ConfigError(
            f"{where}: {words!r} is neither [SECTION] nor KEY = value; a line that continues a value is indented"
        )
    if not section:
        raise ConfigError(f"{where}: {match.group(1)} comes before the first [SECTION]; write the section above it")
    value, remark = _split(match.group(2))
    return Entry(section, match.group(1).upper(), value, path, number, remark)


def _continued(entry: Entry, words: str) -> Entry:
    """Return an entry with one more line of its value."""
    value, remark = _split(words)
    joined = f"{entry.value}\n{value}" if entry.value else value
    return Entry(entry.section, entry.name, joined, entry.path, entry.line, entry.remark or remark)


def _split(text: str) -> tuple[str, str]:
    """Split a value from the remark behind it."""
    match = _REMARK.search(f" {text}")
    if match is None:
        return text.strip(), ""
    return text[: max(match.start() - 1, 0)].strip(), match.group().strip().lstrip("#;").strip()
