"""What every stage has in common: it turns a unit's payload and the products it needs into one product."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

from shapempi.product import Location, Product

__all__ = ["ProductReader", "Stage", "Watch"]

#: Takes the time of a step: `with watch("detect"): ...`.
Watch = Callable[[str], AbstractContextManager[None]]


class ProductReader(Protocol):
    """Reads committed products of other units."""

    def read(self, location: Location, names: Sequence[str] | None = None) -> Product:
        """Read a product; only the arrays in `names` where it is given (attributes always)."""
        ...

    def read_section(self, location: Location, name: str, box: tuple[int, int, int, int]) -> np.ndarray:
        """Read the section (y0, y1, x0, x1), half open, of one two-dimensional array."""
        ...


class Stage(Protocol):
    """One kind of unit of work."""

    def process(self, payload: Mapping[str, Any], inputs: Mapping[str, Location], watch: Watch) -> tuple[Product, int]:
        """Do the unit: read, measure, return.

        Parameters
        ----------
        payload : mapping
            What the unit is: plain numbers and texts.
        inputs : mapping of str to Location
            Committed products of the units that it waited for, by uid; failed ones are absent.
        watch : Watch
            Takes the time of each step.

        Returns
        -------
        product : Product
            What is to be committed.
        n_row : int
            Rows of its main table.
        """
        ...
