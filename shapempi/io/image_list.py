"""A list of images with their places: what a search in a survey returns, as text and as CSV."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from io import StringIO

from shapempi.io.id_list import ImageId

__all__ = ["UNKNOWN_TIME", "ListedImage", "csv_lines", "text_lines"]

#: Exposure time of an image of which nobody says it [s].
UNKNOWN_TIME = -1.0

_COLUMNS = ("name", "ra[deg]", "dec[deg]", "exp_time[s]", "validation")


@dataclass(frozen=True)
class ListedImage:
    """A tile or an exposure.

    Attributes
    ----------
    image : TileId or int
        Which one.
    name : str
        Its name, as the list or the folder has it.
    ra, dec : float
        Its centre [deg]; NaN if it is unknown.
    exp_time : float
        Exposure time [s]; -1 if it is unknown.
    validation : str
        The observatory's verdict, `V` for validated; empty if it is unknown.
    """

    image: ImageId
    name: str
    ra: float = math.nan
    dec: float = math.nan
    exp_time: float = UNKNOWN_TIME
    validation: str = ""


def text_lines(images: Iterable[ListedImage], *, header: bool = True) -> list[str]:
    """Return a list as text: name, position with two decimals, exposure time and validation; `-` is unknown.

    Parameters
    ----------
    images : iterable of ListedImage
        The list.
    header : bool, optional
        Whether a first line names the columns.
    """
    rows = [
        (
            image.name,
            f"{image.ra:.2f}" if math.isfinite(image.ra) else "-",
            f"{image.dec:.2f}" if math.isfinite(image.dec) else "-",
            f"{image.exp_time:g}",
            image.validation or "-",
        )
        for image in images
    ]
    table = [("# " + _COLUMNS[0], *_COLUMNS[1:]), *rows] if header else rows
    widths = [max((len(row[i]) for row in table), default=0) for i in range(len(_COLUMNS))]
    aligned: Sequence[Callable[[str, int], str]] = (str.ljust, str.rjust, str.rjust, str.rjust, str.ljust)
    return [
        " ".join(side(word, width) for side, word, width in zip(aligned, row, widths, strict=True)).rstrip()
        for row in table
    ]


def csv_lines(images: Iterable[ListedImage], *, header: bool = True) -> list[str]:
    """Return a list as CSV, with positions to a millionth of a degree; empty is unknown.

    Parameters
    ----------
    images : iterable of ListedImage
        The list.
    header : bool, optional
        Whether a first line names the columns.
    """
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if header:
        writer.writerow([column.split("[")[0] for column in _COLUMNS])
    for image in images:
        place = [f"{value:.6f}" if math.isfinite(value) else "" for value in (image.ra, image.dec)]
        time = "" if image.exp_time == UNKNOWN_TIME else f"{image.exp_time:g}"
        writer.writerow([image.name, *place, time, image.validation])
    return text.getvalue().splitlines()
