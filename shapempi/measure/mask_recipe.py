"""What is masked on every image of a kind: the settings, the templates of stars, the catalogues of extended objects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from shapempi.flags import PixelFlag
from shapempi.measure.mask_params import MaskParams
from shapempi.measure.mask_template import StarTemplate, halo_vertices, spike_vertices, template_frame
from shapempi.measure.sky_object import BrightStars, DeepSky, DeepSkyTable, deep_sky_ellipses
from shapempi.wcs import Wcs

__all__ = ["MaskRecipe", "StarPolygons"]

#: Corners of polygons that are made at a time: 10^6 stars never take more memory than this [times 16 bytes].
_N_CORNER = 1 << 21


@dataclass(frozen=True)
class StarPolygons:
    """Polygons of one kind around some of an image's stars.

    Attributes
    ----------
    kind : PixelFlag
        `PixelFlag.HALO` or `PixelFlag.SPIKE`.
    bit : int
        The bit that they set.
    vertices : ndarray of float64 [n_vertex, 2]
        (x, y) of the corners, polygon after polygon [pixel].
    first : ndarray of int64 [n_polygon + 1]
        Index of the first corner of each, and the number of corners last.
    """

    kind: PixelFlag
    bit: int
    vertices: np.ndarray
    first: np.ndarray


@dataclass(frozen=True)
class MaskRecipe:
    """What is masked on every image of a kind.

    Attributes
    ----------
    params : MaskParams
        The settings; what they say of files has been done.
    halo, spike : ndarray of float64 [m, 2]
        The templates' vertices (`mask_template.parse_template`).
    deep_sky : tuple of DeepSkyTable
        Catalogues of extended objects.
    """

    params: MaskParams
    halo: np.ndarray = field(default_factory=halo_vertices)
    spike: np.ndarray = field(default_factory=spike_vertices)
    deep_sky: tuple[DeepSkyTable, ...] = ()

    def templates(self) -> list[tuple[PixelFlag, int, StarTemplate]]:
        """Return the templates in use, each with its kind and its bit."""
        found = []
        for kind, vertices in ((PixelFlag.HALO, self.halo), (PixelFlag.SPIKE, self.spike)):
            name = str(kind.name).lower()
            make, bit, *law = (
                getattr(self.params, f"{name}_{key}")
                for key in ("make", "bit", "mag_limit", "scale_factor", "mag_pivot", "min_scale")
            )
            if make:
                found.append((kind, bit, StarTemplate(vertices, *law)))
        return found

    def reach(self, mag: np.ndarray, scale: float) -> np.ndarray:
        """Return how far the mask of a star of each magnitude extends; -inf where it has none.

        Parameters
        ----------
        mag : ndarray of float64 [n]
            Magnitudes.
        scale : float
            Pixel of the image [arcsec].

        Returns
        -------
        ndarray of float64 [n]
            Reach [pixel of the image].
        """
        reach = np.full(np.shape(mag), -np.inf)
        for _, _, template in self.templates():
            reach = np.maximum(reach, template.reach(mag))
        return reach * (self.params.template_scale / scale if self.params.template_scale else 1.0)

    def polygons(
        self,
        stars: BrightStars,
        wcs: Wcs,
        full_shape: tuple[int, int],
        origin: tuple[int, int] = (0, 0),
        shape: tuple[int, int] | None = None,
    ) -> Iterator[StarPolygons]:
        """Make the polygons of stars, some at a time: there may be 10^6 stars.

        Parameters
        ----------
        stars : BrightStars
            Stars in full-image pixels.
        wcs : Wcs
            WCS of the full image: the templates are turned and scaled by it.
        full_shape : tuple of int
            (ny, nx) of the full image.
        origin, shape : tuple of int, optional
            A section: its first pixel (y0, x0), which is (0, 0) of the polygons, and its (ny, nx).

        Yields
        ------
        StarPolygons
            Those that touch the image or section.
        """
        frame = template_frame(wcs, full_shape, self.params.template_scale)
        x, y = stars.x - origin[1], stars.y - origin[0]
        for kind, bit, template in self.templates():
            step = max(_N_CORNER // len(template.vertices), 1)
            for first in range(0, len(x), step):
                some = slice(first, first + step)
                made = template.polygons(x[some], y[some], stars.mag[some], shape or full_shape, frame)
                if len(made[1]) > 1:
                    yield StarPolygons(kind, bit, *made)

    def ellipses(self, wcs: Wcs, shape: tuple[int, int]) -> list[tuple[int, DeepSky]]:
        """Bring the extended objects into the pixels of an image.

        Parameters
        ----------
        wcs : Wcs
            WCS of the full image.
        shape : tuple of int
            (ny, nx) of the full image.

        Returns
        -------
        list of (int, DeepSky)
            The bit of each catalogue in use and its objects, enlarged as the settings say.
        """
        found = []
        for objects in self.deep_sky:
            name = str(objects.kind.name).lower()
            make, plus, bit = (getattr(self.params, f"{name}_{key}") for key in ("make", "size_plus", "bit"))
            if make:
                found.append((bit, deep_sky_ellipses(objects, wcs, shape, growth=1.0 + plus)))
        return found
