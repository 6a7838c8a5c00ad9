"""Joint fit of one elliptical Gaussian to all epochs of an object, in real space.

The model before the PSF is the same in all epochs, in the plane (u West, v North); each epoch's PSF is a round
Gaussian of known size (the metacalibration target), so that the convolved model is again a Gaussian, whose
derivatives are written down.  Residual form, priors and error scaling are those of ngmix (Sheldon 2014, MNRAS 444,
L25; Bernstein & Armstrong 2014 for the prior on shapes).  The Gaussian is not truncated: the pixels beyond five
sigma hold too little to matter (1e-4 of the parameters' errors).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.optimize import leastsq

from shapempi.flags import DescribedFlag
from shapempi.params import Params, key

__all__ = ["FitFlag", "FitParams", "GaussianFit", "PixelList", "Residuals", "fit_gaussian", "pixel_list"]

#: Parameters of the model: centre [arcsec], reduced shear, T [arcsec^2], flux.
N_PARAMETER = 6

#: Slots of the priors at the start of the residuals: centre v, centre u, shape.  Flat priors only forbid.
_N_PRIOR = 3

#: What residuals are outside the allowed ranges: so large that the minimiser rejects the step.
_FORBIDDEN = 1e50

#: Smallest moment of a Gaussian [arcsec^2] and largest parameter of any kind that can be computed with.
_SMALLEST_MOMENT, _LARGEST = 1e-12, 1e12

#: Smallest eigenvalue of the scaled normal matrix below which the parameters are degenerate.
_SINGULAR = 1e-13


class FitFlag(DescribedFlag):
    """Bits of the flags of one fit; 0 is good.  The values are ngmix's."""

    MAX_EVALUATIONS = 1, "no convergence within the allowed number of evaluations"
    TOLERANCE = 2 | 4 | 8, "the minimiser cannot improve although it has not converged"
    RANGE = 128, "the starting point is outside the allowed ranges"
    SINGULAR = 512, "the parameters are degenerate"
    NOT_FINITE = 4096, "the model or the data are not finite"
    NO_PIXELS = 32768, "there are not more pixels than parameters"


class FitParams(Params):
    """Joint Gaussian fit."""

    centre_prior_sigma: float = key(
        0.186, "Width of the Gaussian prior on each coordinate of the centre.", unit="arcsec", gt=0
    )
    g_prior_sigma: float = key(
        0.4, "Width s of the prior on shapes, (1 - g^2)^2 exp(-g^2/(2 s^2)) (Bernstein & Armstrong 2014).", gt=0
    )
    T_min: float = key(-10.0, "Smallest allowed size T = 2 sigma^2.", unit="arcsec2")
    T_max: float = key(1e6, "Largest allowed size T.", unit="arcsec2", gt=0)
    flux_min: float = key(-1e4, "Smallest allowed flux.", unit="adu")
    flux_max: float = key(1e9, "Largest allowed flux.", unit="adu", gt=0)
    # chi^2 is about the number of pixels, so that 1e-8 of it still hides 1e-2 of an error at five epochs; 1e-10
    # brings that to 1e-3 for two more evaluations.
    tolerance: float = key(1e-10, "Relative change of chi^2 and of the parameters at which a fit ends.", gt=0, lt=0.01)
    max_evaluations: int = key(500, "Largest number of evaluations of the model in one fit.", ge=10)
    n_try: int = key(3, "Fits from different, fixed starting sizes before an object is given up.", ge=1, le=5)


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
        self._q: list[tuple[np.ndarray, np.ndarray]] = []

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
        return all(smaller + epoch.variance > _SMALLEST_MOMENT for epoch in self._epochs)

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
        for epoch, rows, (qv, qu) in zip(self._epochs, self._rows, self._q, strict=True):
            rr, rc, cc, det = _moments(e1, e2, T, epoch.variance)
            unit = self._unit_flux[rows]
            model = flux * unit
            out = rows_of[:, rows]
            np.multiply(model, qv, out=out[0])
            np.multiply(model, qu, out=out[1])
            # q^T S q - tr(Q S) for the moments' derivatives S along e1, e2 (in units of T/2) and the unit matrix.
            plus = qu * qu - qv * qv - (rr - cc) / det
            cross = 2.0 * qv * qu + 2.0 * rc / det
            trace = qu * qu + qv * qv - (rr + cc) / det
            half = 0.25 * T * model
            out[2] = half * (slopes[0][0] * plus + slopes[0][1] * cross)
            out[3] = half * (slopes[1][0] * plus + slopes[1][1] * cross)
            out[4] = 0.25 * model * (trace + e1 * plus + e2 * cross)
            out[5] = unit
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
        """Put the model of unit flux over the error into `_unit_flux`, and Sigma^-1 (v, u) into `_q`."""
        if np.array_equal(p[:5], self._at[:5]):
            return
        e1, e2 = _distortion(p[2], p[3])
        self._q = []
        for epoch, rows in zip(self._epochs, self._rows, strict=True):
            rr, rc, cc, det = _moments(e1, e2, p[4], epoch.variance)
            v, u = epoch.v - p[0], epoch.u - p[1]
            qv, qu = (cc * v - rc * u) / det, (rr * u - rc * v) / det
            height = epoch.area / (2.0 * np.pi * np.sqrt(det))
            self._unit_flux[rows] = height * epoch.inverse_error * np.exp(-0.5 * (v * qv + u * qu))
            self._q.append((qv, qu))
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


def fit_gaussian(
    epochs: Sequence[PixelList], start: np.ndarray, params: FitParams, *, with_prior: bool = True
) -> GaussianFit:
    """Fit one elliptical Gaussian to all epochs by Levenberg-Marquardt with analytic derivatives.

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
            p[4] *= scale
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
        ftol=params.tolerance,
        xtol=params.tolerance,
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
