"""Region files for DS9, in the pixels of an image: 1-based there, 0-based here."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from shapempi.io.atomic import replacing

__all__ = ["box_region", "ellipse_region", "polygon_region", "write_regions"]

_HEAD = """# Region file format: DS9 version 4.1
global color=green width=1 select=1 edit=1 move=1 delete=1 include=1 source=1
image
"""


def polygon_region(vertices: np.ndarray, colour: str, tag: str) -> str:
    """Return the line of a polygon with vertices [m, 2] = x, y [pixel]."""
    return _line("polygon", (vertices + 1.0).ravel().tolist(), colour, tag)


def ellipse_region(x: float, y: float, a: float, b: float, theta: float, colour: str, tag: str) -> str:
    """Return the line of an ellipse with semi-axes a and b [pixel], a turned by theta [rad] from +x to +y."""
    return _line("ellipse", [x + 1.0, y + 1.0, a, b, math.degrees(theta)], colour, tag)


def box_region(box: tuple[int, int, int, int], colour: str, tag: str) -> str:
    """Return the line of a rectangle (y0, y1, x0, x1), half open: its edges are those of its outer pixels."""
    y0, y1, x0, x1 = box
    return _line("box", [(x0 + x1 + 1) / 2, (y0 + y1 + 1) / 2, x1 - x0, y1 - y0, 0.0], colour, tag)


def _line(shape: str, numbers: Iterable[float], colour: str, tag: str) -> str:
    values = ",".join(f"{number:.4f}" for number in numbers)
    return f"{shape}({values}) # color={colour} tag={{{tag}}}"


def write_regions(path: Path, lines: Iterable[str]) -> None:
    """Write a region file, in one step.

    Parameters
    ----------
    path : Path
        The file; one that is there is replaced.
    lines : iterable of str
        The regions, as the functions of this module make them; they are written one by one.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    with replacing(path) as temporary, temporary.open("w", encoding="ascii") as file:
        file.write(_HEAD)
        file.writelines(f"{line}\n" for line in lines)
