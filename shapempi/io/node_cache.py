"""Copies of files on a node's own disk: what many ranks of a node read many times leaves the file server once.

A copy is named by name, size and date of its file, so that a replaced file is another copy.  It is written under a
name of its own and renamed, so that what has its final name is whole.  Nothing here ever fails: where the cache cannot
help, the answer is the original.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import logging
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["NodeCache", "Reads"]

_LOG = logging.getLogger(__name__)

#: Bytes that are copied at a time.
_PIECE = 8 * 2**20
#: Time between two looks at a file that another process copies, and at the lock of those who make room [s].
_LOOK, _NAP = 0.05, 0.002
#: Part of the disk that is left to others.
_SPARE = 0.02
#: Age at which a file that nobody goes on writing was left by a process that has died [s].
_STALE = 3600.0
#: Lock of those who make room.
_ROOM = ".room.lock"


@dataclass
class Reads:
    """What a cache was asked for.

    Attributes
    ----------
    n_hit : int
        Times that the copy was there, made by whatever process.
    n_copy : int
        Copies made.
    n_byte : int
        What they hold [byte].
    n_original : int
        Times that the original was read.
    """

    n_hit: int = 0
    n_copy: int = 0
    n_byte: int = 0
    n_original: int = 0

    def values(self) -> dict[str, int]:
        """Return what is not 0, by the names of a journal's counts."""
        counts = {
            "cache_hits": self.n_hit,
            "cache_copies": self.n_copy,
            "cache_bytes": self.n_byte,
            "cache_originals": self.n_original,
        }
        return {name: number for name, number in counts.items() if number}


class NodeCache:
    """Copies of files in a folder that the processes of one node share.

    Parameters
    ----------
    folder : Path
        A folder of the node; environment variables in it are expanded here, on the node.  The copies are in a folder in
        it whose name has the user's number, which nobody else may read.
    size : float
        What all copies may hold together [byte].
    patience : float, optional
        How long to wait for a file that another process copies [s].

    Attributes
    ----------
    folder : Path
        The folder of the copies.
    reads : Reads
        What was asked for since the last `take_reads`.
    """

    def __init__(self, folder: Path, size: float, *, patience: float = 120.0) -> None:
        self._unset = "$" in os.path.expandvars(folder)
        self.folder = Path(os.path.expandvars(folder)).expanduser().absolute() / f"shapempi-{os.getuid()}"
        self.reads = Reads()
        self._size = size
        self._patience = patience
        self._warned = False

    def path(self, source: Path) -> Path:
        """Return where a file can be read: a copy on this node, or the file itself.

        The copy may be removed at any time.  Who has opened it reads on; who finds it gone reads the original.

        Parameters
        ----------
        source : Path
            The file.
        """
        try:
            looks = source.stat()
        except OSError:  # missing: who reads it says so
            return source
        copy = None
        if self._unset:
            self._warn("a variable in its name is not set on this node")
        else:
            try:
                copy = self._find(source, looks)
            except OSError as error:
                self._warn(error.strerror or str(error))
        if copy is None:
            self.reads.n_original += 1
        return copy or source

    def take_reads(self) -> Reads:
        """Return `reads`, and begin to count anew."""
        taken, self.reads = self.reads, Reads()
        return taken

    def _warn(self, reason: str) -> None:
        """Say once that the cache is of no use."""
        if not self._warned:
            self._warned = True
            _LOG.warning("%s: %s; exposures are read from where they are (run.cache_folder)", self.folder, reason)

    def _find(self, source: Path, looks: os.stat_result) -> Path | None:
        """Return the copy of a file, made here if there is none; None if it cannot be had in time."""
        where = hashlib.sha256(os.fsencode(source.parent.absolute())).hexdigest()[:8]
        # The name comes last: what reads the copy may go by how it ends.
        copy = self.folder / f"{where}-{looks.st_size:x}-{looks.st_mtime_ns:x}-{source.name}"
        if self._is_there(copy, looks.st_size):
            self.reads.n_hit += 1
            return copy
        self._claim()
        deadline = time.monotonic() + self._patience
        while True:
            with _locked(self.folder / f".{copy.name}.lock") as mine:
                if self._is_there(copy, looks.st_size):
                    self.reads.n_hit += 1
                    return copy
                if mine:
                    return copy if self._copy(source, looks, copy) else None
            if time.monotonic() > deadline:
                return None
            time.sleep(_LOOK)

    def _is_there(self, copy: Path, size: int) -> bool:
        """Say whether a whole copy is there, and note that it is used."""
        try:
            if os.lstat(self.folder).st_uid != os.getuid() or copy.stat().st_size != size:
                return False
            os.utime(copy)  # its own date tells the time of its last use; that of the file is in its name
        except FileNotFoundError:
            return False
        return True

    def _claim(self) -> None:
        """Make the folder, or see to it that it is ours alone."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            self.folder.mkdir(mode=0o700)
        looks = self.folder.lstat()
        if not stat.S_ISDIR(looks.st_mode) or looks.st_uid != os.getuid():
            raise OSError(errno.EPERM, "it is not a folder of this user; remove it, or name another one")
        if looks.st_mode & 0o077:
            self.folder.chmod(0o700)

    def _copy(self, source: Path, looks: os.stat_result, copy: Path) -> bool:
        """Copy a file; return False if there is no room for it."""
        temporary = self._reserve(looks.st_size)
        if temporary is None:
            return False
        try:
            with source.open("rb") as old, temporary.open("r+b") as new:
                shutil.copyfileobj(old, new, _PIECE)
                n_byte = new.tell()
            after = source.stat()
            if n_byte != looks.st_size or (after.st_size, after.st_mtime_ns) != (looks.st_size, looks.st_mtime_ns):
                return False  # it is written at this moment: who reads it will say what is wrong
            temporary.rename(copy)
        finally:
            temporary.unlink(missing_ok=True)
        self.reads.n_copy += 1
        self.reads.n_byte += n_byte
        return True

    def _reserve(self, size: int) -> Path | None:
        """Make a file of the size that a copy will have, so that others count it, and remove old copies for it."""
        if size > self._size:
            self._warn(f"a file of {size / 2**30:.1f} GiB is larger than run.cache_size")
            return None
        with _locked(self.folder / _ROOM, self._patience) as mine:
            if not mine:
                return None
            entries = sorted(self._entries(), key=lambda entry: entry[1])
            total = sum(n_byte for n_byte, _, _ in entries)
            for n_byte, _, path in entries:
                if total + size <= self._size:
                    break
                if not path.name.startswith("."):  # others are being written
                    path.unlink(missing_ok=True)
                    total -= n_byte
            if total + size > self._size:
                return None
            disk = os.statvfs(self.folder)
            if disk.f_bavail * disk.f_frsize < size + _SPARE * disk.f_blocks * disk.f_frsize:
                self._warn("the disk is full")
                return None
            descriptor, name = tempfile.mkstemp(suffix=".tmp", prefix=".", dir=self.folder)
            with os.fdopen(descriptor, "r+b") as file:
                file.truncate(size)
        return Path(name)

    def _entries(self) -> Iterator[tuple[int, float, Path]]:
        """Yield size, time of the last use and path of each copy, whole or not; remove what the dead have left."""
        with os.scandir(self.folder) as found:
            for entry in found:
                with suppress(FileNotFoundError):
                    looks = entry.stat(follow_symlinks=False)
                    if entry.name.endswith(".lock") and entry.name.startswith("."):
                        continue
                    if entry.name.startswith(".") and time.time() - looks.st_mtime > _STALE:
                        Path(entry.path).unlink()
                        continue
                    yield looks.st_size, looks.st_mtime, Path(entry.path)


@contextmanager
def _locked(path: Path, patience: float = 0.0) -> Iterator[bool]:
    """Hold a lock that ends with the process; yield whether it could be had within `patience` [s].

    The file goes with the lock.  Who waited for it then holds the lock of a file without a name, which keeps nobody
    else out, and has to begin again.
    """
    deadline = time.monotonic() + patience
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            if time.monotonic() < deadline:
                time.sleep(_NAP)
                continue
            yield False
            return
        except BaseException:
            os.close(descriptor)
            raise
        if _same(path, descriptor):
            break
        os.close(descriptor)
    try:
        yield True
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _same(path: Path, descriptor: int) -> bool:
    """Say whether a name still means the file that was opened by it."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
