"""The bright stars of a run: its catalogue, made into an index once."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shapempi.io.star_index import StarIndex, index_files, star_digest, write_index
from shapempi.io.starcat import read_star_catalogue, star_files
from shapempi.measure.bright_stars import StarSource, StarTable

__all__ = ["INDEX_NAME", "StarsFound", "find_stars", "open_stars"]

#: Name of the index in the folder of a run.
INDEX_NAME = "star_catalogue.h5"


@dataclass(frozen=True)
class StarsFound:
    """The stars of a run before it has its folder.

    Attributes
    ----------
    digest : str
        Fingerprint of their content.
    stars : ndarray of STAR_DTYPE or None
        The stars, if an index must be made of them.
    index : Path or None
        The index, if there is one already.
    files : str
        Fingerprint of names, sizes and times of the catalogue's files.
    """

    digest: str
    stars: np.ndarray | None
    index: Path | None
    files: str

    def keep(self, folder: Path) -> Path:
        """Return the index; it is made in the run's folder if there is none yet.

        Raises
        ------
        ConfigError
            If it cannot be written.
        """
        if self.index is not None:
            return self.index
        path = folder / INDEX_NAME
        write_index(path, np.zeros(0) if self.stars is None else self.stars, files=self.files)
        return path


def open_stars(catalogue: Path) -> StarSource:
    """Return the stars of a catalogue for a single image; an index is not read whole.

    Raises
    ------
    MissingInputError, DataError, EngineError
        If the catalogue is not there or cannot be used.
    """
    if index_files(catalogue) is not None:
        return StarIndex.open(catalogue)
    return StarTable(read_star_catalogue(catalogue))


def find_stars(catalogue: Path, folder: Path) -> StarsFound:
    """Read the star catalogue of a run, unless an earlier start has made the index of the same files.

    Parameters
    ----------
    catalogue : Path
        The catalogue, or an index that `shapempi starcat` has made; that is used where it is.
    folder : Path
        The folder of the run.

    Returns
    -------
    StarsFound
        The stars.

    Raises
    ------
    MissingInputError, DataError, EngineError
        If the catalogue is not there or cannot be used: without it every unit would fail, for each has a mask.
    """
    paths = star_files(catalogue)
    if index_files(catalogue) is not None:
        index = StarIndex.open(catalogue.resolve())
        return StarsFound(index.digest, None, index.path, "")
    stats = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    files = hashlib.sha256(json.dumps(stats).encode()).hexdigest()
    kept = (folder / INDEX_NAME).expanduser().resolve()
    if index_files(kept) == files:
        return StarsFound(StarIndex.open(kept).digest, None, kept, files)
    stars = read_star_catalogue(catalogue)
    return StarsFound(star_digest(stars), stars, None, files)
