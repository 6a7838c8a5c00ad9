import galsim
import numpy as np
import pytest
from numpy.testing import assert_allclose

from shapempi.flags import describe
from shapempi.measure.moments import (
    FIXED_DTYPE,
    MOMENTS_DTYPE,
    MomentsFlag,
    adaptive_moments,
    fixed_moments,
    fixed_sums,
    to_sky,
)


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
    assert rows["flag"].tolist() == [
        MomentsFlag.NO_FLUX,
        MomentsFlag.NOT_FINITE,
        MomentsFlag.NO_FLUX,
        MomentsFlag.NO_FLUX,
        MomentsFlag.NO_PIXEL,
    ]
    assert all(np.isnan(rows[name]).all() for name in MOMENTS_DTYPE.names if name != "flag")
    assert adaptive_moments(np.zeros((0, 5, 5))).shape == (0,)


def test_every_flag_has_a_bit_and_a_meaning():
    bits = describe(MomentsFlag)
    assert [value for value, _, _ in bits] == [1 << i for i in range(len(bits))]
    assert all(meaning for _, _, meaning in bits)


def test_what_leaves_the_limits_says_so():
    x = np.arange(51) - 25.0
    ramp = np.tile(np.exp(x / 3), (51, 1))
    one = np.zeros((51, 51))
    one[25, 25] = 1.0
    wide = np.ones((601, 601))
    assert adaptive_moments(ramp[None])["flag"][0] == MomentsFlag.RUNAWAY
    assert adaptive_moments(one[None])["flag"][0] == MomentsFlag.SINGULAR
    assert adaptive_moments(wide[None], guess_sigma=50.0)["flag"][0] == MomentsFlag.RUNAWAY


def hsm(stamps, good=None, guess_sigma=2.0):
    """Measure with GalSim; NaN where it fails."""
    rows = np.full((len(stamps), 6), np.nan)
    for i, stamp in enumerate(stamps):
        mask = None if good is None else galsim.Image(good[i].astype(np.int32))
        image = galsim.Image(np.where(True if good is None else good[i], stamp, 0.0), scale=1.0)
        shape = galsim.hsm.FindAdaptiveMom(image, weight=mask, guess_sig=guess_sigma, strict=False)
        if not shape.error_message and shape.moments_amp > 0:
            centre = shape.moments_centroid - image.true_center
            g = shape.observed_shape
            rows[i] = g.g1, g.g2, shape.moments_sigma, centre.x, centre.y, shape.moments_amp
    return rows


def make_galaxies(n, seed, snr=None, size=51):
    rng = np.random.default_rng(seed)
    stamps = np.empty((n, size, size))
    for stamp in stamps:
        psf = galsim.Moffat(beta=3.5, fwhm=rng.uniform(0.55, 0.9))
        g1, g2 = np.clip(rng.normal(0, 0.25, 2), -0.6, 0.6)
        disc = galsim.Exponential(half_light_radius=rng.uniform(0.15, 0.7)).shear(g1=g1, g2=g2)
        galaxy = galsim.Convolve(psf, disc)
        offset = rng.uniform(-1.5, 1.5, 2)
        stamp[...] = galaxy.drawImage(nx=size, ny=size, scale=0.187, offset=offset, method="no_pixel").array
        if snr is not None:
            stamp += rng.normal(0, np.sqrt(np.sum(stamp**2)) / snr, stamp.shape)
    return stamps


def assert_parity(rows, expected, least):
    both = (rows["flag"] == 0) & np.isfinite(expected).all(axis=1)
    # who fails is the same, but for the few that hardly converge
    assert both.sum() >= least
    assert np.mean((rows["flag"] == 0) != np.isfinite(expected).all(axis=1)) < 0.02
    for i, name in enumerate(("g1", "g2", "sigma", "x", "y", "flux")):
        scale = expected[both, i] if name in ("sigma", "flux") else 1.0
        assert np.abs((rows[name][both] - expected[both, i]) / scale).max() < 1e-5


@pytest.mark.parametrize("snr", [None, 500, 100, 30, 20])
def test_adaptive_moments_are_those_of_galsim(snr):
    stamps = make_galaxies(60, 11, snr)
    assert_parity(adaptive_moments(stamps), hsm(stamps), 59)


def test_faint_adaptive_moments_are_those_of_galsim():
    stamps = make_galaxies(100, 12, 10)
    assert_parity(adaptive_moments(stamps), hsm(stamps), 95)


@pytest.mark.parametrize(("shape", "guess_sigma"), [((33, 33), 1.0), ((33, 33), 5.0), ((40, 25), 2.0), ((25, 40), 2.0)])
def test_shapes_and_guesses_are_those_of_galsim(shape, guess_sigma):
    y, x = (51 - shape[0]) // 2 - 1, (51 - shape[1]) // 2
    stamps = make_galaxies(20, 13, 100)[:, y : y + shape[0], x : x + shape[1]]
    assert_parity(adaptive_moments(stamps, guess_sigma=guess_sigma), hsm(stamps, guess_sigma=guess_sigma), 19)
    each = adaptive_moments(stamps, guess_sigma=np.full(len(stamps), guess_sigma))
    assert np.array_equal(each["flag"], adaptive_moments(stamps, guess_sigma=guess_sigma)["flag"])


@pytest.mark.parametrize("snr", [None, 50])
def test_masked_adaptive_moments_are_those_of_galsim(snr):
    stamps = make_galaxies(60, 14, snr)
    good = np.random.default_rng(15).random(stamps.shape) > 0.05
    good[10:20, 20:24, :] = False
    good[20:30, :, 30:] = False
    good[30:40, 40:, :] = False
    assert_parity(adaptive_moments(stamps, good), hsm(stamps, good), 55)


def test_psfs_as_float32_are_those_of_galsim():
    rng = np.random.default_rng(16)
    stamps = np.empty((40, 51, 51), np.float32)
    for stamp in stamps:
        psf = galsim.Moffat(beta=rng.uniform(2.5, 4.5), fwhm=rng.uniform(0.45, 1.2)).shear(g1=rng.normal(0, 0.03))
        stamp[...] = psf.drawImage(nx=51, ny=51, scale=0.187, offset=rng.uniform(-0.5, 0.5, 2)).array
    assert_parity(adaptive_moments(stamps), hsm(stamps.astype(float)), 40)


def test_sampled_gaussians_are_measured_exactly():
    rng = np.random.default_rng(17)
    stamps, truth = [], []
    for _ in range(30):
        g, angle = rng.uniform(0, 0.3), rng.uniform(0, np.pi)
        row = (g * np.cos(2 * angle), g * np.sin(2 * angle), rng.uniform(2, 3), *rng.uniform(-1, 1, 2), 3.0)
        stamps.append(gaussian(*row, size=101))
        truth.append(row)
    rows = adaptive_moments(np.stack(stamps))
    assert not rows["flag"].any()
    values = np.stack([rows[name] for name in MOMENTS_DTYPE.names[:-1]], axis=1)
    # drawn by GalSim to 1e-7; sigma to 5e-7 is T = 2 sigma^2 to 1e-6
    assert np.abs(values - truth)[:, :2].max() < 1.5e-6
    assert np.abs(values - truth)[:, 3:5].max() < 1.5e-6
    assert np.abs(values / truth - 1)[:, [2, 5]].max() < 5e-7


def test_any_layout_and_type_is_read(seed=18):
    stamps = np.rint(1e4 * make_galaxies(5, seed))
    expected = adaptive_moments(stamps)
    assert (expected["flag"] == 0).all()
    for same in (
        stamps.astype(">f8"),
        stamps.astype(np.int32),
        np.asfortranarray(stamps),
        np.repeat(stamps, 2, 2)[..., ::2],
    ):
        assert np.array_equal(adaptive_moments(same), expected)
    assert np.array_equal(adaptive_moments(stamps, np.ones(stamps.shape, int), n_threads=3), expected)


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


JACOBIAN = (-0.187, 0.003, 0.004, 0.186)


def fixed_truth(g1, g2, sigma, fwhm):
    """Flux per flux, T, e1, e2 of an elliptical Gaussian under the weight, from matrices."""
    g = g1**2 + g2**2
    matrix = sigma**2 / (1 - g) * np.array([[1 + g + 2 * g1, 2 * g2], [2 * g2, 1 + g - 2 * g1]])
    window = (fwhm / np.sqrt(8 * np.log(2))) ** 2 * np.eye(2)
    product = np.linalg.inv(np.linalg.inv(matrix) + np.linalg.inv(window))
    flux = np.sqrt(np.linalg.det(product) / np.linalg.det(matrix))
    trace = np.trace(product)
    return flux, trace, (product[0, 0] - product[1, 1]) / trace, 2 * product[0, 1] / trace


@pytest.mark.parametrize(
    "jacobian", [JACOBIAN, (0.2, 0.0, 0.0, 0.2), (0.0, 0.2, -0.19, 0.01), (0.17, 0.03, 0.02, -0.2)]
)
def test_fixed_moments_of_a_gaussian_are_exact(jacobian):
    stamp = gaussian(0.12, -0.07, 0.5, 0.0, 0.0, 40.0, 61, galsim.JacobianWCS(*jacobian))
    weight = np.full_like(stamp, 25.0)
    row = fixed_moments(stamp[None], weight[None], np.array([jacobian]), 1.2)[0]
    flux, T, e1, e2 = fixed_truth(0.12, -0.07, 0.5, 1.2)
    assert row["flag"] == 0
    assert_allclose([row["flux"], row["T"]], [40 * flux, T], rtol=1e-6)
    assert_allclose([row["e1"], row["e2"]], [e1, e2], atol=1e-6)
    # the variance of the flux is the sum of w^2 over 25, whose integral is pi sigma^2 per area of a pixel
    area = abs(np.linalg.det(np.reshape(jacobian, (2, 2))))
    assert row["flux_err"] == pytest.approx(np.sqrt(np.pi * 1.2**2 / (8 * np.log(2)) / area / 25), rel=1e-6)
    assert row["s2n"] == pytest.approx(row["flux"] / row["flux_err"])


def test_fixed_moments_follow_the_offset():
    stamp = gaussian(0.1, 0.2, 0.5, 1.3, -0.6, 40.0, 61, galsim.JacobianWCS(*JACOBIAN))
    centred = gaussian(0.1, 0.2, 0.5, 0.0, 0.0, 40.0, 61, galsim.JacobianWCS(*JACOBIAN))
    jacobian = np.array([JACOBIAN])
    there = fixed_moments(stamp[None], None, jacobian, 1.2, offsets=np.array([[1.3, -0.6]]))[0]
    here = fixed_moments(centred[None], None, jacobian, 1.2)[0]
    for name in FIXED_DTYPE.names:
        assert there[name] == pytest.approx(here[name], rel=1e-6, abs=1e-7)
    off = fixed_sums(stamp[None], None, jacobian, 1.2).sums[0]
    flux = there["flux"]
    v, u = off[:2] / off[5]
    # pulled towards the weight's centre: only a part of the way is left
    assert 0.2 < u / (JACOBIAN[0] * 1.3 - JACOBIAN[1] * 0.6) < 0.8 and v != 0 and off[5] < flux


def test_fixed_errors_are_the_scatter():
    rng = np.random.default_rng(21)
    stamp = gaussian(0.1, 0.05, 0.5, 0.0, 0.0, 100.0, 41, galsim.JacobianWCS(*JACOBIAN))
    sigma = rng.uniform(0.05, 0.15, stamp.shape)
    stamps = stamp + sigma * rng.normal(size=(3000, *stamp.shape))
    weights = np.broadcast_to(sigma**-2, stamps.shape)
    rows = fixed_moments(stamps, weights, np.tile(JACOBIAN, (3000, 1)), 1.2)
    assert not rows["flag"].any()
    for name in ("flux", "T", "e1", "e2"):
        assert np.std(rows[name]) == pytest.approx(np.mean(rows[f"{name}_err"]), rel=0.06)


def test_epochs_add_up():
    rng = np.random.default_rng(22)
    stamp = gaussian(0.1, 0.05, 0.5, 0.0, 0.0, 100.0, 41, galsim.JacobianWCS(*JACOBIAN))
    stamps = stamp + rng.normal(0, 0.1, (7, *stamp.shape))
    weights = np.full(stamps.shape, 100.0)
    stamps[3, 5, 5] = np.nan
    weights[5:] = 0
    jacobians = np.tile(JACOBIAN, (7, 1))
    jacobians[6] = 0
    first = np.array([0, 1, 4, 4, 5, 7])
    sums = fixed_sums(stamps, weights, jacobians, 1.2)
    total = sums.by_object(first)
    assert total.flag.tolist() == [0, 0, 1, 0, MomentsFlag.NO_PIXEL | MomentsFlag.SINGULAR]
    assert_allclose(total.sums[1], sums.sums[1:3].sum(axis=0), rtol=1e-15)
    assert_allclose(total.covariance[1], sums.covariance[1:3].sum(axis=0), rtol=1e-15)
    assert np.array_equal(total.sums[0], sums.sums[0]) and not total.sums[[2, 4]].any()
    rows = fixed_moments(stamps, weights, jacobians, 1.2, first=first)
    alone = fixed_moments(stamps, weights, jacobians, 1.2)
    assert rows[0] == alone[0] and rows[3] == alone[4]
    assert rows["s2n"][1] == pytest.approx(np.sqrt(2) * alone["s2n"][1:3].mean(), rel=0.05)
    assert all(np.isnan(rows[name][[2, 4]]).all() for name in FIXED_DTYPE.names if name != "flag")
    assert_allclose(rows["T"][1], alone["T"][1:3].mean(), rtol=0.02)


def test_fixed_moments_say_what_is_missing():
    good = gaussian(0.1, 0.0, 0.5, 0.0, 0.0, 1.0, 41, galsim.JacobianWCS(*JACOBIAN))
    y, x = np.mgrid[-20:21, -20:21]
    hat = 3 * np.exp(-0.5 * (x**2 + y**2)) - 0.05  # positive within, negative around
    stamps = np.stack([good, -good, np.zeros_like(good), hat, good])
    weights = np.ones_like(stamps)
    weights[4] = np.nan
    rows = fixed_moments(stamps, weights, np.tile(JACOBIAN, (5, 1)), 1.2)
    assert rows["flag"][0] == 0
    assert rows["flag"][1] & MomentsFlag.NO_FLUX and rows["flux"][1] == -rows["flux"][0] and rows["s2n"][1] < 0
    assert rows["flag"][2] == MomentsFlag.NO_FLUX | MomentsFlag.NO_SIZE
    assert rows["flag"][3] == MomentsFlag.NO_SIZE and rows["T"][3] < 0 and np.isnan(rows["e1"][3])
    assert rows["flag"][4] == MomentsFlag.NO_PIXEL and np.isnan(rows["flux"][4])
    measured = rows[rows["flag"] == 0]
    assert all(np.isfinite(measured[name]).all() for name in FIXED_DTYPE.names)


def test_moments_that_do_not_fit_are_refused():
    stamps = np.ones((2, 5, 5))
    with pytest.raises(ValueError):
        adaptive_moments(stamps, np.ones((2, 5, 4)))
    with pytest.raises(ValueError):
        adaptive_moments(stamps, guess_sigma=np.ones(3))
    with pytest.raises(ValueError):
        fixed_moments(stamps, None, np.ones((1, 4)), 1.2)
    with pytest.raises(ValueError):
        fixed_moments(stamps, None, np.ones((2, 4)), 0.0)
