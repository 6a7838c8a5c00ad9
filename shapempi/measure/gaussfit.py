"""The joint fit of `shapempi.measure.fit` by SciPy, pixel by pixel: the reference that the kernel is compared with.

Model, priors and scaling of errors are the same; the minimiser is MINPACK's, and no pixel is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.optimize import leastsq

from shapempi.measure.fit import PARAMETERS, FitFlag, FitParams, components

__all__ = ["GaussianFit", "PixelList", "Residuals", "fit_by_scipy", "pixel_list"]

#: Parameters of the model: centre [arcsec], reduced shear, T [arcsec^2], flux.
N_PARAMETER = len(PARAMETERS)

#: Slots of the priors at the start of the residuals: centre v, centre u, shape.  Flat priors only forbid.
_N_PRIOR = 3

#: What residuals are outside the allowed ranges: so large that the minimiser rejects the step.
_FORBIDDEN = 1e50

#: Smallest moment of a Gaussian [arcsec^2] and largest parameter of any kind that can be computed with.
_SMALLEST_MOMENT, _LARGEST = 1e-12, 1e12

#: Smallest relative change of chi^2, and of the parameters, that MINPACK is asked for.
_SMALLEST_CHANGE = 1e-15

#: Smallest eigenvalue of the scaled normal matrix below which the parameters are degenerate.
_SINGULAR = 1e-13


@dataclass(frozen=True)
class PixelList:
    """The usable pixels of one epoch.

    Attributes
    ----------
    v, u : ndarray of float64 [n]
        Position relative to the origin of the fit [arcsec].
    value : ndarray of float64 [n]
        Counts.
    inverse_error : ndarray of float64 [n]
        Square root of the weight.
    area : float
        Area of a pixel [arcsec^2].
    variance : float
        sigma^2 of the epoch's round Gaussian PSF [arcsec^2]; 0 fits the image as it is.
    """

    v: np.ndarray
    u: np.ndarray
    value: np.ndarray
    inverse_error: np.ndarray
    area: float
    variance: float


@dataclass(frozen=True)
class GaussianFit:
    """The result of a fit; with flags every number but `n_evaluation` is NaN.

    Attributes
    ----------
    parameters, errors : ndarray of float64 [6]
        v, u [arcsec] of the centre, g1, g2, T [arcsec^2], flux.  The covariance is scaled by the residuals'
        variance, so that errors do not depend on the normalisation of the weights.  It takes the noise as white.
        That of metacalibration images is correlated: there the scatter is 2 to 3 times these errors.
    s2n : float
        sum(d m w)/sqrt(sum(m^2 w)) of data d and model m with weight w.
    flags : int
        `FitFlag` bits.
    n_evaluation : int
        Evaluations of the model, all tries together.
    """

    parameters: np.ndarray
    errors: np.ndarray
    s2n: float
    flags: int
    n_evaluation: int

    @classmethod
    def failed(cls, flags: int, n_evaluation: int = 0) -> GaussianFit:
        """Return the result of a fit that gave none."""
        nothing = np.full(N_PARAMETER, np.nan)
        return cls(nothing, nothing.copy(), float("nan"), int(flags), n_evaluation)


def pixel_list(
    image: np.ndarray,
    weight: np.ndarray,
    jacobian: np.ndarray,
    offset: np.ndarray | tuple[float, float] = (0.0, 0.0),
    *,
    sigma: float = 0.0,
    shear: np.ndarray | None = None,
) -> PixelList:
    """List the pixels of positive weight of one stamp.

    Parameters
    ----------
    image, weight : ndarray of float [y, x]
        Stamp and inverse variance.
    jacobian : ndarray of float64 [4]
        dudx, dudy, dvdx, dvdy [arcsec/pixel].
    offset : ndarray of float64 [2]
        dx, dy [pixel]: the object's position minus the centre of the stamp.  It becomes the origin.
    sigma : float, optional
        Sigma of the round Gaussian PSF [arcsec].
    shear : ndarray of float64 [2, 2], optional
        Matrix in (u, v) by which the stamp was sheared about its centre; the origin moves with it.

    Returns
    -------
    PixelList
        The pixels.
    """
    ny, nx = image.shape
    good = weight > 0
    dudx, dudy, dvdx, dvdy = (float(value) for value in jacobian)
    x = np.arange(nx)[None, :] - 0.5 * (nx - 1)
    y = np.arange(ny)[:, None] - 0.5 * (ny - 1)
    dx, dy = offset
    origin = np.array([dudx * dx + dudy * dy, dvdx * dx + dvdy * dy])
    if shear is not None:
        origin = shear @ origin
    return PixelList(
        v=(dvdx * x + dvdy * y - origin[1])[good],
        u=(dudx * x + dudy * y - origin[0])[good],
        value=image[good].astype(float),
        inverse_error=np.sqrt(weight[good].astype(float)),
        area=abs(dudx * dvdy - dudy * dvdx),
        variance=sigma**2,
    )


class _Component(NamedTuple):
    """One component of the model in the pixels of one epoch."""

    size: float  # its T over that of the model
    unit: np.ndarray  # its part of the model of unit flux, over the error
    qv: np.ndarray  # Sigma^-1 (v, u)
    qu: np.ndarray
    inverse: tuple[float, float, float]  # vv, uv, uu of Sigma^-1


class Residuals:
    """Residuals of all epochs and their derivatives, in the form the minimiser wants.

    Parameters
    ----------
    epochs : sequence of PixelList
        The pixels.
    params : FitParams
        Priors and ranges.
    with_prior : bool, optional
        False leaves out the priors on centre and shape.

    Notes
    -----
    The vector is (centre v, centre u, shape, pixels of epoch 0, pixels of epoch 1, ...), a pixel's residual being
    (model - value)/error and a prior's sqrt(-2 ln p), with a sign for the centre.
    """

    def __init__(self, epochs: Sequence[PixelList], params: FitParams, *, with_prior: bool = True) -> None:
        self._epochs = tuple(epochs)
        self._params = params
        self._prior = 1.0 if with_prior else 0.0
        ends = _N_PRIOR + np.cumsum([0] + [epoch.value.size for epoch in self._epochs])
        self._rows = [slice(int(a), int(b)) for a, b in pairwise(ends)]
        self.n_pixel = int(ends[-1]) - _N_PRIOR
        self._at = np.full(N_PARAMETER, np.nan)
        self._unit_flux = np.zeros(self.n_pixel + _N_PRIOR)
        self._fractions = list(zip(*(fractions.tolist() for fractions in components(params.model)), strict=True))
        self._parts: list[list[_Component]] = []

    def allowed(self, p: np.ndarray) -> bool:
        """Return whether parameters [6] are inside the ranges and make a Gaussian in every epoch."""
        params = self._params
        if not np.abs(p).max() < _LARGEST:
            return False
        g_squared, T, flux = p[2] ** 2 + p[3] ** 2, p[4], p[5]
        if not (g_squared < 1.0 and params.T_min <= T <= params.T_max and params.flux_min <= flux <= params.flux_max):
            return False
        # The smaller moment of the convolved Gaussian: a negative T must not use up the PSF.
        smaller = 0.5 * (T - abs(T) * 2.0 * np.sqrt(g_squared) / (1.0 + g_squared))
        return all(
            size * smaller + epoch.variance > _SMALLEST_MOMENT for epoch in self._epochs for _, size in self._fractions
        )

    def __call__(self, p: np.ndarray) -> np.ndarray:
        """Return the residuals [3 + n_pixel] at parameters [6]."""
        if not self.allowed(p):
            return np.full(self.n_pixel + _N_PRIOR, _FORBIDDEN)
        self._evaluate(p)
        residuals = p[5] * self._unit_flux
        for epoch, rows in zip(self._epochs, self._rows, strict=True):
            residuals[rows] -= epoch.value * epoch.inverse_error
        residuals[:_N_PRIOR] = self._prior_residuals(p)
        return residuals

    def derivatives(self, p: np.ndarray) -> np.ndarray:
        """Return the derivatives [6, 3 + n_pixel] of the residuals at parameters [6]."""
        self._evaluate(p)
        g1, g2, T, flux = p[2:]
        e1, e2 = _distortion(g1, g2)
        f = 2.0 / (1.0 + g1**2 + g2**2)
        slopes = ((f - (g1 * f) ** 2, -g1 * g2 * f**2), (-g1 * g2 * f**2, f - (g2 * f) ** 2))
        rows_of = np.zeros((N_PARAMETER, self.n_pixel + _N_PRIOR))
        for parts, rows in zip(self._parts, self._rows, strict=True):
            out = rows_of[:, rows]
            for part in parts:
                vv, uv, uu = part.inverse
                model = flux * part.unit
                out[0] += model * part.qv
                out[1] += model * part.qu
                # q^T S q - tr(Sigma^-1 S) for the moments' derivatives S along e1, e2 (in units of T/2) and the unit
                # matrix.
                plus = part.qu**2 - part.qv**2 - (uu - vv)
                cross = 2.0 * part.qv * part.qu - 2.0 * uv
                trace = part.qu**2 + part.qv**2 - (uu + vv)
                quarter = 0.25 * part.size * model
                out[2] += quarter * T * (slopes[0][0] * plus + slopes[0][1] * cross)
                out[3] += quarter * T * (slopes[1][0] * plus + slopes[1][1] * cross)
                out[4] += quarter * (trace + e1 * plus + e2 * cross)
                out[5] += part.unit
        rows_of[:, :_N_PRIOR] = self._prior_derivatives(p)
        return rows_of

    def signal_to_noise(self, p: np.ndarray) -> float:
        """Return sum(d m w)/sqrt(sum(m^2 w)) at parameters [6]; 0 if the model is empty."""
        self._evaluate(p)
        numerator = denominator = 0.0
        for epoch, rows in zip(self._epochs, self._rows, strict=True):
            model = p[5] * self._unit_flux[rows]
            numerator += float(np.sum(epoch.value * epoch.inverse_error * model))
            denominator += float(np.sum(model**2))
        return numerator / np.sqrt(denominator) if denominator > 0 else 0.0

    def best_flux(self, p: np.ndarray) -> float:
        """Return the flux that fits best with the shape and size of parameters [6]; 0 if there is none."""
        self._evaluate(p)
        numerator = denominator = 0.0
        for epoch, rows in zip(self._epochs, self._rows, strict=True):
            unit = self._unit_flux[rows]
            numerator += float(np.sum(epoch.value * epoch.inverse_error * unit))
            denominator += float(np.sum(unit**2))
        return numerator / denominator if denominator > 0 else 0.0

    def _evaluate(self, p: np.ndarray) -> None:
        """Put the model of unit flux over the error into `_unit_flux`, and what it is made of into `_parts`."""
        if np.array_equal(p[:5], self._at[:5]):
            return
        e1, e2 = _distortion(p[2], p[3])
        self._parts = []
        for epoch, rows in zip(self._epochs, self._rows, strict=True):
            v, u = epoch.v - p[0], epoch.u - p[1]
            parts = []
            for fraction, size in self._fractions:
                rr, rc, cc, det = _moments(e1, e2, size * p[4], epoch.variance)
                qv, qu = (cc * v - rc * u) / det, (rr * u - rc * v) / det
                height = fraction * epoch.area / (2.0 * np.pi * np.sqrt(det))
                unit = height * epoch.inverse_error * np.exp(-0.5 * (v * qv + u * qu))
                parts.append(_Component(size, unit, qv, qu, (cc / det, -rc / det, rr / det)))
            self._unit_flux[rows] = sum(part.unit for part in parts)
            self._parts.append(parts)
        self._at = np.array(p, dtype=float)

    def _prior_residuals(self, p: np.ndarray) -> np.ndarray:
        """Return the slots [3] of the priors."""
        centre = p[:2] / self._params.centre_prior_sigma
        return self._prior * np.array([centre[0], centre[1], self._g_residual(p[2] ** 2 + p[3] ** 2)])

    def _prior_derivatives(self, p: np.ndarray) -> np.ndarray:
        """Return the derivatives [6, 3] of the slots of the priors."""
        slopes = np.zeros((N_PARAMETER, _N_PRIOR))
        slopes[0, 0] = slopes[1, 1] = 1.0 / self._params.centre_prior_sigma
        g_squared = p[2] ** 2 + p[3] ** 2
        residual = self._g_residual(g_squared)
        if residual > 0:
            steepness = 8.0 / (1.0 - g_squared) + 2.0 / self._params.g_prior_sigma**2
            slopes[2:4, 2] = p[2:4] * steepness / (2.0 * residual)
        return self._prior * slopes

    def _g_residual(self, g_squared: float) -> float:
        """Return sqrt(-2 ln p) of the prior on shapes, p = 1 at g = 0."""
        return float(np.sqrt(g_squared / self._params.g_prior_sigma**2 - 4.0 * np.log1p(-g_squared)))


def _distortion(g1: float, g2: float) -> tuple[float, float]:
    """Return the distortion e = 2 g/(1 + g^2) of a reduced shear."""
    f = 2.0 / (1.0 + g1**2 + g2**2)
    return f * g1, f * g2


def _moments(e1: float, e2: float, T: float, variance: float) -> tuple[float, float, float, float]:
    """Return <vv>, <uv>, <uu> of the convolved Gaussian and their determinant."""
    rr = 0.5 * T * (1.0 - e1) + variance
    rc = 0.5 * T * e2
    cc = 0.5 * T * (1.0 + e1) + variance
    return rr, rc, cc, rr * cc - rc * rc


def fit_by_scipy(
    epochs: Sequence[PixelList], start: np.ndarray, params: FitParams, *, with_prior: bool = True
) -> GaussianFit:
    """Fit the model to all epochs by Levenberg-Marquardt with analytic derivatives.

    Parameters
    ----------
    epochs : sequence of PixelList
        The pixels of each epoch.
    start : ndarray of float64 [6]
        v, u, g1, g2, T, flux at which the fit starts.  It is deterministic: no random restarts.  After a failed
        fit the same start with other sizes and the best flux for them is tried.
    params : FitParams
        Priors, ranges and tolerance.
    with_prior : bool, optional
        False leaves out the priors on centre and shape (for a PSF).

    Returns
    -------
    GaussianFit
        The result of the first try without flags, or the flags of the last.
    """
    n_evaluation = 0
    fit = GaussianFit.failed(FitFlag.NO_PIXELS)
    residuals = Residuals(epochs, params, with_prior=with_prior)
    if residuals.n_pixel <= N_PARAMETER:
        return fit
    for scale in (1.0, 0.3, 3.0, 0.1, 10.0)[: params.n_try]:
        p = np.array(start, dtype=float)
        if scale != 1.0:
            p[4] = scale * abs(p[4])
            p[5] = residuals.best_flux(p) if residuals.allowed(p) else p[5]
        fit = _fit_once(residuals, p, params)
        n_evaluation += fit.n_evaluation
        if fit.flags in (0, FitFlag.NOT_FINITE):
            break
    return GaussianFit(fit.parameters, fit.errors, fit.s2n, fit.flags, n_evaluation)


def _fit_once(residuals: Residuals, start: np.ndarray, params: FitParams) -> GaussianFit:
    """Fit from one starting point."""
    if not residuals.allowed(start):
        return GaussianFit.failed(FitFlag.RANGE)
    if not np.isfinite(residuals(start)).all():
        return GaussianFit.failed(FitFlag.NOT_FINITE)
    p, _, info, _, code = leastsq(
        residuals,
        start,
        Dfun=residuals.derivatives,
        col_deriv=True,
        full_output=True,
        # The decrease of chi^2 relative to the variance of the residuals, as a fraction of chi^2.
        ftol=max(params.tolerance / (residuals.n_pixel - N_PARAMETER), _SMALLEST_CHANGE),
        xtol=_SMALLEST_CHANGE,
        gtol=0.0,
        maxfev=params.max_evaluations,
    )
    n_evaluation = int(info["nfev"])
    if not 1 <= code <= 4:
        return GaussianFit.failed(2 ** (code - 5) if code >= 5 else FitFlag.NOT_FINITE, n_evaluation)
    covariance = _covariance(residuals, p)
    if covariance is None:
        return GaussianFit.failed(FitFlag.SINGULAR, n_evaluation)
    return GaussianFit(p, np.sqrt(np.diag(covariance)), residuals.signal_to_noise(p), 0, n_evaluation)


def _covariance(residuals: Residuals, p: np.ndarray) -> np.ndarray | None:
    """Return the scaled covariance [6, 6] at the solution, or None if parameters are degenerate."""
    slopes = residuals.derivatives(p)
    # einsum without a BLAS call: the same bits for any number of threads.
    normal = np.einsum("in,jn->ij", slopes, slopes)
    scale = np.sqrt(np.diag(normal))
    if not (np.isfinite(normal).all() and (scale > 0).all()):
        return None
    values, vectors = np.linalg.eigh(normal / np.outer(scale, scale))
    if values[0] < _SINGULAR:
        return None
    inverse = (vectors / values) @ vectors.T / np.outer(scale, scale)
    pixels = residuals(p)[_N_PRIOR:]
    return inverse * (float(np.sum(pixels**2)) / (residuals.n_pixel - N_PARAMETER))
