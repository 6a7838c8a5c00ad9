"""Stars to be timed on: one simulated CCD in memory, and what its PSF truly is."""

from __future__ import annotations

from dataclasses import dataclass

import galsim
import numpy as np

from shapempi.measure.psf.sample import StarSample

__all__ = ["SHAPE", "TruePsf", "simulate_stars"]

#: (ny, nx) of a CCD of MegaCam, noise of its sky [ADU], electrons per ADU.
SHAPE = (4612, 2048)
_SKY, _GAIN = 10.0, 3.0
#: The PSF: Moffat's beta and FWHM [pixel]; rms of the coefficients of its variation over the CCD.
_BETA, _FWHM = 3.5, 3.7
_SIZE_RMS, _SHAPE_RMS = 0.015, 0.01
#: S/N of the faintest and of the brightest star.
_S2N = (50.0, 1000.0)


@dataclass(frozen=True)
class TruePsf:
    """A Moffat profile with the pixel's response, whose size and shape are quadratic in the position on the CCD.

    Attributes
    ----------
    size, g1, g2 : ndarray of float64 [6]
        Coefficients of the relative FWHM and of the shear: 1, u, u^2, v, uv, v^2 with u, v in -1..1 over the CCD.
    """

    size: np.ndarray
    g1: np.ndarray
    g2: np.ndarray

    @classmethod
    def random(cls, rng: np.random.Generator) -> TruePsf:
        """Return a PSF with one per cent of variation."""
        size = np.concatenate([[1.0], rng.normal(0.0, _SIZE_RMS, 5)])
        g1, g2 = (np.concatenate([rng.normal(0.0, 0.02, 1), rng.normal(0.0, _SHAPE_RMS, 5)]) for _ in range(2))
        return cls(size, g1, g2)

    def draw(self, x: np.ndarray, y: np.ndarray, offset: np.ndarray, size: int) -> np.ndarray:
        """Draw the PSF.

        Parameters
        ----------
        x, y : ndarray of float64 [n]
            Positions on the CCD [pixel], 0-based.
        offset : ndarray of float64 [n, 2]
            (dx, dy) of its centre from the stamp's centre [pixel].
        size : int
            Side of the stamps [pixel].

        Returns
        -------
        ndarray of float64 [n, size, size]
            Stamps; their sum is the part of the flux in them.
        """
        ny, nx = SHAPE
        stamps = np.zeros((len(x), size, size))
        for stamp, u, v, place in zip(stamps, 2 * x / nx - 1, 2 * y / ny - 1, offset.tolist(), strict=True):
            terms = np.array([1.0, u, u * u, v, u * v, v * v])
            profile = galsim.Moffat(_BETA, fwhm=_FWHM * float(self.size @ terms))
            profile = profile.shear(g1=float(self.g1 @ terms), g2=float(self.g2 @ terms))
            stamp[...] = profile.drawImage(nx=size, ny=size, scale=1.0, offset=tuple(place), dtype=float).array
        return stamps


def simulate_stars(n: int, size: int, rng: np.random.Generator) -> tuple[StarSample, TruePsf]:
    """Simulate the stars of one CCD: S/N of 50 to 1000, noise of sky and photons, one star in ten with a neighbour.

    Parameters
    ----------
    n : int
        Stars.
    size : int
        Side of the vignets [pixel].
    rng : numpy.random.Generator
        For everything that differs.

    Returns
    -------
    sample : StarSample
        The stars; their centres are known to 0.02 pixel.
    psf : TruePsf
        Their PSF.
    """
    psf = TruePsf.random(rng)
    ny, nx = SHAPE
    x, y = rng.uniform(20, nx - 20, n), rng.uniform(20, ny - 20, n)
    offset = np.stack([x - np.rint(x), y - np.rint(y)], axis=-1)
    images = psf.draw(x, y, offset, size)
    low, high = np.log(_S2N)
    s2n = np.exp(rng.uniform(low, high, n))
    # The flux at which sky and the star's own photons make this S/N.
    half = 0.5 * s2n**2 / _GAIN
    flux = half + np.sqrt(half**2 + s2n**2 * _SKY**2 / np.sum(images**2, axis=(1, 2)))
    clean = images * flux[:, None, None]
    near = np.flatnonzero(rng.random(n) < 0.1)
    angle = rng.uniform(0.0, 2 * np.pi, len(near))
    away = rng.uniform(10.0, 25.0, len(near))[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    clean[near] += 0.1 * flux[near, None, None] * psf.draw(x[near], y[near], offset[near] + away, size)
    noisy = clean + rng.normal(size=clean.shape) * np.sqrt(_SKY**2 + clean / _GAIN)
    error = rng.normal(0.0, 0.02, (n, 2))
    sample = StarSample(
        vignets=noisy.astype(np.float32),
        weights=np.full(clean.shape, _SKY**-2.0, np.float32),
        x=x + error[:, 0],
        y=y + error[:, 1],
        offset=offset + error,
        flux=flux,
        flux_err=flux / s2n,
        shape=SHAPE,
        gain=_GAIN,
    )
    return sample, psf
