"""PSF models at positions that the user names: at a catalogue's objects, in all epochs, at the stars held back.

The three modes of the behaviour specification, section 8.  A CCD whose model is not accepted is a row of the status
table and costs this epoch of its objects; it is no error.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from shapempi.catalog import STAR_COLUMNS, dtype_of, fitted
from shapempi.errors import ConfigError
from shapempi.ids import CcdId
from shapempi.io.atomic import refuse_existing, sync_folder
from shapempi.io.epoch_psf import INDEX_COLUMNS, STATUS_COLUMNS, EpochPsfWriter, create_epoch_psf
from shapempi.io.ldac import write_ldac, write_table
from shapempi.io.positions import Positions, read_positions
from shapempi.measure.epochs import find_epochs
from shapempi.measure.psf.interpolation import PSF_SHAPE_DTYPE, interpolate
from shapempi.measure.psf.outcome import PsfAcceptance, PsfStatus
from shapempi.psf import PsfModel
from shapempi.run_psf import CcdPsf, RunPsf
from shapempi.wcs import Wcs

__all__ = ["Interpolated", "interpolate_catalogue", "interpolate_epochs", "interpolate_stars", "star_rows", "units_of"]

#: Stamps that are in memory at once.
_BATCH = 1024

#: Columns of the star tables in the files of the mode VALIDATION: those of the reference system, in its order, then
#: what it does not have.
_REFERENCE = (
    *(f"{name}_PSF_HSM" for name in ("E1", "E2", "SIGMA", "FLAG")),
    *(f"{name}_STAR_HSM" for name in ("E1", "E2", "SIGMA", "FLAG")),
    *("NUMBER", "X", "Y", "RA", "DEC", "MAG", "SNR", "ACCEPTED"),
)
_BESIDES = ("g1_psf", "g2_psf", "T_psf", "g1_star", "g2_star", "T_star", "chi2", "FWHM_IMAGE", "USED")


@dataclass(frozen=True)
class Interpolated:
    """What was done.

    Attributes
    ----------
    files : tuple of Path
        The files that were written.
    n_object : int
        Objects or stars of the input.
    n_epoch, n_lost : int
        Places at which a PSF was asked for, and those of them where there is none.
    status : structured ndarray
        One row per CCD (`shapempi.io.epoch_psf.STATUS_COLUMNS`).
    damaged : tuple of str
        Part files of the run that could not be read.
    """

    files: tuple[Path, ...]
    n_object: int
    n_epoch: int
    n_lost: int
    status: np.ndarray
    damaged: tuple[str, ...] = ()

    @property
    def refused(self) -> np.ndarray:
        """The rows of the CCDs without an accepted model."""
        return self.status[self.status["STATUS"] != PsfStatus.ACCEPTED.encode()]


def interpolate_catalogue(
    psf: Path,
    catalogue: Path,
    output: Path,
    *,
    ccd: CcdId | None = None,
    position: tuple[str, str] = ("XWIN_IMAGE", "YWIN_IMAGE"),
    size: int = 51,
    shapes: bool = True,
    acceptance: PsfAcceptance | None = None,
    overwrite: bool = False,
) -> Interpolated:
    """Draw the PSF of one CCD at the objects of a catalogue (mode CLASSIC).

    Writes `output`, FITS_LDAC with the catalogue's image header and the columns VIGNET [size, size] (float32, unit
    sum), NUMBER if the catalogue has it, the shapes in the pixel frame and, where a WCS is known, on the sky; and
    beside it the status table, `<output>_status.fits`.  If the model is not accepted there is the status table only.

    Parameters
    ----------
    psf : Path
        A `.psf` file, or the folder of a run.
    catalogue : Path
        Catalogue of the objects on the CCD, FITS or FITS_LDAC.
    output : Path
        The file to write.
    ccd : CcdId, optional
        Which CCD of the run.
    position : tuple of str, optional
        Columns of the position on the CCD, 1-based.
    size : int, optional
        Side of the stamps [pixel], odd.
    shapes : bool, optional
        Whether to measure shapes.
    acceptance : PsfAcceptance, optional
        When the model of a `.psf` file is accepted; a run has decided for itself.
    overwrite : bool, optional
        Whether files that are there may be replaced.

    Returns
    -------
    Interpolated
        What was done.

    Raises
    ------
    ConfigError
        If a file is there already, the run has no such CCD, or the size is not odd.
    MissingInputError, DataError
        If a file is not there or cannot be used.
    """
    _check_size(size)
    table_path = output.with_name(f"{output.stem}_status.fits")
    for path in (output, table_path):
        refuse_existing(path, overwrite=overwrite)
    if psf.is_dir():
        if ccd is None:
            raise ConfigError(f"{psf} is the folder of a run: say which CCD is meant, EXPOSURE-CCD")
        run = RunPsf(psf)
        run.check(ccd)
        source = run.read(ccd)
    else:
        source = CcdPsf.from_file(psf, PsfAcceptance() if acceptance is None else acceptance)
    objects = read_positions(catalogue, position)
    n_object = len(objects)
    source.row["N_OBJECT"] = n_object
    write_table(table_path, source.row, overwrite=overwrite, name="PSF_STATUS")
    if source.model is None:
        if output.exists():  # of an older model, which is no more
            output.unlink()
            sync_folder(output.parent)
        return Interpolated((table_path,), n_object, n_object, n_object, source.row)
    header = objects.header or source.header
    wcs = Wcs(header, str(catalogue)) if "CRVAL1" in header else None
    rows = _galaxy_rows(source.model, objects, size, wcs, shapes=shapes)
    write_ldac(output, rows, header, overwrite=overwrite, units=units_of(rows))
    n_lost = int(np.sum(~rows["VIGNET"].any(axis=(1, 2))))
    return Interpolated((output, table_path), n_object, n_object, n_lost, source.row)


def _galaxy_rows(model: PsfModel, objects: Positions, size: int, wcs: Wcs | None, *, shapes: bool) -> np.ndarray:
    """Return the rows of a galaxy_psf file."""
    names = [name for name in PSF_SHAPE_DTYPE.names or () if wcs is not None or not name.endswith("_psf")]
    fields: list[tuple] = [("VIGNET", "f4", (size, size))]
    fields += [("NUMBER", "i8")] if objects.number is not None else []
    fields += [(name, PSF_SHAPE_DTYPE[name]) for name in names] if shapes else []
    rows = np.zeros(len(objects), fields)
    if objects.number is not None:
        rows["NUMBER"] = objects.number
    for part in _batches(len(objects)):
        x, y = objects.x[part] - 1.0, objects.y[part] - 1.0
        jacobians = _jacobians(wcs, x, y) if wcs is not None and shapes else None
        rows["VIGNET"][part], measured = interpolate(model, x, y, size, jacobians=jacobians, shapes=shapes)
        for name in names if shapes else ():
            rows[name][part] = measured[name]
    return rows


def interpolate_epochs(
    run_folder: Path,
    catalogue: Path,
    output: Path,
    *,
    position: tuple[str, str] = ("RA", "DEC"),
    size: int = 51,
    shapes: bool = True,
    shifted: bool = False,
    overwrite: bool = False,
) -> Interpolated:
    """Draw the PSF of every CCD of a run at every object that it sees (mode MULTI-EPOCH).

    Writes `output`, HDF5 by column (`shapempi.io.epoch_psf`): which object is where on which CCD, the stamps, their
    shapes, the objects with the places of their epochs, and the status of every CCD.  An object is on the CCDs that
    the run itself would take (behaviour specification, section 5.3).  One exposure's positions and one CCD's model
    are in memory at a time.

    Parameters
    ----------
    run_folder : Path
        The run.
    catalogue : Path
        FITS, FITS_LDAC, or a catalogue of `shapempi gather` (HDF5).
    output : Path
        The file to write.
    position : tuple of str, optional
        Columns of right ascension and declination [deg]; the case of the letters does not matter.
    size : int, optional
        Side of the stamps [pixel], odd.
    shapes : bool, optional
        Whether to measure shapes.
    shifted : bool, optional
        Whether the PSF lies in its stamp as the object does in the pixel grid, (dx, dy) off the centre; by default it
        is centred.
    overwrite : bool, optional
        Whether a file that is there may be replaced.

    Returns
    -------
    Interpolated
        What was done.

    Raises
    ------
    ConfigError
        If the file is there already or the size is not odd.
    MissingInputError, DataError
        If a file is not there or cannot be used.
    """
    _check_size(size)
    refuse_existing(output, overwrite=overwrite)
    run = RunPsf(run_folder)
    objects = read_positions(catalogue, position)
    drawing = _Drawing(size, shapes, shifted)
    status: list[np.ndarray] = []
    attributes: dict[str, str | int] = {"size": size, "shifted": int(shifted), "catalogue": catalogue.name}
    largest = max((ccd.exposure for ccd in run.ccds), default=0)
    with create_epoch_psf(output, size, attributes, shapes=shapes, overwrite=overwrite, exposure=largest) as writer:
        for _, ccds in groupby(run.ccds, key=lambda ccd: ccd.exposure):
            status += _exposure(run, list(ccds), objects, writer, drawing)
        table = np.concatenate([np.zeros(0, dtype_of(STATUS_COLUMNS)), *status])
        number = np.arange(1, len(objects) + 1) if objects.number is None else objects.number
        writer.finish({"NUMBER": number, "RA": objects.x, "DEC": objects.y}, table)
    lost = table["N_OBJECT"][table["STATUS"] != PsfStatus.ACCEPTED.encode()]
    n_epoch = int(table["N_OBJECT"].sum())
    return Interpolated((output,), len(objects), n_epoch, int(lost.sum()), table, run.damaged)


@dataclass(frozen=True)
class _Drawing:
    """How the stamps are drawn."""

    size: int
    shapes: bool
    shifted: bool


def _exposure(
    run: RunPsf, ccds: list[CcdId], objects: Positions, writer: EpochPsfWriter, drawing: _Drawing
) -> list[np.ndarray]:
    """Write all rows of one exposure; returns the rows of its CCDs in the status table."""
    geometry = []
    for ccd in ccds:
        place = run.place(ccd)
        if place is not None:
            geometry.append((ccd, *place))
    epochs = find_epochs(objects.x, objects.y, geometry)
    wcs = {ccd: of_ccd for ccd, of_ccd, _ in geometry}
    status = []
    for ccd in ccds:
        source = run.read(ccd)
        here = epochs[epochs["ccd"] == ccd.ccd]
        source.row["N_OBJECT"] = len(here)
        status.append(source.row)
        for part in _batches(len(here)):
            _append(writer, here[part], source, wcs[ccd], drawing)
    return status


def _append(writer: EpochPsfWriter, epochs: np.ndarray, source: CcdPsf, wcs: Wcs, drawing: _Drawing) -> None:
    """Write some rows of one CCD."""
    index = np.zeros(len(epochs), dtype_of(fitted(INDEX_COLUMNS, exposure=int(epochs["exposure"].max(initial=0)))))
    x, y = epochs["x"], epochs["y"]
    for name in ("object", "exposure", "ccd"):
        index[name] = epochs[name]
    index["x"], index["y"] = x + 1.0, y + 1.0
    index["dx"], index["dy"] = x - np.rint(x), y - np.rint(y)
    index["status"] = source.row["STATUS"][0]
    if source.model is None:
        writer.append(index)
        return
    dx, dy = (index["dx"], index["dy"]) if drawing.shifted else (None, None)
    jacobians = wcs.jacobian(x, y) if drawing.shapes else None
    psf, moments = interpolate(
        source.model, x, y, drawing.size, dx=dx, dy=dy, jacobians=jacobians, shapes=drawing.shapes
    )
    writer.append(index, psf, moments if drawing.shapes else None)


def interpolate_stars(
    run_folder: Path, folder: Path, *, training: bool = False, size: int = 51, overwrite: bool = False
) -> Interpolated:
    """Compare the PSF models of a run with its stars once more (mode VALIDATION).

    Writes for every CCD with an accepted model `validation_psf-<exposure>-<ccd>.fits`, FITS_LDAC with the stars that
    were held back, their shapes as the run measured them, and those of the model drawn anew where each star is in its
    pixels; and the status of all CCDs, `psf_status.fits`.

    Parameters
    ----------
    run_folder : Path
        The run.
    folder : Path
        Where to write; made if it is not there.
    training : bool, optional
        Whether to write the stars that the models were fitted to, too: `training_psf-<exposure>-<ccd>.fits`.
    size : int, optional
        Side of the stamps that the model is drawn in [pixel], odd.
    overwrite : bool, optional
        Whether files that are there may be replaced.

    Returns
    -------
    Interpolated
        What was done.

    Raises
    ------
    ConfigError
        If a file is there already or the folder cannot be made.
    MissingInputError, DataError
        If the run cannot be read.
    """
    _check_size(size)
    run = RunPsf(run_folder)
    tables = {"stars": "validation_psf", **({"training_stars": "training_psf"} if training else {})}
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be made: {error.strerror}") from error
    status_path = folder / "psf_status.fits"
    paths = {(ccd, name): folder / f"{stem}-{ccd}.fits" for ccd in run.ccds for name, stem in tables.items()}
    for path in (status_path, *paths.values()):
        refuse_existing(path, overwrite=overwrite)
    files, status = [], []
    n_star = n_lost = 0
    for ccd in run.ccds:
        source = run.read(ccd, tuple(tables))
        status.append(source.row)
        if source.product is None:
            continue
        source.row["N_OBJECT"] = sum(len(source.product.arrays[name]) for name in tables)
        n_star += int(source.row["N_OBJECT"][0])
        if source.model is None:
            n_lost += int(source.row["N_OBJECT"][0])
            continue
        wcs = Wcs(source.header, str(source.product.attrs["path"]))
        for name in tables:
            rows = star_rows(source.product.arrays[name], source.model, wcs, size)
            path = paths[ccd, name]
            write_ldac(path, rows, source.header, overwrite=overwrite, units=units_of(rows))
            files.append(path)
    table = np.concatenate([np.zeros(0, dtype_of(STATUS_COLUMNS)), *status])
    write_table(status_path, table, overwrite=overwrite, name="PSF_STATUS")
    return Interpolated((*files, status_path), n_star, n_star, n_lost, table, run.damaged)


def star_rows(stars: np.ndarray, model: PsfModel, wcs: Wcs, size: int) -> np.ndarray:
    """Return the rows of a validation_psf file.

    Parameters
    ----------
    stars : structured ndarray [n]
        Stars of one CCD (`shapempi.catalog.STAR_COLUMNS`).
    model : PsfModel
        Its model, which is drawn where each star is in its pixels.
    wcs : Wcs
        Its WCS.
    size : int
        Side of the stamps that the model is drawn in [pixel], odd.
    """
    rows = np.zeros(len(stars), [(name, stars.dtype[name]) for name in (*_REFERENCE, *_BESIDES)])
    for name in rows.dtype.names or ():
        rows[name] = stars[name]
    x, y = stars["X"] - 1.0, stars["Y"] - 1.0
    dx, dy = x - np.rint(x), y - np.rint(y)  # the vignet's centre is the nearest pixel
    for part in _batches(len(stars)):
        jacobians = wcs.jacobian(x[part], y[part])
        _, moments = interpolate(model, x[part], y[part], size, dx=dx[part], dy=dy[part], jacobians=jacobians)
        for name in PSF_SHAPE_DTYPE.names or ():
            rows[name][part] = moments[name]
    return rows


def _check_size(size: int) -> None:
    if size < 1 or size % 2 == 0:
        raise ConfigError(
            f"the size of the stamps must be odd and positive, so that they have a central pixel: not {size}"
        )


def _batches(n: int) -> Iterator[slice]:
    for start in range(0, n, _BATCH):
        yield slice(start, min(start + _BATCH, n))


def _jacobians(wcs: Wcs, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the Jacobians [n, 4], NaN where a position is not finite."""
    jacobians = np.full((len(x), 4), np.nan)
    good = np.isfinite(x) & np.isfinite(y)
    jacobians[good] = wcs.jacobian(x[good], y[good])
    return jacobians


def units_of(rows: np.ndarray) -> dict[str, str]:
    """Return the units of the columns of such rows, those that have one."""
    return {
        column.name: column.unit for column in STAR_COLUMNS if column.unit and column.name in (rows.dtype.names or ())
    }
