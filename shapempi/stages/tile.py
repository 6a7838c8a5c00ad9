"""The unit of one tile: mask, detection of all sources, epochs of every object, blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from shapempi.engines.detection_engine import DetectionEngine
from shapempi.engines.detection_params import DetectionEngineParams, DetectionOutputParams
from shapempi.errors import DataError
from shapempi.ids import CcdId, TileId
from shapempi.image import Image
from shapempi.measure.background import BackgroundMesh
from shapempi.measure.blocks import partition
from shapempi.measure.bright_stars import StarSource, stars_of_image
from shapempi.measure.detected_image import DetectedImage
from shapempi.measure.epochs import find_epochs
from shapempi.measure.mask import BrightStars, MaskParams, MaskPlane, MaskRecipe, make_mask
from shapempi.measure.pixel_source import Frame
from shapempi.params import key
from shapempi.product import Location, Product
from shapempi.stages.base import Watch
from shapempi.stages.tile_source import PlanesSource, TileSource
from shapempi.survey.footprints import CcdFootprint
from shapempi.survey.inputs import SurveyInputs
from shapempi.wcs import Wcs

__all__ = [
    "BLOCK_CCD_DTYPE",
    "BLOCK_DTYPE",
    "TileDetectionParams",
    "TileMaskParams",
    "TileParams",
    "TileStage",
]

#: One row per block: its index, where its objects start in `block_objects`, how many there are, and their epochs.
BLOCK_DTYPE = np.dtype([("index", "i4"), ("first", "i8"), ("n_object", "i8"), ("n_epoch", "i8")])

#: One row per block and CCD that sees an object of the block.
BLOCK_CCD_DTYPE = np.dtype([("index", "i4"), ("exposure", "i8"), ("ccd", "i2")])


class TileMaskParams(MaskParams):
    """Mask of a tile: as on exposures, but a coadd has no bad border."""

    border_width: int = key(
        0, "Rows and columns flagged along each side of the part with sky; 0 flags none.", unit="pixel", ge=0
    )


class TileDetectionParams(DetectionEngineParams):
    """Detection on a tile: as on exposures, with deeper deblending."""

    deblend_contrast: float = key(0.0005, "Smallest share of the flux that makes a branch an object.", ge=0, le=1)


class TileParams(DetectionOutputParams):
    """Mask and detection on the tiles."""

    mask: TileMaskParams = TileMaskParams()
    detection: TileDetectionParams = TileDetectionParams()


@dataclass(frozen=True)
class TileStage:
    """Turns one tile into its product: objects, their epochs, the segmentation, and the blocks of work.

    Attributes
    ----------
    inputs : SurveyInputs
        Where the files are.
    bright_stars : StarSource or None
        The survey's bright stars; None without a catalogue.
    mask : MaskRecipe
        What is masked: `tile.mask` with the files that it names.
    tile : TileParams
        The settings of the steps.
    detector : DetectionEngine
        What detects objects.
    block_size : int
        Largest number of objects in a block.
    keep_mask : callable, optional
        Takes the tile, its image, the bright stars and the mask, to write it.
    keep_detections : callable, optional
        Takes the tile and its image with all that was detected in it, to write it.
    """

    inputs: SurveyInputs
    bright_stars: StarSource | None
    mask: MaskRecipe
    tile: TileParams
    detector: DetectionEngine
    block_size: int
    keep_mask: Callable[[TileId, Image, BrightStars, MaskPlane], None] | None = None
    keep_detections: Callable[[TileId, DetectedImage], None] | None = None

    def process(self, payload: Mapping[str, Any], inputs: Mapping[str, Location], watch: Watch) -> tuple[Product, int]:
        """Do one tile; see `Stage.process`.

        Raises
        ------
        DataError, MissingInputError
            If a file of the tile cannot be used.
        EngineError
            If the engine of the detection cannot run.
        """
        tile = TileId.parse(str(payload["tile"]))
        with watch("read"):
            planes = self.inputs.open_tile(tile)
            found_in = self.inputs.open_detection(tile)
            image, _ = self.inputs.read_tile(tile, (0, 1, 0, planes.shape[1]))
        with watch("mask"):
            bright = stars_of_image(self.bright_stars, image, self.mask)
            source = TileSource(image, planes, partial(self._make_mask, bright))
            if self.keep_mask is not None:
                # The files of a mask are of the tile in one piece, and so is what they take of memory.
                whole, _ = self.inputs.read_tile(tile)
                self.keep_mask(tile, whole, bright, self._make_mask(bright, whole))
                del whole
        with watch("detect"):
            frame = Frame(image.wcs, image.gain, image.saturate, image.mag_zp)
            mesh = None
            if image.background is not None:
                mesh = BackgroundMesh.constant(image.background, 0.0, image.full_shape)
            detection = None
            if found_in is not None:
                detection = PlanesSource(found_in, found_in.sky(self.inputs.params.keywords.tile_background) or 0.0)
            detections = self.detector.detect(source, frame, background=mesh, detection=detection)
            source.finish()
            if self.keep_detections is not None:
                self.keep_detections(tile, DetectedImage(source, frame, detections, self.detector.version, mesh))
        table = detections.table
        with watch("epochs"):
            ccds = [CcdId(int(e), int(c)) for e, c in payload["ccds"]]
            epochs = find_epochs(table["XWIN_WORLD"], table["YWIN_WORLD"], self._geometry(ccds))
        with watch("blocks"):
            size = min(self.block_size, affordable(payload.get("block_cost", {}), len(table), len(epochs)))
            blocks, order, block_ccds = make_blocks(table, epochs, size)
        attrs: dict[str, str | int | float | bool] = {
            "header": image.header,
            "ny": image.full_shape[0],
            "nx": image.full_shape[1],
            "n_object": len(table),
            "detection_engine": self.detector.version,
            "n_block": len(blocks),
            "missing_ratio": source.missing_ratio,
        }
        attrs |= {f"masked_{name.lower()}": part for name, part in source.fractions.items()}
        arrays = {
            "objects": table,
            "epochs": epochs,
            "segmentation": detections.segmentation,
            "blocks": blocks,
            "block_objects": order,
            "block_ccds": block_ccds,
        }
        return Product(arrays, attrs), len(table)

    def _make_mask(self, bright: BrightStars, section: Image) -> MaskPlane:
        """Make the mask of a section of a tile."""
        return make_mask(section, bright, self.mask)

    def _geometry(self, ccds: Sequence[CcdId]) -> list[tuple[CcdId, Wcs, tuple[int, int, int, int]]]:
        """Return WCS and valid box of CCDs; the headers of each exposure are read once."""
        placed: dict[CcdId, CcdFootprint] = {}
        for exposure in sorted({ccd.exposure for ccd in ccds}):
            placed |= {footprint.ccd: footprint for footprint in self.inputs.footprints(exposure)}
        found = []
        for ccd in ccds:
            if ccd not in placed or placed[ccd].problem:
                path = self.inputs.ccd_paths(ccd).image
                raise DataError(placed[ccd].problem if ccd in placed else f"{path}: there is no CCD {ccd.ccd}")
            found.append((ccd, placed[ccd].wcs, placed[ccd].valid_box))
        return found


def affordable(cost: Mapping[str, float], n_object: int, n_epoch: int) -> int:
    """Return the largest number of objects of which a block takes the time that it may.

    Parameters
    ----------
    cost : mapping of str to float
        `seconds`, the time that a block may take, and what one `epoch` and one `object` take [s]; empty for any size.
    n_object, n_epoch : int
        Objects of the tile, and epochs of all of them.
    """
    if not cost or n_object == 0:
        return max(n_object, 1)
    each = cost["object"] + cost["epoch"] * n_epoch / n_object
    return max(1, int(cost["seconds"] / each)) if each > 0 else n_object


def make_blocks(table: np.ndarray, epochs: np.ndarray, block_size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Split the objects of a tile into compact blocks.

    Parameters
    ----------
    table : ndarray
        Detections of the tile, [n_object].
    epochs : ndarray
        `EpochTable` rows: object (index into `table`), exposure, ccd.
    block_size : int
        Largest number of objects in a block.

    Returns
    -------
    blocks : ndarray of BLOCK_DTYPE [n_block]
        One row per block.
    order : ndarray of int64 [n_object]
        Indices into `table`, block after block, ascending inside a block.
    block_ccds : ndarray of BLOCK_CCD_DTYPE
        The CCDs that see objects of each block, sorted.
    """
    parts = [np.sort(part) for part in partition(table["X_IMAGE"], table["Y_IMAGE"], block_size)]
    blocks = np.zeros(len(parts), dtype=BLOCK_DTYPE)
    owner = np.zeros(len(table), dtype=np.int32)
    for index, part in enumerate(parts):
        owner[part] = index
    sizes = np.array([len(part) for part in parts], dtype=np.int64)
    blocks["index"] = np.arange(len(parts))
    blocks["n_object"] = sizes
    blocks["first"] = np.cumsum(sizes) - sizes
    of_epoch = owner[epochs["object"]]
    blocks["n_epoch"] = np.bincount(of_epoch, minlength=len(parts))
    pairs = np.zeros(len(epochs), dtype=BLOCK_CCD_DTYPE)
    pairs["index"], pairs["exposure"], pairs["ccd"] = of_epoch, epochs["exposure"], epochs["ccd"]
    order = np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
    return blocks, order.astype(np.int64), np.unique(pairs)
