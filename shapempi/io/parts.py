"""Part files: one HDF5 file per rank and job that holds the finished units, each committed or not there at all.

    RUN/parts/<job>/rank-00001.h5
        commits       table of fixed length, one row per committed unit, in order; empty rows have no name
        units/<name>  one immutable group per unit (`shapempi.io.group`)

A commit is: write the group, flush, fsync; then write the row, flush, fsync; then tell rank 0.  A group without a
row does not exist.  After SIGKILL between any two writes of a commit all earlier commits must be readable, and HDF5
alone does not give that: it changes the index of `units`, and the chunk index of a growing dataset, in place, and
about one in ten of the states in between hides older groups.  So nothing that is read is ever changed: the table is
contiguous and allocated at the start, and a row points to its group by object reference, which does not pass through
the index.  The index serves people who look into a file.

A full disk is met before HDF5 meets it, for HDF5 does not survive a failed write: a product is laid out in memory,
its space is reserved, and then it is copied.

Any other process may read a file while it grows: what a location names never changes, and what looks wrong for a
moment (a caching file system, a flush under way) is read again.
"""

from __future__ import annotations

import errno
import os
import socket
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np

from shapempi.errors import DataError
from shapempi.io.atomic import sync_folder
from shapempi.io.group import ChecksumError, read_group, read_rows, write_group
from shapempi.product import Location, Product

__all__ = ["PartReader", "PartWriter", "Scan", "part_files", "scan", "scan_file"]

PARTS = "parts"
_FORM = 1
#: Commits per file; then the rank begins another one.
_N_COMMIT = 512
_ROW = np.dtype(
    [
        ("name", "S384"),
        ("digest", "S64"),
        ("n_row", "<i8"),
        ("crc32", "<u4"),
        ("check", "<u4"),
        ("group", h5py.ref_dtype),
    ]
)
#: What reading a file can raise while its writer is at work; each is tried again.
_PASSING = (OSError, KeyError, RuntimeError, ValueError, ChecksumError)

_T = TypeVar("_T")


def _check(name: bytes, digest: bytes, n_row: int, crc32: int) -> int:
    """Return the checksum of a row's values: a row that was written in part does not have it."""
    return zlib.crc32(b"%s\0%s\0%d\0%d" % (name, digest, n_row, crc32))


class PartWriter:
    """The part files of one rank in one job; the first file is made with the first commit.

    Parameters
    ----------
    run_folder : Path
        The run.
    job : str
        Name of this start of the run, never used before (`RunFolder.job`).
    rank : int
        This rank.
    digest : str, optional
        Digest of the configuration, at most 64 characters; kept with every commit.
    written : callable, optional
        Called when a product is on the disk and not yet committed: where trials strike.
    """

    def __init__(
        self,
        run_folder: Path,
        job: str,
        rank: int,
        *,
        digest: str = "",
        written: Callable[[], None] | None = None,
    ) -> None:
        self._run_folder = Path(run_folder)
        self._job = job
        self._rank = rank
        self._digest = digest.encode()
        if len(self._digest) > _ROW["digest"].itemsize:
            raise ValueError(f"the digest {digest!r} is longer than {_ROW['digest'].itemsize} characters")
        self._written = written
        self._path: Path | None = None
        self._n_file = 0
        self._n_commit = 0

    def commit(self, name: str, product: Product, n_row: int = 0) -> Location:
        """Write the result of a unit; when this returns it survives whatever happens to the process.

        Parameters
        ----------
        name : str
            Name of the commit, at most 384 bytes.
        product : Product
            What to write.
        n_row : int, optional
            Rows of its main table.

        Returns
        -------
        Location
            Where it lies.

        Raises
        ------
        TypeError
            If the product holds what cannot be written.
        OSError
            If the file system refuses (full, read-only, gone).
        """
        raw = name.encode()
        if "/" in name or not 0 < len(raw) <= _ROW["name"].itemsize:
            raise ValueError(f"{name!r} cannot name a commit: no '/', 1 to {_ROW['name'].itemsize} bytes")
        if self._path is None or self._n_commit == _N_COMMIT:
            self._path = self._new_file()
            self._n_commit = 0
        path, index = self._path, self._n_commit
        with _draft() as draft:
            crc32 = write_group(draft, "product", product, n_row)
            draft.flush()
            try:
                _commit(path, index, raw, self._digest, draft, self._written)
            except (OSError, RuntimeError) as error:
                self._path = None  # its committed units stay as they are; nothing more is trusted to it
                raise OSError(f"cannot commit {name} to {path}: {error}; is the disk full or gone?") from error
        self._n_commit += 1
        return Location(str(path.relative_to(self._run_folder)), f"/units/{name}#{index}", crc32, n_row)

    def close(self) -> None:
        """End; later commits would begin a new file."""
        self._path = None

    def _new_file(self) -> Path:
        folder = self._run_folder / PARTS / self._job
        # Another process of this rank may have begun files before it died: they are never written to again.
        while (path := folder / f"rank-{self._rank:05d}{f'-{self._n_file}' if self._n_file else ''}.h5").exists():
            self._n_file += 1
        with _draft() as draft:
            draft.attrs.update({"form": _FORM, "job": self._job, "rank": self._rank, "host": socket.gethostname()})
            _lay_out(draft)
            draft.flush()
            image = draft.id.get_file_image()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                file.write(image)
                file.flush()
                os.fsync(file.fileno())
            sync_folder(folder)
        except OSError as error:
            raise OSError(f"cannot make the part file {path}: {error}") from error
        self._n_file += 1
        return path


def _draft() -> h5py.File:
    """Return a new HDF5 file that exists in memory only."""
    return h5py.File("draft", "w", driver="core", backing_store=False, block_size=1024 * 1024)


def _lay_out(file: h5py.File) -> None:
    """Make the table of commits and the group of units in a new file."""
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    file.create_group("units")
    file.create_dataset("commits", (_N_COMMIT,), _ROW, dcpl=layout)


def _commit(
    path: Path, index: int, name: bytes, digest: bytes, draft: h5py.File, written: Callable[[], None] | None
) -> None:
    """Commit the product that a draft holds as row `index` of a part file."""
    need = draft.id.get_filesize() + 256 * 1024
    # Open for this commit only: in between the file is closed and sound, and this rank can read it too.
    with h5py.File(path, "r+", locking=False) as file:
        _reserve(path, file.id.get_filesize(), need)

        def flush() -> None:
            file.flush()
            os.fsync(file.id.get_vfd_handle())

        _append(file, index, name, digest, draft, flush, written)
        used = file.id.get_filesize()
    os.truncate(path, used)


def _append(
    file: h5py.File,
    index: int,
    name: bytes,
    digest: bytes,
    draft: h5py.File,
    flush: Callable[[], None],
    written: Callable[[], None] | None = None,
) -> None:
    """Copy the product of a draft into an open part file, then write its row."""
    units = file["units"]
    member = name.decode()
    if member in units:  # done again in the same job: the older group stays as it is
        member += f"@{index}"
    draft.copy("product", units, member)
    flush()
    if written is not None:
        written()
    product = units[member]
    row = np.zeros((), _ROW)
    row["name"], row["digest"], row["group"] = name, digest, product.ref
    row["n_row"], row["crc32"] = product.attrs["n_row"], product.attrs["crc32"]
    row["check"] = _check(name, digest, int(row["n_row"]), int(row["crc32"]))
    file["commits"][index] = row
    flush()


def _reserve(path: Path, start: int, length: int) -> None:
    """Make a file longer, with disk space behind it where the file system can promise that.

    It also keeps the superblock from naming a longer file than there is while blocks are still to be written; a
    reader takes such a file for truncated.
    """
    with path.open("r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), start, length)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
        except AttributeError:  # macOS
            pass
        if os.fstat(file.fileno()).st_size < start + length:
            file.truncate(start + length)


class PartReader:
    """Reads committed units of a run, also while other processes write to the same files.

    Parameters
    ----------
    run_folder : Path
        The run.
    patience : float, optional
        How long to try again what cannot be read, before it is an error [s].
    """

    def __init__(self, run_folder: Path, *, patience: float = 60.0) -> None:
        self._run_folder = Path(run_folder)
        self._patience = patience

    def read(self, location: Location, names: Iterable[str] | None = None) -> Product:
        """Read a unit's result, or some of its arrays; what is read is verified.

        Parameters
        ----------
        location : Location
            Where it lies.
        names : iterable of str, optional
            Arrays to read; all by default, none (attributes only) if empty.

        Returns
        -------
        Product
            Arrays and all attributes.

        Raises
        ------
        DataError
            If it cannot be read within the patience, or has no such array.
        """
        chosen = None if names is None else list(names)
        return self._patiently(location, lambda group: read_group(group, location.crc32, chosen))

    def read_rows(self, location: Location, name: str, start: int, stop: int) -> np.ndarray:
        """Read and verify rows start..stop-1 (first axis) of one array: of an image plane, or of a table.

        Parameters
        ----------
        location : Location
            Where the unit lies.
        name : str
            The array.
        start, stop : int
            Rows, inside the array.

        Returns
        -------
        ndarray
            The rows.

        Raises
        ------
        DataError
            If they cannot be read within the patience, or the array has no such rows.
        """
        return self._patiently(location, lambda group: read_rows(group, location.crc32, name, start, stop))

    def read_section(self, location: Location, name: str, box: tuple[int, int, int, int]) -> np.ndarray:
        """Read and verify the section (y0, y1, x0, x1), half open, of one two-dimensional array.

        Parameters
        ----------
        location : Location
            Where the unit lies.
        name : str
            The array.
        box : tuple of int
            The section, inside the array.

        Returns
        -------
        ndarray
            The section [y1 - y0, x1 - x0].

        Raises
        ------
        DataError
            If it cannot be read within the patience, or is not inside the array.
        """
        y0, y1, x0, x1 = box
        rows = self.read_rows(location, name, y0, y1)
        if rows.ndim != 2 or not 0 <= x0 <= x1 <= rows.shape[1]:
            raise DataError(f"array {name} of {location.group} has rows of the shape {rows.shape[1:]}: no {x0}..{x1}")
        return np.ascontiguousarray(rows[:, x0:x1])

    def _patiently(self, location: Location, action: Callable[[h5py.Group], _T]) -> _T:
        path = self._run_folder / location.file
        deadline = time.monotonic() + self._patience
        pause = 0.005
        while True:
            try:
                with h5py.File(path, "r", locking=False) as file:
                    return action(_group(file, location.group))
            except _PASSING as error:
                problem: Exception = error
            except DataError as error:
                raise DataError(f"{path}: {location.group}: {error}") from error
            rest = deadline - time.monotonic()
            if rest <= 0.0:
                raise DataError(
                    f"{path}: {location.group} cannot be read: {problem}. If it stays so, the file is damaged or gone: "
                    "with the file moved away, the next run does its units again"
                ) from problem
            time.sleep(min(pause, rest))
            pause = min(2.0 * pause, 1.0)


def _group(file: h5py.File, name: str) -> h5py.Group:
    """Return the group of a location: by its commit row if it names one, else by path."""
    path, _, row = name.partition("#")
    return file[file["commits"][int(row)]["group"]] if row else file[path]


@dataclass(frozen=True)
class Scan:
    """What the part files of a run hold.

    Attributes
    ----------
    locations : dict of str to Location
        Every committed, sound unit by the name of its commit; of several, the first by job, file and row.
    damaged : list of str
        One line per file or commit that cannot be used.
    n_file : int
        Part files looked at.
    n_duplicate : int
        Commits whose name was there already.
    """

    locations: dict[str, Location] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)
    n_file: int = 0
    n_duplicate: int = 0


def scan(run_folder: Path, digest: str | None = None, *, deep: bool = False) -> Scan:
    """Find every committed unit in the part files of all jobs of a run.

    Parameters
    ----------
    run_folder : Path
        The run.
    digest : str, optional
        Only commits with this configuration digest count; all by default.
    deep : bool, optional
        Whether to read and verify all data, not only that each committed group is there.

    Returns
    -------
    Scan
        The units and the problems.  A file that cannot be used costs its own units, nothing else.
    """
    run_folder = Path(run_folder)
    found = Scan()
    n_file, n_duplicate = 0, 0
    for path in part_files(run_folder):
        one = scan_file(path, run_folder, digest, deep=deep)
        n_file += 1
        n_duplicate += one.n_duplicate + len(found.locations.keys() & one.locations.keys())
        for name, location in one.locations.items():
            found.locations.setdefault(name, location)
        found.damaged.extend(one.damaged)
    return replace(found, n_file=n_file, n_duplicate=n_duplicate)


def part_files(run_folder: Path) -> list[Path]:
    """Return the part files of all jobs of a run, in the order of jobs, ranks and numbers."""
    return sorted((run_folder / PARTS).glob("*/rank-*.h5"))


def scan_file(path: Path, run_folder: Path, digest: str | None = None, *, deep: bool = False) -> Scan:
    """Find every committed unit in one part file.

    Parameters
    ----------
    path : Path
        The part file.
    run_folder : Path
        Its run.
    digest : str, optional
        Only commits with this configuration digest count; all by default.
    deep : bool, optional
        Whether to read and verify all data.
    """
    locations: dict[str, Location] = {}
    damaged: list[str] = []
    n_duplicate = 0
    try:
        with h5py.File(path, "r", locking=False) as file:
            for index, row in enumerate(_rows(file)):
                name = row["name"].decode(errors="replace")
                problem = _fault(file, row, digest, deep)
                if problem:
                    damaged.append(f"{path}: {name}: {problem}")
                elif name in locations:
                    n_duplicate += 1
                else:
                    group = f"/units/{name}#{index}"
                    crc32, n_row = int(row["crc32"]), int(row["n_row"])
                    locations[name] = Location(str(path.relative_to(run_folder)), group, crc32, n_row)
    except Exception as error:  # a damaged file can raise anything; it must not cost the other files
        damaged.append(f"{path}: {type(error).__name__}: {error}")
    return Scan(locations, damaged, 1, n_duplicate)


def _rows(file: h5py.File) -> Iterator[Any]:
    """Yield the rows of a file's commits; few at a time, for most of the table is empty."""
    table = file["commits"]
    for start in range(0, len(table), 32):
        for row in table[start : start + 32]:
            if not row["name"]:
                return
            yield row


def _fault(file: h5py.File, row: Any, digest: str | None, deep: bool) -> str:
    """Return what is wrong with one commit; nothing if it is sound."""
    if row["check"] != _check(row["name"], row["digest"], int(row["n_row"]), int(row["crc32"])):
        return "the commit was not written to its end"
    if digest is not None and row["digest"] != digest.encode():
        return f"made with another configuration (digest {row['digest'].decode(errors='replace')})"
    try:
        group = file[row["group"]]
        if group.attrs["crc32"] != row["crc32"] or group.attrs["n_row"] != row["n_row"]:
            return "the group is not the one committed"
        if deep:
            read_group(group, int(row["crc32"]))
    except Exception as error:  # as above
        return f"{type(error).__name__}: {error}"
    return ""
