"""Vignets of a block's objects from the CCDs that saw them (behaviour specification, section 9, with its fixes).

The CCDs are gone through one by one, so that the pixels of only one of them are in memory beside the stamps.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from pydantic import field_validator

from shapempi.flags import PixelFlag
from shapempi.ids import CcdId
from shapempi.kernels import _vignet
from shapempi.params import Params, key
from shapempi.psf import PsfModel
from shapempi.vignet import VignetStacks
from shapempi.wcs import Wcs

__all__ = [
    "DROPPED_DTYPE",
    "CcdSection",
    "CutVignets",
    "Dropped",
    "TileSegmentation",
    "VignetParams",
    "cut_stacks",
    "section_box",
    "segmentation_box",
]

#: Epochs whose neighbour masks are projected at once: bounds the memory.
_CHUNK = 128


class VignetParams(Params):
    """Vignets of the galaxies."""

    size: int = key(51, "Side of the vignets; odd.", unit="pixel", ge=11, le=501)
    mask_neighbours: bool = key(True, "Whether pixels of other objects in the tile's segmentation are flagged.")

    @field_validator("size")
    @classmethod
    def _odd(cls, size: int) -> int:
        """Refuse a vignet without a central pixel."""
        if size % 2 == 0:
            raise ValueError("the size must be odd")
        return size


class Dropped(IntEnum):
    """Why an epoch that covers an object has no vignet."""

    CENTRE_OUTSIDE = 1
    NO_SECTION = 2


#: An epoch without a vignet: index of the object, the CCD, and the reason (`Dropped`).
DROPPED_DTYPE = np.dtype([("object", "i4"), ("exposure", "i4"), ("ccd", "i4"), ("reason", "i2")])


@dataclass(frozen=True)
class CcdSection:
    """A section of one CCD with all that the vignets in it need.

    Attributes
    ----------
    ccd : CcdId
        Which CCD.
    origin : tuple of int
        (y0, x0): pixel of the CCD at element [0, 0].
    data : ndarray of float32 [y, x]
        Counts, background included.
    weight : ndarray of float32 [y, x]
        Inverse variance of `data`.
    flag : ndarray of int32 [y, x]
        Mask plane; 0 is good.
    background : ndarray of float32 [y, x]
        Background of `data`.
    valid_box : tuple of int
        (y0, y1, x0, x1), half open, in pixels of the CCD: pixels outside it count as outside the image.
    flux_scale : float
        Factor that brings counts to the survey's common zero point.
    wcs : Wcs
        The CCD's WCS.
    psf : PsfModel or None
        The CCD's PSF; None leaves all-zero PSF stamps.
    """

    ccd: CcdId
    origin: tuple[int, int]
    data: np.ndarray
    weight: np.ndarray
    flag: np.ndarray
    background: np.ndarray
    valid_box: tuple[int, int, int, int]
    flux_scale: float
    wcs: Wcs
    psf: PsfModel | None


@dataclass(frozen=True)
class TileSegmentation:
    """Which pixel of the tile belongs to which object, around the objects of a block.

    Attributes
    ----------
    plane : ndarray of int32 [y, x]
        Numbers of the objects; 0 is sky.  At least the section `segmentation_box`.
    origin : tuple of int
        (y0, x0): pixel of the tile at element [0, 0].
    wcs : Wcs
        The tile's WCS.
    x, y : ndarray of float64 [n_object]
        Positions of the block's objects on the tile [pixel, 0-based].
    """

    plane: np.ndarray
    origin: tuple[int, int]
    wcs: Wcs
    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class CutVignets:
    """The vignets of a block.

    Attributes
    ----------
    stacks : VignetStacks
        One entry per object in the given order, also for objects without epoch.
    dropped : ndarray of DROPPED_DTYPE
        The epochs that have no vignet, and why.
    """

    stacks: VignetStacks
    dropped: np.ndarray


def section_box(x: np.ndarray, y: np.ndarray, size: int, shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the section of an image that holds the vignets at some positions.

    Parameters
    ----------
    x, y : ndarray of float64 [n]
        Positions [pixel, 0-based]; at least one.
    size : int
        Side of the vignets [pixel].
    shape : tuple of int
        (ny, nx) of the image.

    Returns
    -------
    tuple of int
        (y0, y1, x0, x1), half open, cut to the image.
    """
    half = size // 2
    edges = []
    for values, length in ((y, shape[0]), (x, shape[1])):
        low = min(max(int(np.rint(np.min(values))) - half, 0), length - 1)
        high = max(min(int(np.rint(np.max(values))) + half + 1, length), low + 1)
        edges += [low, high]
    return edges[0], edges[1], edges[2], edges[3]


def segmentation_box(x: np.ndarray, y: np.ndarray, size: int, shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the section of a tile that the neighbour masks of vignets at some positions may ask for.

    A vignet of a CCD, turned and scaled to the tile, reaches farther than one of the tile: `size` pixels are allowed
    for on all sides of the object, and beyond them nothing is a neighbour, whatever else a section holds.

    Parameters
    ----------
    x, y : ndarray of float64 [n]
        Positions on the tile [pixel, 0-based]; at least one.
    size : int
        Side of the vignets [pixel of the CCD].
    shape : tuple of int
        (ny, nx) of the tile.

    Returns
    -------
    tuple of int
        (y0, y1, x0, x1), half open, cut to the tile.
    """
    return section_box(x, y, 2 * size + 1, shape)


def cut_stacks(
    number: np.ndarray,
    epochs: np.ndarray,
    sections: Iterable[CcdSection],
    params: VignetParams,
    *,
    place: np.ndarray | None = None,
    segmentation: TileSegmentation | None = None,
    n_threads: int = 1,
) -> CutVignets:
    """Cut the vignets of a block's objects.

    The image is (data - background) flux_scale, the weight is divided by flux_scale^2.  Stamp pixels outside the
    section or the valid box have image 0, weight 0 and the flag BORDER.  A vignet is not resampled: its centre is the
    pixel nearest to the object, and the offset from it is stored.

    Parameters
    ----------
    number : ndarray of int [n_object]
        Numbers of the objects in their tile.
    epochs : ndarray of EPOCH_DTYPE
        Epochs of these objects (`object` counts in `number`), sorted by object, then CCD.
    sections : iterable of CcdSection
        The CCDs, in any order, each at most once; a generator keeps only one in memory.  Each must hold all pixels of
        the CCD that its vignets reach (`section_box`).
    params : VignetParams
        Size, and whether neighbours are flagged.
    place : ndarray of int [n_object], optional
        The tile's cells that the objects are in (`VignetStacks.place`); their numbers by default.
    segmentation : TileSegmentation, optional
        The tile's segmentation; without it no neighbour is flagged.
    n_threads : int, optional
        Threads of the kernels; the result does not depend on it.

    Returns
    -------
    CutVignets
        Stacks, and what was dropped.
    """
    size, n_epoch = params.size, len(epochs)
    number = np.asarray(number, dtype=np.int32)
    xc, yc = np.rint(epochs["x"]), np.rint(epochs["y"])
    stamps = _Stamps(
        image=np.zeros((n_epoch, size, size), np.float32),
        weight=np.zeros((n_epoch, size, size), np.float32),
        flag=np.zeros((n_epoch, size, size), np.int32),
        psf=np.zeros((n_epoch, size, size)),
        jacobian=np.zeros((n_epoch, 4)),
        # From positions on the whole CCD: a section's own coordinates would round differently.
        offset=np.stack([epochs["x"] - xc, epochs["y"] - yc], axis=-1),
    )
    reason = np.full(n_epoch, Dropped.NO_SECTION, dtype=np.int16)
    tile_jacobian = None
    if segmentation is not None and params.mask_neighbours:
        tile_jacobian = segmentation.wcs.jacobian(segmentation.x, segmentation.y)
    for section in sections:
        rows = np.flatnonzero((epochs["exposure"] == section.ccd.exposure) & (epochs["ccd"] == section.ccd.ccd))
        rows = stamps.fill(rows, section, xc[rows], yc[rows], reason, n_threads)
        if len(rows) == 0:
            continue
        x, y = epochs["x"][rows], epochs["y"][rows]
        stamps.jacobian[rows] = section.wcs.jacobian(x, y)
        if section.psf is not None:
            stamps.psf[rows] = section.psf.draw(x, y, size, n_threads=n_threads)
        if segmentation is not None and tile_jacobian is not None:
            _flag_neighbours(stamps, rows, epochs["object"][rows], number, segmentation, tile_jacobian)
    return _assemble(number, number if place is None else place, epochs, stamps, reason)


@dataclass(frozen=True)
class _Stamps:
    """The arrays of all epochs while they are filled CCD by CCD."""

    image: np.ndarray
    weight: np.ndarray
    flag: np.ndarray
    psf: np.ndarray
    jacobian: np.ndarray
    offset: np.ndarray

    def fill(
        self, rows: np.ndarray, section: CcdSection, xc: np.ndarray, yc: np.ndarray, reason: np.ndarray, n_threads: int
    ) -> np.ndarray:
        """Cut the stamps of one CCD; sets the reason of its rows (0 is cut) and returns those that were cut."""
        bottom, top, left, right = section.valid_box
        y0, x0 = section.origin
        ny, nx = section.data.shape
        valid = (xc >= max(left, x0)) & (xc < min(right, x0 + nx)) & (yc >= max(bottom, y0)) & (yc < min(top, y0 + ny))
        reason[rows] = np.where(valid, 0, Dropped.CENTRE_OUTSIDE)
        kept = rows[valid]
        stamps, _, _, _, _ = _vignet.cut(
            _planes(section),
            np.ascontiguousarray(xc[valid] - x0),
            np.ascontiguousarray(yc[valid] - y0),
            self.image.shape[1],
            fill=(0, 0, int(PixelFlag.BORDER)),
            n_threads=n_threads,
        )
        self.image[kept], self.weight[kept], self.flag[kept] = stamps
        return kept


def _planes(section: CcdSection) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return image, weight and flag of a section at the common zero point, blank outside the valid box."""
    scale = np.float32(section.flux_scale)
    image = (section.data - section.background) * scale
    weight = section.weight / (scale * scale)
    outside = np.ones(image.shape, dtype=bool)
    y0, x0 = section.origin
    bottom, top, left, right = section.valid_box
    outside[max(bottom - y0, 0) : max(top - y0, 0), max(left - x0, 0) : max(right - x0, 0)] = False
    image[outside] = 0
    weight[outside] = 0
    flag = np.where(outside, section.flag | int(PixelFlag.BORDER), section.flag)
    return (
        image.astype(np.float32, copy=False),
        weight.astype(np.float32, copy=False),
        flag.astype(np.int32, copy=False),
    )


def _flag_neighbours(
    stamps: _Stamps,
    rows: np.ndarray,
    objects: np.ndarray,
    number: np.ndarray,
    segmentation: TileSegmentation,
    tile_jacobian: np.ndarray,
) -> None:
    """Set NEIGHBOUR on the stamp pixels that lie on another object's pixels in the tile.

    Stamp pixel -> sky -> tile pixel by the two local Jacobians at the object; the nearest tile pixel decides.
    """
    size = stamps.image.shape[1]
    half = size // 2
    grid = np.arange(-half, half + 1, dtype=float)
    y0, x0 = segmentation.origin
    ny, nx = segmentation.plane.shape
    padded = np.pad(segmentation.plane, 1).ravel()  # positions off the section are sky
    for start in range(0, len(rows), _CHUNK):
        part, of = rows[start : start + _CHUNK], objects[start : start + _CHUNK]
        ccd_dudx, ccd_dudy, ccd_dvdx, ccd_dvdy = stamps.jacobian[part].T
        dudx, dudy, dvdx, dvdy = tile_jacobian[of].T
        determinant = dudx * dvdy - dudy * dvdx
        tile_x_x = (dvdy * ccd_dudx - dudy * ccd_dvdx) / determinant
        tile_x_y = (dvdy * ccd_dudy - dudy * ccd_dvdy) / determinant
        tile_y_x = (dudx * ccd_dvdx - dvdx * ccd_dudx) / determinant
        tile_y_y = (dudx * ccd_dvdy - dvdx * ccd_dudy) / determinant
        dx = grid - stamps.offset[part, 0, None]
        dy = grid - stamps.offset[part, 1, None]
        column = _pixel(segmentation.x[of], tile_x_x[:, None] * dx, tile_x_y[:, None] * dy, size, x0, nx)
        row = _pixel(segmentation.y[of], tile_y_x[:, None] * dx, tile_y_y[:, None] * dy, size, y0, ny)
        row *= nx + 2
        row += column
        owner = padded.take(row)
        foreign = (owner != 0) & (owner != number[of][:, None, None])
        found = foreign.any(axis=(1, 2))
        stamps.flag[part[found]] |= foreign[found] * np.int32(PixelFlag.NEIGHBOUR)


def _pixel(
    centre: np.ndarray, along_x: np.ndarray, along_y: np.ndarray, reach: int, first: int, length: int
) -> np.ndarray:
    """Return the nearest pixel [n, y, x] in a padded axis: 0 and length + 1 are outside.

    So is what is more than `reach` pixels from the centre, where some sections would still hold the tile's pixels.
    """
    position = (along_y + centre[:, None])[:, :, None] + along_x[:, None, :]
    np.rint(position, out=position)
    position[np.abs(position - np.rint(centre)[:, None, None]) > reach] = -np.inf
    position -= first - 1
    np.clip(position, 0, length + 1, out=position)
    return position.astype(np.intp)


def _assemble(
    number: np.ndarray, place: np.ndarray, epochs: np.ndarray, stamps: _Stamps, reason: np.ndarray
) -> CutVignets:
    """Leave out the dropped epochs and index the rest by object."""
    kept = reason == 0
    lost = epochs[~kept]
    dropped = np.zeros(len(lost), dtype=DROPPED_DTYPE)
    for name in ("object", "exposure", "ccd"):
        dropped[name] = lost[name]
    dropped["reason"] = reason[~kept]
    rows = slice(None) if kept.all() else np.flatnonzero(kept)
    first = np.zeros(len(number) + 1, dtype=np.int64)
    np.cumsum(np.bincount(epochs["object"][kept], minlength=len(number)), out=first[1:])
    stacks = VignetStacks(
        number=number,
        place=np.asarray(place, dtype=np.int64),
        first=first,
        image=stamps.image[rows],
        weight=stamps.weight[rows],
        flag=stamps.flag[rows],
        psf=stamps.psf[rows],
        jacobian=stamps.jacobian[rows],
        offset=stamps.offset[rows],
        exposure=np.ascontiguousarray(epochs["exposure"][kept], dtype=np.int32),
        ccd=np.ascontiguousarray(epochs["ccd"][kept], dtype=np.int32),
    )
    return CutVignets(stacks, dropped)
