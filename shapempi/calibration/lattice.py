"""Images from analytic transforms: sums over the modes of a lattice, exact but for modes and wings that are negligible.

The image of a profile with transform F is periodic with period N pixels if it is the sum of F over the modes
q = 2 pi (i, j)/N.  N is so large that no copy's wing matters, and all modes count up to where F vanishes, beyond the
Nyquist frequency too; nothing is interpolated or aliased.  F of a profile that is symmetric about its centre is real,
and the sums over x and y are two products of small matrices.
"""

from __future__ import annotations

import numpy as np

__all__ = ["Lattice"]


class Lattice:
    """Modes on which the images of one detector are made.

    Parameters
    ----------
    jacobian : ndarray of float64 [4]
        dudx, dudy, dvdx, dvdy [arcsec/pixel].
    size : int
        Side of the images [pixel].
    k_max : float
        Wavenumber on the sky from which on transforms are negligible [1/arcsec].
    radius : float
        Distance on the sky from which on the profiles' wings are negligible [arcsec].

    Attributes
    ----------
    pixel : ndarray of float64 [j, i]
        Transform of a pixel, times the weight of the mode in the sum.
    """

    def __init__(self, jacobian: np.ndarray, size: int, k_max: float, radius: float) -> None:
        matrix = np.reshape(jacobian, (2, 2))
        shortest = np.linalg.svd(matrix, compute_uv=False)[-1]
        period = radius / shortest + 0.5 * size + 1.0
        dq = 2.0 * np.pi / period
        n_x, n_y = (int(np.ceil(k_max * np.hypot(*matrix[:, axis]) / dq)) for axis in (0, 1))
        # Modes (-i, -j) and (i, j) give complex conjugates, so half of them do.
        self._qx = dq * np.arange(-n_x, n_x + 1)
        self._qy = dq * np.arange(0, n_y + 1)
        twice = np.where(self._qy > 0, 2.0, 1.0)
        sinc_x, sinc_y = (np.sinc(q / (2.0 * np.pi)) for q in (self._qx, self._qy))
        self.pixel = (twice * sinc_y / period**2)[:, None] * sinc_x
        self._inverse = np.linalg.inv(matrix)
        grid = np.arange(size) - 0.5 * (size - 1)
        self._wave_x = np.exp(1j * self._qx[:, None] * grid)
        self._wave_y = np.exp(1j * grid[:, None] * self._qy)

    def k_squared(self, shape: np.ndarray) -> np.ndarray:
        """Return k^T B k of sheared profiles on all modes.

        Parameters
        ----------
        shape : ndarray of float64 [..., 2, 2]
            B = A A^T of profiles that the matrix A distorts on the sky, f(A^-1 x).

        Returns
        -------
        ndarray of float64 [..., j, i]
            What stands in for the k^2 [1/arcsec^2] of the round profile.
        """
        form = self._inverse @ shape @ self._inverse.T  # k = J^-T q
        xx, xy, yy = (form[..., a, b, None, None] for a, b in ((0, 0), (0, 1), (1, 1)))
        qx, qy = self._qx[None, :], self._qy[:, None]
        return (xx * qx + 2.0 * xy * qy) * qx + yy * qy**2

    def draw(self, transform: np.ndarray, offset: np.ndarray) -> np.ndarray:
        """Return images.

        Parameters
        ----------
        transform : ndarray of float64 [n, m, j, i]
            Transforms of m profiles of each of n positions, times `pixel`.
        offset : ndarray of float64 [n, 2]
            dx, dy [pixel] of the profiles from the centre of the stamp.

        Returns
        -------
        ndarray of float64 [n, m, y, x]
            The images; they add up to the transform at zero.
        """
        n, m, n_j, _ = transform.shape
        size = self._wave_y.shape[0]
        wave_x = self._wave_x * np.exp(-1j * self._qx * offset[:, :1])[:, :, None]
        wave_y = self._wave_y * np.exp(-1j * self._qy * offset[:, 1:])[:, None, :]
        # Real products: columns (re, im) of the first sum are rows of the second, which keeps its real part.
        first = np.concatenate([wave_x.real, wave_x.imag], axis=-1)
        second = np.stack([wave_y.real, -wave_y.imag], axis=-1).reshape(n, size, 2 * n_j)
        inner = np.matmul(transform, first[:, None]).reshape(n, m, 2 * n_j, size)
        return np.matmul(second[:, None], inner)
