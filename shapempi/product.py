"""What a unit of work yields: named arrays and a few scalars, ready to be committed as one group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

__all__ = ["Location", "Product", "Scalar"]

#: What an attribute may be.
Scalar = str | int | float | bool


@dataclass(frozen=True)
class Product:
    """The result of one unit.

    Attributes
    ----------
    arrays : mapping of str to ndarray
        The arrays by name.  A table is a structured array of one dimension.  No object dtype; text is `S<n>`.
    attrs : mapping of str to scalar
        Statistics and text (a FITS header as one string, say).
    """

    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    attrs: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True)
class Location:
    """Where a committed product lies.

    Attributes
    ----------
    file : str
        Path of the part file, relative to the run folder.
    group : str
        Path of the group in that file.
    crc32 : int
        Checksum of all arrays and attributes of the product.
    n_row : int
        Rows of the unit's main table (0 where it has none).
    """

    file: str
    group: str
    crc32: int
    n_row: int
