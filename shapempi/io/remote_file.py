"""A file in the place from which it is fetched, and what such a place can do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

__all__ = ["FileSource", "RemoteFile"]


@dataclass(frozen=True)
class RemoteFile:
    """A file that can be fetched.

    Attributes
    ----------
    name : str
        Its name without folder.
    where : str
        Its path or address.
    size : int or None
        Its length [byte]; None if it is unknown.
    """

    name: str
    where: str
    size: int | None


class FileSource(Protocol):
    """A place from which files are fetched."""

    def find(self, names: Sequence[str]) -> RemoteFile:
        """Return the file that has the first of some names that is there; MissingInputError if there is none."""
        ...

    def get(self, file: RemoteFile, target: Path) -> None:
        """Bring a file; OSError or DataError if that fails, and may be tried again."""
        ...

    def has_same(self, file: RemoteFile, path: Path) -> bool:
        """Say whether what is there may be this file, by what can be known without reading it."""
        ...
