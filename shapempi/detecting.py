"""Detection in one image of the user's, without a run: a catalogue that SExtractor's family of programs reads."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from shapempi.camera import Camera
from shapempi.engines.detection import make_detector
from shapempi.engines.detection_params import DetectionEngineParams
from shapempi.errors import ConfigError, DataError
from shapempi.image import Image
from shapempi.io.exposure import CFIS_CCDS, CFIS_KEYWORDS, ExposurePaths, KeywordParams, read_image
from shapempi.io.flag_codes import CFIS_FLAGS, FlagCodes
from shapempi.measure.background import BackgroundMesh, BackgroundParams, background_of
from shapempi.measure.detected_image import DetectedImage
from shapempi.measure.pixel_source import ArraySource, Frame
from shapempi.report.detection_files import IMAGES, write_catalogue

_LOG = logging.getLogger(__name__)

__all__ = ["DetectedFile", "ImageFiles", "detect_image", "read_background"]


@dataclass(frozen=True)
class ImageFiles:
    """The files of an image.

    Attributes
    ----------
    image : Path
        FITS image, tile or mosaic of CCDs.
    weight, flag : Path or None
        Inverse variance and flag bits; without weights the noise is that of the sky.
    detection_image, detection_weight : Path or None
        The image in which objects are found, and its weights; the other one's if left out.
    hdu, ccd : int or None
        Which HDU or which CCD, in all files; the first image of each if neither is given.
    """

    image: Path
    weight: Path | None = None
    flag: Path | None = None
    detection_image: Path | None = None
    detection_weight: Path | None = None
    hdu: int | None = None
    ccd: int | None = None

    def __post_init__(self) -> None:
        """Refuse weights of no image."""
        if self.detection_weight is not None and self.detection_image is None:
            raise ConfigError("--detection-weight belongs to --detection-image, which is not given")

    def read(
        self,
        keywords: KeywordParams,
        zero_point: float,
        camera: Camera = CFIS_CCDS,
        flags: FlagCodes = CFIS_FLAGS,
    ) -> tuple[Image, Image | None]:
        """Return the image and the one to detect in, if there is one.

        Raises
        ------
        MissingInputError, DataError
            As `shapempi.io.exposure.read_image`.
        """
        known = keywords
        if keywords.default_zero_point is None:
            known = keywords.model_copy(update={"default_zero_point": zero_point})
        read = partial(
            read_image,
            hdu=self.hdu,
            ccd=self.ccd,
            keywords=known,
            survey_zero_point=zero_point,
            camera=camera,
            flags=flags,
        )
        image = read(ExposurePaths(self.image, self.weight, self.flag))
        if self.detection_image is None:
            return image, None
        other = read(ExposurePaths(self.detection_image, self.detection_weight or self.weight))
        if other.data.shape != image.data.shape:
            raise DataError(
                f"{other.path}: its shape {other.data.shape} differs from {image.data.shape} of {image.path}; both "
                "images must be on the same pixels"
            )
        return image, other


@dataclass(frozen=True)
class DetectedFile:
    """What was detected in an image.

    Attributes
    ----------
    image : DetectedImage
        The image and its objects.
    path : str
        The image's file.
    files : tuple of Path
        The files written.
    seconds : float
        Time that the detection took [s].
    """

    image: DetectedImage
    path: str
    files: tuple[Path, ...]
    seconds: float

    def lines(self) -> list[str]:
        """Return what is to be said of it."""
        found, mesh = self.image.detections, self.image.background
        level = 0.0 if mesh is None else float(np.median(mesh.values))
        lines = [
            f"{self.path}: {len(found.table)} objects by {self.image.engine} in {self.seconds:.1f} s",
            f"  background {level:.6g} ADU, rms of the sky {self.image.noise():.6g} ADU",
            f"  factor on the rms that the weights say: {found.noise_ratio:.4f}",
        ]
        if len(found.table):
            lines.append(f"  threshold {np.median(found.table['THRESHOLD']):.6g} ADU above the background")
        return lines + [f"  {file}" for file in self.files]


def _estimated(image: Image, params: BackgroundParams) -> BackgroundMesh:
    return background_of(replace(image, background=None), params)


def _of_the_header(image: Image, params: BackgroundParams) -> BackgroundMesh:
    if image.background is None:
        raise ConfigError(
            "--background header: no keyword is named; give a --config with [input.keywords] background (or "
            "tile_background, with --tile), or the level itself"
        )
    return background_of(image, params)


def _constant(level: float, image: Image, params: BackgroundParams) -> BackgroundMesh:
    return background_of(replace(image, background=level), params)


#: Returns the background of an image.
Background = Callable[[Image, BackgroundParams], BackgroundMesh]

_BACKGROUNDS: Mapping[str, Background] = {"estimate": _estimated, "header": _of_the_header}


def read_background(text: str) -> Background:
    """Return what makes the background, from a word of the command line: `estimate`, `header` or a level in ADU.

    Raises
    ------
    ConfigError
        If it is none of these.
    """
    if text in _BACKGROUNDS:
        return _BACKGROUNDS[text]
    try:
        level = float(text)
    except ValueError:
        level = math.nan
    if not math.isfinite(level):
        raise ConfigError(f"--background {text}: it is `estimate`, `header`, or a level in ADU")
    return partial(_constant, level)


def detect_image(
    files: ImageFiles,
    output: Path,
    detection: DetectionEngineParams,
    *,
    background: Background = _estimated,
    background_params: BackgroundParams | None = None,
    keywords: KeywordParams = CFIS_KEYWORDS,
    zero_point: float = 30.0,
    camera: Camera = CFIS_CCDS,
    flags: FlagCodes = CFIS_FLAGS,
    vignet_size: int = 0,
    checks: Sequence[str] = (),
    overwrite: bool = False,
) -> DetectedFile:
    """Detect the objects of an image and write their catalogue.

    Parameters
    ----------
    files : ImageFiles
        The image.
    output : Path
        The catalogue; check images are beside it, `NAME.background.fits`.
    detection : DetectionEngineParams
        The engine and its settings.  Without weights these are the sky's own in any case.
    background : callable, optional
        Makes the background that is subtracted.
    background_params : BackgroundParams, optional
        How it is estimated.
    keywords : KeywordParams, optional
        Names of the keywords.
    zero_point : float, optional
        Zero point of an image whose header has none [mag].
    camera : Camera, optional
        Names and numbers of the CCDs.
    flags : FlagCodes, optional
        What the values of the flag image mean.
    vignet_size : int, optional
        Side of the column VIGNET [pixel], odd; 0 writes none.
    checks : sequence of str, optional
        Check images to write: background, segmentation.
    overwrite : bool, optional
        Whether files that are there may be replaced.

    Returns
    -------
    DetectedFile
        What was detected.

    Raises
    ------
    ConfigError
        If a file is there and must not be replaced, or a setting is wrong.
    MissingInputError, DataError, MeasurementError, EngineError
        If the image cannot be read or its objects cannot be detected.
    """
    paths = {kind: output.with_name(f"{output.name.removesuffix('.fits')}.{kind}.fits") for kind in checks}
    if unknown := sorted(set(checks) - set(IMAGES)):
        raise ConfigError(f"--check: there is no check image {', '.join(unknown)}; there are {', '.join(IMAGES)}")
    existing = [path for path in (output, *paths.values()) if path.exists()]
    if existing and not overwrite:
        raise ConfigError(f"{existing[0]} is already there; give --overwrite to replace it")
    detector = make_detector(_with_noise(detection, files.weight is not None), "detection")
    for note in detector.notes:
        _LOG.warning(note)
    image, other = files.read(keywords, zero_point, camera, flags)
    start = time.perf_counter()
    params = background_params or BackgroundParams()
    mesh = background(image, params)
    source = _without(image, mesh)
    frame = Frame(image.wcs, image.gain, image.saturate, image.mag_zp)
    deep = None if other is None else _without(other, background(other, params))
    found = detector.detect(source, frame, background=mesh, detection=deep)
    seconds = time.perf_counter() - start
    result = DetectedImage(source, frame, found, detector.version, mesh)
    write_catalogue(output, result, size=vignet_size, overwrite=overwrite)
    for kind, path in paths.items():
        IMAGES[kind](path, result, overwrite=overwrite)
    return DetectedFile(result, image.path, (output, *paths.values()), seconds)


def _with_noise(params: DetectionEngineParams, weighted: bool) -> DetectionEngineParams:
    """Return the settings for an image with or without weights: those of an image without are all 1."""
    if weighted:
        return params
    options = {**params.program.options, "RESCALE_WEIGHTS": "Y"}
    program = params.program.model_copy(update={"options": options})
    return params.model_copy(update={"rescale_weights": True, "program": program})


def _without(image: Image, mesh: BackgroundMesh) -> ArraySource:
    """Return an image without its background."""
    ny, nx = image.data.shape
    return ArraySource(image.data - mesh.evaluate(0, ny, 0, nx), image.weight, image.flag)
