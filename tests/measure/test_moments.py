import galsim
import numpy as np
import pytest
from numpy.testing import assert_allclose

from shapempi.measure.moments import MOMENTS_DTYPE, adaptive_moments, to_sky


def gaussian(g1=0.0, g2=0.0, sigma=2.0, dx=0.0, dy=0.0, flux=1.0, size=41, wcs=None):
    """Draw a sheared Gaussian without a pixel response."""
    profile = galsim.Gaussian(sigma=sigma, flux=flux).shear(g1=g1, g2=g2)
    wcs = wcs or galsim.PixelScale(1.0)
    return profile.drawImage(nx=size, ny=size, wcs=wcs, offset=(dx, dy), method="no_pixel", dtype=float).array


@pytest.mark.parametrize(("g1", "g2"), [(0.0, 0.0), (0.1, -0.05), (-0.3, 0.2)])
def test_a_gaussian_gives_its_own_parameters(g1, g2):
    row = adaptive_moments(gaussian(g1, g2, 2.5, 0.3, -0.2, flux=7.0)[None])[0]
    assert row["flag"] == 0
    assert_allclose([row["g1"], row["g2"]], [g1, g2], atol=2e-4)
    assert_allclose(row["sigma"], 2.5, rtol=1e-3)
    assert_allclose([row["x"], row["y"]], [0.3, -0.2], atol=1e-3)
    assert_allclose(row["flux"], 7.0, rtol=2e-3)


def test_the_scale_of_the_stamp_does_not_matter():
    stamp = gaussian(0.1, 0.1)
    rows = adaptive_moments(np.stack([stamp, 1e6 * stamp]))
    assert_allclose([rows["g1"][1], rows["sigma"][1]], [rows["g1"][0], rows["sigma"][0]], rtol=1e-6)


def test_masked_pixels_are_left_out_whatever_they_hold():
    stamp = gaussian(0.1, 0.0)
    weight = np.ones_like(stamp)
    weight[5, 30:36] = 0
    bad, worse = stamp.copy(), stamp.copy()
    bad[5, 30:36], worse[5, 30:36] = -1e30, np.nan
    rows = adaptive_moments(np.stack([stamp, bad, worse]), np.stack([weight] * 3))
    assert (rows["flag"] == 0).all()
    assert rows[0] == rows[1] == rows[2]
    assert_allclose(rows["g1"], 0.1, atol=1e-3)


def test_what_cannot_be_measured_is_flagged_and_empty():
    noise = np.random.default_rng(3).normal(size=(41, 41))
    stamps = np.stack([np.zeros((41, 41)), np.full((41, 41), np.nan), -gaussian(), noise * 1e-3 - 1, gaussian()])
    weights = np.ones_like(stamps)
    weights[4] = 0
    rows = adaptive_moments(stamps, weights)
    assert (rows["flag"] == 1).all()
    assert all(np.isnan(rows[name]).all() for name in MOMENTS_DTYPE.names if name != "flag")
    assert adaptive_moments(np.zeros((0, 5, 5))).shape == (0,)


def test_each_stamp_is_measured_alone():
    stamps = np.stack([gaussian(0.02 * i, 0.0, 1.5 + 0.1 * i) for i in range(6)])
    together = adaptive_moments(stamps)
    assert (together[::-1] == adaptive_moments(stamps[::-1])).all()
    assert all(together[i] == adaptive_moments(stamps[i : i + 1])[0] for i in range(6))


@pytest.mark.parametrize(
    "jacobian",
    [(0.187, 0.0, 0.0, 0.187), (-0.187, 0.003, 0.004, 0.186), (0.0, 0.2, -0.19, 0.01), (0.17, 0.03, 0.02, -0.2)],
)
def test_pixel_shapes_become_the_sky_shapes_that_were_drawn(jacobian):
    wcs = galsim.JacobianWCS(*jacobian)
    g1, g2, sigma = 0.12, -0.07, 0.5
    stamp = gaussian(g1, g2, sigma, size=61, wcs=wcs)
    row = adaptive_moments(stamp[None])
    sky_g1, sky_g2, T = to_sky(row["g1"], row["g2"], row["sigma"], np.array([jacobian]))
    assert_allclose([sky_g1[0], sky_g2[0]], [g1, g2], atol=3e-4)
    # det(M) = sigma^4 and T = trace(M) = 2 sigma^2/sqrt(1 - |e|^2).
    g = g1**2 + g2**2
    assert_allclose(T[0], 2 * sigma**2 * (1 + g) / (1 - g), rtol=1e-3)


def test_round_objects_have_no_shape_and_failed_ones_stay_nan():
    jacobians = np.tile([0.187, 0.0, 0.0, 0.187], (2, 1))
    g1, g2, T = to_sky(np.array([0.0, np.nan]), np.array([0.0, np.nan]), np.array([2.0, np.nan]), jacobians)
    assert (g1[0], g2[0]) == (0.0, 0.0)
    assert T[0] == pytest.approx(2 * (2.0 * 0.187) ** 2)
    assert np.isnan([g1[1], g2[1], T[1]]).all()
