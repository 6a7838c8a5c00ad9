"""The catalogues of detections, `sexcat`, and the background of the CCDs (behaviour specification, section 5)."""

from __future__ import annotations

from pathlib import Path

from shapempi.export_ldac import export_tile, tile_file_name
from shapempi.ids import CcdId, TileId
from shapempi.legacy.part import CCD, TILE, Part, Product, Written, number_of
from shapempi.legacy.source import LegacySource
from shapempi.report.detection_files import write_detections

__all__ = ["SEXCAT"]


def _write_tile(source: LegacySource, tile: TileId, folder: Path) -> Written:
    """Write the objects of a tile with their stamps and a table of epochs for every exposure."""
    path = folder / tile_file_name(tile)
    export_tile(source.view, tile, path, vignets=True, overwrite=source.overwrite)
    return Written((path,))


def _write_ccd(source: LegacySource, ccd: CcdId, folder: Path) -> Written:
    """Write the objects of a CCD with their stamps, and its background."""
    found = source.detected(ccd)
    if found is None:
        return Written(lacking=True)
    paths = write_detections(
        found.image,
        folder,
        number_of(ccd),
        ("vignets", "background"),
        size=source.view.settings.exposure.vignet_size,
        overwrite=source.overwrite,
    )
    return Written(tuple(paths))


SEXCAT = Product(
    "FITS_LDAC catalogues of tiles, with tables of epochs, and of CCDs; background of CCDs",
    (Part(TILE, "sextractor_runner_run_1", _write_tile), Part(CCD, "sextractor_runner_run_2", _write_ccd)),
    lack="have too many missing pixels for a detection",
)
