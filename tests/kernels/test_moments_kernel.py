import numpy as np
import pytest
from kernels import twins_moments
from numpy.testing import assert_allclose

from shapempi.kernels import _isa, _moments

PATHS = _isa.available()
NO_PIXEL, NO_FLUX, SINGULAR, NOT_FINITE = 1, 4, 16, 128


def make_stamps(n, ny=51, nx=51, noise=0.0, seed=1):
    """Elliptical exponentials off the centre, smoothed by their own steps of a tenth of a pixel."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:ny, :nx].astype(float)
    stamps = np.empty((n, ny, nx))
    for stamp in stamps:
        dx, dy = x - (nx - 1) / 2 - rng.uniform(-1.5, 1.5), y - (ny - 1) / 2 - rng.uniform(-1.5, 1.5)
        e1, e2 = rng.uniform(-0.3, 0.3, 2)
        radius2 = (1 - e1) * dx**2 + (1 + e1) * dy**2 - 2 * e2 * dx * dy
        stamp[...] = np.exp(-np.sqrt(1 + radius2 / rng.uniform(1.5, 6.0)))
        stamp *= rng.uniform(1, 1e3)
        stamp += noise * np.sqrt(np.sum(stamp**2)) * rng.normal(size=stamp.shape)
    return stamps


def measure(stamps, weights=None, guess=2.0, **options):
    return _moments.adaptive(stamps, weights, np.full(len(stamps), guess), **options)


def run_fixed(stamps, weights=None, jacobian=(-0.187, 0.004, 0.003, 0.186), offset=(0.0, 0.0), fwhm=1.2, **options):
    jacobians, offsets = np.tile(jacobian, (len(stamps), 1)), np.tile(offset, (len(stamps), 1))
    return _moments.fixed(stamps, weights, jacobians, offsets, fwhm, **options)


@pytest.fixture(scope="module")
def noisy():
    return np.concatenate([make_stamps(20), make_stamps(40, noise=0.01, seed=2), make_stamps(40, noise=0.05, seed=3)])


@pytest.fixture(scope="module")
def weights(noisy):
    rng = np.random.default_rng(4)
    return np.where(rng.random(noisy.shape) < 0.03, 0.0, rng.uniform(0.5, 2.0, noisy.shape))


@pytest.mark.parametrize("masked", [False, True])
def test_adaptive_moments_are_the_fixed_point(noisy, weights, masked):
    values, flags, n_iteration = measure(noisy, weights if masked else None)
    assert np.count_nonzero(flags) <= 2
    stamps = np.where(weights > 0, noisy, 0.0) if masked else noisy
    for i in np.flatnonzero(flags == 0):
        expected = twins_moments.adaptive(stamps[i], values[i])
        # Where the weight is cut, noise makes the sums step by 1e-7 of a pixel.
        tolerance = 1e-8 if i < 20 else 3e-6
        assert_allclose(values[i, :5], expected[:5], rtol=tolerance, atol=tolerance)
        assert_allclose(values[i, 5], expected[5], rtol=tolerance)
    assert (n_iteration[:20] < 30).all()


def test_newton_only_shortens_the_way(noisy):
    """Other guesses lead to the same numbers."""
    values, flags, _ = measure(noisy)
    for guess in (1.5, 3.0):
        others, other_flags, _ = measure(noisy, guess=guess)
        both = (flags == 0) & (other_flags == 0)
        assert both.mean() > 0.97
        difference = np.abs(others - values)[both, :5].max(axis=1)
        # noise of S/N 20 may have two solutions
        assert np.mean(difference > 1e-5) <= 0.02
        assert np.median(difference) < 1e-8


@pytest.mark.parametrize("isa", PATHS)
def test_instruction_sets_agree_on_adaptive_moments(noisy, weights, isa):
    values, flags, n_iteration = measure(noisy, weights, isa="portable")
    others, other_flags, other_iterations = measure(noisy, weights, isa=isa)
    assert np.array_equal(flags, other_flags)
    # where the cut's steps meet the threshold, one iteration more or less may be needed
    same = n_iteration == other_iterations
    assert same.mean() > 0.97
    assert_allclose(others[same], values[same], rtol=1e-9, atol=1e-10)
    assert_allclose(others, values, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("isa", PATHS)
@pytest.mark.parametrize(("fwhm", "shape"), [(1.2, (51, 51)), (0.05, (31, 31)), (30.0, (41, 37)), (0.6, (101, 101))])
def test_fixed_sums_are_what_they_mean(isa, fwhm, shape):
    rng = np.random.default_rng(6)
    stamps = make_stamps(8, *shape, noise=0.02, seed=5)
    weights = np.where(rng.random(stamps.shape) < 0.05, 0.0, rng.uniform(0.5, 2.0, stamps.shape))
    jacobians = rng.normal(0, 0.02, (8, 4)) + [[-0.19, 0.0, 0.0, 0.19], [0.0, 0.2, 0.2, 0.0]] * 4
    offsets = rng.uniform(-1, 1, (8, 2))
    sums, covariance, flags = _moments.fixed(stamps, weights, jacobians, offsets, fwhm, isa=isa)
    assert not flags.any()
    for i in range(8):
        expected, spread = twins_moments.fixed(stamps[i], weights[i], jacobians[i], offsets[i], fwhm)
        error = np.sqrt(np.diag(spread))
        assert (np.abs(sums[i] - expected) <= 1e-10 * error).all()
        assert (np.abs(covariance[i] - spread) <= 1e-10 * np.outer(error, error)).all()
        assert np.array_equal(covariance[i], covariance[i].T)


def test_threads_and_batches_change_no_bit(noisy, weights):
    together = measure(noisy, weights)
    sums = run_fixed(noisy, weights)
    for n_threads in (2, 5):
        assert all(map(same_bits, together, measure(noisy, weights, n_threads=n_threads)))
        assert all(map(same_bits, sums, run_fixed(noisy, weights, n_threads=n_threads)))
    order = np.random.default_rng(8).permutation(len(noisy))
    for part in np.array_split(order, 7):
        assert all(
            same_bits(whole[part], cut)
            for whole, cut in zip(together, measure(noisy[part], weights[part]), strict=True)
        )
        assert all(
            same_bits(whole[part], cut) for whole, cut in zip(sums, run_fixed(noisy[part], weights[part]), strict=True)
        )


def same_bits(a, b):
    return np.array_equal(a, b, equal_nan=True)


def test_types_change_no_bit(noisy, weights):
    single, single_weights = noisy.astype(np.float32), weights.astype(np.float32)
    for stamps, same in ((single, single.astype(float)), (noisy, noisy)):
        expected = measure(same, weights)
        for mask in (weights, weights > 0, single_weights):
            assert all(map(same_bits, expected, measure(stamps, mask)))
    expected = run_fixed(single.astype(float), single_weights.astype(float))
    assert all(map(same_bits, expected, run_fixed(single, single_weights)))
    assert all(map(same_bits, run_fixed(noisy, np.ones_like(noisy)), run_fixed(noisy)))


def test_unusable_pixels_may_hold_anything(noisy, weights):
    expected, sums = measure(noisy, weights), run_fixed(noisy, weights)
    for rubbish in (np.nan, np.inf, -1e308):
        spoilt = np.where(weights > 0, noisy, rubbish)
        for nothing in (0.0, -1.0, np.nan, np.inf):
            mask = np.where(weights > 0, weights, nothing)
            assert all(map(same_bits, expected, measure(spoilt, mask)))
            assert all(map(same_bits, sums, run_fixed(spoilt, mask)))


def test_nothing_outside_the_stamp_is_read():
    inner = make_stamps(3, 9, 13, seed=11)
    padded = np.full(5 * inner[0].size, np.nan)
    padded[inner[0].size : -inner[0].size] = inner.ravel()
    view = padded[inner[0].size : -inner[0].size].reshape(inner.shape)
    assert all(map(same_bits, measure(inner, guess=1.5), measure(view, guess=1.5)))
    assert all(map(same_bits, run_fixed(inner), run_fixed(view)))


def hostile_stamps(size):
    rng = np.random.default_rng(9)
    centre = size // 2
    one, cross = np.zeros((2, size, size))
    one[centre, centre] = cross[centre] = cross[:, centre] = 1.0
    nan, inf = make_stamps(2, size, size)
    nan[0, 0], inf[centre, centre] = np.nan, np.inf
    return {
        "zero": np.zeros((size, size)),
        "nan": nan,
        "inf": inf,
        "constant": np.ones((size, size)),
        "negative": -make_stamps(1, size, size)[0],
        "one": one,
        "cross": cross,
        "noise": rng.normal(size=(size, size)),
        "huge": 1e304 * make_stamps(1, size, size)[0],
        "tiny": 1e-310 * make_stamps(1, size, size)[0],
        "board": np.indices((size, size)).sum(axis=0) % 2 - 0.5,
        "edge": np.eye(size)[0] * np.ones((size, 1)),
        "far": np.exp(-0.5 * ((np.indices((size, size)) - size) ** 2).sum(axis=0)),
    }


@pytest.mark.parametrize("isa", PATHS)
@pytest.mark.parametrize("size", [1, 2, 3, 8, 51, 101])
def test_hostile_stamps_are_flagged_or_finite(isa, size):
    names, stamps = zip(*hostile_stamps(size).items(), strict=True)
    stamps = np.stack(stamps)
    with np.errstate(over="ignore"):
        single = stamps.astype(np.float32)
    some = np.zeros(stamps.shape)
    some[:, size // 2, size // 2] = 1.0
    for array in (stamps, single):
        for weights in (None, np.ones_like(array), some, np.full(array.shape, 1e-320), np.full(array.shape, 1e308)):
            for guess in (2.0, 0.1, 40.0, 1e-5, 1e-200, 1e200, np.nan, np.inf, -1.0):
                values, flags, _ = measure(array, weights, guess, isa=isa)
                assert np.isfinite(values[flags == 0]).all() and np.isnan(values[flags != 0]).all()
                assert (values[flags == 0][:, [2, 5]] > 0).all()
            for fwhm in (1.2, 1e-6, 1e-3, 1e3, 1e300, 1e-300):
                sums, covariance, flags = run_fixed(array, weights, fwhm=fwhm, isa=isa)
                assert np.isfinite(sums).all() and np.isfinite(covariance).all()
                assert not sums[flags != 0].any()
    flags = dict(zip(names, measure(stamps, isa=isa)[1], strict=True))
    assert flags["zero"] == NO_FLUX and flags["nan"] == NOT_FINITE and flags["inf"] == NOT_FINITE
    assert flags["negative"] or size < 3
    assert (measure(stamps, np.zeros_like(stamps), isa=isa)[1] == NO_PIXEL).all()
    assert (run_fixed(stamps, np.zeros_like(stamps), isa=isa)[2] == NO_PIXEL).all()


@pytest.mark.parametrize(
    "jacobian",
    [(0, 0, 0, 0), (1, 1, 1, 1), (np.nan, 0, 0, 1), (np.inf, 0, 0, 1), (1e-200, 0, 0, 1e200), (1e9, 0, 0, 1e9)],
)
def test_a_singular_jacobian_is_flagged(noisy, jacobian):
    sums, covariance, flags = run_fixed(noisy, jacobian=np.array(jacobian, float))
    assert (flags == SINGULAR).all() and not sums.any() and not covariance.any()


@pytest.mark.parametrize("offset", [(np.nan, 0), (0, np.inf), (1e300, 0), (1e6, -1e6), (100.0, 30.0)])
def test_a_hostile_offset_has_no_sums(noisy, offset):
    sums, covariance, _ = run_fixed(noisy, offset=np.array(offset, float))
    assert np.isfinite(sums).all() and np.isfinite(covariance).all()
    assert not sums.any() or offset == (100.0, 30.0)


def test_an_empty_batch_is_empty():
    none = np.empty((0, 5, 5))
    assert [len(part) for part in measure(none)] == [0, 0, 0]
    assert [len(part) for part in run_fixed(none)] == [0, 0, 0]


@pytest.mark.parametrize(
    "changes",
    [
        {"stamps": np.ones((5, 5))},
        {"stamps": np.ones((2, 0, 5))},
        {"stamps": np.ones((2, 5, 5), int)},
        {"stamps": np.ones((2, 5, 5), bool)},
        {"stamps": np.ones((2, 5, 5), ">f8")},
        {"stamps": np.ones((2, 5, 10))[:, :, ::2]},
        {"weights": np.ones((2, 5, 4))},
        {"weights": np.ones((1, 5, 5))},
        {"weights": np.ones((2, 5, 5), np.int32)},
        {"n_threads": 0},
        {"isa": "sse9"},
    ],
)
def test_arguments_that_do_not_fit_are_refused(changes):
    arguments = {"stamps": np.ones((2, 5, 5)), "weights": None, "n_threads": 1, "isa": "auto"} | changes
    with pytest.raises(ValueError):
        _moments.adaptive(guess_sigma=np.full(2, 2.0), **arguments)
    with pytest.raises(ValueError):
        _moments.fixed(jacobians=np.ones((2, 4)), offsets=np.zeros((2, 2)), fwhm=1.0, **arguments)


def test_more_arguments_that_do_not_fit_are_refused(noisy):
    with pytest.raises(ValueError):
        _moments.adaptive(noisy, None, np.ones(3))
    good = (np.ones((len(noisy), 4)), np.zeros((len(noisy), 2)), 1.0)
    for i, bad in ((0, good[0][1:]), (0, good[0][:, :3].copy()), (1, good[1][1:]), (2, 0.0), (2, np.nan), (2, np.inf)):
        with pytest.raises(ValueError):
            _moments.fixed(noisy, None, *good[:i], bad, *good[i + 1 :])
