"""What an engine that detects objects can do."""

from __future__ import annotations

from typing import Protocol

from shapempi.measure.background import BackgroundMesh
from shapempi.measure.detect import Detections
from shapempi.measure.pixel_source import Frame, PixelSource

__all__ = ["DetectionEngine"]


class DetectionEngine(Protocol):
    """Finds and measures the objects of images; every engine fills the same columns."""

    @property
    def version(self) -> str:
        """Name and version of what detects, for the record."""
        ...

    @property
    def contents(self) -> tuple[str, ...]:
        """Contents of the user's files that decide what is detected like keys of the configuration."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should be told before the start."""
        ...

    def detect(
        self,
        source: PixelSource,
        frame: Frame,
        *,
        background: BackgroundMesh | None = None,
        detection: PixelSource | None = None,
    ) -> Detections:
        """Find and measure the objects of one image; no object is a table without rows, not an error.

        Parameters
        ----------
        source : PixelSource
            The image in which objects are measured.
        frame : Frame
            What its pixels mean.
        background : BackgroundMesh, optional
            What was subtracted from it, for the column BACKGROUND and for saturation; 0 if left out.
        detection : PixelSource, optional
            The image in which objects are found (dual-image mode), on the same pixels; `source` if left out.

        Raises
        ------
        DataError
            If the images do not fit each other.
        MeasurementError
            If the detection fails for the whole image.
        EngineError
            If the engine itself fails: not there, or not able to run.
        """
        ...
