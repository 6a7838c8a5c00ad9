import numpy as np
import pytest
from kernels import twins_noise as twins
from scipy import stats

from shapempi.kernels import _noise

KEY = np.array([0x452821E638D01377, 0xBE5466CF34E90C6C, 0xC0AC29B7C97C50DD, 17], np.uint64)
FLOAT_MAX = float(np.finfo(np.float32).max)
NO_MODEL = np.full(6, np.nan)

#: Counter, key and result of threefry4x64 with 20 rounds: the known answers published with Random123.
KNOWN = (
    ("0" * 64, "0" * 64, "09218ebde6c85537 55941f5266d86105 4bd25e16282434dc ee29ec846bd2e40b"),
    ("f" * 64, "f" * 64, "29c24097942bba1b 0371bbfb0f6f4e11 3c231ffa33f83a1c cd29113fde32d168"),
    (
        "243f6a8885a308d3 13198a2e03707344 a4093822299f31d0 082efa98ec4e6c89",
        "452821e638d01377 be5466cf34e90c6c be5466cf34e90c6c c0ac29b7c97c50dd",
        "a7e8fde591651bd9 baafd0c30138319b 84a5c1a729e685b9 901d406ccebc1ba4",
    ),
)


def words(text):
    digits = text.replace(" ", "")
    return np.array([int(digits[i : i + 16], 16) for i in range(0, 64, 16)], np.uint64)


def fields(place, exposure=1000000, ccd=7, *, field=_noise.NOISE, size=51, key=KEY, **options):
    place, exposure, ccd = np.broadcast_arrays(np.atleast_1d(place), exposure, ccd)
    return _noise.normal(
        key, place.astype(np.int64), exposure.astype(np.int32), ccd.astype(np.int32), field, size, **options
    )


def same(left, right):
    return np.asarray(left).tobytes() == np.asarray(right).tobytes()


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_known_answers_of_threefry(counter, key, answer):
    np.testing.assert_array_equal(_noise.blocks(words(key), words(counter), 1)[:, 0], words(answer))
    np.testing.assert_array_equal(twins.blocks(words(key), words(counter), 1)[:, 0], words(answer))


@pytest.mark.parametrize("n", [0, 1, 31, 32, 33, 100])
def test_the_first_word_counts_the_blocks(n):
    first = np.array([2**64 - 5, 3, 4, 5], np.uint64)  # the counter wraps around
    many = _noise.blocks(KEY, first, n)
    assert same(many, twins.blocks(KEY, first, n))
    for i in range(n):
        at = first.copy()
        at[0] = (2**64 - 5 + i) % 2**64
        assert same(_noise.blocks(KEY, at, 1)[:, 0], many[:, i])


@pytest.mark.parametrize("size", [1, 2, 3, 5, 11, 12, 51, 101])
def test_fields_have_the_bits_of_unfused_arithmetic(size):
    """The twin's operations are rounded one by one: no CPU can give other bits than any other."""
    place, exposure, ccd = np.array([0, 5, 2**40]), np.array([0, 2214439, 2**31 - 1]), np.array([0, 39, 100])
    for field in (_noise.FILL, _noise.NOISE):
        made = fields(place, exposure, ccd, field=field, size=size)
        for i in range(3):
            assert same(made[i], twins.normal(KEY, int(place[i]), int(exposure[i]), int(ccd[i]), field, size))


def test_elementary_functions_are_exact_to_rounding():
    x = np.concatenate([np.random.default_rng(1).uniform(0, 1, 100_000), 2.0 ** -np.arange(53), [1 - 2.0**-53]])
    np.testing.assert_allclose(twins.log(x), np.log(x), rtol=5e-16, atol=0)
    angle = np.linspace(-np.pi / 4, np.pi / 4, 100_001)
    for made, expected in zip(twins.sin_cos(angle), (np.sin(angle), np.cos(angle)), strict=True):
        np.testing.assert_allclose(made, expected, rtol=4e-16, atol=0)
    x = np.concatenate([np.linspace(-690, 690, 100_001), [0.0, -1e-300, 1e-17]])
    np.testing.assert_allclose(twins.exp(x), np.exp(x), rtol=6e-16, atol=0)


def test_numbers_are_normal():
    n = fields(np.arange(400)).ravel()[:1_000_000]
    assert n.size == 1_000_000
    assert abs(n.mean()) < 4e-3
    assert abs(n.var() - 1) < 4 * np.sqrt(2 / n.size)
    assert abs(stats.skew(n)) < 4 * np.sqrt(6 / n.size)
    assert abs(stats.kurtosis(n)) < 4 * np.sqrt(24 / n.size)
    assert stats.kstest(n, "norm").pvalue > 1e-3
    for limit in (3.0, 4.0):
        expected = n.size * stats.norm.sf(limit)
        for tail in (np.sum(n > limit), np.sum(n < -limit)):
            assert abs(tail - expected) < 5 * np.sqrt(expected)
    assert np.isfinite(n).all()


def test_the_two_numbers_of_a_pair_are_independent():
    z = fields(np.arange(400), size=32).reshape(400, 4, 256)
    for x, y in ((z[:, 0], z[:, 1]), (z[:, 2], z[:, 3]), (z[:, 0], z[:, 2])):
        for f, g in ((x, y), (x**2, y**2), (np.abs(x), y), (x, x * y)):
            assert abs(stats.pearsonr(f.ravel(), g.ravel())[0]) < 4.5 / np.sqrt(x.size)


def test_pixels_are_independent():
    n = fields(np.arange(400))
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (13, 0)):
        left = n[:, dy:, max(dx, 0) : 51 + min(dx, 0)]
        right = n[:, : 51 - dy, max(-dx, 0) : 51 - max(dx, 0)]
        assert abs(np.mean(left * right)) < 4 / np.sqrt(left.size)
    turned = np.rot90(n, axes=(1, 2))
    middle = np.arange(51) != 25
    assert abs(np.mean((n * turned)[:, middle])) < 4 / np.sqrt(n.size)


def test_every_part_of_the_name_makes_another_field():
    place = np.arange(100)
    base = fields(place)
    other_key = KEY.copy()
    other_key[3] += np.uint64(1)
    for other in (
        fields(place + 1000),
        fields(place, 1000001),
        fields(place, ccd=8),
        fields(place, field=_noise.FILL),
        fields(place, field=2),
        fields(place, key=other_key),
        fields(place, 7, 1000000),
    ):
        assert abs(np.mean(base * other)) < 4 / np.sqrt(base.size)
    # place, exposure and CCD are words of their own: none is added to another
    assert abs(np.mean(fields([1], 2, 3) * fields([2], 1, 3))) < 4 / 51
    assert abs(np.mean(base[1:] * base[:-1])) < 4 / np.sqrt(base.size)


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_fields_do_not_depend_on_batch_and_threads(n_threads):
    place = np.array([3, 1, 4, 1, 5, 9, 2, 6])
    whole = fields(place, n_threads=n_threads)
    assert same(whole, np.concatenate([fields([one]) for one in place]))
    assert same(whole[1], whole[3])
    assert fields(np.zeros(0, np.int64)).shape == (0, 51, 51)


def noisy(rng, n, size):
    """Stamps with a source each, weights with holes, and the sources' model."""
    y, x = np.indices((size, size)) - 0.5 * (size - 1)
    image, model = np.zeros((n, size, size), np.float32), np.zeros((n, 6))
    for i in range(n):
        g1, g2, sigma, dx, dy = *rng.uniform(-0.3, 0.3, 2), rng.uniform(1, 5), *rng.uniform(-1, 1, 2)
        model[i] = g1, g2, sigma, dx, dy, 10.0 ** rng.uniform(1, 4)
        peak = model[i, 5] / (2 * np.pi * sigma**2)
        image[i] = peak * np.exp(-0.5 * ((x - dx) ** 2 + (y - dy) ** 2) / sigma**2) + rng.normal(0, 2, (size, size))
    weight = rng.uniform(0.2, 0.3, image.shape).astype(np.float32) * (rng.random(image.shape) > 0.1)
    return np.where(weight > 0, image, 0).astype(float), weight.astype(float), model


PATTERNS = {
    "noise": lambda n: n,
    "counts": lambda n: np.round(2 * n),
    "two values": lambda n: np.where(n > 0, 1.0, -1.0),
    "mostly equal": lambda n: np.where(n > 1.5, n, 3.0),
    "offset": lambda n: n + 1e6,
    "outliers": lambda n: n**9 * 1e10,
    "all magnitudes": lambda n: np.sign(n) * np.exp(np.clip(25 * n, -87, 87)),
    "denormal": lambda n: n * 1e-41,
    "zeros of both signs": lambda n: np.where(n > 0, 0.0, -0.0),
    "extremes": lambda n: np.sign(n) * FLOAT_MAX,
    "rising": lambda n: np.sort(n.ravel()).reshape(n.shape),
}


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("size", [1, 7, 8, 9, 15, 51])
def test_levels_are_those_of_sorted_numbers(pattern, size):
    rng = np.random.default_rng(size)
    for weight in (np.ones((size, size)), (rng.random((size, size)) > 0.3) * 4.0, rng.uniform(1, 2, (size, size))):
        image = PATTERNS[pattern](rng.normal(size=(1, size, size))).astype(np.float32).astype(float)
        weight = weight.astype(np.float32).astype(float)
        level = _noise.level(image, weight[None], NO_MODEL[None])[0]
        sigma, mapped, measured, agrees = twins.level(image[0], weight, NO_MODEL)
        np.testing.assert_array_equal([level["sigma"], level["mapped"]], [sigma, mapped])
        assert (bool(level["measured"]), bool(level["agrees"])) == (measured, agrees)


def test_levels_outside_an_object_are_those_of_the_rule():
    image, weight, model = noisy(np.random.default_rng(5), 30, 51)
    levels = _noise.level(image, weight, model)
    expected = np.array([twins.level(*row)[:2] for row in zip(image, weight, model, strict=True)])
    np.testing.assert_array_equal(levels["sigma"], expected[:, 0])
    np.testing.assert_array_equal(levels["mapped"], expected[:, 1])
    assert levels["measured"].all()
    assert levels["agrees"].all()
    np.testing.assert_allclose(levels["sigma"], 2.0, rtol=0.15)


def test_the_object_does_not_raise_the_level():
    rng = np.random.default_rng(2)
    y, x = np.indices((51, 51)) - 25
    profile = 30.0 * np.exp(-0.5 * (x**2 + y**2) / 7.0**2)
    image = (profile + rng.normal(0.0, 2.0, profile.shape))[None]
    weight = np.full(image.shape, 0.25)
    level = _noise.level(image, weight, np.array([[0.0, 0.0, 7.0, 0.0, 0.0, 30.0 * 2 * np.pi * 49]]))[0]
    assert level["measured"]
    assert level["agrees"]
    # The wings below 1.2 sigma stay in: a tenth for an object as large as this one.
    assert level["sigma"] == pytest.approx(2.0, rel=0.15)
    assert _noise.level(image, weight, NO_MODEL[None])[0]["sigma"] > 1.3 * level["sigma"]


def test_pixels_without_weight_may_hold_anything():
    image = np.random.default_rng(3).normal(0.0, 2.0, (1, 51, 51))
    weight = np.full(image.shape, 0.25)
    weight[:, :10] = 0.0
    expected = _noise.level(image, weight, NO_MODEL[None])
    for value in (np.nan, np.inf, -np.inf, 1e300):
        image[:, :10] = value
        assert same(_noise.level(image, weight, NO_MODEL[None]), expected)


def test_a_wrong_weight_map_is_noticed_and_the_pixels_are_believed():
    image = np.random.default_rng(4).normal(0.0, 2.0, (1, 51, 51))
    level = _noise.level(image, np.full(image.shape, 1.0), NO_MODEL[None])[0]
    assert not level["agrees"]
    assert level["sigma"] == pytest.approx(2.0, rel=0.08)


def test_few_pixels_and_no_pixel():
    image = np.random.default_rng(4).normal(0.0, 2.0, (1, 51, 51))
    weight = np.zeros(image.shape)
    assert np.isnan(_noise.level(image, weight, NO_MODEL[None])["sigma"])
    weight.ravel()[:49] = 0.25
    level = _noise.level(image, weight, NO_MODEL[None])[0]
    assert not level["measured"]
    assert level["sigma"] == 2.0
    weight.ravel()[49] = 0.25
    assert _noise.level(image, weight, NO_MODEL[None])[0]["measured"]


def finish(image, weight, model, **options):
    image, weight, n = image.copy(), weight.copy(), len(image)
    names = np.arange(n) + 10, np.arange(n, dtype=np.int32) + 500, np.arange(n, dtype=np.int32) % 40
    noise, level, total = _noise.finish(image, weight, model, KEY, *names, **options)
    return image, weight, noise, level, total


@pytest.mark.parametrize("by_map", [False, True])
@pytest.mark.parametrize("size", [15, 51])
def test_stamps_are_finished_as_the_rule_says(by_map, size):
    image, weight, model = noisy(np.random.default_rng(6), 12, size)
    model[::4] = np.nan
    weight[1] = np.where(weight[1] > 0, weight[1], 0.25)  # no hole
    made = finish(image, weight, model, by_map=by_map)
    for i in range(12):
        expected = twins.finish(image[i], weight[i], model[i], KEY, i + 10, 500 + i, i % 40, by_map=by_map)
        np.testing.assert_array_equal(made[0][i], expected[0])
        np.testing.assert_array_equal(made[1][i], expected[1])
        np.testing.assert_array_equal(made[2][i], expected[2])
        assert made[3][i]["sigma"] == expected[3]
        assert made[4][i] == pytest.approx(expected[1].sum(), rel=1e-12)


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_finished_stamps_do_not_depend_on_batch_and_threads(n_threads):
    image, weight, model = noisy(np.random.default_rng(7), 9, 25)
    names = np.arange(9) % 4, np.arange(9, dtype=np.int32), np.full(9, 3, np.int32)
    whole = [image.copy(), weight.copy()]
    whole += _noise.finish(*whole, model, KEY, *names, n_threads=n_threads)
    for i in range(9):
        one = [image[i : i + 1].copy(), weight[i : i + 1].copy()]
        one += _noise.finish(*one, model[i : i + 1], KEY, *(name[i : i + 1] for name in names))
        assert all(same(left[i : i + 1], right) for left, right in zip(whole, one, strict=True))


def test_a_hole_gets_noise_like_the_rest():
    rng = np.random.default_rng(8)
    n = 200
    image, weight = rng.normal(0, 2, (n, 25, 25)), np.full((n, 25, 25), 0.25)
    hole = np.zeros((25, 25), bool)
    hole[10:14, 8:14] = True
    weight[:, hole], image[:, hole] = 0.0, 7.0
    filled, ready, noise, level, _ = finish(image, weight, np.full((n, 6), np.nan))
    assert (ready[:, hole] == 0).all()
    np.testing.assert_array_equal(filled[:, ~hole], image[:, ~hole])
    residual = filled[:, hole] - 7.0
    assert abs(residual.mean()) < 4 * 2 / np.sqrt(residual.size)
    assert residual.std() == pytest.approx(level["sigma"].mean(), rel=0.05)
    assert noise[:, hole].std() == pytest.approx(level["sigma"].mean(), rel=0.05)
    assert abs(np.mean(residual * noise[:, hole])) < 4 * 4 / np.sqrt(residual.size)


def exponential(g1, g2, scale, centre, size=51):
    """Return an exponential galaxy without noise, its elliptical radius, and the model of a Gaussian half as large."""
    x, y = twins.grid((size, size), np.array([0, 0, 0, *centre]))
    g_squared = g1**2 + g2**2
    squared = (1 + g_squared - 2 * g1) * x**2 - 4 * g2 * x * y + (1 + g_squared + 2 * g1) * y**2
    radius = np.sqrt(squared / (1 - g_squared))
    return 1000 * np.exp(-radius / scale), radius, np.array([g1, g2, 1.3 * scale, *centre, 4000.0])


def test_holes_are_filled_by_isophotes():
    """The model's size and flux do not matter where the profile is seen."""
    for g1, g2, centre in ((0.0, 0.0, (0.0, 0.0)), (0.3, -0.2, (0.4, -0.3)), (-0.1, 0.4, (-1.2, 2.0))):
        clean, radius, model = exponential(g1, g2, 4.0, centre)
        weight = np.ones(clean.shape)
        weight[::3, ::4] = 0.0
        weight[5:10, 20:26] = weight[30:33] = 0.0
        image = np.where(weight > 0, clean, -1e5)
        filled = image.copy()[None]
        _noise.fill(filled, weight[None], model[None])
        hole = weight == 0
        np.testing.assert_array_equal(filled[0][~hole], image[~hole])
        error = np.abs(filled[0] - clean)[hole]
        assert (error < 0.02 * clean[hole])[radius[hole] > 2].all()
        # the cusp, which no PSF has smoothed
        assert (error < 0.15 * clean.max()).all()
        np.testing.assert_allclose(filled[0].sum(), clean.sum(), rtol=2e-3)


def test_filled_stamps_are_those_of_the_rule():
    image, weight, model = noisy(np.random.default_rng(11), 20, 33)
    model[3::5] = np.nan
    weight[2, 10:20, 10:20] = weight[3, 10:20, 10:20] = 0.0
    weight[4] = 0.0
    weight[6, :, 1:] = 0.0
    whole = image.copy()
    _noise.fill(whole, weight, model, n_threads=3)
    for i in range(20):
        np.testing.assert_allclose(whole[i], twins.fill(image[i], weight[i], model[i]), rtol=1e-12, atol=1e-9)
        one = image[i : i + 1].copy()
        _noise.fill(one, weight[i : i + 1], model[i : i + 1])
        assert same(one[0], whole[i])


def test_a_model_is_not_extrapolated_above_what_is_seen():
    image = np.random.default_rng(9).normal(0, 1, (1, 51, 51))
    weight = np.ones(image.shape)
    weight[:, 10:20, 10:20] = 0.0
    brightest = image[weight > 0].max()
    image[:, 10:20, 10:20] = 0.0
    _noise.fill(image, weight, np.array([[0.0, 0.0, 2.0, -10.0, -10.0, 1e8]]))
    assert image.max() == brightest


def test_usable_pixels_are_counted_and_copied():
    rng = np.random.default_rng(10)
    n, size = 6, 21
    image = rng.normal(size=(n, size, size)).astype(np.float32)
    weight, flag = np.full(image.shape, 4.0, np.float32), np.zeros(image.shape, np.int32)
    psf = rng.uniform(0, 3, (n, 17, 17))
    image[0, 0, :5] = [np.nan, np.inf, -np.inf, FLOAT_MAX, -FLOAT_MAX]
    weight[1, 1, :6] = [np.nan, np.inf, 0.0, -1.0, FLOAT_MAX, 1e-45]
    flag[2, 10, 8:12] = [1, -1, 2**30, 0]
    flag[3] = 1
    jacobian = np.tile([0.186, 0.0, 0.0, 0.186], (n, 1))
    jacobian[4] = 0.19, 0.04, -0.02, 0.17
    offset = np.zeros((n, 2))
    offset[4] = 3.3, -2.7
    n_good, n_sound, n_core, n_core_good, psf_sum = _noise.inspect(
        image, weight, flag, psf, jacobian, offset, 0.6, given_up=1
    )
    np.testing.assert_array_equal(n_good, size**2 - np.array([3, 4, 3, size**2, 0, 0]))
    np.testing.assert_array_equal(n_sound, size**2 - np.array([3, 4, 2, 0, 0, 0]))
    y, x = np.indices((size, size)) - 10
    for i in range(n):
        u, v = jacobian[i].reshape(2, 2) @ np.stack([(x - offset[i, 0]).ravel(), (y - offset[i, 1]).ravel()])
        core = (np.hypot(u, v) <= 0.6).reshape(size, size)
        assert n_core[i] == core.sum()
        assert n_core_good[i] == (core & (flag[i] == 0)).sum()
    np.testing.assert_allclose(psf_sum, psf.sum(axis=(1, 2)), rtol=1e-14)
    rows = np.array([4, 0, 2, 1])
    images, weights, psfs = _noise.take(image, weight, flag, psf, psf_sum, rows, n_threads=2)
    np.testing.assert_allclose(psfs.sum(axis=(1, 2)), 1, rtol=1e-14)
    for i, row in enumerate(rows):
        good = (flag[row] == 0) & np.isfinite(weight[row]) & (weight[row] > 0) & np.isfinite(image[row])
        np.testing.assert_array_equal(images[i], np.where(good, image[row], 0))
        np.testing.assert_array_equal(weights[i], np.where(good, weight[row], 0))
        np.testing.assert_allclose(psfs[i], psf[row] / psf[row].sum(), rtol=1e-14)


def test_what_was_seen_is_put_back_into_sound_pixels_that_were_given_up():
    rng = np.random.default_rng(11)
    n, shape, given_up = 5, (17, 23), 4 | 1 << 24
    image = rng.normal(size=(n, *shape)).astype(np.float32)
    weight = np.ones_like(image)
    flag = rng.choice([0, 1, 4, 5, 1 << 24, given_up, -1, 1 << 30], image.shape).astype(np.int32)
    image[:, 2, ::3], weight[:, 3, ::2] = np.nan, 0.0
    weight[:, 4, ::2] = np.inf
    rows = np.array([3, 0, 3, 1])
    taken = rng.normal(size=(4, *shape))
    before = taken.copy()
    _noise.restore(taken, image, weight, flag, rows, given_up, n_threads=3)
    sound = np.isfinite(image) & (weight > 0) & np.isfinite(weight) & (flag & ~given_up == 0)
    np.testing.assert_array_equal(taken, np.where((sound & (flag != 0))[rows], image[rows], before))
    assert (taken != before).any() and np.isfinite(taken).all()
    _noise.restore(taken, image, weight, flag, rows, 0)
    np.testing.assert_array_equal(taken, np.where((sound & (flag != 0))[rows], image[rows], before))


@pytest.mark.parametrize(
    "value", [np.nan, np.inf, -np.inf, 0.0, -1.0, 1e-320, 1e308, [1e300, -1e300], [np.inf, -np.inf], [1e200, -1e200]]
)
def test_a_psf_that_cannot_be_normalised_is_told(value):
    psf = np.ones((1, 9, 9)) * 1e-200
    psf[0, 0, : np.size(value)] = value
    if np.size(value) == 1:
        psf[:] = value
    stamp = np.ones((1, 9, 9), np.float32)
    result = _noise.inspect(stamp, stamp, stamp.astype(np.int32) * 0, psf, np.ones((1, 4)), np.zeros((1, 2)), 1.0)
    assert np.isnan(result[4][0])


@pytest.mark.parametrize("jacobian", [0.0, np.nan, np.inf, 1e200, 1e-200, -1e308])
@pytest.mark.parametrize("offset", [0.0, np.nan, np.inf, -1e300, 1e300])
@pytest.mark.parametrize("radius", [0.0, 0.6, 1e300, np.inf, np.nan])
def test_hostile_frames_stay_within_the_stamp(jacobian, offset, radius):
    stamp = np.ones((2, 9, 9), np.float32)
    _, _, n_core, n_core_good, _ = _noise.inspect(
        stamp,
        stamp,
        np.zeros(stamp.shape, np.int32),
        stamp.astype(float),
        np.array([[jacobian, 0, 0, 0.2], [0.1, jacobian, 0.3, jacobian]]),
        np.full((2, 2), offset),
        radius,
    )
    assert ((n_core >= 0) & (n_core <= 81) & (n_core_good == n_core)).all()


@pytest.mark.parametrize("value", [0.0, -3.5, FLOAT_MAX, -FLOAT_MAX, 1e-45])
@pytest.mark.parametrize("weight", [1e-45, 1.0, FLOAT_MAX])
@pytest.mark.parametrize(
    "model",
    [
        NO_MODEL,
        np.zeros(6),
        [0.99999, 0, 2, 0, 0, 1],
        [2, 2, 2, 0, 0, 1],
        [0, 0, 1e-300, 0, 0, 1],
        [0, 0, 1e300, 0, 0, 1e308],
        [0, 0, 1e-10, 0, 0, 1e308],
        [0, 0, 2, 1e300, -1e300, 100],
        [0, 0, 2, np.inf, np.nan, 100],
        [np.inf] * 6,
        [0, 0, 2, 0, 0, -5],
    ],
)
def test_hostile_stamps_give_numbers(value, weight, model):
    for by_map in (False, True):
        image, weights = np.full((2, 15, 15), value), np.full((2, 15, 15), weight)
        image[1, ::2] *= -1
        weights[:, 3:5] = image[:, 3:5] = 0.0
        models = np.array([model, model], float)
        _noise.fill(image, weights, models)
        filled, ready, noise, level, total = finish(image, weights, models, by_map=by_map)
        assert np.isfinite(filled).all()
        assert np.isfinite(ready).all()
        assert np.isfinite(noise).all()
        assert np.isfinite(total).all()
        assert np.isfinite(level["sigma"]).all()
        assert (level["sigma"] > 0).all()


def test_shapes_that_do_not_fit_are_refused():
    stamp, f4 = np.ones((2, 9, 9)), np.ones((2, 9, 9), np.float32)
    flag, two, ids, place = f4.astype(np.int32), np.zeros((2, 2)), np.zeros(2, np.int32), np.zeros(2, np.int64)
    jacobian, model = np.ones((2, 4)), np.ones((2, 6))
    for call in (
        lambda: _noise.blocks(KEY[:3], KEY, 1),
        lambda: _noise.blocks(KEY, KEY[:3], 1),
        lambda: _noise.blocks(KEY, KEY, -1),
        lambda: _noise.normal(KEY, place[:1], ids, ids, 0, 5),
        lambda: _noise.normal(KEY, place, ids, ids, -1, 5),
        lambda: _noise.normal(KEY, place, ids, ids, 0, 0),
        lambda: _noise.normal(KEY, place, ids, ids, 0, 5, n_threads=0),
        lambda: _noise.inspect(f4, f4[:, :8].copy(), flag, stamp, jacobian, two, 1.0),
        lambda: _noise.inspect(f4, f4, flag, stamp[:1], jacobian, two, 1.0),
        lambda: _noise.inspect(f4, f4, flag, stamp, two, two, 1.0),
        lambda: _noise.inspect(f4, f4, flag, stamp[:, :0].copy(), jacobian, two, 1.0),
        lambda: _noise.take(f4, f4, flag, stamp, np.ones(1), place),
        lambda: _noise.restore(stamp[:1], f4, f4, flag, place, 1),
        lambda: _noise.restore(stamp[:, :8].copy(), f4, f4, flag, place, 1),
        lambda: _noise.restore(stamp, f4, f4[:1], flag, place, 1),
        lambda: _noise.restore(stamp, f4, f4, flag, place, 1, n_threads=0),
        lambda: _noise.level(stamp, stamp[:1], model),
        lambda: _noise.level(stamp, stamp, jacobian),
        lambda: _noise.level(stamp[:, :0].copy(), stamp[:, :0].copy(), model),
        lambda: _noise.fill(stamp, stamp[:1], model),
        lambda: _noise.fill(stamp, stamp, jacobian),
        lambda: _noise.finish(stamp, stamp, model, KEY, place, ids[:1], ids),
        lambda: _noise.finish(stamp, stamp[:, :5].copy(), model, KEY, place, ids, ids),
    ):
        with pytest.raises(ValueError):
            call()
    for row in (-1, 2):
        with pytest.raises(IndexError, match=f"no row {row}"):
            _noise.take(f4, f4, flag, stamp, np.ones(2), np.array([row]))
        with pytest.raises(IndexError, match=f"no row {row}"):
            _noise.restore(stamp[:1], f4, f4, flag, np.array([row]), 1)
