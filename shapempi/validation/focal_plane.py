"""Where the CCDs lie in the focal plane: panels of maps, and places of stars, North up and East left."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from shapempi import megacam
from shapempi.params import Params, key

__all__ = ["CameraLayout", "LayoutParams", "Panel", "layout_of"]

#: Gap between the panels of a camera whose mosaic is not known, as a fraction of a CCD.
_PLAIN_GAP = 0.04

#: Name of a layout by the numbers of the CCDs.
_GRID = "grid"


class LayoutParams(Params):
    """How the CCDs are laid out."""

    camera: Literal["megacam", "grid"] = key(
        "megacam", "Whose mosaic: MegaCam's, or panels by the number of the CCD; a CCD that MegaCam lacks means a grid."
    )
    section: tuple[int, int, int, int] | None = key(
        None,
        "First and last column and row of a CCD that see the sky, 1-based; if not given, MegaCam's or where stars are.",
    )


@dataclass(frozen=True)
class Panel:
    """The place of one CCD.

    Attributes
    ----------
    ccd : int
        Its number.
    row, column : int
        Place in the mosaic, rows from North to South, columns from East to West.
    upside_down : bool
        Whether its rows and columns run South and East instead of North and West.
    west, north : float
        Its centre [pixel] from the centre of the mosaic.
    """

    ccd: int
    row: int
    column: int
    upside_down: bool
    west: float
    north: float


@dataclass(frozen=True)
class CameraLayout:
    """The mosaic.

    The pixel frame of a CCD and the frame of the focal plane (West, North) differ by a rotation by 0 or 180 degrees,
    which leaves shears as they are.

    Attributes
    ----------
    name : str
        "MegaCam" or "grid".
    n_row, n_column : int
        Rows and columns of panels.
    panels : tuple of Panel
        One per CCD, by number.
    section : tuple of int
        x0, x1, y0, y1: first and last pixel of a CCD that see the sky, 1-based.
    """

    name: str
    n_row: int
    n_column: int
    panels: tuple[Panel, ...]
    section: tuple[int, int, int, int]

    @property
    def known(self) -> bool:
        """Whether the panels lie as the CCDs do on the sky."""
        return self.name != _GRID

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx) of what a CCD sees of the sky [pixel]."""
        x0, x1, y0, y1 = self.section
        return y1 - y0 + 1, x1 - x0 + 1

    def index_of(self, ccd: np.ndarray) -> np.ndarray:
        """Return the places in `panels` of CCD numbers, int [n]; -1 for one without a panel."""
        numbers = np.array([panel.ccd for panel in self.panels], dtype=int)
        place = np.clip(np.searchsorted(numbers, ccd), 0, max(len(numbers) - 1, 0))
        return np.where(numbers[place] == ccd, place, -1) if len(numbers) else np.full(len(ccd), -1)

    def sign_of(self, ccd: np.ndarray) -> np.ndarray:
        """Return +1 for CCDs whose x runs West and y North, -1 for those upside down, float [n]."""
        signs = np.array([-1.0 if panel.upside_down else 1.0 for panel in self.panels])
        return signs[self.index_of(ccd)]

    def to_focal_plane(self, ccd: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where stars are in the focal plane.

        Parameters
        ----------
        ccd : ndarray of int [n]
            CCDs that have a panel.
        x, y : ndarray of float [n]
            Places on the CCDs [pixel], 1-based.

        Returns
        -------
        west, north : ndarray of float64 [n]
            From the centre of the mosaic [pixel].
        """
        x0, x1, y0, y1 = self.section
        centres = np.array([(panel.west, panel.north) for panel in self.panels]).reshape(-1, 2)[self.index_of(ccd)]
        sign = self.sign_of(ccd)
        west = centres[:, 0] + sign * (np.asarray(x, dtype=float) - (x0 + x1) / 2)
        north = centres[:, 1] + sign * (np.asarray(y, dtype=float) - (y0 + y1) / 2)
        return west, north


def layout_of(ccds: Sequence[int], x: np.ndarray, y: np.ndarray, params: LayoutParams) -> CameraLayout:
    """Return the mosaic of a camera.

    Parameters
    ----------
    ccds : sequence of int
        CCDs that there are.  MegaCam's mosaic has all its 40 panels whether they have stars or not.
    x, y : ndarray of float [n]
        Places of stars [pixel], 1-based: if no section is given it is MegaCam's, provided that all stars are inside
        and reach across half of it, or the box around all stars.
    params : LayoutParams
        Camera and section.
    """
    section = params.section or _section(x, y)
    x0, x1, y0, y1 = section
    shape = (y1 - y0 + 1, x1 - x0 + 1)
    numbers = sorted({int(ccd) for ccd in ccds})
    if params.camera == "megacam" and all(0 <= ccd < megacam.N_CCD for ccd in numbers):
        return CameraLayout("MegaCam", len(megacam.LAYOUT), len(megacam.LAYOUT[0]), _megacam_panels(shape), section)
    n_column = max(math.ceil(math.sqrt(len(numbers))), 1)
    n_row = max(math.ceil(len(numbers) / n_column), 1)
    panels = []
    for i, ccd in enumerate(numbers):
        row, column = divmod(i, n_column)
        west = (column - (n_column - 1) / 2) * shape[1] * (1 + _PLAIN_GAP)
        north = ((n_row - 1) / 2 - row) * shape[0] * (1 + _PLAIN_GAP)
        panels.append(Panel(ccd, row, column, False, west, north))
    return CameraLayout(_GRID, n_row, n_column, tuple(panels), section)


def _megacam_panels(shape: tuple[int, int]) -> tuple[Panel, ...]:
    """Return MegaCam's panels for CCDs of this shape, its gaps in proportion."""
    ny, nx = megacam.DATASEC[1] - megacam.DATASEC[0], megacam.DATASEC[3] - megacam.DATASEC[2]
    gap_x, gap_inner, gap_outer = megacam.GAPS
    gaps = (gap_x * shape[1] / nx, gap_inner * shape[0] / ny, gap_outer * shape[0] / ny)
    panels = []
    for ccd in range(megacam.N_CCD):
        place = megacam.place(ccd)
        west, north = place.centre(shape, gaps)
        panels.append(Panel(ccd, place.row, place.column, place.upside_down, west, north))
    return tuple(panels)


def _section(x: np.ndarray, y: np.ndarray) -> tuple[int, int, int, int]:
    """Find the part of a CCD that sees the sky from the places of stars."""
    y0, y1, x0, x1 = megacam.DATASEC
    whole = (x0 + 1, x1, y0 + 1, y1)
    if not len(x):
        return whole
    left, right = math.floor(float(x.min())), math.ceil(float(x.max()))
    bottom, top = math.floor(float(y.min())), math.ceil(float(y.max()))
    inside = left >= whole[0] - 1 and right <= whole[1] + 1 and bottom >= whole[2] - 1 and top <= whole[3] + 1
    if inside and 2 * (right - left) > x1 - x0 and 2 * (top - bottom) > y1 - y0:
        return whole
    return left, max(right, left + 1), bottom, max(top, bottom + 1)
