"""What is particular to CFIS in the preparation of a field, and not said by `[input]`."""

from __future__ import annotations

__all__ = [
    "BAND",
    "EXPOSURE_SIDE",
    "MIN_EXPOSURE_TIME",
    "PIPELINE_EXPOSURE",
    "PIPELINE_TILE",
    "TILE_CATALOGUE",
    "TILE_SIDE",
    "VALIDATED",
]

#: Band whose names `[input]` has by default; the other is `u`.
BAND = "r"

#: File name of a tile's catalogue.
TILE_CATALOGUE = "CFIS.{tile}.r.cat"

#: Side of a tile with its overlap [deg]: 10 000 pixels of 0.1857 arcsec.
TILE_SIDE = 10_000 * 0.1857 / 3600

#: Side of an exposure [deg], as the search by coordinate takes it.
EXPOSURE_SIDE = 1.0

#: Exposures that are shorter were broken off [s].
MIN_EXPOSURE_TIME = 95.0

#: What the observatory's log says of an exposure that it has validated.
VALIDATED = "V"

#: Beginnings of the pipeline's file names: image, weight and, of exposures, flag.
PIPELINE_EXPOSURE = ("image", "weight", "flag")
PIPELINE_TILE = ("CFIS_image", "CFIS_weight")
