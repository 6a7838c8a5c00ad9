"""A PSF model at many positions: stamps, and their shapes in the pixel frame and on the sky."""

from __future__ import annotations

import numpy as np

from shapempi.measure.moments import adaptive_moments, to_sky
from shapempi.psf import PsfModel

__all__ = ["PSF_SHAPE_DTYPE", "interpolate"]

#: Shape of the model at one position (behaviour specification, section 8).  E1, E2, SIGMA: adaptive moments in the
#: pixel frame; despite the names, which are historic, E1 and E2 are the reduced shear g = (a - b)/(a + b), SIGMA is
#: det(M)^(1/4) [pixel].  FLAG: 0 measured, else bits of `MomentsFlag`, and then the values are NaN.  g1, g2, T: the
#: same moments in the sky frame, reduced shear and trace of the moment matrix, 2 sigma^2 if round [arcsec^2]; NaN
#: without a Jacobian.
PSF_SHAPE_DTYPE = np.dtype(
    [
        ("E1_PSF_HSM", "f8"),
        ("E2_PSF_HSM", "f8"),
        ("SIGMA_PSF_HSM", "f8"),
        ("FLAG_PSF_HSM", "i2"),
        ("g1_psf", "f8"),
        ("g2_psf", "f8"),
        ("T_psf", "f8"),
    ]
)


def interpolate(
    model: PsfModel,
    x: np.ndarray,
    y: np.ndarray,
    size: int,
    *,
    dx: np.ndarray | None = None,
    dy: np.ndarray | None = None,
    jacobians: np.ndarray | None = None,
    shapes: bool = True,
    n_threads: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the model at many positions and measure what is drawn.

    Parameters
    ----------
    model : PsfModel
        The model of one CCD.
    x, y : ndarray of float64 [n]
        Positions on the CCD [pixel], 0-based.
    size : int
        Side of the stamps [pixel], odd.
    dx, dy : ndarray of float64 [n], optional
        Offset of the PSF's centre from the stamp's centre [pixel]; zero by default.
    jacobians : ndarray of float64 [n, 4], optional
        dudx, dudy, dvdx, dvdy [arcsec/pixel] at the positions, u West, v North; without them there are no shapes on
        the sky.
    shapes : bool, optional
        Whether to measure shapes.
    n_threads : int, optional
        Threads; the result does not depend on it.

    Returns
    -------
    stamps : ndarray of float64 [n, size, size]
        Stamps of unit sum; all zero where a position is not finite.
    table : ndarray of PSF_SHAPE_DTYPE [n]
        Their shapes; of length 0 if none were asked for.
    """
    stamps = model.draw(x, y, size, dx=dx, dy=dy, n_threads=n_threads)
    if not shapes:
        return stamps, np.zeros(0, PSF_SHAPE_DTYPE)
    table = np.zeros(len(stamps), PSF_SHAPE_DTYPE)
    moments = adaptive_moments(stamps, n_threads=n_threads)
    table["E1_PSF_HSM"], table["E2_PSF_HSM"] = moments["g1"], moments["g2"]
    table["SIGMA_PSF_HSM"], table["FLAG_PSF_HSM"] = moments["sigma"], moments["flag"]
    sky = (np.full(len(stamps), np.nan),) * 3
    if jacobians is not None:
        sky = to_sky(moments["g1"], moments["g2"], moments["sigma"], jacobians)
    table["g1_psf"], table["g2_psf"], table["T_psf"] = sky
    return stamps, table
