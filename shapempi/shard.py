"""The files of a catalogue: each holds the tiles of one contiguous part of the sky, and knows what it was made from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shapempi.catalog import Column
from shapempi.ids import CcdId
from shapempi.product import Location
from shapempi.survey.graph import SurveyPlan, TilePlan
from shapempi.tile_grid import CFIS_GRID, TileGrid
from shapempi.units import blocks_by_tile, complete

__all__ = ["Shard", "TileParts", "make_shards"]


@dataclass(frozen=True)
class TileParts:
    """A tile and what is committed of it.

    Attributes
    ----------
    tile : TilePlan
        The tile.
    place : Location or None
        Its product; None if it is not there.
    blocks : mapping of str to Location
        Its blocks that are there, by uid.
    """

    tile: TilePlan
    place: Location | None
    blocks: Mapping[str, Location]


@dataclass(frozen=True)
class Shard:
    """One file of a catalogue.

    Attributes
    ----------
    path : Path
        The file.
    tiles : tuple of TileParts
        Its tiles, sorted.
    ccds : tuple of (CcdId, Location or None)
        The CCDs whose stars it has, sorted, and where they lie.
    made_from : str
        Fingerprint of all that it is made from: the same, and the file need not be written again.
    grid : TileGrid
        The grid of the tiles.
    exposure : int
        Largest number of an exposure of the whole catalogue; see `shapempi.catalog.fitted`.
    """

    path: Path
    tiles: tuple[TileParts, ...]
    ccds: tuple[tuple[CcdId, Location | None], ...]
    made_from: str
    grid: TileGrid = CFIS_GRID
    exposure: int = 0


def make_shards(
    plan: SurveyPlan, locations: Mapping[str, Location], output: Path, n_shard: int, columns: Sequence[Column]
) -> list[Shard]:
    """Divide a catalogue.

    Parameters
    ----------
    plan : SurveyPlan
        The units.
    locations : mapping of str to Location
        What is committed, by the names of the commits.
    output : Path
        The catalogue, or the folder of its files.
    n_shard : int
        How many files; the tiles of each follow one another in the order of their names.  With one the catalogue is
        that file, with more it is a folder of them.
    columns : sequence of Column
        Columns of the main table.

    Returns
    -------
    list of Shard
        As many as there are, or fewer if there are fewer tiles.
    """
    done = complete(locations, plan)
    blocks = blocks_by_tile(locations, plan)
    tiles = sorted(plan.tiles, key=lambda tile: tile.tile)
    in_folder = n_shard > 1
    n_shard = max(1, min(n_shard, len(tiles)))
    edges = [round(index * len(tiles) / n_shard) for index in range(n_shard + 1)]
    owner: dict[CcdId, int] = {}  # of a CCD: the first file with a tile that it touches
    for index in range(n_shard):
        for tile in tiles[edges[index] : edges[index + 1]]:
            for ccd in tile.ccds:
                owner.setdefault(ccd, index)
    exposure = max((ccd.exposure for ccd in plan.ccds), default=0)
    shards = []
    for index in range(n_shard):
        parts = tuple(
            TileParts(tile, done.get(tile.tile.uid), blocks.get(tile.tile.uid, {}))
            for tile in tiles[edges[index] : edges[index + 1]]
        )
        ccds = tuple((ccd, done.get(ccd.uid)) for ccd in plan.ccds if owner.get(ccd, 0) == index)
        digest = hashlib.sha256("\n".join(_sources(parts, ccds, columns)).encode()).hexdigest()
        path = output / f"catalogue-{index:05d}-of-{n_shard:05d}.h5" if in_folder else output
        shards.append(Shard(path, parts, ccds, digest, plan.grid, exposure))
    return shards


def _sources(
    tiles: Sequence[TileParts], ccds: Sequence[tuple[CcdId, Location | None]], columns: Sequence[Column]
) -> Iterator[str]:
    """Yield a line for everything that a shard is made from; where it lies does not matter, what it is does."""
    for column in columns:
        yield f"{column.name} {column.dtype} {column.unit} {column.meaning}"
    for parts in tiles:
        yield f"{parts.tile.tile.uid} {parts.place.crc32 if parts.place else None}"
        for uid, place in sorted(parts.blocks.items()):
            yield f"{uid} {place.crc32}"
    for ccd, seen in ccds:
        yield f"{ccd.uid} {seen.crc32 if seen else None}"
