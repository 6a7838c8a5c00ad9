"""Pixels and sky: the WCS of one image, vectorised, with 0-based pixel positions."""

from __future__ import annotations

import warnings

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning
from astropy.wcs.wcs import NoConvergence

from shapempi.errors import DataError

__all__ = ["ARCSEC", "Wcs", "angular_distance", "tangent_offset", "unit_vectors"]

#: Arcseconds in a radian.
ARCSEC = 180.0 * 3600.0 / np.pi


def tangent_offset(
    ra: np.ndarray, dec: np.ndarray, ra0: np.ndarray | float, dec0: np.ndarray | float
) -> tuple[np.ndarray, np.ndarray]:
    """Project sky positions on the plane that touches the sphere at (ra0, dec0).

    Parameters
    ----------
    ra, dec : ndarray
        Positions [deg].
    ra0, dec0 : ndarray or float
        Tangent points [deg].

    Returns
    -------
    u, v : ndarray
        Offsets [arcsec]; u grows to the West, v to the North (the frame of g1 and g2).
    """
    dra = np.radians(np.asarray(ra) - ra0)
    sin_d, cos_d = np.sin(np.radians(dec)), np.cos(np.radians(dec))
    sin_0, cos_0 = np.sin(np.radians(dec0)), np.cos(np.radians(dec0))
    cos_c = sin_0 * sin_d + cos_0 * cos_d * np.cos(dra)
    u = -cos_d * np.sin(dra) / cos_c * ARCSEC
    v = (cos_0 * sin_d - sin_0 * cos_d * np.cos(dra)) / cos_c * ARCSEC
    return u, v


def angular_distance(ra: np.ndarray, dec: np.ndarray, ra0: np.ndarray | float, dec0: np.ndarray | float) -> np.ndarray:
    """Return the great-circle distance [deg] between positions [deg] (haversine formula)."""
    ra, dec, ra0, dec0 = (np.radians(v) for v in (ra, dec, ra0, dec0))
    h = np.sin((dec - dec0) / 2) ** 2 + np.cos(dec) * np.cos(dec0) * np.sin((ra - ra0) / 2) ** 2
    return np.degrees(2 * np.arcsin(np.minimum(1.0, np.sqrt(h))))


def unit_vectors(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Return positions [...] on the sky [deg] as unit vectors [..., 3]."""
    ra, dec = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


class Wcs:
    """The celestial WCS of one image (TAN, TPV, TAN with SIP; TAN with PV terms is read as TPV).

    Parameters
    ----------
    header : str
        The FITS header as text, cards of 80 characters, without line ends.
    path : str, optional
        The file, for messages.

    Raises
    ------
    DataError
        If the header has no celestial WCS.
    """

    def __init__(self, header: str, path: str = "<header>") -> None:
        cards = fits.Header.fromstring(header)
        for axis in ("CTYPE1", "CTYPE2"):
            # SCAMP writes distorted exposures as TAN with PV terms; the standard's name for that is TPV.
            if cards.get(axis, "").endswith("-TAN") and "PV1_1" in cards:
                cards[axis] = cards[axis].replace("-TAN", "-TPV")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FITSFixedWarning)
                self._wcs = WCS(cards)
        except Exception as error:  # wcslib raises many classes; each means the header is unusable
            raise DataError(f"{path}: unusable WCS in the header: {error}") from error
        if not self._wcs.has_celestial:
            raise DataError(f"{path}: no celestial WCS in the header (CTYPE1/2, CRVAL, CRPIX, CD are needed)")
        self.header = header
        self.path = path

    @property
    def astropy(self) -> WCS:
        """The same WCS as an object of astropy, for files that hold those."""
        return self._wcs

    def pixel_to_sky(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return ra, dec [deg] of pixel positions (0-based, centres at integers)."""
        ra, dec = self._wcs.all_pix2world(np.asarray(x, float), np.asarray(y, float), 0)
        return ra, dec

    def sky_to_pixel(self, ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return pixel positions (0-based) of ra, dec [deg]; NaN where the inverse does not exist."""
        ra, dec = np.asarray(ra, float), np.asarray(dec, float)
        if ra.size == 0:
            return ra.copy(), dec.copy()
        try:
            # Adaptive: each position stops at its own convergence, so that it does not depend on the others.
            x, y = self._wcs.all_world2pix(ra, dec, 0, tolerance=1e-6, maxiter=50, adaptive=True)
        except NoConvergence as failure:
            x, y = (np.array(v, float) for v in np.transpose(failure.best_solution))
            for lost in (failure.divergent, failure.slow_conv):
                if lost is not None:
                    x[lost] = y[lost] = np.nan
        return np.asarray(x), np.asarray(y)

    def jacobian(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the local Jacobian [n, 4] = dudx, dudy, dvdx, dvdy [arcsec/pixel] at pixel positions.

        The frame is (u West, v North) on the plane that touches the sky at each position; central differences
        over one pixel.
        """
        x, y = np.atleast_1d(np.asarray(x, float)), np.atleast_1d(np.asarray(y, float))
        ra0, dec0 = self.pixel_to_sky(x, y)
        columns = []
        for dx, dy in ((0.5, 0.0), (0.0, 0.5)):
            plus = tangent_offset(*self.pixel_to_sky(x + dx, y + dy), ra0, dec0)
            minus = tangent_offset(*self.pixel_to_sky(x - dx, y - dy), ra0, dec0)
            columns.append((plus[0] - minus[0], plus[1] - minus[1]))
        (dudx, dvdx), (dudy, dvdy) = columns
        return np.stack([dudx, dudy, dvdx, dvdy], axis=-1)

    @property
    def matrix(self) -> np.ndarray:
        """The linear part [2, 2]: degrees on the tangent plane per pixel, whether the header has CD, PC or CROTA2."""
        return np.array(self._wcs.pixel_scale_matrix)

    def pixel_scale(self, x: float, y: float) -> float:
        """Return the geometric-mean pixel scale [arcsec/pixel] at one position."""
        dudx, dudy, dvdx, dvdy = self.jacobian(np.array([x]), np.array([y]))[0]
        return float(np.sqrt(abs(dudx * dvdy - dudy * dvdx)))

    def circle(self, shape: tuple[int, int]) -> tuple[float, float, float]:
        """Return ra, dec and radius [deg] of a circle around an image of this shape (ny, nx) that holds its corners."""
        ny, nx = shape
        ra, dec = (float(v[0]) for v in self.pixel_to_sky(np.array([(nx - 1) / 2]), np.array([(ny - 1) / 2])))
        corners = self.corners(shape)
        return ra, dec, float(angular_distance(corners[:, 0], corners[:, 1], ra, dec).max())

    def corners(self, shape: tuple[int, int]) -> np.ndarray:
        """Return ra, dec [deg] of the four outer corners [4, 2] of an image of this shape (ny, nx)."""
        ny, nx = shape
        x = np.array([-0.5, nx - 0.5, nx - 0.5, -0.5])
        y = np.array([-0.5, -0.5, ny - 0.5, ny - 0.5])
        return np.stack(self.pixel_to_sky(x, y), axis=-1)
