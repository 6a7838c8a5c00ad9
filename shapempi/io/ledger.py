"""What is committed, known without reading every part file again: a cache that can be deleted at any time.

RUN/ledger.h5 holds where every committed unit lies, and size and date of each part file when it was looked at.  The
part files are the truth: a file that looks otherwise than in the ledger, or is not in it, is read; one that is gone
takes its units with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np

from shapempi.io.atomic import replacing
from shapempi.io.parts import Scan, part_files, scan_file
from shapempi.product import Location

__all__ = ["LEDGER", "Ledger"]

LEDGER = "ledger.h5"
_FORM = 1


@dataclass
class _File:
    """What a part file held when it was looked at."""

    size: int
    date: int
    found: Scan


@dataclass
class Ledger:
    """The committed units of a run; `Ledger.read` makes one.

    Attributes
    ----------
    folder : Path
        The run.
    n_read : int
        Part files that had to be read because the ledger did not know them as they are.
    """

    folder: Path
    n_read: int = 0
    _files: dict[str, _File] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path, *, rebuild: bool = False, deep: bool = False) -> Self:
        """Return what is committed.

        Parameters
        ----------
        folder : Path
            The run.
        rebuild : bool, optional
            Read every part file, whatever the ledger says.
        deep : bool, optional
            Verify all data of the files that are read, not only that each committed group is there.
        """
        folder = Path(folder)
        ledger = cls(folder)
        if not rebuild:
            ledger._files = _load(folder / LEDGER)
        return ledger.refresh(deep=deep)

    def refresh(self, *, deep: bool = False) -> Self:
        """Read the part files that are new or have changed; forget those that are gone."""
        known, self._files = self._files, {}
        for path in part_files(self.folder):
            name = str(path.relative_to(self.folder))
            try:
                stat = path.stat()
            except OSError:  # gone since it was listed
                continue
            entry = known.get(name)
            if entry is None or (entry.size, entry.date) != (stat.st_size, stat.st_mtime_ns):
                entry = _File(stat.st_size, stat.st_mtime_ns, scan_file(path, self.folder, deep=deep))
                self.n_read += 1
            self._files[name] = entry
        return self

    @property
    def locations(self) -> dict[str, Location]:
        """Where every committed unit lies, by the name of its commit; of several, the first by job, file and row."""
        places: dict[str, Location] = {}
        for name in sorted(self._files):
            for unit, location in self._files[name].found.locations.items():
                places.setdefault(unit, location)
        return places

    @property
    def damaged(self) -> list[str]:
        """One line per file or commit that cannot be used."""
        return [text for name in sorted(self._files) for text in self._files[name].found.damaged]

    @property
    def n_file(self) -> int:
        """Part files."""
        return len(self._files)

    def write(self) -> None:
        """Write RUN/ledger.h5, replacing an older one as a whole; files with damage are left out, to be read again."""
        names = [name for name in sorted(self._files) if not self._files[name].found.damaged]
        rows = [
            (index, unit, place.group, place.crc32, place.n_row)
            for index, name in enumerate(names)
            for unit, place in self._files[name].found.locations.items()
        ]
        with replacing(self.folder / LEDGER) as temporary, h5py.File(temporary, "w") as file:
            file.attrs["form"] = _FORM
            file["files/name"] = _texts(names)
            file["files/size"] = np.array([self._files[name].size for name in names], dtype="i8")
            file["files/date"] = np.array([self._files[name].date for name in names], dtype="i8")
            columns: list[list[Any]] = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(5)]
            file["units/file"] = np.array(columns[0], dtype="i4")
            file["units/name"], file["units/group"] = _texts(columns[1]), _texts(columns[2])
            file["units/crc32"] = np.array(columns[3], dtype="u4")
            file["units/n_row"] = np.array(columns[4], dtype="i8")


def _texts(values: Iterable[str]) -> np.ndarray:
    """Return texts as an array of bytes."""
    return np.array([value.encode() for value in values], dtype="S") if values else np.zeros(0, dtype="S1")


def _load(path: Path) -> dict[str, _File]:
    """Read a ledger; nothing if there is none or it cannot be read, for the part files say the same."""
    try:
        with h5py.File(path, "r") as file:
            if file.attrs["form"] != _FORM:
                return {}
            names = [name.decode() for name in file["files/name"][()]]
            looks = zip(names, file["files/size"][()].tolist(), file["files/date"][()].tolist(), strict=True)
            files = {name: _File(size, date, Scan()) for name, size, date in looks}
            for index, unit, group, crc32, n_row in zip(
                *(file[f"units/{name}"][()].tolist() for name in ("file", "name", "group", "crc32", "n_row")),
                strict=True,
            ):
                place = Location(names[index], group.decode(), crc32, n_row)
                files[names[index]].found.locations[unit.decode()] = place
            return files
    except (OSError, KeyError, ValueError, IndexError, RuntimeError):
        return {}
