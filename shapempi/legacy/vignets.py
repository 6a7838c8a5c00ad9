"""The stamps of a tile's objects: the tile's weight, and all epochs (behaviour specification, section 9)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from shapempi.ids import BlockId, CcdId, TileId
from shapempi.io.ldac import write_ldac_parts
from shapempi.io.sqlite_dict import create_sqlite_dict
from shapempi.kernels import _vignet
from shapempi.legacy.galaxy_psf import EMPTY
from shapempi.legacy.part import TILE, Part, Product, Written, number_of
from shapempi.legacy.source import LegacySource
from shapempi.legacy.tile_epochs import in_store_order, read_epochs
from shapempi.measure.vignets import CcdSection, CutVignets, cut_stacks
from shapempi.stages.vignets import TileObjects

__all__ = ["VIGNETS"]

#: Stamps of a tile that are cut at once.
_BATCH = 256

#: The stores, one for each kind of image.
_STORES = ("image", "weight", "flag", "background")


def _write_weight(source: LegacySource, tile: TileId, folder: Path) -> Written:
    """Write the stamps of the tile's weight (mode CLASSIC)."""
    path = folder / f"weight_vignet{number_of(tile)}.fits"
    product = source.view.reader.read(source.view.need(tile.uid), names=("objects",))
    size = source.view.settings.vignet.size
    dtype = np.dtype([("VIGNET", "f4", (size, size))])
    rows = _weights(source, tile, product.arrays["objects"], dtype)
    write_ldac_parts(path, dtype, rows, str(product.attrs["header"]), overwrite=source.overwrite)
    return Written((path,))


def _weights(source: LegacySource, tile: TileId, objects: np.ndarray, dtype: np.dtype) -> Iterator[np.ndarray]:
    """Yield the stamps of a tile's weight, some rows of the catalogue at a time; 0 outside the tile."""
    size = dtype["VIGNET"].shape[0]
    planes = source.view.inputs.open_tile(tile)
    ny, nx = planes.shape
    for first in range(0, len(objects), _BATCH):
        part = objects[first : first + _BATCH]
        x, y = np.rint(part["XWIN_IMAGE"] - 1.0), np.rint(part["YWIN_IMAGE"] - 1.0)
        y0 = int(np.clip(y.min() - size // 2, 0, ny - 1))
        y1 = int(np.clip(y.max() + size // 2 + 1, y0 + 1, ny))
        _, weight = planes.read((y0, y1, 0, nx))
        (stamps,), *_ = _vignet.cut((weight,), x, y - y0, size, fill=(0.0,))
        rows = np.zeros(len(part), dtype)
        rows["VIGNET"] = stamps
        yield rows


def _write_epochs(source: LegacySource, tile: TileId, folder: Path) -> Written:
    """Write image, weight, flags and background of every object in every epoch (mode MULTI-EPOCH)."""
    found = read_epochs(source, tile)
    location = source.view.need(tile.uid)
    blocks = source.view.reader.read(location, names=("blocks", "block_objects")).arrays
    place = {number: k for k, number in enumerate(found.number.tolist(), start=1)}
    paths = {name: folder / f"{name}_vignet{number_of(tile)}.sqlite" for name in _STORES}
    with ExitStack() as stack:
        stores = {
            name: stack.enter_context(create_sqlite_dict(path, overwrite=source.overwrite))
            for name, path in paths.items()
        }
        for block in blocks["blocks"]:
            objects = source.vignets.block(BlockId(tile, int(block["index"])), location)
            for number, entries in _block(source, objects, found.exposures):
                for name, store in stores.items():
                    store.put(place[number], str(number), entries[name] or EMPTY)
    return Written(tuple(paths.values()))


def _block(
    source: LegacySource, objects: TileObjects, exposures: tuple[int, ...]
) -> Iterator[tuple[int, dict[str, dict[str, Any]]]]:
    """Yield NUMBER and the entries of each store for the objects of one block."""
    image, background = _cut(source, objects)
    stacks = image.stacks
    planes = {
        "image": stacks.image,
        "weight": stacks.weight,
        "flag": _short(stacks.flag),
        "background": background.stacks.image,
    }
    owner = np.repeat(np.arange(len(stacks)), np.diff(stacks.first))
    epochs = np.zeros(len(owner), [("object", "i4"), ("exposure", "i8"), ("ccd", "i4")])
    epochs["object"], epochs["exposure"], epochs["ccd"] = owner, stacks.exposure, stacks.ccd
    order = in_store_order(epochs, exposures)
    for k, number in enumerate(stacks.number.tolist()):
        rows = order[int(stacks.first[k]) : int(stacks.first[k + 1])]
        names = {int(row): str(CcdId(int(stacks.exposure[row]), int(stacks.ccd[row]))) for row in rows}
        yield (
            number,
            {kind: {name: {"VIGNET": plane[row]} for row, name in names.items()} for kind, plane in planes.items()},
        )


def _cut(source: LegacySource, objects: TileObjects) -> tuple[CutVignets, CutVignets]:
    """Cut the pixels as the exposures have them, and their background; each CCD is read once.

    Counts are those of the files: the background is in them, and they are not yet at the survey's zero point.  The
    flags are the masks alone: neighbours are marked when shapes are measured.
    """
    params = source.view.settings.vignet
    backgrounds: list[CcdSection] = []

    def sections() -> Iterator[CcdSection]:
        for section in source.vignets.sections(objects.epochs, source.view.done, without_psf=True):
            nothing = np.zeros_like(section.data)
            raw = replace(section, background=nothing, flux_scale=1.0, psf=None)
            level = section.background.astype(np.float32, copy=False)
            # Weight and flags of these stamps are not used: one plane serves for both.
            backgrounds.append(
                replace(raw, data=level, weight=nothing, flag=np.zeros(level.shape, np.int32), background=nothing)
            )
            yield raw

    number = objects.table["NUMBER"]
    image = cut_stacks(number, objects.epochs, sections(), params)
    return image, cut_stacks(number, objects.epochs, backgrounds, params)


def _short(flag: np.ndarray) -> np.ndarray:
    """Return flags as int16, or as they are where a bit does not fit."""
    return flag.astype(np.int16) if flag.max(initial=0) <= np.iinfo(np.int16).max else flag


VIGNETS = Product(
    "stamps of each object of a tile: the tile's weight; image, weight, flags, background of each epoch",
    (
        Part(TILE, "vignetmaker_runner_run_1", _write_weight),
        Part(TILE, "vignetmaker_runner_run_2", _write_epochs),
    ),
)
