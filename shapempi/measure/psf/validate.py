"""Comparison of a PSF model with stars: their shapes side by side, and how well the model describes the pixels."""

from __future__ import annotations

import numpy as np

from shapempi.measure.moments import MomentsFlag, adaptive_moments, to_sky
from shapempi.measure.psf.flux import fit_fluxes
from shapempi.measure.psf.sample import StarSample
from shapempi.psf import PsfModel

__all__ = ["VALIDATION_DTYPE", "star_chi2", "validate"]

#: Star and model side by side (behaviour specification, section 8, VALIDATION).  X, Y: position on the CCD [pixel],
#: 1-based.  E1, E2, SIGMA of PSF (the model) and STAR: adaptive moments in the pixel frame; despite the names, which
#: are historic, E1 and E2 are the reduced shear g = (a - b)/(a + b); SIGMA is det(M)^(1/4) [pixel].  FLAG: 0 measured,
#: 1 failed, and then the values are NaN.  g1, g2, T: the same moments in the sky frame, reduced shear and trace of
#: the moment matrix [arcsec^2].  chi2: chi^2 per pixel of the star in the aperture, its flux fitted, its noise the
#: weights' and the model's photons'; NaN where it could not be had.
VALIDATION_DTYPE = np.dtype(
    [
        ("X", "f8"),
        ("Y", "f8"),
        ("E1_PSF_HSM", "f8"),
        ("E2_PSF_HSM", "f8"),
        ("SIGMA_PSF_HSM", "f8"),
        ("FLAG_PSF_HSM", "i2"),
        ("E1_STAR_HSM", "f8"),
        ("E2_STAR_HSM", "f8"),
        ("SIGMA_STAR_HSM", "f8"),
        ("FLAG_STAR_HSM", "i2"),
        ("g1_psf", "f8"),
        ("g2_psf", "f8"),
        ("T_psf", "f8"),
        ("g1_star", "f8"),
        ("g2_star", "f8"),
        ("T_star", "f8"),
        ("chi2", "f8"),
    ]
)

#: Radius [sigma of the star's model] inside which chi^2 is counted: 2.5 FWHM.
_APERTURE = 6.0


def validate(model: PsfModel | None, sample: StarSample, jacobians: np.ndarray) -> np.ndarray:
    """Measure stars and the model at their places.

    The model is drawn with the star's sub-pixel offset, so that both are sampled alike.  Bad pixels are left out of
    the star's moments.

    Parameters
    ----------
    model : PsfModel or None
        The model; without one the stars alone are measured, and the model's columns say that they are missing.
    sample : StarSample
        The stars.
    jacobians : ndarray of float64 [n, 4]
        dudx, dudy, dvdx, dvdy [arcsec/pixel] at the stars, u West, v North.

    Returns
    -------
    ndarray of VALIDATION_DTYPE [n]
        One row per star, in order.
    """
    table = np.zeros(len(sample), VALIDATION_DTYPE)
    table["X"], table["Y"] = np.asarray(sample.x) + 1.0, np.asarray(sample.y) + 1.0
    good = sample.usable()
    _record(table, "STAR", adaptive_moments(sample.vignets, good), jacobians)
    if model is None:
        for name in ("E1_PSF_HSM", "E2_PSF_HSM", "SIGMA_PSF_HSM", "g1_psf", "g2_psf", "T_psf", "chi2"):
            table[name] = np.nan
        table["FLAG_PSF_HSM"] = MomentsFlag.NO_PIXEL
        return table
    drawn = model.draw(sample.x, sample.y, good.shape[1], dx=sample.offset[:, 0], dy=sample.offset[:, 1])
    moments = adaptive_moments(drawn)
    _record(table, "PSF", moments, jacobians)
    table["chi2"] = star_chi2(sample, drawn, np.where(moments["flag"] == 0, moments["sigma"], np.nan))
    return table


def _record(table: np.ndarray, name: str, moments: np.ndarray, jacobians: np.ndarray) -> None:
    """Write the moments of stars or of models in both frames."""
    table[f"E1_{name}_HSM"], table[f"E2_{name}_HSM"] = moments["g1"], moments["g2"]
    table[f"SIGMA_{name}_HSM"], table[f"FLAG_{name}_HSM"] = moments["sigma"], moments["flag"]
    sky = to_sky(moments["g1"], moments["g2"], moments["sigma"], jacobians)
    for column, values in zip(("g1", "g2", "T"), sky, strict=True):
        table[f"{column}_{name.lower()}"] = values


def star_chi2(sample: StarSample, drawn: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Return chi^2 per pixel of stars against models that were not fitted to them.

    Parameters
    ----------
    sample : StarSample
        The stars.
    drawn : ndarray of float64 [n, y, x]
        Their models, of any flux: it is fitted.
    sigma : ndarray of float64 [n]
        Size of each model [pixel]; pixels within 6 sigma of the centre count.

    Returns
    -------
    ndarray of float64 [n]
        chi^2 per degree of freedom (pixels less one for the flux), with the weights and the photon noise of the
        model's light as noise; NaN for a star without positive flux or without two usable pixels.
    """
    good = sample.usable()
    ny, nx = good.shape[1:]
    dy = (np.arange(ny) - (ny - 1) / 2 - sample.offset[:, 1:])[:, :, None]
    dx = (np.arange(nx) - (nx - 1) / 2 - sample.offset[:, :1])[:, None, :]
    good &= np.hypot(dx, dy) < _APERTURE * sigma[:, None, None]
    data = np.where(good, sample.vignets, 0.0).astype(float)
    sky = np.where(good, sample.weights, 0.0).astype(float)
    flux = fit_fluxes(data, sky, drawn)
    weight = sky
    if sample.gain > 0 and np.isfinite(sample.gain):
        for _ in range(2):  # the photon noise needs the flux
            photons = np.maximum(drawn * flux[:, None, None], 0.0) / sample.gain
            weight = sky / (1.0 + sky * np.where(np.isfinite(photons), photons, 0.0))
            flux = fit_fluxes(data, weight, drawn)
    n_pixel = good.sum(axis=(1, 2))
    chi2 = np.sum(weight * (data - drawn * flux[:, None, None]) ** 2, axis=(1, 2))
    return np.where((n_pixel > 1) & (flux > 0), chi2, np.nan) / np.maximum(n_pixel - 1, 1)
