"""Single CCDs as files of their own, and the headers of the exposures (behaviour specification, sections 3.1, 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from shapempi.errors import DataError
from shapempi.ids import CcdId
from shapempi.io.fits import Hdu, read_section
from shapempi.io.fits_image import write_image
from shapempi.io.header_arrays import header_array, write_header_array
from shapempi.io.sqlite_dict import create_sqlite_dict
from shapempi.legacy.part import CCD, EXPOSURE, SURVEY, Part, Product, Written, number_of
from shapempi.legacy.source import LegacySource

__all__ = ["SPLIT"]


def _write_ccd(source: LegacySource, ccd: CcdId, folder: Path) -> Written:
    """Write image, weight and flags of a CCD with the pixels and headers that they have in the mosaics."""
    inputs = source.view.inputs
    paths = inputs.ccd_paths(ccd)
    written = []
    for name, mosaic in (("image", paths.image), ("weight", paths.weight), ("flag", paths.flag)):
        if mosaic is None:
            continue
        hdu = inputs.ccd_hdu(mosaic, name, ccd)
        pixels = read_section(hdu)
        path = folder / f"{name}{number_of(ccd)}.fits"
        dtype = _flag_type(pixels, hdu) if name == "flag" else _pixel_type(pixels)
        write_image(path, [pixels], pixels.shape, dtype, hdu.header, overwrite=source.overwrite)
        written.append(path)
    return Written(tuple(written))


def _flag_type(pixels: np.ndarray, hdu: Hdu) -> np.dtype:
    """Return int16, or int32 where bits do not fit."""
    whole = np.rint(pixels)
    if not np.array_equal(whole, pixels):
        raise DataError(f"{hdu}: flags are integer bits, and this image has fractions or NaN; check the flag file")
    short = np.iinfo(np.int16)
    fits = short.min <= whole.min(initial=0) and whole.max(initial=0) <= short.max
    return np.dtype(np.int16 if fits else np.int32)


def _pixel_type(pixels: np.ndarray) -> np.dtype:
    """Return the type of the pixels, or the next larger one that a FITS image has."""
    if pixels.dtype.kind == "f":
        return pixels.dtype
    return np.dtype(np.int32 if pixels.dtype == np.uint16 else np.promote_types(pixels.dtype, np.int16))


def _write_headers(source: LegacySource, exposure: int, folder: Path) -> Written:
    """Write the headers of an exposure."""
    path = folder / f"headers{number_of(exposure)}.npy"
    headers = header_array(source.view.inputs.ccd_hdus(exposure))
    write_header_array(path, headers, overwrite=source.overwrite)
    return Written((path,))


def _write_store(source: LegacySource, exposures: Sequence[int], folder: Path) -> Written:
    """Write the headers of all exposures into one store."""
    path = folder / "log_exp_headers.sqlite"
    with create_sqlite_dict(path, overwrite=source.overwrite) as store:
        for place, exposure in enumerate(exposures, start=1):
            store.put(place, f"{exposure:07d}", header_array(source.view.inputs.ccd_hdus(exposure)))
    return Written((path,))


SPLIT = Product(
    "image, weight and flags of each CCD; headers of each exposure and of all",
    (
        Part(CCD, "split_exp_runner", _write_ccd),
        Part(EXPOSURE, "split_exp_runner", _write_headers),
        Part(SURVEY, "merge_headers_runner", _write_store),
    ),
)
