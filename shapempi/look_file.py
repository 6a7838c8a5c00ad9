"""Pictures of image files: their flags in colour, and the objects of catalogues that belong to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from shapempi.camera import Camera
from shapempi.errors import ConfigError, DataError
from shapempi.flags import PixelFlag
from shapempi.io.exposure import CFIS_CCDS, ccd_index
from shapempi.io.fits import Hdu, card_value, image_hdus, read_section
from shapempi.io.flag_codes import CFIS_FLAGS, FlagCodes
from shapempi.io.ldac import read_ldac
from shapempi.look import Look, View, extent_text, facts, wcs_of
from shapempi.report.look_image import Ellipses, ImageSheet, Markers, draw_image
from shapempi.report.look_palette import EXTERNAL, bit_names
from shapempi.report.look_thumbnail import Box, make_thumbnail

__all__ = ["FileSources", "look_file"]


@dataclass(frozen=True)
class FileSources:
    """Files that belong to one image.

    Attributes
    ----------
    image : Path
        The image, alone or in a mosaic.
    weight, flag, mask : Path or None
        Its weight, the observatory's flags, and a plane of shapempi's own flags.
    catalogue, stars : Path or None
        FITS_LDAC catalogues of its detections and of selected stars.
    hdu, ccd : int or None
        Which HDU, or which CCD of a mosaic.
    camera : Camera
        Names and numbers of the CCDs.
    codes : FlagCodes
        What the values of the observatory's flags mean.
    """

    image: Path
    weight: Path | None = None
    flag: Path | None = None
    mask: Path | None = None
    catalogue: Path | None = None
    stars: Path | None = None
    hdu: int | None = None
    ccd: int | None = None
    camera: Camera = CFIS_CCDS
    codes: FlagCodes = CFIS_FLAGS


def look_file(sources: FileSources, output: Path, view: View) -> Look:
    """Draw the image of a file.

    Parameters
    ----------
    sources : FileSources
        The files.
    output : Path
        PNG file to write; one that is there is replaced.
    view : View
        The part to draw.

    Raises
    ------
    ConfigError, MissingInputError, DataError
        If a file or an HDU is not there, cannot be read, or has another shape than the image.
    """
    hdu = _image_hdu(sources.image, sources)
    shape = hdu.shape
    assert shape is not None
    wcs = wcs_of(hdu)
    names = bit_names({})
    planes: list[tuple[Hdu, Callable[[np.ndarray, Hdu], np.ndarray]]] = []
    external = partial(_external_flags, sources.codes)
    for path, plane in ((sources.mask, _own_flags), (sources.flag, external), (sources.weight, _unusable)):
        if path is not None:
            other = _image_hdu(path, sources)
            if other.shape != shape:
                raise DataError(f"{other}: its shape {other.shape} differs from {shape} of {hdu}; check the files")
            planes.append((other, plane))
            if path == sources.mask:
                names = _legend(other)

    def flags(box: Box) -> np.ndarray:
        return np.bitwise_or.reduce([plane(read_section(other, box), other) for other, plane in planes])

    thumbnail = make_thumbnail(
        view.section(shape, wcs, str(hdu)), lambda box: read_section(hdu, box), flags if planes else None
    )
    ellipses: list[Ellipses] = []
    markers: list[Markers] = []
    if sources.catalogue is not None:
        ellipses.append(_ellipses(read_ldac(sources.catalogue)[1], sources.catalogue))
    if sources.stars is not None:
        x, y = _positions(read_ldac(sources.stars)[1], sources.stars)
        markers.append(Markers(x, y, f"{len(x)} selected stars", "s", "#0072B2"))
    sheet = ImageSheet(
        thumbnail=thumbnail,
        title=(
            f"{sources.image.name}, HDU {hdu.index}" + (f" ({hdu.name})" if hdu.name else ""),
            extent_text(shape, thumbnail),
        ),
        wcs=wcs,
        names=names,
        markers=tuple(markers),
        ellipses=tuple(ellipses),
    )
    draw_image(sheet, output)
    return Look(
        output,
        (*facts(shape, thumbnail, names), *(mark.label for mark in ellipses), *(mark.label for mark in markers)),
    )


def _image_hdu(path: Path, sources: FileSources) -> Hdu:
    """Return the image of a file that is meant."""
    images = image_hdus(path)
    if len(images) == 1 and (path != sources.image or (sources.hdu is None and sources.ccd is None)):
        return images[0]
    known = {hdu.index: hdu for hdu in images} if sources.ccd is None else ccd_index(images, sources.camera)
    wanted = sources.hdu if sources.ccd is None else sources.ccd
    if wanted in known:
        return known[wanted]
    shown = ", ".join(f"{number} ({hdu.name})" if hdu.name else str(number) for number, hdu in known.items())
    option = "--hdu" if sources.ccd is None else "--ccd"
    if wanted is None:
        raise ConfigError(f"{path}: there are {len(images)} images; choose with --hdu or --ccd: {shown or 'none'}")
    raise ConfigError(f"{path}: {option} {wanted} is no image of it; there are {shown or 'none'}")


def _own_flags(plane: np.ndarray, where: Hdu) -> np.ndarray:
    """Return a plane of flag bits as int64."""
    if plane.dtype.kind not in "iub":
        raise DataError(f"{where}: flags are integer bits, not {plane.dtype}; check the file")
    return plane.astype(np.int64)


def _external_flags(codes: FlagCodes, plane: np.ndarray, where: Hdu) -> np.ndarray:
    """Return an observatory's flags apart from ours."""
    return codes.bits(_own_flags(plane, where), where).astype(np.int64) << EXTERNAL


def _unusable(weight: np.ndarray, where: Hdu) -> np.ndarray:
    """Return the flag of pixels without a usable weight."""
    return np.where((weight > 0) & np.isfinite(weight), 0, int(PixelFlag.WEIGHT))


def _legend(mask: Hdu) -> dict[int, str]:
    """Return the names of the bits that the header of `shapempi mask` gives; the usual ones in any other file."""
    bits: dict[str, int] = {}
    number = 1
    while (name := card_value(mask.cards, f"FLAG{number}")) is not None:
        value = card_value(mask.cards, f"FBIT{number}") or ""
        if not value.isdigit():
            raise DataError(f"{mask}: FBIT{number} is {value!r}, not the bits of {name}")
        bits[name] = int(value)
        number += 1
    return bit_names(bits)


def _positions(table: np.ndarray, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the 0-based positions of a catalogue."""
    names = table.dtype.names or ()
    for x, y in (("XWIN_IMAGE", "YWIN_IMAGE"), ("X_IMAGE", "Y_IMAGE"), ("X", "Y")):
        if x in names and y in names:
            return table[x] - 1.0, table[y] - 1.0
    raise DataError(f"{path}: there are no columns X_IMAGE and Y_IMAGE, so the objects' places are unknown")


def _ellipses(table: np.ndarray, path: Path) -> Ellipses:
    """Return the Kron ellipses of a catalogue, or ellipses of three times the rms where it lacks their columns."""
    names = set(table.dtype.names or ())
    x, y = _positions(table, path)
    if {"A_IMAGE", "B_IMAGE", "THETA_IMAGE"} <= names:
        a, b, theta = (table[name].astype(float) for name in ("A_IMAGE", "B_IMAGE", "THETA_IMAGE"))
    elif {"X2_IMAGE", "Y2_IMAGE", "XY_IMAGE"} <= names:
        xx, yy, xy = (table[name].astype(float) for name in ("X2_IMAGE", "Y2_IMAGE", "XY_IMAGE"))
        mean, half = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
        a, b = np.sqrt(np.maximum(mean + half, 0)), np.sqrt(np.maximum(mean - half, 0))
        theta = np.degrees(0.5 * np.arctan2(2 * xy, xx - yy))
    else:
        raise DataError(f"{path}: there are neither A_IMAGE, B_IMAGE, THETA_IMAGE nor X2_IMAGE, Y2_IMAGE, XY_IMAGE")
    kron = table["KRON_RADIUS"].astype(float) if "KRON_RADIUS" in names else 3.0
    kind = "Kron ellipses" if "KRON_RADIUS" in names else "ellipses of 3 rms"
    return Ellipses(x, y, a * kron, b * kron, theta, f"{len(table)} detections ({kind})", "#009E73")
