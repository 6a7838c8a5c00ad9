"""Replace a file in one step: what is there under a final name is always complete."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shapempi.errors import ConfigError

__all__ = ["refuse_existing", "replacing", "sync_file", "sync_folder"]


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Raise ConfigError if a file is there and must not be replaced, or its folder cannot be written."""
    if path.exists() and not overwrite:
        raise ConfigError(f"{path} is already there; give --overwrite to replace it, or another name")
    if not os.access(path.parent, os.W_OK):
        raise ConfigError(f"{path}: cannot be written: the folder is missing or read-only; make it or name another")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends without an exception.

    Parameters
    ----------
    path : Path
        The final name; an older file there stays until the new one is complete and on disk.

    Yields
    ------
    Path
        Where to write; removed if the block raises.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        sync_file(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Wait until a file's content is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Wait until a folder's entries are on disk."""
    sync_file(path)
