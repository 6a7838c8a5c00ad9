"""The .mask files of ShapePipe (behaviour specification, section 4.1) as keys of the table `mask`."""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from shapempi.errors import ConfigError

__all__ = ["MaskConfiguration", "mask_keys", "read_mask_configuration"]

_SECTION = re.compile(r"\[([^\]]*)\]")
_TRUTHS = dict.fromkeys(("true", "yes", "on", "1"), True) | dict.fromkeys(("false", "no", "off", "0"), False)


@dataclass(frozen=True)
class MaskConfiguration:
    """What a .mask file says.

    Attributes
    ----------
    path : Path
        The file.
    text : str
        Its content.
    values : mapping of str to Any
        Values by the names of the keys of `MaskParams`.
    messier_catalogue, ngc_catalogue : Path or None
        Catalogues of extended objects that it names.
    ignored : tuple of str
        Keys that have no counterpart, in the order of the file.
    lines : mapping of str to int
        The line of each key of the file, from 1.
    """

    path: Path
    text: str
    values: Mapping[str, Any]
    messier_catalogue: Path | None
    ngc_catalogue: Path | None
    ignored: tuple[str, ...]
    lines: Mapping[str, int]


def _truth(text: str, path: Path) -> bool:
    """Return a truth value as the reference system reads it."""
    try:
        return _TRUTHS[text.lower()]
    except KeyError:
        raise ValueError("neither True nor False") from None


def _integer(text: str, path: Path) -> int:
    """Return a whole number."""
    value = _real(text, path)
    if value != int(value):
        raise ValueError("no whole number")
    return int(value)


def _real(text: str, path: Path) -> float:
    """Return a finite number."""
    try:
        value = float(text)
    except ValueError:
        raise ValueError("no number") from None
    if not math.isfinite(value):
        raise ValueError("not a finite number")
    return value


def _file(text: str, path: Path) -> str:
    """Return a path with variables expanded: beside the .mask file, or as it is if only that is there."""
    if not text:
        raise ValueError("no path")
    expanded = os.path.expandvars(text)
    unset = re.search(r"\$\{?(\w+)\}?", expanded)
    if unset:
        raise ValueError(f"the environment variable {unset.group(1)} is not set")
    as_it_is = Path(expanded).expanduser()
    beside = path.parent / as_it_is
    return str(as_it_is if as_it_is.exists() and not beside.exists() else beside)


#: Key to the name of its counterpart and what reads its value; None: there is no counterpart.
_Keys = dict[str, tuple[str, Callable[[str, Path], Any]] | None]


def _star(kind: str) -> _Keys:
    """Return the keys of the halos or of the spikes."""
    name = kind.lower()
    return {
        f"{kind}_MAKE": (f"{name}_make", _truth),
        f"{kind}_MASKMODEL_PATH": (f"{name}_template", _file),
        f"{kind}_MAG_LIM": (f"{name}_mag_limit", _real),
        f"{kind}_SCALE_FACTOR": (f"{name}_scale_factor", _real),
        f"{kind}_MAG_PIVOT": (f"{name}_mag_pivot", _real),
        f"{kind}_FLAG_VALUE": (f"{name}_bit", _integer),
        f"{kind}_REG_FILE": None,
    }


def _deep_sky(kind: str) -> _Keys:
    """Return the keys of a catalogue of extended objects."""
    name = kind.lower()
    return {
        f"{kind}_MAKE": (f"{name}_make", _truth),
        f"{kind}_CAT_PATH": (f"{name}_catalogue", _file),
        f"{kind}_SIZE_PLUS": (f"{name}_size_plus", _real),
        f"{kind}_FLAG_VALUE": (f"{name}_bit", _integer),
        f"{kind}_PIXEL_SCALE": None,
    }


_SECTIONS: dict[str, _Keys] = {
    "PROGRAM_PATH": {"WW_PATH": None, "WW_CONFIG_FILE": None, "CDSCLIENT_PATH": None},
    "BORDER_PARAMETERS": {
        "BORDER_MAKE": ("border_make", _truth),
        "BORDER_WIDTH": ("border_width", _integer),
        "BORDER_FLAG_VALUE": ("border_bit", _integer),
    },
    "HALO_PARAMETERS": _star("HALO"),
    "SPIKE_PARAMETERS": _star("SPIKE"),
    "MESSIER_PARAMETERS": _deep_sky("MESSIER"),
    "NGC_PARAMETERS": _deep_sky("NGC"),
    "EXTERNAL_FLAG": {"EF_MAKE": None},
    "MD_PARAMETERS": {
        "MD_MAKE": ("missing_make", _truth),
        "MD_THRESH_FLAG": ("missing_flag_ratio", _real),
        "MD_THRESH_REMOVE": ("missing_remove_ratio", _real),
        "MD_REMOVE": ("missing_remove", _truth),
    },
    "OTHER": {"TEMP_DIRECTORY": None, "KEEP_REG_FILE": None, "KEEP_INDIVIDUAL_MASK": None},
}


def mask_keys() -> dict[str, dict[str, str]]:
    """Return the known keys by section, each with the name of its counterpart; empty for those without."""
    return {
        section: {name: target[0] if target else "" for name, target in keys.items()}
        for section, keys in _SECTIONS.items()
    }


def read_mask_configuration(path: Path) -> MaskConfiguration:
    """Read a .mask file.

    Parameters
    ----------
    path : Path
        The file.  Relative paths in it are relative to its folder or, if there is no such file, to the current one;
        `$NAME` and `~` in paths are expanded.

    Returns
    -------
    MaskConfiguration
        What it says.

    Raises
    ------
    ConfigError
        If it cannot be read, or a section, key or value is wrong: `file:line: ...`.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the mask configuration: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not a mask configuration: byte {error.start} is no UTF-8 text") from error
    found: dict[str, Any] = {}
    ignored: list[str] = []
    lines: dict[str, int] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        words = re.sub(r"(^|\s)[#;].*", "", line).strip()
        if not words:
            continue
        where = f"{path}:{number}"
        if words.startswith("["):
            section = _section(words, where)
            continue
        name, sign, value = (part.strip() for part in words.partition("="))
        if not sign:
            raise ConfigError(f"{where}: {words!r} is neither [SECTION] nor KEY = value")
        name = _key(section, name.upper(), where)
        if name in lines:
            raise ConfigError(f"{where}: {name} is given a second time")
        lines[name] = number
        target = _SECTIONS[section][name]
        if target is None:
            ignored.append(name)
            continue
        try:
            found[target[0]] = target[1](value, path)
        except ValueError as error:
            raise ConfigError(f"{where}: {name} is {value!r}: {error}") from error
    catalogues = [found.pop(f"{kind}_catalogue", None) for kind in ("messier", "ngc")]
    messier, ngc = (None if each is None else Path(each) for each in catalogues)
    if not found.pop("border_make", True):
        found["border_width"] = 0
    if not found.pop("missing_make", True):
        found["missing_remove"] = False
    return MaskConfiguration(path, text, MappingProxyType(found), messier, ngc, tuple(ignored), MappingProxyType(lines))


def _section(words: str, where: str) -> str:
    """Return the name of a section."""
    match = _SECTION.fullmatch(words)
    name = match.group(1).strip().upper() if match else words
    if name not in _SECTIONS:
        raise ConfigError(f"{where}: unknown section {words}; {_nearest(name, _SECTIONS)}")
    return name


def _key(section: str, name: str, where: str) -> str:
    """Return the name of a key of this section."""
    if not section:
        raise ConfigError(f"{where}: {name} comes before the first [SECTION]")
    if name not in _SECTIONS[section]:
        other = next((other for other, keys in _SECTIONS.items() if name in keys), None)
        cure = f"it belongs to [{other}]" if other else _nearest(name, _SECTIONS[section])
        raise ConfigError(f"{where}: unknown key {name} in [{section}]; {cure}")
    return name


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    """Name what was probably meant."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
