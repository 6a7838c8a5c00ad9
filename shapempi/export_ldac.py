"""The tiles of a run as SExtractor would have left them: FITS_LDAC with a table of epochs for every exposure.

Behaviour specification, sections 5.2 and 5.3 with the fixes of the latter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shapempi.catalog import DETECTION_COLUMNS
from shapempi.errors import ConfigError
from shapempi.ids import TileId
from shapempi.io.atomic import refuse_existing
from shapempi.io.ldac import write_ldac
from shapempi.io.tile import tile_exposures
from shapempi.measure.epochs import count_epochs
from shapempi.measure.psf.outcome import PsfStatus
from shapempi.product import Location
from shapempi.run_view import RunView
from shapempi.stages.vignets import VignetSource

__all__ = ["BAD_PIXEL", "ExportedTiles", "epoch_tables", "export_tile", "export_tiles", "tile_file_name"]

#: What SExtractor writes into the pixels of VIGNET that are bad or belong to another object.
BAD_PIXEL = np.float32(-1e30)

#: EPOCH_FLAG: the object has this epoch; the exposure's CCD gave no shape; no CCD covers the object; the exposure's
#: file is not there.
EPOCH_GOOD, EPOCH_NO_PSF, EPOCH_NOT_COVERED, EPOCH_ABSENT = 0, 1, 2, 4


@dataclass(frozen=True)
class ExportedTiles:
    """What was written.

    Attributes
    ----------
    paths : tuple of Path
        The files, one per tile that is done.
    n_object : int
        Rows of all.
    missing : tuple of str
        Tiles that are not done, each with its reason.
    """

    paths: tuple[Path, ...]
    n_object: int
    missing: tuple[str, ...]


def tile_file_name(tile: TileId) -> str:
    """Return the name of a tile's catalogue: `sexcat-241-293.fits`."""
    return f"sexcat-{tile.x:03d}-{tile.y:03d}.fits"


def export_tiles(run_folder: Path, folder: Path, *, vignets: bool = False, overwrite: bool = False) -> ExportedTiles:
    """Write a catalogue for every tile of a run that is done.

    Parameters
    ----------
    run_folder : Path
        The run.
    folder : Path
        Where to write; made if it is not there.
    vignets : bool, optional
        Whether to write VIGNET, which needs the images and 10 kB per object.
    overwrite : bool, optional
        Whether files that are there may be replaced.

    Returns
    -------
    ExportedTiles
        What was written.

    Raises
    ------
    ConfigError
        If a file is there already or the folder cannot be made.
    MissingInputError, DataError
        If the run, or with `vignets` an image, cannot be read.
    """
    run = RunView(run_folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be made: {error.strerror}") from error
    done = [plan.tile for plan in run.plan.tiles if plan.tile.uid in run.done]
    missing = [plan.tile for plan in run.plan.tiles if plan.tile.uid not in run.done]
    paths = [folder / tile_file_name(tile) for tile in done]
    for path in paths:
        refuse_existing(path, overwrite=overwrite)
    n_object = 0
    for tile, path in zip(done, paths, strict=True):
        n_object += export_tile(run, tile, path, vignets=vignets, overwrite=overwrite)
    reasons = tuple(f"{tile.uid}: {run.failure(tile.uid) or 'not done yet'}" for tile in missing)
    return ExportedTiles(tuple(paths), n_object, reasons)


def export_tile(run: RunView, tile: TileId, path: Path, *, vignets: bool = False, overwrite: bool = False) -> int:
    """Write the catalogue of one tile; returns its number of objects.  Parameters and errors are those of all."""
    location = run.need(tile.uid)
    product = run.reader.read(location, names=("objects", "epochs"))
    objects, epochs = product.arrays["objects"], product.arrays["epochs"]
    header = str(product.attrs["header"])
    names = objects.dtype.names or ()
    kinds = {column.name: column.dtype for column in DETECTION_COLUMNS}
    fields: list[tuple] = [(name, kinds.get(name, objects.dtype[name])) for name in names]
    fields += [("EXT_NUMBER", "i2")] if "EXT_NUMBER" not in names else []
    size = run.settings.vignet.size
    fields += [("VIGNET", "f4", (size, size))] if vignets else []
    rows = np.zeros(len(objects), [*fields, ("N_EPOCH", "i4")])
    for name in names:
        rows[name] = objects[name]
    rows["EXT_NUMBER"] = 1
    rows["N_EPOCH"] = count_epochs(epochs, len(objects))
    if vignets:
        _cut_vignets(run, tile, location, rows["VIGNET"])
    exposures = tile_exposures(header, f"tile {tile}", run.settings.input.exposure_number)
    tables = epoch_tables(
        objects["NUMBER"], epochs, exposures, absent=run.tile_plan(tile).missing, no_psf=_without_psf(run, epochs)
    )
    units = {column.name: column.unit for column in DETECTION_COLUMNS if column.name in names}
    write_ldac(path, rows, header, overwrite=overwrite, units=units, more=tables)
    return len(rows)


def _without_psf(run: RunView, epochs: np.ndarray) -> np.ndarray:
    """Return which epochs are on a CCD that failed or has no accepted PSF model, bool [n]."""
    lost = np.zeros(len(epochs), bool)
    for exposure, ccd in np.unique(epochs[["exposure", "ccd"]]):
        location = run.done.get(f"ccd:{exposure:07d}-{ccd}")
        good = location is not None and run.reader.read(location, names=()).attrs["psf_status"] == PsfStatus.ACCEPTED
        lost[(epochs["exposure"] == exposure) & (epochs["ccd"] == ccd)] = not good
    return lost


def epoch_tables(
    number: np.ndarray,
    epochs: np.ndarray,
    exposures: Sequence[int],
    *,
    absent: Sequence[int] = (),
    no_psf: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Return the tables EPOCH_0, EPOCH_1, .. of a tile.

    Parameters
    ----------
    number : ndarray of int [n_object]
        NUMBER of the objects.
    epochs : ndarray of EPOCH_DTYPE
        Which CCD sees which object.
    exposures : sequence of int
        The exposures in the order of the tile's HISTORY cards, each once.
    absent : sequence of int, optional
        Those whose image is not there.
    no_psf : ndarray of bool [n_epoch], optional
        Epochs that gave nothing to the shapes.

    Returns
    -------
    dict of str to structured ndarray [n_object]
        NUMBER, EXP_NAME, CCD_N (-1 where no CCD of the exposure covers the object), EPOCH_FLAG (0 good, 1 the CCD has
        no PSF model, 2 not covered, 4 the exposure's image is not there).
    """
    width = max((len(f"{exposure:07d}") for exposure in exposures), default=7)
    tables = {}
    for i, exposure in enumerate(exposures):
        table = np.zeros(
            len(number), [("NUMBER", number.dtype), ("EXP_NAME", f"S{width}"), ("CCD_N", "i4"), ("EPOCH_FLAG", "i2")]
        )
        table["NUMBER"], table["EXP_NAME"] = number, f"{exposure:07d}".encode()
        table["CCD_N"], table["EPOCH_FLAG"] = -1, EPOCH_ABSENT if exposure in absent else EPOCH_NOT_COVERED
        here = epochs["exposure"] == exposure
        table["CCD_N"][epochs["object"][here]] = epochs["ccd"][here]
        lost = np.zeros(len(epochs), bool) if no_psf is None else no_psf
        table["EPOCH_FLAG"][epochs["object"][here]] = np.where(lost[here], EPOCH_NO_PSF, EPOCH_GOOD)
        tables[f"EPOCH_{i}"] = table
    return tables


def _cut_vignets(run: RunView, tile: TileId, location: Location, vignets: np.ndarray) -> None:
    """Fill VIGNET block by block, so that only the pixels of one block are in memory.

    The stamp's centre is the pixel nearest to the isophotal barycentre, as in SExtractor; the tile's background is
    zero (section 5.2), so the counts are those of the image.
    """
    source = VignetSource(run.inputs, run.reader, run.settings.vignet)
    product = run.reader.read(location, names=("blocks", "block_objects"))
    for block in product.arrays["blocks"]:
        first = int(block["first"])
        members = product.arrays["block_objects"][first : first + int(block["n_object"])]
        objects = source.objects(tile, location, members)
        x, y = objects.table["X_IMAGE"] - 1.0, objects.table["Y_IMAGE"] - 1.0
        image, weight, _ = source.cut_tile(objects, x, y, source.segmentation(objects, location))
        vignets[members] = np.where(weight > 0, image, BAD_PIXEL)
