"""Stars and galaxies by their size before the PSF, in the joint fit of all epochs.

The spread model sees the coadd alone; the fit sees every epoch with its own PSF.  T of a star is 0 within its error.
"""

from __future__ import annotations

import numpy as np

from shapempi.params import Params, key

__all__ = ["SIZE_DTYPE", "SizeClassParams", "classify_sizes"]

#: Columns as the catalogue has them.
SIZE_DTYPE = np.dtype([("size_ratio", "f4"), ("size_ratio_err", "f4"), ("size_class", "i2")])


class SizeClassParams(Params):
    """Star-galaxy separation by the size of the joint fit."""

    error_factor: float = key(
        4.0,
        "Factor on the error of T: metacalibration correlates noise, and the fit takes it for white.",
        gt=0,
    )
    threshold: float = key(0.25, "Larger T/Tpsf is that of a galaxy, smaller that of a star.", gt=0)
    significance: float = key(
        0.5, "How far size_ratio must be from the threshold for a class; nearer ones are others.", unit="sigma", ge=0
    )


def classify_sizes(table: np.ndarray, params: SizeClassParams) -> np.ndarray:
    """Class objects by r = T/Tpsf, the size before the PSF in units of the PSF's.

    Parameters
    ----------
    table : structured ndarray [n]
        Rows with T_noshear, T_err_noshear and psf_T [arcsec^2]; NaN where nothing was measured.
    params : SizeClassParams
        Threshold and errors.

    Returns
    -------
    ndarray of SIZE_DTYPE [n]
        Ratio and error, and the class: 0 star (r below the threshold by so many errors), 1 galaxy (above), 2 other,
        what was not measured included.
    """
    result = np.zeros(len(table), SIZE_DTYPE)
    T, error, psf = (np.asarray(table[name], float) for name in ("T_noshear", "T_err_noshear", "psf_T"))
    known = np.isfinite(T) & np.isfinite(error) & (psf > 0)
    unit = np.where(known, psf, np.nan)
    ratio, error = T / unit, params.error_factor * error / unit
    result["size_ratio"], result["size_ratio_err"] = ratio, error
    distance = np.where(known, ratio - params.threshold, 0.0)
    margin = np.where(known, params.significance * error, np.inf)
    result["size_class"] = np.select([distance > margin, distance < -margin], [1, 0], 2)
    return result
