"""The PSF models of the CCDs, `.psf` (behaviour specification, section 7.2)."""

from __future__ import annotations

from pathlib import Path

from shapempi.ids import CcdId
from shapempi.io.psfex import write_psf
from shapempi.legacy.part import CCD, Part, Product, Written, discard, number_of
from shapempi.legacy.source import LegacySource
from shapempi.legacy.stars import training_name

__all__ = ["PSF"]


def _write(source: LegacySource, ccd: CcdId, folder: Path) -> Written:
    """Write the model of a CCD if it is accepted; models that are refused are not kept by a run."""
    path = folder / f"{training_name(source)}{number_of(ccd)}.psf"
    source.view.need(ccd.uid)
    model = source.psf.read(ccd).model
    if model is None:
        return discard(path)
    write_psf(path, model, overwrite=source.overwrite)
    return Written((path,), noted=model.sampling != 1.0)


PSF = Product(
    "PSF model of each CCD",
    (Part(CCD, "psfex_runner", _write),),
    lack="have no accepted PSF model",
    note="have models with PSF_SAMP other than 1, which ShapePipe's psf_interp would take for stamps as they are",
)
