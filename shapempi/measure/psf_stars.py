"""The stars that a PSF model is fitted to, and the grid of that model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shapempi.errors import MeasurementError
from shapempi.measure.moments import adaptive_moments
from shapempi.measure.psf_sample import StarSample
from shapempi.measure.psf_solve import StarForms, polynomial_terms, pulling_matrices, resampling_matrices

__all__ = ["ModelGrid", "PsfStars", "normalisation"]

#: Gaussian [pixel] that a grid finer than the pixels is smoothed by, times sqrt(1 - sampling^2).  The stars do not
#: say what happens between pixels at higher frequencies; without it each sub-lattice of the grid is fitted alone.
_SMOOTHING = 0.7


def normalisation(shape: tuple[int, int]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return zero and scale of polynomial coordinates that run from -1 to 1 over a CCD (ny, nx), in 1-based pixels."""
    ny, nx = shape
    return ((nx + 1) / 2, (ny + 1) / 2), (nx / 2, ny / 2)


@dataclass(frozen=True)
class ModelGrid:
    """The grid of a PSF model.

    Attributes
    ----------
    size : int
        Model pixels per side, odd.
    sampling : float
        Step of the grid [image pixel], at most 1.
    """

    size: int
    sampling: float

    def smoother(self) -> np.ndarray:
        """Return the matrix [size, size] that smooths one axis of the basis; the unit matrix for a step of 1."""
        width = _SMOOTHING * np.sqrt(1.0 - self.sampling**2) / self.sampling
        if width == 0.0:
            return np.eye(self.size)
        grid = np.arange(self.size)
        kernel = np.exp(-0.5 * ((grid[:, None] - grid) / width) ** 2)
        return kernel / kernel.sum(axis=1, keepdims=True)

    def radius(self) -> np.ndarray:
        """Return the distance of each model pixel from the centre [model pixel], [size, size]."""
        grid = np.arange(self.size) - (self.size - 1) / 2
        return np.hypot(grid[:, None], grid)

    def crop(self, stamps: np.ndarray) -> np.ndarray:
        """Return the part of stamps [n, y, x] that the grid covers."""
        largest = int(self.size * self.sampling)
        ny, nx = stamps.shape[1:]
        cut_y, cut_x = max(ny - largest + 1, 0) // 2, max(nx - largest + 1, 0) // 2
        return stamps[:, cut_y : ny - cut_y, cut_x : nx - cut_x]


@dataclass(frozen=True)
class PsfStars:
    """Stars of one CCD, ready for a fit.

    Attributes
    ----------
    data : ndarray of float64 [n, y, x]
        Background-subtracted stars; 0 where there is no weight.
    weight : ndarray of float64 [n, y, x]
        Inverse variance without the noise that depends on the model; 0 is unusable.
    u, v : ndarray of float64 [n]
        Normalised polynomial coordinates.
    offset : ndarray of float64 [n, 2]
        (dx, dy): the star's centre minus the stamp's centre [pixel].
    gain : float
        Electrons per unit of the data; 0 adds no photon noise.
    sigma : float
        Typical size of the stars [pixel].
    grid : ModelGrid
        The grid of the model.
    """

    data: np.ndarray
    weight: np.ndarray
    u: np.ndarray
    v: np.ndarray
    offset: np.ndarray
    gain: float
    sigma: float
    grid: ModelGrid

    @classmethod
    def prepare(cls, sample: StarSample, grid: ModelGrid) -> PsfStars:
        """Drop unusable pixels, normalise the positions, measure the typical size.

        Raises
        ------
        MeasurementError
            If no star has adaptive moments.
        """
        usable = grid.crop(sample.usable())
        data = np.where(usable, grid.crop(sample.vignets), 0.0).astype(float)
        weight = np.where(usable, grid.crop(sample.weights), 0.0).astype(float)
        moments = adaptive_moments(data, weight)
        sigma = moments["sigma"][moments["flag"] == 0]
        if len(sigma) == 0:
            raise MeasurementError(f"none of {len(data)} stars has adaptive moments: no PSF model")
        (zero_x, zero_y), (scale_x, scale_y) = normalisation(sample.shape)
        return cls(
            data=data,
            weight=weight,
            u=(np.asarray(sample.x, dtype=float) + 1.0 - zero_x) / scale_x,
            v=(np.asarray(sample.y, dtype=float) + 1.0 - zero_y) / scale_y,
            offset=np.asarray(sample.offset, dtype=float),
            gain=sample.gain if np.isfinite(sample.gain) else 0.0,
            sigma=float(np.median(sigma)),
            grid=grid,
        )

    def __len__(self) -> int:
        """Return the number of stars."""
        return len(self.data)

    def forms(self, degree: int, offset: np.ndarray) -> StarForms:
        """Return the forms of stars of flux 1 with their centres at given offsets [n, 2]."""
        ny, nx = self.data.shape[1:]
        smoother = self.grid.smoother()
        return StarForms(
            terms=polynomial_terms(degree, self.u, self.v),
            flux=np.ones(len(self)),
            rows=resampling_matrices(offset[:, 1], ny, self.grid.size, self.grid.sampling) @ smoother,
            columns=resampling_matrices(offset[:, 0], nx, self.grid.size, self.grid.sampling) @ smoother,
        )

    def median(self) -> np.ndarray:
        """Return the median of the stars, shifted to the model's grid and scaled to unit flux, [size, size].

        Raises
        ------
        MeasurementError
            If the stars have no light.
        """
        ny, nx = self.data.shape[1:]
        rows = pulling_matrices(self.offset[:, 1], ny, self.grid.size, self.grid.sampling)
        columns = pulling_matrices(self.offset[:, 0], nx, self.grid.size, self.grid.sampling).transpose(0, 2, 1)
        seen = rows @ (self.weight > 0).astype(float) @ columns > 0.9
        flux = np.sum(self.data * (self.radius(self.offset) < 3.0 * self.sigma), axis=(1, 2))
        bright = flux > 0
        if not bright.any():
            raise MeasurementError(f"none of {len(self)} stars for the PSF model has positive flux")
        scaled = np.ma.masked_array(rows @ self.data @ columns, ~seen)[bright] / flux[bright, None, None]
        median = np.ma.filled(np.ma.median(scaled, axis=0), 0.0)
        if not median.sum() > 0:
            raise MeasurementError(f"the median of {bright.sum()} stars for the PSF model has no positive flux")
        return median / (median.sum() * self.grid.sampling**2)

    def weights(self, model: np.ndarray, accuracy: float) -> np.ndarray:
        """Return the inverse variance with photon noise and relative error of a model [n, y, x] of the stars added."""
        extra = (accuracy * model) ** 2
        if self.gain > 0:
            extra += np.maximum(model, 0.0) / self.gain
        return self.weight / (1.0 + self.weight * extra)

    def radius(self, offset: np.ndarray) -> np.ndarray:
        """Return the distance of each pixel from its star's centre at a given offset [pixel], [n, y, x]."""
        ny, nx = self.data.shape[1:]
        dx = np.arange(nx) - (nx - 1) / 2 - offset[:, :1]
        dy = np.arange(ny) - (ny - 1) / 2 - offset[:, 1:]
        return np.hypot(dx[:, None, :], dy[:, :, None])
