"""The PSF models of a run's CCDs, and of `.psf` files: accepted, or why not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shapempi.catalog import empty_table, fitted
from shapempi.errors import ConfigError
from shapempi.gather import read_plan
from shapempi.ids import CcdId
from shapempi.io.epoch_psf import STATUS_COLUMNS
from shapempi.io.ledger import Ledger
from shapempi.io.parts import PartReader
from shapempi.io.psfex import read_psf
from shapempi.measure.psf.outcome import PsfAcceptance, PsfStatus
from shapempi.product import Product
from shapempi.psf import PsfModel
from shapempi.units import complete
from shapempi.wcs import Wcs

__all__ = ["CcdPsf", "RunPsf"]


@dataclass(frozen=True)
class CcdPsf:
    """What is known of the PSF of one CCD.

    Attributes
    ----------
    row : structured ndarray [1]
        Its row of the status table (`shapempi.io.epoch_psf.STATUS_COLUMNS`).
    model : PsfModel or None
        The model if it is accepted.
    product : Product or None
        Scalars of the run's CCD, and the arrays that were asked for; None for a file, or if the unit failed.
    """

    row: np.ndarray
    model: PsfModel | None
    product: Product | None = None

    @property
    def header(self) -> str:
        """The CCD's FITS header; empty if it is unknown."""
        return "" if self.product is None else str(self.product.attrs["header"])

    @classmethod
    def from_file(cls, path: Path, acceptance: PsfAcceptance) -> CcdPsf:
        """Read the model of a `.psf` file and judge it.

        Raises
        ------
        MissingInputError, DataError
            If the file is not there or is no PSF model.
        """
        model = read_psf(path)
        status, reason = acceptance.judge(model.n_star, model.chi2)
        row = _status_row(None, status.value, model.n_star, model.chi2, reason)
        return cls(row, model if status is PsfStatus.ACCEPTED else None)


class RunPsf:
    """The CCDs of a run.

    Parameters
    ----------
    folder : Path
        The run.

    Attributes
    ----------
    ccds : tuple of CcdId
        The CCDs of the run's plan, sorted.
    damaged : tuple of str
        Part files that could not be read.

    Raises
    ------
    MissingInputError
        If the folder is not a run's.
    """

    def __init__(self, folder: Path) -> None:
        plan = read_plan(folder)
        found = Ledger.read(folder)
        self.ccds = plan.ccds
        self.damaged = tuple(found.damaged)
        self._done = complete(found.locations, plan)
        self._reader = PartReader(folder, patience=5.0)
        self._folder = folder

    def check(self, ccd: CcdId) -> None:
        """Raise ConfigError if the run has no such CCD."""
        if ccd not in self.ccds:
            some = ", ".join(map(str, self.ccds[:3])) or "none"
            raise ConfigError(f"{self._folder}: the run has no CCD {ccd}; it has {len(self.ccds)}, first {some}")

    def place(self, ccd: CcdId) -> tuple[Wcs, tuple[int, int, int, int]] | None:
        """Return WCS and valid box (y0, y1, x0, x1) of a CCD; None if its unit failed or was not done."""
        location = self._done.get(ccd.uid)
        if location is None:
            return None
        attrs = self._reader.read(location, names=()).attrs
        y0, y1, x0, x1 = (int(attrs[f"valid_{name}"]) for name in ("y0", "y1", "x0", "x1"))
        return Wcs(str(attrs["header"]), str(attrs["path"])), (y0, y1, x0, x1)

    def read(self, ccd: CcdId, names: tuple[str, ...] = ()) -> CcdPsf:
        """Return the model of a CCD, or why there is none.

        Parameters
        ----------
        ccd : CcdId
            The CCD.
        names : tuple of str, optional
            Arrays of its product to read besides.

        Raises
        ------
        DataError
            If its product is there and cannot be read.
        """
        location = self._done.get(ccd.uid)
        if location is None:
            return CcdPsf(_status_row(ccd, "failed", 0, np.nan, "the unit of the CCD failed or was not done"), None)
        attrs = self._reader.read(location, names=()).attrs
        status = str(attrs["psf_status"])
        accepted = status == PsfStatus.ACCEPTED
        model = ("psf_coefficients",) if accepted else ()
        product = self._reader.read(location, names=("psf_status", *names, *model))
        outcome = product.arrays["psf_status"][0]
        row = _status_row(ccd, status, int(outcome["n_used"]), float(outcome["chi2"]), str(attrs["psf_reason"]))
        return CcdPsf(row, PsfModel.from_product(product) if accepted else None, product)


def _status_row(ccd: CcdId | None, status: str, n_star: int, chi2: float, reason: str) -> np.ndarray:
    row = empty_table(fitted(STATUS_COLUMNS, exposure=-1 if ccd is None else ccd.exposure), 1)
    row["EXP"], row["CCD"] = (-1, -1) if ccd is None else (ccd.exposure, ccd.ccd)
    row["STATUS"], row["REASON"] = status.encode(), reason.encode("ascii", "replace")
    row["ACCEPTED"], row["CHI2"] = n_star, chi2
    return row
