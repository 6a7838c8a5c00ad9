"""The grid of a survey's tiles: number to centre and back, and how tiles are named in file names (specification, 2.1).

Rows lie at equal distances in declination; the tiles of a row lie at equal distances along its own parallel, from right
ascension 0 to the East.
"""

from __future__ import annotations

import math
import re

import numpy as np
from pydantic import field_validator, model_validator

from shapempi.errors import DataError
from shapempi.ids import TileId
from shapempi.params import Params, key

__all__ = ["CFIS_GRID", "TileGrid"]

_EXAMPLE = TileId(241, 293)

#: Numbers of columns are whole: 720 cos 60 deg is 360, whatever the last bit of the cosine says.
_ROUNDING = 1e-9


class TileGrid(Params):
    """The grid of the survey's tiles on the sky, and how their names are written."""

    step: float = key(
        0.5, "Distance of the tiles in declination, and along the parallel of their row.", unit="deg", ge=0.02, le=30
    )
    first_row: float = key(-90.0, "Declination of the centres of row 0.", unit="deg", ge=-90, lt=90)
    name: str = key(
        "XXX.YYY", "A tile in file names: as many X and Y as the column and the row have digits, and other characters."
    )

    @field_validator("name")
    @classmethod
    def _has_two_numbers(cls, name: str) -> str:
        """Refuse a name that has not one place for each number."""
        for letter, what in (("X", "column"), ("Y", "row")):
            runs = re.findall(f"{letter}+", name)
            if len(runs) != 1:
                raise ValueError(
                    f"the {what} of the tile needs one run of {letter}, such as XXX.YYY, and there are {len(runs)}"
                )
        if re.search(r"[/\\\d{}*?\[\]]", name):
            raise ValueError("beside X and Y there are letters and punctuation, no digits, braces, * or /")
        return name

    @model_validator(mode="after")
    def _numbers_fit(self) -> TileGrid:
        """Refuse names in which the largest numbers of the grid have no room."""
        for letter, largest in (("X", math.ceil(360 / self.step) - 1), ("Y", self.n_row - 1)):
            if len(str(largest)) > self.name.count(letter):
                raise ValueError(
                    f"name = {self.name!r}: with steps of {self.step:g} deg {letter} goes to {largest}, which needs "
                    f"{len(str(largest))} digits"
                )
        return self

    @property
    def n_row(self) -> int:
        """Rows of the grid."""
        return math.floor((90.0 - self.first_row) / self.step + 0.5) + 1

    @property
    def reach(self) -> float:
        """Largest distance between the centres of tiles that can overlap [deg]: corners touch at 1.41 steps."""
        return 1.6 * self.step

    @property
    def width(self) -> int:
        """Length of the longest name of a tile as the program writes it: 7, `241.293`, in CFIS."""
        return sum(max(self.name.count(letter), 3) for letter in "XY") + 1

    def n_column(self, row: int) -> int:
        """Return how many columns a row has: those whose centres are below 360 degrees, one at least."""
        return max(math.ceil(360.0 / self.step * abs(math.cos(math.radians(self.dec_of(row)))) - _ROUNDING), 1)

    def dec_of(self, row: int) -> float:
        """Return the declination of the centres of a row [deg]."""
        return row * self.step + self.first_row

    def has(self, tile: TileId) -> bool:
        """Say whether a tile is one of the grid's."""
        on_sky = 0 <= tile.y < self.n_row and abs(self.dec_of(tile.y)) <= 90.0
        return on_sky and 0 <= tile.x < self.n_column(tile.y)

    def centre(self, tile: TileId) -> tuple[float, float]:
        """Return the centre of a tile, ra and dec [deg]."""
        dec = self.dec_of(tile.y)
        return (tile.x * self.step / math.cos(math.radians(dec))) % 360, dec

    def cell_of(self, ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers of the tiles in whose cells positions lie.

        The row comes first, from the declination; the column is counted at the declination of the row, not of the
        position.

        Parameters
        ----------
        ra, dec : ndarray of float64 [n]
            Positions [deg].

        Returns
        -------
        x, y : ndarray of int64 [n]
            Column and row; a column whose centre would be at 360 degrees or beyond is column 0.
        """
        y = np.rint((np.asarray(dec, dtype=float) - self.first_row) / self.step).astype(np.int64)
        cos_row = np.cos(np.radians(y * self.step + self.first_row))
        x = np.rint((np.asarray(ra, dtype=float) % 360.0) / self.step * cos_row).astype(np.int64)
        return np.where(x >= 360.0 / self.step * cos_row - _ROUNDING, 0, x), y

    def write(self, tile: TileId) -> str:
        """Return a tile as file names have it: `241.293`."""
        text = self.name
        for letter, number in (("X", tile.x), ("Y", tile.y)):
            digits = text.count(letter)
            text = text.replace(letter * digits, f"{number:0{digits}d}")
        return text

    @property
    def pattern(self) -> str:
        """Regular expression of a tile in file names, with the groups `x` and `y`; `.` and `-` mean the same."""
        parts = []
        for part in re.findall(r"X+|Y+|[.-]|[^XY.-]+", self.name):
            if part[0] in "XY":
                parts.append(rf"(?P<{part[0].lower()}>\d{{{len(part)}}})")
            else:
                parts.append("[.-]" if part in ".-" else re.escape(part))
        return "".join(parts)

    def parse(self, text: str) -> TileId:
        """Read a tile as file names have it, or as the program writes it.

        Raises
        ------
        DataError
            If the text is neither.
        """
        for pattern in (self.pattern, r"(?P<x>\d{3,5})\.(?P<y>\d{3,5})"):
            match = re.fullmatch(pattern, text.strip())
            if match:
                tile = TileId(int(match["x"]), int(match["y"]))
                if tile.x < 10 ** self.name.count("X") and tile.y < 10 ** self.name.count("Y"):
                    return tile
        raise DataError(f"{text!r} is not a tile name; write it as {self.name}, for example {self.write(_EXAMPLE)}")


#: The grid of CFIS.
CFIS_GRID = TileGrid()
