"""The truth of a simulation: where every object really is, what it is, and how it was sheared.

Read from the simulator's HDF5 file or from a FITS table (of another simulator) with the columns RA, DEC [deg], MAG,
TYPE (1 is a star), G1, G2 (applied shear; u West, v North), in upper or lower case.
"""

from __future__ import annotations

from pathlib import Path

import fitsio
import h5py
import numpy as np

from shapempi.errors import DataError, MissingInputError

__all__ = ["TRUTH_DTYPE", "read_truth"]

#: What comparisons need of an object; `pair` is the same for the members of a 90-degree pair, -1 for none.
TRUTH_DTYPE = np.dtype(
    [("ra", "f8"), ("dec", "f8"), ("mag", "f8"), ("is_star", "?"), ("g1", "f8"), ("g2", "f8"), ("pair", "i8")]
)


def read_truth(path: Path) -> np.ndarray:
    """Read the truth table of a simulation.

    Parameters
    ----------
    path : Path
        HDF5 file of the simulator (dataset `objects`) or FITS table.

    Returns
    -------
    ndarray of TRUTH_DTYPE
        One row per true object.

    Raises
    ------
    MissingInputError
        If the file does not exist.
    DataError
        If it is neither, or a column is missing.
    """
    if not path.exists():
        raise MissingInputError(f"{path}: there is no truth table")
    try:
        if h5py.is_hdf5(path):
            with h5py.File(path, "r") as file:
                rows = file["objects"][()]
        else:
            rows = fitsio.read(str(path), ext=1)
    except (OSError, KeyError) as error:
        raise DataError(f"{path}: not the truth table of a simulation: {error}") from error
    names = {name.lower(): name for name in rows.dtype.names or ()}
    needed = ("ra", "dec", "mag", "g1", "g2", "type")
    absent = [name for name in needed if name not in names]
    if absent:
        raise DataError(f"{path}: the truth table has no column {', '.join(absent)}")
    truth = np.zeros(len(rows), dtype=TRUTH_DTYPE)
    for name in ("ra", "dec", "mag", "g1", "g2"):
        truth[name] = rows[names[name]]
    truth["is_star"] = rows[names["type"]] == 1
    truth["pair"] = rows[names["pair"]] if "pair" in names else -1
    return truth
