"""Values of ShapePipe's keys: truths, numbers, lists, paths with variables; what is wrong is a ValueError."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from configparser import ConfigParser
from pathlib import Path

__all__ = ["expand", "is_true", "list_of", "number", "path_of", "side", "truth", "whole", "yes_or_no"]

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


def truth(text: str) -> bool:
    """Return a truth as INI files write it: True, yes, on, 1 and their opposites."""
    try:
        return ConfigParser.BOOLEAN_STATES[text.lower()]
    except KeyError:
        raise ValueError(f"{text!r} is neither True nor False") from None


def is_true(text: str) -> bool:
    """Whether a text is a truth; what is none is not."""
    return ConfigParser.BOOLEAN_STATES.get(text.lower(), False)


def yes_or_no(text: str) -> bool:
    """Return a truth as the AstrOmatic programs write it: Y or N."""
    if text.upper() not in ("Y", "N"):
        raise ValueError(f"{text!r} is neither Y nor N")
    return text.upper() == "Y"


def number(text: str) -> float:
    """Return a finite number."""
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{text!r} is no number") from None
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is not a finite number")
    return value


def whole(text: str) -> int:
    """Return a whole number."""
    value = number(text)
    if value != int(value):
        raise ValueError(f"{text!r} is no whole number")
    return int(value)


def side(text: str) -> int:
    """Return the side of a square: `51`, or `51,51`."""
    sides = {whole(item) for item in list_of(text)}
    if len(sides) != 1:
        raise ValueError(f"{text!r} is no square")
    return sides.pop()


def list_of(text: str) -> list[str]:
    """Return the items of a list: commas between them, on any number of lines."""
    if not text.strip():
        return []
    items = [" ".join(item.split()) for item in text.split(",")]
    if not items[-1]:
        raise ValueError("the list ends with a comma; remove it")
    if not all(items):
        raise ValueError("the list has two commas with nothing between them; remove one")
    return items


def expand(text: str, environment: Mapping[str, str]) -> str:
    """Return a text in which $NAME and ${NAME} are replaced by the values of variables; no shell takes part.

    Parameters
    ----------
    text : str
        The text.
    environment : mapping of str to str
        The variables.
    """

    def value(match: re.Match[str]) -> str:
        name = match.group(1) or match.group(2)
        if name not in environment:
            raise ValueError(f"the environment variable {name} is not set; set it: {name}=... shapempi convert ...")
        return environment[name]

    return _VARIABLE.sub(value, text)


def path_of(text: str, environment: Mapping[str, str]) -> Path:
    """Return a path, its variables and ~ expanded."""
    if not text:
        raise ValueError("there is no path")
    return Path(expand(text, environment)).expanduser()
