"""The stars of one CCD, as every PSF engine takes them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["NO_DATA", "StarSample"]

#: Pixels below this are SExtractor's and PSFEx's mark of a pixel without data.
NO_DATA = -1e29


@dataclass(frozen=True)
class StarSample:
    """Stars of one CCD.

    Attributes
    ----------
    vignets, weights : ndarray of float [n, y, x]
        Background-subtracted stars [ADU] and their inverse variance, 0 where unusable; the stars' own photon noise may
        be in the weights, or comes from `gain`.  Pixels below `NO_DATA` or not finite are unusable, too.
    x, y : ndarray of float64 [n]
        Centres of the stars on the CCD [pixel], 0-based.
    offset : ndarray of float64 [n, 2]
        (dx, dy): the star's centre minus the stamp's centre [pixel].
    flux, flux_err : ndarray of float64 [n]
        Total flux and its error [ADU], as far as the detection knows them.
    shape : tuple of int
        (ny, nx) of the CCD.
    gain : float
        Electrons per ADU; 0 if unknown: then no photon noise is added.
    label : str
        Name of the CCD, for files about its fit; nothing else depends on it.
    """

    vignets: np.ndarray
    weights: np.ndarray
    x: np.ndarray
    y: np.ndarray
    offset: np.ndarray
    flux: np.ndarray
    flux_err: np.ndarray
    shape: tuple[int, int]
    gain: float = 0.0
    label: str = ""

    def __len__(self) -> int:
        """Return the number of stars."""
        return len(self.vignets)

    def __getitem__(self, rows: np.ndarray) -> StarSample:
        """Return some of the stars: indices or a mask."""
        return StarSample(
            self.vignets[rows],
            self.weights[rows],
            self.x[rows],
            self.y[rows],
            self.offset[rows],
            self.flux[rows],
            self.flux_err[rows],
            self.shape,
            self.gain,
            self.label,
        )

    def usable(self) -> np.ndarray:
        """Return which pixels can be used, bool [n, y, x]."""
        good = (self.weights > 0) & np.isfinite(self.weights)
        return good & np.isfinite(self.vignets) & (self.vignets > NO_DATA)
