"""The detection engines by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from shapempi.engines.detection_engine import DetectionEngine
from shapempi.engines.detection_native import NativeDetection
from shapempi.engines.detection_params import DetectionEngineParams
from shapempi.engines.detection_sextractor import SourceExtractorDetection

__all__ = ["ENGINES", "make_detector"]


def _native(params: DetectionEngineParams, table: str) -> DetectionEngine:
    return NativeDetection(params)


#: The engines of `exposure.detection.engine` and `tile.detection.engine`.
ENGINES: Mapping[str, Callable[[DetectionEngineParams, str], DetectionEngine]] = {
    "sep": _native,
    "source-extractor": SourceExtractorDetection,
}


def make_detector(params: DetectionEngineParams, table: str) -> DetectionEngine:
    """Return the engine that the settings name.

    Parameters
    ----------
    params : DetectionEngineParams
        The settings.
    table : str
        Name of their table in the configuration, for messages.

    Raises
    ------
    EngineError
        If it is not installed; the message says how to get it.
    ConfigError
        If a file that the settings name is not there or is wrong.
    """
    return ENGINES[params.engine](params, table)
