"""Metacalibration images of one stamp, by GalSim: the reference that faster engines are tested against.

The image is deconvolved by its PSF, sheared by each of noshear, 1p, 1m, 2p, 2m about the centre of the stamp, and
convolved with a round Gaussian a little larger than the PSF (Huff & Mandelbaum 2017; Sheldon & Huff 2017).  The
shear response of the noise is cancelled by an independent noise image that goes, rotated by 90 degrees, through
the same operation and is added ("fixnoise", Sheldon & Huff 2017, section 3).

GalSim's interpolated images give the Fourier transforms at sheared wavevectors; this module multiplies them.  The
inverse of the sheared PSF serves the galaxy and the noise, the target serves all types, and only wavevectors at
which the target is not zero are computed: the images equal those of GalSim's own `drawImage` to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import galsim
import numpy as np
from scipy import fft

from shapempi.catalog import SHEAR_TYPES
from shapempi.measure.metacal import MetacalParams, shear_matrix

__all__ = ["TARGETS", "MetacalImages", "azimuthal_sigma", "gauss_sigma", "metacal_images", "moments_sigma"]

#: Relative value below which GalSim takes a Gaussian's transform as zero (its `kvalue_accuracy`).  At this cut the
#: deconvolved noise ends; without it noisy images differ by 1e-3 of their peak.  GalSim's own drawing leaves it out
#: when the Jacobian is exactly diagonal; here it always applies, so that nothing hangs on an exact zero.
_KVALUE_ACCURACY = 1e-5

#: Smallest period [pixel] of the Fourier transforms (GalSim's `minimum_fft_size`).
_SMALLEST_PERIOD = 128


@dataclass(frozen=True)
class MetacalImages:
    """The metacalibration images of one epoch.

    Attributes
    ----------
    image : mapping of str to ndarray of float64 [y, x]
        The image of each type, in the order of `SHEAR_TYPES`.
    sigma : float
        Sigma of the target PSF, dilated [arcsec]; the same for all types.
    """

    image: Mapping[str, np.ndarray]
    sigma: float


def _lattice(psf: galsim.InterpolatedImage) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the real part of the PSF's transform [ky, kx], |k|/dk there, and dk [1/arcsec].

    The wavevectors are labelled half a step off along both axes.  So does the method that these target sizes
    reproduce; it makes the Gaussian up to 2 % larger than exact labels would, and depends on the PSF alone.
    """
    dk = psf.stepk / 4.0
    real = psf.drawKImage(scale=dk).real.array / psf.flux
    label = np.arange(len(real)) - 0.5 * len(real)
    return real, np.hypot(label[None, :], label[:, None]), dk


def gauss_sigma(psf: galsim.InterpolatedImage) -> float:
    """Return the sigma [arcsec] of the target `gauss`, or NaN.

    With k_c the smallest wavenumber at which the PSF's transform falls below 0.01, the target's transform is 0.003
    there: sigma^2 = -2 ln(0.003)/k_c^2.
    """
    real, radius, dk = _lattice(psf)
    low = real < 0.01
    if not low.any():
        return float("nan")
    return float(np.sqrt(-2.0 * np.log(0.003)) / (radius[low].min() * dk))


def azimuthal_sigma(psf: galsim.InterpolatedImage) -> float:
    """Return the sigma [arcsec] of the target `azgauss`, or NaN.

    With k_c the wavenumber at which the azimuthal mean of the PSF's transform (annuli one lattice step wide) falls
    through 0.03, log-linearly interpolated, the target's transform is 0.009 there: sigma^2 = -2 ln(0.009)/k_c^2.
    """
    real, radius, dk = _lattice(psf)
    ring = np.rint(radius).astype(np.intp).ravel()
    count = np.bincount(ring)
    total = np.bincount(ring, weights=real.ravel())
    mean = np.where(count > 0, total / np.maximum(count, 1), 1.0)
    low = np.flatnonzero(mean < 0.03)
    if low.size == 0 or low[0] == 0:
        return float("nan")
    after = int(low[0])
    left, right = mean[after - 1], mean[after]
    if right > 0:
        fraction = np.log(left / 0.03) / np.log(left / right)
    else:
        fraction = (left - 0.03) / (left - right)
    return float(np.sqrt(-2.0 * np.log(0.009)) / ((after - 1 + fraction) * dk))


def moments_sigma(psf: galsim.InterpolatedImage) -> float:
    """Return the sigma [arcsec] of the target `fitgauss`, or NaN.

    A round Gaussian of T min(1.1, 1 + 2 (sqrt(1 + e) - 1)), T and the distortion e from the PSF's adaptive moments.
    """
    moments = galsim.hsm.FindAdaptiveMom(psf.image, strict=False, use_sky_coords=True)
    if moments.error_message or not moments.moments_sigma > 0:
        return float("nan")
    e = moments.observed_shape.e
    variance = moments.moments_sigma**2 / np.sqrt(1.0 - e**2)
    return float(np.sqrt(variance * min(1.1, 1.0 + 2.0 * (np.sqrt(1.0 + e) - 1.0))))


def size_sigma(psf: galsim.InterpolatedImage) -> float:
    """Return the sigma [arcsec] of the round Gaussian as large as the PSF by its adaptive moments, or NaN."""
    moments = galsim.hsm.FindAdaptiveMom(psf.image, strict=False, use_sky_coords=True)
    if moments.error_message or not moments.moments_sigma > 0:
        return float("nan")
    return float(moments.moments_sigma / (1.0 - moments.observed_shape.e**2) ** 0.25)


#: The ways to find the target's sigma, by name.
TARGETS: Mapping[str, Callable[[galsim.InterpolatedImage], float]] = MappingProxyType(
    {"gauss": gauss_sigma, "azgauss": azimuthal_sigma, "fitgauss": moments_sigma, "dilate": size_sigma}
)


def metacal_images(
    image: np.ndarray, noise: np.ndarray, psf: np.ndarray, jacobian: np.ndarray, params: MetacalParams
) -> MetacalImages | None:
    """Make the metacalibration images of one stamp.

    Parameters
    ----------
    image : ndarray of float [n, n]
        Background-subtracted stamp, masked pixels filled; n odd.
    noise : ndarray of float [n, n]
        Independent noise of the same level.
    psf : ndarray of float [n, n]
        PSF with the pixel in it, unit sum, centred on the stamp.
    jacobian : ndarray of float64 [4]
        dudx, dudy, dvdx, dvdy [arcsec/pixel], u West, v North.
    params : MetacalParams
        Step and target PSF.

    Returns
    -------
    MetacalImages or None
        None if the PSF has no usable size.

    Raises
    ------
    ValueError
        If the stamps are not square, of odd side and of one shape.
    """
    size = len(image)
    if size % 2 == 0 or not image.shape == noise.shape == psf.shape == (size, size):
        raise ValueError(f"metacal needs square stamps of one odd side, not {image.shape}, {noise.shape}, {psf.shape}")
    jacobian = np.reshape(np.asarray(jacobian, dtype=float), (2, 2))
    try:
        psf_profile = galsim.InterpolatedImage(_galsim_image(psf, _local_wcs(jacobian)), x_interpolant="lanczos15")
        sigma = params.target_sigma or _larger(TARGETS[params.target_psf](psf_profile), jacobian, params)
    except galsim.GalSimError:
        return None
    if not np.isfinite(sigma):
        return None
    operator = _Operator(psf_profile, jacobian, sigma, size)
    if params.target_psf == "dilate" and not params.target_sigma:
        operator.dilate(psf_profile, 1.0 + 2.0 * params.step)
    galaxy = operator.profile(image)
    # Only the array turns; PSF, Jacobian and shear stay.  Turned back afterwards, the noise was sheared by -step.
    turned = operator.profile(np.rot90(noise))
    images = {}
    for kind in SHEAR_TYPES:
        matrix = operator.pixel_matrix(shear_matrix(kind, params.step))
        factor = operator.factor(matrix)
        images[kind] = operator.draw(galaxy, matrix, factor) + np.rot90(operator.draw(turned, matrix, factor), 3)
    return MetacalImages(image=MappingProxyType(images), sigma=float(sigma))


def _larger(sigma: float, jacobian: np.ndarray, params: MetacalParams) -> float:
    """Return the sigma of a target after its dilation, in which `dilate` leaves the pixel as it is."""
    factor = 1.0 + 2.0 * params.step
    if params.target_psf != "dilate":
        return factor * sigma
    pixel = float(np.sum(jacobian**2)) / 24.0
    variance = factor**2 * (sigma**2 - pixel) + pixel
    return float(np.sqrt(variance)) if variance > 0 else float("nan")


def _local_wcs(jacobian: np.ndarray) -> galsim.JacobianWCS:
    """Return GalSim's form of a Jacobian [2, 2]."""
    return galsim.JacobianWCS(*(float(value) for value in jacobian.ravel()))


def _galsim_image(array: np.ndarray, wcs: galsim.JacobianWCS) -> galsim.Image:
    """Wrap a copy of a stamp, float64 and contiguous."""
    return galsim.Image(np.array(array, dtype=float, order="C"), wcs=wcs)


class _Operator:
    """Deconvolve, shear, convolve and draw stamps of one epoch.

    Wavevectors q are those of the pixel lattice, q = J^T k; arrays over them are the half plane qx >= 0, cut to the
    box in which the target PSF and the inverse of the PSF are not zero.
    """

    def __init__(self, psf: galsim.InterpolatedImage, jacobian: np.ndarray, sigma: float, size: int) -> None:
        self._wcs = _local_wcs(jacobian)
        self._inverse_psf = galsim.Deconvolve(psf)
        self._inverse_jacobian = np.linalg.inv(jacobian)
        self._period = max(_SMALLEST_PERIOD, galsim.Image.good_fft_size(2 * size))
        self._dq = 2.0 * np.pi / self._period
        half = self._period // 2
        cut = -2.0 * np.log(_KVALUE_ACCURACY)
        # GalSim's inverse PSF ends at maxk in the unsheared frame; a shear moves a wavevector by less than 12 %.
        k_max = min(np.sqrt(cut) / sigma, 1.12 * psf.maxk)
        nx, ny = (min(half, int(np.ceil(k_max * np.hypot(*column) / self._dq))) for column in jacobian.T)
        self._bounds = galsim.BoundsI(0, nx, -ny, ny)
        qx = np.arange(nx + 1)[None, :] * self._dq
        qy = np.arange(-ny, ny + 1)[:, None] * self._dq
        ((a, b), (c, d)) = self._inverse_jacobian
        self._k = np.hypot(a * qx + c * qy, b * qx + d * qy)
        ksq = (sigma * self._k) ** 2
        self._target = np.where(ksq <= cut, np.exp(-0.5 * ksq), 0.0) * psf.flux
        self._rows = np.arange(-ny, ny + 1) % self._period
        self._pixels = (np.arange(size) - size // 2) % self._period

    def dilate(self, psf: galsim.InterpolatedImage, factor: float) -> None:
        """Take the PSF itself as the target, larger by a factor but for its pixel."""
        pixel = self._wcs.toWorld(galsim.Pixel(1.0))
        larger = galsim.Convolve(psf, galsim.Deconvolve(pixel)).dilate(factor)
        values = self._transform(galsim.Convolve(larger, pixel), self._inverse_jacobian)
        self._target = np.where(self._k * factor <= psf.maxk, values, 0.0)

    def profile(self, stamp: np.ndarray) -> galsim.InterpolatedImage:
        """Return the interpolated image of a stamp."""
        return galsim.InterpolatedImage(
            _galsim_image(stamp, self._wcs), x_interpolant="lanczos15", calculate_stepk=False, calculate_maxk=False
        )

    def pixel_matrix(self, shear: np.ndarray) -> np.ndarray:
        """Return what brings a profile on the sky to the sheared profile in pixels."""
        return self._inverse_jacobian @ shear

    def factor(self, matrix: np.ndarray) -> np.ndarray:
        """Return target over sheared PSF on the half plane."""
        return self._transform(self._inverse_psf, matrix) * self._target

    def draw(self, profile: galsim.GSObject, matrix: np.ndarray, factor: np.ndarray) -> np.ndarray:
        """Return the stamp of a sheared profile times a factor in Fourier space."""
        plane = np.zeros((self._period, self._period // 2 + 1), dtype=complex)
        values = self._transform(profile, matrix) * factor
        plane[self._rows, : values.shape[1]] = values
        # At the Nyquist frequency both signs lie in one row and in one column of the plane: they add up.
        half = self._period // 2
        if len(values) > self._period:
            plane[half, : values.shape[1]] = values[0] + values[-1]
        plane[:, half] *= 2.0
        period = fft.irfft2(plane, s=(self._period, self._period))
        return period[np.ix_(self._pixels, self._pixels)]

    def _transform(self, profile: galsim.GSObject, matrix: np.ndarray) -> np.ndarray:
        """Return the Fourier transform of a transformed profile on the half plane."""
        image = galsim.ImageCD(self._bounds, scale=self._dq)
        area = abs(matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0])
        galsim.Transform(profile, jac=matrix, flux_ratio=1.0 / area).drawKImage(image=image, recenter=False)
        return image.array
