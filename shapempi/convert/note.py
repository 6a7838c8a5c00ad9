"""What became of a key of ShapePipe's."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

__all__ = ["Assignment", "Fate", "Note"]


class Fate(Enum):
    """What became of a key; the value is the heading of the report."""

    TAKEN = "Taken"
    CHANGED = "Changed, with the reason"
    COMMAND = "Done by another command"
    WITHOUT = "Without a counterpart, and why"
    UNKNOWN = "Unknown to ShapePipe and to shapempi"
    CONTRADICTION = "Contradictions"
    FAILED = "Not converted: yours to decide"

    @property
    def is_problem(self) -> bool:
        """Whether the user has to do something."""
        return self in (Fate.UNKNOWN, Fate.CONTRADICTION, Fate.FAILED)


@dataclass(frozen=True)
class Note:
    """One line of the report.

    Attributes
    ----------
    fate : Fate
        Under which heading.
    where : str
        File and line.
    what : str
        Section, key and value; empty where it is about a whole file.
    text : str
        What there is to say.
    """

    fate: Fate
    where: str
    what: str
    text: str

    def __str__(self) -> str:
        """Return the line."""
        return f"{self.where}: {self.what}: {self.text}" if self.what else f"{self.where}: {self.text}"


@dataclass(frozen=True)
class Assignment:
    """A key of shapempi's that gets a value.

    Attributes
    ----------
    key : str
        Its dotted name, such as `psf.acceptance.min_stars`.
    value : Any
        A value as TOML has it.
    where : str
        File and line that it comes from.
    what : str
        The key of ShapePipe's.
    reason : str
        Why the value is another, or means something else, than in ShapePipe; empty if it does not.
    """

    key: str
    value: Any
    where: str
    what: str
    reason: str = ""
