"""All settings of the detection, those of every engine included."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import field_validator

from shapempi.measure.detect import DetectionParams
from shapempi.params import Params, key

__all__ = ["DetectionEngineParams", "DetectionOutputParams", "SourceExtractorParams"]

#: Images of source-extractor that can be asked for.
CheckImage = Literal[
    "BACKGROUND",
    "BACKGROUND_RMS",
    "-BACKGROUND",
    "FILTERED",
    "OBJECTS",
    "-OBJECTS",
    "APERTURES",
]


class SourceExtractorParams(Params):
    """source-extractor, the program."""

    program: str = key(
        "", "Name of the program in PATH, or its path; empty: source-extractor, sex or sextractor, whichever is there."
    )
    timeout: float = key(1800.0, "Time after which a run of the program is given up.", unit="s", gt=0)
    scratch: Path | None = key(
        None, "Folder for temporary images, 3 times an image's size; without it $TMPDIR, or the system's folder."
    )
    configuration: Path | None = key(
        None, "Configuration file (.sex), used instead of the other keys of the detection; what we read stays."
    )
    parameters: Path | None = key(
        None, "File of columns (.param); what it lacks is added, what it has besides is kept in the catalogue on disk."
    )
    filter: Path | None = key(
        None, "Detection filter (.conv), used instead of FILTER_NAME; without either the 3 x 3 pyramid."
    )
    neural_network: Path | None = key(None, "Weights (.nnw), needed for the column CLASS_STAR only.")
    options: dict[str, str] = key({}, "Further keys of the configuration file with their values; they win.")
    check_images: tuple[CheckImage, ...] = key((), "CHECKIMAGE_TYPE: images that the program makes, for `keep`.")
    keep: Path | None = key(
        None, "Folder that gets all that every run of the program reads and writes, in a folder of its own."
    )


class DetectionEngineParams(DetectionParams):
    """Detection by the engine of choice."""

    engine: Literal["sep", "source-extractor"] = key(
        "sep", "What detects: sep in process, source-extractor the program of that name."
    )
    program: SourceExtractorParams = SourceExtractorParams()


class DetectionOutputParams(Params):
    """What of the detection is written to RUN/detections, besides the run's own files."""

    output: tuple[Literal["catalogue", "vignets", "background"], ...] = key(
        (),
        "Files of the detection: catalogue (FITS_LDAC), vignets (the same with VIGNET), background (check image).",
    )
    vignet_size: int = key(51, "Side of the column VIGNET.", unit="pixel", ge=3)

    @field_validator("vignet_size")
    @classmethod
    def _is_odd(cls, size: int) -> int:
        """Refuse vignets without a pixel in the middle."""
        if size % 2 == 0:
            raise ValueError("vignets have a pixel in the middle: the size must be odd")
        return size
