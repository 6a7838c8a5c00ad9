"""Names of tiles, CCDs and blocks: parsed and written in this one place.

An exposure is an integer (2243881; its files are `2243881p.fits.fz`), a CCD is an exposure and a number, a tile is a
pair of numbers, `241.293` in `CFIS.241.293.r.fits`, a block is a part of a tile's objects.  How files are named is a
matter of the survey (`exposure_number.py`, `camera.py`, `tile_grid.py`); these names are the same for all.
The `uid` of each is the text that names its unit of work in the ledger and in the part files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from shapempi.errors import DataError

__all__ = ["BlockId", "CcdId", "TileId"]

_TILE = re.compile(r"^(\d{3,5})[.-](\d{3,5})$")


@dataclass(frozen=True, order=True)
class TileId:
    """A sky cell of the survey's grid: column and row, three digits each or more (`shapempi.tile_grid`)."""

    x: int
    y: int

    @classmethod
    def parse(cls, text: str) -> TileId:
        """Read `241.293` or `241-293`.

        Raises
        ------
        DataError
            If the text is neither.
        """
        match = _TILE.match(text.strip())
        if not match:
            raise DataError(f"{text!r} is not a tile name; write it as XXX.YYY, for example 241.293")
        return cls(int(match.group(1)), int(match.group(2)))

    def __str__(self) -> str:
        """Return `241.293`."""
        return f"{self.x:03d}.{self.y:03d}"

    @property
    def uid(self) -> str:
        """The name of the tile's unit of work."""
        return f"tile:{self}"


@dataclass(frozen=True, order=True)
class CcdId:
    """One detector of one exposure."""

    exposure: int
    ccd: int

    def __str__(self) -> str:
        """Return `2243881-12`."""
        return f"{self.exposure:07d}-{self.ccd}"

    @classmethod
    def parse(cls, text: str) -> CcdId:
        """Read `2243881-12`.

        Raises
        ------
        DataError
            If the text has another form.
        """
        exposure, _, ccd = text.partition("-")
        if not (exposure.isdigit() and ccd.isdigit()):
            raise DataError(f"{text!r} is not a CCD name; write it as EXPOSURE-CCD, for example 2243881-12")
        return cls(int(exposure), int(ccd))

    @property
    def uid(self) -> str:
        """The name of the CCD's unit of work."""
        return f"ccd:{self}"


@dataclass(frozen=True, order=True)
class BlockId:
    """A part of a tile's objects, measured as one unit of work."""

    tile: TileId
    index: int

    @property
    def uid(self) -> str:
        """The name of the block's unit of work."""
        return f"block:{self.tile}:{self.index}"
