"""Positions as people type them: angles with units, or degrees (specification, 2.2)."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from astropy.coordinates import Angle

from shapempi.errors import ConfigError

__all__ = ["parse_corners", "parse_position"]

_UNIT = re.compile(r"(h|hr|hours?|hourangle|d|deg|degrees?|rad|radians?|arcmin|arcsec)", re.IGNORECASE)
_EXAMPLES = "213.68 54.79, 213.68deg_54.79deg or 14:14:43 +54:47:24"


def parse_position(words: Sequence[str]) -> tuple[float, float]:
    """Read RA and Dec.

    Parameters
    ----------
    words : sequence of str
        As typed: two angles between blanks, else `_`, else one dot.  A number without unit is in degrees, RA with
        colons and without unit is in hours.

    Returns
    -------
    ra, dec : float
        Position [deg], RA from 0 to 360.

    Raises
    ------
    ConfigError
        If these are no two angles, or not on the sky.
    """
    ra, dec = _angles("--coord", words, 2)
    if not (-360.0 <= ra <= 720.0 and -90.0 <= dec <= 90.0):
        raise ConfigError(f"--coord: RA {ra:g}, Dec {dec:g} is not on the sky")
    return ra % 360.0, dec


def parse_corners(words: Sequence[str]) -> tuple[float, float, float, float]:
    """Read RA and Dec of two corners [deg], as `parse_position` reads one; RA is left as it is.

    Raises
    ------
    ConfigError
        If these are no four angles.
    """
    ra0, dec0, ra1, dec1 = _angles("--area", words, 4)
    return ra0, dec0, ra1, dec1


def _angles(option: str, words: Sequence[str], n: int) -> list[float]:
    """Read n angles, RA and Dec by turns [deg]."""
    text = " ".join(words).strip()
    pieces = _pieces(text, n)
    if len(pieces) == 3 * n:  # hours minutes seconds degrees minutes seconds
        pieces = [":".join(pieces[i : i + 3]) for i in range(0, 3 * n, 3)]
    if len(pieces) != n:
        raise ConfigError(f"{option} {text!r}: {n} angles are needed, not {len(pieces)}; write {_EXAMPLES}")
    return [_angle(option, piece, is_ra=place % 2 == 0) for place, piece in enumerate(pieces)]


def _pieces(text: str, n: int) -> list[str]:
    """Split a text into angles, each with its unit."""
    words = re.split(r"[\s,]+", text)
    if len(words) == 1:
        words = text.split("_")
    if len(words) == 1 and all(re.search("[a-z:]", piece) for piece in text.lower().split(".")):
        words = text.split(".")  # whole angles with units; a number alone may have a dot, too
    pieces: list[str] = []
    for word in words:
        if pieces and _UNIT.fullmatch(word):
            pieces[-1] += f" {word}"
        elif word:
            pieces.append(word)
    return pieces


def _angle(option: str, text: str, *, is_ra: bool) -> float:
    """Read one angle [deg]."""
    try:
        value = float(text)
    except ValueError:
        unit = ("hourangle" if is_ra else "deg") if re.fullmatch(r"[+-]?\d+(:\d+(\.\d*)?){1,2}", text) else None
        try:
            value = float(Angle(text, unit=unit).deg)
        except Exception as error:  # astropy has many classes for a text that is no angle
            raise ConfigError(f"{option}: {text!r} is no angle; write {_EXAMPLES}") from error
    if not math.isfinite(value):
        raise ConfigError(f"{option}: {text!r} is no angle; write {_EXAMPLES}")
    return value
