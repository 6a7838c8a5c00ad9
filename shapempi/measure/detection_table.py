"""A detection table: SExtractor's columns (declared in `shapempi.catalog`) and the bits of its flags."""

from __future__ import annotations

import numpy as np

from shapempi.catalog import DETECTION_COLUMNS

__all__ = ["DETECTION_DTYPE", "SexFlag", "magnitude"]


class SexFlag:
    """Bits of the FLAGS column, with SExtractor's values and meanings."""

    #: Neighbours or unusable pixels fill more than 10 % of the photometric ellipse: photometry is biased.
    CROWDED = 1
    #: Separated from a neighbour by deblending.
    BLENDED = 2
    #: At least one pixel is saturated.
    SATURATED = 4
    #: The isophote touches the side of the image.
    TRUNCATED = 8
    #: An aperture reaches over the side of the image: the Kron ellipse, the one it was measured in, circle or window.
    APERTURE = 16
    #: The deblending ran over its limit of sub-objects.
    DEBLEND_OVERFLOW = 64


#: One row of a detection table: the catalogue's columns, in double precision.
DETECTION_DTYPE = np.dtype(
    [(column.name, "f8" if column.dtype.startswith("f") else column.dtype) for column in DETECTION_COLUMNS]
)


def magnitude(flux: np.ndarray, zero_point: np.ndarray | float) -> np.ndarray:
    """Return zero_point - 2.5 log10(flux); NaN where the flux is not positive."""
    return zero_point - 2.5 * np.log10(np.where(flux > 0, flux, np.nan))
