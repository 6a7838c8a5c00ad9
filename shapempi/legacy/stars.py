"""The stars of the CCDs: all, those of the PSF model, those held back, and the statistics (section 6)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shapempi.ids import CcdId
from shapempi.legacy.part import CCD, Part, Product, Written, number_of
from shapempi.legacy.source import LegacySource
from shapempi.measure.detection_table import DETECTION_DTYPE
from shapempi.measure.stars import constants_of
from shapempi.report.detection_files import catalogue_header, catalogue_rows
from shapempi.report.selection_files import write_selection

__all__ = ["STARS", "training_name"]

#: What is written of a selection; figures are not, for they take longer than all the rest.
_KINDS = ("mask", "rand_split", "new_cat", "stat")


def _write(source: LegacySource, ccd: CcdId, folder: Path) -> Written:
    """Write the outcome of the star selection of a CCD."""
    found = source.detected(ccd)
    if found is None or found.stars.outcome is None:
        return Written(lacking=True)
    rows = catalogue_rows(found.image, source.view.settings.exposure.vignet_size)
    paths = write_selection(
        found.stars.outcome,
        rows,
        catalogue_header(found.image),
        folder,
        number_of(ccd),
        _KINDS,
        overwrite=source.overwrite,
    )
    return Written(tuple(paths))


def training_name(source: LegacySource) -> str:
    """Return how files of the stars of the PSF models begin: `star_split_ratio_80`, or the mask's name without split.

    The models have the names of the files that they are made from.
    """
    params = source.view.settings.stars
    if not params.split:
        return params.mask
    nothing = np.zeros(0, DETECTION_DTYPE)
    outcome = source.selection.select(nothing, constants_of(params, {}), np.random.default_rng(0))
    return f"{params.split}_ratio_{outcome.splits[params.split].labels[1]}"


STARS = Product(
    "selected stars of each CCD with their stamps: all, the parts of the split; statistics",
    (Part(CCD, "setools_runner", _write),),
    lack="have too many missing pixels for a detection",
)
