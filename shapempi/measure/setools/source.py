"""Where a statement is in a selection file, and how to say what is wrong with it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from shapempi.errors import ConfigError

__all__ = ["Source", "nearest"]

#: Longest part of a line that a message shows.
_SHOWN = 120


@dataclass(frozen=True)
class Source:
    """One line of a file.

    Attributes
    ----------
    file : str
        The file's name.
    number : int
        The line, from 1.
    text : str
        The line without its comment.
    """

    file: str
    number: int
    text: str

    def error(self, message: str) -> ConfigError:
        """Return an error of the form `file:line: text of the line: what is wrong`."""
        text = self.text.strip()
        if len(text) > _SHOWN:
            text = text[:_SHOWN] + "..."
        whole = f"{self.file}:{self.number}: {text}: {message}"
        # A terminal must not be at the mercy of what is in a file.
        return ConfigError("".join(character if character.isprintable() else "\ufffd" for character in whole))


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `did you mean ...?`, or the list of what is known, for the end of a message."""
    names = list(known)
    # Case is the commonest mistake, and difflib thinks nothing of it.
    lower = {candidate.lower(): candidate for candidate in reversed(names)}
    near = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.6)
    if near:
        return f"did you mean {lower[near[0]]}?"
    if not names:
        return "there is none"
    shown = names if len(names) <= 12 else [*names[:12], f"... ({len(names)} in all)"]
    return f"there are {', '.join(shown)}" if len(names) > 1 else f"there is only {names[0]}"
