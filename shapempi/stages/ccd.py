"""The unit of one CCD of one exposure: mask, background, detection, stars, PSF model, validation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from shapempi.catalog import STAR_COLUMNS, empty_table
from shapempi.errors import MeasurementError
from shapempi.ids import CcdId
from shapempi.image import Image
from shapempi.kernels import _vignet
from shapempi.measure.background import BackgroundParams, estimate_background
from shapempi.measure.detect import DetectionParams, Detections, detect
from shapempi.measure.mask import MaskParams, bright_stars, make_mask
from shapempi.measure.psf_fit import PsfFitParams, fit_psf
from shapempi.measure.psf_validate import validate
from shapempi.measure.stars import StarParams, StarSelection, select_stars
from shapempi.megacam import UPSIDE_DOWN
from shapempi.params import Params
from shapempi.product import Location, Product
from shapempi.psf import PsfModel
from shapempi.stages.base import Watch
from shapempi.survey.inputs import SurveyInputs

__all__ = ["CcdStage", "ExposureParams"]


class ExposureParams(Params):
    """Mask, background and detection on the CCDs of the exposures."""

    mask: MaskParams = MaskParams()
    background: BackgroundParams = BackgroundParams()
    detection: DetectionParams = DetectionParams()


@dataclass(frozen=True)
class CcdStage:
    """Turns one CCD into its product: WCS, mask, background mesh, stars, PSF model and statistics.

    Attributes
    ----------
    inputs : SurveyInputs
        Where the files are.
    bright_stars : ndarray
        The survey's bright-star catalogue: structured array with ra, dec [deg] and mag.
    exposure, stars, psf : Params
        The settings of the steps.
    seed : int
        The survey's seed.
    """

    inputs: SurveyInputs
    bright_stars: np.ndarray
    exposure: ExposureParams
    stars: StarParams
    psf: PsfFitParams
    seed: int

    def process(self, payload: Mapping[str, Any], inputs: Mapping[str, Location], watch: Watch) -> tuple[Product, int]:
        """Do one CCD; see `Stage.process`.

        Raises
        ------
        DataError, MissingInputError
            If a file of the CCD cannot be used.
        MeasurementError
            If no acceptable PSF model can be made; the message says why.
        """
        ccd = CcdId(int(payload["exposure"]), int(payload["ccd"]))
        with watch("read"):
            image = self.inputs.read_ccd(ccd)
        with watch("mask"):
            sky = self.bright_stars
            bright = bright_stars(sky["ra"], sky["dec"], sky["mag"], image.wcs, image.full_shape, self.exposure.mask)
            mask = make_mask(image, bright, self.exposure.mask, upside_down=ccd.ccd in UPSIDE_DOWN)
            if mask.remove:
                raise MeasurementError(
                    f"{image.path}: {mask.missing_ratio:.0%} of the pixels are missing "
                    f"(limit {self.exposure.mask.missing_remove_ratio:.0%}, exposure.mask.missing_remove_ratio)"
                )
        with watch("background"):
            mesh = estimate_background(image.data, ~(image.weight > 0), self.exposure.background)
            ny, nx = image.data.shape
            data = image.data - mesh.evaluate(0, ny, 0, nx)
        with watch("detect"):
            detections = detect(
                data,
                image.weight,
                mask.plane,
                image.wcs,
                gain=image.gain,
                saturate=image.saturate,
                mag_zp=image.mag_zp,
                params=self.exposure.detection,
                background=mesh,
            )
        with watch("stars"):
            scale = image.wcs.pixel_scale(nx / 2, ny / 2)
            rng = np.random.default_rng([self.seed, ccd.exposure, ccd.ccd])
            selection = select_stars(detections.table, scale, self.stars, rng)
            if not selection.selected.any():
                raise MeasurementError(f"{image.path}: no stars selected: {selection.reason}")
            vignets = _StarVignets.cut(data, image, mask.plane, detections, selection, self.psf.size)
        with watch("psf"):
            train = selection.train[selection.selected]
            try:
                fit = fit_psf(
                    vignets.image[train],
                    vignets.weight[train],
                    vignets.x[train],
                    vignets.y[train],
                    vignets.offset[train],
                    (ny, nx),
                    self.psf,
                    gain=image.gain,
                )
            except MeasurementError as error:
                raise MeasurementError(f"{image.path}: {error}") from error
            if fit.reason:
                raise MeasurementError(f"{image.path}: the PSF model is refused: {fit.reason}")
        with watch("validate"):
            test = ~train
            star_table = self._validate(ccd, image, fit.model, vignets, detections, selection, test)
        product = _assemble(image, mask, mesh.to_product(), fit.model.to_product(), star_table, detections, selection)
        return product, len(star_table)

    def _validate(
        self,
        ccd: CcdId,
        image: Image,
        model: PsfModel,
        vignets: _StarVignets,
        detections: Detections,
        selection: StarSelection,
        test: np.ndarray,
    ) -> np.ndarray:
        """Compare star and model on the held-back stars."""
        jacobian = image.wcs.jacobian(vignets.x[test], vignets.y[test])
        measured = validate(
            model,
            vignets.image[test],
            vignets.weight[test],
            vignets.x[test],
            vignets.y[test],
            vignets.offset[test],
            jacobian,
        )
        table = empty_table(STAR_COLUMNS, len(measured))
        for name in measured.dtype.names or ():
            if name in (table.dtype.names or ()):
                table[name] = measured[name]
        rows = detections.table[selection.selected][test]
        table["exposure"], table["CCD_NB"] = ccd.exposure, ccd.ccd
        table["X"], table["Y"] = rows["XWIN_IMAGE"], rows["YWIN_IMAGE"]
        table["RA"], table["DEC"] = rows["XWIN_WORLD"], rows["YWIN_WORLD"]
        table["MAG"], table["SNR"] = rows["MAG_AUTO"], rows["SNR_WIN"]
        table["ACCEPTED"] = 1
        return table


@dataclass(frozen=True)
class _StarVignets:
    """Vignets of the selected stars, background-subtracted, with bad and foreign pixels at weight 0."""

    image: np.ndarray
    weight: np.ndarray
    x: np.ndarray
    y: np.ndarray
    offset: np.ndarray

    @classmethod
    def cut(
        cls,
        data: np.ndarray,
        image: Image,
        mask: np.ndarray,
        detections: Detections,
        selection: StarSelection,
        size: int,
    ) -> _StarVignets:
        """Cut the vignets of the selected stars in the order of the table."""
        rows = detections.table[selection.selected]
        x = np.ascontiguousarray(rows["XWIN_IMAGE"], dtype=float) - 1.0
        y = np.ascontiguousarray(rows["YWIN_IMAGE"], dtype=float) - 1.0
        (stamps, weights, flags, owners), _, offset, _, _ = _vignet.cut(
            (data, image.weight, mask, detections.segmentation), x, y, size, fill=(0, 0, 1, 0)
        )
        foreign = (owners != 0) & (owners != rows["NUMBER"][:, None, None])
        weights[(flags != 0) | foreign] = 0
        return cls(stamps, weights, x, y, offset)


def _assemble(
    image: Image,
    mask: Any,
    mesh: Product,
    psf: Product,
    star_table: np.ndarray,
    detections: Detections,
    selection: StarSelection,
) -> Product:
    """Put everything that tiles, blocks and reports need from a CCD into one product."""
    y0, y1, x0, x1 = image.valid_box
    attrs: dict[str, str | int | float | bool] = {
        "header": image.header,
        "path": image.path,
        "ny": image.full_shape[0],
        "nx": image.full_shape[1],
        "valid_y0": y0,
        "valid_y1": y1,
        "valid_x0": x0,
        "valid_x1": x1,
        "gain": image.gain,
        "mag_zp": image.mag_zp,
        "flux_scale": image.flux_scale,
        "n_detection": len(detections.table),
        "n_star": int(selection.selected.sum()),
        "n_star_train": int(selection.train.sum()),
        "fwhm_mode": float(selection.fwhm_mode),
        "missing_ratio": float(mask.missing_ratio),
    }
    attrs |= {f"masked_{name.lower()}": float(part) for name, part in mask.fractions.items()}
    attrs |= dict(mesh.attrs) | dict(psf.attrs)
    arrays = {"mask": mask.compact(), "stars": star_table, **mesh.arrays, **psf.arrays}
    return Product(arrays, attrs)
