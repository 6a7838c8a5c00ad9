"""The unit of one block of a tile: vignets, PSF, spread model, shapes, and the catalogue's rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from shapempi.catalog import COLUMNS, EPOCH_COLUMNS, empty_table, fitted
from shapempi.flags import ObjectFlag
from shapempi.ids import BlockId, TileId
from shapempi.measure.moments import adaptive_moments, to_sky
from shapempi.measure.neighbours import TileSegmentation
from shapempi.measure.shape_params import ShapeParams
from shapempi.measure.shapes import measure_shapes
from shapempi.measure.size_class import SizeClassParams, classify_sizes
from shapempi.measure.spread import SpreadParams, mean_sigma, spread_model
from shapempi.measure.vignets import CutVignets, Dropped, VignetParams
from shapempi.product import Location, Product
from shapempi.stages.base import ProductReader, Watch
from shapempi.stages.vignets import TileObjects, VignetSource
from shapempi.survey.grid import primary_of
from shapempi.survey.inputs import SurveyInputs
from shapempi.vignet import VignetStacks

__all__ = ["BlockStage"]

#: Shape of the PSF model in one epoch of one object.
_PSF_SHAPE_DTYPE = np.dtype([("g1", "f8"), ("g2", "f8"), ("T", "f8"), ("flag", "i2")])


@dataclass(frozen=True)
class BlockStage:
    """Turns one block of a tile's objects into rows of the catalogue.

    Attributes
    ----------
    inputs : SurveyInputs
        Where the files are.
    reader : ProductReader
        Reads the products of the tile and of the CCDs.
    vignet, spread, size_class, shapes : Params
        The settings of the steps.
    seed : int
        The survey's seed.
    """

    inputs: SurveyInputs
    reader: ProductReader
    vignet: VignetParams
    spread: SpreadParams
    size_class: SizeClassParams
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
        source = VignetSource(self.inputs, self.reader, self.vignet)
        with watch("read objects"):
            objects = source.block(block, tile_location)
            segmentation = source.segmentation(objects, tile_location)
        with watch("vignets"):
            cut = source.cut(objects, segmentation, inputs)
        with watch("psf moments"):
            psf_shapes = _psf_shapes(cut.stacks)
        with watch("spread model"):
            spread = self._spread(source, objects, segmentation, cut.stacks, psf_shapes)
        with watch("shapes"):
            seed = (self.seed, block.tile.x, block.tile.y)
            shapes = measure_shapes(cut.stacks, self.shapes, seed=seed, mag_zp=self.inputs.params.mag_zp)
        sizes = classify_sizes(shapes, self.size_class)
        rows = _rows(objects, self.inputs, (spread, sizes, shapes), cut)
        epochs = _epoch_rows(objects, cut.stacks, psf_shapes)
        return Product({"catalogue": rows, "epochs": epochs}, {"n_dropped": len(cut.dropped)}), len(rows)

    def _spread(
        self,
        source: VignetSource,
        objects: TileObjects,
        segmentation: TileSegmentation,
        stacks: VignetStacks,
        psf_shapes: np.ndarray,
    ) -> np.ndarray:
        """Measure the spread model on the tile, neighbours masked."""
        stamps, weights, offset = source.cut_tile(objects, objects.x, objects.y, segmentation)
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


def _rows(objects: TileObjects, survey: SurveyInputs, measured: tuple[np.ndarray, ...], cut: CutVignets) -> np.ndarray:
    """Put the detection of each object and what was measured of it, shapes last, into a row of the catalogue."""
    rows = empty_table(fitted(COLUMNS, tile_width=len(str(objects.tile))), len(objects.table))
    names = set(rows.dtype.names or ())
    for source in (objects.table, *measured):
        for name in source.dtype.names or ():
            if name in names:
                rows[name] = source[name]
    rows["tile"] = str(objects.tile).encode()
    rows["TILE_X"], rows["TILE_Y"] = objects.tile.x, objects.tile.y
    rows["ra"], rows["dec"] = objects.table["XWIN_WORLD"], objects.table["YWIN_WORLD"]
    rows["N_EPOCH"] = objects.n_epoch
    own = survey.tiles.index(objects.tile)
    rows["FLAG_TILING"] = primary_of(rows["ra"], rows["dec"], survey.tiles, survey.params.tile_grid) == own
    rows["shape_flags"] = measured[-1]["flags"]
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


def _epoch_rows(objects: TileObjects, stacks: VignetStacks, psf_shapes: np.ndarray) -> np.ndarray:
    """Return one row per object and CCD that saw it, with the PSF there."""
    epochs = objects.epochs
    largest = int(epochs["exposure"].max(initial=0))
    rows = empty_table(fitted(EPOCH_COLUMNS, tile_width=len(str(objects.tile)), exposure=largest), len(epochs))
    rows["tile"] = str(objects.tile).encode()
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
