"""The stars that were held back with the model beside them, `validation_psf` (behaviour specification, section 8)."""

from __future__ import annotations

from pathlib import Path

from shapempi.ids import CcdId
from shapempi.interpolate import star_rows, units_of
from shapempi.io.ldac import write_ldac
from shapempi.legacy.part import CCD, Part, Product, Written, discard, number_of
from shapempi.legacy.source import LegacySource
from shapempi.wcs import Wcs

__all__ = ["VALIDATION"]


def _write(source: LegacySource, ccd: CcdId, folder: Path) -> Written:
    """Write the stars of a CCD whose model is accepted."""
    path = folder / f"validation_psf{number_of(ccd)}.fits"
    source.view.need(ccd.uid)
    found = source.psf.read(ccd, ("stars",))
    if found.model is None or found.product is None:
        return discard(path)
    wcs = Wcs(found.header, str(found.product.attrs["path"]))
    rows = star_rows(found.product.arrays["stars"], found.model, wcs, source.view.settings.psf.size)
    write_ldac(path, rows, found.header, overwrite=source.overwrite, units=units_of(rows))
    return Written((path,))


VALIDATION = Product(
    "stars held back from each PSF model, and the model there",
    (Part(CCD, "psfex_interp_runner_run_2", _write),),
    lack="have no accepted PSF model",
)
