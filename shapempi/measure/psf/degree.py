"""The degree of a PSF model's polynomial: what the stars' places bear, and what predicts stars best."""

from __future__ import annotations

import numpy as np

from shapempi.measure.psf.params import NativePsfParams
from shapempi.measure.psf.prior import make_prior
from shapempi.measure.psf.reject import relative_shapes
from shapempi.measure.psf.solve import StarForms, polynomial_terms, solve
from shapempi.measure.psf.stars import PsfStars
from shapempi.psf import n_terms

__all__ = ["choose_degree", "highest_degree"]

#: Parts of the stars that are predicted in turn.
_FOLDS = 5
#: Convergence of the linear problem for a prediction: 1e-3 changes T by 1e-4 of what 1e-2 gives.
_CONVERGED = 1e-2


def highest_degree(stars: PsfStars, used: np.ndarray, degree: int, params: NativePsfParams) -> int:
    """Return the highest degree, up to a given one, that the number and the places of stars bear.

    There must be enough stars per term, more on a grid finer than the pixels, and nowhere on the CCD may the
    polynomial magnify the error of a star: stars in a corner say nothing about the other.

    Parameters
    ----------
    stars : PsfStars
        The stars.
    used : ndarray of bool [n]
        Those that the model is fitted to.
    degree : int
        Degree asked for.
    params : NativePsfParams
        The limits.

    Returns
    -------
    int
        The degree, 0 at least.
    """
    needed = params.stars_per_term / stars.grid.sampling
    places = np.linspace(-1.0, 1.0, 5)
    everywhere = [c.ravel() for c in np.meshgrid(places, places)]
    while degree > 0:
        terms = polynomial_terms(degree, stars.u[used], stars.v[used])
        if len(terms) >= needed * terms.shape[1]:
            values = np.linalg.svd(terms, full_matrices=False)
            if values.S[-1] > 1e-6 * values.S[0]:
                spread = polynomial_terms(degree, *everywhere) @ (values.Vh.T / values.S)
                if np.sum(spread**2, axis=1).max() <= params.extrapolation:
                    break
        degree -= 1
    return degree


def choose_degree(
    stars: PsfStars,
    forms: StarForms,
    weight: np.ndarray,
    profile: np.ndarray,
    place: tuple[np.ndarray, np.ndarray],
    degree: int,
    params: NativePsfParams,
) -> int:
    """Return the lowest degree that predicts stars as well as the best one.

    Every fifth of the stars, in the order of their places, is predicted by a model of the others.  The score of a star
    is the logarithm of one plus chi^2 of its size and ellipticity relative to the prediction: they are what the model
    is for, and pixels would punish noise that they average out; the brightest stars do not decide alone.  The lowest
    degree wins whose mean score is above the best mean by no more than the standard error of the
    difference.

    Parameters
    ----------
    stars : PsfStars
        The stars, in the order of their places.
    forms : StarForms
        Forms of the highest degree with the stars' fluxes.
    weight : ndarray of float64 [n, y, x]
        Weights of the fit: 0 for a pixel or a star that is not used.
    profile : ndarray of float64 [model_size, model_size]
        The stars' mean radial profile.
    place : tuple of ndarray of float64 [n, y, x]
        x and y of each pixel from the star's centre [sigma of the PSF].
    degree : int
        The highest degree.
    params : NativePsfParams
        The settings of the fit.

    Returns
    -------
    int
        The degree.
    """
    used = np.flatnonzero((weight > 0).any(axis=(1, 2)))
    if len(used) < _FOLDS:
        return degree
    scores = np.array([_scores(stars, forms, weight, profile, place, d, used, params) for d in range(degree + 1)])
    scores = scores[:, np.isfinite(scores).all(axis=0)]
    if scores.shape[1] < _FOLDS:
        return degree
    means = scores.mean(axis=1)
    best = int(np.argmin(means))
    excess = scores - scores[best]
    error = excess.std(axis=1) / np.sqrt(max(scores.shape[1] - 1, 1))
    return int(np.flatnonzero(excess.mean(axis=1) <= error)[0])


def _scores(
    stars: PsfStars,
    forms: StarForms,
    weight: np.ndarray,
    profile: np.ndarray,
    place: tuple[np.ndarray, np.ndarray],
    degree: int,
    used: np.ndarray,
    params: NativePsfParams,
) -> np.ndarray:
    """Return the scores of the used stars, each predicted by a model without it; NaN without a measurement."""
    forms = forms.with_terms(polynomial_terms(degree, stars.u, stars.v))
    prior = make_prior(stars, profile, n_terms(degree), params)
    scores = np.empty(len(used))
    for fold in range(_FOLDS):
        held = np.arange(len(used)) % _FOLDS == fold
        rest, these = used[~held], used[held]
        z = solve(forms[rest], stars.data[rest], weight[rest], prior, np.zeros_like(prior.mean), tolerance=_CONVERGED)
        predicted = forms[these].draw(prior.images(z))
        there = place[0][these], place[1][these]
        shape, variance, measured = relative_shapes(stars.data[these], predicted, weight[these], there)
        chi2 = np.sum(shape**2 / np.where(variance > 0, variance, np.inf), axis=1)
        scores[held] = np.where(measured, np.log1p(chi2), np.nan)
    return scores
