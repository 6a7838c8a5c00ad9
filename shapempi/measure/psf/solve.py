"""The linear problem of a PSF fit: stars as resampled polynomial pixel bases, solved by conjugate gradients."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from shapempi.errors import MeasurementError
from shapempi.kernels import _psffit

__all__ = ["LinearPrior", "StarForms", "Taps", "polynomial_terms", "solve"]

#: First sample [n, size] and weights [n, size, 12] of each pixel.
Taps = tuple[np.ndarray, np.ndarray]


class LinearPrior(Protocol):
    """What `solve` knows of basis images before the stars; see `shapempi.measure.psf.prior.Prior`."""

    @property
    def mean(self) -> np.ndarray:
        """Mean of the basis images."""
        ...

    @property
    def sigma(self) -> np.ndarray:
        """Standard deviation of z."""
        ...

    @property
    def smoother(self) -> np.ndarray:
        """S along one axis."""
        ...

    def smooth(self, z: np.ndarray) -> np.ndarray:
        """Return S z."""
        ...


def polynomial_terms(degree: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the terms of a polynomial of total degree `degree` in the order of `PsfModel`.

    Parameters
    ----------
    degree : int
        Total degree d.
    x, y : ndarray of float64 [n]
        Normalised coordinates.

    Returns
    -------
    ndarray of float64 [n, (d + 1)(d + 2)/2]
        x^p y^q for q in 0..d, for p in 0..d-q.
    """
    return np.stack([x**p * y**q for q in range(degree + 1) for p in range(degree + 1 - q)], axis=-1)


@dataclass(frozen=True)
class StarForms:
    """What turns basis images into star stamps: the linear map A of star_i = flux_i L_i sum_k t_ik basis_k.

    Attributes
    ----------
    terms : ndarray of float64 [n, n_coef]
        Polynomial terms at the stars.
    flux : ndarray of float64 [n]
        Factor of the unit PSF.
    rows, columns : tuple of ndarray
        Resampling weights along y and x, see `shapempi.kernels._psffit.taps`.
    model_size : int
        Side of the basis images.
    """

    terms: np.ndarray
    flux: np.ndarray
    rows: Taps
    columns: Taps
    model_size: int

    def with_flux(self, flux: np.ndarray) -> StarForms:
        """Return the same forms with other fluxes."""
        return replace(self, flux=flux)

    def with_terms(self, terms: np.ndarray) -> StarForms:
        """Return the same forms with other terms."""
        return replace(self, terms=terms)

    def __getitem__(self, stars: np.ndarray) -> StarForms:
        """Return the forms of some stars: indices or a mask."""
        rows = (self.rows[0][stars], self.rows[1][stars])
        columns = (self.columns[0][stars], self.columns[1][stars])
        return StarForms(self.terms[stars], self.flux[stars], rows, columns, self.model_size)

    def draw(self, basis: np.ndarray) -> np.ndarray:
        """Return A basis: the stars [n, size, size] of basis images [n_coef, model_size, model_size]."""
        return _psffit.draw(basis, self._factors(), self.rows, self.columns)

    def transpose(self, stamps: np.ndarray) -> np.ndarray:
        """Return A^T stamps: basis images [n_coef, model_size, model_size] of stamps [n, size, size]."""
        size = self.model_size
        return _psffit.transpose(np.ascontiguousarray(stamps), self._factors(), self.rows, self.columns, size, size)

    def normal(self, weights: np.ndarray, basis: np.ndarray) -> np.ndarray:
        """Return A^T W A basis."""
        return _psffit.normal(basis, weights, self._factors(), self.rows, self.columns)

    def normal_blocks(self, weights: np.ndarray) -> np.ndarray:
        """Return the diagonal blocks of A^T W A: [n_coef, n_coef, model_size, model_size]."""
        scaled = self._factors()
        n_coef = scaled.shape[1]
        upper = np.triu_indices(n_coef)
        rows, columns = ((first, weight**2) for first, weight in (self.rows, self.columns))
        products = np.ascontiguousarray(scaled[:, upper[0]] * scaled[:, upper[1]])
        spread = _psffit.transpose(weights, products, rows, columns, self.model_size, self.model_size)
        blocks = np.empty((n_coef, n_coef, *spread.shape[1:]))
        blocks[upper] = spread
        blocks[upper[::-1]] = spread
        return blocks

    def _factors(self) -> np.ndarray:
        return np.ascontiguousarray(self.terms * self.flux[:, None])


def solve(
    forms: StarForms,
    stamps: np.ndarray,
    weights: np.ndarray,
    prior: LinearPrior,
    start: np.ndarray,
    *,
    tolerance: float = 1e-5,
    max_iterations: int = 60,
) -> np.ndarray:
    """Minimise sum w (stamps - A basis)^2 + sum (z/sigma)^2 over z, with basis = mean + S z.

    Conjugate gradients on the normal equations, preconditioned by their block of each model pixel.

    Parameters
    ----------
    forms : StarForms
        The map A.
    stamps, weights : ndarray of float64 [n, size, size]
        Data and inverse variances; 0 leaves a pixel out (its value must be finite).
    prior : LinearPrior
        Mean and correlation of the basis images, standard deviations of z.
    start : ndarray of float64 [n_coef, model_size, model_size]
        z to start from.
    tolerance : float, optional
        Stop when the preconditioned gradient has shrunk to this fraction of its norm for z = 0.
    max_iterations : int, optional
        Hard stop.

    Returns
    -------
    ndarray of float64 [n_coef, model_size, model_size]
        z.

    Raises
    ------
    MeasurementError
        If the normal equations have no solution.
    """
    precision = prior.sigma**-2.0
    inverse = _inverse_blocks(forms, weights, prior, precision)

    def precondition(gradient: np.ndarray) -> np.ndarray:
        return np.einsum("klyx,lyx->kyx", inverse, gradient)

    residual = prior.smooth(forms.transpose(weights * (stamps - forms.draw(prior.mean))))
    step = precondition(residual)
    limit = tolerance**2 * float(np.sum(residual * step))
    z = np.array(start, dtype=float)
    residual -= prior.smooth(forms.normal(weights, prior.smooth(z))) + precision * z
    step = precondition(residual)
    norm = float(np.sum(residual * step))
    for _ in range(max_iterations):
        if norm <= limit:
            break
        curved = prior.smooth(forms.normal(weights, prior.smooth(step))) + precision * step
        length = norm / float(np.sum(step * curved))
        z += length * step
        residual -= length * curved
        conditioned = precondition(residual)
        previous, norm = norm, float(np.sum(residual * conditioned))
        step = conditioned + norm / previous * step
    return z


def _inverse_blocks(forms: StarForms, weights: np.ndarray, prior: LinearPrior, precision: np.ndarray) -> np.ndarray:
    """Return the inverse of the diagonal blocks of the normal equations, [n_coef, n_coef, model_size, model_size]."""
    square = prior.smoother**2
    blocks = square @ forms.normal_blocks(weights) @ square
    n_coef = len(precision)
    diagonal = np.arange(n_coef)
    blocks[diagonal, diagonal] += precision
    try:
        inverse = np.linalg.inv(np.moveaxis(blocks, (0, 1), (-2, -1)))
    except np.linalg.LinAlgError as error:
        raise MeasurementError(f"the fit of the PSF model to {len(weights)} stars is singular") from error
    return np.ascontiguousarray(np.moveaxis(inverse, (-2, -1), (0, 1)))
