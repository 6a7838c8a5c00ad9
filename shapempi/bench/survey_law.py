"""A survey that is drawn instead of observed: its tiles, exposures, CCDs and objects, and what each costs.

Tiles are cells of half a degree in a square; an exposure is a square degree of ten by four CCDs without gaps.  Three
layers of exposures, each with an offset of its own, cover all tiles, and a fifth of a fourth one covers some of them.
Exposures are numbered as they are observed, in a random order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["LAWS", "N_CCD", "BlockDraw", "CostLaw", "SurveyDraw", "draw_survey"]

#: Sides of a tile and of a CCD [deg]; columns and rows of CCDs, which fill a square degree.
_TILE_SIDE, _CCD_WIDTH, _CCD_HEIGHT, _N_COLUMN, _N_ROW = 0.5, 0.1, 0.25, 10, 4
N_CCD = _N_COLUMN * _N_ROW
#: Share of the pointings that each layer of exposures has.
_LAYERS = (1.0, 1.0, 1.0, 0.2)

#: Objects of a tile and epochs of an object: mean and scatter; the fewest of each.
_OBJECTS, _OBJECTS_SCATTER, _OBJECTS_MIN = 35_000.0, 5_000.0, 1_000
_EPOCHS, _EPOCHS_SCATTER, _EPOCHS_MIN = 3.2, 0.8, 1.0
#: Share of crowded tiles, and how many times as many objects, and seconds of detection, they have.
_CROWDED, _CROWD = 0.005, 3
#: Scatter of the true time of a unit about the law, and the smallest ratio.
_ERROR, _ERROR_MIN = 0.1, 0.5


@dataclass(frozen=True)
class CostLaw:
    """What units take on one core.

    Attributes
    ----------
    ccd, tile : float
        Time of a CCD and of the detection on a tile [s].
    epoch, object : float
        Time per object and epoch, and per object beside that [s].
    """

    ccd: float
    tile: float
    epoch: float
    object: float


#: The laws by name: as measured with the native engine, and ShapePipe's shapes on the same CCDs and tiles.
LAWS: Mapping[str, CostLaw] = {
    "native": CostLaw(ccd=2.9, tile=20.0, epoch=1e-3, object=0.0),
    "shapepipe": CostLaw(ccd=2.9, tile=20.0, epoch=0.2714, object=0.05),
}


@dataclass(frozen=True)
class BlockDraw:
    """The blocks of one tile.

    Attributes
    ----------
    n_object, n_epoch : ndarray of int64 [n_block]
        Objects of each block, and their epochs.
    seconds : ndarray of float64 [n_block]
        True time of each block [s].
    block, pair : ndarray of int64 [n]
        Which block sees which of the tile's CCDs; `pair` counts from the tile's first.
    """

    n_object: np.ndarray
    n_epoch: np.ndarray
    seconds: np.ndarray
    block: np.ndarray
    pair: np.ndarray


@dataclass(frozen=True)
class SurveyDraw:
    """A drawn survey; every number depends on the seed alone, none on the order in which units are done.

    Attributes
    ----------
    law : CostLaw
        What units take.
    seed : int
        The seed.
    n_exposure : int
        Exposures.
    column, row : ndarray of int64 [n_tile]
        Where each tile lies in the square.
    n_object : ndarray of int64 [n_tile]
        Objects of each tile.
    n_epoch : ndarray of float64 [n_tile]
        Mean number of epochs of a tile's objects.
    first : ndarray of int64 [n_tile + 1]
        Where each tile's CCDs begin among all pairs of a tile and a CCD.
    exposure, ccd : ndarray of int32 [n_pair]
        Exposure, from 0, and CCD of each pair.
    box : ndarray of float32 [n_pair, 4]
        x0, x1, y0, y1 of the CCD in its tile, in sides of the tile.
    ccd_seconds : ndarray of float64 [n_exposure, N_CCD]
        True time of each CCD [s].
    tile_seconds : ndarray of float64 [n_tile]
        True time of the detection on each tile [s].
    """

    law: CostLaw
    seed: int
    n_exposure: int
    column: np.ndarray
    row: np.ndarray
    n_object: np.ndarray
    n_epoch: np.ndarray
    first: np.ndarray
    exposure: np.ndarray
    ccd: np.ndarray
    box: np.ndarray
    ccd_seconds: np.ndarray
    tile_seconds: np.ndarray

    @property
    def n_tile(self) -> int:
        """Number of tiles."""
        return len(self.n_object)

    def block_size(self, seconds: float) -> int:
        """Return how many objects with the mean number of epochs take so long [s]; at least 1."""
        return max(1, round(seconds / (self.law.epoch * _EPOCHS + self.law.object)))

    def n_block(self, block_size: int) -> int:
        """Return the number of blocks of all tiles if a block has `block_size` objects at most."""
        return int((-(-self.n_object // block_size)).sum())

    def blocks(self, tile: int, block_size: int) -> BlockDraw:
        """Divide the objects of a tile.

        Parameters
        ----------
        tile : int
            The tile, from 0.
        block_size : int
            Largest number of objects in a block.

        Returns
        -------
        BlockDraw
            Blocks of equal size, as nearly as whole objects allow; they lie in rows that fill the tile.
        """
        total = int(self.n_object[tile])
        n_block = -(-total // block_size)
        edges = np.arange(n_block + 1) * total // n_block
        n_object = np.diff(edges)
        n_epoch = np.rint(n_object * self.n_epoch[tile]).astype(np.int64)
        rng = np.random.default_rng([self.seed, 1, tile])
        seconds = (self.law.epoch * n_epoch + self.law.object * n_object) * _errors(rng, n_block)
        row = np.arange(n_block) * math.isqrt(n_block) // n_block
        in_row = np.bincount(row)
        left = ((np.arange(n_block) - np.searchsorted(row, row)) / in_row[row])[:, None]
        low, width, height = (row / len(in_row))[:, None], (1.0 / in_row[row])[:, None], 1.0 / len(in_row)
        x0, x1, y0, y1 = self.box[self.first[tile] : self.first[tile + 1]].T
        seen = (x0 < left + width) & (x1 > left) & (y0 < low + height) & (y1 > low)
        block, pair = np.nonzero(seen)
        return BlockDraw(n_object, n_epoch, seconds, block, pair)


def _errors(rng: np.random.Generator, shape: int | tuple[int, ...]) -> np.ndarray:
    """Return ratios of true to predicted times."""
    return np.maximum(_ERROR_MIN, 1.0 + _ERROR * rng.standard_normal(shape))


def draw_survey(n_tile: int, law: CostLaw, seed: int = 1) -> SurveyDraw:
    """Draw a survey.

    Parameters
    ----------
    n_tile : int
        Tiles, at least 1.
    law : CostLaw
        What units take.
    seed : int, optional
        Of everything.

    Returns
    -------
    SurveyDraw
        The survey.
    """
    rng = np.random.default_rng([seed, 0])
    n_side = math.ceil(math.sqrt(n_tile))
    column, row = np.divmod(np.arange(n_tile), n_side)
    crowd = np.where(rng.random(n_tile) < _CROWDED, _CROWD, 1)
    drawn = np.rint(_OBJECTS + _OBJECTS_SCATTER * rng.standard_normal(n_tile)).astype(np.int64)
    n_object = crowd * np.maximum(_OBJECTS_MIN, drawn)
    n_epoch = np.maximum(_EPOCHS_MIN, _EPOCHS + _EPOCHS_SCATTER * rng.standard_normal(n_tile))
    tile, exposure, ccd, box = _touching(_pointings(n_side, rng), n_tile, n_side)
    numbers, exposure = np.unique(exposure, return_inverse=True)
    order = np.lexsort((ccd, exposure, tile))
    return SurveyDraw(
        law=law,
        seed=seed,
        n_exposure=len(numbers),
        column=column,
        row=row,
        n_object=n_object,
        n_epoch=n_epoch,
        first=np.searchsorted(tile[order], np.arange(n_tile + 1)),
        exposure=exposure[order].astype(np.int32),
        ccd=ccd[order].astype(np.int32),
        box=box[order],
        ccd_seconds=law.ccd * _errors(rng, (len(numbers), N_CCD)),
        tile_seconds=law.tile * crowd * _errors(rng, n_tile),
    )


def _pointings(n_side: int, rng: np.random.Generator) -> np.ndarray:
    """Return the corners x0, y0 of all exposures in the order of their numbers, in degrees, [n_exposure, 2]."""
    n_pointing = math.ceil(n_side * _TILE_SIDE) + 1
    grid = np.stack(np.meshgrid(np.arange(n_pointing), np.arange(n_pointing)), axis=-1).reshape(-1, 2)
    layers = [grid[rng.random(len(grid)) < share] - rng.random(2) for share in _LAYERS]
    return rng.permutation(np.concatenate(layers))


def _touching(corners: np.ndarray, n_tile: int, n_side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return every pair of a tile and a CCD that share an area: tile, exposure, ccd, box of the CCD in the tile."""
    exposure, ccd = (part.ravel() for part in np.divmod(np.arange(len(corners) * N_CCD), N_CCD))
    x0 = (corners[exposure, 0] + ccd % _N_COLUMN * _CCD_WIDTH) / _TILE_SIDE
    y0 = (corners[exposure, 1] + ccd // _N_COLUMN * _CCD_HEIGHT) / _TILE_SIDE
    x1, y1 = x0 + _CCD_WIDTH / _TILE_SIDE, y0 + _CCD_HEIGHT / _TILE_SIDE
    found = []
    for in_x in (0, 1):  # a CCD is smaller than a tile: it lies in two columns and two rows of them at most
        for in_y in (0, 1):
            column, row = np.floor(x0).astype(np.int64) + in_x, np.floor(y0).astype(np.int64) + in_y
            tile = column * n_side + row
            there = (column >= 0) & (column < n_side) & (row >= 0) & (row < n_side) & (tile < n_tile)
            there &= (x1 > column) & (y1 > row)
            box = np.stack([x0 - column, x1 - column, y0 - row, y1 - row], axis=-1).astype(np.float32)
            found.append((tile[there], exposure[there], ccd[there], box[there]))
    tile, exposure, ccd, box = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return tile, exposure, ccd, box
