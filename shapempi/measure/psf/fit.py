"""Fit of a polynomial pixel-basis PSF model to the stars of one CCD.

Every pixel of every star is described by the model resampled to where the star is (a forward model: no star is
shifted or interpolated), and the basis images are the weighted least-squares solution.  A Gaussian prior with the mean
radial profile as its mean and a fraction of it as its width rules where the stars do not: far from the centre.
Pixels, stars, fluxes and centres are judged by the model of the round before, the first one the median radial profile
of the stars, with less and less tolerance for the model's own error; five rounds are enough for most CCDs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from shapempi.errors import MeasurementError
from shapempi.measure.moments import adaptive_moments
from shapempi.measure.psf.degree import choose_degree, highest_degree
from shapempi.measure.psf.flux import fit_fluxes
from shapempi.measure.psf.outcome import PsfFit, PsfStatus
from shapempi.measure.psf.params import NativePsfParams, PsfModelParams
from shapempi.measure.psf.prior import make_prior
from shapempi.measure.psf.reject import clean_pixels, clean_stars
from shapempi.measure.psf.sample import StarSample
from shapempi.measure.psf.solve import polynomial_terms, solve
from shapempi.measure.psf.stars import PsfStars, normalisation
from shapempi.measure.psf.width import model_fwhm
from shapempi.psf import PsfModel, n_terms

__all__ = ["fit_psf"]

#: Relative model error that is granted before a pixel is called an outlier, round by round: the first model is
#: round, the second one image for the whole CCD, so everything that varies must pass.
_TOLERANCES = (0.3, 0.3, 0.1, 0.04, 0.03)
#: From this tolerance on neighbours are followed towards the stars' cores.
_TRUSTED = 0.1
#: The tolerance grows by this times the terms of the polynomial per star: a model of few stars is less certain, and
#: a bright star that it is too hard on would not come back, because without the star it gets worse there.
_TOLERANCE_FEW_STARS = 2.0
#: The last tolerance is kept until the stars are the same and their centres move by less than this [pixel], for so
#: many rounds in all.
_CENTRED = 0.005
_MAX_ROUNDS = 10
#: Radius [sigma of the PSF] inside which chi^2 is counted: 2.5 FWHM.
_APERTURE = 6.0
#: The round that chooses the degree: most bad pixels and stars are out.
_CHOICE = 3
#: Convergence of the linear problem: 1e-5 changes T by 1e-5.
_CONVERGED = 1e-3
#: Radius [sigma of the PSF] of the part of the model that its centroid is measured in.
_CENTROID = 8.0


@dataclass(frozen=True)
class _Solution:
    """A model in the making."""

    basis: np.ndarray  # float64 [n_coef, size, size]
    z: np.ndarray  # float64 [n_coef, size, size], what the prior makes the basis of
    degree: int
    centring: np.ndarray  # float64 [n, 2]: smooth shift of all stars that centres the model
    shift: np.ndarray  # float64 [n, 2]: shift of each star

    def offset(self, stars: PsfStars) -> np.ndarray:
        """Return the offsets of the stars' centres from the stamps' centres [pixel]."""
        return stars.offset + self.centring + self.shift


@dataclass(frozen=True)
class _Verdict:
    """What a model says about the stars."""

    model: np.ndarray  # float64 [n, y, x], flux included
    flux: np.ndarray
    good: np.ndarray  # bool [n, y, x]
    used: np.ndarray  # bool [n]
    chi2: np.ndarray  # float64 [n], per pixel
    n_pixel: np.ndarray  # int [n]


def fit_psf(sample: StarSample, form: PsfModelParams, params: NativePsfParams) -> PsfFit:
    """Fit a PSF model to the stars of one CCD.

    The model is centred: the centroid of its adaptive moments is the stamp's centre all over the CCD, whatever the
    systematic error of the given centres.  The result does not depend on the order of the stars.

    Parameters
    ----------
    sample : StarSample
        The stars.
    form : PsfModelParams
        Grid, degree and acceptance of the model.
    params : NativePsfParams
        The settings of the fit.

    Returns
    -------
    PsfFit
        The model and what it says about each star; or, without a model, why there is none.  Stars that are too few
        or too bad are no error.
    """
    acceptance = form.acceptance
    if acceptance.too_few(len(sample)):
        return PsfFit.refused(len(sample), PsfStatus.FEW_STARS, acceptance.too_few(len(sample)))
    order = np.lexsort((sample.offset[:, 1], sample.offset[:, 0], sample.y, sample.x))
    try:
        stars = PsfStars.prepare(sample[order], form)
        solution = _first_solution(stars)
        used, degree = np.zeros(len(stars), dtype=bool), form.degree
        for i in range(_MAX_ROUNDS):
            verdict = _judge(stars, solution, _TOLERANCES[min(i, len(_TOLERANCES) - 1)], params)
            n_used = int(verdict.used.sum())
            if acceptance.too_few(n_used):
                reason = acceptance.too_few(n_used, f"of {len(stars)} stars left after rejection")
                return PsfFit.refused(len(stars), PsfStatus.FEW_STARS, reason)
            centred = _recentre(stars, solution, verdict, params) if i > 0 else solution
            moved = float(np.max(np.abs(centred.centring - solution.centring)[verdict.used]))
            settled = moved < _CENTRED and np.array_equal(used, verdict.used)
            used = verdict.used
            choose = params.choose_degree and i == _CHOICE
            solution = _improve(stars, centred, verdict, degree if i > 0 else 0, params, choose)
            if choose:
                degree = solution.degree
            if i >= len(_TOLERANCES) - 1 and settled:
                break
        return _result(stars, solution, used, sample.shape, form, params, np.argsort(order))
    except MeasurementError as error:
        return PsfFit.refused(len(sample), PsfStatus.FIT_FAILED, str(error))


def _first_solution(stars: PsfStars) -> _Solution:
    """Return the stars' median profile as a round model without variation."""
    zeros = np.zeros_like(stars.offset)
    profile = stars.median_profile()[None]
    return _Solution(profile, np.zeros_like(profile), 0, zeros, zeros)


def _judge(stars: PsfStars, solution: _Solution, tolerance: float, params: NativePsfParams) -> _Verdict:
    """Measure fluxes and find bad pixels and bad stars, granting the model a relative error."""
    trusted = tolerance <= _TRUSTED
    tolerance *= 1.0 + _TOLERANCE_FEW_STARS * len(solution.basis) / len(stars)
    offset = solution.offset(stars)
    radius = stars.radius(offset)
    unit = stars.forms(solution.degree, offset).draw(solution.basis)
    flux = fit_fluxes(stars.data, stars.weight, unit)
    good = stars.weight > 0
    for _ in range(2):
        # The weights need the flux, the flux needs clean pixels.
        weight = stars.weights(unit * flux[:, None, None], tolerance)
        flux = fit_fluxes(stars.data, weight * good, unit)
        model = unit * flux[:, None, None]
        weight = stars.weights(model, tolerance)
        limits = params.pixel_clip, params.neighbour_clip, trusted
        good = clean_pixels(stars.data - model, weight, radius, stars.sigma, *limits)
    flux = fit_fluxes(stars.data, weight * good, unit)
    model = unit * flux[:, None, None]
    chi2, n_pixel = _chi2(stars.data - model, stars.weights(model, tolerance) * good, radius < _APERTURE * stars.sigma)
    used = clean_stars(stars.data, unit, weight, good, chi2, n_pixel, stars.place(offset), params.star_clip)
    used &= flux > 0
    return _Verdict(model, flux, good, used, chi2, n_pixel)


def _chi2(residual: np.ndarray, weight: np.ndarray, aperture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return chi^2 per usable pixel in the aperture (NaN without any) and the number of those pixels."""
    n_pixel = np.sum((weight > 0) & aperture, axis=(1, 2))
    chi2 = np.sum(weight * residual**2 * aperture, axis=(1, 2))
    return np.where(n_pixel > 0, chi2, np.nan) / np.maximum(n_pixel, 1), n_pixel


def _recentre(stars: PsfStars, solution: _Solution, verdict: _Verdict, params: NativePsfParams) -> _Solution:
    """Move the stars so that the next model is centred, and each star to where the model fits it best."""
    shift = solution.shift
    if params.recenter:
        shift = _fit_shifts(stars, solution, verdict, params)
    terms = polynomial_terms(solution.degree, stars.u, stars.v)
    # On the model's own grid: one of pixels may be too coarse for moments.
    moments = adaptive_moments(
        stars.grid.core(np.einsum("nk,kyx->nyx", terms, solution.basis), _CENTROID * stars.sigma)
    )
    measured = verdict.used & (moments["flag"] == 0)
    centring = solution.centring.copy()
    for axis, name in enumerate("xy"):
        # The model's centroid as a polynomial: the stars' centres go to where the model's is.
        trend = np.linalg.lstsq(terms[measured], stars.grid.sampling * moments[name][measured], rcond=None)[0]
        centring[:, axis] += terms @ trend
    return replace(solution, centring=centring, shift=shift)


def _fit_shifts(
    stars: PsfStars, solution: _Solution, verdict: _Verdict, params: NativePsfParams, step: float = 0.05
) -> np.ndarray:
    """Return the shift of each star by least squares on the model and its derivatives."""
    offset = solution.offset(stars)
    images = [stars.forms(solution.degree, offset).draw(solution.basis)]
    for move in np.eye(2) * step:
        plus = stars.forms(solution.degree, offset + move).draw(solution.basis)
        minus = stars.forms(solution.degree, offset - move).draw(solution.basis)
        images.append((plus - minus) / (2 * step))
    weight = stars.weights(verdict.model, params.accuracy) * verdict.good
    design = np.stack([image.reshape(len(stars), -1) for image in images], axis=1)
    weighted = design * weight.reshape(len(stars), 1, -1)
    normal = weighted @ design.transpose(0, 2, 1)
    right = (weighted @ stars.data.reshape(len(stars), -1, 1))[..., 0]
    shift = solution.shift.copy()
    for i in np.flatnonzero(verdict.used):
        amplitude, *moments = np.linalg.solve(normal[i], right[i])
        information = np.diagonal(normal[i])[1:] * verdict.flux[i] ** 2
        fitted = shift[i] + np.array(moments) / amplitude
        shift[i] = fitted * information / (information + params.centre_error**-2)
    return shift


def _improve(
    stars: PsfStars, solution: _Solution, verdict: _Verdict, degree: int, params: NativePsfParams, choose: bool
) -> _Solution:
    """Solve for the basis images with the pixels, stars, fluxes and centres of the last verdict."""
    degree = highest_degree(stars, verdict.used, degree, params)
    offset = solution.offset(stars)
    forms = stars.forms(degree, offset).with_flux(verdict.flux)
    weight = stars.weights(verdict.model, params.accuracy) * verdict.good * verdict.used[:, None, None]
    profile = stars.mean_profile(weight, verdict.flux, offset)
    if choose:
        degree = choose_degree(stars, forms, weight, profile, stars.place(offset), degree, params)
        forms = forms.with_terms(polynomial_terms(degree, stars.u, stars.v))
    z = solution.z
    if degree != solution.degree:
        z = np.zeros((n_terms(degree), *z.shape[1:]))
    prior = make_prior(stars, profile, len(z), params)
    z = solve(forms, stars.data, weight, prior, z, tolerance=_CONVERGED)
    basis = prior.images(z)
    total = basis.sum(axis=(1, 2))
    if not (np.isfinite(basis).all() and total[0] > 0):
        raise MeasurementError(f"the fit of the PSF model to {verdict.used.sum()} stars failed: it has no flux")
    # Stamps of unit sum all over the CCD: what the fluxes take up must not be in the basis.
    basis[1:] -= (total[1:] / total[0])[:, None, None] * basis[0]
    return replace(solution, basis=basis / (total[0] * stars.grid.sampling**2), z=z, degree=degree)


def _result(
    stars: PsfStars,
    solution: _Solution,
    used: np.ndarray,
    shape: tuple[int, int],
    form: PsfModelParams,
    params: NativePsfParams,
    back: np.ndarray,
) -> PsfFit:
    """Judge the final model and return everything in the caller's order."""
    verdict = _judge(stars, solution, _TOLERANCES[-1], params)
    weight = stars.weights(verdict.model, params.accuracy) * verdict.good
    aperture = stars.radius(solution.offset(stars)) < _APERTURE * stars.sigma
    chi2, n_pixel = _chi2(stars.data - verdict.model, weight, aperture)
    n_star, n_coef = int(used.sum()), len(solution.basis)
    # In the aperture the stars decide: each model pixel takes n_coef of n_star degrees of freedom.
    freedom = n_pixel[used].sum() * (1.0 - n_coef / n_star) - n_star
    reduced = float(np.sum(chi2[used] * n_pixel[used]) / max(freedom, 1.0))
    zero, scale = normalisation(shape)
    model = PsfModel(
        coefficients=solution.basis,
        degree=solution.degree,
        zero=zero,
        scale=scale,
        sampling=stars.grid.sampling,
        n_star=n_star,
        chi2=reduced,
        fwhm=0.0,
        interpolant="kaiser6",
    )
    model = replace(model, fwhm=model_fwhm(model))
    if not model.fwhm < form.size / 2:
        raise MeasurementError(
            f"the PSF of {n_star} stars has a FWHM of {model.fwhm:.3g} pixels: no stars in their stamps"
        )
    status, reason = form.acceptance.judge(n_star, reduced)
    return PsfFit(
        model=model,
        used=used[back],
        chi2=chi2[back],
        flux=np.where(n_pixel > 0, verdict.flux, np.nan)[back],
        shift=(solution.centring + solution.shift)[back],
        status=status,
        reason=reason,
    )
