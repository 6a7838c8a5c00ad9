"""FITS files as shapempi reads them: the HDUs of a file by their headers alone, and sections of image HDUs.

The headers are scanned without a FITS library: each HDU's header says where its data end, so that a mosaic of 40
compressed CCDs costs 41 small reads, and a truncated file is known before a pixel of it is needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import fitsio
import numpy as np

from shapempi.errors import DataError, MissingInputError

__all__ = ["Hdu", "card_value", "image_hdus", "own_cards", "read_section", "scan_hdus"]

_BLOCK = 2880
_CARD = 80

#: Keywords of the table that holds a compressed image, and of the way pixels are stored: not the image's own.
_STORAGE = re.compile(
    r"(XTENSION|SIMPLE|EXTEND|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|TFIELDS|THEAP|T(TYPE|FORM|NULL|SCAL|ZERO|DISP|UNIT|DIM)\d+"
    r"|ZIMAGE|ZSIMPLE|ZTENSION|ZEXTEND|ZBLOCKED|ZBITPIX|ZNAXIS\d*|ZPCOUNT|ZGCOUNT|ZTILE\d+|ZCMPTYPE|ZNAME\d+|ZVAL\d+"
    r"|ZMASKCMP|ZQUANTIZ|ZDITHER0|ZSCALE|ZZERO|ZBLANK|ZHECKSUM|ZDATASUM|CHECKSUM|DATASUM|BSCALE|BZERO|BLANK|END) *"
)

#: Keywords that say what an HDU is and where its data end.
_STRUCTURE = frozenset(
    f"{keyword:<8}"
    for keyword in (
        *("XTENSION", "BITPIX", "NAXIS", "PCOUNT", "GCOUNT", "ZIMAGE", "ZBITPIX", "ZNAXIS", "EXTNAME"),
        *(f"{prefix}NAXIS{axis}" for prefix in ("", "Z") for axis in range(1, 10)),
    )
)


@dataclass(frozen=True)
class Hdu:
    """One HDU of a file, known by its header.

    Attributes
    ----------
    path : str
        The file.
    index : int
        Position in the file, 0 for the primary HDU.
    name : str
        EXTNAME, empty if there is none.
    shape : tuple of int or None
        (ny, nx) of a two-dimensional image, compressed or not; None for any other HDU.
    bitpix : int
        BITPIX of the image.
    cards : str
        The header as it is in the file, without END.
    data_end : int
        Byte behind the data.
    complete : bool
        Whether the file is long enough to hold the data.
    """

    path: str
    index: int
    name: str
    shape: tuple[int, int] | None
    bitpix: int
    cards: str
    data_end: int
    complete: bool

    @cached_property
    def header(self) -> str:
        """The image's own header as text, cards of 80 characters.

        Of a compressed image this is the header of the image, without the keywords of the table around it; without
        BSCALE and BZERO, which are applied on reading.
        """
        kept = own_cards(self.cards)
        if not self.name:  # compressors call an image without a name COMPRESSED_IMAGE
            cards = [kept[i : i + _CARD] for i in range(0, len(kept), _CARD)]
            kept = "".join(card for card in cards if not card.startswith("EXTNAME "))
        axes = tuple(reversed(self.shape or ()))
        integers = [("BITPIX", self.bitpix), ("NAXIS", len(axes))]
        integers += [(f"NAXIS{i}", length) for i, length in enumerate(axes, 1)]
        integers += [("PCOUNT", 0), ("GCOUNT", 1)]
        head = ["XTENSION= 'IMAGE   '".ljust(_CARD)]
        head += [f"{keyword:<8}= {value:>20}".ljust(_CARD) for keyword, value in integers]
        return "".join(head) + kept

    def __str__(self) -> str:
        """Return `file, HDU 13 (CCD12)` for messages."""
        return f"{self.path}, HDU {self.index}" + (f" ({self.name})" if self.name else "")


def own_cards(header: str) -> str:
    """Return a header without the cards that say how its HDU is stored, END included."""
    cards = [header[first : first + _CARD] for first in range(0, len(header), _CARD)]
    return "".join(card.ljust(_CARD) for card in cards if not _STORAGE.fullmatch(card[:8]))


def card_value(header: str, keyword: str) -> str | None:
    """Return the value of a keyword in a header text, quotes and comment removed, or None if it is not there."""
    start = f"{keyword:<8}="
    for first in range(0, len(header), _CARD):
        card = header[first : first + _CARD]
        if card.startswith(start):
            return _value(card)
    return None


def _value(card: str) -> str:
    """Return the value part of one card."""
    text = card[10:].strip()
    if text.startswith("'"):
        quoted = re.match(r"'((?:[^']|'')*)'", text)
        return (quoted.group(1) if quoted else text[1:]).replace("''", "'").strip()
    return text.split("/", 1)[0].strip()


def _read_header(file: BinaryIO, path: str, index: int) -> str | None:
    """Read one header as text up to and without END; None where no other HDU follows."""
    blocks: list[str] = []
    while True:
        block = file.read(_BLOCK)
        text = block.decode("ascii", "replace")
        blocks.append(text)
        if len(blocks) == 1 and not text.startswith(("SIMPLE  =", "XTENSION")):
            if index == 0:
                raise DataError(f"{path}: not a FITS file (it does not start with SIMPLE)")
            return None  # FITS allows special records after the last HDU
        end = text.find("END ")
        while end >= 0:
            if end % _CARD == 0 and text[end : end + _CARD].rstrip() == "END":
                blocks[-1] = text[:end]
                return "".join(blocks)
            end = text.find("END ", end + 1)
        if len(block) < _BLOCK:
            raise DataError(f"{path}: truncated in the header of HDU {index}; fetch the file again")


def _integer(values: dict[str, str], keyword: str, default: int, where: str) -> int:
    """Return a structural keyword as an integer."""
    try:
        return int(values.get(keyword, default))
    except ValueError as error:
        raise DataError(f"{where}: {keyword} is {values[keyword]!r}, not an integer") from error


def _describe(cards: str, path: str, index: int, data_start: int, file_size: int) -> Hdu:
    """Find out what one HDU holds and where its data end."""
    values: dict[str, str] = {}
    for first in range(0, len(cards), _CARD):
        keyword = cards[first : first + 8]
        if keyword in _STRUCTURE:
            values.setdefault(keyword.rstrip(), _value(cards[first : first + _CARD]))
    where = f"{path}, HDU {index}"
    n_axis = _integer(values, "NAXIS", 0, where)
    n_element = 1 if n_axis else 0
    for axis in range(1, n_axis + 1):
        n_element *= _integer(values, f"NAXIS{axis}", 0, where)
    n_element += _integer(values, "PCOUNT", 0, where)
    n_byte = abs(_integer(values, "BITPIX", 8, where)) // 8 * _integer(values, "GCOUNT", 1, where) * n_element

    compressed = values.get("ZIMAGE") == "T"
    prefix = "Z" if compressed else ""
    is_image = compressed or index == 0 or values.get("XTENSION") == "IMAGE"
    shape = None
    if is_image and _integer(values, f"{prefix}NAXIS", 0, where) == 2:
        shape = (_integer(values, f"{prefix}NAXIS2", 0, where), _integer(values, f"{prefix}NAXIS1", 0, where))
    name = values.get("EXTNAME", "")
    return Hdu(
        path=path,
        index=index,
        name="" if name == "COMPRESSED_IMAGE" else name,
        shape=shape,
        bitpix=_integer(values, f"{prefix}BITPIX", 8, where),
        cards=cards,
        data_end=data_start + n_byte,
        complete=data_start + n_byte <= file_size,
    )


def scan_hdus(path: Path | str) -> Iterator[Hdu]:
    """Go through the HDUs of a FITS file by their headers, without reading data.

    Parameters
    ----------
    path : Path or str
        The file.

    Yields
    ------
    Hdu
        The HDUs in the order of the file.  In a truncated file the last one may have `complete` False.

    Raises
    ------
    MissingInputError
        If there is no such file.
    DataError
        If it cannot be read, is not FITS, or ends inside a header.
    """
    name = str(path)
    try:
        with Path(path).open("rb") as file:
            size = file.seek(0, 2)
            start = 0
            index = 0
            while start < size:
                file.seek(start)
                header = _read_header(file, name, index)
                if header is None:
                    return
                data_start = start + -(-(len(header) + _CARD) // _BLOCK) * _BLOCK
                hdu = _describe(header, name, index, data_start, size)
                yield hdu
                start = data_start + -(-(hdu.data_end - data_start) // _BLOCK) * _BLOCK
                index += 1
    except FileNotFoundError as error:
        raise MissingInputError(f"{name}: the file does not exist") from error
    except OSError as error:
        raise DataError(f"{name}: cannot be read: {error.strerror}") from error
    if index == 0:
        raise DataError(f"{name}: the file is empty; fetch it again")


def image_hdus(path: Path | str) -> list[Hdu]:
    """Return the two-dimensional image HDUs of a file; see `scan_hdus`."""
    return [hdu for hdu in scan_hdus(path) if hdu.shape is not None]


def read_section(hdu: Hdu, box: tuple[int, int, int, int] | None = None) -> np.ndarray:
    """Read the pixels of an image HDU or of a section of it.

    Parameters
    ----------
    hdu : Hdu
        The HDU.
    box : tuple of int, optional
        (y0, y1, x0, x1), half open, 0-based, inside the image; the whole image by default.

    Returns
    -------
    ndarray [y, x]
        Pixels in the file's type (scaled by BSCALE and BZERO), native byte order, contiguous.

    Raises
    ------
    DataError
        If the HDU is no image, the file is truncated, or the pixels cannot be decoded.
    """
    if hdu.shape is None:
        raise DataError(f"{hdu}: not a two-dimensional image")
    if not hdu.complete:
        size = Path(hdu.path).stat().st_size
        raise DataError(
            f"{hdu}: the file is truncated: it has {size} bytes and the data end at {hdu.data_end}; fetch it again"
        )
    y0, y1, x0, x1 = (0, hdu.shape[0], 0, hdu.shape[1]) if box is None else box
    if not (0 <= y0 < y1 <= hdu.shape[0] and 0 <= x0 < x1 <= hdu.shape[1]):
        raise ValueError(f"{hdu}: the section {box} is not inside the image of shape {hdu.shape}")
    try:
        with fitsio.FITS(hdu.path) as file:
            data = file[hdu.index][y0:y1, x0:x1]
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(f"{hdu}: the pixels cannot be read: {reason}; fetch the file again") from error
    if data.shape != (y1 - y0, x1 - x0):
        raise DataError(f"{hdu}: read {data.shape} pixels instead of {(y1 - y0, x1 - x0)}; fetch the file again")
    return np.ascontiguousarray(data, dtype=data.dtype.newbyteorder("="))
