"""Stamps of simulated pairs, ready to be measured: every pair under both signs of the shear, with the same noise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from shapempi.calibration.lattice import Lattice
from shapempi.calibration.params import LARGEST_SHAPE, CaseParams, ViewParams
from shapempi.calibration.population import Pairs
from shapempi.calibration.profiles import moffat_scale, moffat_transform, spergel_scale, spergel_transform
from shapempi.flags import PixelFlag
from shapempi.vignet import VignetStacks

__all__ = ["StampMaker", "Variant", "shear_matrix", "variants", "view_jacobian"]

#: What is neglected: the light beyond where a wing is this fraction of the peak, and modes with this fraction of the
#: flux.  All of a PSF's light enters its normalization; a galaxy's limits are those of the most elongated ones.
_PSF_WING, _GALAXY_WING, _POINT_MODE, _GALAXY_MODE = 1e-9, 1e-8, 1e-10, 1e-8

#: What a masked pixel holds, in units of the noise; nobody must see it.
_GARBAGE = 1e4


class Variant(NamedTuple):
    """Signs with which the PSF's shape and the shear are applied."""

    psf: int
    shear: int


def variants(case: CaseParams) -> tuple[Variant, ...]:
    """Return the variants in which each pair of a case is measured."""
    elliptic = any(view.psf_g1 != 0 or view.psf_g2 != 0 for view in case.views)
    return tuple(
        Variant(psf, shear) for psf in ((1, -1) if elliptic else (1,)) for shear in ((1,) if case.stars else (1, -1))
    )


def shear_matrix(g: np.ndarray) -> np.ndarray:
    """Return the matrices [..., 2, 2] of reduced shears [..., 2], of determinant 1, in the frame (u, v)."""
    g1, g2 = np.moveaxis(np.asarray(g, dtype=float), -1, 0)
    rows = [np.stack([1.0 + g1, g2], axis=-1), np.stack([g2, 1.0 - g1], axis=-1)]
    return np.stack(rows, axis=-2) / np.sqrt(1.0 - g1**2 - g2**2)[..., None, None]


def view_jacobian(view: ViewParams) -> np.ndarray:
    """Return dudx, dudy, dvdx, dvdy [arcsec/pixel] of a view: mirror, then rotation, then shear."""
    angle = np.radians(view.rotation)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    mirror = np.diag([-1.0 if view.flip else 1.0, 1.0])
    return (view.pixel_scale * shear_matrix(np.array([view.wcs_g1, view.wcs_g2])) @ rotation @ mirror).ravel()


class _Exposure:
    """One view of a case: where its images are made, and its PSF with either sign of the shape.

    Attributes
    ----------
    jacobian : ndarray of float64 [4]
        Of the view.
    lattice : Lattice
        For the objects.
    transform : mapping of int to ndarray of float64 [j, i]
        Transform of PSF and pixel on the lattice, by the sign of the PSF's shape.
    psf : mapping of int to ndarray of float64 [y, x]
        The PSF's stamp, unit sum.
    """

    def __init__(self, case: CaseParams, view: ViewParams, size: int) -> None:
        self.jacobian = view_jacobian(view)
        g = np.array([view.psf_g1, view.psf_g2])
        scale = moffat_scale(view.fwhm, view.beta)
        k_psf, radius_psf = _psf_reach(view.beta, scale, float(np.hypot(*g)))
        point = Lattice(self.jacobian, size, k_psf, radius_psf)
        self.lattice = point
        if not case.stars:
            k_max, radius = _galaxy_reach(case, view.beta, scale / _stretch(float(np.hypot(*g))))
            self.lattice = Lattice(self.jacobian, size, min(k_max, k_psf), max(radius, radius_psf))
        self.transform: dict[int, np.ndarray] = {}
        self.psf: dict[int, np.ndarray] = {}
        for sign in (1, -1):
            A = shear_matrix(sign * g)
            on_point, self.transform[sign] = (
                grid.pixel * moffat_transform(scale * np.sqrt(np.maximum(grid.k_squared(A @ A), 0.0)), view.beta)
                for grid in (point, self.lattice)
            )
            stamp = point.draw(on_point[None], np.zeros(2))[0]
            self.psf[sign] = stamp / stamp.sum()


def _stretch(g: float) -> float:
    """Return by how much a shear stretches the longer axis and shrinks the shorter one."""
    return float(np.sqrt((1.0 + g) / (1.0 - g)))


def _psf_reach(beta: float, scale: float, g: float) -> tuple[float, float]:
    """Return the wavenumber [1/arcsec] and the radius [arcsec] from which on a PSF is negligible."""
    x = np.linspace(1.0, 60.0, 1000)
    end = x[np.argmax(moffat_transform(x, beta) < _POINT_MODE)]
    return end / scale * _stretch(g), scale * _stretch(g) * _PSF_WING ** (-0.5 / beta)


def _galaxy_reach(case: CaseParams, beta: float, scale: float) -> tuple[float, float]:
    """Return the same of all galaxies of a case convolved with a round PSF of this scale."""
    unit = spergel_scale(case.nu)
    stretch = _stretch(LARGEST_SHAPE) * _stretch(float(np.hypot(case.g1, case.g2)))
    x = np.linspace(0.0, 60.0, 1000)
    thin = case.hlr_min / unit / stretch / scale
    total = moffat_transform(x, beta) * spergel_transform((x * thin) ** 2, case.nu)
    end = x[np.argmax(total < _GALAXY_MODE)]
    return end / scale, -np.log(_GALAXY_WING) * case.hlr_max / unit * stretch


class StampMaker:
    """Makes the stamps of one case.

    Parameters
    ----------
    case : CaseParams
        The case.
    size : int
        Side of the stamps [pixel], odd.
    """

    def __init__(self, case: CaseParams, size: int) -> None:
        self._case = case
        self._size = size
        self._unit = spergel_scale(case.nu)
        self._exposures = [_Exposure(case, view, size) for view in case.views]

    def stacks(self, pairs: Pairs) -> Iterator[tuple[Variant, VignetStacks]]:
        """Make the stamps of pairs in every variant.

        Parameters
        ----------
        pairs : Pairs
            The pairs, of this case.

        Yields
        ------
        Variant
            The signs of PSF and shear.
        VignetStacks
            Two objects per pair, in order, with the same `place` and noise in all variants.
        """
        kinds = variants(self._case)
        clean = self.clean(pairs)
        # One brightness for all variants: the ratio is that of the mean of signal squared.
        signal = np.sqrt(np.sum(clean**2, axis=(3, 4, 5)).mean(axis=(1, 2)))
        flux = pairs.s2n / signal
        masked = self._masked(pairs)
        n, _, _, n_epoch, size, _ = clean.shape
        rows = 2 * n * n_epoch
        weight = np.where(masked, 0.0, 1.0).astype(np.float32).reshape(rows, size, size)
        flag = np.where(masked, int(PixelFlag.WEIGHT), 0).astype(np.int32).reshape(rows, size, size)
        place = (2 * pairs.number[:, None] + np.arange(2)).ravel()
        for i, kind in enumerate(kinds):
            image = np.where(masked, _GARBAGE, clean[:, i] * flux[:, None, None, None, None] + pairs.noise)
            yield (
                kind,
                VignetStacks(
                    number=(place + 1).astype(np.int32),
                    place=place,
                    first=np.arange(0, rows + 1, n_epoch),
                    image=image.astype(np.float32).reshape(rows, size, size),
                    weight=weight,
                    flag=flag,
                    psf=np.tile(np.stack([each.psf[kind.psf] for each in self._exposures]), (2 * n, 1, 1)),
                    jacobian=np.tile(np.stack([each.jacobian for each in self._exposures]), (2 * n, 1)),
                    offset=np.repeat(pairs.offset[:, None], 2, axis=1).reshape(rows, 2),
                    exposure=np.tile(np.arange(1000000, 1000000 + n_epoch, dtype=np.int32), 2 * n),
                    ccd=np.zeros(rows, np.int32),
                ),
            )

    def clean(self, pairs: Pairs) -> np.ndarray:
        """Return images of unit flux without noise.

        Parameters
        ----------
        pairs : Pairs
            The pairs.

        Returns
        -------
        ndarray of float64 [n, variant, 2, epoch, y, x]
            The images of both objects of each pair in every variant.
        """
        kinds = variants(self._case)
        n, size = len(pairs.number), self._size
        images = np.zeros((n, len(kinds), 2, len(self._exposures), size, size))
        shapes = np.stack([self._distortion(pairs, kind) for kind in kinds], axis=1)  # [n, variant, 2, 2, 2]
        for e, exposure in enumerate(self._exposures):
            psf = np.stack([exposure.transform[kind.psf] for kind in kinds])[:, None]
            for i in range(n):  # one pair's transforms stay in the cache
                if self._case.stars:
                    total = np.broadcast_to(psf, (len(kinds), 2, *psf.shape[2:]))
                else:
                    r0 = pairs.hlr[i] / self._unit
                    total = psf * spergel_transform(exposure.lattice.k_squared(r0**2 * shapes[i]), self._case.nu)
                drawn = exposure.lattice.draw(total.reshape(-1, *psf.shape[2:]), pairs.offset[i, e])
                images[i, :, :, e] = drawn.reshape(len(kinds), 2, size, size)
        return images

    def _distortion(self, pairs: Pairs, kind: Variant) -> np.ndarray:
        """Return A A^T [n, 2, 2, 2] of both galaxies of each pair, sheared after their intrinsic shape."""
        lens = shear_matrix(kind.shear * np.array([self._case.g1, self._case.g2]))
        intrinsic = shear_matrix(np.stack([pairs.g, -pairs.g], axis=1))
        A = lens @ intrinsic
        return A @ np.swapaxes(A, -1, -2)

    def _masked(self, pairs: Pairs) -> np.ndarray:
        """Return the masked pixels, bool [n, 2, epoch, y, x]."""
        n, size = len(pairs.number), self._size
        masked = np.zeros((n, 2, len(self._exposures), size, size), dtype=bool)
        count = round(self._case.masked_fraction * size**2)
        if count == 0:
            return masked
        grid = np.arange(size) - 0.5 * (size - 1)
        for e, exposure in enumerate(self._exposures):
            dudx, dudy, dvdx, dvdy = exposure.jacobian
            x = grid[None, None, :] - pairs.offset[:, e, 0, None, None]
            y = grid[None, :, None] - pairs.offset[:, e, 1, None, None]
            core = np.hypot(dudx * x + dudy * y, dvdx * x + dvdy * y) < self._case.mask_radius
            order = np.where(core[:, None], 2.0, pairs.order[:, :, e]).reshape(n, 2, -1)
            last = np.partition(order, count - 1, axis=-1)[..., count - 1 : count]
            masked[:, :, e] = ((order <= last) & (order < 1.0)).reshape(n, 2, size, size)
        return masked
