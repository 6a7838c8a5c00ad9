"""The mask plane of an image: bright stars, border, deep-sky objects, bad weights and the observatory's flags.

Behaviour specification, sections 4.2 and 4.3.  Bits are combined with OR, so overlapping regions keep their meaning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shapempi.flags import PixelFlag
from shapempi.image import Image
from shapempi.kernels import _mask
from shapempi.measure.mask_template import StarTemplate, halo_vertices, spike_vertices
from shapempi.measure.sky_object import BrightStars, DeepSky, place_stars
from shapempi.params import Params, key
from shapempi.wcs import Wcs

__all__ = ["BrightStars", "MaskParams", "MaskPlane", "bright_stars", "make_mask"]

#: Rows handled at a time, so that temporaries stay small on a tile.
ROWS = 512


class MaskParams(Params):
    """What is masked and how far; the defaults are those of single exposures."""

    border_width: int = key(
        50, "Rows and columns flagged along each side of the part with sky; 0 flags none.", unit="pixel", ge=0
    )
    border_bit: int = key(int(PixelFlag.BORDER), "Bit of the border and of everything outside the part with sky.", ge=1)
    halo_make: bool = key(True, "Mask the halos of bright stars.")
    halo_mag_limit: float = key(13.0, "Stars brighter than this get a halo.", unit="mag")
    halo_scale_factor: float = key(0.05, "Growth of the halo per magnitude.", unit="1/mag", ge=0)
    halo_mag_pivot: float = key(13.8, "Magnitude at which the halo template has its own size.", unit="mag")
    halo_min_scale: float = key(0.05, "Smallest scale of the halo template.", gt=0)
    halo_bit: int = key(int(PixelFlag.HALO), "Bit of the halos.", ge=1)
    spike_make: bool = key(True, "Mask the diffraction spikes of bright stars.")
    spike_mag_limit: float = key(18.0, "Stars brighter than this get spikes.", unit="mag")
    spike_scale_factor: float = key(0.3, "Growth of the spikes per magnitude.", unit="1/mag", ge=0)
    spike_mag_pivot: float = key(13.8, "Magnitude at which the spike template has its own size.", unit="mag")
    spike_min_scale: float = key(0.05, "Smallest scale of the spike template.", gt=0)
    spike_bit: int = key(int(PixelFlag.SPIKE), "Bit of the spikes.", ge=1)
    messier_make: bool = key(True, "Mask Messier objects.")
    messier_size_plus: float = key(0.0, "Enlarge the ellipses of Messier objects by this fraction.", gt=-1)
    messier_bit: int = key(int(PixelFlag.MESSIER), "Bit of the Messier objects.", ge=1)
    ngc_make: bool = key(True, "Mask NGC and IC objects.")
    ngc_size_plus: float = key(0.0, "Enlarge the ellipses of NGC and IC objects by this fraction.", gt=-1)
    ngc_bit: int = key(int(PixelFlag.NGC), "Bit of the NGC and IC objects.", ge=1)
    missing_flag_ratio: float = key(
        0.3, "An image with at least this fraction of zero pixels is marked (MFLAG).", gt=0, le=1
    )
    missing_remove: bool = key(False, "Leave out images with too many zero pixels.")
    missing_remove_ratio: float = key(
        0.75, "With missing_remove: the fraction of zero pixels from which an image is left out.", gt=0, le=1
    )

    @property
    def halo(self) -> StarTemplate:
        """The template of the halos."""
        return StarTemplate(
            halo_vertices(), self.halo_mag_limit, self.halo_scale_factor, self.halo_mag_pivot, self.halo_min_scale
        )

    @property
    def spike(self) -> StarTemplate:
        """The template of the spikes."""
        return StarTemplate(
            spike_vertices(), self.spike_mag_limit, self.spike_scale_factor, self.spike_mag_pivot, self.spike_min_scale
        )

    def templates(self) -> list[tuple[StarTemplate, int]]:
        """Return the templates in use, each with its bit."""
        return [
            (template, bit)
            for make, template, bit in (
                (self.halo_make, self.halo, self.halo_bit),
                (self.spike_make, self.spike, self.spike_bit),
            )
            if make
        ]

    def reach(self, mag: np.ndarray) -> np.ndarray:
        """Return how far the mask of a star of each magnitude extends [pixel]; -inf where it has none."""
        reach = np.full(np.shape(mag), -np.inf)
        for template, _ in self.templates():
            reach = np.maximum(reach, template.reach(mag))
        return reach


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
    """

    plane: np.ndarray
    fractions: dict[str, float]
    missing_ratio: float
    missing: bool
    remove: bool
    n_star: int

    def compact(self) -> np.ndarray:
        """Return the plane [y, x] in the smallest of uint8, int16 and int32 that holds it: a tile's saves 300 MB."""
        low, high = (int(value) for value in (self.plane.min(initial=0), self.plane.max(initial=0)))
        for dtype in (np.uint8, np.int16):
            if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
                return self.plane.astype(dtype)
        return self.plane


def bright_stars(
    ra: np.ndarray, dec: np.ndarray, mag: np.ndarray, wcs: Wcs, shape: tuple[int, int], params: MaskParams
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
    params : MaskParams
        The templates in use.

    Returns
    -------
    BrightStars
        Stars inside the image and those outside it by less than the reach of their template.
    """
    return place_stars(ra, dec, mag, params.reach(mag), wcs, shape)


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
    counts = dict.fromkeys([*bits, "EXTERNAL", "ANY"], 0)
    for y in range(0, plane.shape[0], ROWS):
        rows = plane[y : y + ROWS]
        for name, bit in bits.items():
            counts[name] += int(np.count_nonzero(rows & bit))
        counts["EXTERNAL"] += int(np.count_nonzero(external[y : y + ROWS]))
        counts["ANY"] += int(np.count_nonzero(rows))
    return {name: count / max(plane.size, 1) for name, count in counts.items()}


def make_mask(
    image: Image,
    stars: BrightStars,
    params: MaskParams,
    *,
    upside_down: bool,
    deep_sky: Sequence[DeepSky] = (),
    n_threads: int = 1,
) -> MaskPlane:
    """Make the mask plane of an image (behaviour specification, section 4.2 with the fixes of 4.3).

    Parameters
    ----------
    image : Image
        The image or a section of it.
    stars : BrightStars
        Bright stars in full-image pixels, those outside whose template reaches in included.
    params : MaskParams
        What is masked.
    upside_down : bool
        Whether the CCD is read out upside down: the star templates are rotated by 180 degrees.
    deep_sky : sequence of DeepSky, optional
        Ellipses of extended objects in full-image pixels.
    n_threads : int, optional
        Threads of the kernels; the result does not depend on it.

    Returns
    -------
    MaskPlane
        The plane and its statistics.
    """
    ny, nx = image.data.shape
    oy, ox = image.origin
    # A writable copy in native byte order: the observatory's bits are the start of the OR.
    plane = np.array(image.flag, dtype=np.int32, order="C")
    _flag_unusable(plane, image)
    _flag_border(plane, image, params.border_width, params.border_bit)
    x, y = stars.x - ox, stars.y - oy
    for template, bit in params.templates():
        vertices, first = template.polygons(x, y, stars.mag, (ny, nx), upside_down=upside_down)
        if len(first) > 1:
            _mask.fill_polygons(plane, vertices, first, bit, n_threads=n_threads)
    catalogues = {
        PixelFlag.MESSIER: (params.messier_make, params.messier_size_plus, params.messier_bit),
        PixelFlag.NGC: (params.ngc_make, params.ngc_size_plus, params.ngc_bit),
    }
    for objects in deep_sky:
        make, plus, bit = catalogues[objects.kind]
        if make and len(objects.x):
            size = 1.0 + plus
            _mask.fill_ellipses(
                plane,
                objects.x - ox,
                objects.y - oy,
                objects.a * size,
                objects.b * size,
                objects.theta,
                bit,
                n_threads=n_threads,
            )
    sky = image.data[_sky_part(image)]
    missing_ratio = float(np.count_nonzero(sky == 0) / max(sky.size, 1))
    bits = {
        "WEIGHT": int(PixelFlag.WEIGHT),
        "HALO": params.halo_bit,
        "BORDER": params.border_bit,
        "MESSIER": params.messier_bit,
        "NGC": params.ngc_bit,
        "SPIKE": params.spike_bit,
    }
    return MaskPlane(
        plane=plane,
        fractions=_fractions(plane, image.flag, bits),
        missing_ratio=missing_ratio,
        missing=missing_ratio >= params.missing_flag_ratio,
        remove=params.missing_remove and missing_ratio >= params.missing_remove_ratio,
        n_star=len(stars.x),
    )
