"""Lists of columns that a user has written: one name a line."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from shapempi.errors import ConfigError, MissingInputError

__all__ = ["nearest_name", "read_column_list", "shortened"]


def read_column_list(path: Path, known: Sequence[str], what: str) -> list[str]:
    """Read a list of columns.

    Parameters
    ----------
    path : Path
        A text file with one name a line; what follows a `#` is a comment, blank lines are skipped, and lines may end as
        on Windows.
    known : sequence of str
        The columns that there are.
    what : str
        What has these columns, for messages.

    Returns
    -------
    list of str
        The names in the order of the file.

    Raises
    ------
    MissingInputError
        If there is no such file.
    ConfigError
        If it names a column twice, one that does not exist, or none; all such lines are named.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise MissingInputError(f"{path}: the list of columns does not exist") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the list of columns cannot be read: {error}") from error
    first: dict[str, int] = {}
    complaints = []
    for number, line in enumerate(text.splitlines(), start=1):
        name = line.partition("#")[0].strip()
        if not name:
            continue
        if name in first:
            complaints.append(f"{path}, line {number}: {name} is named in line {first[name]} already; remove one")
        elif name not in known:
            complaints.append(f"{path}, line {number}: {what} has no column {name}{nearest_name(name, known)}")
        else:
            first[name] = number
    if complaints:
        raise ConfigError("\n".join(complaints))
    if not first:
        raise ConfigError(f"{path}: the list names no column")
    return list(first)


def nearest_name(name: str, known: Sequence[str]) -> str:
    """Return `; the nearest is NAME`, or nothing if no name that is known resembles it."""
    folded = {other.lower(): other for other in known}
    near = difflib.get_close_matches(name.lower(), list(folded), n=1, cutoff=0.5)
    return f"; the nearest is {folded[near[0]]}" if near else ""


def shortened(names: Sequence[str], most: int = 12) -> str:
    """Return names as a list for a message: the first of them, and how many more there are."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
