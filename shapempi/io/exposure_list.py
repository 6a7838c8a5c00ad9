"""Lists of exposures with their positions, in the two forms that the observatory gives (specification, 2.2)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from astropy.coordinates import Angle

from shapempi.errors import DataError
from shapempi.io.image_list import UNKNOWN_TIME, ListedImage
from shapempi.io.text_list import read_entries

__all__ = ["has_positions", "read_exposure_list"]

#: The column names of the short form, and the columns of the log (specification: col1, col4, col5, col11).
_SHORT = ("pointing", "r.a.[degree]", "declination[degree]")
_N_LOG = 12
_NUMBER, _PLACE, _TIME, _REMARKS = 0, 3, 4, 10
#: Which word of the remarks is the validation.
_VALIDATION = 2

_NAME = re.compile(r"(?<!\d)(\d{6,8})(?!\d)")


def has_positions(path: Path) -> bool:
    """Say whether a list has one of the two forms, or else names alone.

    Raises
    ------
    MissingInputError, DataError
        If it is not there, no text, or empty.
    """
    first = read_entries(path)[0][1]
    return "|" in first or len(re.split(r"[\s,]+", first)) >= len(_SHORT)


def read_exposure_list(path: Path) -> list[ListedImage]:
    """Read a list of exposures.

    Either of three columns (`Pointing`, `R.A.[degree]`, `Declination[degree]`, between blanks or commas; with this
    line at the top the columns may have any order), or the observatory's log of twelve columns between `|`: column 1
    the number, 4 `RA dec` in hours and degrees, 5 the exposure time, the third word of 11 the validation.

    Parameters
    ----------
    path : Path
        The list.

    Returns
    -------
    list of ListedImage
        In the order of the list; an exposure that is listed twice in the same words is returned once.

    Raises
    ------
    MissingInputError
        If the list is not there.
    DataError
        If a line cannot be read, or an exposure is listed twice with different values.
    """
    entries = read_entries(path)
    read = _log if "|" in entries[0][1] else _short
    found: dict[int, tuple[int, ListedImage]] = {}
    for number, image in read(entries, path):
        exposure = image.image
        assert isinstance(exposure, int)
        earlier = found.get(exposure)
        if earlier is not None and earlier[1] != image:
            raise DataError(
                f"{path}: exposure {exposure} has different values in lines {earlier[0]} and {number}; remove one"
            )
        found.setdefault(exposure, (number, image))
    if not found:
        raise DataError(f"{path}: the list names no exposure")
    return [image for _, image in found.values()]


def _short(entries: Sequence[tuple[int, str]], path: Path) -> list[tuple[int, ListedImage]]:
    """Read the form of three columns."""
    order = list(range(len(_SHORT)))
    images = []
    for place, (number, line) in enumerate(entries):
        words = [word for word in re.split(r"[\s,]+", line) if word]
        if place == 0 and set(_SHORT) <= {word.lower() for word in words}:
            order = [[word.lower() for word in words].index(name) for name in _SHORT]
            continue
        if len(words) <= max(order):
            raise DataError(
                f"{path}, line {number}: {len(words)} columns; the form is {' '.join(name for name in _SHORT)}"
            )
        name, ra, dec = (words[i] for i in order)
        images.append((number, _image(name, ra, dec, (float, float), UNKNOWN_TIME, "", f"{path}, line {number}")))
    return images


def _log(entries: Sequence[tuple[int, str]], path: Path) -> list[tuple[int, ListedImage]]:
    """Read the observatory's log."""
    images: list[tuple[int, ListedImage]] = []
    for number, line in entries:
        where = f"{path}, line {number}"
        if not set(line) - set("|-+= "):
            continue  # a rule
        cells = [cell.strip() for cell in line.strip().split("|")]
        if len(cells) == _N_LOG + 2 and not cells[0] and not cells[-1]:
            cells = cells[1:-1]  # a frame
        if len(cells) != _N_LOG:
            raise DataError(f"{where}: {len(cells)} columns between |; the observatory's log has {_N_LOG}")
        if not images and not _NAME.search(cells[_NUMBER]):
            continue  # names of the columns
        words = cells[_PLACE].split()
        if len(words) == 6:
            words = [":".join(words[:3]), ":".join(words[3:])]
        if len(words) != 2:
            raise DataError(f"{where}: the position is {cells[_PLACE]!r}; RA in hours and dec in degrees are needed")
        time = cells[_TIME].split()
        remarks = cells[_REMARKS].split()
        try:
            exp_time = float(time[0]) if time else UNKNOWN_TIME
        except ValueError as error:
            raise DataError(f"{where}: the exposure time is {cells[_TIME]!r}, not a number of seconds") from error
        validation = remarks[_VALIDATION] if len(remarks) > _VALIDATION else ""
        image = _image(cells[_NUMBER], words[0], words[1], (_hours, _degrees), exp_time, validation, where)
        images.append((number, image))
    return images


def _hours(text: str) -> float:
    """Return an angle in hours, sexagesimal or not, in degrees."""
    return float(Angle(text, unit="hourangle").deg)


def _degrees(text: str) -> float:
    """Return an angle in degrees, sexagesimal or not."""
    return float(Angle(text, unit="deg").deg)


def _image(
    name: str,
    ra: str,
    dec: str,
    units: tuple[Callable[[str], float], Callable[[str], float]],
    exp_time: float,
    validation: str,
    where: str,
) -> ListedImage:
    """Make one entry of the list."""
    match = _NAME.search(name)
    if not match:
        raise DataError(f"{where}: {name!r} names no exposure; its number has 6 to 8 digits")
    try:
        place = units[0](ra), units[1](dec)
    except ValueError as error:  # of the number itself, and of astropy's angles, too
        raise DataError(f"{where}: the position {ra!r} {dec!r} cannot be read") from error
    if not (math.isfinite(place[0]) and -360.0 <= place[0] <= 720.0 and -90.0 <= place[1] <= 90.0):
        raise DataError(f"{where}: the position {ra!r} {dec!r} is not on the sky")
    return ListedImage(int(match.group(1)), name, place[0] % 360.0, place[1], exp_time, validation)
