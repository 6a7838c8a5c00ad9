"""Values of ShapePipe's keys: truths, numbers, lists, paths with variables; what is wrong is a ValueError."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from configparser import ConfigParser
from pathlib import Path

__all__ = ["expand", "list_of", "number", "path_of", "truth", "whole"]

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


def truth(text: str) -> bool:
    """Return a truth as INI files write it: True, yes, on, 1 and their opposites."""
    try:
        return ConfigParser.BOOLEAN_STATES[text.lower()]
    except KeyError:
        raise ValueError(f"{text!r} is neither True nor False") from None


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
