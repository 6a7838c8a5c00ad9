"""Comparison of a PSF model with stars that it was not fitted to."""

from __future__ import annotations

import numpy as np

from shapempi.kernels import _psf
from shapempi.measure.moments import adaptive_moments, to_sky
from shapempi.measure.psf_solve import resampling_matrices
from shapempi.psf import PsfModel

__all__ = ["VALIDATION_DTYPE", "validate"]

#: Star and model side by side (behaviour specification, section 8, VALIDATION).  X, Y: position on the CCD [pixel],
#: 1-based.  E1, E2, SIGMA of PSF (the model) and STAR: adaptive moments in the pixel frame; despite the names, which
#: are historic, E1 and E2 are the reduced shear g = (a - b)/(a + b); SIGMA is det(M)^(1/4) [pixel].  FLAG: 0 measured,
#: 1 failed, and then the values are NaN.  g1, g2, T: the same moments in the sky frame, reduced shear and trace of
#: the moment matrix [arcsec^2].
VALIDATION_DTYPE = np.dtype(
    [
        ("X", "f8"),
        ("Y", "f8"),
        ("E1_PSF_HSM", "f8"),
        ("E2_PSF_HSM", "f8"),
        ("SIGMA_PSF_HSM", "f8"),
        ("FLAG_PSF_HSM", "i2"),
        ("E1_STAR_HSM", "f8"),
        ("E2_STAR_HSM", "f8"),
        ("SIGMA_STAR_HSM", "f8"),
        ("FLAG_STAR_HSM", "i2"),
        ("g1_psf", "f8"),
        ("g2_psf", "f8"),
        ("T_psf", "f8"),
        ("g1_star", "f8"),
        ("g2_star", "f8"),
        ("T_star", "f8"),
    ]
)

#: Pixels below this are SExtractor's and PSFEx's mark of a pixel without data.
_NO_DATA = -1e29


def validate(
    model: PsfModel,
    vignets: np.ndarray,
    weights: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    offset: np.ndarray,
    jacobians: np.ndarray,
) -> np.ndarray:
    """Measure stars and the model at their places.

    The model is drawn with the star's sub-pixel offset, so that both are sampled alike.  Bad pixels are left out of
    the star's moments.

    Parameters
    ----------
    model : PsfModel
        The model.
    vignets, weights : ndarray of float [n, y, x]
        Background-subtracted stars and their inverse variance, 0 where unusable; square, of odd size.
    x, y : ndarray of float64 [n]
        Centres of the stars on the CCD [pixel], 0-based.
    offset : ndarray of float64 [n, 2]
        (dx, dy): the star's centre minus the stamp's centre [pixel].
    jacobians : ndarray of float64 [n, 4]
        dudx, dudy, dvdx, dvdy [arcsec/pixel] at the stars, u West, v North.

    Returns
    -------
    ndarray of VALIDATION_DTYPE [n]
        One row per star, in order.
    """
    table = np.zeros(len(vignets), VALIDATION_DTYPE)
    table["X"], table["Y"] = np.asarray(x) + 1.0, np.asarray(y) + 1.0
    good = (weights > 0) & (vignets > _NO_DATA) & np.isfinite(vignets)
    drawn = _draw(model, np.asarray(x, dtype=float), np.asarray(y, dtype=float), offset, vignets.shape[1:])
    for name, moments in (("PSF", adaptive_moments(drawn)), ("STAR", adaptive_moments(vignets, good))):
        table[f"E1_{name}_HSM"], table[f"E2_{name}_HSM"] = moments["g1"], moments["g2"]
        table[f"SIGMA_{name}_HSM"], table[f"FLAG_{name}_HSM"] = moments["sigma"], moments["flag"]
        sky = to_sky(moments["g1"], moments["g2"], moments["sigma"], jacobians)
        for column, values in zip(("g1", "g2", "T"), sky, strict=True):
            table[f"{column}_{name.lower()}"] = values
    return table


def _draw(model: PsfModel, x: np.ndarray, y: np.ndarray, offset: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Draw the model at sub-pixel offsets.

    By the interpolation of the fit, not by `PsfModel.draw`: at half a pixel, Lanczos-4 changes T by 3e-3 and g by
    1e-3, more than the residuals that are to be seen.  At offset 0, where galaxies take their PSF, both are exact.
    """
    xn = (x + 1.0 - model.zero[0]) / model.scale[0]
    yn = (y + 1.0 - model.zero[1]) / model.scale[1]
    images = _psf.evaluate(np.ascontiguousarray(model.coefficients, dtype=float), model.degree, xn, yn)
    ny, nx = shape
    rows = resampling_matrices(offset[:, 1], ny, images.shape[1], model.sampling)
    columns = resampling_matrices(offset[:, 0], nx, images.shape[2], model.sampling)
    return rows @ images @ columns.transpose(0, 2, 1)
