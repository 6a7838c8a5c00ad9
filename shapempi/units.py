"""From the plan of a survey to units of work: what waits for what, and what is done first."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from shapempi.ids import BlockId, CcdId, TileId
from shapempi.mpi.unit import Unit
from shapempi.product import Product
from shapempi.survey.graph import SurveyPlan, TilePlan

__all__ = ["BLOCK_ARRAYS", "EPOCH_SECONDS", "block_units", "first_units"]

#: Predicted time of one object on one CCD with the reference engine, and per object beside that [s].
EPOCH_SECONDS, OBJECT_SECONDS = 0.1, 0.02

#: Predicted time of the blocks of a tile per pixel of the tile [s]: 30 objects a square arcminute on three CCDs.
BLOCK_SECONDS_PER_PIXEL = 30 * (3 * EPOCH_SECONDS + OBJECT_SECONDS) * (0.186 / 60) ** 2

#: Units that others wait for go first; blocks before tiles keeps the number of open tiles small.
_PRIORITY = {"ccd": 1, "tile": 2, "block": 3}

#: Arrays of a tile's product from which its blocks are made.
BLOCK_ARRAYS = ("blocks", "block_ccds")


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
        payload={"tile": str(tile.tile), "ccds": [(ccd.exposure, ccd.ccd) for ccd in tile.ccds]},
        promised=BLOCK_SECONDS_PER_PIXEL * plan.pixels[uid],
    )


def block_units(tile: TileId, product: Product) -> Iterator[Unit]:
    """Return the units of a tile's blocks, as the tile's product describes them.

    Parameters
    ----------
    tile : TileId
        The tile.
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
            cost=float(EPOCH_SECONDS * block["n_epoch"] + OBJECT_SECONDS * block["n_object"]),
            priority=_PRIORITY["block"],
            needs=(tile.uid,),
            after=tuple(ccd.uid for ccd in seen),
            payload={"tile": str(tile), "index": index},
        )


def expected_rows(product: Product) -> int:
    """Return the number of catalogue rows that the blocks of a tile must give."""
    return int(np.sum(product.arrays["blocks"]["n_object"]))
