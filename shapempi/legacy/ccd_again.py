"""The detections of a CCD, made once more: a run keeps its stars, not the thousand other objects of each CCD."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shapempi.engines.detection_engine import DetectionEngine
from shapempi.errors import DataError
from shapempi.ids import CcdId
from shapempi.measure.background import BackgroundMesh
from shapempi.measure.detected_image import DetectedImage
from shapempi.measure.psf.outcome import PsfStatus
from shapempi.measure.setools.program import Program
from shapempi.measure.stars import StarSelection
from shapempi.run_view import RunView
from shapempi.stages.ccd import choose_stars, detection_source

__all__ = ["CcdAgain", "detect_again"]

#: How far the stars may be from where the run found them [pixel]: what another CPU may round differently.
_NEAR = 1e-3


@dataclass(frozen=True)
class CcdAgain:
    """A CCD with its detections and its stars.

    Attributes
    ----------
    image : DetectedImage
        The CCD and all that is detected in it.
    stars : StarSelection
        Which of them are stars.
    """

    image: DetectedImage
    stars: StarSelection


def detect_again(run: RunView, ccd: CcdId, detector: DetectionEngine, selection: Program) -> CcdAgain | None:
    """Detect objects and select stars as the unit of the CCD did, with the mask and the background that it left.

    Parameters
    ----------
    run : RunView
        The run.
    ccd : CcdId
        One of its CCDs.
    detector : DetectionEngine
        What the run detects with.
    selection : Program
        The star selection of the run.

    Returns
    -------
    CcdAgain or None
        None for a CCD that the run left out because too many of its pixels are missing.

    Raises
    ------
    MissingInputError, DataError
        If the unit is not done, a file cannot be read, or the stars are not those of the run.
    """
    location = run.need(ccd.uid)
    if run.reader.read(location, names=()).attrs["psf_status"] == PsfStatus.MISSING_DATA:
        return None
    names = ("mask", "background", "background_x", "background_y", "stars", "training_stars")
    product = run.reader.read(location, names=names)
    image = run.inputs.read_ccd(ccd)
    mesh = BackgroundMesh.from_product(product)
    source, frame = detection_source(image, product.arrays["mask"].astype(np.int32), mesh)
    found = detector.detect(source, frame, background=mesh)
    stars = choose_stars(ccd, image, found.table, run.settings.stars, selection, run.settings.survey.seed)
    for rows, name in ((stars.train, "training_stars"), (stars.test, "stars")):
        if not _same(found.table[rows], product.arrays[name]):
            raise DataError(
                f"{ccd.uid}: detected again, its stars are not those of the run: its image, the program or the star "
                "selection has changed since; put back what the run was made with"
            )
    return CcdAgain(DetectedImage(source, frame, found, detector.version, mesh), stars)


def _same(rows: np.ndarray, stars: np.ndarray) -> bool:
    """Say whether detections are the stars of a run's table."""
    return (
        len(rows) == len(stars)
        and np.array_equal(rows["NUMBER"], stars["NUMBER"])
        and bool(np.allclose(rows["XWIN_IMAGE"], stars["X"], rtol=0, atol=_NEAR))
        and bool(np.allclose(rows["YWIN_IMAGE"], stars["Y"], rtol=0, atol=_NEAR))
    )
