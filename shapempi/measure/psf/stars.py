"""The stars that a PSF model is fitted to, and the grid of that model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shapempi.errors import MeasurementError
from shapempi.kernels import _psffit
from shapempi.measure.moments import adaptive_moments
from shapempi.measure.psf.params import PsfModelParams
from shapempi.measure.psf.sample import StarSample
from shapempi.measure.psf.solve import StarForms, polynomial_terms

__all__ = ["ModelGrid", "PsfStars", "normalisation"]

FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))

#: Radius [sigma] inside which a star's light is its flux, before there is a model.
_FLUX_RADIUS = 3.0
#: Width of the rings of the radial profile [sigma], and number of rings before they grow with the radius.
_RING = 0.25
_RINGS = 12
#: The profile falls to this fraction of its maximum.
_FLOOR = 1e-6


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

    def smoother(self, width: float) -> np.ndarray:
        """Return the matrix [size, size] that correlates one axis by a Gaussian [pixel]; it keeps the variance."""
        grid = np.arange(self.size) * self.sampling
        distance = grid[:, None] - grid
        if width == 0.0:
            return np.eye(self.size)
        kernel = np.exp(-0.5 * (distance / width) ** 2)
        middle = kernel[self.size // 2]
        return kernel / np.sqrt(np.sum(middle**2))

    def core(self, images: np.ndarray, radius: float) -> np.ndarray:
        """Return the part of images [n, size, size] within a radius [pixel] of the centre along each axis."""
        cut = max(self.size // 2 - int(np.ceil(radius / self.sampling)), 0)
        return images[:, cut : self.size - cut, cut : self.size - cut]

    def radius(self) -> np.ndarray:
        """Return the distance of each model pixel from the centre [model pixel], [size, size]."""
        grid = np.arange(self.size) - (self.size - 1) / 2
        return np.hypot(grid[:, None], grid)


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
    def prepare(cls, sample: StarSample, form: PsfModelParams) -> PsfStars:
        """Drop unusable pixels, normalise the positions, measure the typical size and choose the grid by it.

        A star without a place is left without weight.

        Raises
        ------
        MeasurementError
            If no star has adaptive moments.
        """
        x, y = (np.asarray(place, dtype=float) for place in (sample.x, sample.y))
        offset = np.asarray(sample.offset, dtype=float)
        placed = np.isfinite(x) & np.isfinite(y) & (np.abs(offset) < form.size).all(axis=1)
        usable = _crop(sample.usable() & placed[:, None, None], form.size)
        data = np.where(usable, _crop(sample.vignets, form.size), 0.0).astype(float)
        weight = np.where(usable, _crop(sample.weights, form.size), 0.0).astype(float)
        moments = adaptive_moments(data, weight)
        sigma = moments["sigma"][moments["flag"] == 0]
        if len(sigma) == 0:
            raise MeasurementError(f"none of {len(data)} stars has adaptive moments: no PSF model")
        typical = float(np.median(sigma))
        step = form.step(FWHM_PER_SIGMA * typical)
        (zero_x, zero_y), (scale_x, scale_y) = normalisation(sample.shape)
        return cls(
            data=data,
            weight=weight,
            u=np.where(placed, x + 1.0 - zero_x, 0.0) / scale_x,
            v=np.where(placed, y + 1.0 - zero_y, 0.0) / scale_y,
            offset=np.where(placed[:, None], offset, 0.0),
            gain=sample.gain if np.isfinite(sample.gain) else 0.0,
            sigma=typical,
            grid=ModelGrid(form.grid_size(step), step),
        )

    def __len__(self) -> int:
        """Return the number of stars."""
        return len(self.data)

    def forms(self, degree: int, offset: np.ndarray) -> StarForms:
        """Return the forms of stars of flux 1 with their centres at given offsets [n, 2]."""
        ny, nx = self.data.shape[1:]
        return StarForms(
            terms=polynomial_terms(degree, self.u, self.v),
            flux=np.ones(len(self)),
            rows=_psffit.taps(offset[:, 1], ny, self.grid.size, self.grid.sampling),
            columns=_psffit.taps(offset[:, 0], nx, self.grid.size, self.grid.sampling),
            model_size=self.grid.size,
        )

    def median_profile(self) -> np.ndarray:
        """Return the stars' median radial profile on the model's grid, for unit flux, [size, size].

        Whatever the sampling, neighbours and cosmic rays, there are many good pixels at every distance.

        Raises
        ------
        MeasurementError
            If the stars have no light.
        """
        radius = self.radius(self.offset)
        flux = np.sum(self.data * (radius < _FLUX_RADIUS * self.sigma), axis=(1, 2))
        bright = flux > 0
        if not bright.any():
            raise MeasurementError(f"none of {len(self)} stars for the PSF model has positive flux")
        seen = (self.weight > 0) & bright[:, None, None]
        scaled = self.data[seen] / np.broadcast_to(flux[:, None, None], seen.shape)[seen]
        ring = self._rings(radius[seen])
        count = np.bincount(ring)
        values = np.split(scaled[np.argsort(ring.astype(np.int16), kind="stable")], np.cumsum(count)[:-1])
        median = np.array([np.median(these) if len(these) else 0.0 for these in values])
        if not median.max() > 0:
            raise MeasurementError(f"the median of {bright.sum()} stars for the PSF model has no positive flux")
        return self._round_image(radius[seen], ring, median)

    def mean_profile(self, weight: np.ndarray, flux: np.ndarray, offset: np.ndarray) -> np.ndarray:
        """Return the mean radial profile of stars of known fluxes and offsets on the model's grid, [size, size].

        It is round, positive and falling.

        Raises
        ------
        MeasurementError
            If the stars have no light.
        """
        radius = self.radius(offset).ravel()
        ring = self._rings(radius)
        scaled = weight * flux[:, None, None]
        light = np.bincount(ring, (scaled * self.data).ravel())
        seen = np.bincount(ring, (scaled * flux[:, None, None]).ravel())
        mean = np.where(seen > 0, light / np.where(seen > 0, seen, 1.0), 0.0)
        if not mean.max() > 0:
            raise MeasurementError(f"{len(self)} stars for the PSF model have no light")
        return self._round_image(radius, ring, mean)

    def _rings(self, radius: np.ndarray) -> np.ndarray:
        """Return the numbers of rings of equal widths inside and of equal relative widths outside."""
        units = radius / (_RING * self.sigma)
        return np.where(units < _RINGS, units, _RINGS * (1.0 + np.log(np.maximum(units / _RINGS, 1.0)))).astype(int)

    def _round_image(self, radius: np.ndarray, ring: np.ndarray, profile: np.ndarray) -> np.ndarray:
        """Return a radial profile as an image of unit flux; empty rings are passed over."""
        count = np.bincount(ring)
        filled = count > 0
        middle = np.bincount(ring, radius)[filled] / count[filled]
        # The floor keeps the prior's width positive where the sky is all that is seen.
        falling = np.minimum.accumulate(np.maximum(profile[filled], _FLOOR * profile.max()))
        image = np.exp(np.interp(self.grid.radius() * self.grid.sampling, middle, np.log(falling)))
        return image / (image.sum() * self.grid.sampling**2)

    def weights(self, model: np.ndarray, accuracy: float) -> np.ndarray:
        """Return the inverse variance with photon noise and relative error of a model [n, y, x] of the stars added."""
        extra = (accuracy * model) ** 2
        if self.gain > 0:
            extra += np.maximum(model, 0.0) / self.gain
        return self.weight / (1.0 + self.weight * extra)

    def radius(self, offset: np.ndarray) -> np.ndarray:
        """Return the distance of each pixel from its star's centre at a given offset [pixel], [n, y, x]."""
        x, y = self._axes(offset)
        return np.sqrt(x**2 + y**2)

    def place(self, offset: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return x and y of each pixel from its star's centre at a given offset [sigma], each [n, y, x]."""
        x, y = self._axes(offset)
        return np.broadcast_to(x / self.sigma, self.data.shape), np.broadcast_to(y / self.sigma, self.data.shape)

    def _axes(self, offset: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return x [n, 1, x] and y [n, y, 1] of each pixel from its star's centre [pixel]."""
        ny, nx = self.data.shape[1:]
        x = np.arange(nx) - (nx - 1) / 2 - offset[:, :1]
        y = np.arange(ny) - (ny - 1) / 2 - offset[:, 1:]
        return x[:, None, :], y[:, :, None]


def _crop(stamps: np.ndarray, size: int) -> np.ndarray:
    """Return the central `size` pixels of stamps [n, y, x] along each axis, one more where their number is even."""
    ny, nx = stamps.shape[1:]
    cut_y, cut_x = max(ny - size, 0) // 2, max(nx - size, 0) // 2
    return stamps[:, cut_y : ny - cut_y, cut_x : nx - cut_x]
