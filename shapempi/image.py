"""One image with its weight, its flags and its WCS: a CCD of an exposure, a tile, or a section of either."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from shapempi.wcs import Wcs

__all__ = ["Image"]


@dataclass(frozen=True)
class Image:
    """Pixels of a CCD or a tile.

    Attributes
    ----------
    data : ndarray of float32 [y, x]
        Counts in ADU as the file has them.
    weight : ndarray of float32 [y, x]
        Inverse variance in ADU^-2; 0 is unusable.
    flag : ndarray of int32 [y, x]
        The observatory's flag bits; 0 is good.  All zero where there is no flag file.
    wcs : Wcs
        Maps pixels of the *full* image (not of the section) to the sky.
    origin : tuple of int
        (y0, x0): full-image pixel of element [0, 0], 0-based; (0, 0) unless this is a section.
    full_shape : tuple of int
        (ny, nx) of the full image.
    valid_box : tuple of int
        (y0, y1, x0, x1), half open, 0-based, in full-image pixels: the part with sky (DATASEC).
    gain : float
        Electrons per ADU; 0 means unknown or infinite.
    saturate : float
        Saturation level in ADU; inf when unknown.
    mag_zp : float
        Magnitude zero point of the image as it is, in mag.
    flux_scale : float
        Factor that brings counts to the survey's common zero point (FSCALE).
    header : str
        The FITS header as text, cards of 80 characters.
    path : str
        The file, for messages.
    epoch : float
        When it was taken [Julian year]; NaN unknown.
    background : float or None
        Level of the sky in the image [ADU], if its header is what says it; None where it is to be estimated.
    """

    data: np.ndarray
    weight: np.ndarray
    flag: np.ndarray
    wcs: Wcs
    origin: tuple[int, int]
    full_shape: tuple[int, int]
    valid_box: tuple[int, int, int, int]
    gain: float
    saturate: float
    mag_zp: float
    flux_scale: float
    header: str
    path: str
    epoch: float = math.nan
    background: float | None = None
