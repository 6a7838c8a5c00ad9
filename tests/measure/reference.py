"""Comparison with metacalibration images, target sizes and fits that ngmix 2.4.2 made of simulated stamps.

The files of the reference (tests/data/README.md) hold a group for each galaxy: `image`, `noise`, `psf` [epoch, y, x]
and `jacobian` [epoch, 4], and for each target PSF a group with `target_sigma` [epoch], the images of the types that
are stored, and the fits `fit_<type>` with their errors, if they are stored.
"""

from typing import NamedTuple

import galsim
import numpy as np

from shapempi.catalog import SHEAR_TYPES
from shapempi.kernels import _metacal
from shapempi.measure.fit import FitParams
from shapempi.measure.joint_fit import fit_objects
from shapempi.measure.metacal import find_targets, metacal_images, shear_components

#: Targets that have sizes.
TARGETS = ("gauss", "azgauss")

#: Shear of the reference's images.
STEP = 0.01


class ImageDifference(NamedTuple):
    """Largest difference of one image from the reference, relative to the peak of the reference."""

    name: str
    target: str
    epoch: int
    kind: str
    difference: float


class FitDifference(NamedTuple):
    """Largest difference of one fit's parameters in units of their errors; of errors and s2n relative."""

    name: str
    target: str
    kind: str
    difference: float
    errors: float
    s2n: float


class Stamps(NamedTuple):
    """What goes into metacalibration: arrays of float64 [epoch, ...]."""

    image: np.ndarray
    noise: np.ndarray
    psf: np.ndarray
    jacobian: np.ndarray


def stamps_of(group):
    """Return the stamps of one galaxy."""
    return Stamps(*(group[name][:].astype(float) for name in Stamps._fields))


def make_images(group, target):
    """Return our images of one galaxy, a mapping of type to array [epoch, y, x], with the reference's target size."""
    stamps, sigma = stamps_of(group), group[target]["target_sigma"][:]
    return metacal_images(stamps.image, stamps.psf, stamps.jacobian, noise=stamps.noise, target=sigma).images


def make_fits(group, target, images):
    """Return our fits of images, with priors and weight of the reference: arrays [type, ...]."""
    jacobian, sigma = group["jacobian"][:], group[target]["target_sigma"][:]
    made = np.stack([images[kind] for kind in SHEAR_TYPES], axis=1)
    n_epoch, n_type = made.shape[:2]
    return fit_objects(
        made,
        np.full((n_epoch, *made.shape[2:]), 0.5 / group.attrs["sigma_noise"] ** 2),
        jacobian,
        np.zeros((n_epoch, n_type, 2)),
        sigma,
        np.array([0, n_epoch]),
        np.array([[0.0, 0.0, 0.0, 0.0, 0.3, np.nan]]),
        FitParams(),
    )


def compare_images(group, target, images):
    """Return the `ImageDifference` of each stored image."""
    differences = []
    for kind in SHEAR_TYPES:
        if kind in group[target]:
            for epoch, expected in enumerate(group[target][kind][:].astype(float)):
                difference = float(np.abs(images[kind][epoch] - expected).max() / expected.max())
                differences.append(ImageDifference(group.name.strip("/"), target, epoch, kind, difference))
    return differences


def has_fits(group, target):
    """Return whether the reference has fits."""
    return "fit_noshear" in group[target]


def compare_fits(group, target, fits):
    """Return the `FitDifference` of each type, and the differences [2, 2] of the galaxy's response."""
    differences, theirs = [], {}
    for i, kind in enumerate(SHEAR_TYPES):
        expected = group[target][f"fit_{kind}"]
        errors = expected.attrs["pars_err"]
        theirs[kind] = expected[2:4]
        differences.append(
            FitDifference(
                group.name.strip("/"),
                target,
                kind,
                float(np.max(np.abs(fits.parameters[0, i] - expected[:]) / errors)),
                float(np.max(np.abs(fits.errors[0, i] / errors - 1.0))),
                float(abs(fits.s2n[0, i] / expected.attrs["s2n"] - 1.0)),
            )
        )
    ours = dict(zip(SHEAR_TYPES, fits.parameters[0, :, 2:4], strict=True))
    return differences, response(ours) - response(theirs)


def response(shapes):
    """Return R [2, 2] of one galaxy from its shapes, a mapping of type to (g1, g2)."""
    return np.stack([(shapes[f"{j}p"] - shapes[f"{j}m"]) / (2.0 * STEP) for j in (1, 2)], axis=1)


def drawn_by_galsim(stamps, sigma, period, kind="1p", epoch=0):
    """Return one image [y, x] drawn by GalSim with a Fourier transform of a period [pixel], as ngmix uses it."""
    g1, g2 = shear_components([kind], STEP)[0]
    wcs = galsim.JacobianWCS(*stamps.jacobian[epoch])
    gsparams = galsim.GSParams(minimum_fft_size=period)

    def drawn(stamp):
        profile, psf = (
            galsim.InterpolatedImage(
                galsim.Image(np.array(array), wcs=wcs), x_interpolant="lanczos15", gsparams=gsparams
            )
            for array in (stamp, stamps.psf[epoch])
        )
        bare = galsim.Convolve(profile, galsim.Deconvolve(psf)).shear(g1=g1, g2=g2)
        target = galsim.Gaussian(sigma=sigma, flux=psf.flux)
        ny, nx = stamp.shape
        return galsim.Convolve(bare, target).drawImage(nx=nx, ny=ny, wcs=wcs, method="no_pixel", dtype=float).array

    return drawn(stamps.image[epoch]) + np.rot90(drawn(np.rot90(stamps.noise[epoch])), 3)


def difference_of_period(stamps, sigma, period, kind="1p", epoch=0):
    """Return the largest difference [counts] of our image and GalSim's, both with a period [pixel]."""
    rows = slice(epoch, epoch + 1)
    ends = find_targets(stamps.psf[rows], stamps.jacobian[rows], sigma[rows], STEP)
    ours = _metacal.images(
        stamps.image[rows],
        stamps.psf[rows],
        stamps.jacobian[rows],
        *ends,
        shear_components([kind], STEP),
        noise=stamps.noise[rows],
        period=period,
    )
    return np.abs(ours[0, 0] - drawn_by_galsim(stamps, sigma[epoch], period, kind, epoch)).max()
