"""The rows of the shape measurement: their columns, and how results are written into them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shapempi.catalog import SHEAR_TYPES
from shapempi.flags import ObjectFlag
from shapempi.measure.observation import Observations, Rejection

__all__ = [
    "SHAPE_DTYPE",
    "Fits",
    "Measurement",
    "new_table",
    "record",
    "record_magnitudes",
]


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


@dataclass(frozen=True)
class Fits:
    """Results of many fits.

    Attributes
    ----------
    parameters, errors : ndarray of float64 [..., 6]
        v, u [arcsec], g1, g2, T [arcsec^2], flux; NaN where flags are set.
    s2n : ndarray of float64 [...]
        Signal-to-noise ratio of the model.
    flags : ndarray of int32 [...]
        `FitFlag` bits; 0 is good.
    n_evaluation : ndarray of int32 [...]
        Evaluations of the model.
    """

    parameters: np.ndarray
    errors: np.ndarray
    s2n: np.ndarray
    flags: np.ndarray
    n_evaluation: np.ndarray

    def of_type(self, i: int) -> Fits:
        """Return element i of the last axis but that of the parameters."""
        return Fits(
            self.parameters[..., i, :],
            self.errors[..., i, :],
            self.s2n[..., i],
            self.flags[..., i],
            self.n_evaluation[..., i],
        )


@dataclass(frozen=True)
class Measurement:
    """What an engine makes of the epochs of many objects.

    Attributes
    ----------
    used : ndarray of bool [n_epoch]
        Epochs that have metacalibration images and entered the fits.
    target_sigma : ndarray of float64 [n_epoch]
        Sigma of the target PSF [arcsec].
    psf_fits : Fits [n_epoch]
        A Gaussian fit of each PSF as it is.
    fits : Fits [n_object, n_type]
        The fits of each type, in the order of `SHEAR_TYPES`.
    guessed : ndarray of bool [n_object]
        False where adaptive moments gave no size to start from.
    half_light : float
        Half-light radius over sqrt(T) of the fitted model, round.
    """

    used: np.ndarray
    target_sigma: np.ndarray
    psf_fits: Fits
    fits: Fits
    guessed: np.ndarray
    half_light: float


def new_table(number: np.ndarray) -> np.ndarray:
    """Return rows of `SHAPE_DTYPE` without results for objects of these numbers."""
    table = np.zeros(len(number), SHAPE_DTYPE)
    for name in SHAPE_DTYPE.names or ():
        if SHAPE_DTYPE[name].kind == "f":
            table[name] = np.nan
    table["number"] = number
    return table


def record(table: np.ndarray, observations: Observations, measurement: Measurement) -> None:
    """Write all results, and the flags that follow from them, into the rows of a new table.

    Parameters
    ----------
    table : ndarray of SHAPE_DTYPE [n_object]
        Rows without results; changed.
    observations : Observations
        The objects' epochs.
    measurement : Measurement
        What an engine made of them.
    """
    _record_epochs(table, observations, measurement.used)
    measured = table["n_epoch_used"] > 0
    table["moments_failed"][measured & ~measurement.guessed] = 1
    table["flags"][measured & ~measurement.guessed] |= ObjectFlag.MOMENTS_FAILED
    _record_psf(table, observations, measurement)
    weight = np.where(measurement.used, observations.total_weight, 0.0)
    Tpsf = _means(observations, 2.0 * measurement.target_sigma**2, weight)
    for i, kind in enumerate(SHEAR_TYPES):
        table[f"Tpsf_{kind}"] = Tpsf
        _record_fit(table, kind, measured, measurement.fits.of_type(i), measurement.half_light)
    table["flags"][measured & (measurement.fits.flags[:, 0] != 0)] |= ObjectFlag.NOT_MEASURED


def _record_epochs(table: np.ndarray, observations: Observations, used: np.ndarray) -> None:
    """Write counts of epochs and what they say about the objects."""
    n_used = observations.sums(used).astype(int)
    rejected = observations.rejected.astype(int)
    rejected[:, list(Rejection).index(Rejection.METACAL)] += np.diff(observations.first) - n_used
    n_epoch = n_used + rejected.sum(axis=1)
    table["n_epoch"], table["n_epoch_used"] = n_epoch, n_used
    for i, reason in enumerate(Rejection):
        table[reason.value] = rejected[:, i]
    table["n_noise_failed"] = observations.sums(observations.noise_failed)
    table["n_noise_mismatch"] = observations.sums(observations.noise_mismatch)
    flags = table["flags"]
    some = n_used > 0
    flags[some & (n_used < n_epoch)] |= ObjectFlag.SOME_EPOCH_LOST
    flags[some & (table["n_noise_failed"] > 0)] |= ObjectFlag.NOISE_FAILED
    reasons = (
        (n_epoch == 0, ObjectFlag.NO_EPOCH),
        (table[Rejection.METACAL.value] > 0, ObjectFlag.METACAL_FAILED),
        (table[Rejection.NO_PSF.value] > 0, ObjectFlag.PSF_MISSING),
        (np.ones(len(table), dtype=bool), ObjectFlag.ALL_MASKED),
    )
    without = np.select([condition for condition, _ in reasons], [int(flag) for _, flag in reasons])
    flags[~some] |= (without | ObjectFlag.NOT_MEASURED)[~some]


def _record_psf(table: np.ndarray, observations: Observations, measurement: Measurement) -> None:
    """Write the mean PSF before metacalibration."""
    known = measurement.used & np.isfinite(observations.psf_moments[:, 0])
    weight = np.where(known, observations.total_weight, 0.0)
    for i, name in enumerate(("g1", "g2", "T")):
        table[f"psf_{name}"] = _means(observations, observations.psf_moments[:, i], weight)
    fits = measurement.psf_fits
    weight = np.where(known & (fits.flags == 0), observations.total_weight, 0.0)
    total = observations.sums(weight)
    for i, name in ((2, "g1"), (3, "g2"), (4, "T")):
        table[f"psf_fit_{name}"] = _means(observations, fits.parameters[:, i], weight)
        square = observations.sums(np.where(weight > 0, weight * fits.errors[:, i], 0.0) ** 2)
        error = table[f"psf_fit_{name}_err"]
        error[total > 0] = np.sqrt(square[total > 0]) / total[total > 0]


def _record_fit(table: np.ndarray, kind: str, measured: np.ndarray, fits: Fits, half_light: float) -> None:
    """Write the fits of one type."""
    good = measured & (fits.flags == 0)
    table[f"flags_{kind}"], table[f"n_iter_{kind}"] = fits.flags, fits.n_evaluation
    table["mcal_flags"] |= fits.flags
    table["flags"][measured & ~good] |= ObjectFlag.FIT_FAILED
    for i, name in ((2, "g1"), (3, "g2"), (4, "T"), (5, "flux")):
        table[f"{name}_{kind}"][good] = fits.parameters[good, i]
        table[f"{name}_err_{kind}"][good] = fits.errors[good, i]
    table[f"s2n_{kind}"][good] = fits.s2n[good]
    g1, g2, T, flux = fits.parameters[:, 2:].T
    sized = good & (T > 0)
    g_squared = (g1**2 + g2**2)[sized]
    table[f"r50_{kind}"][sized] = half_light * np.sqrt(T[sized] * (1.0 - g_squared) / (1.0 + g_squared))
    table["flags"][good & (flux <= 0)] |= ObjectFlag.NEGATIVE_FLUX


def _means(observations: Observations, values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the weighted means of epochs' values over each object's epochs; NaN without weight."""
    total = observations.sums(weight)
    product = observations.sums(np.where(weight > 0, values, 0.0) * weight)
    return np.where(total > 0, product / np.where(total > 0, total, 1.0), np.nan)


def record_magnitudes(table: np.ndarray, mag_zp: float) -> None:
    """Write the magnitudes of all fitted fluxes that are positive."""
    for kind in SHEAR_TYPES:
        flux, error = table[f"flux_{kind}"], table[f"flux_err_{kind}"]
        positive = flux > 0  # False for NaN
        table[f"mag_{kind}"][positive] = mag_zp - 2.5 * np.log10(flux[positive])
        table[f"mag_err_{kind}"][positive] = 2.5 / np.log(10.0) * error[positive] / flux[positive]
