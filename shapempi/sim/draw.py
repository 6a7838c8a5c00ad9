"""Drawing: the noiseless light of the sky on one CCD, each object with the PSF and the Jacobian of its place."""

from __future__ import annotations

import galsim
import numpy as np
from scipy.special import gamma

from shapempi.sim.params import PsfFieldParams, SimulationParams
from shapempi.sim.plan import CcdPlan, ExposurePlan, ccd_shape, datasec
from shapempi.sim.scene import ObjectType, add_shears, near_ccd, sersic_b

__all__ = ["draw_ccd", "sky_sigma", "stamp_radius"]


def sky_sigma(params: SimulationParams) -> float:
    """Return the noise of an empty pixel of an exposure [ADU]."""
    camera = params.camera
    return float(np.sqrt(params.pointing.sky_level / camera.gain + (camera.read_noise / camera.gain) ** 2))


def _wing_radius(flux: np.ndarray, limit: float, psf: PsfFieldParams) -> np.ndarray:
    """Return where a star falls below a surface brightness [flux arcsec^-2]: r in arcsec."""
    scale = psf.fwhm / (2 * np.sqrt(2 ** (1 / psf.beta) - 1))
    centre = flux * (psf.beta - 1) / (np.pi * scale**2)
    return scale * np.maximum(centre / limit, 1.0) ** (0.5 / psf.beta)


def _disc_radius(rows: np.ndarray, flux: np.ndarray, limit: float) -> np.ndarray:
    """Return where the unconvolved galaxies fall below a surface brightness [flux arcsec^-2]: r in arcsec."""
    n = np.maximum(rows["sersic"], 1).astype(float)
    b = sersic_b(n)
    hlr = np.maximum(rows["hlr"], 1e-3)
    centre = flux / (2 * np.pi * n * hlr**2 * b ** (-2 * n) * gamma(2 * n))
    round_radius = hlr * (np.log(np.maximum(centre / limit, 1.0)) / b) ** n
    g = np.minimum(np.hypot(*add_shears(rows)), 0.8)
    return np.where(rows["type"] == ObjectType.GALAXY, round_radius * np.sqrt((1 + g) / (1 - g)), 0.0)


def stamp_radius(rows: np.ndarray, flux: np.ndarray, params: SimulationParams) -> np.ndarray:
    """Return how far from its centre each object is drawn.

    Parameters
    ----------
    rows : ndarray of SCENE_DTYPE [n]
        The objects.
    flux : ndarray of float64 [n]
        Their counts [ADU].
    params : SimulationParams
        The survey; `draw_limit`, `draw_min`, `draw_max`.

    Returns
    -------
    ndarray of int [n]
        Half side of the stamp [pixel].
    """
    scale = params.camera.pixel_scale
    limit = params.draw_limit * sky_sigma(params) / scale**2
    radius = np.maximum(_wing_radius(flux, limit, params.psf), _disc_radius(rows, flux, limit) + 1.5 * params.psf.fwhm)
    return np.clip(np.ceil(radius / scale), params.draw_min, params.draw_max).astype(int)


def _halo(radius: float, dx: float, dy: float, half: int) -> np.ndarray:
    """Return a bright star's halo, unit sum: a disc with a soft edge, brighter at the rim, as reflections make it."""
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    r = np.hypot(x - dx, y - dy) / radius
    image = (0.6 + 0.4 * r**4) * np.clip((1.02 - r) / 0.04, 0.0, 1.0)
    return image / image.sum()


def _add(image: np.ndarray, stamp: np.ndarray, x: int, y: int) -> None:
    """Add the part of an odd-sized stamp, centred on pixel (x, y), that lies on the image."""
    half = stamp.shape[0] // 2
    ny, nx = image.shape
    y0, y1 = max(y - half, 0), min(y + half + 1, ny)
    x0, x1 = max(x - half, 0), min(x + half + 1, nx)
    if y0 < y1 and x0 < x1:
        image[y0:y1, x0:x1] += stamp[y0 - y + half : y1 - y + half, x0 - x + half : x1 - x + half]


def _profile(row: np.ndarray, g: tuple[float, float]) -> galsim.GSObject:
    """Return a galaxy of unit flux, sheared."""
    if row["sersic"] == 4:
        profile = galsim.DeVaucouleurs(half_light_radius=float(row["hlr"]))
    else:
        profile = galsim.Exponential(half_light_radius=float(row["hlr"]))
    return profile.shear(g1=g[0], g2=g[1])


def draw_ccd(scene: np.ndarray, exposure: ExposurePlan, ccd: CcdPlan, params: SimulationParams) -> np.ndarray:
    """Draw all objects on one CCD.

    Parameters
    ----------
    scene : ndarray of SCENE_DTYPE [n]
        The true objects.
    exposure : ExposurePlan
        The exposure: zero point and PSF.
    ccd : CcdPlan
        The CCD; it must have pixels.
    params : SimulationParams
        The survey.

    Returns
    -------
    ndarray of float64 [y, x]
        Counts above the sky [ADU], without noise; 0 in the overscan.
    """
    assert ccd.wcs is not None
    image = np.zeros(ccd_shape(params.camera))
    y0, y1, x0, x1 = datasec(params.camera)
    area = image[y0:y1, x0:x1]
    stars = params.stars
    reach = max(params.draw_max, stars.halo_radius)
    rows = scene[near_ccd(scene, ccd.wcs, params, reach)]
    x, y = ccd.wcs.sky_to_pixel(rows["ra"], rows["dec"])
    x, y = x - x0, y - y0
    flux = 10 ** (-0.4 * (rows["mag"] - exposure.mag_zp))
    half = stamp_radius(rows, flux, params)
    limit = params.draw_limit * sky_sigma(params)
    has_halo = (rows["type"] == ObjectType.STAR) & (flux * stars.halo_fraction > limit * np.pi * stars.halo_radius**2)
    extent = np.where(has_halo, np.maximum(half, 1.05 * stars.halo_radius), half) + 1
    keep = (x > -extent) & (x < area.shape[1] + extent) & (y > -extent) & (y < area.shape[0] + extent)
    rows, x, y, flux, half, has_halo = (v[keep] for v in (rows, x, y, flux, half, has_halo))
    if len(rows) == 0:
        return image
    jacobians = ccd.wcs.jacobian(x + x0, y + y0)
    fwhm, psf_g1, psf_g2 = exposure.psf.evaluate(rows["ra"], rows["dec"])
    g1, g2 = add_shears(rows)
    for i, row in enumerate(rows):
        centre_x, centre_y = int(np.rint(x[i])), int(np.rint(y[i]))
        dx, dy = float(x[i]) - centre_x, float(y[i]) - centre_y
        light = float(flux[i])
        if has_halo[i]:
            ring = _halo(stars.halo_radius, dx, dy, int(1.05 * stars.halo_radius) + 1)
            _add(area, ring * (light * stars.halo_fraction), centre_x, centre_y)
            light *= 1 - stars.halo_fraction
        profile = galsim.Moffat(beta=exposure.psf.beta, fwhm=float(fwhm[i])).shear(
            g1=float(psf_g1[i]), g2=float(psf_g2[i])
        )
        if row["type"] == ObjectType.GALAXY:
            profile = galsim.Convolve(_profile(row, (float(g1[i]), float(g2[i]))), profile)
        size = 2 * int(half[i]) + 1
        stamp = galsim.ImageD(size, size)
        wcs = galsim.JacobianWCS(*(float(v) for v in jacobians[i]))
        profile.withFlux(light).drawImage(image=stamp, wcs=wcs, offset=(dx, dy), method="auto")
        _add(area, stamp.array, centre_x, centre_y)
    return image
