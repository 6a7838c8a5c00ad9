"""Where the CCDs lie in the focal plane: panels of maps, and places of stars, as the camera's pixels run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import field_validator

from shapempi.camera import Camera
from shapempi.description import cfis_camera
from shapempi.params import Params, key

__all__ = ["CameraLayout", "LayoutParams", "Panel", "layout_of"]

#: Gap between the panels of a camera whose mosaic is not known, as a fraction of a CCD.
_PLAIN_GAP = 0.04

#: Names of the directions on the sky.
_DIRECTIONS = {"N": "North", "E": "East", "S": "South", "W": "West"}

#: Name of a layout by the numbers of the CCDs.
_GRID = "grid"


class LayoutParams(Params):
    """How the CCDs are laid out."""

    camera: Literal["survey", "grid"] = key(
        "survey",
        "Whose mosaic: that of [input.camera], or panels by the number of the CCD; a CCD that the camera lacks means a "
        "grid.",
    )
    section: tuple[int, int, int, int] | None = key(
        None,
        "First and last column and row of a CCD that see the sky, 1-based; if not given, the camera's or where stars "
        "are.",
    )

    @field_validator("camera", mode="before")
    @classmethod
    def _older_name(cls, camera: Any) -> Any:
        """Take the name that older configurations have for the survey's camera."""
        return "survey" if camera == "megacam" else camera


@dataclass(frozen=True)
class Panel:
    """The place of one CCD.

    Attributes
    ----------
    ccd : int
        Its number.
    row, column : float
        Place in the mosaic, rows from top to bottom, columns from left to right.
    upside_down : bool
        Whether its rows and columns run down and left instead of up and right.
    x, y : float
        Its centre [pixel] from the centre of the mosaic.
    """

    ccd: int
    row: float
    column: float
    upside_down: bool
    x: float
    y: float


@dataclass(frozen=True)
class CameraLayout:
    """The mosaic.

    The pixel frame of a CCD and the frame of the focal plane (x to the right, y up) differ by a rotation by 0 or 180
    degrees, which leaves shears as they are.

    Attributes
    ----------
    name : str
        That of the camera, or "grid".
    n_row, n_column : int
        Rows and columns of panels.
    panels : tuple of Panel
        One per CCD, by number.
    section : tuple of int
        x0, x1, y0, y1: first and last pixel of a CCD that see the sky, 1-based.
    axes : tuple of str
        Where right and up lead on the sky: N, E, S or W each.
    """

    name: str
    n_row: int
    n_column: int
    panels: tuple[Panel, ...]
    section: tuple[int, int, int, int]
    axes: tuple[str, str] = ("W", "N")

    @property
    def known(self) -> bool:
        """Whether the panels lie as the CCDs do on the sky."""
        return self.name != _GRID

    @property
    def directions(self) -> tuple[str, str]:
        """Where right and up lead on the sky, in words."""
        return _DIRECTIONS[self.axes[0]], _DIRECTIONS[self.axes[1]]

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
        """Return +1 for CCDs whose x runs to the right and y up, -1 for those upside down, float [n]."""
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
        x, y : ndarray of float64 [n]
            To the right and up from the centre of the mosaic [pixel].
        """
        x0, x1, y0, y1 = self.section
        centres = np.array([(panel.x, panel.y) for panel in self.panels]).reshape(-1, 2)[self.index_of(ccd)]
        sign = self.sign_of(ccd)
        right = centres[:, 0] + sign * (np.asarray(x, dtype=float) - (x0 + x1) / 2)
        up = centres[:, 1] + sign * (np.asarray(y, dtype=float) - (y0 + y1) / 2)
        return right, up


def layout_of(
    ccds: Sequence[int], x: np.ndarray, y: np.ndarray, params: LayoutParams, camera: Camera | None = None
) -> CameraLayout:
    """Return the mosaic of a camera.

    Parameters
    ----------
    ccds : sequence of int
        CCDs that there are.  A known mosaic has all its panels whether they have stars or not.
    x, y : ndarray of float [n]
        Places of stars [pixel], 1-based: if no section is given it is the camera's, provided that all stars are inside
        and reach across half of it, or the box around all stars.
    params : LayoutParams
        Kind of layout, and section.
    camera : Camera, optional
        The survey's camera; MegaCam by default.
    """
    camera = camera or cfis_camera()
    section = params.section or _section(x, y, camera)
    x0, x1, y0, y1 = section
    shape = (y1 - y0 + 1, x1 - x0 + 1)
    numbers = sorted({int(ccd) for ccd in ccds})
    if params.camera != _GRID and camera.places and set(numbers) <= set(camera.ccds):
        return CameraLayout(camera.name, camera.n_row, camera.n_column, _panels(shape, camera), section, camera.axes)
    n_column = max(math.ceil(math.sqrt(len(numbers))), 1)
    n_row = max(math.ceil(len(numbers) / n_column), 1)
    panels = []
    for i, ccd in enumerate(numbers):
        row, column = divmod(i, n_column)
        right = (column - (n_column - 1) / 2) * shape[1] * (1 + _PLAIN_GAP)
        up = ((n_row - 1) / 2 - row) * shape[0] * (1 + _PLAIN_GAP)
        panels.append(Panel(ccd, row, column, False, right, up))
    return CameraLayout(_GRID, n_row, n_column, tuple(panels), section)


def _panels(shape: tuple[int, int], camera: Camera) -> tuple[Panel, ...]:
    """Return a camera's panels for CCDs of this shape, its gaps in proportion."""
    ny, nx = camera.shape
    gap_x, gap_middle, gap_y = camera.gaps
    gaps = (gap_x * shape[1] / nx, gap_middle * shape[0] / ny, gap_y * shape[0] / ny)
    return tuple(
        Panel(place.ccd, place.row, place.column, place.upside_down, *place.centre(shape, gaps))
        for place in camera.places
    )


def _section(x: np.ndarray, y: np.ndarray, camera: Camera) -> tuple[int, int, int, int]:
    """Find the part of a CCD that sees the sky from the places of stars."""
    y0, y1, x0, x1 = camera.box
    whole = (x0 + 1, max(x1, x0 + 1), y0 + 1, max(y1, y0 + 1))
    if not len(x):
        return whole
    left, right = math.floor(float(x.min())), math.ceil(float(x.max()))
    bottom, top = math.floor(float(y.min())), math.ceil(float(y.max()))
    inside = left >= whole[0] - 1 and right <= whole[1] + 1 and bottom >= whole[2] - 1 and top <= whole[3] + 1
    if camera.section and inside and 2 * (right - left) > x1 - x0 and 2 * (top - bottom) > y1 - y0:
        return whole
    return left, max(right, left + 1), bottom, max(top, bottom + 1)
