"""Piff as an engine: its PixelGrid model with polynomial interpolation, through its API.

Pixel coordinates are sky coordinates here (a scale of 1), and the polynomial is in the normalised coordinates of the
evaluated form, so that Piff's solution is that form, term by term.
"""

from __future__ import annotations

import importlib
import logging
import warnings
from dataclasses import replace
from typing import Any

import galsim
import numpy as np

from shapempi.engines.measured_stars import MeasuredStars
from shapempi.engines.psf_params import PsfParams
from shapempi.errors import EngineError
from shapempi.measure.psf.outcome import PsfFit, PsfStatus
from shapempi.measure.psf.sample import StarSample
from shapempi.measure.psf.stars import normalisation
from shapempi.measure.psf.width import model_fwhm
from shapempi.psf import PsfModel, n_terms

__all__ = ["PiffPsf", "load_piff"]

#: Oldest release that this engine knows.
_OLDEST = (1, 5)

_CURE = "pip install 'shapempi[piff]'"

#: Interpolation between the points of the grid, here and in GalSim.
_INTERPOLANT, _LANCZOS = "lanczos7", 7

#: Names of the normalised coordinates among a star's properties.
_KEYS = ("x_normal", "y_normal")

#: What Piff, GalSim and LAPACK raise for stars that they cannot use.
_FAILURES = (galsim.GalSimError, RuntimeError, ValueError, ArithmeticError, IndexError, AssertionError)


def load_piff() -> Any:
    """Return the installed Piff.

    Returns
    -------
    module
        piff.

    Raises
    ------
    EngineError
        If there is none, or one that is too old; the message says how to get it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            piff = importlib.import_module("piff")
    except ImportError as error:
        raise EngineError(f'[psf] engine = "piff", but Piff cannot be imported ({error}): {_CURE}') from error
    release = tuple(int(part) for part in piff.__version__.split(".")[:2])
    if release < _OLDEST:
        raise EngineError(f'[psf] engine = "piff" needs 1.5 or newer, found {piff.__version__}: {_CURE}')
    return piff


class PiffPsf:
    """Lets Piff make PSF models.

    Parameters
    ----------
    params : PsfParams
        The settings.

    Raises
    ------
    EngineError
        If Piff is not installed or too old.
    """

    def __init__(self, params: PsfParams) -> None:
        self._params = params
        self._piff = load_piff()
        # A logger of its own, which nobody hears.
        self._logger = logging.Logger("piff", logging.CRITICAL + 1)

    @property
    def version(self) -> str:
        """Name and version."""
        return f"piff {self._piff.__version__}"

    def fit(self, stars: StarSample) -> PsfFit:
        """Fit a PSF model; see `PsfEngine.fit`.

        The result does not depend on the order of the stars.  The degree is lowered while the polynomial has more
        terms than there are stars.  chi^2 is Piff's own: over the pixels of the grid, flux and centre fitted.
        """
        measured = MeasuredStars.of(stars)
        if refusal := measured.refusal(self._params):
            return PsfFit.refused(len(stars), *refusal)
        step = self._params.step(measured.fwhm)
        size = min(self._params.grid_size(step), 2 * int(self._params.piff.extent / step / 2) + 1)
        degree = self._params.degree
        while n_terms(degree) > len(measured):
            degree -= 1
        given = _piff_stars(
            self._piff, measured, self._params.piff.accuracy, int(np.ceil(step * size)), self._params.piff.recenter
        )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                psf = self._fit(given, step, size, degree)
        except _FAILURES as error:
            what = next(iter(str(error).splitlines()), type(error).__name__)
            return PsfFit.refused(len(stars), PsfStatus.FIT_FAILED, f"Piff could not fit {len(measured)} stars: {what}")
        return self._result(measured, psf, step, size, degree)

    def _fit(self, stars: list[Any], step: float, size: int, degree: int) -> Any:
        """Run Piff on stars in its form."""
        piff, params = self._piff, self._params.piff
        model = piff.PixelGrid(step, size, interp=galsim.Lanczos(_LANCZOS), centered=params.recenter)
        # Not its C++ solver: that ends the process when a star has no pixels left.
        interpolation = piff.BasisPolynomial(degree, keys=_KEYS)
        outliers = piff.outliers.ChisqOutliers(nsigma=params.star_clip, max_remove=params.star_clip_fraction)
        psf = piff.SimplePSF(
            model, interpolation, [outliers], chisq_thresh=params.chi2_tolerance, max_iter=params.max_iterations
        )
        psf.fit(stars, wcs={0: galsim.PixelScale(1.0)}, pointing=None, logger=self._logger)
        return psf

    def _result(self, measured: MeasuredStars, psf: Any, step: float, size: int, degree: int) -> PsfFit:
        """Bring Piff's solution into the evaluated form."""
        n = measured.n_given
        coefficients = _coefficients(np.asarray(psf.interp.q, dtype=float), degree, size)
        if not (np.isfinite(coefficients).all() and coefficients[0].sum() > 0):
            reason = f"Piff's model of {len(measured)} stars has no flux or is not finite"
            return PsfFit.refused(n, PsfStatus.FIT_FAILED, reason)
        used = np.array([not star.is_flagged for star in psf.stars])
        dof = np.array([star.fit.dof for star in psf.stars], dtype=float)
        chi2 = np.array([star.fit.chisq for star in psf.stars], dtype=float) / np.where(dof > 0, dof, np.nan)
        flux = np.array([star.fit.flux for star in psf.stars], dtype=float)
        shift = np.array([star.fit.center for star in psf.stars], dtype=float)
        zero, scale = normalisation(measured.sample.shape)
        model = PsfModel(
            coefficients=coefficients / coefficients[0].sum(),
            degree=degree,
            zero=zero,
            scale=scale,
            sampling=step,
            n_star=int(used.sum()),
            chi2=float(psf.chisq / max(psf.dof, 1)),
            fwhm=float("nan"),
            interpolant=_INTERPOLANT,
        )
        status, reason = self._params.acceptance.judge(model.n_star, model.chi2)
        return PsfFit(
            model=replace(model, fwhm=model_fwhm(model)),
            used=measured.spread(used, False),
            chi2=measured.spread(chi2, np.nan),
            flux=measured.spread(flux, np.nan),
            shift=measured.spread(shift, 0.0),
            status=status,
            reason=reason,
        )


def _piff_stars(piff: Any, measured: MeasuredStars, accuracy: float, side: int, recenter: bool) -> list[Any]:
    """Return the stars in Piff's form, cut to stamps of about this side [pixel] and not below it."""
    sample = measured.sample
    (zero_x, zero_y), (scale_x, scale_y) = normalisation(sample.shape)
    ny, nx = sample.vignets.shape[1:]
    cut_y, cut_x = max(ny - side, 0) // 2, max(nx - side, 0) // 2
    data = sample.vignets[:, cut_y : ny - cut_y, cut_x : nx - cut_x]
    weights = sample.weights[:, cut_y : ny - cut_y, cut_x : nx - cut_x]
    # As PSFEx does: the relative error is that of the light that is seen.
    weights = weights / (1.0 + weights * (accuracy * np.maximum(data, 0.0)) ** 2)
    # The polynomial takes the place on the CCD from the properties: the stamps may lie around the origin.
    first_y, first_x = (-(length // 2) for length in data.shape[1:])
    middle = [first + (length - 1) / 2 for first, length in zip((first_x, first_y), data.shape[:0:-1], strict=True)]
    stars = []
    for i in range(len(measured)):
        image, weight = (
            galsim.Image(np.ascontiguousarray(stamps[i]), xmin=first_x, ymin=first_y, scale=1.0)
            for stamps in (data, weights)
        )
        place = galsim.PositionD(*(middle + sample.offset[i]))
        normal = ((sample.x[i] + 1.0 - zero_x) / scale_x, (sample.y[i] + 1.0 - zero_y) / scale_y)
        properties = {**dict(zip(_KEYS, map(float, normal), strict=True)), "trust_pos": not recenter}
        if sample.gain > 0:
            properties["gain"] = sample.gain
        stars.append(piff.Star(piff.StarData(image, place, weight=weight, properties=properties), None))
    return stars


def _coefficients(solution: np.ndarray, degree: int, size: int) -> np.ndarray:
    """Return Piff's solution [size^2, n_coef] as basis images [n_coef, y, x] in the order of `PsfModel`.

    Piff orders x^p y^q by p, then q; the evaluated form by q, then p.
    """
    theirs = [(p, q) for p in range(degree + 1) for q in range(degree + 1 - p)]
    ours = [(p, q) for q in range(degree + 1) for p in range(degree + 1 - q)]
    order = [theirs.index(powers) for powers in ours]
    return np.ascontiguousarray(solution.T[order]).reshape(len(ours), size, size)
