"""How many multiply-adds the measurement needs: formulae that follow the kernels' loops.

A multiplication, an addition, or both in one instruction count as one: each takes one slot of the unit that
`kernels._peak` measures.  What is there only to fill up vectors is not counted, nor what is small (tables, divisions).
"""

from __future__ import annotations

import numpy as np

from shapempi.measure.metacal import shear_matrix
from shapempi.measure.shape_table import Fits

__all__ = ["count_fits", "count_images"]

#: -2 ln of the value of the target's transform at which it ends (`METACAL_ACCURACY`).
_TARGET_END = 23.025850929940457

#: chi^2 at which the model of a fit ends (`CUT` of cext/fit_sums.c).
_MODEL_END = 36.0

#: For each pixel of each evaluation: model squared, times weight and data (3), next pixel's model (2), and ten sums.
_PER_MODEL_PIXEL = 15

#: For each pixel of each image before its fit: weight times data, and its square summed up.
_PER_PIXEL = 2


def count_images(
    jacobian: np.ndarray,
    sigma: float,
    max_k: float,
    types: tuple[str, ...],
    step: float,
    size: int,
    period: int,
) -> int:
    """Count the multiply-adds for the metacalibration images of one epoch, with noise.

    With h = (size + 1)/2, the PSF, the image and the noise (s = 3, of which 2 are transformed back), b rows beta of
    the half plane, a columns alpha >= 0 and N points (alpha, beta) at which target and inverse PSF are not zero:

    * once: the transforms along y, 4 s h^2 b;
    * for each type: the turn of the rows, 8 s h b; the transforms along x, 4 s h N; the products at each point,
      8 (s - 1) N; the inverse along beta, 4 (s - 1) h N; its turn, 8 (s - 1) h a; the inverse along alpha,
      2 (s - 1) size h a; and the phases, 8 h (a + b).

    Parameters
    ----------
    jacobian : ndarray of float64 [4]
        dudx, dudy, dvdx, dvdy [arcsec/pixel].
    sigma : float
        Sigma of the target PSF [arcsec].
    max_k : float
        Where the PSF's transform ends [1/arcsec].
    types : tuple of str
        Types of images.
    step : float
        Shear.
    size, period : int
        Side of the stamps and period of the lattice [pixel].

    Returns
    -------
    int
        Multiply-adds.
    """
    h, s, count, most_rows = (size + 1) // 2, 3, 0, 0
    J = np.reshape(jacobian, (2, 2))
    to_k = np.linalg.inv(J).T * 2.0 * np.pi / period
    i, j = np.meshgrid(np.arange(-(period // 2), period // 2 + 1), np.arange(period // 2 + 1))
    for kind in types:
        (a, b), (c, _) = np.linalg.inv(J) @ np.linalg.inv(shear_matrix(kind, step)) @ J
        source = np.stack([i - c / a * j, j])
        target = np.stack([a * i, b * i + j / a])
        inside = _squared(to_k, source) <= max_k**2
        inside &= sigma**2 * _squared(to_k, target) <= _TARGET_END
        # Both signs of alpha are made together, if either is needed.
        needed = inside[:, period // 2 :] | inside[:, period // 2 :: -1]
        n_point, n_row, n_column = needed.sum(), needed.any(axis=1).sum(), needed.any(axis=0).sum()
        most_rows = max(most_rows, int(n_row))
        count += int(8 * s * h * n_row + 4 * s * h * n_point + 8 * (s - 1) * n_point)
        count += int(4 * (s - 1) * h * n_point + 8 * (s - 1) * h * n_column + 2 * (s - 1) * size * h * n_column)
        count += int(8 * h * (n_column + n_row))
    return count + 4 * s * h**2 * most_rows


def _squared(to_k: np.ndarray, lattice: np.ndarray) -> np.ndarray:
    """Return |k|^2 [1/arcsec^2] at points of a lattice of wavevectors [2, ...]."""
    return np.sum(np.tensordot(to_k, lattice, axes=1) ** 2, axis=0)


def count_fits(
    fits: Fits,
    first: np.ndarray,
    jacobian: np.ndarray,
    sigma: np.ndarray,
    origin: np.ndarray,
    size: int,
) -> int:
    """Count the multiply-adds of fits of one Gaussian.

    For each evaluation and epoch, 15 per pixel in which chi^2 of the convolved model is below 36; the model of the
    solution stands for that of all evaluations.  For each image once, 2 per pixel.

    Parameters
    ----------
    fits : Fits [n_object, n_type]
        The solutions.
    first : ndarray of int64 [n_object + 1]
        Epochs of object i are first[i] to first[i + 1].
    jacobian : ndarray of float64 [n_epoch, 4]
        dudx, dudy, dvdx, dvdy [arcsec/pixel].
    sigma : ndarray of float64 [n_epoch]
        Sigma of the target PSF [arcsec].
    origin : ndarray of float64 [n_epoch, 2]
        u, v of the object from the centre of the stamp [arcsec].
    size : int
        Side of the stamps [pixel].

    Returns
    -------
    int
        Multiply-adds.
    """
    x = np.arange(size)[None, :] - 0.5 * (size - 1)
    y = np.arange(size)[:, None] - 0.5 * (size - 1)
    count = 0
    for i, types in enumerate(fits.parameters):
        for e in range(int(first[i]), int(first[i + 1])):
            dudx, dudy, dvdx, dvdy = jacobian[e]
            for kind, parameters in enumerate(types):
                count += _PER_PIXEL * size**2
                if fits.flags[i, kind]:
                    continue
                v0, u0, g1, g2, T, _ = parameters
                v = dvdx * x + dvdy * y - origin[e, 1] - v0
                u = dudx * x + dudy * y - origin[e, 0] - u0
                e1, e2 = np.array([g1, g2]) * 2.0 / (1.0 + g1**2 + g2**2)
                rr, cc = (0.5 * T * (1.0 + sign * e1) + sigma[e] ** 2 for sign in (-1.0, 1.0))
                rc = 0.5 * T * e2
                chi2 = (cc * v**2 - 2.0 * rc * u * v + rr * u**2) / (rr * cc - rc**2)
                count += int(_PER_MODEL_PIXEL * np.count_nonzero(chi2 < _MODEL_END) * fits.n_evaluation[i, kind])
    return count
