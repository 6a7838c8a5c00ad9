"""The linear problem of a PSF fit: stars as resampled polynomial pixel bases, solved by conjugate gradients."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

__all__ = ["StarForms", "polynomial_terms", "pulling_matrices", "resampling_matrices", "solve"]

#: Half width [model pixel] and shape of the Kaiser window of the interpolating sinc.  Half-pixel shifts of Moffat
#: and Kolmogorov PSFs of FWHM 3.2 to 4.5 pixels change T by less than 1e-4; Lanczos-4 changes it by 3e-3, which a
#: fit at one pixel per step would put into the model.
_HALF_WIDTH = 6
_KAISER = 6.5


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


def resampling_matrices(shift: np.ndarray, size: int, model_size: int, sampling: float) -> np.ndarray:
    """Return the matrices that resample one axis of a model onto the pixels of each stamp.

    Row j of matrix i holds the weights (a sinc in a Kaiser window) of the model's pixels at stamp pixel j, which
    lies at model index (j - (size - 1)/2 - shift_i)/sampling + (model_size - 1)/2.  They are divided by their sum
    over all taps, so that a constant stays one; the model is zero outside its grid.

    Parameters
    ----------
    shift : ndarray of float64 [n]
        Offset of the star's centre from the stamp's centre along this axis [image pixel].
    size, model_size : int
        Pixels of the stamp and of the model along this axis.
    sampling : float
        Step of the model's grid [image pixel].

    Returns
    -------
    ndarray of float64 [n, size, model_size]
        The matrices.
    """
    pixels = np.arange(size) - (size - 1) / 2
    index = (pixels - np.asarray(shift, dtype=float)[:, None]) / sampling + (model_size - 1) / 2
    return _interpolation(index, model_size)


def pulling_matrices(shift: np.ndarray, size: int, model_size: int, sampling: float) -> np.ndarray:
    """Return the matrices that resample one axis of each stamp onto the grid of a model centred on the star.

    Parameters
    ----------
    shift, size, model_size, sampling
        As in `resampling_matrices`.

    Returns
    -------
    ndarray of float64 [n, model_size, size]
        The matrices.
    """
    grid = (np.arange(model_size) - (model_size - 1) / 2) * sampling
    return _interpolation(grid + np.asarray(shift, dtype=float)[:, None] + (size - 1) / 2, size)


def _interpolation(index: np.ndarray, n: int) -> np.ndarray:
    """Return the weights [..., n] of the samples 0..n-1 at real indices [...]."""
    tap = np.floor(index)[..., None] + np.arange(1 - _HALF_WIDTH, _HALF_WIDTH + 1)
    distance = (index[..., None] - tap) / _HALF_WIDTH
    window = np.i0(_KAISER * np.sqrt(np.maximum(1.0 - distance**2, 0.0)))
    weights = np.sinc(distance * _HALF_WIDTH) * window
    weights /= weights.sum(axis=-1, keepdims=True)
    # Taps outside the grid go to an extra sample that is dropped.
    matrices = np.zeros((*index.shape, n + 1))
    inside = (tap >= 0) & (tap < n)
    np.put_along_axis(matrices, np.where(inside, tap, n).astype(np.intp), weights, axis=-1)
    return np.ascontiguousarray(matrices[..., :n])


@dataclass(frozen=True)
class StarForms:
    """What turns basis images into star stamps: the linear map A of star_i = flux_i L_i sum_k t_ik basis_k.

    Attributes
    ----------
    terms : ndarray of float64 [n, n_coef]
        Polynomial terms at the stars.
    flux : ndarray of float64 [n]
        Factor of the unit PSF.
    rows, columns : ndarray of float64 [n, size, model_size]
        Resampling matrices along y and x.
    """

    terms: np.ndarray
    flux: np.ndarray
    rows: np.ndarray
    columns: np.ndarray

    def with_flux(self, flux: np.ndarray) -> StarForms:
        """Return the same forms with other fluxes."""
        return replace(self, flux=flux)

    def draw(self, basis: np.ndarray) -> np.ndarray:
        """Return A basis: the stars [n, size, size] of basis images [n_coef, model_size, model_size]."""
        # einsum without `optimize` and matmul per star: every star's result is independent of the others.
        models = np.einsum("nk,kyx->nyx", self.terms * self.flux[:, None], basis)
        return self.rows @ models @ self.columns.transpose(0, 2, 1)

    def transpose(self, stamps: np.ndarray) -> np.ndarray:
        """Return A^T stamps: basis images [n_coef, model_size, model_size] of stamps [n, size, size]."""
        models = self.rows.transpose(0, 2, 1) @ stamps @ self.columns
        return np.einsum("nk,nyx->kyx", self.terms * self.flux[:, None], models)

    def normal_blocks(self, weights: np.ndarray) -> np.ndarray:
        """Return the diagonal blocks of A^T W A: [model_size, model_size, n_coef, n_coef]."""
        spread = (self.rows**2).transpose(0, 2, 1) @ weights @ self.columns**2
        scaled = self.terms * self.flux[:, None]
        n_star, n_coef = scaled.shape
        products = (scaled[:, :, None] * scaled[:, None, :]).reshape(n_star, n_coef * n_coef)
        blocks = np.einsum("nj,nyx->yxj", products, spread)
        return blocks.reshape(*blocks.shape[:2], n_coef, n_coef)


def solve(
    forms: StarForms,
    stamps: np.ndarray,
    weights: np.ndarray,
    prior: np.ndarray,
    prior_sigma: np.ndarray,
    start: np.ndarray,
    *,
    tolerance: float = 1e-5,
    max_iterations: int = 60,
) -> np.ndarray:
    """Minimise sum w (stamps - A basis)^2 + sum ((basis - prior)/prior_sigma)^2.

    Conjugate gradients on the normal equations, preconditioned by their block of each model pixel.

    Parameters
    ----------
    forms : StarForms
        The map A.
    stamps, weights : ndarray of float64 [n, size, size]
        Data and inverse variances; 0 leaves a pixel out (its value must be finite).
    prior, prior_sigma : ndarray of float64 [n_coef, model_size, model_size]
        Mean and standard deviation of the Gaussian prior of each coefficient.
    start : ndarray of float64 [n_coef, model_size, model_size]
        Where to start.
    tolerance : float, optional
        Stop when the preconditioned gradient has shrunk to this fraction of its norm for basis = prior.
    max_iterations : int, optional
        Hard stop.

    Returns
    -------
    ndarray of float64 [n_coef, model_size, model_size]
        The basis images.
    """
    precision = prior_sigma**-2.0
    n_coef = len(prior)
    blocks = forms.normal_blocks(weights)
    diagonal = np.arange(n_coef)
    blocks[..., diagonal, diagonal] += np.moveaxis(precision, 0, -1)
    inverse = np.linalg.inv(blocks)

    def precondition(gradient: np.ndarray) -> np.ndarray:
        return np.einsum("yxkl,lyx->kyx", inverse, gradient)

    def downhill(basis: np.ndarray) -> np.ndarray:
        return forms.transpose(weights * (stamps - forms.draw(basis))) - precision * (basis - prior)

    reference = downhill(prior)
    limit = tolerance**2 * float(np.sum(reference * precondition(reference)))
    basis = np.array(start, dtype=float)
    residual = downhill(basis)
    step = precondition(residual)
    norm = float(np.sum(residual * step))
    for _ in range(max_iterations):
        if norm <= limit:
            break
        curved = forms.transpose(weights * forms.draw(step)) + precision * step
        length = norm / float(np.sum(step * curved))
        basis += length * step
        residual -= length * curved
        conditioned = precondition(residual)
        previous, norm = norm, float(np.sum(residual * conditioned))
        step = conditioned + norm / previous * step
    return basis
