"""The sky background of an image as a small mesh that every later step evaluates in the same way.

The estimate is SExtractor's (clipped mode in boxes, median filter, bicubic spline), as `sep` implements it, made
twice: the second time without the pixels of the objects that the first one shows.  Clipping alone leaves the objects'
wings in, and an estimate that is too high by 4 % of the noise makes faint objects 1 % smaller.  The estimate is then
sampled on a finer mesh, and only that mesh is kept: 0.4 % of the pixels instead of a check image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sep
from scipy import ndimage
from scipy.interpolate import RectBivariateSpline

from shapempi.errors import MeasurementError
from shapempi.image import Image
from shapempi.params import Params, key
from shapempi.product import Product

__all__ = ["BackgroundMesh", "BackgroundParams", "background_of", "estimate_background"]

#: Rows evaluated at a time, so that the double-precision temporary stays small.
ROWS = 512

#: Gaussian [pixel] that the image is smoothed by before objects are looked for: about the seeing.
_SMOOTHING = 2.0


class BackgroundParams(Params):
    """How the sky background is estimated and stored."""

    box_size: int = key(
        64, "Side of the boxes in which the background is estimated; adapted a little to the image.", unit="pixel", ge=8
    )
    filter_size: int = key(3, "Side of the median filter over the boxes.", unit="box", ge=1)
    object_clip: float = key(
        3.0,
        "Objects above this in the smoothed image are left out of the final estimate; 0 leaves none out.",
        unit="sigma",
        ge=0,
    )
    object_growth: int = key(5, "How far the region that is left out reaches around the objects.", unit="pixel", ge=0)
    store_step: int = key(16, "Distance of the knots of the stored mesh.", unit="pixel", ge=1)
    min_good_fraction: float = key(
        0.01, "An image with a smaller fraction of usable boxes has no background.", gt=0, le=1
    )


@dataclass(frozen=True)
class BackgroundMesh:
    """A background as values at knots, interpolated by a bicubic spline.

    Attributes
    ----------
    values : ndarray of float64 [ky, kx]
        Background at the knots [ADU].
    y : ndarray of float64 [ky]
        Rows of the knots, 0-based, increasing, the first and the last row of the image included.
    x : ndarray of float64 [kx]
        Columns of the knots, likewise.
    rms : float
        Global rms of the sky [ADU].
    """

    values: np.ndarray
    y: np.ndarray
    x: np.ndarray
    rms: float

    def _spline(self) -> RectBivariateSpline:
        return RectBivariateSpline(
            self.y, self.x, self.values, kx=min(3, len(self.y) - 1), ky=min(3, len(self.x) - 1), s=0
        )

    def evaluate(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """Return the background in a section of the image.

        Every pixel depends on the knots and on its own position only, so any two sections agree bit for bit where
        they overlap.

        Parameters
        ----------
        y0, y1, x0, x1 : int
            Half-open section in full-image pixels, 0-based.  Outside the image the value of the nearest side.

        Returns
        -------
        ndarray of float32 [y1 - y0, x1 - x0]
            Background [ADU].
        """
        section = np.empty((max(y1 - y0, 0), max(x1 - x0, 0)), dtype=np.float32)
        spline = self._spline()
        columns = np.clip(np.arange(x0, x1, dtype=float), self.x[0], self.x[-1])
        for start in range(0, len(section), ROWS):
            stop = min(start + ROWS, len(section))
            rows = np.clip(np.arange(y0 + start, y0 + stop, dtype=float), self.y[0], self.y[-1])
            section[start:stop] = spline(rows, columns)
        return section

    def at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the background [ADU, float64 [n]] at pixel positions (0-based)."""
        x, y = np.clip(x, self.x[0], self.x[-1]), np.clip(y, self.y[0], self.y[-1])
        return self._spline().ev(y, x)

    def to_product(self) -> Product:
        """Return the mesh as named arrays and the rms as an attribute."""
        return Product(
            arrays={"background": self.values, "background_y": self.y, "background_x": self.x},
            attrs={"background_rms": self.rms},
        )

    @classmethod
    def from_product(cls, product: Product) -> BackgroundMesh:
        """Rebuild a mesh from (a product that holds) the arrays of `to_product`."""
        arrays = product.arrays
        return cls(
            np.asarray(arrays["background"]),
            np.asarray(arrays["background_y"]),
            np.asarray(arrays["background_x"]),
            float(product.attrs["background_rms"]),
        )

    @classmethod
    def constant(cls, value: float, rms: float, shape: tuple[int, int]) -> BackgroundMesh:
        """Return a mesh of one value for an image of this shape (ny, nx)."""
        y, x = (np.array([0.0, max(n - 1, 1)]) for n in shape)
        return cls(np.full((2, 2), float(value)), y, x, rms)


def _knots(n: int, step: int) -> np.ndarray:
    """Return the pixel indices of the knots along an axis of n pixels: evenly spread, both ends included."""
    return np.unique(np.rint(np.linspace(0, n - 1, max(2, -(-(n - 1) // step) + 1))).astype(int))


def _box_side(n: int, wanted: int) -> int:
    """Return the side nearest to the wanted one whose last box along n pixels is whole or at least a half.

    A last box of a few pixels has no statistics, and its value, placed outside the image, bends the spline there.
    """
    if n < wanted:
        return n
    near = sorted(range(max(wanted // 2, 1), 2 * wanted), key=lambda side: abs(side - wanted))
    return next(side for side in near if n % side == 0 or 2 * (n % side) >= side)


def _usable_boxes(mask: np.ndarray, box: tuple[int, int]) -> np.ndarray:
    """Tell which boxes have at least half of their pixels good; the estimator ignores the others."""
    starts = [np.arange(0, n, side) for n, side in zip(mask.shape, box, strict=True)]
    bad = np.add.reduceat(np.add.reduceat(mask, starts[0], axis=0, dtype=np.int64), starts[1], axis=1)
    area = np.outer(*(np.diff(start, append=n) for start, n in zip(starts, mask.shape, strict=True)))
    return 2 * bad <= area


def _objects(pixels: np.ndarray, bad: np.ndarray, sky: sep.Background, params: BackgroundParams) -> np.ndarray:
    """Return the pixels of objects and their surroundings: what stands out of the smoothed image, grown."""
    image = pixels - sky.back(dtype=np.float32)
    image[bad] = 0
    smooth = ndimage.gaussian_filter(image, _SMOOTHING, mode="nearest", truncate=3.0)
    # White noise of variance 1 has this variance under a Gaussian kernel: the sum of the squared kernel.
    noise = sky.globalrms / (2.0 * np.sqrt(np.pi) * _SMOOTHING)
    side = 2 * params.object_growth + 1
    return ndimage.maximum_filter(smooth > params.object_clip * noise, side, mode="constant")


def estimate_background(data: np.ndarray, bad: np.ndarray, params: BackgroundParams) -> BackgroundMesh:
    """Estimate the background of an image.

    Parameters
    ----------
    data : ndarray of float32 [y, x]
        Image [ADU].
    bad : ndarray of bool [y, x]
        Pixels to leave out; pixels that are not finite are left out as well.
    params : BackgroundParams
        Boxes, filter and stored mesh.

    Returns
    -------
    BackgroundMesh
        The background and the global rms of the sky.

    Raises
    ------
    MeasurementError
        If the image is smaller than 2 x 2 pixels, has too few boxes with enough good pixels, or has no noise.
    """
    if min(data.shape) < 2:
        raise MeasurementError(f"background: an image of {data.shape[0]} x {data.shape[1]} pixels is too small")
    pixels = np.ascontiguousarray(data, dtype=np.float32)
    mask = np.ascontiguousarray(bad | ~np.isfinite(pixels))
    height, width = (_box_side(n, params.box_size) for n in data.shape)
    good = float(np.mean(_usable_boxes(mask, (height, width))))
    if good < params.min_good_fraction:
        raise MeasurementError(
            f"background: only {good:.2%} of the boxes of {height} x {width} pixels have half of their pixels good; "
            f"min_good_fraction is {params.min_good_fraction:.2%}"
        )
    size = {"bw": width, "bh": height, "fw": params.filter_size, "fh": params.filter_size}
    estimate = sep.Background(pixels, mask=mask, **size)
    if params.object_clip > 0:
        without = mask | _objects(pixels, mask, estimate, params)
        # A box that objects would take away keeps them: clipping is better than the neighbours' values.
        seen = np.repeat(np.repeat(_usable_boxes(without, (height, width)), height, axis=0), width, axis=1)
        without &= mask | seen[: data.shape[0], : data.shape[1]]
        estimate = sep.Background(pixels, mask=without, **size)
    y, x = _knots(data.shape[0], params.store_step), _knots(data.shape[1], params.store_step)
    # Doubles cost memory once per image, and floats would put steps of the sky level times 1e-7 into the spline.
    values = estimate.back(dtype=np.float64)[np.ix_(y, x)]
    rms = float(estimate.globalrms)
    if not (np.isfinite(values).all() and np.isfinite(rms)):
        raise MeasurementError("background: the estimate is not finite; are the values of the image sound?")
    # Where the clipped rms is zero everywhere the estimator reports 1 as the global one.
    if not (rms > 0 and np.any(estimate.rms(dtype=np.float32) > 0)):
        raise MeasurementError("background: the sky has no noise (rms 0); is the image empty?")
    return BackgroundMesh(values, y.astype(float), x.astype(float), rms)


def background_of(image: Image, params: BackgroundParams) -> BackgroundMesh:
    """Return the background of an image: the level that its header says, if it is to count, or an estimate.

    The rms of the sky is estimated in both cases.

    Parameters
    ----------
    image : Image
        The image; pixels without weight are left out.
    params : BackgroundParams
        Boxes, filter and stored mesh.

    Raises
    ------
    MeasurementError
        As `estimate_background`.
    """
    mesh = estimate_background(image.data, ~(image.weight > 0), params)
    if image.background is None:
        return mesh
    return BackgroundMesh.constant(image.background, mesh.rms, image.data.shape)
