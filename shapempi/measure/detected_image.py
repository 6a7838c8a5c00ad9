"""An image with what was detected in it, and the vignets of its objects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from shapempi.kernels import _vignet
from shapempi.measure.background import BackgroundMesh
from shapempi.measure.detect import Detections
from shapempi.measure.pixel_source import Frame, PixelSource

__all__ = ["BAD", "DetectedImage"]

#: Value of the pixels of a vignet that are not the object's: SExtractor's mark.
BAD = -1e30

#: Vignets cut at a time, and rows of the image from which a sample is taken.
_BATCH, _SAMPLED_ROWS = 256, 64


@dataclass(frozen=True)
class DetectedImage:
    """What was detected, and where.

    Attributes
    ----------
    source : PixelSource
        The image in which the objects were measured.
    frame : Frame
        What its pixels mean.
    detections : Detections
        The objects.
    engine : str
        Name and version of what detected them.
    background : BackgroundMesh or None
        What was subtracted from the image.
    """

    source: PixelSource
    frame: Frame
    detections: Detections
    engine: str
    background: BackgroundMesh | None = None

    def vignets(self, size: int) -> Iterator[np.ndarray]:
        """Cut the vignets of the objects (SExtractor's VIGNET; behaviour specification, section 5.2).

        Parameters
        ----------
        size : int
            Side of the vignets [pixel], odd.

        Yields
        ------
        ndarray of float32 [n, size, size]
            Background-subtracted pixels [ADU] around the pixel that is nearest to X_IMAGE, Y_IMAGE, for the next
            rows of the table.  `BAD` are unusable pixels, those outside the image and those of other objects.
        """
        table, segmentation = self.detections.table, self.detections.segmentation
        # What SExtractor rounds to, halves included: PSFEx relies on it.
        x, y = (np.floor(table[f"{axis}_IMAGE"] + 0.49999) - 1.0 for axis in "XY")
        for first in range(0, len(table), _BATCH):
            rows = slice(first, first + _BATCH)
            y0 = max(int(y[rows].min()) - size // 2, 0)
            y1 = min(int(y[rows].max()) + size // 2 + 1, self.source.shape[0])
            pixels = self.source.read(y0, y1)
            (value, weight, owner), *_ = _vignet.cut(
                (pixels.data, pixels.weight, np.ascontiguousarray(segmentation[y0:y1])),
                np.ascontiguousarray(x[rows]),
                np.ascontiguousarray(y[rows] - y0),
                size,
                fill=(0.0, 0.0, 0),
            )
            foreign = (owner != 0) & (owner != table["NUMBER"][rows, None, None])
            unusable = ~(weight > 0) | ~np.isfinite(weight) | ~np.isfinite(value)
            value[foreign | unusable] = BAD
            yield value

    def noise(self) -> float:
        """Return the typical rms of the sky [ADU]: what the weights say, with the factor that the detection found."""
        ny = self.source.shape[0]
        rows = np.unique(np.linspace(0, ny - 1, _SAMPLED_ROWS).astype(int)) if ny else np.zeros(0, int)
        samples = [self.source.read(int(row), int(row) + 1).weight.ravel() for row in rows]
        weights = np.concatenate(samples) if samples else np.zeros(0)
        weights = weights[np.isfinite(weights) & (weights > 0)]
        return float(self.detections.noise_ratio / np.sqrt(np.median(weights))) if weights.size else 0.0
