"""The true point spread function of one exposure: a Moffat that changes over the field of view."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shapempi.sim.params import PsfFieldParams
from shapempi.sim.randoms import Stream, generator
from shapempi.wcs import tangent_offset

__all__ = ["N_TERM", "PsfField", "make_psf_field"]

#: Terms of a quadratic polynomial in two variables: 1, u, v, u^2, u v, v^2.
N_TERM = 6


@dataclass(frozen=True)
class PsfField:
    """A PSF as a function of the sky position.

    Attributes
    ----------
    ra, dec : float
        The centre of the exposure [deg].
    radius : float
        Distance from the centre at which the polynomials' argument is 1 [deg].
    beta : float
        Moffat's exponent.
    fwhm, g1, g2 : tuple of float [6]
        Coefficients of 1, u, v, u^2, u v, v^2, with (u West, v North) in units of `radius`: width [arcsec] and shear.
    """

    ra: float
    dec: float
    radius: float
    beta: float
    fwhm: tuple[float, ...]
    g1: tuple[float, ...]
    g2: tuple[float, ...]

    def evaluate(self, ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return FWHM [arcsec], g1 and g2 of the PSF at sky positions [deg], each as array [n]."""
        u, v = (offset / 3600.0 / self.radius for offset in tangent_offset(ra, dec, self.ra, self.dec))
        terms = np.stack([np.ones_like(u), u, v, u * u, u * v, v * v], axis=-1)
        # A sum term by term, not a matrix product: its value must not depend on how many positions are asked for.
        fwhm, g1, g2 = (np.zeros_like(u) for _ in range(3))
        for k in range(N_TERM):
            fwhm += terms[..., k] * self.fwhm[k]
            g1 += terms[..., k] * self.g1[k]
            g2 += terms[..., k] * self.g2[k]
        return fwhm, g1, g2


def make_psf_field(params: PsfFieldParams, *, seed: int, exposure: int, ra: float, dec: float) -> PsfField:
    """Draw the PSF of one exposure.

    Parameters
    ----------
    params : PsfFieldParams
        Its mean and how much it varies.
    seed : int
        Seed of the survey.
    exposure : int
        Number of the exposure.
    ra, dec : float
        Centre of the exposure [deg].
    """
    rng = generator(seed, Stream.PSF, exposure)
    normal = rng.standard_normal((3, N_TERM))
    if params.constant:
        normal[:] = 0.0
    fwhm = params.fwhm * (1.0 + params.fwhm_scatter * float(np.clip(normal[0, 0], -2.0, 2.0)))
    return PsfField(
        ra=ra,
        dec=dec,
        radius=params.field_radius,
        beta=params.beta,
        fwhm=(fwhm, *(fwhm * params.fwhm_variation * normal[0, 1:]).tolist()),
        g1=(params.g1 + params.g_scatter * float(normal[1, 0]), *(params.g_variation * normal[1, 1:]).tolist()),
        g2=(params.g2 + params.g_scatter * float(normal[2, 0]), *(params.g_variation * normal[2, 1:]).tolist()),
    )
