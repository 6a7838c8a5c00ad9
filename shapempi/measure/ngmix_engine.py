"""Shapes by a user's own ngmix: its metacalibration bootstrap on the epochs that all engines share.

ngmix is not on PyPI and is no dependency.  Whoever wants to see what it makes of the same stamps installs it and asks
for the engine `ngmix`; rejection of epochs, fill of masked pixels, noise images, priors and columns are the same as
those of the other engines.

Three things differ.  ngmix truncates its Gaussians at five sigma (1e-3 of the parameters' errors).  A shear about the
stamp's centre moves an object that is not there, by the step times its offset; the other engines move the origin of
the fit along, ngmix does not, so that its sheared epochs of different offsets do not lie on each other (some 1e-2 of
the errors; the type `noshear` is not touched).  And ngmix fits a Gaussian to the target PSF: where that is not round
(`target_psf = "dilate"`) its fits have an elliptical PSF, those of the other engines a round one of the same size.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any, ClassVar

import galsim
import numpy as np

from shapempi.catalog import SHEAR_TYPES
from shapempi.errors import EngineError
from shapempi.measure.fit import HALF_LIGHT, FitFlag
from shapempi.measure.galsim_engine import as_fits
from shapempi.measure.gaussfit import GaussianFit
from shapempi.measure.joint_fit import fit_psfs, starting_points
from shapempi.measure.observation import Observations, prepare
from shapempi.measure.shape_params import ShapeParams
from shapempi.measure.shape_table import Measurement, new_table, record
from shapempi.vignet import VignetStacks

__all__ = ["NgmixEngine", "as_gaussian_fit", "load_ngmix"]

#: Oldest release whose metacalibration has noise-robust targets and whose fits have analytic derivatives.
_OLDEST = (2, 4)

_CURE = 'conda install -c conda-forge "ngmix>=2.4" (it is not on PyPI)'

#: Sizes at which the tries of one fit start, in units of the first; as in `gaussfit`.
_TRIES = (1.0, 0.3, 3.0, 0.1, 10.0)

#: Fits of the target PSF's image before its epoch is given up, and their tolerance.
_PSF_TRIES, _PSF_TOLERANCE = 4, 1e-5

#: All bits of `FitFlag`; iterating over it would leave out those that share a name.
_KNOWN_FLAGS = int(reduce(or_, FitFlag.__members__.values()))


def load_ngmix() -> Any:
    """Return the installed ngmix.

    Returns
    -------
    module
        ngmix.

    Raises
    ------
    EngineError
        If there is none, or one that is too old; the message says how to get it.
    """
    try:
        ngmix = importlib.import_module("ngmix")
    except ImportError as error:
        raise EngineError(f'[shapes] engine = "ngmix", but ngmix cannot be imported ({error}): {_CURE}') from error
    release = tuple(int(part) for part in ngmix.__version__.split(".")[:2])
    if release < _OLDEST:
        raise EngineError(f'[shapes] engine = "ngmix" needs 2.4 or newer, found {ngmix.__version__}: {_CURE}')
    return ngmix


class NgmixEngine:
    """Metacalibration and fits by ngmix.

    Attributes
    ----------
    version : str
        The version of ngmix.

    Raises
    ------
    EngineError
        If ngmix is not installed or too old.
    """

    epoch_seconds: ClassVar[float] = 0.072

    def __init__(self) -> None:
        self._ngmix = load_ngmix()
        self.version: str = self._ngmix.__version__

    def measure(
        self, stacks: VignetStacks, params: ShapeParams, seed: Sequence[int], *, n_threads: int = 1
    ) -> np.ndarray:
        """Measure each object by itself; see `measure_shapes`."""
        observations = prepare(stacks, params, seed, n_threads=n_threads)
        n_epoch = len(observations.image)
        start, _ = starting_points(observations, np.ones(n_epoch, dtype=bool))
        sigma = np.full(n_epoch, np.nan)
        fits: list[GaussianFit] = []
        for i in range(len(stacks)):
            rng = np.random.default_rng([*seed, int(stacks.place[i])])
            epochs = range(int(observations.first[i]), int(observations.first[i + 1]))
            measured = self.bootstrap(observations, epochs, float(start[i, 4]), params, rng) if epochs else None
            if measured is None:
                fits += [GaussianFit.failed(FitFlag.NO_PIXELS)] * len(SHEAR_TYPES)
                continue
            results, sigma[epochs.start : epochs.stop] = measured
            fits += [as_gaussian_fit(results[kind]) for kind in SHEAR_TYPES]
        used = np.isfinite(sigma)
        measurement = Measurement(
            used=used,
            target_sigma=sigma,
            psf_fits=fit_psfs(observations, params, n_threads=n_threads),
            fits=as_fits(fits, (len(stacks), len(SHEAR_TYPES))),
            half_light=HALF_LIGHT[params.model],
            guessed=starting_points(observations, used)[1],
        )
        table = new_table(stacks.number)
        record(table, observations, measurement)
        return table

    def bootstrap(
        self,
        observations: Observations,
        epochs: Sequence[int],
        T: float,
        params: ShapeParams,
        rng: np.random.Generator,
    ) -> tuple[Mapping[str, Mapping[str, Any]], np.ndarray] | None:
        """Run ngmix's metacalibration bootstrap on the epochs of one object.

        Parameters
        ----------
        observations : Observations
            Epochs of many objects.
        epochs : sequence of int
            The object's epochs among them, at least one.
        T : float
            Size at which the fits start [arcsec^2].
        params : ShapeParams
            Step, target PSF, priors and tolerance.
        rng : numpy.random.Generator
            For the noise, 2e-5 of the peak, that ngmix puts on the target PSF's image, and the guesses of its fit.

        Returns
        -------
        results : mapping of str to mapping
            ngmix's result of each type.
        sigma : ndarray of float64 [n]
            Sigma of the target PSF of each epoch [arcsec]; NaN where it was left out.
        None
            Instead of all, if ngmix gave the object up.
        """
        ngmix = self._ngmix
        stamps = ngmix.ObsList()
        for epoch in epochs:
            stamps.append(self._observation(observations, epoch))
        fit_pars = {"maxfev": params.max_evaluations, "ftol": params.tolerance, "xtol": params.tolerance}
        fitter = ngmix.fitting.Fitter(model=params.model, prior=self._prior(params, rng), fit_pars=fit_pars)
        bootstrapper = ngmix.metacal.MetacalBootstrapper(
            runner=ngmix.runners.Runner(fitter, _Starts(T), ntry=params.n_try),
            psf_runner=self._psf_runner(rng),
            rng=rng,
            psf=self._target(params),
            step=params.step,
            types=list(SHEAR_TYPES),
            fixnoise=True,
            use_noise_image=True,
        )
        try:
            results, images = bootstrapper.go(stamps)
        except (ngmix.gexceptions.NGmixBaseException, galsim.GalSimError, ArithmeticError, ValueError):
            # Stamps without a usable PSF end in errors of arithmetic, too (the minimum of nothing, for one).
            return None
        psfs = [made.psf for made in images["noshear"]]
        sizes = [psf.gmix.get_T() if psf.meta["result"]["flags"] == 0 else np.nan for psf in psfs]
        return results, np.sqrt(0.5 * np.array(sizes))

    def _target(self, params: ShapeParams) -> Any:
        """Return the target PSF in the form that ngmix wants; it dilates all that it gets."""
        if params.target_sigma > 0:
            return galsim.Gaussian(sigma=params.target_sigma / (1.0 + 2.0 * params.step))
        return params.target_psf

    def _observation(self, observations: Observations, epoch: int) -> Any:
        """Return an epoch in ngmix's form."""
        ny, nx = observations.image.shape[1:]
        x, y = 0.5 * (nx - 1), 0.5 * (ny - 1)
        dx, dy = (float(value) for value in observations.offset[epoch])
        slopes = dict(zip(("dudx", "dudy", "dvdx", "dvdy"), observations.jacobian[epoch].tolist(), strict=True))
        jacobian = self._ngmix.Jacobian
        return self._ngmix.Observation(
            observations.image[epoch].copy(),
            weight=observations.weight[epoch].copy(),
            noise=observations.noise[epoch].copy(),
            jacobian=jacobian(x=x + dx, y=y + dy, **slopes),
            psf=self._ngmix.Observation(observations.psf[epoch].copy(), jacobian=jacobian(x=x, y=y, **slopes)),
        )

    def _prior(self, params: ShapeParams, rng: np.random.Generator) -> Any:
        """Return the priors on centre, shape, size and flux; ngmix never draws from them here."""
        priors, width = self._ngmix.priors, params.centre_prior_sigma
        return self._ngmix.joint_prior.PriorSimpleSep(
            priors.CenPrior(0.0, 0.0, width, width, rng),
            priors.GPriorBA(params.g_prior_sigma, rng),
            priors.FlatPrior(params.T_min, params.T_max, rng),
            priors.FlatPrior(params.flux_min, params.flux_max, rng),
        )

    def _psf_runner(self, rng: np.random.Generator) -> Any:
        """Return what fits the target PSF."""
        ngmix = self._ngmix
        fit_pars = {"maxfev": 2000, "ftol": _PSF_TOLERANCE, "xtol": _PSF_TOLERANCE}
        return ngmix.runners.PSFRunner(
            fitter=ngmix.fitting.Fitter(model="gauss", fit_pars=fit_pars),
            guesser=ngmix.guessers.SimplePSFGuesser(rng=rng),
            ntry=_PSF_TRIES,
        )


class _Starts:
    """Gives each try of each fit its starting point: the same for all types, other sizes for later tries."""

    def __init__(self, T: float) -> None:
        self._T = T
        self._of: Any = None
        self._try = 0

    def __call__(self, obs: Any) -> np.ndarray:
        """Return v, u, g1, g2, T, flux [6] for the next try with an ObsList."""
        self._try = self._try + 1 if obs is self._of else 0
        self._of = obs
        T = self._T * _TRIES[self._try]
        numerator = denominator = 0.0
        for epoch in obs:
            pixels = epoch.pixels
            size = T + epoch.psf.gmix.get_T()
            unit = pixels["area"] / (np.pi * size) * np.exp(-(pixels["u"] ** 2 + pixels["v"] ** 2) / size)
            weight = pixels["ierr"] ** 2
            numerator += float(np.sum(weight * unit * pixels["val"]))
            denominator += float(np.sum(weight * unit**2))
        return np.array([0.0, 0.0, 0.0, 0.0, T, numerator / denominator if denominator > 0 else 0.0])


def as_gaussian_fit(result: Mapping[str, Any]) -> GaussianFit:
    """Return ngmix's result of one fit in the form of the other engines.

    Parameters
    ----------
    result : mapping
        The items `flags`, `nfev`, and of a good fit `pars`, `pars_err` and `s2n`.

    Returns
    -------
    GaussianFit
        Parameters (v, u, g1, g2, T, flux), errors, s2n; all NaN if the fit failed.  Flags that only ngmix has (its
        covariance is not positive) become `FitFlag.SINGULAR`.
    """
    flags, n_evaluation = int(result["flags"]), max(0, int(result["nfev"]))
    if flags:
        known = flags & _KNOWN_FLAGS
        return GaussianFit.failed(known if known == flags else known | FitFlag.SINGULAR, n_evaluation)
    return GaussianFit(
        parameters=np.array(result["pars"], dtype=float),
        errors=np.array(result["pars_err"], dtype=float),
        s2n=float(result["s2n"]),
        flags=0,
        n_evaluation=n_evaluation,
    )
