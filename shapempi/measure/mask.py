"""The mask plane of an image: bright stars, border, deep-sky objects, bad weights and the observatory's flags.

Behaviour specification, sections 4.2 and 4.3.  Bits are combined with OR, so overlapping regions keep their meaning.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from shapempi.flags import PixelFlag
from shapempi.image import Image
from shapempi.kernels import _mask
from shapempi.measure.mask_params import MaskParams
from shapempi.measure.mask_recipe import MaskRecipe
from shapempi.measure.sky_object import BrightStars, place_stars
from shapempi.wcs import Wcs

__all__ = ["BrightStars", "MaskParams", "MaskPlane", "MaskRecipe", "bright_stars", "make_mask"]

#: Rows handled at a time, so that temporaries stay small on a tile.
ROWS = 512


@dataclass(frozen=True)
class MaskPlane:
    """The mask of one image and what it covers.

    Attributes
    ----------
    plane : ndarray of int32 [y, x]
        Flag bits (`PixelFlag`, or the bits set in `MaskParams`) OR-ed with the observatory's; 0 is good.
    fractions : dict of str to float
        Fraction of the plane's pixels with each bit, by `PixelFlag` name; `EXTERNAL`: with an observatory's flag;
        `ANY`: with any bit.
    missing_ratio : float
        Fraction of pixels that are exactly zero in the part with sky (MRATIO).
    missing : bool
        Whether that is at or above `missing_flag_ratio` (MFLAG).
    remove : bool
        Whether the image is to be left out for missing pixels.
    n_star : int
        Number of bright stars that were given.
    counts : dict of str to int
        Number of polygons (`HALO`, `SPIKE`) and ellipses (`MESSIER`, `NGC`) that reach into the image.
    bits : dict of str to int
        The bits of each kind of mask, by `PixelFlag` name.
    """

    plane: np.ndarray
    fractions: dict[str, float]
    missing_ratio: float
    missing: bool
    remove: bool
    n_star: int
    counts: dict[str, int] = field(default_factory=dict)
    bits: dict[str, int] = field(default_factory=dict)

    def compact(self) -> np.ndarray:
        """Return the plane [y, x] in the smallest of uint8, int16 and int32 that holds it: a tile's saves 300 MB."""
        low, high = (int(value) for value in (self.plane.min(initial=0), self.plane.max(initial=0)))
        for dtype in (np.uint8, np.int16):
            if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
                return self.plane.astype(dtype)
        return self.plane


def bright_stars(
    ra: np.ndarray, dec: np.ndarray, mag: np.ndarray, wcs: Wcs, shape: tuple[int, int], recipe: MaskRecipe
) -> BrightStars:
    """Select the stars of a sky catalogue whose mask can touch an image.

    Parameters
    ----------
    ra, dec : ndarray of float64 [n]
        Positions [deg].
    mag : ndarray of float64 [n]
        Magnitudes; NaN where there is none.
    wcs : Wcs
        WCS of the full image.
    shape : tuple of int
        (ny, nx) of the full image.
    recipe : MaskRecipe
        The templates in use.

    Returns
    -------
    BrightStars
        Stars inside the image and those outside it by less than the reach of their template.
    """
    scale = wcs.pixel_scale((shape[1] - 1) / 2, (shape[0] - 1) / 2)
    return place_stars(ra, dec, mag, recipe.reach(mag, scale), wcs, shape)


def _sky_part(image: Image) -> tuple[slice, slice]:
    """Return the slices (y, x) of the valid box in the pixels of this section; empty where they do not meet."""
    y0, y1, x0, x1 = image.valid_box
    ny, nx = image.data.shape
    oy, ox = image.origin
    rows = slice(min(max(y0 - oy, 0), ny), max(min(y1 - oy, ny), 0))
    columns = slice(min(max(x0 - ox, 0), nx), max(min(x1 - ox, nx), 0))
    return rows, columns


def _flag_border(plane: np.ndarray, image: Image, width: int, bit: int) -> None:
    """Flag what is outside the valid box, or inside it and closer than `width` to its sides."""
    y0, y1, x0, x1 = image.valid_box
    oy, ox = image.origin
    y = np.arange(plane.shape[0]) + oy
    x = np.arange(plane.shape[1]) + ox
    plane[(y < y0 + width) | (y >= y1 - width), :] |= bit
    plane[:, (x < x0 + width) | (x >= x1 - width)] |= bit


def _flag_unusable(plane: np.ndarray, image: Image) -> None:
    """Flag pixels whose weight is not positive and finite, or whose value is not finite."""
    for y in range(0, plane.shape[0], ROWS):
        rows = slice(y, y + ROWS)
        weight = image.weight[rows]
        usable = (weight > 0) & np.isfinite(weight) & np.isfinite(image.data[rows])
        plane[rows][~usable] |= int(PixelFlag.WEIGHT)


def _fractions(plane: np.ndarray, external: np.ndarray, bits: dict[str, int]) -> dict[str, float]:
    """Return the fraction of pixels with each bit."""
    counts = _mask.count_bits(plane, np.array([*bits.values(), -1], np.int32)).tolist()
    counts.insert(-1, np.count_nonzero(external))
    return {name: n / max(plane.size, 1) for name, n in zip([*bits, "EXTERNAL", "ANY"], counts, strict=True)}


def make_mask(image: Image, stars: BrightStars, recipe: MaskRecipe, *, n_threads: int = 1) -> MaskPlane:
    """Make the mask plane of an image (behaviour specification, section 4.2 with the fixes of 4.3).

    Parameters
    ----------
    image : Image
        The image or a section of it.
    stars : BrightStars
        Bright stars in full-image pixels, those outside whose template reaches in included.
    recipe : MaskRecipe
        What is masked.
    n_threads : int, optional
        Threads of the kernels; the result does not depend on it.

    Returns
    -------
    MaskPlane
        The plane and its statistics.

    Raises
    ------
    DataError
        If the WCS says nothing about the centre of the image.
    """
    params = recipe.params
    oy, ox = image.origin
    # A writable copy in native byte order: the observatory's bits are the start of the OR.
    plane = np.array(image.flag, dtype=np.int32, order="C")
    _flag_unusable(plane, image)
    _flag_border(plane, image, params.border_width, params.border_bit)
    counts = dict.fromkeys(("HALO", "SPIKE", "MESSIER", "NGC"), 0)
    for some in recipe.polygons(stars, image.wcs, image.full_shape, image.origin, plane.shape):
        _mask.fill_polygons(plane, some.vertices, some.first, some.bit, n_threads=n_threads)
        counts[str(some.kind.name)] += len(some.first) - 1
    for bit, objects in recipe.ellipses(image.wcs, image.full_shape):
        place = (objects.x - ox, objects.y - oy, objects.a, objects.b, objects.theta)
        _mask.fill_ellipses(plane, *place, bit, n_threads=n_threads)
        counts[str(objects.kind.name)] += len(objects.x)
    sky = image.data[_sky_part(image)]
    missing_ratio = float(np.count_nonzero(sky == 0) / max(sky.size, 1))
    return MaskPlane(
        plane=plane,
        fractions=_fractions(plane, image.flag, params.bits),
        missing_ratio=missing_ratio,
        missing=missing_ratio >= params.missing_flag_ratio,
        remove=params.missing_remove and missing_ratio >= params.missing_remove_ratio,
        n_star=len(stars.x),
        counts=counts,
        bits=params.bits,
    )
