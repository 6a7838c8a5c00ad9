"""The polygons that cover the halo and the diffraction spikes of a bright star, and how they grow with its flux.

A template is a closed polygon of vertex offsets (u, v) [pixel] from the star, valid at the pivot magnitude and for a
CCD that is read out the right way up; the sizes are those of MegaCam at CFHT (behaviour specification, section 4.2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["StarTemplate", "halo_vertices", "spike_vertices"]

HALO_RADIUS = 269.0
HALO_CENTRE = (5.5, -1.3)
HALO_CORNERS = 50

#: The four spikes: direction of the arm (u, v), its length and the half width of its tip [pixel].
SPIKE_ARMS = (
    ((1.0, 0.0), 192.0, 5.0),
    ((0.0, 1.0), 188.0, 4.0),
    ((-1.0, 0.0), 177.0, 6.0),
    ((0.0, -1.0), 155.0, 3.5),
)
#: Half width of an arm where it leaves the core, radius of the core there and between the arms [pixel].
SPIKE_ROOT, SPIKE_NECK, SPIKE_CORE = 14.0, 57.0, 66.0


def halo_vertices() -> np.ndarray:
    """Return the halo polygon [50, 2] = (u, v) [pixel]: a near-circle beside the star."""
    angle = 2 * np.pi * np.arange(HALO_CORNERS) / HALO_CORNERS
    return np.stack(
        [HALO_CENTRE[0] + HALO_RADIUS * np.cos(angle), HALO_CENTRE[1] + HALO_RADIUS * np.sin(angle)], axis=-1
    )


def spike_vertices() -> np.ndarray:
    """Return the spike polygon [24, 2] = (u, v) [pixel]: a round core with four tapering arms."""
    corners = []
    for (cos, sin), length, half_tip in SPIKE_ARMS:
        # In the frame of the arm: along it, across it; counter-clockwise, two corners of the core last.
        core = [(SPIKE_CORE * np.cos(a), SPIKE_CORE * np.sin(a)) for a in np.radians((34.0, 56.0))]
        frame = [(SPIKE_NECK, -SPIKE_ROOT), (length, -half_tip), (length, half_tip), (SPIKE_NECK, SPIKE_ROOT), *core]
        corners += [(cos * along - sin * across, sin * along + cos * across) for along, across in frame]
    return np.array(corners)


@dataclass(frozen=True)
class StarTemplate:
    """A polygon around a star that is scaled with the star's magnitude.

    Attributes
    ----------
    vertices : ndarray of float64 [m, 2]
        Offsets (u, v) from the star at the pivot magnitude [pixel].
    mag_limit : float
        Stars at this magnitude or fainter have no polygon.
    scale_factor : float
        Growth of the scale per magnitude.
    mag_pivot : float
        Magnitude where the scale is 1.
    min_scale : float
        Lower limit of the scale, so that a polygon is never reflected through its star.
    """

    vertices: np.ndarray
    mag_limit: float
    scale_factor: float
    mag_pivot: float
    min_scale: float

    def scale(self, mag: np.ndarray) -> np.ndarray:
        """Return the factor on the template's size for stars of these magnitudes."""
        return np.maximum(1.0 - self.scale_factor * (np.asarray(mag, float) - self.mag_pivot), self.min_scale)

    def reach(self, mag: np.ndarray) -> np.ndarray:
        """Return the largest distance [pixel] from star to polygon; -inf where a star has no polygon."""
        radius = np.hypot(self.vertices[:, 0], self.vertices[:, 1]).max()
        return np.where(np.asarray(mag) < self.mag_limit, radius * self.scale(mag), -np.inf)

    def polygons(
        self, x: np.ndarray, y: np.ndarray, mag: np.ndarray, shape: tuple[int, int], *, upside_down: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Place the template on stars.

        Parameters
        ----------
        x, y : ndarray of float64 [n]
            Pixel positions of the stars, inside or outside the image.
        mag : ndarray of float64 [n]
            Magnitudes.
        shape : tuple of int
            (ny, nx) of the image; polygons that do not touch it are left out.
        upside_down : bool
            Rotate the template by 180 degrees: the CCD is read out upside down.

        Returns
        -------
        vertices : ndarray of float64 [sum of corners, 2]
            (x, y) of all corners, polygon after polygon.
        first : ndarray of int64 [n_polygon + 1]
            Index of the first corner of each polygon, and the number of corners last.
        """
        keep = np.asarray(mag) < self.mag_limit
        template = -self.vertices if upside_down else self.vertices
        centre = np.stack([x[keep], y[keep]], axis=-1)
        corners = centre[:, None, :] + self.scale(mag[keep])[:, None, None] * template
        low, high = corners.min(axis=1), corners.max(axis=1)
        touches = (high >= -0.5).all(axis=1) & (low[:, 0] <= shape[1] - 0.5) & (low[:, 1] <= shape[0] - 0.5)
        corners = corners[touches]
        first = np.arange(len(corners) + 1, dtype=np.int64) * len(template)
        return np.ascontiguousarray(corners.reshape(-1, 2)), first
