"""The noiseless light: position, flux and the frame of the shear, on CCDs of both orientations."""

from __future__ import annotations

import galsim
import numpy as np
import pytest
from sim.tiny_sky import tiny_params

from shapempi.sim.draw import draw_ccd
from shapempi.sim.plan import datasec, plan_survey
from shapempi.sim.scene import SCENE_DTYPE, ObjectType

CONSTANT = {"psf": {"constant": True}, "draw_min": 40}


def one_object(params, ccd, **values):
    """Draw one object near the middle of a CCD; return the image and where it should be."""
    plan = plan_survey(params)
    exposure = next(e for e in plan.exposures if e.ccds[ccd].active)
    row = np.zeros(1, SCENE_DTYPE)
    x, y = np.array([105.3]), np.array([130.8])
    row["ra"], row["dec"] = exposure.ccds[ccd].wcs.pixel_to_sky(x, y)
    for name, value in {"mag": 19.0, "sersic": 1, "hlr": 0.4, **values}.items():
        row[name] = value
    return draw_ccd(row, exposure, exposure.ccds[ccd], params), x[0], y[0], exposure


@pytest.mark.parametrize("ccd", [22, 13])
@pytest.mark.parametrize("kind", [ObjectType.STAR, ObjectType.GALAXY])
def test_objects_have_their_position_and_flux(ccd, kind):
    image, x, y, exposure = one_object(tiny_params(**CONSTANT), ccd, type=kind)
    grid_y, grid_x = np.mgrid[: image.shape[0], : image.shape[1]]
    total = image.sum()
    assert (grid_x * image).sum() / total == pytest.approx(x, abs=0.01)
    assert (grid_y * image).sum() / total == pytest.approx(y, abs=0.01)
    assert exposure.mag_zp - 2.5 * np.log10(total) == pytest.approx(19.0, abs=0.002)


@pytest.mark.parametrize("ccd", [22, 13])
@pytest.mark.parametrize(("g1", "g2"), [(0.3, 0.0), (0.0, 0.3), (-0.2, 0.1)])
def test_shear_is_in_the_frame_west_north(ccd, g1, g2):
    """Both orientations have their axes along (West, North) but for the sign, so pixels and sky agree."""
    image, *_ = one_object(tiny_params(**CONSTANT), ccd, type=ObjectType.GALAXY, g1=g1, g2=g2)
    found = galsim.hsm.FindAdaptiveMom(galsim.Image(image)).observed_shape
    expected = galsim.Convolve(
        galsim.Exponential(half_light_radius=0.4).shear(g1=g1, g2=g2), galsim.Moffat(beta=3.5, fwhm=0.7)
    )
    stamp = expected.drawImage(nx=81, ny=81, scale=0.187)
    expected = galsim.hsm.FindAdaptiveMom(stamp).observed_shape
    assert (found.g1, found.g2) == pytest.approx((expected.g1, expected.g2), abs=0.003)


def test_intrinsic_shape_and_shear_add_as_galsim_adds_them():
    params = tiny_params(**CONSTANT)
    image, *_ = one_object(params, 22, type=ObjectType.GALAXY, g1_int=0.2, g2_int=-0.1, g1=0.1, g2=0.05)
    total = galsim.Shear(g1=0.1, g2=0.05) + galsim.Shear(g1=0.2, g2=-0.1)
    same, *_ = one_object(params, 22, type=ObjectType.GALAXY, g1=total.g1, g2=total.g2)
    np.testing.assert_allclose(image, same, atol=1e-6 * image.max())


def test_de_vaucouleurs_galaxies_have_wide_wings():
    params = tiny_params(**CONSTANT)
    disc, x, y, _ = one_object(params, 22, type=ObjectType.GALAXY)
    bulge, *_ = one_object(params, 22, type=ObjectType.GALAXY, sersic=4)
    grid_y, grid_x = np.mgrid[: disc.shape[0], : disc.shape[1]]
    wings = np.hypot(grid_x - x, grid_y - y) > 3 / 0.187
    assert bulge[wings].sum() > 3 * disc[wings].sum()
    assert bulge.sum() == pytest.approx(disc.sum(), rel=0.06)


def test_halo_keeps_the_flux_and_reaches_its_radius():
    params = tiny_params(**CONSTANT, stars={"halo_fraction": 0.05, "halo_radius": 60.0})
    image, x, y, exposure = one_object(params, 22, type=ObjectType.STAR, mag=12.0)
    y1 = datasec(params.camera)[1]
    grid_y, grid_x = np.mgrid[: image.shape[0], : image.shape[1]]
    r = np.hypot(grid_x - x, grid_y - y)
    flux = 10 ** (-0.4 * (12.0 - exposure.mag_zp))
    assert image.sum() == pytest.approx(flux, rel=0.01)
    assert image[(r > 50) & (r < 58)].min() > 2 * 0.5 * 0.05 * flux / (np.pi * 60**2) / 2
    assert image[(r > 64) & (grid_y < y1)].max() < 0.02 * image[(r > 50) & (r < 58)].min()


def test_light_of_stars_outside_reaches_in_and_the_overscan_stays_dark():
    params = tiny_params(**CONSTANT)
    plan = plan_survey(params)
    exposure = plan.exposures[0]
    ccd = exposure.ccds[22]
    row = np.zeros(1, SCENE_DTYPE)
    row["type"], row["mag"] = ObjectType.STAR, 15.0
    row["ra"], row["dec"] = ccd.wcs.pixel_to_sky(np.array([3.0]), np.array([100.0]))  # in the overscan
    image = draw_ccd(row, exposure, ccd, params)
    assert image[100, params.camera.overscan_x] > 100
    assert (image[:, : params.camera.overscan_x] == 0).all()
    assert (image[params.camera.ccd_height :] == 0).all()
