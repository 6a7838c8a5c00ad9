"""The file of PSF stamps at all epochs of a catalogue's objects, by column, written CCD by CCD.

    index/<column>      one row per object and CCD that saw it, by CCD, then object
    psf                 [row, size, size] the stamps; zero where the CCD has no accepted model
    moments/<column>    one row per row of the index, if shapes were measured
    objects/<column>    one row per object of the catalogue, in its order
    order               rows of the index by object: those of object i are order[first[i] : first[i] + n_epoch[i]]
    psf_status/<column> one row per CCD of the run

Nothing but the index is held in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from shapempi.catalog import STAR_COLUMNS, Column, fitted
from shapempi.errors import DataError
from shapempi.io.catalog import create_catalogue

__all__ = [
    "INDEX_COLUMNS",
    "MOMENT_COLUMNS",
    "OBJECT_COLUMNS",
    "STATUS_COLUMNS",
    "EpochPsfWriter",
    "create_epoch_psf",
]

#: One object on one CCD.
INDEX_COLUMNS: tuple[Column, ...] = (
    Column("object", "i4", "", "Row of the object in the catalogue, from 0."),
    Column("exposure", "i4", "", "Exposure number."),
    Column("ccd", "i2", "", "CCD index."),
    Column("x", "f8", "pixel", "Position of the object on the CCD along x, 1-based."),
    Column("y", "f8", "pixel", "Position of the object on the CCD along y, 1-based."),
    Column("dx", "f8", "pixel", "The object's centre minus the centre of its pixel, along x."),
    Column("dy", "f8", "pixel", "The same along y."),
    Column("status", "S16", "", "accepted; else why the CCD has no PSF, and the stamp is zero."),
)

_SHAPE_NAMES = ("E1_PSF_HSM", "E2_PSF_HSM", "SIGMA_PSF_HSM", "FLAG_PSF_HSM", "g1_psf", "g2_psf", "T_psf")

#: Shape of the model in one row of the index.
MOMENT_COLUMNS: tuple[Column, ...] = tuple(column for column in STAR_COLUMNS if column.name in _SHAPE_NAMES)

#: One object of the catalogue.
OBJECT_COLUMNS: tuple[Column, ...] = (
    Column("NUMBER", "i8", "", "Number of the object in its catalogue; its row from 1 where the catalogue has none."),
    Column("RA", "f8", "deg", "Right ascension."),
    Column("DEC", "f8", "deg", "Declination."),
    Column("n_epoch", "i4", "", "Rows of the index."),
    Column("n_epoch_used", "i4", "", "Those of them with a PSF."),
    Column("first", "i8", "", "Where they begin in `order`."),
)

#: One CCD of the run (behaviour specification, section 8).
STATUS_COLUMNS: tuple[Column, ...] = (
    Column("EXP", "i4", "", "Exposure number; -1 for a model that is not of a run."),
    Column("CCD", "i2", "", "CCD index; -1 for a model that is not of a run."),
    Column("STATUS", "S16", "", "accepted; else what became of the PSF model, one word."),
    Column("ACCEPTED", "i4", "", "Stars that the model was fitted to."),
    Column("CHI2", "f8", "", "Reduced chi^2 of the model; NaN without one."),
    Column("N_OBJECT", "i8", "", "Objects on the CCD: they lost this epoch if it is not accepted."),
    Column("REASON", "S200", "", "Why the model is not accepted; empty if it is."),
)

#: Rows of one chunk of a column, and of the stamps.
_ROWS, _STAMPS = 4096, 32


class EpochPsfWriter:
    """Writes the file of PSF stamps; `create_epoch_psf` makes one.

    Parameters
    ----------
    file : h5py.File
        The open file, empty.
    size : int
        Side of the stamps [pixel].
    shapes : bool
        Whether there are moments.
    exposure : int, optional
        Largest number of an exposure.
    """

    def __init__(self, file: h5py.File, size: int, *, shapes: bool, exposure: int = 0) -> None:
        self._file = file
        self._n_row = 0
        self._exposure = exposure
        self._columns = _growing(file, "index", fitted(INDEX_COLUMNS, exposure=exposure))
        self._moments = _growing(file, "moments", MOMENT_COLUMNS) if shapes else {}
        # Stamps are noise to a packer; chunks that nothing is written to take no space and read as zero.
        self._psf = file.create_dataset(
            "psf", (0, size, size), "f4", maxshape=(None, size, size), chunks=(_STAMPS, size, size), fillvalue=0.0
        )
        self._psf.attrs["meaning"] = "PSF stamps of unit sum, [row of index, y, x]."

    def append(self, index: np.ndarray, psf: np.ndarray | None = None, moments: np.ndarray | None = None) -> None:
        """Write the next rows.

        Parameters
        ----------
        index : ndarray [n]
            Rows with INDEX_COLUMNS.
        psf : ndarray of float [n, size, size], optional
            Their stamps; zero by default.
        moments : structured ndarray [n], optional
            With MOMENT_COLUMNS; NaN, and the flag 1, by default.
        """
        start, stop = self._n_row, self._n_row + len(index)
        for name, dataset in self._columns.items():
            _extend(dataset, stop)[start:stop] = index[name]
        for name, dataset in self._moments.items():
            missing = 1 if dataset.dtype.kind == "i" else np.nan
            _extend(dataset, stop)[start:stop] = missing if moments is None else moments[name]
        _extend(self._psf, stop)
        if psf is not None:
            self._psf[start:stop] = psf
        self._n_row = stop

    def finish(self, objects: Mapping[str, np.ndarray], status: np.ndarray) -> None:
        """Write the tables of the objects and of the CCDs.

        Parameters
        ----------
        objects : mapping of str to ndarray [n_object]
            NUMBER, RA, DEC of every object of the catalogue.
        status : structured ndarray [n_ccd]
            With STATUS_COLUMNS.

        Raises
        ------
        DataError
            If the index names an object that there is not.
        """
        n_object = len(objects["RA"])
        owner = self._columns["object"][:]
        if len(owner) and not 0 <= owner.min() <= owner.max() < n_object:
            raise DataError(f"the index names objects {owner.min()} to {owner.max()}; there are {n_object}")
        n_epoch = np.bincount(owner, minlength=n_object)
        used = np.bincount(owner[self._columns["status"][:] == b"accepted"], minlength=n_object)
        table = dict(objects) | {
            "n_epoch": n_epoch,
            "n_epoch_used": used,
            "first": np.concatenate([[0], np.cumsum(n_epoch)])[:n_object],
        }
        _whole(self._file, "objects", OBJECT_COLUMNS, table)
        order = self._file.create_dataset("order", data=np.argsort(owner, kind="stable").astype("i8"))
        order.attrs["meaning"] = "Rows of the index by object, then CCD."
        columns = fitted(STATUS_COLUMNS, exposure=self._exposure)
        _whole(self._file, "psf_status", columns, {name: status[name] for name in status.dtype.names or ()})


@contextmanager
def create_epoch_psf(
    path: Path,
    size: int,
    attributes: Mapping[str, str | int],
    *,
    shapes: bool,
    overwrite: bool,
    exposure: int = 0,
) -> Iterator[EpochPsfWriter]:
    """Open a new file of PSF stamps; it appears under its name when the block ends well.

    Parameters
    ----------
    path : Path
        The file.
    size : int
        Side of the stamps [pixel].
    attributes : mapping
        Attributes of the file.
    shapes : bool
        Whether there are moments.
    overwrite : bool
        Whether a file that is there may be replaced.
    exposure : int, optional
        Largest number of an exposure, for which columns must have room.

    Yields
    ------
    EpochPsfWriter
        What writes it.

    Raises
    ------
    ConfigError
        If the file is there and must not be replaced, or cannot be written.
    """
    with create_catalogue(path, attributes, overwrite=overwrite) as file:
        yield EpochPsfWriter(file, size, shapes=shapes, exposure=exposure)


def _growing(file: h5py.File, name: str, columns: Sequence[Column]) -> dict[str, h5py.Dataset]:
    """Make a table without rows that rows can be added to."""
    group = file.create_group(name, track_order=True)
    datasets = {}
    for column in columns:
        datasets[column.name] = group.create_dataset(
            column.name, (0,), column.dtype, maxshape=(None,), chunks=(_ROWS,), compression="gzip", shuffle=True
        )
        _describe(datasets[column.name], column)
    return datasets


def _extend(dataset: h5py.Dataset, n_row: int) -> h5py.Dataset:
    dataset.resize(n_row, axis=0)
    return dataset


def _whole(file: h5py.File, name: str, columns: Sequence[Column], values: Mapping[str, np.ndarray]) -> None:
    """Write a whole table."""
    group = file.create_group(name, track_order=True)
    for column in columns:
        _describe(group.create_dataset(column.name, data=np.asarray(values[column.name], dtype=column.dtype)), column)
        group.attrs["n_row"] = len(values[column.name])


def _describe(dataset: h5py.Dataset, column: Column) -> None:
    dataset.attrs["unit"], dataset.attrs["meaning"] = column.unit, column.meaning
