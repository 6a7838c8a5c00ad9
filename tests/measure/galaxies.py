"""Simulated epochs of galaxies for the shape tests."""

import galsim
import numpy as np

from shapempi.vignet import VignetStacks

SIZE = 51
SCALE = 0.186

#: A straight CCD, the same upside down, and one with sheared, rotated pixels [arcsec/pixel].
STRAIGHT = np.array([SCALE, 0.0, 0.0, SCALE])
UPSIDE_DOWN = -STRAIGHT
SHEARED = np.array([0.190, 0.006, 0.004, 0.180])


def draw_epoch(profile, psf, jacobian, offset=(0.0, 0.0)):
    """Return image and PSF stamps, pixel included, of a profile at an offset from the centre."""
    wcs = galsim.JacobianWCS(*jacobian)
    image = galsim.Convolve(profile, psf).drawImage(nx=SIZE, ny=SIZE, wcs=wcs, offset=offset, dtype=float).array
    stamp = psf.drawImage(nx=SIZE, ny=SIZE, wcs=wcs, dtype=float).array
    return image, stamp / stamp.sum()


def make_stacks(profiles, epochs, rng, *, snr=1000.0, offsets=True):
    """Return the stacks of galaxies that are each seen in the same epochs.

    Parameters
    ----------
    profiles : sequence of galsim.GSObject
        The galaxies on the sky.
    epochs : sequence of (galsim.GSObject, array [4])
        PSF and Jacobian of each epoch.
    rng : numpy.random.Generator
        For sub-pixel offsets and noise.
    snr : float
        Signal-to-noise ratio of all epochs together, matched filter.
    """
    n = len(profiles) * len(epochs)
    image = np.zeros((n, SIZE, SIZE), np.float32)
    weight, psf = np.zeros_like(image), np.zeros((n, SIZE, SIZE))
    jacobian, offset = np.zeros((n, 4)), np.zeros((n, 2))
    row = 0
    for profile in profiles:
        for epoch_psf, epoch_jacobian in epochs:
            if offsets:
                offset[row] = rng.uniform(-0.5, 0.5, 2)
            clean, psf[row] = draw_epoch(profile, epoch_psf, epoch_jacobian, tuple(offset[row]))
            sigma = np.sqrt(np.sum(clean**2) * len(epochs)) / snr
            image[row] = clean + rng.normal(0.0, sigma, clean.shape)
            weight[row] = sigma**-2
            jacobian[row] = epoch_jacobian
            row += 1
    return VignetStacks(
        number=np.arange(1, len(profiles) + 1, dtype=np.int32),
        place=np.arange(1, len(profiles) + 1),
        first=np.arange(0, n + 1, len(epochs)),
        image=image,
        weight=weight,
        flag=np.zeros((n, SIZE, SIZE), np.int32),
        psf=psf,
        jacobian=jacobian,
        offset=offset,
        exposure=np.tile(np.arange(1000000, 1000000 + len(epochs), dtype=np.int32), len(profiles)),
        ccd=np.full(n, 7, np.int32),
    )


def select(stacks, objects):
    """Return some objects of the stacks, in the order given."""
    rows = np.concatenate([np.arange(stacks.first[i], stacks.first[i + 1]) for i in objects])
    counts = [stacks.first[i + 1] - stacks.first[i] for i in objects]
    names = ("image", "weight", "flag", "psf", "jacobian", "offset", "exposure", "ccd")
    return VignetStacks(
        number=stacks.number[list(objects)],
        place=stacks.place[list(objects)],
        first=np.concatenate([[0], np.cumsum(counts)]),
        **{name: getattr(stacks, name)[rows] for name in names},
    )
