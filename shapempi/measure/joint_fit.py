"""Fits of the prepared epochs of many objects by the native kernel: galaxies of all types, and PSFs."""

from __future__ import annotations

import numpy as np

from shapempi.kernels import _fit
from shapempi.measure.fit import FitParams, kernel_settings
from shapempi.measure.observation import Observations
from shapempi.measure.shape_table import Fits

__all__ = ["fit_objects", "fit_psfs", "starting_points"]

#: Size [arcsec^2] at which a fit starts where moments give none, and the smallest at which it starts.
_DEFAULT_T, _SMALLEST_T = 0.2, 0.02


def starting_points(observations: Observations, used: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where the fits of `noshear` start, and which of them come from adaptive moments.

    Parameters
    ----------
    observations : Observations
        Epochs of many objects.
    used : ndarray of bool [n_epoch]
        The epochs that enter the fits.

    Returns
    -------
    start : ndarray of float64 [n_object, 6]
        Centre 0, shape 0, T the mean over epochs of the image's T less the PSF's, and NaN for the flux: the one that
        fits best.
    guessed : ndarray of bool [n_object]
        False where no epoch has moments; T is then a default.
    """
    sizes = observations.moments[:, 2] - observations.psf_moments[:, 2]
    known = used & np.isfinite(sizes)
    count = observations.sums(known)
    total = observations.sums(np.where(known, sizes, 0.0))
    start = np.zeros((len(count), 6))
    start[:, 4] = np.where(count > 0, np.maximum(total / np.maximum(count, 1), _SMALLEST_T), _DEFAULT_T)
    start[:, 5] = np.nan
    return start, count > 0


def fit_objects(
    images: np.ndarray,
    weight: np.ndarray,
    jacobian: np.ndarray,
    origin: np.ndarray,
    sigma: np.ndarray,
    first: np.ndarray,
    start: np.ndarray,
    params: FitParams,
    *,
    with_prior: bool = True,
    isa: str = "auto",
    n_threads: int = 1,
) -> Fits:
    """Fit all epochs of each object jointly, for every type of image.

    Parameters
    ----------
    images : ndarray of float64 [n_epoch, n_type, y, x]
        Stamps of each type.
    weight : ndarray of float64 [n_epoch, y, x]
        Inverse variance; 0 is unusable.
    jacobian : ndarray of float64 [n_epoch, 4]
        dudx, dudy, dvdx, dvdy [arcsec/pixel].
    origin : ndarray of float64 [n_epoch, n_type, 2]
        u, v of the object's position from the centre of the stamp [arcsec].
    sigma : ndarray of float64 [n_epoch]
        Sigma of the round Gaussian PSF [arcsec].
    first : ndarray of int64 [n_object + 1]
        Epochs of object i are first[i] to first[i + 1].
    start : ndarray of float64 [n_object, 6]
        Where the first type starts; the others start from its solution.
    params : FitParams
        Model, priors, ranges and tolerance.
    with_prior : bool, optional
        False leaves out the priors on centre and shape.
    isa : str, optional
        Instruction set of the kernel.
    n_threads : int, optional
        Threads; the result does not depend on it.

    Returns
    -------
    Fits [n_object, n_type]
        The results.
    """
    parameters, errors, _, s2n, flags, n_evaluation = _fit.fit(
        images,
        weight,
        jacobian,
        origin,
        sigma,
        first,
        start,
        **kernel_settings(params),
        with_prior=with_prior,
        isa=isa,
        n_threads=n_threads,
    )
    return Fits(parameters, errors, s2n, flags, n_evaluation)


def fit_psfs(observations: Observations, params: FitParams, *, isa: str = "auto", n_threads: int = 1) -> Fits:
    """Fit a Gaussian to each PSF as it is, without priors.

    Parameters
    ----------
    observations : Observations
        Epochs of many objects.
    params : FitParams
        Tolerance.
    isa : str, optional
        Instruction set of the kernel.
    n_threads : int, optional
        Threads; the result does not depend on it.

    Returns
    -------
    Fits [n_epoch]
        The results; where the PSF has no adaptive moments the fit fails.
    """
    n = len(observations.psf)
    start = np.zeros((n, 6))
    start[:, 2:5] = observations.psf_moments
    start[:, 5] = 1.0
    # Any constant weight gives the same fit and, errors being scaled by the residuals, the same errors.
    fits = fit_objects(
        observations.psf[:, None],
        np.ones_like(observations.psf),
        observations.jacobian,
        np.zeros((n, 1, 2)),
        np.zeros(n),
        np.arange(n + 1),
        start,
        params.model_copy(update={"model": "gauss"}),
        with_prior=False,
        isa=isa,
        n_threads=n_threads,
    )
    return fits.of_type(0)
