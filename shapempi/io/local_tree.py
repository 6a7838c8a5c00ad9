"""A tree of local folders as a place from which files are fetched by name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from shapempi.errors import DataError, MissingInputError
from shapempi.io.remote_file import RemoteFile

__all__ = ["LinkedTree", "LocalTree"]


class LocalTree:
    """Copies files out of a folder and all folders below it.

    Parameters
    ----------
    root : Path
        The folder; links to folders are followed, each folder is looked at once.
    without : Path, optional
        A folder below it that is not looked at: that of the copies.

    Raises
    ------
    MissingInputError
        If it is no folder.
    """

    def __init__(self, root: Path, without: Path | None = None) -> None:
        if not root.is_dir():
            raise MissingInputError(f"{root}: this folder does not exist; correct --from")
        self.root = root
        self._without = without

    @cached_property
    def _files(self) -> dict[str, list[Path]]:
        """The files of the tree by name."""
        found: dict[str, list[Path]] = {}
        seen = set() if self._without is None else {os.path.realpath(self._without)}
        for folder, inner, names in os.walk(self.root, followlinks=True):
            real = os.path.realpath(folder)
            if real in seen:
                inner.clear()
                continue
            seen.add(real)
            for name in names:
                found.setdefault(name, []).append(Path(folder, name))
        return found

    def find(self, names: Sequence[str]) -> RemoteFile:
        """Return the file that has the first of some names that is there.

        Raises
        ------
        MissingInputError
            If there is none.
        DataError
            If several files have the name.
        """
        for name in names:
            paths = self._files.get(name, [])
            if len(paths) > 1:
                shown = " and ".join(str(path) for path in sorted(paths)[:3])
                raise DataError(f"{name} is there {len(paths)} times: {shown}; give a folder that has it once")
            if paths:
                try:
                    return RemoteFile(name, str(paths[0].absolute()), paths[0].stat().st_size)
                except OSError as error:
                    raise MissingInputError(f"{paths[0]}: cannot be read: {error.strerror}") from error
        raise MissingInputError(f"{names[0]} is not below {self.root}; put it there, or correct --from")

    def get(self, file: RemoteFile, target: Path) -> None:
        """Copy a file.

        Raises
        ------
        OSError
            If it cannot be copied.
        """
        shutil.copyfile(file.where, target)

    def has_same(self, file: RemoteFile, path: Path) -> bool:
        """Say whether a file that is there may be this one: a file, not a link, of the same length."""
        return not path.is_symlink() and path.is_file() and path.stat().st_size == file.size


class LinkedTree(LocalTree):
    """Makes links to the files instead of copies."""

    def get(self, file: RemoteFile, target: Path) -> None:
        """Link a file by its whole path.

        Raises
        ------
        OSError
            If the link cannot be made.
        """
        target.symlink_to(file.where)

    def has_same(self, file: RemoteFile, path: Path) -> bool:
        """Say whether a link to this file is there."""
        return path.is_symlink() and path.resolve() == Path(file.where).resolve()
