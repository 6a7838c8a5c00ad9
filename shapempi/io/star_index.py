"""The survey's bright stars in one file, sorted by place on the sky, so that a rank reads those around its images only.

The file is HDF5: `/stars` (STAR_DTYPE) sorted by HEALPix pixel (nested), `/pixel` the pixels that have stars, `/first`
where the stars of each begin, and the number of stars last.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from pathlib import Path
from typing import Self

import h5py
import hpgeom
import numpy as np

from shapempi.errors import ConfigError, DataError, MissingInputError
from shapempi.io.atomic import replacing
from shapempi.io.starcat import STAR_DTYPE

__all__ = ["StarIndex", "index_files", "star_digest", "write_index"]

_FORMAT = "shapempi star index 1"
#: Pixels of 27 arcmin: about two CCDs.
NSIDE = 128
_CURE = "make it anew with `shapempi starcat`"
#: Stars that one process keeps: 44 MB.
_KEPT = 1_000_000


def star_digest(stars: np.ndarray) -> str:
    """Return the fingerprint of a catalogue's content, in the order that `read_star_catalogue` gives."""
    return hashlib.sha256(np.ascontiguousarray(stars, dtype=STAR_DTYPE).tobytes()).hexdigest()[:32]


def index_files(path: Path) -> str | None:
    """Return the fingerprint of the files that an index was made from; None if there is no index."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            return str(file.attrs.get("files", "")) if file.attrs.get("format") == _FORMAT else None
    except OSError:
        return None


def write_index(path: Path, stars: np.ndarray, *, files: str = "") -> None:
    """Write stars as an index, in one step; a file that is there is replaced.

    Parameters
    ----------
    path : Path
        The file.
    stars : ndarray of STAR_DTYPE [n]
        The stars, as `read_star_catalogue` gives them.
    files : str, optional
        Fingerprint of the files that they are from, to know later whether these have changed.

    Raises
    ------
    ConfigError
        If it cannot be written.
    """
    stars = np.ascontiguousarray(stars, dtype=STAR_DTYPE)
    place = np.asarray(hpgeom.angle_to_pixel(NSIDE, stars["ra"], stars["dec"]), dtype=np.int64)
    order = np.argsort(place, kind="stable")
    pixel, first = np.unique(place[order], return_index=True)
    try:
        with replacing(path) as temporary, h5py.File(temporary, "w", locking=False) as file:
            file.attrs.update({"format": _FORMAT, "nside": NSIDE, "files": files, "digest": star_digest(stars)})
            file.attrs["brightest"] = float(stars["mag"].min(initial=np.inf))
            file["stars"], file["pixel"] = stars[order], pixel
            file["first"] = np.append(first, len(stars)).astype(np.int64)
    except OSError as error:
        raise ConfigError(f"{path}: the stars cannot be written: {error.strerror or error}") from error


class StarIndex:
    """Finds stars by place; keeps what it has read last, so that a rank reads its area once.

    Attributes
    ----------
    path : Path
        The file.
    n_star : int
        Stars in it.
    digest : str
        Fingerprint of its content.
    brightest : float
        Smallest magnitude; inf without stars.
    """

    def __init__(
        self, path: Path, digest: str, brightest: float, nside: int, pixel: np.ndarray, first: np.ndarray
    ) -> None:
        self.path = path
        self.n_star = int(first[-1])
        self.digest = digest
        self.brightest = brightest
        self._nside = nside
        self._pixel = pixel
        self._first = first
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()
        self._n_kept = 0

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read the table of contents of an index.

        Raises
        ------
        MissingInputError
            If there is no such file.
        DataError
            If it is no index, or damaged.
        """
        if not path.is_file():
            raise MissingInputError(f"{path}: the star catalogue does not exist; correct [input] star_catalogue")
        try:
            with h5py.File(path, "r", locking=False) as file:
                if file.attrs.get("format") != _FORMAT:
                    raise DataError(f"{path}: not a star index; {_CURE}")
                attrs = dict(file.attrs)
                pixel, first = file["pixel"][...], file["first"][...]
                sound = len(first) == len(pixel) + 1 and first[-1] == len(file["stars"]) and (np.diff(first) > 0).all()
        except (OSError, KeyError) as error:
            raise DataError(f"{path}: the star index is damaged: {error}; {_CURE}") from error
        if not sound:
            raise DataError(f"{path}: the star index contradicts itself; {_CURE}")
        return cls(path, str(attrs["digest"]), float(attrs["brightest"]), int(attrs["nside"]), pixel, first)

    def near(self, ra: float, dec: float, radius: float) -> np.ndarray:
        """Return the stars in a circle, and some around it.

        Parameters
        ----------
        ra, dec, radius : float
            Centre and radius [deg].

        Returns
        -------
        ndarray of STAR_DTYPE [n]
            All stars within the radius, with others of the same pixels of the sky; the same ones in the same order for
            every process.

        Raises
        ------
        DataError
            If the file cannot be read any more.
        """
        if radius >= 180.0:
            wanted = np.arange(len(self._pixel))
        else:
            touched = hpgeom.query_circle(self._nside, ra % 360.0, dec, radius, inclusive=True)
            wanted = np.flatnonzero(np.isin(self._pixel, touched))
        parts = self._read(wanted.tolist())
        return np.concatenate([np.zeros(0, STAR_DTYPE), *parts])

    def _read(self, rows: list[int]) -> list[np.ndarray]:
        """Return the stars of some pixels, by their places in the table of contents."""
        absent = [row for row in rows if row not in self._kept]
        found = {row: self._kept[row] for row in rows if row in self._kept}
        if absent:
            try:
                with h5py.File(self.path, "r", locking=False) as file:
                    for row in absent:
                        found[row] = file["stars"][self._first[row] : self._first[row + 1]]
            except (OSError, KeyError) as error:
                raise DataError(f"{self.path}: the stars cannot be read: {error}") from error
        for row in rows:
            if row not in self._kept:
                self._n_kept += len(found[row])
            self._kept[row] = found[row]
            self._kept.move_to_end(row)
        while self._n_kept > _KEPT and len(self._kept) > 1:
            self._n_kept -= len(self._kept.popitem(last=False)[1])
        return [found[row] for row in rows]
