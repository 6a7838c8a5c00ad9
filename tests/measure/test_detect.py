"""Detection: Gaussians at known places with known fluxes and widths, flags, noise, weights, invariance, failures."""

import galsim
import numpy as np
import pytest
import sep
from measure.sky import SCALE, add_gaussian, wcs

from shapempi.errors import DataError, MeasurementError
from shapempi.measure.background import BackgroundMesh
from shapempi.measure.detect import DETECTION_DTYPE, DetectionParams, SexFlag, detect
from shapempi.measure.pixel_source import ArraySource, Frame
from shapempi.measure.variance import noise_ratio, variance_map

PARAMS = DetectionParams()


def run(data, weight=None, plane=None, *, params=PARAMS, gain=0.0, saturate=np.inf, **keys):
    weight = np.ones(data.shape, np.float32) if weight is None else weight
    plane = np.zeros(data.shape, np.int32) if plane is None else plane
    return detect(ArraySource(data, weight, plane), Frame(wcs(data.shape), gain, saturate, mag_zp=30.0), params, **keys)


def grid_field(shape=(420, 420), *, sigma=2.1, q=0.8, theta=0.6, noise=1.0, seed=3):
    """Return noise with Gaussians 60 pixels apart at random sub-pixel places, and x, y, flux of each."""
    rng = np.random.default_rng(seed)
    data = rng.normal(0, noise, shape).astype(np.float32) if noise else np.zeros(shape, np.float32)
    truth = []
    for y in np.arange(30, shape[0] - 20, 60):
        for x in np.arange(30, shape[1] - 20, 60):
            place = (x + rng.uniform(-0.5, 0.5), y + rng.uniform(-0.5, 0.5), 10 ** rng.uniform(3.5, 4.5))
            add_gaussian(data, *place, sigma, q=q, theta=theta)
            truth.append(place)
    return data, np.array(truth)


def match(table, truth, limit=1.0):
    """Return for each true object the row of the detection nearest to it; every one has exactly one."""
    distance = np.hypot(table["X_IMAGE"][None] - 1 - truth[:, 0, None], table["Y_IMAGE"][None] - 1 - truth[:, 1, None])
    near = distance < limit
    assert np.array_equal(near.sum(axis=1), np.ones(len(truth)))
    return distance.argmin(axis=1)


@pytest.fixture(scope="module")
def field():
    data, truth = grid_field()
    found = run(data)
    return data, truth, found


def test_finds_every_object_and_nothing_else(field):
    _, truth, found = field
    assert len(found.table) == len(truth)
    table = found.table[match(found.table, truth)]
    assert not table["FLAGS"].any() and not table["FLAGS_WIN"].any() and not table["IMAFLAGS_ISO"].any()
    assert found.noise_ratio == pytest.approx(1.0, abs=0.03)
    assert table.dtype == DETECTION_DTYPE
    assert np.array_equal(found.table["NUMBER"], np.arange(1, len(truth) + 1))
    assert all(np.isfinite(found.table[name]).all() for name in DETECTION_DTYPE.names)


def test_positions_are_unbiased_and_errors_are_honest(field):
    _, truth, found = field
    table = found.table[match(found.table, truth)]
    for axis, (name, error) in enumerate((("XWIN_IMAGE", "ERRX2WIN_IMAGE"), ("YWIN_IMAGE", "ERRY2WIN_IMAGE"))):
        offset = table[name] - 1 - truth[:, axis]
        assert abs(offset.mean()) < 3 * offset.std() / 7
        assert np.abs(offset).max() < 0.05
        pull = offset / np.sqrt(table[error])
        # The formula assumes an object of the window's size; for narrower ones it is generous.
        assert 0.5 < pull.std() < 1.4
    ra, dec = wcs((420, 420)).pixel_to_sky(table["XWIN_IMAGE"] - 1, table["YWIN_IMAGE"] - 1)
    assert np.array_equal(table["XWIN_WORLD"], ra) and np.array_equal(table["YWIN_WORLD"], dec)


def test_fluxes_and_magnitudes(field):
    _, truth, found = field
    table = found.table[match(found.table, truth)]
    ratio = table["FLUX_AUTO"] / truth[:, 2]
    assert 0.97 < np.median(ratio) < 1.0  # a Kron ellipse loses a few percent
    assert np.allclose(table["MAG_AUTO"], 30 - 2.5 * np.log10(table["FLUX_AUTO"]))
    assert np.allclose(table["MAGERR_AUTO"], 1.0857 * table["FLUXERR_AUTO"] / table["FLUX_AUTO"], rtol=1e-4)
    area = np.pi * table["KRON_RADIUS"] ** 2 * table["A_IMAGE"] * table["B_IMAGE"]
    # The errors are those of the background in an area, at the rms that the sky was found to have.
    assert np.allclose(table["FLUXERR_AUTO"], found.noise_ratio * np.sqrt(area), rtol=0.03)
    assert np.allclose(table["FLUXERR_APER"], found.noise_ratio * np.sqrt(np.pi) * 2.5, rtol=0.01)
    assert np.allclose(table["SNR_WIN"], table["FLUX_WIN"] / table["FLUXERR_WIN"])


def test_sizes_and_moments_of_noiseless_gaussians():
    data, truth = grid_field(noise=0.0, sigma=2.5, q=0.7, theta=0.5)
    found = run(data, params=DetectionParams(rescale_weights=False))
    table = found.table[match(found.table, truth)]
    covariance = np.array([[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]])
    covariance = covariance @ np.diag([2.5**2, (0.7 * 2.5) ** 2]) @ covariance.T
    assert np.abs(table["XWIN_IMAGE"] - 1 - truth[:, 0]).max() < 2e-4
    assert np.abs(table["YWIN_IMAGE"] - 1 - truth[:, 1]).max() < 2e-4
    # Under a Gaussian window of sigma s the covariance of a Gaussian is (C^-1 + 1/s^2)^-1; pixels widen C by 1/12.
    for row in table:
        sigma = max(row["FLUX_RADIUS"], 0.5) * 2 / 2.35
        window = np.linalg.inv(np.linalg.inv(covariance + np.eye(2) / 12) + np.eye(2) / sigma**2)
        got = np.array([[row["X2WIN_IMAGE"], row["XYWIN_IMAGE"]], [row["XYWIN_IMAGE"], row["Y2WIN_IMAGE"]]])
        assert np.allclose(got, window, atol=0.01)
    assert np.allclose(np.abs(np.sin(np.radians(table["THETA_IMAGE"]) - 0.5)), 0, atol=0.02)
    assert np.allclose(table["ELONGATION"], table["A_IMAGE"] / table["B_IMAGE"])
    assert np.allclose(table["ELLIPTICITY"], 1 - 1 / table["ELONGATION"])


@pytest.mark.parametrize("fwhm", [3.0, 4.5, 7.0])
def test_fwhm_and_half_light_radius_of_round_gaussians(fwhm):
    sigma = fwhm / 2.3548
    data, truth = grid_field(sigma=sigma, q=1.0, noise=1.0)
    table = run(data).table
    table = table[match(table, truth)]
    # The correction for the pixel's size is empirical: a few percent at most for sampled profiles.
    assert np.median(table["FWHM_IMAGE"]) == pytest.approx(fwhm, rel=0.03)
    assert np.median(table["FLUX_RADIUS"]) == pytest.approx(1.1774 * sigma, rel=0.06)
    assert np.allclose(table["FWHM_WORLD"], table["FWHM_IMAGE"] * SCALE / 3600, rtol=1e-6)


def test_surface_brightness(field):
    data, truth, found = field
    table = found.table[match(found.table, truth)]
    peak = [data[int(y) - 3 : int(y) + 5, int(x) - 3 : int(x) + 5].max() for x, y, _ in truth]
    assert np.allclose(table["MU_MAX"], 30 - 2.5 * np.log10(np.array(peak) / SCALE**2), atol=1e-4)
    assert np.allclose(table["THRESHOLD"], 1.5 * found.noise_ratio, rtol=1e-5)
    assert np.allclose(table["MU_THRESHOLD"], 30 - 2.5 * np.log10(table["THRESHOLD"] / SCALE**2), atol=1e-4)


def test_realistic_profiles_keep_their_centres():
    image = galsim.ImageF(200, 200, scale=SCALE)
    psf = galsim.Moffat(beta=3.5, fwhm=0.8)
    truth = np.array([[60.3, 70.7], [140.1, 60.2], [100.6, 140.4]])
    for (x, y), light in zip(
        truth, (galsim.DeltaFunction(), galsim.Exponential(0.4), galsim.DeVaucouleurs(0.5)), strict=True
    ):
        profile = galsim.Convolve(psf, light.shear(g1=0.2, g2=-0.1) if light.has_hard_edges is False else light)
        profile.withFlux(5e4).drawImage(image, center=galsim.PositionD(x + 1, y + 1), add_to_image=True)
    data = image.array + np.random.default_rng(8).normal(0, 1, (200, 200)).astype(np.float32)
    table = run(data).table
    table = table[match(table, truth)]
    assert np.abs(table["XWIN_IMAGE"] - 1 - truth[:, 0]).max() < 0.02
    assert np.abs(table["YWIN_IMAGE"] - 1 - truth[:, 1]).max() < 0.02
    assert table["FWHM_IMAGE"].argmin() == 0


def test_mask_bits_are_reported_and_flagged_pixels_take_part(field):
    data, truth, found = field
    plane = np.zeros(data.shape, np.int32)
    x, y = np.rint(truth[:, :2]).astype(int).T
    plane[y[0], x[0]] = 4
    plane[y[1] - 1, x[1]] = 2
    plane[y[1] + 1, x[1]] = 128
    plane[y[2] + 29, x[2] + 29] = 1  # between objects
    for dtype in (np.int32, np.int16, np.uint8):
        again = run(data, plane=plane.astype(dtype)).table
        assert np.array_equal(again["FLUX_AUTO"], found.table["FLUX_AUTO"])
        bits = again["IMAFLAGS_ISO"][match(again, truth)]
        assert list(bits[:3]) == [4, 130, 0] and not bits[3:].any()
    for row in found.table[:5]:
        pixels = found.segmentation == row["NUMBER"]
        assert np.count_nonzero(pixels) == row["ISOAREAF_IMAGE"]


def test_unusable_pixels_do_not_take_part(field):
    data, truth, _ = field
    weight = np.ones(data.shape, np.float32)
    hurt, gone = truth[0], truth[1]
    data = data.copy()
    x, y = np.rint(hurt[:2]).astype(int)
    weight[y + 2, x - 1 : x + 2] = 0
    data[y + 2, x - 1 : x + 2] = 1e6
    x, y = np.rint(gone[:2]).astype(int)
    data[y - 15 : y + 16, x - 15 : x + 16] = np.nan
    again = run(data, weight)
    assert len(again.table) == len(truth) - 1
    row = again.table[np.hypot(again.table["X_IMAGE"] - 1 - hurt[0], again.table["Y_IMAGE"] - 1 - hurt[1]).argmin()]
    assert row["FLUX_AUTO"] == pytest.approx(hurt[2], rel=0.15)
    assert np.hypot(row["XWIN_IMAGE"] - 1 - hurt[0], row["YWIN_IMAGE"] - 1 - hurt[1]) < 0.15
    assert not again.segmentation[~(weight > 0)].any()
    assert all(np.isfinite(again.table[name]).all() for name in DETECTION_DTYPE.names)


def test_flags_of_neighbours_sides_and_saturation():
    data = np.random.default_rng(1).normal(0, 1, (200, 200)).astype(np.float32)
    add_gaussian(data, 50.0, 50.0, 2e4, 2.0)
    add_gaussian(data, 58.0, 50.0, 2e4, 2.0)  # blended with the first
    add_gaussian(data, 150.0, 60.0, 2e4, 2.0)
    add_gaussian(data, 0.4, 120.0, 2e4, 2.0)  # cut by the side
    add_gaussian(data, 120.0, 8.0, 2e4, 2.0)  # whole, but its apertures are not
    add_gaussian(data, 100.0, 150.0, 2e5, 2.0)
    table = run(data, saturate=5000.0).table
    truth = np.array([[50, 50], [58, 50], [150, 60], [0.4, 120], [120, 8], [100, 150]], float)
    flags = table["FLAGS"][match(table, truth, limit=1.5)]
    assert flags[0] & SexFlag.BLENDED and flags[1] & SexFlag.BLENDED
    assert flags[0] & SexFlag.CROWDED and flags[1] & SexFlag.CROWDED
    assert flags[2] == 0
    assert flags[3] & SexFlag.TRUNCATED and flags[3] & SexFlag.APERTURE
    assert flags[4] == SexFlag.APERTURE
    assert flags[5] == SexFlag.SATURATED
    # Saturation is a property of the image before its background was subtracted.
    level = BackgroundMesh.constant(4900.0, 1.0, data.shape)
    raised = run(data, saturate=5000.0, background=level).table
    assert np.all(raised["FLAGS"] & SexFlag.SATURATED) and np.all(raised["BACKGROUND"] == 4900.0)


def test_neighbours_do_not_pull_windowed_positions():
    rng = np.random.default_rng(4)
    data = rng.normal(0, 1, (120, 120)).astype(np.float32)
    add_gaussian(data, 50.0, 60.0, 3e3, 2.0)
    add_gaussian(data, 60.0, 60.0, 1e5, 2.0)
    table = run(data).table
    row = table[np.hypot(table["X_IMAGE"] - 51, table["Y_IMAGE"] - 61).argmin()]
    ours = np.hypot(row["XWIN_IMAGE"] - 51, row["YWIN_IMAGE"] - 61)
    x, y, _ = sep.winpos(data, [row["X_IMAGE"] - 1], [row["Y_IMAGE"] - 1], [row["FLUX_RADIUS"] * 2 / 2.35])
    uncorrected = np.hypot(x[0] - 50, y[0] - 60)
    assert ours < 0.3 and uncorrected > 3 * ours, (ours, uncorrected)


def test_isolated_positions_are_those_of_the_library(field):
    data, _, found = field
    table = found.table
    sigma = np.maximum(table["FLUX_RADIUS"], 0.5) * 2 / 2.35
    x, y, _ = sep.winpos(data, table["X_IMAGE"] - 1, table["Y_IMAGE"] - 1, sigma)
    assert np.abs(table["XWIN_IMAGE"] - 1 - x).max() < 1e-3
    assert np.abs(table["YWIN_IMAGE"] - 1 - y).max() < 1e-3


def test_the_weight_map_is_rescaled_to_the_sky(field):
    data, _, found = field
    scaled = run(data, np.full(data.shape, 9.0, np.float32))
    assert scaled.noise_ratio == pytest.approx(3 * found.noise_ratio, rel=1e-4)
    assert np.allclose(scaled.table["FLUX_AUTO"], found.table["FLUX_AUTO"], rtol=1e-4)
    assert np.allclose(scaled.table["FLUXERR_AUTO"], found.table["FLUXERR_AUTO"], rtol=1e-3)
    fixed = run(data, np.full(data.shape, 4.0, np.float32), params=DetectionParams(rescale_weights=False))
    assert fixed.noise_ratio == 1.0
    assert np.median(fixed.table["FLUXERR_APER"]) == pytest.approx(np.sqrt(np.pi) * 2.5 / 2, rel=0.01)


def test_noise_ratio_follows_a_varying_weight_map():
    rng = np.random.default_rng(2)
    sigma = np.linspace(1, 4, 300)[None, :] * np.ones((1300, 1))
    data = (sigma * rng.standard_normal(sigma.shape)).astype(np.float32)
    weight = (25 / sigma**2).astype(np.float32)
    weight[:, 100:130] = 0
    data[:, 100:130] = np.nan
    plane = np.zeros(data.shape, np.uint8)
    assert noise_ratio(ArraySource(data, weight, plane), 64) == pytest.approx(5, rel=0.03)
    small = ArraySource(data[:20, :30], weight[:20, :30], plane[:20, :30])
    assert noise_ratio(small, 64) == pytest.approx(5, rel=0.15)
    assert noise_ratio(ArraySource(data, np.zeros_like(weight), plane), 64) == 1.0
    assert noise_ratio(ArraySource(np.zeros_like(data), np.ones_like(weight), plane), 64) == 1.0
    good = weight > 0
    variance = variance_map(data, weight, 5.0)
    assert (
        np.allclose(variance[good], sigma[good] ** 2, rtol=1e-5)
        and np.all(variance[~good] > 1e29)
        and not data[~good].any()
    )


def test_photon_noise_enters_the_errors(field):
    data, _, found = field
    bright = run(data, gain=2.0).table
    expected = np.sqrt(found.table["FLUXERR_AUTO"] ** 2 + found.table["FLUX_AUTO"] / 2)
    assert np.allclose(bright["FLUXERR_AUTO"], expected, rtol=1e-6)
    assert np.all(bright["FLUXERR_WIN"] > found.table["FLUXERR_WIN"])
    assert np.array_equal(bright["XWIN_IMAGE"], found.table["XWIN_IMAGE"])


def test_result_does_not_depend_on_layout_or_earlier_calls(field):
    data, _, found = field
    limits = sep.get_extract_pixstack(), sep.get_sub_object_limit()
    weight = np.ones(data.shape, np.float32)
    big_endian = run(data.astype(">f4"), weight.astype(">f4"))
    strided = run(np.repeat(data, 2, axis=0)[::2], weight)
    small_stack = run(data, weight, params=DetectionParams(pixel_stack=1000))
    for other in (big_endian, strided, small_stack):
        assert np.array_equal(other.table, found.table)
        assert np.array_equal(other.segmentation, found.segmentation)
    assert (sep.get_extract_pixstack(), sep.get_sub_object_limit()) == limits
    assert np.all(weight == 1.0), "the caller's arrays stay as they are"


def test_an_object_does_not_depend_on_the_others_of_the_image():
    """What lies more than a stamp away changes nothing, bit for bit."""
    data, truth = grid_field(shape=(240, 240))
    fewer = data.copy()
    fewer[:60, 180:] = 0
    params = DetectionParams(rescale_weights=False)
    a, b = run(data, params=params).table, run(fewer, params=params).table
    assert len(b) < len(a)
    keep = truth[(truth[:, 0] < 140) | (truth[:, 1] > 100)]
    rows_a, rows_b = a[match(a, keep)], b[match(b, keep)]
    for name in DETECTION_DTYPE.names[1:]:
        assert np.array_equal(rows_a[name], rows_b[name]), name


def test_empty_and_unusable_images_have_no_objects():
    shape = (90, 110)
    noise = np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)
    for data, weight in (
        (np.zeros(shape, np.float32), np.ones(shape, np.float32)),
        (noise, np.zeros(shape, np.float32)),
        (np.full(shape, np.nan, np.float32), np.ones(shape, np.float32)),
        (noise, np.ones(shape, np.float32)),
        (np.empty((0, 5), np.float32), np.empty((0, 5), np.float32)),
    ):
        found = run(data, weight)
        assert len(found.table) == 0 and found.table.dtype == DETECTION_DTYPE
        assert found.segmentation.shape == data.shape and found.segmentation.dtype == np.int32
        assert not found.segmentation.any()


def test_negative_fluxes_have_no_magnitude():
    data = np.random.default_rng(6).normal(0, 1, (150, 150)).astype(np.float32)
    y, x = np.mgrid[:150, :150]
    ring = np.hypot(x - 75, y - 75)
    data[(ring > 2.3) & (ring < 9)] -= 20
    add_gaussian(data, 75.0, 75.0, 300.0, 1.2)
    table = run(data, params=DetectionParams(rescale_weights=False, kron_min=7.0)).table
    row = table[np.hypot(table["X_IMAGE"] - 76, table["Y_IMAGE"] - 76).argmin()]
    assert row["FLUX_AUTO"] < 0 and np.isnan(row["MAG_AUTO"]) and np.isnan(row["FLUX_RADIUS"])
    assert np.isfinite(row["XWIN_IMAGE"]) and np.isfinite(row["FLUXERR_AUTO"])


def test_wrong_shapes_and_hopeless_thresholds_are_errors():
    data = np.ones((20, 30), np.float32)
    with pytest.raises(DataError, match="differ"):
        run(data, np.ones((30, 20), np.float32))
    checker = np.random.default_rng(0).normal(1000, 100, (400, 400)).astype(np.float32)
    with pytest.raises(MeasurementError, match="is the background subtracted"):
        run(checker, params=DetectionParams(rescale_weights=False))


def test_columns_are_documented():
    names = [name for name in DETECTION_DTYPE.names]
    assert len(set(names)) == len(names)
