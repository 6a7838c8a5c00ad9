"""Coaddition: flux, position, weights and what flagged pixels do."""

from __future__ import annotations

import galsim
import numpy as np
import pytest
from sim.tiny_sky import tiny_params

from shapempi.image import Image
from shapempi.sim.coadd import coadd, sky_plane
from shapempi.sim.detector import Defect
from shapempi.sim.plan import ccd_shape, datasec, plan_survey


def make_inputs(data, flag=None, sigma=5.0):
    """Return the two exposures' CCDs with these pixels in the imaging area, and the tile."""
    params = tiny_params()
    plan = plan_survey(params)
    y0, y1, x0, x1 = datasec(params.camera)
    images = []
    for exposure in plan.exposures:
        for ccd in exposure.active_ccds:
            plane = np.zeros((y1 - y0, x1 - x0), np.int32) if flag is None else flag(ccd)
            images.append(
                Image(
                    data=data(ccd).astype(np.float32),
                    weight=np.where(plane == 0, sigma**-2, 0).astype(np.float32),
                    flag=plane,
                    wcs=ccd.wcs,
                    origin=(y0, x0),
                    full_shape=ccd_shape(params.camera),
                    valid_box=(y0, y1, x0, x1),
                    gain=1.6,
                    saturate=6e4,
                    mag_zp=32.0,
                    flux_scale=exposure.flux_scale,
                    header="",
                    path="memory",
                )
            )
    return images, plan.tiles[0], plan


def star_at(ra, dec, flux):
    """Return a function that draws a Gaussian star of this many zero-point-30 counts on a CCD."""

    def draw(ccd):
        params = tiny_params()
        y0, _, x0, _ = datasec(params.camera)
        scale = next(e.flux_scale for e in plan_survey(params).exposures if e.number == ccd.id.exposure)
        image = galsim.ImageD(params.camera.ccd_width, params.camera.ccd_height)
        x, y = (float(v[0]) for v in ccd.wcs.sky_to_pixel(np.array([ra]), np.array([dec])))
        star = galsim.Gaussian(sigma=0.35, flux=flux / scale)
        dudx, dudy, dvdx, dvdy = ccd.wcs.jacobian(np.array([x]), np.array([y]))[0]
        star.drawImage(
            image=image,
            wcs=galsim.JacobianWCS(dudx, dudy, dvdx, dvdy),
            center=galsim.PositionD(x - x0 + 1, y - y0 + 1),
            method="auto",
        )
        return image.array

    return draw


def position(tile, x, y):
    return tuple(float(v[0]) for v in tile.wcs.pixel_to_sky(np.array([x]), np.array([y])))


def test_star_keeps_position_flux_and_size():
    """A Lanczos-3 kernel moves an image by up to 0.01 pixel, depending on where between pixels it falls."""
    _, tile, _ = make_inputs(lambda ccd: np.zeros((260, 200)))
    images, tile, _ = make_inputs(star_at(*position(tile, 60.3, 150.7), 1e5))
    image, _ = coadd(images, tile.wcs, tile.size)
    stamp = galsim.Image(image[130:172, 40:82].astype(float), xmin=40, ymin=130)
    moments = galsim.hsm.FindAdaptiveMom(stamp, guess_sig=2.0)
    assert moments.moments_centroid.x == pytest.approx(60.3, abs=0.01)
    assert moments.moments_centroid.y == pytest.approx(150.7, abs=0.01)
    assert image[130:172, 40:82].sum() == pytest.approx(1e5, rel=1e-3)
    alone = galsim.Gaussian(sigma=0.35).drawImage(nx=41, ny=41, scale=0.186)
    expected = galsim.hsm.FindAdaptiveMom(alone).moments_sigma
    assert moments.moments_sigma == pytest.approx(expected, rel=0.005)


def test_constant_noise_gives_the_weight_it_claims_and_not_more():
    rng = np.random.default_rng(4)
    images, tile, plan = make_inputs(lambda ccd: rng.normal(0, 5, (260, 200)))
    image, weight = coadd(images, tile.wcs, tile.size)
    both = weight > 0.75 * weight.max()
    scale = plan.exposures[0].flux_scale
    assert weight[both].mean() == pytest.approx(2 / (5 * scale) ** 2 * (0.187 / 0.186) ** 4, rel=0.03)
    # Interpolation correlates pixels, so a single pixel is somewhat quieter than its weight says.
    spread = np.std(image[both] * np.sqrt(weight[both]))
    assert 0.75 < spread < 1.0
    assert (image[weight == 0] == 0).all()


def test_flagged_pixels_are_left_out_and_bridged():
    def flag(ccd):
        plane = np.zeros((260, 200), np.int32)
        if ccd.id.ccd == 22:
            plane[60:140, 90] = Defect.COSMIC_RAY
        return plane

    def data(ccd):
        return np.where(flag(ccd) != 0, 1e4, 0.0)

    images, tile, _ = make_inputs(data, flag)
    image, weight = coadd(images, tile.wcs, tile.size)
    assert np.abs(image).max() < 1e-3
    once = (weight > 0.3 * weight.max()) & (weight < 0.7 * weight.max())
    assert np.count_nonzero(once) > 80


def test_saturated_stars_are_shown_without_weight():
    def flag(ccd):
        y0, _, x0, _ = datasec(tiny_params().camera)
        x, y = (v[0] for v in ccd.wcs.sky_to_pixel(*(np.array([v]) for v in position(plan_tile, 60, 150))))
        grid_y, grid_x = np.mgrid[:260, :200]
        return np.where(np.hypot(grid_x + x0 - x, grid_y + y0 - y) < 6, Defect.SATURATED, 0).astype(np.int32)

    plan_tile = plan_survey(tiny_params()).tiles[0]
    images, tile, _ = make_inputs(lambda ccd: np.where(flag(ccd) != 0, 6e4, 0.0), flag)
    image, weight = coadd(images, tile.wcs, tile.size)
    assert weight[150, 60] == 0
    assert image[150, 60] > 5000
    assert weight[150, 80] > 0


def test_sky_plane_is_found_under_stars():
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:260, :200]
    data = 3.0 + 0.02 * (y - 129.5) - 0.01 * (x - 99.5) + rng.normal(0, 5, y.shape)
    for cx, cy in rng.uniform(0, 200, (20, 2)):
        data += 500 * np.exp(-0.5 * ((x - cx) ** 2 + (y - cy) ** 2) / 2.0**2)
    plane = sky_plane(data, np.ones(y.shape, bool))
    assert plane == pytest.approx([3.0, 0.02, -0.01], abs=0.5)
    assert abs(plane[1] - 0.02) < 0.005 and abs(plane[2] + 0.01) < 0.005


def test_sky_plane_without_pixels_is_zero():
    assert (sky_plane(np.ones((100, 100)), np.zeros((100, 100), bool)) == 0).all()
