"""The polygons that cover the halo and the diffraction spikes of a bright star, and how they grow with its flux.

A template is a closed polygon of vertex offsets (u, v) from the star, u to the West and v to the North, valid at the
pivot magnitude.  The packaged ones of MegaCam at CFHT have its published sizes (behaviour specification, section 4.2);
those of DECam were fitted to a star of G = 10.5 (docs/masks.md).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np

from shapempi.errors import ConfigError, DataError
from shapempi.wcs import Wcs

__all__ = [
    "CAMERAS",
    "StarTemplate",
    "halo_vertices",
    "packaged_template",
    "parse_template",
    "spike_vertices",
    "template_frame",
]

#: Cameras whose templates are packaged.
CAMERAS = ("megacam", "decam")

#: Offsets beyond this [pixel] are positions, not offsets from a star.
_LARGEST_OFFSET = 1e5

#: A polygon whose area is below this part of its squared extent is a line.
_SMALLEST_AREA = 1e-6

_CURE = "a template is one polygon around the star: a line `u v` for each vertex, or `polygon(u1,v1,u2,v2,...)`"
_SHAPE = re.compile(r"[+-]?\s*([A-Za-z_][A-Za-z_ ]*?)\s*(?:\((.*)\)|\s([^()=]*))\s*", re.ASCII)
_SYSTEMS = ("image", "physical", "amplifier", "detector")
_SKY = ("fk4", "fk5", "icrs", "galactic", "ecliptic", "j2000", "b1950", "linear", "wcs")


def parse_template(text: str, name: str) -> np.ndarray:
    """Read the polygon of a template.

    Parameters
    ----------
    text : str
        Two columns, the offsets u and v of a vertex on each line, or one polygon as DS9 writes it; `#` begins a
        comment.
    name : str
        The file, for messages.

    Returns
    -------
    ndarray of float64 [m, 2]
        The vertices (u, v).

    Raises
    ------
    ConfigError
        If it is no polygon: `file:line: text of the line: what is wrong; what is right`.
    """
    points: list[tuple[float, float]] = []
    shape = ""
    for number, line in enumerate(text.splitlines(), 1):
        where = f"{name}:{number}: {line.strip()[:60]}"
        for part in line.partition("#")[0].split(";"):
            word = part.strip().partition(" ")[0].lower()
            if not word or word == "global" or (word in _SYSTEMS and part.strip().lower() == word):
                continue
            if word in _SKY:
                raise ConfigError(f"{where}: offsets in pixels are needed, not positions on the sky; {_CURE}")
            found = _SHAPE.fullmatch(part)
            if found is None:
                points.append(_pair(part, where))
                continue
            if found.group(1).strip().lower() != "polygon":
                raise ConfigError(f"{where}: {found.group(1).strip()!r} is no polygon; {_CURE}")
            if points or shape:
                raise ConfigError(f"{where}: there is another polygon before this one; {_CURE}")
            shape = where
            points = _pairs(found.group(2) or found.group(3) or "", where)
    return _checked(points, shape or name)


def _number(word: str, where: str) -> float:
    """Return one offset."""
    try:
        value = float(word)
    except ValueError:
        raise ConfigError(f"{where}: {word!r} is no number; {_CURE}") from None
    if not math.isfinite(value):
        raise ConfigError(f"{where}: {word!r} is not finite; {_CURE}")
    if abs(value) > _LARGEST_OFFSET:
        raise ConfigError(f"{where}: {word} pixels from the star is beyond every image; {_CURE}")
    return value


def _pair(text: str, where: str) -> tuple[float, float]:
    """Return the two numbers of a line."""
    words = text.replace(",", " ").split()
    if len(words) != 2:
        raise ConfigError(f"{where}: two numbers are needed, not {len(words)}; {_CURE}")
    return _number(words[0], where), _number(words[1], where)


def _pairs(text: str, where: str) -> list[tuple[float, float]]:
    """Return the vertices of one `polygon(...)`."""
    values = [_number(word, where) for word in text.replace(",", " ").split()]
    if len(values) % 2:
        raise ConfigError(f"{where}: an odd number of coordinates ({len(values)}); {_CURE}")
    return list(zip(values[::2], values[1::2], strict=True))


def _checked(points: list[tuple[float, float]], where: str) -> np.ndarray:
    """Return the vertices if they enclose something."""
    if len(points) < 3:
        raise ConfigError(f"{where}: a polygon has three vertices or more, not {len(points)}; {_CURE}")
    vertices = np.array(points)
    x, y = vertices.T
    area = 0.5 * abs(float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))))
    extent = float(np.ptp(vertices, axis=0).max())
    if area <= _SMALLEST_AREA * extent**2:
        raise ConfigError(f"{where}: the {len(points)} vertices lie on a line, the polygon has no area; {_CURE}")
    return vertices


@cache
def packaged_template(camera: str, kind: str) -> np.ndarray:
    """Return the vertices [m, 2] = (u, v) [pixel of that camera] of a packaged template, read-only.

    Parameters
    ----------
    camera : str
        One of `CAMERAS`.
    kind : str
        `halo` or `spike`.
    """
    name = f"{camera}_{kind}.reg"
    text = resources.files("shapempi.measure").joinpath("templates", name).read_text(encoding="utf-8")
    vertices = parse_template(text, name)
    vertices.flags.writeable = False
    return vertices


def halo_vertices() -> np.ndarray:
    """Return MegaCam's halo [50, 2] = (u, v) [pixel of 0.187 arcsec]: a near-circle beside the star."""
    return packaged_template("megacam", "halo")


def spike_vertices() -> np.ndarray:
    """Return MegaCam's spikes [24, 2] = (u, v) [pixel of 0.187 arcsec]: a round core with four tapering arms."""
    return packaged_template("megacam", "spike")


def template_frame(wcs: Wcs, shape: tuple[int, int], template_scale: float = 0.0) -> np.ndarray:
    """Return the matrix that brings a template into the pixels of an image.

    The rotation and parity are those of the local Jacobian at the image's centre (the orthogonal factor of its polar
    decomposition), so that the templates of a CCD that is read out upside down come out rotated by 180 degrees.

    Parameters
    ----------
    wcs : Wcs
        WCS of the full image.
    shape : tuple of int
        (ny, nx) of the full image.
    template_scale : float, optional
        Pixel of the template [arcsec]; 0: that of the image.

    Returns
    -------
    ndarray of float64 [2, 2]
        Brings (u, v) to (x, y).

    Raises
    ------
    DataError
        If the WCS has no Jacobian there.
    """
    jacobian = wcs.jacobian(np.array([(shape[1] - 1) / 2]), np.array([(shape[0] - 1) / 2]))[0].reshape(2, 2)
    determinant = float(jacobian[0, 0] * jacobian[1, 1] - jacobian[0, 1] * jacobian[1, 0])
    if not (np.isfinite(jacobian).all() and determinant):
        raise DataError(f"{wcs.path}: the WCS says nothing about the centre of the image; correct the header")
    left, _, right = np.linalg.svd(np.linalg.inv(jacobian))
    size = template_scale / math.sqrt(abs(determinant)) if template_scale else 1.0
    return size * (left @ right)


@dataclass(frozen=True)
class StarTemplate:
    """A polygon around a star that is scaled with the star's magnitude.

    Attributes
    ----------
    vertices : ndarray of float64 [m, 2]
        Offsets (u, v) from the star at the pivot magnitude [pixel of the template].
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
        """Return the largest distance [pixel of the template] from star to polygon; -inf where a star has none."""
        radius = np.hypot(self.vertices[:, 0], self.vertices[:, 1]).max()
        return np.where(np.asarray(mag) < self.mag_limit, radius * self.scale(mag), -np.inf)

    def polygons(
        self, x: np.ndarray, y: np.ndarray, mag: np.ndarray, shape: tuple[int, int], frame: np.ndarray
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
        frame : ndarray of float64 [2, 2]
            Brings the template into the image's pixels (`template_frame`).

        Returns
        -------
        vertices : ndarray of float64 [sum of corners, 2]
            (x, y) of all corners, polygon after polygon.
        first : ndarray of int64 [n_polygon + 1]
            Index of the first corner of each polygon, and the number of corners last.
        """
        keep = np.asarray(mag) < self.mag_limit
        template = self.vertices @ frame.T
        centre = np.stack([x[keep], y[keep]], axis=-1)
        scale = self.scale(mag[keep])[:, None]
        low, high = centre + scale * template.min(axis=0), centre + scale * template.max(axis=0)
        touches = (high >= -0.5).all(axis=1) & (low[:, 0] <= shape[1] - 0.5) & (low[:, 1] <= shape[0] - 0.5)
        corners = centre[touches, None, :] + scale[touches, :, None] * template
        first = np.arange(len(corners) + 1, dtype=np.int64) * len(template)
        return np.ascontiguousarray(corners.reshape(-1, 2)), first
