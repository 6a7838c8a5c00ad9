"""Residuals of stars against the PSF model, and which stars are good enough to count.

Conventions, everywhere in this package:

* residuals are star minus model, of reduced shears g = (a - b)/(a + b): `de1, de2` in the pixel frame of the CCD,
  `dg1, dg2` in the sky frame (u West, v North);
* T = 2 sigma^2 with sigma = det(M)^(1/4) of the moment matrix M on the sky [arcsec^2];
* dT = (T_star - T_model)/T_star, as in the rho statistics of Jarvis et al. (2016, MNRAS 460, 2245) and
  Mandelbaum et al. (2018, PASJ 70, S25).  The noise of T_star in the denominator lowers its mean by the variance of dT.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from shapempi.params import Params, key

__all__ = ["RESIDUAL_DTYPE", "STAR_INPUT", "Sample", "SampleParams", "collect", "residuals", "with_exposures_as"]

#: Columns of a table of stars (`shapempi.catalog.STAR_COLUMNS`) that residuals are computed from.
STAR_INPUT = (
    *("exposure", "CCD_NB", "X", "Y", "RA", "DEC", "MAG", "SNR", "ACCEPTED", "FLAG_PSF_HSM", "FLAG_STAR_HSM"),
    *("E1_PSF_HSM", "E2_PSF_HSM", "E1_STAR_HSM", "E2_STAR_HSM"),
    *("g1_psf", "g2_psf", "T_psf", "g1_star", "g2_star", "T_star"),
)

#: One star, 78 bytes, because a survey has 10^8 of them.  x, y 1-based [pixel]; e1, e2 (pixel frame), g1, g2 (sky
#: frame) and T [arcsec^2] of the model; de1, de2, dg1, dg2 star minus model; dT = (T_star - T_model)/T_star.
RESIDUAL_DTYPE = np.dtype(
    [
        *(("exposure", "i4"), ("ccd", "i2"), ("x", "f4"), ("y", "f4"), ("ra", "f8"), ("dec", "f8")),
        *((name, "f4") for name in ("mag", "snr", "e1", "e2", "g1", "g2", "T", "de1", "de2", "dg1", "dg2", "dT")),
    ]
)


def with_exposures_as(dtype: np.dtype, rows: np.ndarray) -> np.dtype:
    """Return the dtype of a table whose column `exposure` is as wide as that of some rows."""
    exposure = rows.dtype["exposure"]
    return np.dtype([(name, exposure if name == "exposure" else dtype[name]) for name in dtype.names or ()])


#: Residuals by which outliers are found.
_OUTLYING = ("de1", "de2", "dT")

#: Standard deviation of a Gaussian in units of its median absolute deviation.
_MAD_TO_SIGMA = 1.4826


class SampleParams(Params):
    """Which stars a PSF model is compared with."""

    outlier_sigma: float = key(
        0.0,
        "Stars with a residual this many robust standard deviations off the median are left out; 0 keeps all.",
        ge=0,
    )
    bright_snr: float = key(
        100.0,
        "Signal-to-noise ratio from which on a star is bright; fainter ones were selected by sizes that noise changed.",
        gt=0,
    )


@dataclass(frozen=True)
class Sample:
    """Stars that are good enough, and what became of the others.

    Attributes
    ----------
    rows : ndarray of RESIDUAL_DTYPE [n]
        The good stars, in the order of the table.
    n_star : int
        Stars in the table.
    rejected : mapping of str to int
        How many were left out, by the first reason that applies.
    """

    rows: np.ndarray
    n_star: int
    rejected: Mapping[str, int] = field(default_factory=dict)

    def brighter(self, snr: float) -> Sample:
        """Return the stars with at least this signal-to-noise ratio."""
        kept = self.rows["snr"] >= snr
        left_out = int(len(kept) - kept.sum())
        return Sample(self.rows[kept], self.n_star, {**self.rejected, f"S/N below {snr:g}": left_out})

    def of_exposure(self, exposure: int) -> Sample:
        """Return the good stars of one exposure."""
        rows = self.rows[self.rows["exposure"] == exposure]
        return Sample(rows, len(rows))


def residuals(stars: np.ndarray) -> tuple[np.ndarray, dict[str, int]]:
    """Compute the residuals of the good stars of a table.

    Parameters
    ----------
    stars : structured ndarray [n]
        With the columns `STAR_INPUT`; T_psf and T_star are traces of moment matrices.

    Returns
    -------
    rows : ndarray of RESIDUAL_DTYPE [n_good]
        The stars of accepted models with both flags 0 and finite values.
    rejected : dict of str to int
        The others by the first reason that applies.
    """
    psf_T, star_T = (_round_size(stars[f"T_{of}"], stars[f"g1_{of}"], stars[f"g2_{of}"]) for of in ("psf", "star"))
    numbers = [stars[name] for name in STAR_INPUT if stars[name].dtype.kind == "f" and name not in ("MAG", "SNR")]
    reasons = {
        "model not accepted": stars["ACCEPTED"] != 1,
        "model without moments": stars["FLAG_PSF_HSM"] != 0,
        "star without moments": stars["FLAG_STAR_HSM"] != 0,
        "values not finite": ~np.all([np.isfinite(values) for values in numbers], axis=0),
        "size not positive": ~((psf_T > 0) & (star_T > 0)),
    }
    good = np.ones(len(stars), dtype=bool)
    rejected = {}
    for reason, bad in reasons.items():
        rejected[reason] = int((good & bad).sum())
        good &= ~bad
    stars, psf_T, star_T = stars[good], psf_T[good], star_T[good]
    rows = np.empty(len(stars), with_exposures_as(RESIDUAL_DTYPE, stars))
    for name, column in (("exposure", "exposure"), ("ccd", "CCD_NB"), ("x", "X"), ("y", "Y"), ("ra", "RA")):
        rows[name] = stars[column]
    for name, column in (("dec", "DEC"), ("mag", "MAG"), ("snr", "SNR")):
        rows[name] = stars[column]
    for i in (1, 2):
        rows[f"e{i}"], rows[f"g{i}"] = stars[f"E{i}_PSF_HSM"], stars[f"g{i}_psf"]
        # Differences are taken in double precision: they are a hundred times smaller than the shapes.
        rows[f"de{i}"] = stars[f"E{i}_STAR_HSM"] - stars[f"E{i}_PSF_HSM"]
        rows[f"dg{i}"] = stars[f"g{i}_star"] - stars[f"g{i}_psf"]
    rows["T"] = psf_T
    rows["dT"] = (star_T - psf_T) / star_T
    return rows, rejected


def collect(tables: Iterable[np.ndarray], params: SampleParams) -> Sample:
    """Compute the residuals of a survey, table by table.

    Parameters
    ----------
    tables : iterable of structured ndarray
        Parts of the table of stars, in order.
    params : SampleParams
        What is an outlier; that is decided when all stars are known.

    Returns
    -------
    Sample
        The good stars.
    """
    parts, n_star = [np.empty(0, RESIDUAL_DTYPE)], 0
    rejected: dict[str, int] = {}
    for stars in tables:
        rows, bad = residuals(stars)
        parts.append(rows)
        n_star += len(stars)
        rejected = {reason: count + rejected.get(reason, 0) for reason, count in bad.items()}
    rows = np.concatenate(parts)
    if params.outlier_sigma > 0:
        kept = _central(rows, params.outlier_sigma)
        rejected[f"outlier of {params.outlier_sigma:g} sigma"] = int(len(kept) - kept.sum())
        rows = rows[kept]
    return Sample(rows, n_star, {reason: count for reason, count in rejected.items() if count})


def _round_size(trace: np.ndarray, g1: np.ndarray, g2: np.ndarray) -> np.ndarray:
    """Return 2 sigma^2 from the trace of a moment matrix, T sqrt(1 - |e|^2) with the distortion e of the shear g."""
    modulus = g1**2 + g2**2
    return trace * (1 - modulus) / (1 + modulus)


def _central(rows: np.ndarray, n_sigma: float) -> np.ndarray:
    """Say which stars are not outliers, bool [n]."""
    kept = np.ones(len(rows), dtype=bool)
    if len(rows) < 3:
        return kept
    for name in _OUTLYING:
        distance = np.abs(rows[name] - np.median(rows[name]))
        kept &= distance <= n_sigma * _MAD_TO_SIGMA * np.median(distance)
    return kept
