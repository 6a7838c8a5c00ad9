"""Maps of mean PSF residuals as HDF5: named arrays with units and meanings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

from shapempi.io.atomic import replacing

__all__ = ["NamedArray", "write_maps"]

#: An array, its unit and its meaning.
NamedArray = tuple[np.ndarray, str, str]


def write_maps(path: Path, maps: Mapping[str, Mapping[str, NamedArray]], attributes: Mapping[str, str]) -> None:
    """Write maps.

    Parameters
    ----------
    path : Path
        The file; one that is there is replaced.
    maps : mapping
        Arrays by name of the map and of the quantity: /<map>/<quantity> with the attributes unit and meaning.
    attributes : mapping of str to str
        Attributes of the file.
    """
    with replacing(path) as temporary, h5py.File(temporary, "w", locking=False) as file:
        file.attrs.update(attributes)
        for name, arrays in maps.items():
            group = file.create_group(name, track_order=True)
            for quantity, (values, unit, meaning) in arrays.items():
                dataset = group.create_dataset(quantity, data=values)
                dataset.attrs["unit"] = unit
                dataset.attrs["meaning"] = meaning
