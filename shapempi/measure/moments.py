"""Moments of many stamps, adaptive and of a fixed weight, and their transformation from the pixel frame to the sky."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shapempi.flags import DescribedFlag
from shapempi.kernels import _moments

__all__ = [
    "FIXED_DTYPE",
    "MOMENTS_DTYPE",
    "FixedSums",
    "MomentsFlag",
    "adaptive_moments",
    "fixed_moments",
    "fixed_sums",
    "to_sky",
]


class MomentsFlag(DescribedFlag):
    """Bits that say why a stamp has no moments; 0 is a good measurement."""

    NO_PIXEL = 1, "no usable pixel"
    RUNAWAY = 2, "the size or the centroid left the limits"
    NO_FLUX = 4, "the flux is not positive"
    NO_SIZE = 8, "the size is not positive"
    SINGULAR = 16, "the moment matrix or the Jacobian is singular; the object is too small"
    NOT_CONVERGED = 32, "too many iterations"
    NO_VARIANCE = 64, "a variance is not positive"
    NOT_FINITE = 128, "a usable pixel or a sum is not finite"


#: One adaptive measurement: reduced shear g1, g2, determinant radius sigma [pixel], centroid x, y minus the stamp's
#: centre [pixel], flux of the best-fit elliptical Gaussian, and flag (bits of `MomentsFlag`; if it is not 0, every
#: number is NaN).
MOMENTS_DTYPE = np.dtype(
    [("g1", "f8"), ("g2", "f8"), ("sigma", "f8"), ("x", "f8"), ("y", "f8"), ("flux", "f8"), ("flag", "i2")]
)

#: One measurement under a fixed weight in the sky frame: weighted flux, T [arcsec^2], distortion e1, e2, their
#: errors, flux over its error, and flag (bits of `MomentsFlag`).
FIXED_DTYPE = np.dtype(
    [
        ("flux", "f8"),
        ("flux_err", "f8"),
        ("T", "f8"),
        ("T_err", "f8"),
        ("e1", "f8"),
        ("e1_err", "f8"),
        ("e2", "f8"),
        ("e2_err", "f8"),
        ("s2n", "f8"),
        ("flag", "i2"),
    ]
)

#: Places of the sums: u^2 - v^2, 2uv, u^2 + v^2, 1.
_PLUS, _CROSS, _SIZE, _FLUX = 2, 3, 4, 5


def adaptive_moments(
    stamps: np.ndarray, weights: np.ndarray | None = None, *, guess_sigma: float | np.ndarray = 2.0, n_threads: int = 1
) -> np.ndarray:
    """Measure the adaptive moments of each stamp in the pixel frame.

    The elliptical Gaussian that fits the stamp best, by Hirata & Seljak (2003): the fixed point of
    `galsim.hsm.FindAdaptiveMom`, with its limits.  A stamp that cannot be measured gets a flag, never an exception.

    Parameters
    ----------
    stamps : ndarray of float [n, y, x]
        Background-subtracted stamps; float32 is read as it is.
    weights : ndarray of float or bool [n, y, x], optional
        Pixels whose weight is not positive and finite are left out.  Their loss is not made up for: moments of a
        stamp with holes in the object are biased.  The values of positive weights do not matter.
    guess_sigma : float or ndarray of float [n], optional
        Where the iteration starts [pixel].
    n_threads : int, optional
        Threads; the result does not depend on it.

    Returns
    -------
    ndarray of MOMENTS_DTYPE [n]
        See `MOMENTS_DTYPE`.  g1 and g2 are the reduced shear g = (a - b)/(a + b), with g1 > 0 along +x of the
        array and g2 > 0 along the diagonal +x, +y; sigma is det(M)^(1/4) of the moment matrix M.

    Raises
    ------
    ValueError
        If the shapes do not fit each other.
    """
    stamps = _readable(stamps)
    guesses = np.ascontiguousarray(np.broadcast_to(np.asarray(guess_sigma, dtype=float), len(stamps)))
    weights = None if weights is None else _readable(weights)
    values, flags, _ = _moments.adaptive(stamps, weights, guesses, n_threads=n_threads)
    result = np.empty(len(stamps), MOMENTS_DTYPE)
    for i, name in enumerate(("g1", "g2", "sigma", "x", "y", "flux")):
        result[name] = values[:, i]
    result["flag"] = flags
    return result


@dataclass(frozen=True)
class FixedSums:
    """Sums under a fixed weight, which add up over the epochs of an object.

    Attributes
    ----------
    sums : ndarray of float64 [n, 6]
        Weighted sums of v, u, u^2 - v^2, 2uv, u^2 + v^2 and 1 [arcsec, arcsec^2]; zero where there are none.
    covariance : ndarray of float64 [n, 6, 6]
        Their covariance.
    flag : ndarray of int16 [n]
        Bits of `MomentsFlag`; 0 if the sums exist.
    """

    sums: np.ndarray
    covariance: np.ndarray
    flag: np.ndarray

    def by_object(self, first: np.ndarray) -> FixedSums:
        """Add up the epochs of each object; epochs with a flag are left out.

        Parameters
        ----------
        first : ndarray of int [n_object + 1]
            The epochs of object i are first[i] to first[i + 1] - 1.

        Returns
        -------
        FixedSums
            One row per object.  An object none of whose epochs has sums gets the flags of them all, or NO_PIXEL.
        """
        n_object = len(first) - 1
        owner = np.repeat(np.arange(n_object), np.diff(first))
        good = self.flag == 0
        total = FixedSums(np.zeros((n_object, 6)), np.zeros((n_object, 6, 6)), np.zeros(n_object, np.int16))
        np.add.at(total.sums, owner[good], self.sums[good])
        np.add.at(total.covariance, owner[good], self.covariance[good])
        np.bitwise_or.at(total.flag, owner, self.flag)
        total.flag[np.bincount(owner[good], minlength=n_object) > 0] = 0
        total.flag[np.diff(first) == 0] = MomentsFlag.NO_PIXEL
        return total

    def moments(self) -> np.ndarray:
        """Return flux, size and shape with their errors.

        Behaviour specification of metacalibration, section 6.2.

        Returns
        -------
        ndarray of FIXED_DTYPE [n]
            See `FIXED_DTYPE`.  Without a positive flux there are no T and shape, without a positive T no shape; then
            these are NaN, and a flag is set.
        """
        result = np.empty(len(self.sums), FIXED_DTYPE)
        result[:] = (*[np.nan] * 9, 0)
        flag = self.flag.astype(np.int16)
        measured = flag == 0
        flux, size = self.sums[:, _FLUX], self.sums[:, _SIZE]
        _set_flag(flag, measured & ~(flux > 0), MomentsFlag.NO_FLUX)
        _set_flag(flag, measured & ~(size > 0), MomentsFlag.NO_SIZE)
        variance = self.covariance[:, _FLUX, _FLUX]
        has_error = measured & (variance > 0)
        _set_flag(flag, measured & ~has_error, MomentsFlag.NO_VARIANCE)
        result["flux"][measured] = flux[measured]
        result["flux_err"][has_error] = np.sqrt(variance[has_error])
        result["s2n"][has_error] = flux[has_error] / result["flux_err"][has_error]
        has_size = measured & (flux > 0)
        has_shape = has_size & (size > 0)
        for name, above, below, wanted in (
            ("T", _SIZE, _FLUX, has_size),
            ("e1", _PLUS, _SIZE, has_shape),
            ("e2", _CROSS, _SIZE, has_shape),
        ):
            ratio, variance = self._ratio(above, below, wanted)
            result[name][wanted] = ratio
            positive = variance > 0
            result[f"{name}_err"][np.flatnonzero(wanted)[positive]] = np.sqrt(variance[positive])
            _set_flag(flag, np.flatnonzero(wanted)[~positive], MomentsFlag.NO_VARIANCE)
        result["flag"] = flag
        return result

    def _ratio(self, above: int, below: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the ratio of two sums and its variance to first order."""
        divisor, covariance = self.sums[rows, below], self.covariance[rows]
        ratio = self.sums[rows, above] / divisor
        spread = covariance[:, above, above] - 2 * ratio * covariance[:, above, below]
        return ratio, (spread + ratio**2 * covariance[:, below, below]) / divisor**2


def fixed_sums(
    stamps: np.ndarray,
    weights: np.ndarray | None,
    jacobians: np.ndarray,
    fwhm: float,
    *,
    offsets: np.ndarray | None = None,
    n_threads: int = 1,
) -> FixedSums:
    """Sum each stamp under a round Gaussian weight that is fixed on the sky.

    Parameters
    ----------
    stamps : ndarray of float [n, y, x]
        Background-subtracted stamps; float32 is read as it is.
    weights : ndarray of float [n, y, x] or None
        Inverse variances; pixels where they are not positive and finite are left out.  None: 1 everywhere.
    jacobians : ndarray of float64 [n, 4]
        dudx, dudy, dvdx, dvdy [arcsec/pixel], u West, v North.
    fwhm : float
        Full width at half maximum of the weight, whose peak is 1 [arcsec].
    offsets : ndarray of float64 [n, 2], optional
        dx, dy of the weight's centre from the stamp's centre [pixel]; None: none.
    n_threads : int, optional
        Threads; the result does not depend on it.

    Returns
    -------
    FixedSums
        One row per stamp.

    Raises
    ------
    ValueError
        If the shapes do not fit each other, or the width is not positive and finite.
    """
    stamps = _readable(stamps)
    weights = None if weights is None else _readable(weights)
    jacobians = np.ascontiguousarray(jacobians, dtype=float)
    offsets = np.zeros((len(stamps), 2)) if offsets is None else np.ascontiguousarray(offsets, dtype=float)
    sums, covariance, flags = _moments.fixed(stamps, weights, jacobians, offsets, fwhm, n_threads=n_threads)
    return FixedSums(sums, covariance, flags.astype(np.int16))


def fixed_moments(
    stamps: np.ndarray,
    weights: np.ndarray | None,
    jacobians: np.ndarray,
    fwhm: float,
    *,
    first: np.ndarray | None = None,
    offsets: np.ndarray | None = None,
    n_threads: int = 1,
) -> np.ndarray:
    """Measure flux, size and shape under a round Gaussian weight that is fixed on the sky.

    Parameters
    ----------
    stamps, weights, jacobians, fwhm, offsets, n_threads
        As in `fixed_sums`.
    first : ndarray of int [n_object + 1], optional
        The stamps of object i are first[i] to first[i + 1] - 1 and are measured together, their registration taken
        as perfect; None: each alone.

    Returns
    -------
    ndarray of FIXED_DTYPE [n or n_object]
        See `FIXED_DTYPE` and `FixedSums.moments`.

    Raises
    ------
    ValueError
        If the shapes do not fit each other, or the width is not positive and finite.
    """
    sums = fixed_sums(stamps, weights, jacobians, fwhm, offsets=offsets, n_threads=n_threads)
    return (sums if first is None else sums.by_object(np.asarray(first))).moments()


def _set_flag(flag: np.ndarray, rows: np.ndarray, bit: MomentsFlag) -> None:
    """Set a bit in some rows."""
    flag[rows] |= np.int16(bit)


def _readable(array: np.ndarray) -> np.ndarray:
    """Return an array as the kernels read it: contiguous, of a type that they know; no copy if it is that already."""
    array = np.asarray(array)
    kept = array.dtype in (np.dtype(np.float32), np.dtype(np.float64), np.dtype(bool))
    return np.ascontiguousarray(array, dtype=None if kept else float)


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
