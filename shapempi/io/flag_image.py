"""Planes of flag bits as FITS images with the WCS of the image that they belong to."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from astropy.io import fits

from shapempi.io.atomic import replacing

__all__ = ["write_flag_image"]

#: Keywords of a celestial WCS, distortions included.
_WCS = re.compile(
    r"(WCSAXES|RADESYS|RADECSYS|EQUINOX|LONPOLE|LATPOLE|C(TYPE|UNIT|RVAL|RPIX|DELT|ROTA)[12]|(CD|PC)[12]_[12]"
    r"|P[VS][12]_\d+|[AB]P?_(ORDER|DMAX|\d+_\d+))"
)


def write_flag_image(
    path: Path, plane: np.ndarray, header: str, cards: Iterable[tuple[str, str | int | float | bool, str]]
) -> None:
    """Write a plane of flag bits, in one step.

    Parameters
    ----------
    path : Path
        The file; one that is there is replaced.
    plane : ndarray of int [y, x]
        The bits; written as int16 if they fit, else as int32.
    header : str
        Header of the image that the plane belongs to, cards of 80 characters; its WCS is copied.
    cards : iterable of (str, value, str)
        Keyword, value and comment of further cards.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    low, high = (int(value) for value in (plane.min(initial=0), plane.max(initial=0)))
    short = np.iinfo(np.int16)
    hdu = fits.PrimaryHDU(plane.astype(np.int16 if short.min <= low and high <= short.max else np.int32))
    for card in fits.Header.fromstring(header).cards:
        if _WCS.fullmatch(card.keyword):
            hdu.header.append(card)
    for keyword, value, comment in cards:
        hdu.header[keyword] = (value, comment)
    with replacing(path) as temporary:
        hdu.writeto(temporary)
