"""The vignets of a tile's objects, from the tile's own pixels and from the CCDs of a run that saw them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from shapempi.ids import BlockId, CcdId, TileId
from shapempi.kernels import _vignet
from shapempi.measure.background import BackgroundMesh
from shapempi.measure.epochs import count_epochs, select_objects
from shapempi.measure.psf.outcome import PsfStatus
from shapempi.measure.vignets import (
    CcdSection,
    CutVignets,
    TileSegmentation,
    VignetParams,
    cut_stacks,
    section_box,
    segmentation_box,
)
from shapempi.product import Location
from shapempi.psf import PsfModel
from shapempi.stages.base import ProductReader
from shapempi.survey.inputs import SurveyInputs
from shapempi.wcs import Wcs

__all__ = ["TileObjects", "VignetSource"]

#: Side of the cells that name the objects' random numbers [pixel]: smaller than the distance of any two detections,
#: larger than the errors of positions, which must rarely move an object to another cell.
_CELL = 4


@dataclass(frozen=True)
class TileObjects:
    """Some objects of a tile, as the tile's unit left them.

    Attributes
    ----------
    tile : TileId
        The tile.
    table : structured ndarray [n]
        Their detections (`shapempi.catalog.DETECTION_COLUMNS`).
    epochs : ndarray of EPOCH_DTYPE
        The CCDs that see them; `object` counts in `table`.
    wcs : Wcs
        The tile's WCS.
    shape : tuple of int
        (ny, nx) of the tile.
    x, y : ndarray of float64 [n]
        Windowed positions on the tile [pixel, 0-based].
    """

    tile: TileId
    table: np.ndarray
    epochs: np.ndarray
    wcs: Wcs
    shape: tuple[int, int]
    x: np.ndarray
    y: np.ndarray

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
class VignetSource:
    """Cuts vignets from the files of a survey and the products of a run.

    Attributes
    ----------
    inputs : SurveyInputs
        Where the files are.
    reader : ProductReader
        Reads the products of the tiles and of the CCDs.
    params : VignetParams
        Size, and whether neighbours are flagged.
    """

    inputs: SurveyInputs
    reader: ProductReader
    params: VignetParams

    def block(self, block: BlockId, location: Location) -> TileObjects:
        """Return the objects of one block; `location` is the tile's product."""
        product = self.reader.read(location, names=("blocks", "block_objects"))
        row = product.arrays["blocks"][block.index]
        members = product.arrays["block_objects"][int(row["first"]) : int(row["first"] + row["n_object"])]
        return self.objects(block.tile, location, members)

    def objects(self, tile: TileId, location: Location, members: np.ndarray) -> TileObjects:
        """Return some objects of a tile.

        Parameters
        ----------
        tile : TileId
            The tile.
        location : Location
            Its product.
        members : ndarray of int [n]
            Rows of its table of objects.
        """
        product = self.reader.read(location, names=("objects", "epochs"))
        table = product.arrays["objects"][members]
        return TileObjects(
            tile=tile,
            table=table,
            epochs=select_objects(product.arrays["epochs"], members),
            wcs=Wcs(str(product.attrs["header"]), f"tile {tile}"),
            shape=(int(product.attrs["ny"]), int(product.attrs["nx"])),
            x=table["XWIN_IMAGE"] - 1.0,
            y=table["YWIN_IMAGE"] - 1.0,
        )

    def segmentation(self, objects: TileObjects, location: Location) -> TileSegmentation:
        """Read the tile's segmentation around some objects; `location` is the tile's product."""
        box = segmentation_box(objects.x, objects.y, self.params.size, objects.shape)
        plane = self.reader.read_section(location, "segmentation", box)
        return TileSegmentation(plane, (box[0], box[2]), objects.wcs, objects.x, objects.y)

    def cut(
        self, objects: TileObjects, segmentation: TileSegmentation, locations: Mapping[str, Location]
    ) -> CutVignets:
        """Cut the vignets of all epochs.

        Parameters
        ----------
        objects : TileObjects
            The objects.
        segmentation : TileSegmentation
            The tile around them (`segmentation`).
        locations : mapping of str to Location
            Products of the CCDs, by uid; a CCD that is absent, or has no accepted PSF model, gives no vignet.

        Raises
        ------
        DataError, MissingInputError
            If a file or a product cannot be read.
        """
        return cut_stacks(
            objects.table["NUMBER"],
            objects.epochs,
            self.sections(objects.epochs, locations),
            self.params,
            place=objects.place,
            segmentation=segmentation,
        )

    def cut_tile(
        self, objects: TileObjects, x: np.ndarray, y: np.ndarray, segmentation: TileSegmentation
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Cut stamps from the tile itself.

        Parameters
        ----------
        objects : TileObjects
            The objects.
        x, y : ndarray of float64 [n]
            Where they are on the tile [pixel, 0-based].
        segmentation : TileSegmentation
            The tile around them (`segmentation`).

        Returns
        -------
        image, weight : ndarray of float32 [n, size, size]
            Counts and inverse variance; the weight of pixels of other objects and of those outside the tile is 0.
        offset : ndarray of float64 [n, 2]
            dx, dy [pixel]: the position minus the stamp's centre.
        """
        size = self.params.size
        box = section_box(x, y, size, objects.shape)
        image, _ = self.inputs.read_tile(objects.tile, box)
        y0, x0 = segmentation.origin
        plane = np.ascontiguousarray(segmentation.plane[box[0] - y0 : box[1] - y0, box[2] - x0 : box[3] - x0])
        (stamps, weights, owners), _, offset, _, _ = _vignet.cut(
            (image.data, image.weight, plane), x - box[2], y - box[0], size, fill=(0, 0, 0)
        )
        weights[(owners != 0) & (owners != objects.table["NUMBER"][:, None, None])] = 0
        return stamps, weights, offset

    def sections(
        self, epochs: np.ndarray, locations: Mapping[str, Location], *, without_psf: bool = False
    ) -> Iterator[CcdSection]:
        """Read the part of each CCD under the objects.

        Parameters
        ----------
        epochs : ndarray of EPOCH_DTYPE
            Epochs of some objects.
        locations : mapping of str to Location
            Products of the CCDs, by uid; a CCD that is absent is left out.
        without_psf : bool, optional
            Whether to read CCDs without an accepted PSF model, too; all but those whose pixels are missing.

        Yields
        ------
        CcdSection
            One CCD after the other.

        Raises
        ------
        DataError, MissingInputError
            If a file or a product cannot be read.
        """
        pairs = np.unique(epochs[["exposure", "ccd"]])
        for exposure, number in pairs:
            ccd = CcdId(int(exposure), int(number))
            location = locations.get(ccd.uid)
            if location is None:
                continue
            here = epochs[(epochs["exposure"] == exposure) & (epochs["ccd"] == number)]
            attrs = self.reader.read(location, names=()).attrs
            accepted = attrs["psf_status"] == PsfStatus.ACCEPTED
            if not accepted and (not without_psf or attrs["psf_status"] == PsfStatus.MISSING_DATA):
                continue
            names = ("background", "background_x", "background_y", *(("psf_coefficients",) if accepted else ()))
            product = self.reader.read(location, names=names)
            shape = (int(attrs["ny"]), int(attrs["nx"]))
            box = section_box(here["x"], here["y"], self.params.size, shape)
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
                psf=PsfModel.from_product(product) if accepted else None,
            )
