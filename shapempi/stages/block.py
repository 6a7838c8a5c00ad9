"""The unit of one block of a tile: vignets, PSF, spread model, shapes, and the catalogue's rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from shapempi.catalog import COLUMNS, EPOCH_COLUMNS, empty_table
from shapempi.flags import ObjectFlag
from shapempi.ids import BlockId, CcdId, TileId
from shapempi.kernels import _vignet
from shapempi.measure.background import BackgroundMesh
from shapempi.measure.epochs import count_epochs, select_objects
from shapempi.measure.moments import adaptive_moments, to_sky
from shapempi.measure.psf.outcome import PsfStatus
from shapempi.measure.shape_params import ShapeParams
from shapempi.measure.shapes import measure_shapes
from shapempi.measure.spread import SpreadParams, mean_sigma, spread_model
from shapempi.measure.vignets import (
    CcdSection,
    CutVignets,
    Dropped,
    TileSegmentation,
    VignetParams,
    cut_stacks,
    section_box,
    segmentation_box,
)
from shapempi.product import Location, Product
from shapempi.psf import PsfModel
from shapempi.stages.base import ProductReader, Watch
from shapempi.survey.grid import primary_of
from shapempi.survey.inputs import SurveyInputs
from shapempi.vignet import VignetStacks
from shapempi.wcs import Wcs

__all__ = ["BlockStage"]

#: Side of the cells that name the objects' random numbers [pixel]: smaller than the distance of any two detections,
#: larger than the errors of positions, which must rarely move an object to another cell.
_CELL = 4

#: Shape of the PSF model in one epoch of one object.
_PSF_SHAPE_DTYPE = np.dtype([("g1", "f8"), ("g2", "f8"), ("T", "f8"), ("flag", "i2")])


@dataclass(frozen=True)
class _Objects:
    """The objects of one block, as the tile's unit left them."""

    block: BlockId
    table: np.ndarray
    epochs: np.ndarray
    wcs: Wcs
    shape: tuple[int, int]
    x: np.ndarray
    y: np.ndarray
    tiles: tuple[TileId, ...]

    @property
    def place(self) -> np.ndarray:
        """The tile's cell that each object is in, as an index."""
        ny, nx = self.shape
        row, column = (np.clip(v, 0, n - 1).astype(np.int64) // _CELL for v, n in ((self.y, ny), (self.x, nx)))
        return row * nx + column

    @property
    def n_epoch(self) -> np.ndarray:
        """Epochs of each object, lost ones included."""
        return count_epochs(self.epochs, len(self.table))


@dataclass(frozen=True)
class BlockStage:
    """Turns one block of a tile's objects into rows of the catalogue.

    Attributes
    ----------
    inputs : SurveyInputs
        Where the files are.
    reader : ProductReader
        Reads the products of the tile and of the CCDs.
    vignet, spread, shapes : Params
        The settings of the steps.
    seed : int
        The survey's seed.
    """

    inputs: SurveyInputs
    reader: ProductReader
    vignet: VignetParams
    spread: SpreadParams
    shapes: ShapeParams
    seed: int

    def process(self, payload: Mapping[str, Any], inputs: Mapping[str, Location], watch: Watch) -> tuple[Product, int]:
        """Do one block; see `Stage.process`.

        Raises
        ------
        DataError, MissingInputError
            If a file that was readable before cannot be used any more.
        """
        block = BlockId(TileId.parse(str(payload["tile"])), int(payload["index"]))
        tile_location = inputs[block.tile.uid]
        with watch("read objects"):
            objects = self._objects(block, tile_location)
            box = segmentation_box(objects.x, objects.y, self.vignet.size, objects.shape)
            plane = self.reader.read_section(tile_location, "segmentation", box)
            segmentation = TileSegmentation(plane, (box[0], box[2]), objects.wcs, objects.x, objects.y)
        with watch("vignets"):
            cut = cut_stacks(
                objects.table["NUMBER"],
                objects.epochs,
                self._sections(objects.epochs, inputs),
                self.vignet,
                place=objects.place,
                segmentation=segmentation,
            )
        with watch("psf moments"):
            psf_shapes = _psf_shapes(cut.stacks)
        with watch("spread model"):
            spread = self._spread(objects, segmentation, cut.stacks, psf_shapes)
        with watch("shapes"):
            seed = (self.seed, block.tile.x, block.tile.y)
            shapes = measure_shapes(cut.stacks, self.shapes, seed=seed, mag_zp=self.inputs.params.mag_zp)
        rows = _rows(objects, spread, shapes, cut)
        epochs = _epoch_rows(objects, cut.stacks, psf_shapes)
        return Product({"catalogue": rows, "epochs": epochs}, {"n_dropped": len(cut.dropped)}), len(rows)

    def _objects(self, block: BlockId, location: Location) -> _Objects:
        """Read the objects of the block and their epochs."""
        product = self.reader.read(location, names=("objects", "epochs", "blocks", "block_objects"))
        row = product.arrays["blocks"][block.index]
        members = product.arrays["block_objects"][int(row["first"]) : int(row["first"] + row["n_object"])]
        table = product.arrays["objects"][members]
        return _Objects(
            block=block,
            table=table,
            epochs=select_objects(product.arrays["epochs"], members),
            wcs=Wcs(str(product.attrs["header"]), f"tile {block.tile}"),
            shape=(int(product.attrs["ny"]), int(product.attrs["nx"])),
            x=table["XWIN_IMAGE"] - 1.0,
            y=table["YWIN_IMAGE"] - 1.0,
            tiles=self.inputs.tiles,
        )

    def _sections(self, epochs: np.ndarray, inputs: Mapping[str, Location]) -> Iterator[CcdSection]:
        """Read the part of each CCD under the block; a CCD that failed, or has no accepted PSF, has none."""
        pairs = np.unique(epochs[["exposure", "ccd"]])
        for exposure, number in pairs:
            ccd = CcdId(int(exposure), int(number))
            location = inputs.get(ccd.uid)
            if location is None:
                continue
            here = epochs[(epochs["exposure"] == exposure) & (epochs["ccd"] == number)]
            attrs = self.reader.read(location, names=()).attrs
            if attrs["psf_status"] != PsfStatus.ACCEPTED:
                continue
            names = ("background", "background_x", "background_y", "psf_coefficients")
            product = self.reader.read(location, names=names)
            shape = (int(attrs["ny"]), int(attrs["nx"]))
            box = section_box(here["x"], here["y"], self.vignet.size, shape)
            image = self.inputs.read_ccd(ccd, box)
            yield CcdSection(
                ccd=ccd,
                origin=image.origin,
                data=image.data,
                weight=image.weight,
                flag=self.reader.read_section(location, "mask", box),
                background=BackgroundMesh.from_product(product).evaluate(*box),
                valid_box=image.valid_box,
                flux_scale=image.flux_scale,
                wcs=image.wcs,
                psf=PsfModel.from_product(product),
            )

    def _spread(
        self,
        objects: _Objects,
        segmentation: TileSegmentation,
        stacks: VignetStacks,
        psf_shapes: np.ndarray,
    ) -> np.ndarray:
        """Measure the spread model on the tile, neighbours masked."""
        box = section_box(objects.x, objects.y, self.vignet.size, objects.shape)
        image, _ = self.inputs.read_tile(objects.block.tile, box)
        y0, x0 = segmentation.origin
        plane = np.ascontiguousarray(segmentation.plane[box[0] - y0 : box[1] - y0, box[2] - x0 : box[3] - x0])
        (stamps, weights, owners), _, offset, _, _ = _vignet.cut(
            (image.data, image.weight, plane), objects.x - box[2], objects.y - box[0], self.vignet.size, fill=(0, 0, 0)
        )
        number = objects.table["NUMBER"][:, None, None]
        weights[(owners != 0) & (owners != number)] = 0
        scale = objects.wcs.pixel_scale(objects.shape[1] / 2, objects.shape[0] / 2)
        sigma = np.sqrt(np.maximum(psf_shapes["T"], 0.0) / 2) / scale
        mean = mean_sigma(sigma, psf_shapes["flag"], stacks.first)
        return spread_model(stamps, weights, mean, offset, self.spread)


def _psf_shapes(stacks: VignetStacks) -> np.ndarray:
    """Return sky-frame g1, g2, T [arcsec^2] and flag (0 is good) of the PSF in each epoch."""
    moments = adaptive_moments(stacks.psf)
    shapes = np.zeros(len(moments), dtype=_PSF_SHAPE_DTYPE)
    shapes["g1"], shapes["g2"], shapes["T"] = to_sky(moments["g1"], moments["g2"], moments["sigma"], stacks.jacobian)
    shapes["flag"] = moments["flag"]
    return shapes


def _rows(objects: _Objects, spread: np.ndarray, shapes: np.ndarray, cut: CutVignets) -> np.ndarray:
    """Put detection, classification and shape of each object into a row of the catalogue."""
    rows = empty_table(COLUMNS, len(objects.table))
    names = set(rows.dtype.names or ())
    for source in (objects.table, spread, shapes):
        for name in source.dtype.names or ():
            if name in names:
                rows[name] = source[name]
    rows["tile"] = str(objects.block.tile).encode()
    rows["TILE_X"], rows["TILE_Y"] = objects.block.tile.x, objects.block.tile.y
    rows["ra"], rows["dec"] = objects.table["XWIN_WORLD"], objects.table["YWIN_WORLD"]
    rows["N_EPOCH"] = objects.n_epoch
    own = objects.tiles.index(objects.block.tile)
    rows["FLAG_TILING"] = primary_of(rows["ra"], rows["dec"], objects.tiles) == own
    rows["shape_flags"] = shapes["flags"]
    _flag_failed_ccds(rows, cut)
    return rows


def _flag_failed_ccds(rows: np.ndarray, cut: CutVignets) -> None:
    """Mark the objects that lost epochs with their CCD."""
    lost = np.unique(cut.dropped["object"][cut.dropped["reason"] == Dropped.NO_SECTION])
    rows["shape_flags"][lost] |= ObjectFlag.CCD_FAILED
    without = (rows["N_EPOCH"] > 0) & (np.diff(cut.stacks.first) == 0)
    # The engine saw no epoch of these, but the sky was covered.
    rows["shape_flags"][without] &= ~np.int32(ObjectFlag.NO_EPOCH)
    measured = (rows["n_epoch_used"] > 0) & (rows["n_epoch_used"] < rows["N_EPOCH"])
    rows["shape_flags"][measured] |= ObjectFlag.SOME_EPOCH_LOST


def _epoch_rows(objects: _Objects, stacks: VignetStacks, psf_shapes: np.ndarray) -> np.ndarray:
    """Return one row per object and CCD that saw it, with the PSF there."""
    epochs = objects.epochs
    rows = empty_table(EPOCH_COLUMNS, len(epochs))
    rows["tile"] = str(objects.block.tile).encode()
    rows["NUMBER"] = objects.table["NUMBER"][epochs["object"]]
    rows["exposure"], rows["ccd"] = epochs["exposure"], epochs["ccd"]
    rows["x"], rows["y"] = epochs["x"] + 1.0, epochs["y"] + 1.0
    rows["psf_flag"] = 1
    # Both are sorted by object, then CCD; the stacks lack the dropped epochs.
    keys = np.stack([epochs["object"], epochs["exposure"], epochs["ccd"]], axis=-1)
    owner = np.repeat(np.arange(len(stacks)), np.diff(stacks.first))
    kept = {tuple(key): row for row, key in enumerate(np.stack([owner, stacks.exposure, stacks.ccd], axis=-1).tolist())}
    place = np.array([kept.get(tuple(key), -1) for key in keys.tolist()], dtype=np.int64)
    there = place >= 0
    for name in ("g1", "g2", "T"):
        rows[f"psf_{name}"][there] = psf_shapes[name][place[there]]
    rows["psf_flag"][there] = psf_shapes["flag"][place[there]] != 0
    return rows
