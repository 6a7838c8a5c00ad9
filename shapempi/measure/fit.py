"""Joint fit of a galaxy model to all epochs of an object, in real space.

The model before the PSF is the same in all epochs, in the plane (u West, v North): Gaussians of one centre and one
shape.  Each epoch's PSF is a round Gaussian of known size (the metacalibration target), so that the convolved model is
made of Gaussians again, with derivatives that are written down.  Residuals, priors and the scaling of errors are those
of ngmix (Sheldon 2014, MNRAS 444, L25; Bernstein & Armstrong 2014 for the prior on shapes).

The arithmetic is in the kernel `shapempi.kernels._fit`, for many objects per call.  A further profile is a row of
`_COMPONENTS`.  Bands would be sums (`fit_sums` of fit_sums.h) of their own, with a flux each in the normal equations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shapempi.flags import DescribedFlag, describe
from shapempi.kernels import _fit
from shapempi.params import Params, key

__all__ = [
    "HALF_LIGHT",
    "PARAMETERS",
    "FitFlag",
    "FitParams",
    "FitResult",
    "components",
    "fit_gaussian",
    "kernel_settings",
]

#: The parameters of the model in order: centre [arcsec], reduced shear, T [arcsec^2], flux [counts].
PARAMETERS = ("v0", "u0", "g1", "g2", "T", "flux")

#: Fractions of the flux and of T of each model's components; sum p = 1 and sum p f = 1.
#: exp: the six Gaussians that come closest to an exponential exp(-r), in the mean of the squared difference over the
#: plane: the model "exp, M = 6" of Hogg & Lang (2013, PASP 125, 719), whose printed numbers they meet to 4e-4.
_COMPONENTS: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = MappingProxyType(
    {
        "gauss": ((1.0,), (1.0,)),
        "exp": (
            (0.000616203514, 0.007948321753, 0.053294464357, 0.218011239271, 0.454969742762, 0.265160028343),
            (0.002467909872, 0.018151778133, 0.079455334184, 0.271422348926, 0.797926205549, 2.162521531109),
        ),
    }
)


#: Half-light radius over sqrt(T) of each model, round: sqrt(ln 2) of a Gaussian.
HALF_LIGHT: Mapping[str, float] = MappingProxyType({"gauss": 0.8325546111576977, "exp": 0.691508})

#: The keys of `FitParams` that the kernel has arguments for.
_KERNEL_KEYS = {
    "centre_prior_sigma",
    "g_prior_sigma",
    "T_min",
    "T_max",
    "flux_min",
    "flux_max",
    "tolerance",
    "max_evaluations",
    "n_try",
}


class FitFlag(DescribedFlag):
    """Bits of the flags of one fit; 0 is good.  The values are ngmix's."""

    MAX_EVALUATIONS = 1, "no convergence within the allowed number of evaluations"
    TOLERANCE = 2 | 4 | 8, "the minimiser cannot improve although it has not converged"
    RANGE = 128, "the starting point is outside the allowed ranges"
    SINGULAR = 512, "the parameters are degenerate"
    NOT_FINITE = 4096, "the model or the data are not finite"
    NO_PIXELS = 32768, "there are not more pixels than parameters"


class FitParams(Params):
    """Joint fit of a galaxy model."""

    model: Literal["gauss", "exp"] = key(
        "gauss",
        "Profile of the galaxy before the PSF: gauss, a Gaussian; exp, six Gaussians that make an exponential disc "
        "(Hogg & Lang 2013).",
    )
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
    # In these units a decrease is the square of the distance from the solution in errors.
    tolerance: float = key(
        1e-8,
        "A fit ends with the step that lowers chi^2 by less than this times the residuals' variance, so that the "
        "parameters are within the square root of this of their errors.",
        gt=0,
        lt=0.01,
    )
    max_evaluations: int = key(500, "Largest number of evaluations of the model in one fit.", ge=10)
    n_try: int = key(3, "Fits from different, fixed starting sizes before an object is given up.", ge=1, le=5)


@dataclass(frozen=True, eq=False, repr=False)
class FitResult:
    """The result of a fit; with flags every number but `n_evaluation` is NaN.

    Attributes
    ----------
    parameters : ndarray of float64 [6]
        v0, u0 [arcsec] of the centre from the origin, g1, g2, T [arcsec^2], flux [counts]; see `PARAMETERS`.  Each
        is also an attribute of its name.
    covariance : ndarray of float64 [6, 6]
        Covariance of the parameters, scaled by the residuals' variance: it does not depend on the normalisation of
        the weights.  It takes the noise as white.  That of metacalibration images is correlated: there the scatter
        is 2 to 3 times these errors.
    s2n : float
        sum(d m w)/sqrt(sum(m^2 w)) of data d and model m with weight w.
    flags : FitFlag
        0 is good.
    n_evaluation : int
        Evaluations of the model, all tries together.
    """

    parameters: NDArray[np.float64]
    covariance: NDArray[np.float64]
    s2n: float
    flags: FitFlag
    n_evaluation: int

    @property
    def errors(self) -> NDArray[np.float64]:
        """Errors of the parameters [6]: the square root of the diagonal of the covariance."""
        return np.sqrt(np.diagonal(self.covariance))

    @property
    def v0(self) -> float:
        """North offset of the centre [arcsec]."""
        return float(self.parameters[0])

    @property
    def u0(self) -> float:
        """West offset of the centre [arcsec]."""
        return float(self.parameters[1])

    @property
    def g1(self) -> float:
        """First component of the reduced shear, along u."""
        return float(self.parameters[2])

    @property
    def g2(self) -> float:
        """Second component of the reduced shear."""
        return float(self.parameters[3])

    @property
    def T(self) -> float:  # noqa: N802
        """Size, the sum of the second moments before the PSF: 2 sigma^2 of a round Gaussian [arcsec^2]."""
        return float(self.parameters[4])

    @property
    def flux(self) -> float:
        """Flux [counts]."""
        return float(self.parameters[5])

    def __repr__(self) -> str:
        if self.flags:
            why = ", ".join(meaning for value, _, meaning in describe(FitFlag) if value & self.flags)
            return f"FitResult(failed: {why}; {self.n_evaluation} evaluations)"
        values = ", ".join(
            f"{name}={value:.6g}±{error:.2g}"
            for name, value, error in zip(PARAMETERS, self.parameters, self.errors, strict=True)
        )
        return f"FitResult({values}, s2n={self.s2n:.5g}, {self.n_evaluation} evaluations)"


def components(model: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what a model is made of, as the kernel wants it.

    Parameters
    ----------
    model : str
        "gauss" or "exp".

    Returns
    -------
    flux_fractions, size_fractions : ndarray of float64 [n_component]
        Each component's fraction of the flux and ratio of its T to the model's.

    Raises
    ------
    ValueError
        If there is no model of this name.
    """
    if model not in _COMPONENTS:
        raise ValueError(f"no model {model!r}; there are {', '.join(_COMPONENTS)}")
    flux, size = _COMPONENTS[model]
    return np.array(flux), np.array(size)


def kernel_settings(params: FitParams) -> dict[str, Any]:
    """Return the parameters as the keyword arguments of `kernels._fit.fit`."""
    flux_fractions, size_fractions = components(params.model)
    return {
        "flux_fractions": flux_fractions,
        "size_fractions": size_fractions,
        **params.model_dump(include=_KERNEL_KEYS),
    }


def fit_gaussian(
    images: ArrayLike,
    weights: ArrayLike,
    jacobians: ArrayLike,
    target_sigma: ArrayLike,
    *,
    prior: FitParams | None = None,
    guess: ArrayLike | None = None,
    offset: ArrayLike = (0.0, 0.0),
    with_prior: bool = True,
    isa: str = "auto",
) -> FitResult:
    """Fit one galaxy model to all epochs of an object at once.

    Parameters
    ----------
    images : array_like of float64 [epoch, y, x] or [y, x]
        Stamps [counts], for example metacalibration images; what they hold where the weight is 0 does not matter.
    weights : array_like of float64, like `images`
        Inverse variance; 0 is unusable.
    jacobians : array_like of float64 [epoch, 4] or [4]
        dudx, dudy, dvdx, dvdy [arcsec/pixel], u West and v North; one for all epochs or one for each.
    target_sigma : float or array_like of float64 [epoch]
        Sigma of the round Gaussian PSF of the images [arcsec]; 0 fits an image as it is.
    prior : FitParams, optional
        Model, priors, ranges and tolerance; by default `FitParams()`.
    guess : array_like of float64 [6], optional
        v0, u0, g1, g2, T, flux at which the fit starts; a flux of NaN is the best one for the rest.  By default a round
        object at the origin, somewhat larger than the PSF.
    offset : array_like of float64 [2] or [epoch, 2], optional
        dx, dy [pixel] of the origin of v and u from the stamp's centre ((nx - 1)/2, (ny - 1)/2).
    with_prior : bool, optional
        False leaves out the priors on centre and shape, not the ranges.
    isa : str, optional
        Instruction set, see `shapempi.kernels._isa.available`.

    Returns
    -------
    FitResult
        Parameters, covariance, s2n, flags.  An object that cannot be fitted has flags that say why.

    Raises
    ------
    ValueError
        If the shape of an array does not fit, or a Gaussian of negative or undefined size is asked for.

    Notes
    -----
    Levenberg-Marquardt, with the second derivatives of the model close to the solution.  It is deterministic: after a
    failure it starts again from other, fixed sizes.

    Examples
    --------
    >>> fit = fit_gaussian(image, weight, [0.186, 0, 0, 0.186], 0.35)  # doctest: +SKIP
    >>> fit.g1, fit.errors[2]  # doctest: +SKIP
    """
    params = FitParams() if prior is None else prior
    image = np.ascontiguousarray(images, dtype=np.float64)
    weight = np.ascontiguousarray(weights, dtype=np.float64)
    if image.ndim not in (2, 3):
        raise ValueError(f"images must be [epoch, y, x] or [y, x], not of shape {image.shape}")
    if weight.shape != image.shape:
        raise ValueError(f"weights must have the shape of images, {image.shape}, not {weight.shape}")
    image, weight = (array.reshape(-1, *array.shape[-2:]) for array in (image, weight))
    n_epoch = len(image)
    jacobian = _for_epochs("jacobians", jacobians, (4,), n_epoch)
    shift = _for_epochs("offset", offset, (2,), n_epoch)
    sigma = _for_epochs("target_sigma", target_sigma, (), n_epoch)
    if not (sigma >= 0).all():
        raise ValueError(f"target_sigma must not be negative or NaN, but is {sigma}")
    with np.errstate(over="ignore", invalid="ignore"):  # the kernel gives them a flag
        start = _first_guess(jacobian, sigma) if guess is None else np.array(guess, dtype=np.float64)
        origin = np.einsum("eij,ej->ei", jacobian.reshape(-1, 2, 2), shift)[:, None]
    if start.shape != (len(PARAMETERS),):
        raise ValueError(f"guess must be {', '.join(PARAMETERS)}, not of shape {start.shape}")
    parameters, _, covariance, s2n, flags, n_evaluation = _fit.fit(
        image[:, None],
        weight,
        jacobian,
        origin,
        sigma,
        np.array([0, n_epoch], dtype=np.int64),
        start[None],
        **kernel_settings(params),
        with_prior=with_prior,
        isa=isa,
    )
    return FitResult(
        parameters[0, 0], covariance[0, 0], float(s2n[0, 0]), FitFlag(int(flags[0, 0])), int(n_evaluation[0, 0])
    )


def _for_epochs(name: str, values: ArrayLike, shape: tuple[int, ...], n_epoch: int) -> NDArray[np.float64]:
    """Return values [n_epoch, *shape] of something that is given once or for each epoch."""
    array = np.asarray(values, dtype=np.float64)
    if array.shape not in (shape, (n_epoch, *shape)):
        raise ValueError(f"{name} must have the shape {shape} or {(n_epoch, *shape)}, not {array.shape}")
    return np.ascontiguousarray(np.broadcast_to(array, (n_epoch, *shape)))


def _first_guess(jacobian: NDArray[np.float64], sigma: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where a fit starts that nothing is known about: T of the PSF and of some pixels, any flux."""
    dudx, dudy, dvdx, dvdy = jacobian.T
    area = np.abs(dudx * dvdy - dudy * dvdx)
    size = np.mean(2.0 * sigma**2 + 4.0 * area) if len(sigma) else np.nan
    return np.array([0.0, 0.0, 0.0, 0.0, size, np.nan])
