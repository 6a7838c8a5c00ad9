"""The epochs of a tile's objects in the order of the older stores, and the PSF in each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from shapempi.ids import CcdId, TileId
from shapempi.io.tile import tile_exposures
from shapempi.legacy.source import LegacySource
from shapempi.measure.epochs import select_objects
from shapempi.measure.psf.interpolation import PSF_SHAPE_DTYPE, interpolate
from shapempi.psf import PsfModel

__all__ = ["EpochPsf", "TileEpochs", "draw_tile", "in_store_order", "read_epochs"]

#: Objects of which the PSF is drawn at once.
_BATCH = 512


@dataclass(frozen=True)
class TileEpochs:
    """Which CCD sees which object of a tile.

    Attributes
    ----------
    number : ndarray of int [n_object]
        NUMBER of the objects, in the order of the catalogue.
    epochs : ndarray of EPOCH_DTYPE
        Sorted by object.
    exposures : tuple of int
        The tile's exposures in the order of its HISTORY cards, which is that of the tables of epochs.
    """

    number: np.ndarray
    epochs: np.ndarray
    exposures: tuple[int, ...]


@dataclass(frozen=True)
class EpochPsf:
    """The PSF of some objects of a tile in all their epochs with a model.

    Attributes
    ----------
    first : int
        Place of the first of these objects in the tile.
    number : ndarray of int [n_object]
        NUMBER of the objects.
    epochs : ndarray of EPOCH_DTYPE [n]
        The epochs; `object` counts in `number`, sorted by it, then in the order of the stores.
    stamps : ndarray of float64 [n, size, size]
        The PSF, centred, of unit sum.
    shapes : ndarray of PSF_SHAPE_DTYPE [n]
        Its shapes.
    """

    first: int
    number: np.ndarray
    epochs: np.ndarray
    stamps: np.ndarray
    shapes: np.ndarray


def read_epochs(source: LegacySource, tile: TileId) -> TileEpochs:
    """Return the epochs of a tile's objects.

    Raises
    ------
    MissingInputError
        If the tile's unit is not done.
    """
    product = source.view.reader.read(source.view.need(tile.uid), names=("objects", "epochs"))
    number = source.view.settings.input.exposure_number
    exposures = tuple(tile_exposures(str(product.attrs["header"]), f"tile {tile}", number))
    return TileEpochs(product.arrays["objects"]["NUMBER"], product.arrays["epochs"], exposures)


def in_store_order(epochs: np.ndarray, exposures: tuple[int, ...]) -> np.ndarray:
    """Return the order of epochs in a store: by object, then by the exposures of the tile in their order, then CCD."""
    rank = {exposure: place for place, exposure in enumerate(exposures)}
    place = np.array([rank.get(exposure, len(rank)) for exposure in epochs["exposure"].tolist()], dtype=np.int64)
    return np.lexsort((epochs["ccd"], place, epochs["object"]))


def draw_tile(source: LegacySource, found: TileEpochs, size: int) -> Iterator[EpochPsf]:
    """Draw the PSF of every object of a tile in every epoch whose CCD has an accepted model.

    Parameters
    ----------
    source : LegacySource
        The run.
    found : TileEpochs
        The epochs of the tile.
    size : int
        Side of the stamps [pixel], odd.

    Yields
    ------
    EpochPsf
        Some objects after the other, all of them, those without an epoch included.
    """
    models: dict[CcdId, PsfModel | None] = {}
    for first in range(0, len(found.number), _BATCH):
        members = np.arange(first, min(first + _BATCH, len(found.number)))
        epochs = select_objects(found.epochs, members)
        epochs = epochs[in_store_order(epochs, found.exposures)]
        stamps, shapes = np.zeros((len(epochs), size, size)), np.zeros(len(epochs), PSF_SHAPE_DTYPE)
        drawn = np.zeros(len(epochs), dtype=bool)
        for exposure, number in np.unique(epochs[["exposure", "ccd"]]):
            ccd = CcdId(int(exposure), int(number))
            if ccd not in models:
                models[ccd] = source.psf.read(ccd).model
            model = models[ccd]
            if model is None:
                continue
            here = np.flatnonzero((epochs["exposure"] == exposure) & (epochs["ccd"] == number))
            stamps[here], shapes[here] = interpolate(model, epochs["x"][here], epochs["y"][here], size)
            drawn[here] = True
        yield EpochPsf(first, found.number[members], epochs[drawn], stamps[drawn], shapes[drawn])
