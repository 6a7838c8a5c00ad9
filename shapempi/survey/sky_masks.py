"""Maps of the sky whose values become columns of the catalogue: footprints, depth, masks that others have made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shapempi.catalog import COLUMNS, Column
from shapempi.errors import ConfigError
from shapempi.io.sky_map import SkyMap, open_sky_map
from shapempi.params import REQUIRED, Params, key

__all__ = ["SkyColumn", "SkyMaskParams", "check_names", "open_sky_masks"]

_NAME = re.compile(r"[A-Za-z]\w{0,62}", re.ASCII)


class SkyMaskParams(Params):
    """A map of the sky; gathering a run looks every object up in it, into the column NAME of the catalogue."""

    file: Path = key(REQUIRED, "The map: healsparse, or HEALPix in FITS.")
    meaning: str = key("", "What the column says, for its description.")
    unit: str = key("", "Unit of the column.")
    outside: float | None = key(
        None,
        "Value where the map says nothing; without it NaN for maps of floats, -1 for integers, 0 for truths and bits.",
    )


@dataclass(frozen=True)
class SkyColumn:
    """A column of the catalogue that comes from a map.

    Attributes
    ----------
    column : Column
        Its declaration.
    map : SkyMap
        The map.
    """

    column: Column
    map: SkyMap

    def values(self, rows: np.ndarray) -> np.ndarray:
        """Return the values for rows of the catalogue (ra, dec)."""
        return self.map.at(rows["ra"], rows["dec"])


def check_names(masks: Mapping[str, SkyMaskParams]) -> None:
    """Refuse names that are no column names, or that a column has already.

    Raises
    ------
    ValueError
        With the name and the cure.
    """
    taken = {column.name.lower(): column.name for column in COLUMNS}
    for name in masks:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name for a column; letters, digits and _ make one, a letter first")
        if name.lower() in taken:
            raise ValueError(f"the catalogue has a column {taken[name.lower()]} already; choose another than {name}")
        taken[name.lower()] = name


def open_sky_masks(masks: Mapping[str, SkyMaskParams]) -> list[SkyColumn]:
    """Open the maps of a survey.

    Parameters
    ----------
    masks : mapping of str to SkyMaskParams
        Maps by the names of their columns.

    Returns
    -------
    list of SkyColumn
        In the order of the names.

    Raises
    ------
    MissingInputError, DataError, ConfigError, EngineError
        As `open_sky_map`.
    """
    try:
        check_names(masks)
    except ValueError as error:
        raise ConfigError(f"sky_masks: {error}") from error
    opened = []
    for name, params in sorted(masks.items()):
        sky = open_sky_map(params.file, params.outside)
        meaning = params.meaning or f"Value of the map {params.file.name} at the object."
        meaning = f"{meaning.rstrip('.')}; {sky.outside:g} where the map says nothing."
        opened.append(SkyColumn(Column(name, sky.dtype.str[1:], params.unit, meaning), sky))
    return opened
