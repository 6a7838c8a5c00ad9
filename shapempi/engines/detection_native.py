"""Detection in process: SExtractor's algorithms as `sep` has them, completed by `measure`."""

from __future__ import annotations

from dataclasses import dataclass

import sep

from shapempi.measure.background import BackgroundMesh
from shapempi.measure.detect import DetectionParams, Detections, detect
from shapempi.measure.pixel_source import Frame, PixelSource

__all__ = ["NativeDetection"]


@dataclass(frozen=True)
class NativeDetection:
    """Detects in process.

    Attributes
    ----------
    params : DetectionParams
        Thresholds and apertures.
    """

    params: DetectionParams

    @property
    def version(self) -> str:
        """Name and version."""
        return f"sep {sep.__version__}"

    @property
    def contents(self) -> tuple[str, ...]:
        """No files decide what is detected."""
        return ()

    @property
    def notes(self) -> tuple[str, ...]:
        """There is nothing to say."""
        return ()

    def detect(
        self,
        source: PixelSource,
        frame: Frame,
        *,
        background: BackgroundMesh | None = None,
        detection: PixelSource | None = None,
    ) -> Detections:
        """Find and measure the objects of one image; see `DetectionEngine.detect`."""
        return detect(source, frame, self.params, background=background, detection=detection)
