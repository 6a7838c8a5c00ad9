"""What a product consists of: files of one kind of thing, in the folder of the module that used to make them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shapempi.ids import CcdId, TileId
from shapempi.legacy.source import LegacySource

__all__ = ["CCD", "EXPOSURE", "SURVEY", "TILE", "Part", "Product", "Written", "discard", "number_of"]

#: Of what a part has its files: of each CCD, exposure or tile, or one file of the whole survey.
CCD, EXPOSURE, TILE, SURVEY = "ccd", "exposure", "tile", "survey"


@dataclass(frozen=True)
class Written:
    """What was written of one thing.

    Attributes
    ----------
    paths : tuple of Path
        The files.
    lacking : bool
        Whether there is nothing to write, as there was nothing in the reference system.
    noted : bool
        Whether the files are such that their readers must know.
    """

    paths: tuple[Path, ...] = ()
    lacking: bool = False
    noted: bool = False


@dataclass(frozen=True)
class Part:
    """The files of one kind.

    Attributes
    ----------
    kind : str
        Of what: `CCD`, `EXPOSURE`, `TILE` or `SURVEY`.
    module : str
        Name of the module that used to make them.
    write : callable
        Writes those of one thing: takes the run, the thing (`CcdId`, exposure number, `TileId`; for the survey the
        exposures) and the folder, which is there.
    """

    kind: str
    module: str
    write: Callable[[LegacySource, Any, Path], Written]

    def folder(self, output: Path) -> Path:
        """Return the folder of its files in an output tree (behaviour specification, section 1.4)."""
        return output / self.module / "output"


@dataclass(frozen=True)
class Product:
    """Files that are asked for by one name.

    Attributes
    ----------
    meaning : str
        What they are.
    parts : tuple of Part
        Of what they consist.
    lack : str
        What it means that there is nothing to write of some CCD.
    note : str
        What readers of the files of some CCD must know.
    gathered : bool
        Whether they are made from the catalogue of the run.
    """

    meaning: str
    parts: tuple[Part, ...]
    lack: str = ""
    note: str = ""
    gathered: bool = False


def number_of(item: CcdId | TileId | int | None) -> str:
    """Return the end of the names of something's files: `-2243881-12`, `-241-293`, `-2243881`, nothing."""
    if item is None:
        return ""
    return f"-{item:07d}" if isinstance(item, int) else f"-{str(item).replace('.', '-')}"


def discard(path: Path) -> Written:
    """Remove a file of an earlier export that has no counterpart any more; return that nothing is written."""
    path.unlink(missing_ok=True)
    return Written(lacking=True)
