"""From the plan of a survey to units of work: what waits for what, what is first, and what a commit is called.

A unit's product is committed under a name that says from what it was made, beside the unit's own name:

* a CCD's name is its uid;
* `tile:241.293~1f2e3d4c`: the digits are the checksum of the list of CCDs that touch the tile, so a tile is done anew
  when an exposure has been added;
* `block:241.293:3~1f2e3d4c+2.9a8b7c6d`: behind the tile's checksum follow the number of CCDs whose epochs were lost
  because their units failed, and the checksum of their names, so a block is done anew when such a CCD has been mended.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple, TypeVar

from shapempi.ids import BlockId, CcdId, TileId
from shapempi.mpi.unit import Unit
from shapempi.product import Product
from shapempi.survey.graph import CCD_SECONDS, TILE_SECONDS, SurveyPlan, TilePlan
from shapempi.survey.sky_order import side_of, sky_order

__all__ = [
    "AHEAD",
    "BLOCK_ARRAYS",
    "STOCK",
    "BlockCost",
    "assumed_costs",
    "block_units",
    "blocks_by_tile",
    "commit_name",
    "complete",
    "first_units",
    "predicted_seconds",
    "tile_digest",
    "with_block_cost",
]


class BlockCost(NamedTuple):
    """What a block is taken to cost before anything was measured: it orders the units and sizes the first blocks.

    Attributes
    ----------
    epoch : float
        Time of one object on one CCD [s]; that of the shape engine, the native one by default.
    object : float
        Time of one object beside that [s].
    section : float
        Time of reading one CCD's part of a block [s].
    """

    epoch: float = 0.0005
    object: float = 0.001
    section: float = 0.015

    @property
    def per_pixel(self) -> float:
        """Time of the blocks of a tile per pixel [s]: 30 objects a square arcminute on three CCDs, and reading."""
        return 30 * (3 * self.epoch + 2 * self.object) * (0.186 / 60) ** 2


#: What blocks cost with the native engine.
_NATIVE = BlockCost()


def assumed_costs(block: BlockCost = _NATIVE) -> dict[str, dict[str, float]]:
    """Return the law that learns as it is at the start: what units of each kind are taken to cost [s per one].

    Parameters
    ----------
    block : BlockCost, optional
        What a block is taken to cost.
    """
    return {
        "ccd": {"unit": 0.3, "pixel": CCD_SECONDS},
        "tile": {"unit": 0.3, "pixel": TILE_SECONDS},
        "block": {"unit": 0.1, **block._asdict()},
    }


#: Blocks go first, but for a stock of them, so that few tiles are open at a time; tiles and CCDs by their region of the
#: sky, tiles, which take longer, first.
_PRIORITY = {"ccd": 1, "tile": 1, "block": 2}

#: Blocks that are kept ready for each worker while there are tiles and CCDs [s].
STOCK = 60.0

#: How many tiles for each worker are detected before it is the turn of their CCDs.
AHEAD = 3

#: Arrays of a tile's product from which its blocks are made.
BLOCK_ARRAYS = ("blocks", "block_ccds")

_Place = TypeVar("_Place")


def predicted_seconds(plan: SurveyPlan, block: BlockCost = _NATIVE) -> dict[str, float]:
    """Return the predicted time of all units on one core [s], by kind: ccd, tile, block.

    Parameters
    ----------
    plan : SurveyPlan
        The plan of the survey.
    block : BlockCost, optional
        What a block is taken to cost.
    """
    return {
        "ccd": sum(plan.costs[ccd.uid] for ccd in plan.ccds),
        "tile": sum(plan.costs[tile.tile.uid] for tile in plan.tiles),
        "block": sum(block.per_pixel * plan.pixels[tile.tile.uid] for tile in plan.tiles),
    }


def first_units(plan: SurveyPlan, n_worker: int = 1, block: BlockCost = _NATIVE) -> list[Unit]:
    """Return the units of all CCDs and tiles.

    A tile waits for nothing; its blocks wait for their CCDs, and go on without those that fail.

    Parameters
    ----------
    plan : SurveyPlan
        The plan of the survey.
    n_worker : int, optional
        Ranks that do units.
    block : BlockCost, optional
        What a block is taken to cost.

    Returns
    -------
    list of Unit
        CCDs, then tiles.
    """
    side = side_of(tile.tile for tile in plan.tiles)
    places = {tile.tile: place for place, tile in enumerate(sorted(plan.tiles, key=lambda t: sky_order(t.tile, side)))}
    regions: dict[CcdId, int] = {}  # of a CCD: that of the first tile which needs it
    for tile in plan.tiles:
        for ccd in tile.ccds:
            regions[ccd] = min(regions.get(ccd, len(places)), places[tile.tile])
    units = [_ccd_unit(ccd, plan, regions.get(ccd, len(places))) for ccd in plan.ccds]
    # A tile takes longest, and its blocks come after it: at the end of a run only small units should be left.
    ahead = AHEAD * n_worker
    units += [_tile_unit(tile, plan, max(places[tile.tile] - ahead, 0), block) for tile in plan.tiles]
    return units


def _ccd_unit(ccd: CcdId, plan: SurveyPlan, region: int) -> Unit:
    """Return the unit of one CCD."""
    return Unit(
        sys.intern(ccd.uid),
        "ccd",
        cost=plan.costs[ccd.uid],
        priority=_PRIORITY["ccd"],
        payload={"exposure": ccd.exposure, "ccd": ccd.ccd},
        size={"pixel": plan.pixels[ccd.uid]},
        region=region,
    )


def _tile_unit(tile: TilePlan, plan: SurveyPlan, region: int, block: BlockCost) -> Unit:
    """Return the unit of one tile."""
    uid = tile.tile.uid
    return Unit(
        uid,
        "tile",
        cost=plan.costs[uid],
        priority=_PRIORITY["tile"],
        payload={
            "tile": str(tile.tile),
            "ccds": [(ccd.exposure, ccd.ccd) for ccd in tile.ccds],
            "digest": tile_digest(tile),
        },
        promised=block.per_pixel * plan.pixels[uid],
        size={"pixel": plan.pixels[uid]},
        region=region,
    )


def with_block_cost(unit: Unit, costs: Mapping[str, Mapping[str, float]], seconds: float) -> Unit:
    """Return a tile's unit that knows what its blocks will cost; other units as they are.

    Parameters
    ----------
    unit : Unit
        The unit.
    costs : mapping
        What units cost by what was learned up to now (`CostModel.coefficients`).
    seconds : float
        Time that a block may take [s].
    """
    if unit.kind != "tile":
        return unit
    each = {name: costs["block"][name] for name in ("epoch", "object")}
    return replace(unit, payload={**unit.payload, "block_cost": {"seconds": seconds, **each}})


def tile_digest(tile: TilePlan) -> str:
    """Return the checksum of the list of CCDs that touch a tile, eight hexadecimal digits."""
    return _checksum(str(ccd) for ccd in tile.ccds)


def _checksum(names: Iterable[str]) -> str:
    """Return the checksum of a list of names, eight hexadecimal digits."""
    return f"{zlib.crc32(' '.join(names).encode()):08x}"


def block_units(tile: TileId, digest: str, product: Product, region: int = 0) -> Iterator[Unit]:
    """Return the units of a tile's blocks, as the tile's product describes them.

    Parameters
    ----------
    tile : TileId
        The tile.
    digest : str
        `tile_digest` of the plan that the product was made by.
    product : Product
        Its product, with `BLOCK_ARRAYS`.
    region : int, optional
        The tile's place in the order of the sky.

    Yields
    ------
    Unit
        One unit per block; it needs the tile and waits for the CCDs that see its objects.
    """
    ccds = product.arrays["block_ccds"]
    for block in product.arrays["blocks"]:
        index = int(block["index"])
        pairs = ccds[ccds["index"] == index]
        seen = [CcdId(int(row["exposure"]), int(row["ccd"])) for row in pairs]
        yield Unit(
            BlockId(tile, index).uid,
            "block",
            priority=_PRIORITY["block"],
            needs=(tile.uid,),
            after=tuple(sys.intern(ccd.uid) for ccd in seen),  # one text for all blocks that see it
            payload={"tile": str(tile), "index": index, "digest": digest},
            size={"epoch": int(block["n_epoch"]), "object": int(block["n_object"]), "section": len(seen)},
            region=region,
        )


def commit_name(unit: Unit, done: Iterable[str]) -> str:
    """Return the name under which a unit's product is committed.

    Parameters
    ----------
    unit : Unit
        The unit.
    done : iterable of str
        The units before it whose products it can use, by uid.
    """
    if unit.kind == "ccd":
        return unit.uid
    name = f"{unit.uid}~{unit.payload['digest']}"
    if unit.kind == "tile":
        return name
    lost = sorted(set(unit.after) - set(done))
    return f"{name}+{len(lost)}.{_checksum(lost)}" if lost else name


def complete(committed: Mapping[str, _Place], plan: SurveyPlan) -> dict[str, _Place]:
    """Return, by uid, the commits that need not be done again whatever happens to the CCDs that failed before.

    Parameters
    ----------
    committed : mapping of str to place
        Every commit by its name.
    plan : SurveyPlan
        The plan; commits made from other lists of CCDs do not count.
    """
    digests = {plan_tile.tile.uid: tile_digest(plan_tile) for plan_tile in plan.tiles}
    found = {}
    for name, place in committed.items():
        uid, mark, made_from = name.partition("~")
        if not mark or made_from == digests.get(_tile_uid(uid)):
            found[uid] = place
    return found


def blocks_by_tile(committed: Mapping[str, _Place], plan: SurveyPlan) -> dict[str, dict[str, _Place]]:
    """Return the commits of all blocks by the uid of their tile and their own.

    Parameters
    ----------
    committed : mapping of str to place
        Every commit by its name.
    plan : SurveyPlan
        The plan; commits made from other lists of CCDs do not count.

    Returns
    -------
    dict of str to dict
        Of each block the commit that lost the fewest CCDs.
    """
    digests = {tile.tile.uid: tile_digest(tile) for tile in plan.tiles}
    best: dict[str, dict[str, tuple[int, str]]] = {}
    for name in committed:
        uid, _, made_from = name.partition("~")
        digest, _, lost = made_from.partition("+")
        tile = _tile_uid(uid)
        if uid.startswith("block:") and digest == digests.get(tile):
            candidate = (int(lost.partition(".")[0] or 0), name)
            blocks = best.setdefault(tile, {})
            blocks[uid] = min(blocks.get(uid, candidate), candidate)
    return {tile: {uid: committed[name] for uid, (_, name) in blocks.items()} for tile, blocks in best.items()}


def _tile_uid(uid: str) -> str:
    """Return the uid of the tile that a tile's or a block's uid belongs to."""
    kind, _, rest = uid.partition(":")
    return f"tile:{rest.partition(':')[0]}" if kind == "block" else uid
