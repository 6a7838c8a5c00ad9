"""Stars move: positions of a catalogue at the epoch of an image."""

from __future__ import annotations

import numpy as np

__all__ = ["move_stars"]

#: Radians of a milliarcsecond.
_MAS = np.pi / 180.0 / 3.6e6


def move_stars(
    ra: np.ndarray, dec: np.ndarray, pmra: np.ndarray, pmdec: np.ndarray, years: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Move stars along great circles by their proper motions.

    In three dimensions, so that the poles and right ascension 0 are places like any other.  Parallax and radial
    velocity are left out: for the nearest stars they matter by an arcsecond at most.

    Parameters
    ----------
    ra, dec : ndarray of float64 [n]
        Positions at the catalogue's epoch [deg].
    pmra, pmdec : ndarray of float [n]
        Proper motions mu_alpha cos(dec) and mu_delta [mas/yr].
    years : ndarray of float64 [n]
        Time to move by [Julian years]; where it is not finite, nothing moves.

    Returns
    -------
    ra, dec : ndarray of float64 [n]
        Positions [deg]; ra from 0 to 360.
    """
    ra, dec = np.asarray(ra, float), np.asarray(dec, float)
    time = np.where(np.isfinite(years), years, 0.0)
    east, north = (np.asarray(motion, float) * time * _MAS for motion in (pmra, pmdec))
    moving = (east != 0) | (north != 0)
    if not moving.any():
        return ra, dec
    a, d = np.radians(ra[moving]), np.radians(dec[moving])
    e, n = east[moving], north[moving]
    x = np.cos(d) * np.cos(a) - e * np.sin(a) - n * np.sin(d) * np.cos(a)
    y = np.cos(d) * np.sin(a) + e * np.cos(a) - n * np.sin(d) * np.sin(a)
    z = np.sin(d) + n * np.cos(d)
    moved_ra, moved_dec = ra.copy(), dec.copy()
    moved_ra[moving] = np.degrees(np.arctan2(y, x)) % 360.0
    moved_dec[moving] = np.degrees(np.arctan2(z, np.hypot(x, y)))
    return moved_ra, moved_dec
