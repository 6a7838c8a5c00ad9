"""The rows of the shape measurement: their columns, and how results are written into them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from shapempi.catalog import SHEAR_TYPES
from shapempi.flags import ObjectFlag
from shapempi.measure.gaussfit import FitParams, GaussianFit, fit_gaussian, pixel_list
from shapempi.measure.observation import Observations, Rejection

__all__ = [
    "SHAPE_DTYPE",
    "mean_over_epochs",
    "new_table",
    "record_epochs",
    "record_fits",
    "record_magnitudes",
    "record_psf",
]

#: Half-light radius of a round Gaussian over its sigma, sqrt(2 ln 2).
_R50_OVER_SIGMA = 1.1774100225154747


def _columns() -> list[tuple[str, str]]:
    """List the columns of `SHAPE_DTYPE`."""
    columns = [("number", "i4"), ("flags", "i4"), ("n_epoch", "i2"), ("n_epoch_used", "i2")]
    columns += [(reason.value, "i2") for reason in Rejection]
    columns += [("n_noise_failed", "i2"), ("n_noise_mismatch", "i2"), ("moments_failed", "i2"), ("mcal_flags", "i4")]
    columns += [(name, "f8") for name in ("psf_g1", "psf_g2", "psf_T")]
    columns += [(f"psf_fit_{name}", "f8") for name in ("g1", "g2", "T", "g1_err", "g2_err", "T_err")]
    numbers = ("g1", "g1_err", "g2", "g2_err", "T", "T_err", "r50", "Tpsf", "flux", "flux_err", "mag", "mag_err", "s2n")
    for kind in SHEAR_TYPES:
        columns += [(f"{name}_{kind}", "f8") for name in numbers]
        columns += [(f"flags_{kind}", "i4"), (f"n_iter_{kind}", "i4")]
    return columns


#: One object.  Floats without a result are NaN, and `flags` (`ObjectFlag`) says why.
#:
#: * n_epoch, n_epoch_used: epochs that came and that entered the fit; n_masked, n_masked_core, n_no_psf,
#:   n_metacal_failed: epochs lost, each for its first reason.
#: * n_noise_failed, n_noise_mismatch: used epochs whose noise had to come from the weight map, or disagrees with it.
#: * psf_*: the PSF before metacalibration, mean over used epochs weighted by their total weight, sky frame; by
#:   adaptive moments, and (psf_fit_*) by a Gaussian fit.
#: * of each type: shape, T = 2 sigma^2 [arcsec^2] and half-light radius [arcsec] before the PSF, Tpsf of the target
#:   PSF (one number for all types), flux [adu], mag, s2n, `FitFlag` bits, evaluations of the fit.
SHAPE_DTYPE = np.dtype(_columns())


def new_table(number: np.ndarray) -> np.ndarray:
    """Return rows of `SHAPE_DTYPE` without results for objects of these numbers."""
    table = np.zeros(len(number), SHAPE_DTYPE)
    for name in SHAPE_DTYPE.names or ():
        if SHAPE_DTYPE[name].kind == "f":
            table[name] = np.nan
    table["number"] = number
    return table


def record_epochs(row: np.ndarray, observations: Observations, i: int, n_used: int) -> None:
    """Write counts of epochs, and the flags that follow from them, into a table of one row.

    Parameters
    ----------
    row : ndarray of SHAPE_DTYPE [1]
        The object's row.
    observations : Observations
        Epochs of many objects.
    i : int
        The object among them.
    n_used : int
        Its prepared epochs whose metacalibration images could be made.
    """
    epochs = slice(int(observations.first[i]), int(observations.first[i + 1]))
    rejected = {reason: int(count) for reason, count in zip(Rejection, observations.rejected[i], strict=True)}
    rejected[Rejection.METACAL] += epochs.stop - epochs.start - n_used
    n_epoch = n_used + sum(rejected.values())
    row["n_epoch"], row["n_epoch_used"] = n_epoch, n_used
    for reason, count in rejected.items():
        row[reason.value] = count
    row["n_noise_failed"] = np.count_nonzero(observations.noise_failed[epochs])
    row["n_noise_mismatch"] = np.count_nonzero(observations.noise_mismatch[epochs])
    if n_used:
        if n_used < n_epoch:
            row["flags"] |= ObjectFlag.SOME_EPOCH_LOST
        if row["n_noise_failed"]:
            row["flags"] |= ObjectFlag.NOISE_FAILED
        return
    if n_epoch == 0:
        reason_flag = ObjectFlag.NO_EPOCH
    elif rejected[Rejection.METACAL]:
        reason_flag = ObjectFlag.METACAL_FAILED
    elif rejected[Rejection.NO_PSF]:
        reason_flag = ObjectFlag.PSF_MISSING
    else:
        reason_flag = ObjectFlag.ALL_MASKED
    row["flags"] |= reason_flag | ObjectFlag.NOT_MEASURED


def record_psf(row: np.ndarray, observations: Observations, used: Sequence[int], params: FitParams) -> None:
    """Write the mean PSF before metacalibration into a table of one row.

    Parameters
    ----------
    row : ndarray of SHAPE_DTYPE [1]
        The object's row.
    observations : Observations
        Epochs of many objects.
    used : sequence of int
        The object's epochs that enter the fit.
    params : FitParams
        Tolerance of the PSF's Gaussian fit, which has no prior.
    """
    measured = [epoch for epoch in used if np.isfinite(observations.psf_moments[epoch, 0])]
    if not measured:
        return
    for i, name in enumerate(("g1", "g2", "T")):
        row[f"psf_{name}"] = mean_over_epochs(
            observations.psf_moments[measured, i], observations.total_weight[measured]
        )
    fits = []
    for epoch in measured:
        psf, (g1, g2, T) = observations.psf[epoch], observations.psf_moments[epoch]
        # Any constant weight gives the same fit and, errors being scaled by the residuals, the same errors.
        pixels = pixel_list(psf, np.ones(psf.shape), observations.jacobian[epoch])
        fits.append(fit_gaussian([pixels], np.array([0.0, 0.0, g1, g2, T, 1.0]), params, with_prior=False))
    fitted = [(epoch, fit) for epoch, fit in zip(measured, fits, strict=True) if fit.flags == 0]
    if not fitted:
        return
    weight = observations.total_weight[[epoch for epoch, _ in fitted]]
    weight = weight / weight.sum()
    for i, name in ((2, "g1"), (3, "g2"), (4, "T")):
        row[f"psf_fit_{name}"] = np.sum(weight * [fit.parameters[i] for _, fit in fitted])
        row[f"psf_fit_{name}_err"] = np.sqrt(np.sum((weight * [fit.errors[i] for _, fit in fitted]) ** 2))


def record_fits(row: np.ndarray, fits: Mapping[str, GaussianFit], Tpsf: float) -> None:
    """Write the five fits, and the flags that follow from them, into a table of one row.

    Parameters
    ----------
    row : ndarray of SHAPE_DTYPE [1]
        The object's row.
    fits : mapping of str to GaussianFit
        The fit of each type.
    Tpsf : float
        T of the target PSF [arcsec^2], mean over the used epochs.
    """
    for kind in SHEAR_TYPES:
        fit = fits[kind]
        row[f"flags_{kind}"], row[f"n_iter_{kind}"] = fit.flags, fit.n_evaluation
        row["mcal_flags"] |= fit.flags
        row[f"Tpsf_{kind}"] = Tpsf
        if fit.flags:
            row["flags"] |= ObjectFlag.FIT_FAILED
            continue
        for i, name in ((2, "g1"), (3, "g2"), (4, "T"), (5, "flux")):
            row[f"{name}_{kind}"], row[f"{name}_err_{kind}"] = fit.parameters[i], fit.errors[i]
        row[f"s2n_{kind}"] = fit.s2n
        g_squared, T, flux = np.sum(fit.parameters[2:4] ** 2), fit.parameters[4], fit.parameters[5]
        if T > 0:
            row[f"r50_{kind}"] = _R50_OVER_SIGMA * np.sqrt(0.5 * T * (1.0 - g_squared) / (1.0 + g_squared))
        if flux <= 0:
            row["flags"] |= ObjectFlag.NEGATIVE_FLUX
    if fits["noshear"].flags:
        row["flags"] |= ObjectFlag.NOT_MEASURED


def record_magnitudes(table: np.ndarray, mag_zp: float) -> None:
    """Write the magnitudes of all fitted fluxes that are positive."""
    for kind in SHEAR_TYPES:
        flux, error = table[f"flux_{kind}"], table[f"flux_err_{kind}"]
        positive = flux > 0  # False for NaN
        table[f"mag_{kind}"][positive] = mag_zp - 2.5 * np.log10(flux[positive])
        table[f"mag_err_{kind}"][positive] = 2.5 / np.log(10.0) * error[positive] / flux[positive]


def mean_over_epochs(values: Sequence[float] | np.ndarray, total_weight: np.ndarray) -> float:
    """Return the mean over epochs, weighted by their total weight."""
    return float(np.sum(total_weight * np.asarray(values)) / np.sum(total_weight))
