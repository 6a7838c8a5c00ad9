"""Where the CCDs of one exposure lie, in the small: as it goes from rank to rank and into the store of a run."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from shapempi.ids import CcdId
from shapempi.survey.footprints import CcdFootprint

__all__ = ["CCD_ROW", "Looks", "PlacedExposure"]

#: Size [byte] and date of the last change [ns since 1970] of a file.
Looks = tuple[int, int]

#: One CCD: the numbers of a `CcdFootprint`.
CCD_ROW = np.dtype(
    [
        ("ccd", "<i2"),
        ("shape", "<i4", (2,)),
        ("valid_box", "<i4", (4,)),
        ("outline", "<f8", (8, 2)),
        ("active", "u1"),
    ]
)


@dataclass(frozen=True, eq=False)
class PlacedExposure:
    """What planning learns of an exposure: 40 CCDs in 20 kB.

    Attributes
    ----------
    exposure : int
        Its number.
    looks : tuple of int
        Size and date that the image file had before it was read.
    rows : ndarray of CCD_ROW [n_ccd]
        Its CCDs, in the order of `read_footprints`.
    headers : bytes
        The cards of their WCS, compressed.
    problems : mapping of int to str
        Why a CCD cannot be placed on the sky, by CCD number.
    error : str
        Why the file cannot be read at all; empty if it can.
    """

    exposure: int
    looks: Looks
    rows: np.ndarray = field(repr=False)
    headers: bytes = field(repr=False)
    problems: Mapping[int, str] = field(default_factory=dict)
    error: str = ""

    @classmethod
    def of(cls, exposure: int, looks: Looks, footprints: Sequence[CcdFootprint], error: str = "") -> PlacedExposure:
        """Pack what was read of a file.

        Parameters
        ----------
        exposure : int
            Exposure number.
        looks : tuple of int
            Size and date of the image file.
        footprints : sequence of CcdFootprint
            What `read_footprints` returned.
        error : str, optional
            What it raised.
        """
        rows = np.zeros(len(footprints), CCD_ROW)
        for row, footprint in zip(rows, footprints, strict=True):
            row["ccd"], row["shape"], row["valid_box"] = footprint.ccd.ccd, footprint.shape, footprint.valid_box
            row["outline"], row["active"] = footprint.outline, footprint.active
        headers = zlib.compress("\n".join(footprint.header for footprint in footprints).encode())
        problems = {footprint.ccd.ccd: footprint.problem for footprint in footprints if footprint.problem}
        return cls(exposure, looks, rows, headers, problems, error)

    @property
    def sound(self) -> bool:
        """Whether every CCD has its place."""
        return not self.problems and not self.error

    def footprints(self, *, headers: bool = True) -> list[CcdFootprint]:
        """Unpack the footprints of the CCDs.

        Parameters
        ----------
        headers : bool, optional
            Whether they have their headers, of 4 kB each.

        Raises
        ------
        ValueError, zlib.error
            If the headers are damaged.
        """
        texts = zlib.decompress(self.headers).decode().split("\n") if headers else [""] * len(self.rows)
        return [
            CcdFootprint(
                ccd=CcdId(self.exposure, int(row["ccd"])),
                shape=(int(row["shape"][0]), int(row["shape"][1])),
                valid_box=(int(box[0]), int(box[1]), int(box[2]), int(box[3])),
                header=text,
                outline=row["outline"],
                active=bool(row["active"]),
                problem=self.problems.get(int(row["ccd"]), ""),
            )
            for row, box, text in zip(self.rows, self.rows["valid_box"], texts, strict=len(self.rows) > 0)
        ]
