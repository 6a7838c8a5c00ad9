"""Vignets of a block's objects from the CCDs that saw them (behaviour specification, section 9, with its fixes).

The CCDs are gone through one by one, so that the pixels of only one of them are in memory beside the stamps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal

import numpy as np
from pydantic import field_validator, model_validator

from shapempi.flags import PixelFlag
from shapempi.ids import CcdId
from shapempi.kernels import _vignet
from shapempi.measure.neighbours import NEIGHBOURS, TileSegmentation, flag_neighbours
from shapempi.params import Params, key
from shapempi.psf import PsfModel
from shapempi.vignet import VignetStacks
from shapempi.wcs import Wcs

__all__ = [
    "DROPPED_DTYPE",
    "CcdSection",
    "CutVignets",
    "Dropped",
    "VignetParams",
    "cut_stacks",
    "section_box",
    "segmentation_box",
]


class VignetParams(Params):
    """Vignets of the galaxies."""

    size: int = key(51, "Side of the vignets; odd.", unit="pixel", ge=11, le=501)
    neighbours: Literal["none", "mask", "uberseg"] = key(
        "mask",
        "Pixels that an object loses to the others in the tile's segmentation: none; mask, the others' own; uberseg, "
        "also those that are nearer to one of these than to the object's.",
    )

    @model_validator(mode="before")
    @classmethod
    def _older_key(cls, values: Any) -> Any:
        """Take mask_neighbours = true or false of older configurations."""
        if not isinstance(values, Mapping) or "mask_neighbours" not in values:
            return values
        values = dict(values)
        old = values.pop("mask_neighbours")
        if not isinstance(old, bool) or "neighbours" in values:
            raise ValueError('the key vignet.mask_neighbours is older: give neighbours = "mask" or "none" in its place')
        return {**values, "neighbours": "mask" if old else "none"}

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
DROPPED_DTYPE = np.dtype([("object", "i4"), ("exposure", "i8"), ("ccd", "i4"), ("reason", "i2")])


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
    """Return the section of a tile that the neighbours of vignets at some positions may be in.

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
        Size, and what neighbours take.
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
    neighbours = None
    if segmentation is not None:
        neighbours = NEIGHBOURS[params.neighbours](number, segmentation, size, n_threads=n_threads)
    for section in sections:
        rows = np.flatnonzero((epochs["exposure"] == section.ccd.exposure) & (epochs["ccd"] == section.ccd.ccd))
        rows = stamps.fill(rows, section, xc[rows], yc[rows], reason, n_threads)
        if len(rows) == 0:
            continue
        x, y = epochs["x"][rows], epochs["y"][rows]
        stamps.jacobian[rows] = section.wcs.jacobian(x, y)
        if section.psf is not None:
            stamps.psf[rows] = section.psf.draw(x, y, size, n_threads=n_threads)
        if neighbours is not None:
            flag_neighbours(stamps.flag, rows, neighbours, epochs["object"], stamps.jacobian, stamps.offset)
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
        exposure=np.ascontiguousarray(epochs["exposure"][kept], dtype=np.int64),
        ccd=np.ascontiguousarray(epochs["ccd"][kept], dtype=np.int32),
    )
    return CutVignets(stacks, dropped)
