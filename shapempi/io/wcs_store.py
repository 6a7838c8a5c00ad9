"""The WCS of many CCDs in one file: a FITS binary table, or an HDF5 file with a dataset per column."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import fitsio
import h5py
import numpy as np

from shapempi.catalog import Column
from shapempi.errors import ConfigError, DataError, MissingInputError
from shapempi.io.atomic import refuse_existing, replacing

__all__ = ["check_store", "read_wcs_store", "write_wcs_store"]

_TABLE = "WCS"


def check_store(path: Path, *, overwrite: bool) -> None:
    """Raise ConfigError if a store cannot be written under this name."""
    if path.suffix.lower() not in _WRITERS:
        raise ConfigError(f"{path}: the WCS store is a FITS table or HDF5; give a name in {', '.join(_WRITERS)}")
    refuse_existing(path, overwrite=overwrite)


def write_wcs_store(path: Path, rows: np.ndarray, columns: Sequence[Column], *, overwrite: bool) -> None:
    """Write a store in one step.

    Parameters
    ----------
    path : Path
        File in .fits, .h5 or .hdf5.
    rows : structured ndarray [n]
        A row per CCD.
    columns : sequence of Column
        Units and meanings of the columns, in their order.
    overwrite : bool
        Whether a file that is there may be replaced.

    Raises
    ------
    ConfigError
        If the name has another ending, or the file is there and must not be replaced, or cannot be written.
    """
    check_store(path, overwrite=overwrite)
    try:
        with replacing(path) as temporary:
            _WRITERS[path.suffix.lower()](temporary, rows, columns)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror or error}") from error


def _write_fits(path: Path, rows: np.ndarray, columns: Sequence[Column]) -> None:
    """Write a binary table with units and meanings."""
    with fitsio.FITS(str(path), "rw", clobber=True) as file:
        file.write(rows, extname=_TABLE, units=[column.unit for column in columns])
        for number, column in enumerate(columns, start=1):
            file[_TABLE].write_key(f"TCOMM{number}", column.meaning)


def _write_hdf5(path: Path, rows: np.ndarray, columns: Sequence[Column]) -> None:
    """Write a dataset per column, with unit and meaning as attributes."""
    with h5py.File(path, "w", locking=False) as file:
        group = file.create_group(_TABLE, track_order=True)
        for column in columns:
            data = group.create_dataset(column.name, data=rows[column.name], compression="gzip" if len(rows) else None)
            data.attrs["unit"], data.attrs["meaning"] = column.unit, column.meaning


_WRITERS: Mapping[str, Callable[[Path, np.ndarray, Sequence[Column]], None]] = {
    ".fits": _write_fits,
    ".h5": _write_hdf5,
    ".hdf5": _write_hdf5,
}


def read_wcs_store(path: Path) -> np.ndarray:
    """Read a store.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    structured ndarray [n]
        A row per CCD, native byte order; `Wcs(row["HEADER"].decode())` is its WCS, and `SIP_HEADER` the SIP form.

    Raises
    ------
    MissingInputError, DataError
        If the file is not there, or is no store.
    """
    if not path.is_file():
        raise MissingInputError(f"{path}: there is no WCS store; make it with `shapempi headers`")
    try:
        if h5py.is_hdf5(path):
            with h5py.File(path, "r", locking=False) as file:
                columns = {name: file[_TABLE][name][()] for name in file[_TABLE]}
            n_row = len(next(iter(columns.values())))
            rows = np.zeros(n_row, dtype=[(name, data.dtype, data.shape[1:]) for name, data in columns.items()])
            for name, data in columns.items():
                rows[name] = data
            return rows
        with fitsio.FITS(str(path)) as file:
            table = file[_TABLE].read()
    except (OSError, KeyError, StopIteration) as error:
        raise DataError(f"{path}: not a WCS store of `shapempi headers`: {error}") from error
    # texts as bytes, as HDF5 has them: a quarter of the memory
    dtype = [(name, _as_bytes(table.dtype[name].base), table.dtype[name].shape) for name in table.dtype.names]
    return table.astype(dtype)


def _as_bytes(dtype: np.dtype) -> np.dtype:
    """Return a native dtype, of texts that of bytes."""
    return np.dtype(f"S{dtype.itemsize // 4}") if dtype.kind == "U" else dtype.newbyteorder("=")
