"""shapempi: from calibrated survey images to weak-lensing shear catalogues in one `mpirun`.

Three functions work without any pipeline, on arrays:

* `metacal_images` makes the metacalibration images of stamps;
* `fit_gaussian` fits a galaxy model to all epochs of an object;
* `measure_shapes` does all of it for many objects.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shapempi.measure.fit import fit_gaussian
    from shapempi.measure.metacal import metacal_images
    from shapempi.measure.shapes import measure_shapes

__all__ = ["fit_gaussian", "measure_shapes", "metacal_images"]
__version__ = "0.1.0"

#: Where the public functions are; they are imported when they are first asked for.
_HOMES = {
    "fit_gaussian": "shapempi.measure.fit",
    "measure_shapes": "shapempi.measure.shapes",
    "metacal_images": "shapempi.measure.metacal",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
