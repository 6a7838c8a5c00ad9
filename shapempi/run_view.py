"""A run for people who look at it: its units by the names that they type, their products, and why one is not there."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np

from shapempi.config import Config, load
from shapempi.errors import ConfigError, MissingInputError
from shapempi.gather import read_plan
from shapempi.ids import BlockId, CcdId, TileId
from shapempi.io.journal import read_journal
from shapempi.io.ledger import Ledger
from shapempi.io.parts import PartReader
from shapempi.masking import read_recipe
from shapempi.product import Location
from shapempi.report.look_palette import bit_names
from shapempi.survey.graph import TilePlan
from shapempi.survey.inputs import SurveyInputs, store_of
from shapempi.units import blocks_by_tile, complete
from shapempi.wcs import angular_distance

__all__ = ["ObjectId", "RunView"]

_CCD = re.compile(r"(?:ccd:)?(\d{4,14})-(\d{1,4})")
_TILE = re.compile(r"(?:tile:)?(\d{3,5}[.-]\d{3,5})(?::(\d+))?")

_Name = TypeVar("_Name", CcdId, TileId)

#: Farthest that an object may be from the position at which one looks for it [arcsec].
_NEAR = 60.0


@dataclass(frozen=True)
class ObjectId:
    """An object of a tile: the tile and the object's NUMBER there."""

    tile: TileId
    number: int

    def __str__(self) -> str:
        """Return `241.293:17`."""
        return f"{self.tile}:{self.number}"


class RunView:
    """A run.

    Parameters
    ----------
    folder : Path
        The run folder.

    Attributes
    ----------
    folder : Path
        The run folder.
    plan : SurveyPlan
        What was planned.
    settings : Config
        The run's configuration.
    inputs : SurveyInputs
        Where its files are; without the list of what is missing.
    reader : PartReader
        Reads products.
    done : dict of str to Location
        The products of CCDs, tiles and blocks by uid.

    Raises
    ------
    MissingInputError
        If the folder is not a run's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plan = read_plan(folder)
        self.settings: Config = load(folder / "config.toml")
        self.inputs = SurveyInputs(
            self.settings.input,
            tuple(plan.tile for plan in self.plan.tiles),
            store=store_of(self.settings.input, folder),
        )
        self.reader = PartReader(folder, patience=5.0)
        committed = Ledger.read(folder).locations
        self.done: dict[str, Location] = complete(committed, self.plan)
        self._blocks = blocks_by_tile(committed, self.plan)

    def parse(self, text: str) -> CcdId | TileId | ObjectId:
        """Return what a name means: `2243881-12`, `241.293` or `241.293:17`, with `ccd:` or `tile:` before it or not.

        Raises
        ------
        ConfigError
            If it has another form, or the run has no such CCD or tile.
        """
        ccd, tile = _CCD.fullmatch(text), _TILE.fullmatch(text)
        if tile is not None:
            found = TileId.parse(tile.group(1))
            self._check(found, "tile", [plan.tile for plan in self.plan.tiles], lambda each: (each.x, each.y))
            return found if tile.group(2) is None else ObjectId(found, int(tile.group(2)))
        if ccd is not None:
            number = CcdId(int(ccd.group(1)), int(ccd.group(2)))
            self._check(number, "CCD", self.plan.ccds, lambda each: (each.exposure, each.ccd))
            return number
        raise ConfigError(
            f"{text!r} names no unit: write a CCD as 2243881-12, a tile as 241.293, an object as 241.293:NUMBER"
        )

    def _check(
        self, name: _Name, kind: str, known: Sequence[_Name], numbers: Callable[[_Name], tuple[int, int]]
    ) -> None:
        """Refuse a unit that the run does not have, and name those with the nearest numbers."""
        if name not in known:
            first, second = numbers(name)
            near = sorted(known, key=lambda each: (abs(numbers(each)[0] - first), abs(numbers(each)[1] - second)))[:3]
            names = ", ".join(str(each) for each in near) or "none"
            raise ConfigError(f"{self.folder}: the run has no {kind} {name}; it has {len(known)}, nearest {names}")

    def failure(self, uid: str) -> str | None:
        """Return why a unit that is not done failed in the latest start that got to it; None if none did."""
        if uid in self.done:
            return None
        outcomes = [event for event in self._events if event["event"] == "unit" and event["uid"] == uid]
        if not outcomes or outcomes[-1]["state"] == "done":
            return None
        return f"{outcomes[-1]['state']}: {outcomes[-1]['error']}: {outcomes[-1]['reason']}"

    def need(self, uid: str) -> Location:
        """Return where a unit's product is.

        Raises
        ------
        MissingInputError
            If there is none; the message says why.
        """
        if uid in self.done:
            return self.done[uid]
        reason = self.failure(uid)
        state = "is not done yet" if reason is None else f"has no product, it is {reason}"
        raise MissingInputError(f"{self.folder}: {uid} {state}; see `shapempi status {self.folder}`")

    @cached_property
    def bit_names(self) -> dict[int, str]:
        """The names of the bits of the exposures' masks, whose values are the configuration's."""
        return bit_names(read_recipe(self.settings.exposure.mask).recipe.params.bits)

    @cached_property
    def _events(self) -> list[dict]:
        return read_journal(self.folder)[0]

    def tile_plan(self, tile: TileId) -> TilePlan:
        """Return the plan of a tile that the run has."""
        return next(plan for plan in self.plan.tiles if plan.tile == tile)

    def catalogue(self, tile: TileId, columns: Sequence[str]) -> tuple[np.ndarray, int]:
        """Return the catalogue of a tile's blocks that are done, sorted by NUMBER, and how many blocks are not done."""
        product = self.reader.read(self.need(tile.uid), names=())
        places = self._blocks.get(tile.uid, {})
        tables = [self.reader.read(place, names=("catalogue",)).arrays["catalogue"] for place in places.values()]
        if not tables:
            return np.zeros(0, dtype=[(name, "f8") for name in columns]), int(product.attrs["n_block"])
        rows = np.concatenate([table[list(columns)] for table in tables])
        return rows[np.argsort(rows["NUMBER"])], int(product.attrs["n_block"]) - len(tables)

    def row_of(self, name: ObjectId) -> tuple[int, np.ndarray | None, str]:
        """Find an object.

        Returns
        -------
        index : int
            Its row among the tile's objects.
        row : structured ndarray [1] or None
            Its row of the catalogue; None if its block is not done.
        reason : str
            Why there is none.

        Raises
        ------
        ConfigError
            If the tile has no such object.
        """
        product = self.reader.read(self.need(name.tile.uid), names=("objects", "blocks", "block_objects"))
        number = product.arrays["objects"]["NUMBER"]
        found = np.flatnonzero(number == name.number)
        if not len(found):
            near = ", ".join(f"{name.tile}:{number[k]}" for k in np.sort(np.argsort(abs(number - name.number))[:3]))
            raise ConfigError(
                f"{self.folder}: tile {name.tile} has no object {name.number}; it has {len(number)}, "
                f"nearest {near or 'none'}"
            )
        index = int(found[0])
        blocks = product.arrays["blocks"]
        place = int(np.flatnonzero(product.arrays["block_objects"] == index)[0])
        block = BlockId(name.tile, int(np.searchsorted(blocks["first"], place, side="right") - 1))
        location = self._blocks.get(name.tile.uid, {}).get(block.uid)
        if location is None:
            return index, None, f"{block.uid} is {self.failure(block.uid) or 'not done yet'}"
        rows = self.reader.read(location, names=("catalogue",)).arrays["catalogue"]
        return index, rows[rows["NUMBER"] == name.number], ""

    def nearest(self, ra: float, dec: float, tile: TileId | None = None) -> ObjectId:
        """Return the object nearest to a position [deg], of one tile or of all that are done.

        Raises
        ------
        ConfigError
            If there is none within a minute of arc.
        """
        tiles = [plan.tile for plan in self.plan.tiles if plan.tile.uid in self.done] if tile is None else [tile]
        best: tuple[float, ObjectId] | None = None
        for each in tiles:
            if tile is None and not self._close(each, ra, dec):
                continue
            table = self.reader.read(self.need(each.uid), names=("objects",)).arrays["objects"]
            if not len(table):
                continue
            distance = 3600.0 * angular_distance(table["XWIN_WORLD"], table["YWIN_WORLD"], ra, dec)
            k = int(np.nanargmin(distance))
            if best is None or distance[k] < best[0]:
                best = float(distance[k]), ObjectId(each, int(table["NUMBER"][k]))
        if best is None or best[0] > _NEAR:
            nearest = "" if best is None else f"; the nearest is {best[1]}, {best[0]:.0f} arcsec away"
            raise ConfigError(f"{self.folder}: no object within {_NEAR:.0f} arcsec of {ra} {dec}{nearest}")
        return best[1]

    def _close(self, tile: TileId, ra: float, dec: float) -> bool:
        """Say whether a tile may reach a position: they are hardly wider than the steps of the grid."""
        grid = self.settings.input.tile_grid
        tile_ra, tile_dec = grid.centre(tile)
        return float(angular_distance(np.array(tile_ra), np.array(tile_dec), ra, dec)) < 2.0 * grid.step
