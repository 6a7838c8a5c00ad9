"""The merged star catalogue in the form of the reference system: full_starcat (behaviour specification, 12.4).

FITS_LDAC with the columns of the reference system, among them CCD_NB as text, and besides them EXP and the shapes in
the sky frame.  Where moments could not be measured the flag says so and values are NaN (the reference system: 0, -1).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import fitsio
import numpy as np

from shapempi.catalog import Column, dtype_of, fitted
from shapempi.io.atomic import refuse_existing, replacing
from shapempi.io.ldac import write_ldac

__all__ = ["FULL_STARCAT_COLUMNS", "FULL_STARCAT_INPUT", "write_full_starcat"]

#: Columns that keep their name.
_KEPT = (
    *(("X", "pixel"), ("Y", "pixel"), ("RA", "deg"), ("DEC", "deg")),
    *(("E1_PSF_HSM", ""), ("E2_PSF_HSM", ""), ("SIGMA_PSF_HSM", "pixel")),
    *(("E1_STAR_HSM", ""), ("E2_STAR_HSM", ""), ("SIGMA_STAR_HSM", "pixel")),
)
_SKY = tuple((f"{name}_{of}", "arcsec2" if name == "T" else "") for of in ("psf", "star") for name in ("g1", "g2", "T"))

#: The columns of the file.
FULL_STARCAT_COLUMNS: tuple[Column, ...] = (
    *(Column(name, "f8", unit, "") for name, unit in _KEPT),
    *(Column(f"FLAG_{of}_HSM", "i2", "", "") for of in ("PSF", "STAR")),
    Column("MAG", "f4", "mag", ""),
    Column("SNR", "f4", "", ""),
    Column("ACCEPTED", "i2", "", ""),
    Column("CCD_NB", "S6", "", "CCD index as text."),
    Column("EXP", "i4", "", "Exposure number."),
    *(Column(name, "f8", unit, "") for name, unit in _SKY),
)

#: Columns of a table of stars (`shapempi.catalog.STAR_COLUMNS`) that the file is made from.
FULL_STARCAT_INPUT = tuple("exposure" if column.name == "EXP" else column.name for column in FULL_STARCAT_COLUMNS)


def write_full_starcat(tables: Iterable[np.ndarray], path: Path, *, overwrite: bool) -> int:
    """Write the stars of a survey, part by part.

    Parameters
    ----------
    tables : iterable of structured ndarray
        Parts of the table of stars, with the columns `FULL_STARCAT_INPUT`.
    path : Path
        The file.
    overwrite : bool
        Whether a file that is there may be replaced.

    Returns
    -------
    int
        Stars written.

    Raises
    ------
    ConfigError
        If the file is there and must not be replaced, or cannot be written.
    """
    refuse_existing(path, overwrite=overwrite)
    parts = iter(tables)
    first = next(parts, None)
    wide = first is not None and first.dtype["exposure"].itemsize > np.dtype("i4").itemsize
    columns = fitted(FULL_STARCAT_COLUMNS, exposure=np.iinfo("i8").max if wide else 0)
    dtype = dtype_of(columns)
    units = {column.name: column.unit for column in columns if column.unit}
    n_star = 0
    with replacing(path) as temporary:
        write_ldac(temporary, np.zeros(0, dtype), "", overwrite=True, units=units)
        with fitsio.FITS(str(temporary), "rw") as file:
            for stars in parts if first is None else chain([first], parts):
                rows = np.empty(len(stars), dtype)
                for column, source in zip(columns, FULL_STARCAT_INPUT, strict=True):
                    rows[column.name] = stars[source].astype(column.dtype)
                if len(rows):
                    file["LDAC_OBJECTS"].append(rows)
                n_star += len(rows)
    return n_star
