"""Stamps to be timed on: simulated galaxies in memory, as a survey would have them."""

from __future__ import annotations

import galsim
import numpy as np

from shapempi.vignet import VignetStacks

__all__ = ["PIXEL_SCALE", "SIZE", "simulate_stacks"]

#: Side of the stamps [pixel] and scale of the pixels [arcsec].
SIZE, PIXEL_SCALE = 51, 0.187

#: Angle by which the pixels of the epochs are turned, at most [deg].  GalSim draws an exactly diagonal WCS in another
#: way, but no CCD is exactly straight.
_TURN = 1.0


def simulate_stacks(n_object: int, n_epoch: int, rng: np.random.Generator) -> VignetStacks:
    """Simulate galaxies on several epochs each.

    Sersic profiles of index 1 to 4, half-light radii of 0.2 to 0.7 arcsec, shapes of 0.25 rms and S/N of 20 to 200
    over all epochs together; Moffat PSFs of FWHM 0.6 to 0.8 arcsec and a few per cent of ellipticity, one for each
    epoch; sub-pixel offsets; pixels turned by up to a degree either way; white noise.

    Parameters
    ----------
    n_object, n_epoch : int
        Galaxies, and epochs of each.
    rng : numpy.random.Generator
        For everything that differs.

    Returns
    -------
    VignetStacks
        The stamps, all usable.
    """
    n = n_object * n_epoch
    image = np.zeros((n, SIZE, SIZE), np.float32)
    weight, psf = np.zeros_like(image), np.zeros((n, SIZE, SIZE))
    jacobian, offset = np.zeros((n, 4)), rng.uniform(-0.5, 0.5, (n, 2))
    for i in range(n_object):
        galaxy = _galaxy(rng)
        rows = range(i * n_epoch, (i + 1) * n_epoch)
        clean = np.zeros((n_epoch, SIZE, SIZE))
        for epoch, row in enumerate(rows):
            jacobian[row] = _jacobian(rng)
            wcs = galsim.JacobianWCS(*jacobian[row].tolist())
            profile = _psf(rng)
            psf[row] = profile.drawImage(nx=SIZE, ny=SIZE, wcs=wcs, dtype=float).array
            drawn = galsim.Convolve(galaxy, profile).drawImage(
                nx=SIZE, ny=SIZE, wcs=wcs, offset=tuple(offset[row].tolist()), dtype=float
            )
            clean[epoch] = drawn.array
        sigma = np.sqrt(np.sum(clean**2)) / 10.0 ** rng.uniform(np.log10(20.0), np.log10(200.0))
        image[rows.start : rows.stop] = clean + rng.normal(0.0, sigma, clean.shape)
        weight[rows.start : rows.stop] = sigma**-2
    return VignetStacks(
        number=np.arange(1, n_object + 1, dtype=np.int32),
        place=np.arange(n_object, dtype=np.int64),
        first=np.arange(0, n + 1, n_epoch, dtype=np.int64),
        image=image,
        weight=weight,
        flag=np.zeros((n, SIZE, SIZE), np.int32),
        psf=psf,
        jacobian=jacobian,
        offset=offset,
        exposure=np.tile(np.arange(1, n_epoch + 1, dtype=np.int32), n_object),
        ccd=np.zeros(n, np.int32),
    )


def _galaxy(rng: np.random.Generator) -> galsim.GSObject:
    """Return a galaxy on the sky."""
    g = min(abs(rng.normal(0.0, 0.25)), 0.7)
    profile = galsim.Sersic(
        n=float(rng.choice([1.0, 1.5, 2.5, 4.0])), half_light_radius=rng.uniform(0.2, 0.7), flux=1000.0
    )
    return profile.shear(g=g, beta=rng.uniform(0.0, 180.0) * galsim.degrees)


def _psf(rng: np.random.Generator) -> galsim.GSObject:
    """Return the PSF of one epoch."""
    profile = galsim.Moffat(beta=rng.uniform(3.0, 4.5), fwhm=rng.uniform(0.6, 0.8))
    return profile.shear(g1=rng.normal(0.0, 0.03), g2=rng.normal(0.0, 0.03))


def _jacobian(rng: np.random.Generator) -> np.ndarray:
    """Return dudx, dudy, dvdx, dvdy of one epoch."""
    angle = np.radians(rng.uniform(0.2, 1.0) * _TURN * rng.choice([-1.0, 1.0]))
    c, s = PIXEL_SCALE * np.cos(angle), PIXEL_SCALE * np.sin(angle)
    return np.array([c, -s, s, c])
