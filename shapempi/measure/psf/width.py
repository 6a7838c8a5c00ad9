"""The width of a PSF model, measured in one way whatever engine made it."""

from __future__ import annotations

import numpy as np

from shapempi.psf import PsfModel

__all__ = ["model_fwhm"]

#: Fine pixels per image pixel.
_FINER = 10


def model_fwhm(model: PsfModel) -> float:
    """Return the FWHM of a model at the origin of its polynomial [pixel].

    Parameters
    ----------
    model : PsfModel
        The model.

    Returns
    -------
    float
        The diameter of the circle of the same area as the part above half of the maximum.
    """
    image = model.coefficients[:1]
    # Seen from pixels this fine, the model's grid has a step of so many pixels more.
    sampling = model.sampling * _FINER
    size = 2 * int(image.shape[1] * sampling / 2) + 1
    fine = PsfModel(image, 0, (0.0, 0.0), (1.0, 1.0), sampling, 0, 0.0, 0.0, model.interpolant)
    surface = fine.draw(np.zeros(1), np.zeros(1), size)[0]
    area = float(np.sum(surface > 0.5 * surface.max())) / _FINER**2
    return 2.0 * float(np.sqrt(area / np.pi))
