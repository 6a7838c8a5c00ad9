"""One CCD of an exposure, or a section of it, straight from the observatory's compressed mosaics."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shapempi.camera import Camera
from shapempi.errors import DataError, MissingInputError
from shapempi.image import Image
from shapempi.io.fits import Hdu, card_value, image_hdus, read_section, scan_hdus
from shapempi.io.flag_codes import CFIS_FLAGS, FlagCodes
from shapempi.params import Params, key
from shapempi.wcs import Wcs

__all__ = [
    "CFIS_CCDS",
    "CFIS_KEYWORDS",
    "ExposurePaths",
    "KeywordParams",
    "ccd_index",
    "clean_planes",
    "find_hdu",
    "is_active",
    "photometry",
    "read_ccd",
    "read_epoch",
    "read_headers",
    "read_image",
    "sky_level",
    "valid_box",
]

#: Modified Julian date of the epoch 2000.0, and how far from it [days] a date is believed.
_MJD_2000, _EPOCH_LIMIT = 51544.5, 200 * 365.25

_SECTION = re.compile(r"^\[\s*(\d+)\s*:\s*(\d+)\s*,\s*(\d+)\s*:\s*(\d+)\s*\]$")


class KeywordParams(Params):
    """Names of the FITS keywords of an exposure, looked up in the CCD's header, then in the primary header."""

    gain: str = key("GAIN", "Gain in electrons per ADU; absent in the file, the gain counts as unknown.")
    saturate: str = key("SATURATE", "Saturation level in ADU; absent in the file, there is no limit.")
    zero_point: str = key("PHOTZP", "Magnitude zero point of the CCD as it is.")
    flux_scale: str = key("FSCALE", "Factor to the survey's zero point; absent in the file, from the zero point.")
    valid_section: str = key(
        "DATASEC", "Part of the CCD with sky, [x0:x1,y0:y1]; absent in the file, or empty, all of it."
    )
    background: str = key(
        "", "Level of the sky of an exposure's CCD in ADU, such as IMMODE; empty: the background is estimated."
    )
    tile_background: str = key("", "Level of the sky of a tile in ADU; empty: tiles have no background.")
    active: str = key("ACTIVE", "Logical that is F for a CCD without sky pixels; absent in the file, true.")
    epoch: str = key(
        "MJD-OBS",
        "When the image was taken, as modified Julian date or as text (2016-03-14T05:26:00); stars are moved there. "
        "Absent in the file, DATE-OBS; absent, too, they stay where their catalogue has them.",
    )
    default_zero_point: float | None = key(
        None,
        "Zero point of a file that has neither zero point nor flux scale; without it such a file is refused.",
        unit="mag",
    )


#: The keywords of a calibrated CFIS exposure.
CFIS_KEYWORDS = KeywordParams()

#: Names of the CCDs of a CFIS exposure: ccd00, ccd01, ...
CFIS_CCDS = Camera()


@dataclass(frozen=True)
class ExposurePaths:
    """The files of one exposure.

    Attributes
    ----------
    image : Path
        The calibrated, sky-subtracted mosaic.
    weight : Path or None
        Inverse variance; None: every pixel has weight 1.
    flag : Path or None
        The observatory's flag bits; None where the survey has none.
    """

    image: Path
    weight: Path | None
    flag: Path | None = None

    def by(self, where: Callable[[Path], Path]) -> ExposurePaths:
        """Return other places of the same files; `where` gives that of each."""
        weight, flag = (None if path is None else where(path) for path in (self.weight, self.flag))
        return ExposurePaths(where(self.image), weight, flag)


def read_headers(path: Path | str) -> list[tuple[str, str]]:
    """Return (EXTNAME, header text) of every image HDU of a file, quickly: no pixel is read.

    Parameters
    ----------
    path : Path or str
        A mosaic, compressed or not.

    Returns
    -------
    list of tuple of str
        In the order of the file; headers as cards of 80 characters, of the image where it is compressed.

    Raises
    ------
    MissingInputError, DataError
        As `shapempi.io.fits.scan_hdus`.
    """
    return [(hdu.name, hdu.header) for hdu in image_hdus(path)]


def ccd_index(hdus: Sequence[Hdu], camera: Camera = CFIS_CCDS) -> dict[int, Hdu]:
    """Find which image HDU of a mosaic is which CCD.

    By EXTNAME (in CFIS `ccdNN`, in either case) where any HDU has such a name, else by position: the first image HDU
    is the first CCD.

    Parameters
    ----------
    hdus : sequence of Hdu
        The image HDUs of one file, in order.
    camera : Camera, optional
        Names and numbers of the CCDs.

    Returns
    -------
    dict of int to Hdu
        CCD number to HDU.
    """
    named = {number: hdu for hdu in hdus if (number := camera.number_of(hdu.name)) is not None}
    return named or dict(enumerate(hdus, start=camera.first_ccd))


def is_active(header: str, keywords: KeywordParams = CFIS_KEYWORDS) -> bool:
    """Say whether the CCD of this header has sky pixels: not if it says ACTIVE = F."""
    return card_value(header, keywords.active) != "F"


def valid_box(
    header: str, shape: tuple[int, int], keyword: str = CFIS_KEYWORDS.valid_section, where: str = "<header>"
) -> tuple[int, int, int, int]:
    """Return the part of an image that has sky.

    Parameters
    ----------
    header : str
        The image's header.
    shape : tuple of int
        (ny, nx) of the image; the box is cut to it.
    keyword : str, optional
        The keyword that holds the section, empty for none, in the FITS form `[x0:x1,y0:y1]`, 1-based and inclusive.
    where : str, optional
        The file, for messages.

    Returns
    -------
    tuple of int
        (y0, y1, x0, x1), half open, 0-based; the whole image if the keyword is absent.

    Raises
    ------
    DataError
        If the value has another form or does not meet the image.
    """
    text = card_value(header, keyword) if keyword else None
    if text is None:
        return 0, shape[0], 0, shape[1]
    match = _SECTION.match(text)
    if not match:
        raise DataError(f"{where}: {keyword} is {text!r}; the form [x0:x1,y0:y1] is needed")
    xa, xb, ya, yb = (int(value) for value in match.groups())
    box = (
        max(min(ya, yb) - 1, 0),
        min(max(ya, yb), shape[0]),
        max(min(xa, xb) - 1, 0),
        min(max(xa, xb), shape[1]),
    )
    if box[0] >= box[1] or box[2] >= box[3]:
        raise DataError(f"{where}: {keyword} = {text} is outside the image of {shape[1]} x {shape[0]} pixels")
    return box


def _number(headers: Sequence[str], keyword: str, where: str) -> float | None:
    """Return a keyword as a finite number from the first header that has it; None if none has it."""
    for header in headers:
        text = card_value(header, keyword)
        if text:
            try:
                value = float(text.replace("D", "E"))
            except ValueError:
                value = math.nan
            if not math.isfinite(value):
                raise DataError(f"{where}: {keyword} is {text!r}, not a number")
            return value
    return None


def photometry(
    headers: Sequence[str], keywords: KeywordParams, survey_zero_point: float, where: str
) -> tuple[float, float, float, float]:
    """Read gain, saturation level and zero point.

    Parameters
    ----------
    headers : sequence of str
        The headers to search, in order.
    keywords : KeywordParams
        Names of the keywords.
    survey_zero_point : float
        The common zero point of the survey [mag].
    where : str
        The file, for messages.

    Returns
    -------
    gain, saturate, mag_zp, flux_scale : float
        As `Image` has them.

    Raises
    ------
    DataError
        If a value is not a number, or zero point and flux scale are both absent (one follows from the other:
        flux_scale = 10^(0.4 (survey_zero_point - mag_zp))).
    """
    gain = _number(headers, keywords.gain, where)
    saturate = _number(headers, keywords.saturate, where)
    mag_zp = _number(headers, keywords.zero_point, where)
    flux_scale = _number(headers, keywords.flux_scale, where)
    if flux_scale is not None and flux_scale <= 0:
        raise DataError(f"{where}: {keywords.flux_scale} = {flux_scale} is not positive")
    if mag_zp is None and flux_scale is None:
        mag_zp = keywords.default_zero_point
    if mag_zp is None and flux_scale is not None:
        mag_zp = survey_zero_point - 2.5 * math.log10(flux_scale)
    elif flux_scale is None and mag_zp is not None:
        flux_scale = 10 ** (0.4 * (survey_zero_point - mag_zp))
    if mag_zp is None or flux_scale is None:
        raise DataError(
            f"{where}: neither {keywords.zero_point} nor {keywords.flux_scale} is in the header; "
            "name the file's own keyword in [input.keywords] zero_point, or give default_zero_point there"
        )
    return gain or 0.0, saturate or math.inf, mag_zp, flux_scale


def read_epoch(headers: Sequence[str], keywords: KeywordParams) -> float:
    """Return when an image was taken.

    Parameters
    ----------
    headers : sequence of str
        The headers to search, in order.
    keywords : KeywordParams
        Names of the keywords.

    Returns
    -------
    float
        Julian year; NaN where no header says, or none says it in a form that can be read.
    """
    for keyword in (keywords.epoch, "DATE-OBS"):
        for header in headers:
            text = card_value(header, keyword)
            if not text:
                continue
            try:
                days = float(text) - _MJD_2000
            except ValueError:
                try:
                    moment = np.datetime64(text.strip().removesuffix("Z"), "s")
                except ValueError:
                    continue
                days = float((moment - np.datetime64("2000-01-01T12:00:00")) / np.timedelta64(1, "D"))
            if abs(days) < _EPOCH_LIMIT:
                return 2000.0 + days / 365.25
    return math.nan


def sky_level(headers: Sequence[str], keyword: str, where: str, setting: str) -> float | None:
    """Read the level of the sky.

    Parameters
    ----------
    headers : sequence of str
        The headers to search, in order.
    keyword : str
        The keyword that holds it; empty if none does.
    where, setting : str
        The file and the configuration key that names the keyword, for messages.

    Returns
    -------
    float or None
        The level [ADU]; None without a keyword.

    Raises
    ------
    DataError
        If the keyword is not in the header, or is not a number.
    """
    if not keyword:
        return None
    level = _number(headers, keyword, where)
    if level is None:
        raise DataError(
            f"{where}: {keyword} is not in the header; correct [input.keywords] {setting}, or leave it empty"
        )
    return level


def find_hdu(
    path: Path, role: str, *, ccd: int | None = None, hdu: int | str | None = None, camera: Camera = CFIS_CCDS
) -> Hdu:
    """Find the HDU of one CCD (by number), by index or EXTNAME, or the first, reading no more headers than it takes.

    Parameters
    ----------
    path : Path
        The file.
    role : str
        What it is (image, weight, flag), for messages.
    ccd : int, optional
        CCD number; see `ccd_index`.
    hdu : int or str, optional
        Index or EXTNAME.
    camera : Camera, optional
        Names and numbers of the CCDs.

    Raises
    ------
    MissingInputError
        If the file does not exist.
    DataError
        If it cannot be read, or has no such HDU.
    """
    images: list[Hdu] = []
    ended: DataError | None = None
    try:
        for found in scan_hdus(path):
            if found.shape is None:
                continue
            if (
                (ccd is None and hdu is None)
                or hdu == found.index
                or str(hdu).lower() == found.name.lower()
                or (ccd is not None and camera.number_of(found.name) == ccd)
            ):
                return found
            images.append(found)
    except MissingInputError as error:
        raise MissingInputError(f"{path}: the {role} file does not exist; put it there or correct [input]") from error
    except DataError as error:  # truncated in a later header: what came before may be enough
        ended = error
    if ccd is not None and ccd in (by_ccd := ccd_index(images, camera)):
        return by_ccd[ccd]
    if ended is not None:
        raise ended
    label = _ccd_label(ccd, camera) if ccd is not None else f"image HDU {hdu!r}"
    truncated = "" if not images or images[-1].complete else " and is truncated; fetch it again"
    raise DataError(f"{path}: there is no {label} in the {role} file; it has {len(images)} image HDUs{truncated}")


def _ccd_label(ccd: int, camera: Camera) -> str:
    """Return a CCD by number, and by name where it has one."""
    name = camera.name_of(ccd)
    return f"CCD {ccd}" if name == str(ccd) else f"CCD {ccd} ({name})"


def clean_planes(data: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Make float32 planes of finite values, in place if they are float32; unusable pixels get weight 0, no values 0."""
    data = np.asarray(data, dtype=np.float32)
    weight = np.asarray(weight, dtype=np.float32)
    good = np.isfinite(weight) & (weight > 0) & np.isfinite(data)
    bad = np.flatnonzero(~good)
    if bad.size:
        weight.flat[bad] = 0.0
        value = data.flat[bad]
        data.flat[bad] = np.where(np.isfinite(value), value, np.float32(0))
    return data, weight


def read_image(
    paths: ExposurePaths,
    hdu: int | str | None = None,
    box: tuple[int, int, int, int] | None = None,
    *,
    ccd: int | None = None,
    keywords: KeywordParams = CFIS_KEYWORDS,
    survey_zero_point: float = 30.0,
    camera: Camera = CFIS_CCDS,
    flags: FlagCodes = CFIS_FLAGS,
) -> Image:
    """Read one image HDU with its weight and flags, whatever camera it comes from.

    Parameters
    ----------
    paths : ExposurePaths
        The files; `weight` and `flag` may be None.
    hdu : int or str, optional
        HDU by index or EXTNAME, the same in all files; or give `ccd`; with neither, the first image of each file.
    box : tuple of int, optional
        (y0, y1, x0, x1), half open, 0-based: read only this section.
    ccd : int, optional
        CCD number, found by EXTNAME or by position; see `ccd_index`.
    keywords : KeywordParams, optional
        Names of the keywords.
    survey_zero_point : float, optional
        The common zero point of the survey [mag].
    camera : Camera, optional
        Names and numbers of the CCDs.
    flags : FlagCodes, optional
        What the values of the flag image mean.

    Returns
    -------
    Image
        float32 data and weight, int32 flags, native and contiguous.  Weights that are negative or not finite, and
        those of pixels that are not finite, are 0.

    Raises
    ------
    MissingInputError
        If a file does not exist.
    DataError
        If a file is truncated or damaged, an HDU or WCS is missing, the shapes differ, a keyword cannot be used, or
        the CCD says that it has no sky (ACTIVE = F).
    """
    image_hdu = find_hdu(paths.image, "image", ccd=ccd, hdu=hdu, camera=camera)
    weight_hdu = find_hdu(paths.weight, "weight", ccd=ccd, hdu=hdu, camera=camera) if paths.weight is not None else None
    flag_hdu = find_hdu(paths.flag, "flag", ccd=ccd, hdu=hdu, camera=camera) if paths.flag is not None else None
    shape = image_hdu.shape
    assert shape is not None
    for other in (weight_hdu, flag_hdu):
        if other is not None and other.shape != shape:
            raise DataError(f"{other}: its shape {other.shape} differs from {shape} of {image_hdu}; check the files")
    where = str(image_hdu)
    if not is_active(image_hdu.header, keywords):
        raise DataError(f"{where}: the CCD has no sky pixels ({keywords.active} = F)")
    primary = next(scan_hdus(paths.image)).header
    gain, saturate, mag_zp, flux_scale = photometry((image_hdu.header, primary), keywords, survey_zero_point, where)
    wcs = Wcs(image_hdu.header, where)
    valid = valid_box(image_hdu.header, shape, keywords.valid_section, where)
    data = read_section(image_hdu, box)
    data, weight = clean_planes(data, np.ones_like(data) if weight_hdu is None else read_section(weight_hdu, box))
    flag = np.zeros(data.shape, np.int32) if flag_hdu is None else flags.bits(read_section(flag_hdu, box), flag_hdu)
    return Image(
        data=data,
        weight=weight,
        flag=flag,
        wcs=wcs,
        origin=(0, 0) if box is None else (box[0], box[2]),
        full_shape=shape,
        valid_box=valid,
        gain=gain,
        saturate=saturate,
        mag_zp=mag_zp,
        flux_scale=flux_scale,
        header=image_hdu.header,
        path=where,
        epoch=read_epoch((image_hdu.header, primary), keywords),
        background=sky_level((image_hdu.header, primary), keywords.background, where, "background"),
    )


def read_ccd(
    paths: ExposurePaths,
    ccd: int,
    box: tuple[int, int, int, int] | None = None,
    *,
    keywords: KeywordParams = CFIS_KEYWORDS,
    survey_zero_point: float = 30.0,
    camera: Camera = CFIS_CCDS,
    flags: FlagCodes = CFIS_FLAGS,
) -> Image:
    """Read one CCD of an exposure, or a section of it: `read_image` by CCD number."""
    options: dict[str, Any] = {"keywords": keywords, "survey_zero_point": survey_zero_point}
    return read_image(paths, None, box, ccd=ccd, camera=camera, flags=flags, **options)
