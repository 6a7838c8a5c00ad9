"""Regions of the sky that a search asks for: a point inside a square image, and a rectangle in RA and Dec."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shapempi.errors import ConfigError
from shapempi.wcs import angular_distance, tangent_offset

__all__ = ["SkyRectangle", "in_square"]

#: Positions this near to the border are inside [deg].
_BORDER = 1e-9


def in_square(ra: float, dec: float, ra0: np.ndarray, dec0: np.ndarray, side: float) -> np.ndarray:
    """Say which square images hold a point: on the plane that touches the sky at the centre of each.

    To first order the offset in RA is counted along the point's own declination; on the plane it also holds across
    RA 360 and at the poles.

    Parameters
    ----------
    ra, dec : float
        The point [deg].
    ra0, dec0 : ndarray of float64 [n]
        Centres of the images [deg]; their sides are along RA and Dec there.  NaN holds nothing.
    side : float
        Side of the images [deg].

    Returns
    -------
    ndarray of bool [n]
        Whether each holds the point.
    """
    ra0, dec0 = np.asarray(ra0, dtype=float), np.asarray(dec0, dtype=float)
    near = angular_distance(ra0, dec0, ra, dec) < min(side, 89.0)
    held = np.zeros(len(ra0), dtype=bool)
    u, v = tangent_offset(np.array(ra), np.array(dec), ra0[near], dec0[near])
    limit = 3600.0 * (side / 2 + _BORDER)
    held[near] = (np.abs(u) <= limit) & (np.abs(v) <= limit)
    return held


@dataclass(frozen=True)
class SkyRectangle:
    """A rectangle in RA and Dec, eastwards from its first RA to its last.

    Attributes
    ----------
    ra, width : float
        First RA, 0 to 360, and how far it goes East, up to 360 [deg].
    dec_low, dec_high : float
        Declinations [deg].
    """

    ra: float
    width: float
    dec_low: float
    dec_high: float

    @classmethod
    def between(cls, ra0: float, dec0: float, ra1: float, dec1: float) -> SkyRectangle:
        """Return the rectangle between two corners.

        Parameters
        ----------
        ra0, dec0, ra1, dec1 : float
            The corners [deg]; with ra1 < ra0 or ra1 > 360 or ra0 < 0 it goes across RA 0.

        Raises
        ------
        ConfigError
            If a declination is not on the sky, or the rectangle has no width.
        """
        if not all(-90.0 <= dec <= 90.0 for dec in (dec0, dec1)):
            raise ConfigError(f"--area: declinations {dec0:g} and {dec1:g}: they go from -90 to 90 degrees")
        if not all(-360.0 <= ra <= 720.0 for ra in (ra0, ra1)):
            raise ConfigError(f"--area: right ascensions {ra0:g} and {ra1:g}: they go from 0 to 360 degrees")
        width = ra1 - ra0
        if not 0.0 <= width < 360.0:
            width = 360.0 if width >= 360.0 else width % 360.0
        if width == 0.0 or dec0 == dec1:
            raise ConfigError("--area: the area is empty; give RA0 DEC0 RA1 DEC1 of two opposite corners")
        return cls(ra0 % 360.0, width, min(dec0, dec1), max(dec0, dec1))

    def holds(self, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
        """Say which positions [deg] are inside, borders included; NaN is not."""
        ra, dec = np.asarray(ra, dtype=float), np.asarray(dec, dtype=float)
        east = (ra - self.ra + _BORDER) % 360.0
        low, high = self.dec_low - _BORDER, self.dec_high + _BORDER
        return (east <= self.width + 2 * _BORDER) & (dec >= low) & (dec <= high)

    def outline(self, n: int = 30) -> np.ndarray:
        """Return RA, Dec [4 n, 2] along the border, closed, RA counted on beyond 360 [deg]."""
        step = np.linspace(0.0, 1.0, n)
        east, one = self.ra + self.width * step, np.ones(n)
        north = self.dec_low + (self.dec_high - self.dec_low) * step
        last = self.ra + self.width
        ra = np.concatenate([east, last * one, east[::-1], self.ra * one])
        return np.stack([ra, np.concatenate([self.dec_low * one, north, self.dec_high * one, north[::-1]])], axis=-1)

    def __str__(self) -> str:
        """Return the area in words."""
        last = self.ra + self.width
        across = " (across 0)" if last > 360.0 and self.width < 360.0 else ""
        end = last if last <= 360.0 else last - 360.0
        ra = "any RA" if self.width >= 360.0 else f"RA {self.ra:g} to {end:g}{across}"
        return f"{ra}, Dec {self.dec_low:g} to {self.dec_high:g}"
