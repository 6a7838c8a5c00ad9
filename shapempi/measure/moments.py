"""Adaptive moments of vignets (GalSim's HSM) and their transformation from the pixel frame to the sky."""

from __future__ import annotations

import galsim
import numpy as np

__all__ = ["MOMENTS_DTYPE", "adaptive_moments", "to_sky"]

#: One measurement: reduced shear g1, g2, determinant radius sigma [pixel], centroid x, y minus the stamp's centre
#: [pixel], flux of the best-fit elliptical Gaussian, and flag (0 measured, 1 failed; then every number is NaN).
MOMENTS_DTYPE = np.dtype(
    [("g1", "f8"), ("g2", "f8"), ("sigma", "f8"), ("x", "f8"), ("y", "f8"), ("flux", "f8"), ("flag", "i2")]
)


def adaptive_moments(stamps: np.ndarray, weights: np.ndarray | None = None, *, guess_sigma: float = 2.0) -> np.ndarray:
    """Measure the adaptive moments of each stamp in the pixel frame.

    The algorithm is that of Hirata & Seljak (2003) in `galsim.hsm.FindAdaptiveMom`: the elliptical Gaussian that
    fits the stamp best.  A stamp that cannot be measured gets a flag, never an exception.

    Parameters
    ----------
    stamps : ndarray of float [n, y, x]
        Background-subtracted stamps.
    weights : ndarray of float [n, y, x], optional
        Pixels whose weight is not positive are left out.  Their loss is not made up for: moments of a stamp with
        holes in the object are biased.  The values of positive weights do not matter.
    guess_sigma : float, optional
        Where the iteration starts [pixel].

    Returns
    -------
    ndarray of MOMENTS_DTYPE [n]
        See `MOMENTS_DTYPE`.  g1 and g2 are the reduced shear g = (a - b)/(a + b), with g1 > 0 along +x of the
        array and g2 > 0 along the diagonal +x, +y; sigma is det(M)^(1/4) of the moment matrix M.
    """
    result = np.zeros(len(stamps), MOMENTS_DTYPE)
    for i, stamp in enumerate(stamps):
        good = None if weights is None else weights[i] > 0
        result[i] = _measure(stamp, good, guess_sigma)
    return result


def _measure(stamp: np.ndarray, good: np.ndarray | None, guess_sigma: float) -> tuple[float, ...]:
    """Return one row of MOMENTS_DTYPE."""
    failed = (np.nan,) * 6 + (1,)
    values = np.ascontiguousarray(stamp, dtype=float)
    if good is not None:
        if not good.any():
            return failed
        # Masked pixels may hold NaN or -1e30; HSM leaves them out but must not meet them.
        values = np.where(good, values, 0.0)
    if not np.isfinite(values).all():
        return failed
    image = galsim.Image(values, scale=1.0)
    mask = None if good is None else galsim.Image(good.astype(np.int32))
    shape = galsim.hsm.FindAdaptiveMom(image, weight=mask, guess_sig=guess_sigma, strict=False)
    # A hole in the sky has moments, too, with a negative flux.
    if shape.error_message or not (shape.moments_sigma > 0 and shape.moments_amp > 0):
        return failed
    offset = shape.moments_centroid - image.true_center
    row = (
        shape.observed_shape.g1,
        shape.observed_shape.g2,
        shape.moments_sigma,
        offset.x,
        offset.y,
        shape.moments_amp,
    )
    return (*row, 0) if np.isfinite(row).all() else failed


def to_sky(
    g1: np.ndarray, g2: np.ndarray, sigma: np.ndarray, jacobians: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Transform shapes from the pixel frame to the sky by the local Jacobian.

    With the distortion e = 2 g/(1 + |g|^2) and the determinant radius sigma the moment matrix in pixels is
    M = T/2 [[1 + e1, e2], [e2, 1 - e1]] with trace T = 2 sigma^2/sqrt(1 - |e|^2), because det(M) = sigma^4.
    On the sky it is J M J^T, whose trace and shape are returned.

    Parameters
    ----------
    g1, g2 : ndarray of float64 [n]
        Reduced shear in the pixel frame.
    sigma : ndarray of float64 [n]
        Determinant radius [pixel].
    jacobians : ndarray of float64 [n, 4]
        dudx, dudy, dvdx, dvdy [arcsec/pixel], u West, v North.

    Returns
    -------
    g1, g2 : ndarray of float64 [n]
        Reduced shear in the sky frame (u, v).
    T : ndarray of float64 [n]
        Trace of the moment matrix [arcsec^2]: 2 sigma^2 of a round object.
    """
    modulus = g1**2 + g2**2
    e1, e2 = 2 * g1 / (1 + modulus), 2 * g2 / (1 + modulus)
    # sqrt(1 - |e|^2) = (1 - |g|^2)/(1 + |g|^2) without the loss of digits at |e| -> 1.
    half = sigma**2 * (1 + modulus) / (1 - modulus)
    xx, xy, yy = half * (1 + e1), half * e2, half * (1 - e1)
    dudx, dudy, dvdx, dvdy = np.asarray(jacobians, dtype=float).T
    uu = dudx**2 * xx + 2 * dudx * dudy * xy + dudy**2 * yy
    vv = dvdx**2 * xx + 2 * dvdx * dvdy * xy + dvdy**2 * yy
    uv = dudx * dvdx * xx + (dudx * dvdy + dudy * dvdx) * xy + dudy * dvdy * yy
    trace = uu + vv
    # |g| = |e|/(1 + sqrt(1 - |e|^2)) with |e|^2 = 1 - 4 det/trace^2, written without a division by zero at e = 0.
    scale = 1.0 / (trace + 2 * np.sqrt(np.maximum(uu * vv - uv**2, 0.0)))
    return (uu - vv) * scale, 2 * uv * scale, trace
