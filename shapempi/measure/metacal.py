"""Metacalibration images (Huff & Mandelbaum 2017; Sheldon & Huff 2017) by the native kernel.

An image is deconvolved by its PSF, sheared about the centre of its stamp by each of noshear, 1p, 1m, 2p, 2m, and
convolved with a round Gaussian a little larger than the PSF.  The shear response of the noise is cancelled by an
independent noise image that goes, turned by 90 degrees, through the same operation and is added ("fixnoise",
Sheldon & Huff 2017, section 3).  Metacalibration specification, section 7.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from shapempi.catalog import SHEAR_TYPES
from shapempi.kernels import _metacal
from shapempi.measure.moments import adaptive_moments, to_sky
from shapempi.params import Params, key

__all__ = [
    "MetacalImages",
    "MetacalParams",
    "TargetName",
    "dilation_of",
    "find_targets",
    "fourier_period",
    "metacal_images",
    "shear_components",
    "shear_matrix",
    "sheared_weight",
]

#: The ways to find the target PSF.
TargetName = Literal["gauss", "azgauss", "fitgauss", "dilate"]

#: Direction of the shear of each type, in units of the step.
_DIRECTION: Mapping[str, tuple[int, int]] = MappingProxyType(
    {"noshear": (0, 0), "1p": (1, 0), "1m": (-1, 0), "2p": (0, 1), "2m": (0, -1)}
)


class MetacalParams(Params):
    """Metacalibration images."""

    step: float = key(0.01, "Shear that is applied to the images, in each direction.", gt=0, le=0.1)
    target_psf: TargetName = key(
        "azgauss",
        "The target PSF, a round Gaussian: azgauss from the azimuthal mean of the PSF's transform, gauss from the "
        "smallest wavenumber at which it falls below 0.01 (sensitive to noise in the PSF), fitgauss from the PSF's "
        "adaptive moments; or dilate, the PSF itself, a little larger, which keeps its shape.",
    )
    target_sigma: float = key(
        0.0, "Sigma of the target PSF, the same for all epochs; 0 finds it from each epoch's PSF.", unit="arcsec", ge=0
    )


class MetacalImages(NamedTuple):
    """The metacalibration images of stamps.

    Attributes
    ----------
    images : dict of str to ndarray [..., y, x]
        The images of each type, in the order asked for; NaN where a stamp cannot be computed.
    target_sigma : float or ndarray of float64 [...]
        Sigma of the target PSF [arcsec], the same for all types; NaN where there is none.  Of `dilate`, which is no
        Gaussian, that of the Gaussian with its adaptive moments' T, without its shape.
    """

    images: dict[str, np.ndarray]
    target_sigma: float | np.ndarray


def shear_components(types: Sequence[str], step: float) -> np.ndarray:
    """Return the shear g1, g2 of each type, as an array [n_type, 2].

    Raises
    ------
    ValueError
        If a type is unknown.
    """
    unknown = [kind for kind in types if kind not in _DIRECTION]
    if unknown:
        raise ValueError(f"unknown metacalibration type {unknown[0]!r}; the types are {', '.join(_DIRECTION)}")
    return step * np.array([_DIRECTION[kind] for kind in types], dtype=float).reshape(-1, 2)


def shear_matrix(kind: str, step: float) -> np.ndarray:
    """Return the matrix [2, 2] by which a type shears positions (u, v): symmetric, determinant 1."""
    g1, g2 = shear_components([kind], step)[0]
    return np.array([[1.0 + g1, g2], [g2, 1.0 - g1]]) / np.sqrt(1.0 - g1**2 - g2**2)


def sheared_weight(weight: np.ndarray) -> np.ndarray:
    """Return the inverse variance after the noise image, of the same variance, was added: half."""
    return 0.5 * weight


def fourier_period(size: int) -> int:
    """Return the period [pixel] of the Fourier lattice for stamps of a side.

    It is the one that GalSim draws with: 128, or for larger stamps the first of 2^n and 3 2^n that is not less than
    twice the side.
    """
    powers = [2**n for n in range(7, 13)]
    return min(period for period in (*powers, *(3 * power // 2 for power in powers)) if period >= 2 * size)


def _moments_sigma(psf: np.ndarray, jacobian: np.ndarray, n_threads: int) -> np.ndarray:
    """Return the sigma [arcsec] of the target `fitgauss`, before its dilation.

    With T and the distortion e of the PSF's adaptive moments on the sky, the target is a round Gaussian of
    T min(1.1, 1 + 2 (sqrt(1 + e) - 1)): large enough along the major axis, too.
    """
    rows = adaptive_moments(psf, n_threads=n_threads)
    g1, g2, T = to_sky(rows["g1"], rows["g2"], rows["sigma"], jacobian)
    g = np.hypot(g1, g2)
    factor = np.minimum(1.1, 1.0 + 2.0 * (np.sqrt(1.0 + 2.0 * g / (1.0 + g**2)) - 1.0))
    return np.where(rows["flag"] == 0, np.sqrt(0.5 * T * factor), np.nan)


def _dilated_sigma(psf: np.ndarray, jacobian: np.ndarray, dilation: float, n_threads: int) -> np.ndarray:
    """Return the sigma [arcsec] of the round Gaussian that is as large as the target `dilate`.

    T of the PSF's adaptive moments without that of the pixel is dilated; the pixel is not.
    """
    rows = adaptive_moments(psf, n_threads=n_threads)
    _, _, T = to_sky(rows["g1"], rows["g2"], rows["sigma"], jacobian)
    pixel = np.sum(jacobian**2, axis=1) / 12.0
    size = dilation**2 * (T - pixel) + pixel
    return np.where((rows["flag"] == 0) & (size > 0), np.sqrt(0.5 * np.maximum(size, 0.0)), np.nan)


def find_targets(
    psf: np.ndarray,
    jacobian: np.ndarray,
    target: str | float | np.ndarray,
    step: float,
    *,
    isa: str = "auto",
    n_threads: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the target PSF of each stamp, and where its PSF's transform ends.

    Parameters
    ----------
    psf : ndarray of float64 [n, y, x]
        PSFs with the pixel in them.
    jacobian : ndarray of float64 [n, 4]
        dudx, dudy, dvdx, dvdy [arcsec/pixel].
    target : str, float or ndarray of float64 [n]
        The rule, or the final sigma [arcsec] itself.
    step : float
        Shear of the images: a target that is found is dilated by 1 + 2 step, so that it still ends before the
        sheared PSF's transform does.
    isa : str, optional
        Instruction set of the kernel.
    n_threads : int, optional
        Threads; the result does not depend on it.

    Returns
    -------
    sigma : ndarray of float64 [n]
        Sigma of the target [arcsec]; NaN if there is none.
    max_k : ndarray of float64 [n]
        Wavenumber [1/arcsec] beyond which nothing is deconvolved; NaN if the PSF is unusable.

    Raises
    ------
    ValueError
        If the name is unknown or a sigma is not positive.
    """
    rule = target if isinstance(target, str) and target in ("gauss", "azgauss") else "none"
    max_k, sigma = _metacal.band(psf, jacobian, target=rule, isa=isa, n_threads=n_threads)
    if not isinstance(target, str):
        given = np.broadcast_to(np.asarray(target, dtype=float), max_k.shape)
        if not (given > 0).all():
            raise ValueError(f"the target's sigma must be positive, not {target}")
        return np.where(np.isfinite(max_k), given, np.nan), max_k
    if target == "fitgauss":
        with np.errstate(all="ignore"):  # what a useless Jacobian gives is not taken
            sigma = (1.0 + 2.0 * step) * _moments_sigma(psf, jacobian, n_threads)
    elif target == "dilate":
        with np.errstate(all="ignore"):
            sigma = _dilated_sigma(psf, jacobian, dilation_of(target, step), n_threads)
    elif rule == "none":
        raise ValueError(f"unknown target PSF {target!r}; give gauss, azgauss, fitgauss, dilate or a sigma in arcsec")
    else:
        sigma *= 1.0 + 2.0 * step
    return np.where(np.isfinite(max_k), sigma, np.nan), max_k


def dilation_of(target: str | float | np.ndarray, step: float) -> float:
    """Return the factor by which the target `dilate` is larger than the PSF; 0 for all others, Gaussians."""
    return 1.0 + 2.0 * step if isinstance(target, str) and target == "dilate" else 0.0


def metacal_images(
    image: ArrayLike,
    psf: ArrayLike,
    jacobian: ArrayLike,
    *,
    noise: ArrayLike | None = None,
    target: str | ArrayLike = "azgauss",
    step: float = 0.01,
    types: Sequence[str] = SHEAR_TYPES,
    dtype: DTypeLike = np.float64,
    isa: str = "auto",
    n_threads: int = 1,
) -> MetacalImages:
    """Make the metacalibration images of one stamp or of many.

    Parameters
    ----------
    image : array_like of float [..., y, x]
        Background-subtracted stamps, masked pixels filled; square, of one odd side.  The shear acts about the
        central pixel.
    psf : array_like of float [..., y, x]
        PSFs with the pixel in them, centred on stamps of the same side.  Their sums do not matter.
    jacobian : array_like of float [..., 4]
        dudx, dudy, dvdx, dvdy [arcsec/pixel], u West, v North: any shear, rotation or flip.
    noise : array_like of float [..., y, x], optional
        Independent noise of the images' level (variance per pixel).  It is added, processed, to cancel the shear
        response of the images' own noise; the inverse variance of the result is then half the images'.
    target : {"azgauss", "gauss", "fitgauss", "dilate"} or float or array_like of float [...], optional
        The rule by which the round Gaussian target PSF is found, or its final sigma [arcsec].  `dilate` is no
        Gaussian but the PSF itself, larger by 1 + 2 step, its pixel left as it is: it keeps the PSF's shape.
    step : float, optional
        Shear, in each direction; at most 0.1.
    types : sequence of str, optional
        Which images: some of noshear, 1p, 1m, 2p, 2m.
    dtype : float64 or float32, optional
        Precision of the arithmetic and of the images.
    isa : str, optional
        Instruction set: "auto", or one of `shapempi.kernels._isa.available()`.
    n_threads : int, optional
        Threads; the result does not depend on it.

    Returns
    -------
    MetacalImages
        `images`, a dictionary of arrays of `dtype` [..., y, x], and `target_sigma` [...].  A stamp that cannot be
        computed (a value that is not finite, a PSF without positive sum or size, a singular Jacobian) is NaN.

    Raises
    ------
    ValueError
        If shapes do not fit each other, a name is unknown, or a number is out of its range.

    Notes
    -----
    Nothing is interpolated: both Fourier transforms are exact, on lattices that are sheared with the image (see
    `cext/metacal.h`).  GalSim interpolates in Fourier space and differs by some 1e-5 of the peak.  The deconvolution
    ends where the target's transform falls below 1e-5, and where that of the PSF falls below 1e-3.
    """
    stamps = np.asarray(image, dtype=float)
    if stamps.ndim < 2:
        raise ValueError(f"image must have the shape [..., y, x], not {stamps.shape}")
    if not 0 < step <= 0.1:
        raise ValueError(f"the step must be above 0 and at most 0.1, not {step}")
    batch, size = stamps.shape[:-2], stamps.shape[-1]
    flat = np.ascontiguousarray(stamps).reshape(-1, *stamps.shape[-2:])
    psfs = _scaled(_array(psf, stamps.shape, "psf").reshape(flat.shape))
    jacobians = _array(jacobian, (*batch, 4), "jacobian").reshape(-1, 4)
    noises = None if noise is None else _array(noise, stamps.shape, "noise").reshape(flat.shape)
    rule = target if isinstance(target, str) else _given_target(target, batch).ravel()
    sigma, max_k = find_targets(psfs, jacobians, rule, step, isa=isa, n_threads=n_threads)
    made = _metacal.images(
        flat,
        psfs,
        jacobians,
        sigma,
        max_k,
        shear_components(types, step),
        noise=noises,
        dilation=dilation_of(rule, step),
        period=fourier_period(size),
        dtype=dtype,
        isa=isa,
        n_threads=n_threads,
    )
    images = {kind: made[:, i].reshape(stamps.shape) for i, kind in enumerate(types)}
    return MetacalImages(images, sigma.reshape(batch) if batch else float(sigma[0]))


def _scaled(psf: np.ndarray) -> np.ndarray:
    """Return PSFs [n, y, x] times powers of two, their largest pixels about 1, so that single precision holds them."""
    largest = np.abs(psf).max(axis=(1, 2), initial=0.0)
    exponent = np.frexp(np.where(np.isfinite(largest), largest, 1.0))[1]
    return psf * np.ldexp(1.0, -np.clip(exponent, -1000, 1000))[:, None, None]


def _given_target(sigma: ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    """Return the sigma of each stamp's target, and refuse another shape."""
    values = np.asarray(sigma, dtype=float)
    if values.shape not in ((), shape):
        raise ValueError(f"target must be a name, a sigma or an array of the shape {shape}, not {values.shape}")
    return np.broadcast_to(values, shape)


def _array(array: ArrayLike, shape: tuple[int, ...], name: str) -> np.ndarray:
    """Return an array as float64, contiguous, and refuse another shape."""
    values = np.ascontiguousarray(array, dtype=float)
    if values.shape != shape:
        raise ValueError(f"{name} must have the shape {shape}, not {values.shape}")
    return values
