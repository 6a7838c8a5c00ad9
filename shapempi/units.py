"""From the plan of a survey to units of work: what waits for what, what is first, and what a commit is called.

A unit's product is committed under a name that says from what it was made, beside the unit's own name:

* a CCD's name is its uid;
* `tile:241.293~1f2e3d4c`: the digits are the checksum of the list of CCDs that touch the tile, so a tile is done anew
  when an exposure has been added;
* `block:241.293:3~1f2e3d4c+2.9a8b7c6d`: behind the tile's checksum follow the number of CCDs whose epochs were lost
  because their units failed, and the checksum of their names, so a block is done anew when such a CCD has been mended.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from shapempi.ids import BlockId, CcdId, TileId
from shapempi.mpi.unit import Unit
from shapempi.product import Product
from shapempi.survey.graph import SurveyPlan, TilePlan

__all__ = [
    "BLOCK_ARRAYS",
    "block_units",
    "commit_name",
    "complete",
    "first_units",
    "of_blocks",
    "predicted_seconds",
    "tile_digest",
]

#: Predicted time of one object on one CCD with the native engine, per object beside that, and of reading one CCD's part
#: of a block [s].  Other engines need a hundred times more for an object; what is predicted only orders the units
#: and begins the estimate of the end, which then follows what was measured.
EPOCH_SECONDS, OBJECT_SECONDS, SECTION_SECONDS = 0.0005, 0.001, 0.015

#: Predicted time of the blocks of a tile per pixel of the tile [s]: 30 objects a square arcminute on three CCDs, as
#: much again for reading.
BLOCK_SECONDS_PER_PIXEL = 30 * (3 * EPOCH_SECONDS + 2 * OBJECT_SECONDS) * (0.186 / 60) ** 2

#: Blocks go before tiles and tiles before CCDs, so that few tiles are open at a time.
_PRIORITY = {"ccd": 1, "tile": 2, "block": 3}

#: Arrays of a tile's product from which its blocks are made.
BLOCK_ARRAYS = ("blocks", "block_ccds")

_Place = TypeVar("_Place")


def predicted_seconds(plan: SurveyPlan) -> dict[str, float]:
    """Return the predicted time of all units on one core [s], by kind: ccd, tile, block.

    Parameters
    ----------
    plan : SurveyPlan
        The plan of the survey.
    """
    return {
        "ccd": sum(plan.costs[ccd.uid] for ccd in plan.ccds),
        "tile": sum(plan.costs[tile.tile.uid] for tile in plan.tiles),
        "block": sum(BLOCK_SECONDS_PER_PIXEL * plan.pixels[tile.tile.uid] for tile in plan.tiles),
    }


def first_units(plan: SurveyPlan) -> list[Unit]:
    """Return the units of all CCDs and tiles.

    A tile waits for its CCDs and goes on without those that fail.

    Parameters
    ----------
    plan : SurveyPlan
        The plan of the survey.

    Returns
    -------
    list of Unit
        CCDs, then tiles.
    """
    units = [_ccd_unit(ccd, plan.costs[ccd.uid]) for ccd in plan.ccds]
    units += [_tile_unit(tile, plan) for tile in plan.tiles]
    return units


def _ccd_unit(ccd: CcdId, cost: float) -> Unit:
    """Return the unit of one CCD."""
    payload = {"exposure": ccd.exposure, "ccd": ccd.ccd}
    return Unit(ccd.uid, "ccd", cost=cost, priority=_PRIORITY["ccd"], payload=payload)


def _tile_unit(tile: TilePlan, plan: SurveyPlan) -> Unit:
    """Return the unit of one tile."""
    uid = tile.tile.uid
    return Unit(
        uid,
        "tile",
        cost=plan.costs[uid],
        priority=_PRIORITY["tile"],
        after=tuple(ccd.uid for ccd in tile.ccds),
        payload={
            "tile": str(tile.tile),
            "ccds": [(ccd.exposure, ccd.ccd) for ccd in tile.ccds],
            "digest": tile_digest(tile),
        },
        promised=BLOCK_SECONDS_PER_PIXEL * plan.pixels[uid],
    )


def tile_digest(tile: TilePlan) -> str:
    """Return the checksum of the list of CCDs that touch a tile, eight hexadecimal digits."""
    return _checksum(str(ccd) for ccd in tile.ccds)


def _checksum(names: Iterable[str]) -> str:
    """Return the checksum of a list of names, eight hexadecimal digits."""
    return f"{zlib.crc32(' '.join(names).encode()):08x}"


def block_units(tile: TileId, digest: str, product: Product) -> Iterator[Unit]:
    """Return the units of a tile's blocks, as the tile's product describes them.

    Parameters
    ----------
    tile : TileId
        The tile.
    digest : str
        `tile_digest` of the plan that the product was made by.
    product : Product
        Its product, with `BLOCK_ARRAYS`.

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
            cost=float(
                EPOCH_SECONDS * block["n_epoch"] + OBJECT_SECONDS * block["n_object"] + SECTION_SECONDS * len(seen)
            ),
            priority=_PRIORITY["block"],
            needs=(tile.uid,),
            after=tuple(ccd.uid for ccd in seen),
            payload={"tile": str(tile), "index": index, "digest": digest},
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


def of_blocks(committed: Mapping[str, _Place], tile: TilePlan) -> dict[str, _Place]:
    """Return the commits of a tile's blocks by uid, of each block the one that lost the fewest CCDs."""
    prefix = f"block:{tile.tile}:"
    best: dict[str, tuple[int, str]] = {}
    for name in committed:
        uid, _, made_from = name.partition("~")
        digest, _, lost = made_from.partition("+")
        if uid.startswith(prefix) and digest == tile_digest(tile):
            candidate = (int(lost.partition(".")[0] or 0), name)
            best[uid] = min(best.get(uid, candidate), candidate)
    return {uid: committed[name] for uid, (_, name) in best.items()}


def _tile_uid(uid: str) -> str:
    """Return the uid of the tile that a tile's or a block's uid belongs to."""
    kind, _, rest = uid.partition(":")
    return f"tile:{rest.partition(':')[0]}" if kind == "block" else uid
