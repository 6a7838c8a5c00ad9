"""A WCS, images of Gaussians and `Image` objects for the tests of masks, backgrounds and detection."""

from __future__ import annotations

import numpy as np
from astropy.io import fits

from shapempi.image import Image
from shapempi.wcs import Wcs

SCALE = 0.2


def header(
    shape: tuple[int, int], *, angle: float = 0.0, ra: float = 150.0, dec: float = 30.0, mirrored: bool = False
) -> str:
    """Return the header of a TAN image with North up, turned by an angle [deg]; East is right if it is mirrored."""
    cos, sin, step = np.cos(np.radians(angle)), np.sin(np.radians(angle)), SCALE / 3600
    cards = fits.Header()
    cards["CTYPE1"], cards["CTYPE2"] = "RA---TAN", "DEC--TAN"
    cards["CRVAL1"], cards["CRVAL2"] = ra, dec
    cards["CRPIX1"], cards["CRPIX2"] = (shape[1] + 1) / 2, (shape[0] + 1) / 2
    cards["CD1_1"], cards["CD1_2"] = -step * cos, step * sin
    cards["CD2_1"], cards["CD2_2"] = step * sin, step * cos
    if mirrored:
        cards["CD1_1"], cards["CD2_1"] = -cards["CD1_1"], -cards["CD2_1"]
    return cards.tostring()


def wcs(shape: tuple[int, int], **keys: float) -> Wcs:
    """Return the WCS of `header`."""
    return Wcs(header(shape, **keys))


def image(
    shape: tuple[int, int],
    *,
    data: np.ndarray | None = None,
    weight: np.ndarray | None = None,
    flag: np.ndarray | None = None,
    origin: tuple[int, int] = (0, 0),
    full_shape: tuple[int, int] | None = None,
    valid_box: tuple[int, int, int, int] | None = None,
    **keys: float,
) -> Image:
    """Return an image of ones with weight one and no flags, or of what is given."""
    full = full_shape or shape
    return Image(
        data=np.ones(shape, np.float32) if data is None else data,
        weight=np.ones(shape, np.float32) if weight is None else weight,
        flag=np.zeros(shape, np.int32) if flag is None else flag,
        wcs=wcs(full, **keys),
        origin=origin,
        full_shape=full,
        valid_box=valid_box or (0, full[0], 0, full[1]),
        gain=1.6,
        saturate=60000.0,
        mag_zp=30.0,
        flux_scale=1.0,
        header=header(full, **keys),
        path="test.fits",
    )


def add_gaussian(
    data: np.ndarray, x: float, y: float, flux: float, sigma: float, *, q: float = 1.0, theta: float = 0.0
) -> None:
    """Add a Gaussian of axis ratio q (sigma along the major axis) to an image [y, x] in place, by pixel integrals.

    Integrals by 5 x 5 sub-samples: exact to 1e-5 for sigma >= 1.
    """
    half = int(np.ceil(6 * sigma)) + 1
    x0, y0 = round(x), round(y)
    rows = slice(max(y0 - half, 0), min(y0 + half + 1, data.shape[0]))
    columns = slice(max(x0 - half, 0), min(x0 + half + 1, data.shape[1]))
    sub = (np.arange(5) - 2) / 5
    yy = (np.arange(rows.start, rows.stop)[:, None] + sub).ravel() - y
    xx = (np.arange(columns.start, columns.stop)[:, None] + sub).ravel() - x
    along = np.cos(theta) * xx[None, :] + np.sin(theta) * yy[:, None]
    across = -np.sin(theta) * xx[None, :] + np.cos(theta) * yy[:, None]
    value = np.exp(-0.5 * (along**2 + (across / q) ** 2) / sigma**2) / (2 * np.pi * sigma**2 * q)
    shape = (rows.stop - rows.start, 5, columns.stop - columns.start, 5)
    data[rows, columns] += (flux * value.reshape(shape).mean(axis=(1, 3))).astype(data.dtype)
