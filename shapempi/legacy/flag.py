"""The planes of mask bits, `pipeline_flag` (behaviour specification, section 4.1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from astropy.io import fits

from shapempi import __version__
from shapempi.errors import DataError
from shapempi.flags import PixelFlag
from shapempi.ids import CcdId, TileId
from shapempi.image import Image
from shapempi.io.fits_image import write_image
from shapempi.legacy.part import CCD, TILE, Part, Product, Written, discard, number_of
from shapempi.legacy.source import LegacySource
from shapempi.measure.bright_stars import stars_of_image
from shapempi.measure.mask import BrightStars, MaskPlane, MaskRecipe, make_mask
from shapempi.measure.psf.outcome import PsfStatus
from shapempi.stages.tile_source import TileSource

__all__ = ["FLAG"]

#: Rows of a tile that are in memory at once.
_ROWS = 512

#: Parts of a mask, as the products name them, may differ by this much: the code that adds them up did not change.
_ROUNDING = 1e-9


def _path(item: CcdId | TileId, folder: Path) -> Path:
    return folder / f"pipeline_flag{number_of(item)}.fits"


def _write_ccd(source: LegacySource, ccd: CcdId, folder: Path) -> Written:
    """Write the mask that the run used."""
    path = _path(ccd, folder)
    location = source.view.need(ccd.uid)
    attrs = source.view.reader.read(location, names=()).attrs
    if attrs["psf_status"] == PsfStatus.MISSING_DATA:
        return discard(path)
    plane = source.view.reader.read(location, names=("mask",)).arrays["mask"]
    _write(path, [plane], plane.shape, _highest(plane), attrs, source.ccd_mask, overwrite=source.overwrite)
    return Written((path,))


def _write_tile(source: LegacySource, tile: TileId, folder: Path) -> Written:
    """Make the mask of a tile again, which a run does not keep, and write it strip by strip."""
    path = _path(tile, folder)
    attrs = source.view.reader.read(source.view.need(tile.uid), names=()).attrs
    inputs, recipe = source.view.inputs, source.tile_mask
    planes = inputs.open_tile(tile)
    ny, nx = planes.shape
    image, _ = inputs.read_tile(tile, (0, 1, 0, nx))
    stars = stars_of_image(source.bright_stars, image, recipe)
    made = TileSource(image, planes, partial(_mask_section, stars, recipe))
    highest = 0
    for y0 in range(0, ny, _ROWS):
        highest = max(highest, _highest(made.read(y0, min(y0 + _ROWS, ny)).flag))
    for name, part in made.fractions.items():
        before = attrs.get(f"masked_{name.lower()}", 0.0)
        if abs(float(before) - part) > _ROUNDING:
            raise DataError(
                f"{tile.uid}: made again, its mask is not that of the run ({name}: {part:.6f} of the pixels, it was "
                f"{before:.6f}): the tile, its weight or the catalogues of [input] have changed since"
            )
    strips = (made.read(y0, min(y0 + _ROWS, ny)).flag for y0 in range(0, ny, _ROWS))
    _write(path, strips, (ny, nx), highest, attrs, recipe, overwrite=source.overwrite)
    return Written((path,))


def _mask_section(stars: BrightStars, recipe: MaskRecipe, section: Image) -> MaskPlane:
    return make_mask(section, stars, recipe)


def _highest(plane: np.ndarray) -> int:
    return int(plane.max(initial=0))


def _write(
    path: Path,
    rows: Iterable[np.ndarray],
    shape: tuple[int, ...],
    highest: int,
    attrs: Mapping[str, str | int | float | bool],
    recipe: MaskRecipe,
    *,
    overwrite: bool,
) -> None:
    """Write a plane with the header of its image and the legend of its bits."""
    dtype = "int16" if highest <= np.iinfo(np.int16).max else "int32"
    header = str(attrs["header"]).ljust(-(-len(str(attrs["header"])) // 80) * 80) + _legend(attrs, recipe)
    write_image(path, rows, (shape[0], shape[1]), dtype, header, overwrite=overwrite)


def _legend(attrs: Mapping[str, str | int | float | bool], recipe: MaskRecipe) -> str:
    """Return the cards that say what the bits mean, and how much of the image has them."""
    ratio = float(attrs["missing_ratio"])
    cards = [
        fits.Card("CREATOR", f"shapempi {__version__}", "program that made this mask"),
        fits.Card("MRATIO", round(ratio, 8), "fraction of pixels that are exactly zero"),
        fits.Card("MFLAG", ratio >= recipe.params.missing_flag_ratio, "whether too many are"),
    ]
    for number, (name, bits) in enumerate(recipe.params.bits.items(), 1):
        part = float(attrs.get(f"masked_{name.lower()}", 0.0))
        cards.append(fits.Card(f"FLAG{number}", name, PixelFlag[name].__doc__ or ""))
        cards.append(fits.Card(f"FBIT{number}", bits, f"bits of {name}"))
        cards.append(fits.Card(f"FRAC{number}", round(part, 8), f"fraction of pixels with {name}"))
    return "".join(str(card) for card in cards)


FLAG = Product(
    "masks of CCDs and tiles",
    (Part(TILE, "mask_runner_run_1", _write_tile), Part(CCD, "mask_runner_run_2", _write_ccd)),
    lack="have too many missing pixels for a mask",
)
