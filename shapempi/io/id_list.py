"""Lists of tiles and exposures by ID: `241.293` or `2243881p`, one a line, as `tile_numbers.txt` and `exp_numbers`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from shapempi.errors import DataError
from shapempi.ids import TileId
from shapempi.io.text_list import read_column

__all__ = ["ImageId", "id_order", "parse_id", "read_ids", "written_id"]

#: A tile, or the number of an exposure.
ImageId = TileId | int

#: Numbers of exposures that are longer than those of CFIS.
_LONG = 10**8
_EXPOSURE = re.compile(r"(\d{6,14})p?")


def parse_id(text: str) -> ImageId:
    """Read the ID of a tile, `241.293` or `241-293`, or of an exposure, `2243881p` or `2243881`.

    Raises
    ------
    DataError
        If it is neither.
    """
    match = _EXPOSURE.fullmatch(text)
    if match:
        return int(match.group(1))
    try:
        return TileId.parse(text)
    except DataError as error:
        raise DataError(
            f"{text!r} is no ID; write a tile as XXX.YYY (241.293) and an exposure as 6 to 14 digits (2243881p)"
        ) from error


def written_id(image: ImageId) -> str:
    """Return an ID as CFIS writes it: `241.293`, `2243881p`; a longer number of an exposure as it is."""
    if isinstance(image, TileId):
        return str(image)
    return f"{image:07d}p" if image < _LONG else str(image)


def id_order(image: ImageId) -> tuple[bool, int, int]:
    """Return what IDs are sorted by: tiles by X and Y, then exposures."""
    return (False, image.x, image.y) if isinstance(image, TileId) else (True, image, 0)


def read_ids(paths: Sequence[Path], column: int = 0) -> list[ImageId]:
    """Read the IDs of some lists.

    Parameters
    ----------
    paths : sequence of Path
        The lists.
    column : int, optional
        Which column of each, from 0.

    Returns
    -------
    list of TileId or int
        Each ID once, sorted.

    Raises
    ------
    MissingInputError, DataError
        If a list is not there, empty, or has a line that is no ID.
    """
    found: set[ImageId] = set()
    for path in paths:
        for number, word in read_column(path, column):
            try:
                found.add(parse_id(word))
            except DataError as error:
                raise DataError(f"{path}, line {number}: {error}") from error
    return sorted(found, key=id_order)
