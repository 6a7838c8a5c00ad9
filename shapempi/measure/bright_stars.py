"""The bright stars of one image, from the survey's catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from shapempi.image import Image
from shapempi.measure.mask import BrightStars, MaskRecipe, bright_stars
from shapempi.measure.proper_motion import move_stars

__all__ = ["StarSource", "StarTable", "stars_of_image"]

#: More than any catalogued star has moved since its catalogue was made [deg].
_MOTION = 0.2


class StarSource(Protocol):
    """Knows the bright stars of a survey."""

    @property
    def brightest(self) -> float:
        """Smallest magnitude; inf without stars."""
        ...

    def near(self, ra: float, dec: float, radius: float) -> np.ndarray:
        """Return at least the stars in a circle [deg]: rows with ra, dec, mag, pmra, pmdec, epoch, always the same."""
        ...


@dataclass(frozen=True)
class StarTable:
    """Bright stars in memory: a `StarSource` that knows no places, for single images.

    Attributes
    ----------
    stars : structured ndarray [n]
        Rows with ra, dec, mag, pmra, pmdec, epoch.
    """

    stars: np.ndarray

    @property
    def brightest(self) -> float:
        """Smallest magnitude; inf without stars."""
        return float(self.stars["mag"].min(initial=np.inf))

    def near(self, ra: float, dec: float, radius: float) -> np.ndarray:
        """Return all stars."""
        return self.stars


def stars_of_image(source: StarSource | None, image: Image, recipe: MaskRecipe) -> BrightStars:
    """Find the stars whose mask can touch an image, where they were when it was taken.

    Parameters
    ----------
    source : StarSource or None
        The survey's stars; None: there are none.
    image : Image
        The image; without an epoch stars stay where their catalogue has them.
    recipe : MaskRecipe
        What is masked.

    Returns
    -------
    BrightStars
        Stars on the image and around it.
    """
    if source is None or not np.isfinite(source.brightest):
        return BrightStars.none()
    ra, dec, radius = image.wcs.circle(image.full_shape)
    ny, nx = image.full_shape
    scale = image.wcs.pixel_scale((nx - 1) / 2, (ny - 1) / 2)
    reach = max(float(recipe.reach(np.array([source.brightest]), scale)[0]), 0.0) * scale / 3600.0
    sky = source.near(ra, dec, radius + reach + _MOTION)
    years = np.where(sky["epoch"] > 0, image.epoch - sky["epoch"], np.nan)
    moved_ra, moved_dec = move_stars(sky["ra"], sky["dec"], sky["pmra"], sky["pmdec"], years)
    return bright_stars(moved_ra, moved_dec, sky["mag"], image.wcs, image.full_shape, recipe)
