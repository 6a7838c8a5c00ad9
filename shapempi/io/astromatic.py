"""Settings files of the AstrOmatic programs: lines `KEYWORD value` (.sex, .psfex) or `COLUMN(sizes)` (.param)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Column", "Keyword", "parse_columns", "parse_keywords"]

_LINE = re.compile(r"\s*([A-Za-z_0-9]+)(?:\s+([^#]*))?")
_COLUMN = re.compile(r"\s*([A-Za-z_0-9]+)\s*(\([\d\s,]*\))?\s*(?:#.*)?")


@dataclass(frozen=True)
class Keyword:
    """A keyword of a configuration file.

    Attributes
    ----------
    name : str
        Its name in capitals.
    value : str
        Its value, without comment.
    line : int
        Its line, from 1.
    """

    name: str
    value: str
    line: int


@dataclass(frozen=True)
class Column:
    """A column of a file of columns.

    Attributes
    ----------
    name : str
        Its name; of a line that has another form, all of that.
    sizes : str
        `(51,51)`, without blanks; empty for a column of single values.
    line : int
        Its line, from 1.
    valid : bool
        Whether the line has the form of a column.
    """

    name: str
    sizes: str
    line: int
    valid: bool


def parse_keywords(text: str) -> dict[str, Keyword]:
    """Return the keywords of a configuration file by name; of one that is there twice, the last, as the programs do.

    Parameters
    ----------
    text : str
        Content of the file.
    """
    found: dict[str, Keyword] = {}
    for number, line in enumerate(text.splitlines(), 1):
        match = None if line.lstrip().startswith("#") else _LINE.match(line)
        if match:
            name = match.group(1).upper()
            found[name] = Keyword(name, (match.group(2) or "").strip(), number)
    return found


def parse_columns(text: str) -> Iterator[Column]:
    """Return the columns of a file of columns, in its order.

    Parameters
    ----------
    text : str
        Content of the file.
    """
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _COLUMN.fullmatch(line)
        if match is None:
            yield Column(line.strip(), "", number, valid=False)
        else:
            yield Column(match.group(1), (match.group(2) or "").replace(" ", ""), number, valid=True)
