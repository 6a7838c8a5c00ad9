"""The headers of an exposure's CCDs as an array in a file of NumPy (behaviour specification, section 3.1)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from shapempi.errors import ConfigError, DataError
from shapempi.io.atomic import refuse_existing, replacing
from shapempi.io.fits import Hdu
from shapempi.wcs import Wcs

__all__ = ["header_array", "write_header_array"]


def header_array(found: Mapping[int, Hdu]) -> np.ndarray:
    """Return the headers of an exposure.

    Parameters
    ----------
    found : mapping of int to Hdu
        Its images by number of the CCD.

    Returns
    -------
    ndarray of object [n_ccd]
        Element k is of CCD k: `WCS`, an object of astropy with the distortion that the header has, and `header`, cards
        of 80 characters.  Both are None where the file has no such CCD, and WCS where its header has none.
    """
    result = np.empty(max(found, default=-1) + 1, dtype=object)
    for ccd in range(len(result)):
        hdu = found.get(ccd)
        wcs = None
        if hdu is not None:
            try:
                wcs = Wcs(hdu.header, str(hdu)).astropy
            except DataError:
                pass  # a CCD that sees no sky has no place on it
        result[ccd] = {"WCS": wcs, "header": None if hdu is None else hdu.header}
    return result


def write_header_array(path: Path, headers: np.ndarray, *, overwrite: bool) -> None:
    """Write the headers of an exposure (`headers-2243881.npy`).

    Parameters
    ----------
    path : Path
        The file; its folder must be there.
    headers : ndarray of object [n_ccd]
        What `header_array` returns.
    overwrite : bool
        Whether a file that is there may be replaced.

    Raises
    ------
    ConfigError
        If the file is there and must not be replaced, or cannot be written.
    """
    refuse_existing(path, overwrite=overwrite)
    try:
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.save(file, headers, allow_pickle=True)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error
