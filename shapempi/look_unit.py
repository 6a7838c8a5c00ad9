"""Pictures of the CCDs and tiles of a run, with what the run found in them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from shapempi.errors import DataError, MissingInputError
from shapempi.ids import CcdId, TileId
from shapempi.io.fits import Hdu, read_section
from shapempi.io.tile import tile_image_hdu
from shapempi.look import Look, View, extent_text, facts, wcs_of
from shapempi.measure.psf.outcome import PsfStatus
from shapempi.report.look_image import Ellipses, Frames, ImageSheet, Markers, draw_image, outlines
from shapempi.report.look_thumbnail import Box, make_thumbnail
from shapempi.run_view import RunView
from shapempi.wcs import Wcs

__all__ = ["look_ccd", "look_tile"]

#: Longest side of a section of a tile in which the outlines of the objects are drawn [pixel].
_OUTLINED = 800

#: Classes of objects (SPREAD_CLASS), their names and colours.
_CLASSES = ((0, "star", "#D55E00"), (1, "galaxy", "#009E73"), (2, "other class", "#CC79A7"))


def look_ccd(run: RunView, ccd: CcdId, output: Path, view: View) -> Look:
    """Draw a CCD of a run: its mask, its stars, and what became of its PSF model.

    Parameters
    ----------
    run : RunView
        The run.
    ccd : CcdId
        One of its CCDs.
    output : Path
        PNG file to write; one that is there is replaced.
    view : View
        The part to draw.

    Raises
    ------
    MissingInputError, DataError
        If the unit is not done, or nothing at all can be shown of one that failed; the message says why it did.
    """
    find = partial(_ccd_hdu, run, ccd)
    if (failure := run.failure(ccd.uid)) is not None:
        return _failed(f"{ccd.uid} {failure}", find, output, view)
    location = run.need(ccd.uid)
    hdu, shape, wcs, box = _section(find(), view)
    product = run.reader.read(location, names=("stars", "training_stars", "psf_status"))
    masked = product.attrs["psf_status"] != PsfStatus.MISSING_DATA
    thumbnail = make_thumbnail(
        box,
        lambda part: read_section(hdu, part),
        (lambda part: run.reader.read_section(location, "mask", part)) if masked else None,
    )
    status = product.arrays["psf_status"][0]
    training, held = product.arrays["training_stars"], product.arrays["stars"]
    used = training["USED"] == 1
    markers = tuple(
        Markers(rows["X"] - 1.0, rows["Y"] - 1.0, f"{len(rows)} {label}", marker, colour)
        for rows, label, marker, colour in (
            (training[used], "stars of the PSF model", "o", "#0072B2"),
            (training[~used], "training stars rejected by the fit", "x", "#D55E00"),
            (held, "stars held back", "s", "#009E73"),
        )
    )
    psf = f"PSF {product.attrs['psf_status']}"
    if product.attrs["psf_reason"]:
        psf += f": {product.attrs['psf_reason']}"
    else:
        psf += f": FWHM {status['fwhm']:.2f} pixel, chi2 {status['chi2']:.3f}, {status['n_used']} stars"
    found = f"{product.attrs['n_detection']} detections"
    names_of_bits = run.bit_names
    sheet = ImageSheet(
        thumbnail,
        (f"{run.settings.survey.name}, CCD {ccd}: {found}. {psf}", extent_text(shape, thumbnail)),
        wcs,
        names_of_bits,
        markers,
    )
    draw_image(sheet, output)
    return Look(output, (psf, *facts(shape, thumbnail, names_of_bits), found, *(mark.label for mark in markers)))


def look_tile(run: RunView, tile: TileId, output: Path, view: View) -> Look:
    """Draw a tile of a run: its objects by class, its blocks, and near by the outlines of the objects.

    Parameters and errors are those of `look_ccd`.
    """
    find = partial(tile_image_hdu, run.inputs.tile_paths(tile)[0])
    if (failure := run.failure(tile.uid)) is not None:
        return _failed(f"{tile.uid} {failure}", find, output, view)
    location = run.need(tile.uid)
    hdu, shape, wcs, box = _section(find(), view)
    thumbnail = make_thumbnail(box, lambda part: read_section(hdu, part))
    product = run.reader.read(location, names=("objects", "blocks", "block_objects"))
    objects = product.arrays["objects"]
    rows, n_lost = run.catalogue(tile, ("NUMBER", "SPREAD_CLASS"))
    kind = np.full(len(objects), -1)
    kind[np.searchsorted(objects["NUMBER"], rows["NUMBER"])] = rows["SPREAD_CLASS"]
    classes = [(kind == value, name, colour) for value, name, colour in _CLASSES]
    classes.append((kind == -1, "not classified", "#0072B2"))
    y0, y1, x0, x1 = box
    shown = (np.abs(objects["X_IMAGE"] - 1 - (x0 + x1) / 2) <= (x1 - x0) / 2 + 20) & (
        np.abs(objects["Y_IMAGE"] - 1 - (y0 + y1) / 2) <= (y1 - y0) / 2 + 20
    )
    ellipses = tuple(
        _kron(objects[shown & of_class], f"{np.count_nonzero(shown & of_class)} x {name}", colour)
        for of_class, name, colour in classes
        if (shown & of_class).any()
    )
    outline = None
    if max(y1 - y0, x1 - x0) <= _OUTLINED:
        outline = outlines(run.reader.read_section(location, "segmentation", box), (y0, x0))
    found = f"{len(objects)} objects in {product.attrs['n_block']} blocks"
    if n_lost:
        found += f", {n_lost} of them not measured"
    sheet = ImageSheet(
        thumbnail,
        (f"{run.settings.survey.name}, tile {tile}: {found}", extent_text(shape, thumbnail)),
        wcs,
        ellipses=ellipses,
        frames=_blocks(objects, product.arrays["blocks"], product.arrays["block_objects"]),
        outline=outline,
    )
    draw_image(sheet, output)
    masked = ", ".join(
        f"{name.removeprefix('masked_')} {100 * float(part):.3g} %"
        for name, part in product.attrs.items()
        if name.startswith("masked_") and float(part) > 0
    )
    return Look(
        output,
        (*facts(shape, thumbnail, None), found, *(mark.label for mark in ellipses), f"masked: {masked or 'nothing'}"),
    )


def _ccd_hdu(run: RunView, ccd: CcdId) -> Hdu:
    """Find the image of a CCD."""
    return run.inputs.ccd_hdu(run.inputs.ccd_paths(ccd).image, "image", ccd)


def _section(hdu: Hdu, view: View) -> tuple[Hdu, tuple[int, int], Wcs | None, Box]:
    """Return an image, its shape and WCS, and the section of it that is wanted."""
    shape, wcs = hdu.shape, wcs_of(hdu)
    if shape is None:
        raise DataError(f"{hdu}: not a two-dimensional image")
    return hdu, shape, wcs, view.section(shape, wcs, str(hdu))


def _failed(reason: str, find: Callable[[], Hdu], output: Path, view: View) -> Look:
    """Draw what there is of a unit that failed: its image, if that can be read."""
    try:
        hdu, shape, wcs, box = _section(find(), view)
        thumbnail = make_thumbnail(box, lambda part: read_section(hdu, part))
    except (DataError, MissingInputError) as error:
        raise DataError(f"{reason}; nothing of it can be shown: {error}") from error
    draw_image(ImageSheet(thumbnail, (reason, extent_text(shape, thumbnail)), wcs), output)
    return Look(output, (f"{reason}; the image alone is shown", *facts(shape, thumbnail, None)))


def _kron(rows: np.ndarray, label: str, colour: str) -> Ellipses:
    """Return the Kron ellipses of a tile's objects."""
    a, b = rows["A_IMAGE"] * rows["KRON_RADIUS"], rows["B_IMAGE"] * rows["KRON_RADIUS"]
    return Ellipses(rows["X_IMAGE"] - 1.0, rows["Y_IMAGE"] - 1.0, a, b, rows["THETA_IMAGE"], label, colour)


def _blocks(objects: np.ndarray, blocks: np.ndarray, members: np.ndarray) -> Frames:
    """Return the rectangles around the objects of each block."""
    boxes, texts = [], []
    for block in blocks:
        rows = objects[members[block["first"] : block["first"] + block["n_object"]]]
        y, x = rows["Y_IMAGE"] - 1, rows["X_IMAGE"] - 1
        boxes.append((math.floor(y.min()), math.ceil(y.max()) + 1, math.floor(x.min()), math.ceil(x.max()) + 1))
        texts.append(f"block {block['index']}")
    return Frames(tuple(boxes), tuple(texts), f"{len(blocks)} blocks of objects")
