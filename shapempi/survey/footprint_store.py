"""Where the CCDs of a survey lie, kept from one start of a run to the next: a cache that can be deleted at any time.

RUN/footprints.h5 holds the footprints of every exposure, with size and date of its image file when it was read.  The
image files are the truth: of one that looks otherwise, or of which anything is wrong, nothing is kept.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from shapempi import __version__
from shapempi.io.atomic import replacing
from shapempi.survey.placed_exposure import CCD_ROW, Looks, PlacedExposure

__all__ = ["FOOTPRINTS", "FootprintStore"]

FOOTPRINTS = "footprints.h5"
_FORM = 1

#: One exposure: its number, size and date of its file, where its CCDs and its headers are in the other two datasets.
_EXPOSURE_ROW = np.dtype(
    [(name, "<i8") for name in ("exposure", "size", "date", "first_ccd", "n_ccd", "first_byte", "n_byte")]
)
#: Elements that are read and checked together.
_CHUNKS = {"exposures": 4096, "ccds": 400, "headers": 65536}
#: What h5py, NumPy and zlib raise of a damaged file.
_DAMAGE = (OSError, KeyError, ValueError, IndexError, TypeError, RuntimeError, zlib.error)


@dataclass(frozen=True)
class FootprintStore:
    """The footprints of a run; small enough to go to every rank.

    Attributes
    ----------
    path : Path
        The file, whether it is there or not.
    made_by : str
        What decides the footprints beside the files; a store that something else decided is not used.
    """

    path: Path
    made_by: str

    @classmethod
    def of(cls, run_folder: Path, **settings: str) -> FootprintStore:
        """Return the store of a run.

        Parameters
        ----------
        run_folder : Path
            The run.
        **settings
            What decides the footprints: where the files are, names of keywords.
        """
        return cls(
            Path(run_folder).expanduser() / FOOTPRINTS, json.dumps({"code": __version__, **settings}, sort_keys=True)
        )

    def load(self) -> dict[int, PlacedExposure]:
        """Return all that is kept, by exposure; nothing if there is no store, or it cannot be used."""
        try:
            with h5py.File(self.path, "r", locking=False) as file:
                exposures = self._exposures(file)
                ccds, headers = file["ccds"][()], file["headers"][()].tobytes()
            return {int(row["exposure"]): _placed(row, ccds, headers) for row in exposures}
        except _DAMAGE:
            return {}

    def read(self, exposure: int, looks: Looks) -> PlacedExposure | None:
        """Return what is kept of one exposure; None if nothing is, or its file looked otherwise.

        Parameters
        ----------
        exposure : int
            Exposure number.
        looks : tuple of int
            Size and date of its image file.
        """
        try:
            with h5py.File(self.path, "r", locking=False) as file:
                exposures = self._exposures(file)
                for row in exposures[exposures["exposure"] == exposure]:
                    if (int(row["size"]), int(row["date"])) == looks:
                        ccds = file["ccds"][row["first_ccd"] : row["first_ccd"] + row["n_ccd"]]
                        headers = file["headers"][row["first_byte"] : row["first_byte"] + row["n_byte"]].tobytes()
                        row["first_ccd"] = row["first_byte"] = 0
                        return _placed(row, ccds, headers)
        except _DAMAGE:
            pass
        return None

    def write(self, placed: Iterable[PlacedExposure]) -> None:
        """Keep the exposures of which nothing is wrong, in the place of what was kept; nothing if that is the same.

        Parameters
        ----------
        placed : iterable of PlacedExposure
            What is known.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        kept = sorted((each for each in placed if each.sound), key=lambda each: each.exposure)
        if {each.exposure: each.looks for each in kept} == {e: each.looks for e, each in self.load().items()}:
            return
        exposures = np.zeros(len(kept), _EXPOSURE_ROW)
        first_ccd = first_byte = 0
        for row, each in zip(exposures, kept, strict=True):
            row["exposure"], (row["size"], row["date"]) = each.exposure, each.looks
            row["first_ccd"], row["n_ccd"] = first_ccd, len(each.rows)
            row["first_byte"], row["n_byte"] = first_byte, len(each.headers)
            first_ccd, first_byte = first_ccd + len(each.rows), first_byte + len(each.headers)
        ccds = np.concatenate([np.zeros(0, CCD_ROW), *(each.rows for each in kept)])
        headers = np.frombuffer(b"".join(each.headers for each in kept), np.uint8)
        with replacing(self.path) as temporary, h5py.File(temporary, "w", locking=False) as file:
            file.attrs["form"], file.attrs["made_by"] = _FORM, self.made_by
            for name, values in (("exposures", exposures), ("ccds", ccds), ("headers", headers)):
                # chunks for their checksums, which see what is damaged
                chunks = (min(_CHUNKS[name], max(len(values), 1)),)
                file.create_dataset(name, data=values, maxshape=(None,), chunks=chunks, fletcher32=True)

    def _exposures(self, file: h5py.File) -> np.ndarray:
        """Return the table of exposures, empty if something else decided them."""
        if file.attrs["form"] != _FORM or file.attrs["made_by"] != self.made_by:
            return np.zeros(0, _EXPOSURE_ROW)
        return file["exposures"][()]


def _placed(row: np.void, ccds: np.ndarray, headers: bytes) -> PlacedExposure:
    """Return one exposure from the datasets of a store; raises ValueError if they are not whole."""
    rows = ccds[row["first_ccd"] : row["first_ccd"] + row["n_ccd"]]
    packed = headers[row["first_byte"] : row["first_byte"] + row["n_byte"]]
    if len(rows) != row["n_ccd"] or len(packed) != row["n_byte"] or rows.dtype != CCD_ROW:
        raise ValueError("the store of footprints is cut off")
    return PlacedExposure(int(row["exposure"]), (int(row["size"]), int(row["date"])), rows, packed)
