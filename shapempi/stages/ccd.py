"""The unit of one CCD of one exposure: mask, background, detection, stars, PSF model, validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from shapempi.catalog import PSF_STATUS_COLUMNS, STAR_COLUMNS, STAR_STATISTIC_COLUMNS, empty_table, fitted
from shapempi.engines.detection_engine import DetectionEngine
from shapempi.engines.detection_params import DetectionEngineParams, DetectionOutputParams
from shapempi.engines.psf_engine import PsfEngine
from shapempi.engines.psf_params import PsfParams
from shapempi.ids import CcdId
from shapempi.image import Image
from shapempi.measure.background import BackgroundMesh, BackgroundParams, background_of
from shapempi.measure.bright_stars import StarSource, stars_of_image
from shapempi.measure.detected_image import DetectedImage
from shapempi.measure.mask import BrightStars, MaskParams, MaskPlane, MaskRecipe, make_mask
from shapempi.measure.pixel_source import ArraySource, Frame
from shapempi.measure.psf.outcome import PsfFit, PsfStatus
from shapempi.measure.psf.sample import StarSample
from shapempi.measure.psf.validate import validate
from shapempi.measure.setools.outcome import Selection
from shapempi.measure.setools.program import Program
from shapempi.measure.stars import StarParams, StarSelection, select_stars
from shapempi.product import Location, Product, Scalar
from shapempi.stages.base import Watch
from shapempi.stages.star_sample import cut_stars
from shapempi.survey.inputs import SurveyInputs

__all__ = ["CcdStage", "ExposureParams", "choose_stars", "detection_source"]


class ExposureParams(DetectionOutputParams):
    """Mask, background and detection on the CCDs of the exposures."""

    mask: MaskParams = MaskParams()
    background: BackgroundParams = BackgroundParams()
    detection: DetectionEngineParams = DetectionEngineParams()


@dataclass(frozen=True)
class CcdStage:
    """Turns one CCD into its product: WCS, mask, background mesh, stars, PSF model and statistics.

    Attributes
    ----------
    inputs : SurveyInputs
        Where the files are.
    bright_stars : StarSource or None
        The survey's bright stars; None without a catalogue.
    mask : MaskRecipe
        What is masked: `exposure.mask` with the files that it names.
    exposure, stars, psf : Params
        The settings of the steps.
    selection : Program
        The star selection.
    detector : DetectionEngine
        What detects objects.
    psf_engine : PsfEngine
        What makes the PSF models.
    seed : int
        The survey's seed.
    keep_selection : callable, optional
        Takes the CCD, the outcome of its star selection, its detections and its FITS header, to write them.
    keep_mask : callable, optional
        Takes the CCD, its image, the bright stars and the mask, to write it.
    keep_detections : callable, optional
        Takes the CCD and its image with all that was detected in it, to write it.
    """

    inputs: SurveyInputs
    bright_stars: StarSource | None
    mask: MaskRecipe
    exposure: ExposureParams
    stars: StarParams
    selection: Program
    psf: PsfParams
    detector: DetectionEngine
    psf_engine: PsfEngine
    seed: int
    keep_selection: Callable[[CcdId, Selection, np.ndarray, str], None] | None = None
    keep_mask: Callable[[CcdId, Image, BrightStars, MaskPlane], None] | None = None
    keep_detections: Callable[[CcdId, DetectedImage], None] | None = None

    def process(self, payload: Mapping[str, Any], inputs: Mapping[str, Location], watch: Watch) -> tuple[Product, int]:
        """Do one CCD; see `Stage.process`.

        A CCD without stars, or whose PSF model is refused, is no failure: its product says why, and has no model.

        Raises
        ------
        DataError, MissingInputError
            If a file of the CCD cannot be used.
        EngineError
            If the engine of the detection or of the PSF model cannot run.
        """
        ccd = CcdId(int(payload["exposure"]), int(payload["ccd"]))
        with watch("read"):
            image = self.inputs.read_ccd(ccd)
        with watch("mask"):
            bright = stars_of_image(self.bright_stars, image, self.mask)
            mask = make_mask(image, bright, self.mask)
            if self.keep_mask is not None:
                self.keep_mask(ccd, image, bright, mask)
            if mask.remove:
                return self._missing(ccd, image, mask), 0
        with watch("background"):
            mesh = background_of(image, self.exposure.background)
            source, frame = detection_source(image, mask.plane, mesh)
        with watch("detect"):
            detections = self.detector.detect(source, frame, background=mesh)
            if self.keep_detections is not None:
                self.keep_detections(ccd, DetectedImage(source, frame, detections, self.detector.version, mesh))
        with watch("stars"):
            selection = choose_stars(ccd, image, detections.table, self.stars, self.selection, self.seed)
            if self.keep_selection is not None and selection.outcome is not None:
                self.keep_selection(ccd, selection.outcome, detections.table, image.header)
            chosen = replace(detections, table=detections.table[selection.selected])
            sample = cut_stars(source.data, image, mask.plane, chosen, self.psf.size, label=str(ccd))
        train = selection.train[selection.selected]
        with watch("psf"):
            fit = self._fit(sample, train, selection)
        with watch("validate"):
            stars = _star_table(ccd, image, chosen.table, sample, train, fit)
        product = Product(
            {
                "mask": mask.compact(),
                "stars": stars[~train],
                "training_stars": stars[train],
                "psf_status": self._status(ccd, image, selection, fit),
                "star_statistics": _statistics(ccd, selection),
                **mesh.to_product().arrays,
            },
            _attributes(image, mask)
            | {"n_detection": len(detections.table), "detection_engine": self.detector.version}
            | dict(mesh.to_product().attrs),
        )
        return _with_model(product, fit), int((~train).sum())

    def _fit(self, sample: StarSample, train: np.ndarray, selection: StarSelection) -> PsfFit:
        """Fit the PSF model to the training stars; the result speaks of all stars of the sample."""
        if not selection.selected.any():
            return PsfFit.refused(0, PsfStatus.NO_STARS, f"no stars selected: {selection.reason}")
        fit = self.psf_engine.fit(sample[train])
        used = np.zeros(len(sample), dtype=bool)
        used[train] = fit.used
        return replace(fit, used=used)

    def _missing(self, ccd: CcdId, image: Image, mask: MaskPlane) -> Product:
        """Return the product of a CCD that has too few pixels to look for stars."""
        limit = f"limit {self.mask.params.missing_remove_ratio:.0%}, exposure.mask.missing_remove_ratio"
        reason = f"{mask.missing_ratio:.0%} of the pixels are missing ({limit})"
        fit = PsfFit.refused(0, PsfStatus.MISSING_DATA, reason)
        none = np.zeros(0, dtype=bool)
        nothing = StarSelection(none, none, none, float("nan"), reason)
        arrays = {
            "stars": empty_table(STAR_COLUMNS, 0),
            "training_stars": empty_table(STAR_COLUMNS, 0),
            "psf_status": self._status(ccd, image, nothing, fit),
            "star_statistics": empty_table(STAR_STATISTIC_COLUMNS, 0),
        }
        return _with_model(Product(arrays, _attributes(image, mask) | {"n_detection": 0}), fit)

    def _status(self, ccd: CcdId, image: Image, selection: StarSelection, fit: PsfFit) -> np.ndarray:
        """Return the CCD's row of the status table."""
        row = empty_table(fitted(PSF_STATUS_COLUMNS, exposure=ccd.exposure), 1)
        row["exposure"], row["ccd"] = ccd.exposure, ccd.ccd
        row["status"], row["reason"] = fit.status.value.encode(), fit.reason.encode("ascii", "replace")
        row["ny"], row["nx"] = image.full_shape
        for name, value in selection.statistics.items():
            if name in (row.dtype.names or ()):
                row[name] = value
        row["n_train"], row["n_test"] = selection.train.sum(), selection.test.sum()
        row["engine"] = self.psf_engine.version.encode("ascii", "replace")
        row["detection"] = self.detector.version.encode("ascii", "replace")
        if fit.model is not None:
            model = fit.model
            row["n_used"], row["chi2"], row["fwhm"] = model.n_star, model.chi2, model.fwhm
            row["degree"], row["sampling"] = model.degree, model.sampling
        return row


def detection_source(image: Image, plane: np.ndarray, mesh: BackgroundMesh) -> tuple[ArraySource, Frame]:
    """Return a CCD as a detection takes it.

    Parameters
    ----------
    image : Image
        The whole CCD.
    plane : ndarray of int32 [y, x]
        Its mask; 0 is good.
    mesh : BackgroundMesh
        Its background.

    Returns
    -------
    source : ArraySource
        The pixels without the background, with weight and mask.
    frame : Frame
        What they mean.
    """
    ny, nx = image.data.shape
    data = image.data - mesh.evaluate(0, ny, 0, nx)
    return ArraySource(data, image.weight, plane), Frame(image.wcs, image.gain, image.saturate, image.mag_zp)


def choose_stars(
    ccd: CcdId, image: Image, table: np.ndarray, params: StarParams, program: Program, seed: int
) -> StarSelection:
    """Select the stars of a CCD among its detections and split them; `seed` is the survey's."""
    ny, nx = image.data.shape
    return select_stars(
        table,
        image.wcs.pixel_scale(nx / 2, ny / 2),
        params,
        np.random.default_rng([seed, ccd.exposure, ccd.ccd]),
        program=program,
        shape=(ny, nx),
        constants={"exposure": float(ccd.exposure), "ccd": float(ccd.ccd)},
    )


def _star_table(
    ccd: CcdId, image: Image, rows: np.ndarray, sample: StarSample, train: np.ndarray, fit: PsfFit
) -> np.ndarray:
    """Compare stars and model, training stars included."""
    measured = validate(fit.model, sample, image.wcs.jacobian(sample.x, sample.y))
    table = empty_table(fitted(STAR_COLUMNS, exposure=ccd.exposure), len(measured))
    for name in measured.dtype.names or ():
        table[name] = measured[name]
    table["exposure"], table["CCD_NB"], table["NUMBER"] = ccd.exposure, ccd.ccd, rows["NUMBER"]
    table["X"], table["Y"] = rows["XWIN_IMAGE"], rows["YWIN_IMAGE"]
    table["RA"], table["DEC"] = rows["XWIN_WORLD"], rows["YWIN_WORLD"]
    table["MAG"], table["SNR"], table["FWHM_IMAGE"] = rows["MAG_AUTO"], rows["SNR_WIN"], rows["FWHM_IMAGE"]
    table["USED"] = train & fit.used
    table["ACCEPTED"] = fit.status is PsfStatus.ACCEPTED
    return table


def _statistics(ccd: CcdId, selection: StarSelection) -> np.ndarray:
    """Return what the selection says of the CCD, one row per number."""
    table = empty_table(fitted(STAR_STATISTIC_COLUMNS, exposure=ccd.exposure), len(selection.rows))
    table["exposure"], table["ccd"] = ccd.exposure, ccd.ccd
    for i, found in enumerate(selection.rows):
        table[i]["section"], table[i]["label"] = (
            text.encode("ascii", "replace") for text in (found.section, found.label)
        )
        table[i]["value"] = found.value
    return table


def _attributes(image: Image, mask: MaskPlane) -> dict[str, Scalar]:
    """Return what tiles, blocks and reports need to know of a CCD."""
    y0, y1, x0, x1 = image.valid_box
    attrs: dict[str, Scalar] = {
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
        "missing_ratio": float(mask.missing_ratio),
    }
    return attrs | {f"masked_{name.lower()}": float(part) for name, part in mask.fractions.items()}


def _with_model(product: Product, fit: PsfFit) -> Product:
    """Add the PSF model, if it is accepted: nothing else may ever be drawn."""
    attrs = dict(product.attrs) | {"psf_status": fit.status.value, "psf_reason": fit.reason}
    if fit.model is None or fit.status is not PsfStatus.ACCEPTED:
        return Product(product.arrays, attrs)
    model = fit.model.to_product()
    return Product({**product.arrays, **model.arrays}, attrs | dict(model.attrs))
