"""What all pictures of images have in common: which part of an image, and what is said of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shapempi.errors import ConfigError, DataError
from shapempi.io.fits import Hdu
from shapempi.report.look_palette import bit_name
from shapempi.report.look_thumbnail import Box, Thumbnail
from shapempi.wcs import Wcs

__all__ = ["Look", "View", "extent_text", "facts", "wcs_of"]


@dataclass(frozen=True)
class Look:
    """What was drawn.

    Attributes
    ----------
    path : Path
        The picture.
    lines : tuple of str
        A few facts about it.
    """

    path: Path
    lines: tuple[str, ...]


@dataclass(frozen=True)
class View:
    """The part of an image to look at; all of it by default.

    Attributes
    ----------
    box : tuple of float or None
        X, Y of the centre in 1-based pixels and the side in pixels.
    sky : tuple of float or None
        RA, DEC of the centre [deg] and the side [arcsec].
    """

    box: tuple[float, float, float] | None = None
    sky: tuple[float, float, float] | None = None

    @property
    def whole(self) -> bool:
        """Whether it is the whole image."""
        return self.box is None and self.sky is None

    def section(self, shape: tuple[int, int], wcs: Wcs | None, where: str) -> Box:
        """Return the section (y0, y1, x0, x1), half open, of an image.

        Raises
        ------
        ConfigError
            If it does not meet the image, or needs a WCS that is not there.
        """
        if self.whole:
            return 0, shape[0], 0, shape[1]
        if self.box is not None:
            x, y, side = self.box[0] - 1.0, self.box[1] - 1.0, self.box[2]
            text = f"--box {self.box[0]:g} {self.box[1]:g} {self.box[2]:g}"
        else:
            assert self.sky is not None
            text = f"--sky {self.sky[0]:g} {self.sky[1]:g} {self.sky[2]:g}"
            if wcs is None:
                raise ConfigError(f"{where}: the image has no WCS for {text}; give --box X Y SIZE")
            at_x, at_y = wcs.sky_to_pixel(np.array([self.sky[0]]), np.array([self.sky[1]]))
            x, y = float(at_x[0]), float(at_y[0])
            side = self.sky[2] / wcs.pixel_scale(shape[1] / 2, shape[0] / 2)
        if not (side > 0 and math.isfinite(side)):
            raise ConfigError(f"{text}: the size must be positive")
        if not (math.isfinite(x) and -side / 2 < x < shape[1] + side / 2 and -side / 2 < y < shape[0] + side / 2):
            raise ConfigError(f"{where}: {text} is outside the image of {shape[1]} x {shape[0]} pixels")
        half = max(round(side / 2), 1)
        y0, y1 = max(round(y) - half, 0), min(round(y) + half + 1, shape[0])
        x0, x1 = max(round(x) - half, 0), min(round(x) + half + 1, shape[1])
        return y0, max(y1, y0 + 1), x0, max(x1, x0 + 1)


def wcs_of(hdu: Hdu) -> Wcs | None:
    """Return the WCS of an image, None if it has none: a picture needs none."""
    try:
        return Wcs(hdu.header, str(hdu))
    except DataError:
        return None


def extent_text(shape: tuple[int, int], thumbnail: Thumbnail) -> str:
    """Say what part of the image is shown, and how."""
    y0, y1, x0, x1 = thumbnail.box
    whole = (y1 - y0, x1 - x0) == shape
    text = f"{x1 - x0} x {y1 - y0} pixels" + ("" if whole else f" of {shape[1]} x {shape[0]}")
    return text + (f", means of {thumbnail.step} x {thumbnail.step}" if thumbnail.step > 1 else "")


def facts(shape: tuple[int, int], thumbnail: Thumbnail, names: Mapping[int, str] | None) -> list[str]:
    """Return what is shown, and the part of the pixels that have each bit."""
    parts = [f"{bit_name(bit, names)} {100 * part:.3g} %" for bit, part in thumbnail.fractions.items()]
    flags = [f"flagged {100 * thumbnail.flagged:.3g} %: {', '.join(parts)}"] if parts else []
    return [extent_text(shape, thumbnail), *flags]
