"""Lists in text files, a line an entry: blank lines, comments, Windows line ends and a byte order mark do no harm."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from shapempi.errors import DataError, MissingInputError

__all__ = ["read_column", "read_entries"]


def read_entries(path: Path) -> list[tuple[int, str]]:
    """Return the lines of a list that say something.

    Parameters
    ----------
    path : Path
        Text in UTF-8; what follows `#` is a comment.

    Returns
    -------
    list of (int, str)
        Number of the line, from 1, and its text without blanks at the ends.

    Raises
    ------
    MissingInputError
        If the file is not there.
    DataError
        If it is no text, or has no entry.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise MissingInputError(f"{path}: the list does not exist; correct its name") from error
    except OSError as error:
        raise DataError(f"{path}: the list cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a text file; a list has one name a line") from error
    if "\0" in text:
        raise DataError(f"{path}: not a text file; a list has one name a line")
    lines = ((number, line.split("#")[0].strip()) for number, line in enumerate(text.splitlines(), start=1))
    entries = [(number, line) for number, line in lines if line]
    if not entries:
        raise DataError(f"{path}: the list is empty; it needs one name a line")
    return entries


def read_column(path: Path, column: int = 0) -> Iterator[tuple[int, str]]:
    """Yield the words of one column of a list, with their line numbers.

    Parameters
    ----------
    path : Path
        Text with columns between blanks.
    column : int, optional
        Which one, from 0.

    Raises
    ------
    MissingInputError, DataError
        As `read_entries`, and if a line has fewer columns.
    """
    for number, line in read_entries(path):
        words = line.split()
        if not 0 <= column < len(words):
            raise DataError(f"{path}, line {number}: no column {column} (from 0): the line has {len(words)}")
        yield number, words[column]
