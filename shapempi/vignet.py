"""Vignets (postage stamps): the epochs of one object, and of many objects in one contiguous layout."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["VignetStack", "VignetStacks"]


@dataclass(frozen=True)
class VignetStack:
    """One object on the n CCDs that saw it, in the order of `CcdId`.

    Attributes
    ----------
    number : int
        The object's number in its tile, 1-based.
    place : int
        The cell of the tile that the object is in; it names the object's random numbers.
    image : ndarray of float32 [n, y, x]
        Background-subtracted counts at the survey's common zero point.
    weight : ndarray of float32 [n, y, x]
        Inverse variance of `image`; 0 is unusable.
    flag : ndarray of int32 [n, y, x]
        `PixelFlag` bits and the observatory's; 0 is good.
    psf : ndarray of float64 [n, y, x]
        PSF at the object, unit sum, centred on the stamp's centre; all zero where there is no PSF model.
    jacobian : ndarray of float64 [n, 4]
        dudx, dudy, dvdx, dvdy [arcsec/pixel], u West, v North.
    offset : ndarray of float64 [n, 2]
        dx, dy [pixel]: the object's position minus the centre of the stamp.
    exposure, ccd : ndarray of int64, int32 [n]
        Where each epoch comes from.
    """

    number: int
    place: int
    image: np.ndarray
    weight: np.ndarray
    flag: np.ndarray
    psf: np.ndarray
    jacobian: np.ndarray
    offset: np.ndarray
    exposure: np.ndarray
    ccd: np.ndarray


@dataclass(frozen=True)
class VignetStacks:
    """Many objects with ragged epochs in one contiguous layout.

    Attributes
    ----------
    number : ndarray of int32 [n_object]
        Object numbers in their tile.
    place : ndarray of int64 [n_object]
        The cell of the tile, a few pixels wide, that each object is in, as a non-negative index.  An object's random
        numbers are seeded by it and not by its number, which changes as soon as one detection more or less comes
        before it.
    first : ndarray of int64 [n_object + 1]
        Epochs of object i are rows first[i] to first[i + 1] of the arrays below.
    image, weight, flag, psf, jacobian, offset, exposure, ccd : ndarray
        As in `VignetStack`, for all epochs of all objects.
    """

    number: np.ndarray
    place: np.ndarray
    first: np.ndarray
    image: np.ndarray
    weight: np.ndarray
    flag: np.ndarray
    psf: np.ndarray
    jacobian: np.ndarray
    offset: np.ndarray
    exposure: np.ndarray
    ccd: np.ndarray

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self.number)

    def __getitem__(self, i: int) -> VignetStack:
        """Return the epochs of object i as views."""
        return VignetStack(
            number=int(self.number[i]),
            place=int(self.place[i]),
            **self._of_epochs(i, i + 1),
        )

    def part(self, begin: int, end: int) -> VignetStacks:
        """Return objects begin to end - 1 as views."""
        return VignetStacks(
            number=self.number[begin:end],
            place=self.place[begin:end],
            first=self.first[begin : end + 1] - self.first[begin],
            **self._of_epochs(begin, end),
        )

    def _of_epochs(self, begin: int, end: int) -> dict[str, np.ndarray]:
        """Return the arrays that have a row for each epoch, by name, for objects begin to end - 1."""
        rows = slice(int(self.first[begin]), int(self.first[end]))
        names = ("image", "weight", "flag", "psf", "jacobian", "offset", "exposure", "ccd")
        return {name: getattr(self, name)[rows] for name in names}
