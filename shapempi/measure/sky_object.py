"""Objects of the sky that spoil pixels: bright stars and large nebulae and galaxies, in the pixels of one image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shapempi.errors import DataError
from shapempi.flags import PixelFlag
from shapempi.wcs import Wcs, angular_distance, tangent_offset

__all__ = ["BrightStars", "DeepSky", "DeepSkyTable", "deep_sky_ellipses", "place_stars"]

#: Extra radius [pixel] of every preselection on the sky: distortion and rounding never lose an object.
SLACK = 50.0


@dataclass(frozen=True)
class BrightStars:
    """Bright stars on and around one image.

    Attributes
    ----------
    x, y : ndarray of float64 [n]
        Pixel positions in the full image, 0-based; may lie outside it.
    mag : ndarray of float64 [n]
        Magnitudes.
    """

    x: np.ndarray
    y: np.ndarray
    mag: np.ndarray

    @classmethod
    def none(cls) -> BrightStars:
        """Return an empty set of stars."""
        return cls(np.empty(0), np.empty(0), np.empty(0))


@dataclass(frozen=True)
class DeepSky:
    """Ellipses of extended objects of one catalogue in the pixels of one image.

    Attributes
    ----------
    x, y : ndarray of float64 [n]
        Centres in the full image, 0-based; may lie outside it.
    a, b : ndarray of float64 [n]
        Semi-axes [pixel].
    theta : ndarray of float64 [n]
        Angle of the major axis from +x to +y [rad].
    kind : PixelFlag
        `PixelFlag.MESSIER` or `PixelFlag.NGC`: which catalogue, and so which bit.
    """

    x: np.ndarray
    y: np.ndarray
    a: np.ndarray
    b: np.ndarray
    theta: np.ndarray
    kind: PixelFlag


@dataclass(frozen=True)
class DeepSkyTable:
    """A catalogue of extended objects.

    Attributes
    ----------
    ra, dec : ndarray of float64 [n]
        Centres [deg].
    major, minor : ndarray of float64 [n]
        Semi-axes [arcsec]; a minor axis of NaN is unknown.
    angle : ndarray of float64 [n]
        Position angle of the major axis, East of North [deg]; NaN where unknown.
    kind : PixelFlag
        `PixelFlag.MESSIER` or `PixelFlag.NGC`: which catalogue, and so which bit.

    Raises
    ------
    DataError
        If `kind` is not one of the two catalogues that have a bit.
    """

    ra: np.ndarray
    dec: np.ndarray
    major: np.ndarray
    minor: np.ndarray
    angle: np.ndarray
    kind: PixelFlag

    def __post_init__(self) -> None:
        if self.kind not in (PixelFlag.MESSIER, PixelFlag.NGC):
            raise DataError(f"deep-sky objects are MESSIER or NGC, not {self.kind!r}")


def _near(ra: np.ndarray, dec: np.ndarray, reach: np.ndarray, wcs: Wcs, shape: tuple[int, int]) -> np.ndarray:
    """Return the indices of objects that may reach the image; `reach` is in pixels.

    The inverse of a distorted WCS diverges far from its image, so the first cut is on the sphere.
    """
    ny, nx = shape
    ra0, dec0, half_diagonal = wcs.circle(shape)
    scale = wcs.pixel_scale((nx - 1) / 2, (ny - 1) / 2) / 3600.0
    usable = np.isfinite(ra) & np.isfinite(dec) & np.isfinite(reach)
    distance = angular_distance(ra, dec, ra0, dec0)
    return np.flatnonzero(usable & (distance <= half_diagonal + (reach + SLACK) * scale))


def _touches(x: np.ndarray, y: np.ndarray, reach: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return whether the circle of each object (radius `reach` [pixel]) meets the image rectangle."""
    ny, nx = shape
    dx = np.maximum(np.maximum(-0.5 - x, x - (nx - 0.5)), 0.0)
    dy = np.maximum(np.maximum(-0.5 - y, y - (ny - 0.5)), 0.0)
    return np.hypot(dx, dy) <= reach


def place_stars(
    ra: np.ndarray, dec: np.ndarray, mag: np.ndarray, reach: np.ndarray, wcs: Wcs, shape: tuple[int, int]
) -> BrightStars:
    """Bring a sky catalogue of stars into the pixels of one image.

    Parameters
    ----------
    ra, dec : ndarray of float64 [n]
        Positions [deg].
    mag : ndarray of float64 [n]
        Magnitudes; stars without one (NaN) are left out.
    reach : ndarray of float64 [n]
        How far the mask of each star extends [pixel] (`MaskParams.reach`); not finite: no mask.
    wcs : Wcs
        WCS of the full image.
    shape : tuple of int
        (ny, nx) of the full image.

    Returns
    -------
    BrightStars
        The stars whose mask can touch the image, in catalogue order, inside and outside the image.
    """
    ra, dec, mag = (np.asarray(v, float) for v in (ra, dec, mag))
    near = _near(ra, dec, np.where(np.isfinite(mag), reach, np.nan), wcs, shape)
    x, y = wcs.sky_to_pixel(ra[near], dec[near])
    keep = _touches(x, y, reach[near], shape)
    return BrightStars(x[keep], y[keep], mag[near][keep])


def _place(ra: np.ndarray, dec: np.ndarray, wcs: Wcs, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return pixel positions [2, n], and the Jacobians [n, 4] there, of objects that may be degrees away.

    A distorted WCS says nothing about places far from its image: beyond one image's size from the image, its linear
    part at the image's centre takes its place.
    """
    ny, nx = shape
    centre = np.array([(nx - 1) / 2]), np.array([(ny - 1) / 2])
    u, v = tangent_offset(ra, dec, *(float(value[0]) for value in wcs.pixel_to_sky(*centre)))
    linear = wcs.jacobian(*centre)
    step = np.linalg.inv(linear.reshape(2, 2)) @ np.stack([u, v])
    x, y = centre[0] + step[0], centre[1] + step[1]
    jacobian = np.repeat(linear, len(x), axis=0)
    local = np.flatnonzero((np.abs(step[0]) < 1.5 * nx) & (np.abs(step[1]) < 1.5 * ny))
    exact = wcs.sky_to_pixel(ra[local], dec[local])
    found = np.isfinite(exact[0]) & np.isfinite(exact[1])
    local, exact = local[found], (exact[0][found], exact[1][found])
    x[local], y[local] = exact
    if len(local):
        jacobian[local] = wcs.jacobian(*exact)
    return np.stack([x, y]), jacobian


def deep_sky_ellipses(objects: DeepSkyTable, wcs: Wcs, shape: tuple[int, int], *, growth: float = 1.0) -> DeepSky:
    """Bring a catalogue of extended objects into the pixels of one image.

    Parameters
    ----------
    objects : DeepSkyTable
        The catalogue.  An object without position angle or minor axis becomes a circle with the semi-major axis.
    wcs : Wcs
        WCS of the full image.
    shape : tuple of int
        (ny, nx) of the full image.
    growth : float, optional
        Factor on the axes.

    Returns
    -------
    DeepSky
        The objects whose bounding circle touches the image, in catalogue order.
    """
    scale = wcs.pixel_scale((shape[1] - 1) / 2, (shape[0] - 1) / 2)
    near = _near(objects.ra, objects.dec, growth * objects.major / scale, wcs, shape)
    (x, y), jacobian = _place(objects.ra[near], objects.dec[near], wcs, shape)
    dudx, dudy, dvdx, dvdy = jacobian.T
    det = dudx * dvdy - dudy * dvdx
    pa = np.radians(objects.angle[near])
    u, v = -np.sin(pa), np.cos(pa)
    theta = np.arctan2((dudx * v - dvdx * u) / det, (dvdy * u - dudy * v) / det)
    minor = objects.minor[near]
    round_ = ~np.isfinite(theta) | ~np.isfinite(minor)
    a = growth * objects.major[near] / np.sqrt(np.abs(det))
    b = np.where(round_, a, growth * minor / np.sqrt(np.abs(det)))
    keep = _touches(x, y, np.maximum(a, b), shape)
    return DeepSky(x[keep], y[keep], a[keep], b[keep], np.where(round_, 0.0, theta)[keep], objects.kind)
