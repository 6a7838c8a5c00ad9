"""A tile (coadd) with its weight, and the exposures that its header says it was made from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shapempi.errors import DataError, MissingInputError
from shapempi.exposure_number import CFIS_NUMBER, ExposureNumber
from shapempi.image import Image
from shapempi.io.exposure import CFIS_KEYWORDS, KeywordParams, clean_planes, photometry, read_epoch, sky_level
from shapempi.io.fits import Hdu, read_section, scan_hdus
from shapempi.wcs import Wcs

__all__ = ["TilePlanes", "open_planes", "read_tile", "tile_exposures", "tile_image_hdu"]


@dataclass(frozen=True)
class TilePlanes:
    """The pixels of a tile and its weight, in their files.

    Attributes
    ----------
    image, weight : Hdu
        The HDUs, of one shape.
    """

    image: Hdu
    weight: Hdu

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx) of the tile."""
        assert self.image.shape is not None
        return self.image.shape

    def read(self, box: tuple[int, int, int, int] | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Read image and weight, or a section (y0, y1, x0, x1), half open.

        Returns
        -------
        data, weight : ndarray of float32 [y, x]
            Image [ADU] and its inverse variance; 0 in both where a pixel has no value.

        Raises
        ------
        DataError
            If a file cannot be decoded.
        """
        return clean_planes(read_section(self.image, box), read_section(self.weight, box))

    def sky(self, keyword: str) -> float | None:
        """Return the level of the sky that a keyword of the image gives; see `shapempi.io.exposure.sky_level`."""
        return sky_level((self.image.header,), keyword, str(self.image), "tile_background")


def open_planes(image_path: Path, weight_path: Path, role: str = "tile") -> TilePlanes:
    """Find a tile and its weight in their files.

    Parameters
    ----------
    image_path, weight_path : Path
        The files; the image may be in the primary HDU or in a compressed first extension.
    role : str, optional
        What the image is, for messages.

    Raises
    ------
    MissingInputError
        If a file does not exist.
    DataError
        If one has no image, or their shapes differ.
    """
    image, weight = tile_image_hdu(image_path, role), tile_image_hdu(weight_path, f"{role} weight")
    if weight.shape != image.shape:
        raise DataError(f"{weight}: its shape {weight.shape} differs from {image.shape} of {image}; check the files")
    return TilePlanes(image, weight)


def tile_image_hdu(path: Path | str, role: str = "tile") -> Hdu:
    """Return the image HDU of a tile's file: the first two-dimensional one, primary or compressed.

    Raises
    ------
    MissingInputError
        If the file does not exist.
    DataError
        If it has no image.
    """
    try:
        for hdu in scan_hdus(path):
            if hdu.shape is not None:
                return hdu
    except MissingInputError as error:
        raise MissingInputError(f"{path}: the {role} file does not exist; put it there or correct [input]") from error
    raise DataError(f"{path}: there is no image in the {role} file")


def tile_exposures(header: str, where: str, number: ExposureNumber = CFIS_NUMBER) -> list[int]:
    """Return the exposures that a tile was made from: each HISTORY card that names an exposure's file.

    Parameters
    ----------
    header : str
        The tile's header, cards of 80 characters.
    where : str
        The file, for messages.
    number : ExposureNumber, optional
        How the number of an exposure is found in a card.

    Returns
    -------
    list of int
        Exposure numbers, each once, in the order in which the header names them.

    Raises
    ------
    DataError
        If no HISTORY card names an exposure.
    """
    cards = (header[first : first + 80] for first in range(0, len(header), 80))
    named = (number.find(card[8:]) for card in cards if card.startswith("HISTORY "))
    exposures = list(dict.fromkeys(exposure for exposure in named if exposure is not None))
    if not exposures:
        raise DataError(
            f"{where}: no HISTORY card names an exposure (as 'input image 2243881p.fits ...'), "
            "so the tile's exposures are unknown; add the cards to the header"
            + ("" if number == CFIS_NUMBER else f", or correct [input.exposure_number] pattern {number.pattern}")
        )
    return exposures


def read_tile(
    image_path: Path,
    weight_path: Path,
    box: tuple[int, int, int, int] | None = None,
    *,
    keywords: KeywordParams = CFIS_KEYWORDS,
    survey_zero_point: float = 30.0,
    number: ExposureNumber = CFIS_NUMBER,
) -> tuple[Image, list[int]]:
    """Read a tile and its weight.

    Parameters
    ----------
    image_path, weight_path : Path
        The files; the image may be in the primary HDU or in a compressed first extension.
    box : tuple of int, optional
        (y0, y1, x0, x1), half open, 0-based: read only this section.
    keywords : KeywordParams, optional
        Names of the keywords.
    survey_zero_point : float, optional
        Zero point of a tile whose header has none [mag].
    number : ExposureNumber, optional
        How the number of an exposure is found in the header.

    Returns
    -------
    image : Image
        float32 data and weight; flags all zero; the whole tile is valid.
    exposures : list of int
        As `tile_exposures`.

    Raises
    ------
    MissingInputError, DataError
        As `shapempi.io.exposure.read_image`.
    """
    planes = open_planes(image_path, weight_path)
    image_hdu, shape = planes.image, planes.shape
    where = str(image_hdu)
    coadd = keywords.model_copy(update={"default_zero_point": survey_zero_point})
    gain, saturate, mag_zp, flux_scale = photometry((image_hdu.header,), coadd, survey_zero_point, where)
    exposures = tile_exposures(image_hdu.header, where, number)
    wcs = Wcs(image_hdu.header, where)
    data, weight = planes.read(box)
    image = Image(
        data=data,
        weight=weight,
        flag=np.zeros(data.shape, np.int32),
        wcs=wcs,
        origin=(0, 0) if box is None else (box[0], box[2]),
        full_shape=shape,
        valid_box=(0, shape[0], 0, shape[1]),
        gain=gain,
        saturate=saturate,
        mag_zp=mag_zp,
        flux_scale=flux_scale,
        header=image_hdu.header,
        path=where,
        epoch=read_epoch((image_hdu.header,), keywords),
        background=planes.sky(keywords.tile_background),
    )
    return image, exposures
