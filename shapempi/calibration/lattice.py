"""Images from analytic transforms: sums over the modes of a lattice, exact but for modes and wings that are negligible.

The image of a profile with transform F is periodic with period N pixels if it is the sum of F over the modes
q = 2 pi (i, j)/N.  N is so large that no copy's wing matters, and all modes count up to where F vanishes, also those
beyond the Nyquist frequency; nothing is interpolated.  The sums are FFTs and not products of matrices, which a BLAS
library rounds in its own way for every number of threads.
"""

from __future__ import annotations

import numpy as np
import scipy.fft

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
        self._period = scipy.fft.next_fast_len(int(np.ceil(radius / shortest + 0.5 * size + 1.0)))
        dq = 2.0 * np.pi / self._period
        n_x, n_y = (int(np.ceil(k_max * np.hypot(*matrix[:, axis]) / dq)) for axis in (0, 1))
        # Modes (-i, -j) and (i, j) give complex conjugates, so half of them do.
        self._qx = dq * np.arange(-n_x, n_x + 1)
        self._qy = dq * np.arange(0, n_y + 1)
        twice = np.where(self._qy > 0, 2.0, 1.0)
        sinc_x, sinc_y = (np.sinc(q / (2.0 * np.pi)) for q in (self._qx, self._qy))
        self.pixel = (twice * sinc_y / self._period**2)[:, None] * sinc_x
        self._inverse = np.linalg.inv(matrix)
        self._size = size
        # The first mode of a row is -n_x and not 0: a shift of all modes is a phase of the image.
        self._phase = np.exp(1j * self._qx[0] * np.arange(size))

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
        """Return the images of profiles at one place.

        Parameters
        ----------
        transform : ndarray of float64 [n, j, i]
            Transforms of the profiles, times `pixel`.
        offset : ndarray of float64 [2]
            dx, dy [pixel] of their centres from the centre of the stamp.

        Returns
        -------
        ndarray of float64 [n, y, x]
            The images; all light of the plane adds up to the transform at zero.
        """
        centre_x, centre_y = offset + 0.5 * (self._size - 1)
        place = np.exp(-1j * self._qy * centre_y)[:, None] * np.exp(-1j * self._qx * centre_x)
        rows = scipy.fft.ifft(self._folded(transform * place), axis=-1, norm="forward")[..., : self._size]
        columns = np.swapaxes(rows * self._phase, -1, -2)
        image = scipy.fft.ifft(self._folded(columns), axis=-1, norm="forward")[..., : self._size].real
        return np.swapaxes(image, -1, -2)

    def _folded(self, modes: np.ndarray) -> np.ndarray:
        """Return modes [..., period] from [..., k]: those a period apart are one on the pixels."""
        period = self._period
        folded = np.zeros((*modes.shape[:-1], period), dtype=complex)
        for start in range(0, modes.shape[-1], period):
            part = modes[..., start : start + period]
            folded[..., : part.shape[-1]] += part
        return folded
