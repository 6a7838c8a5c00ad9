import hashlib

import numpy as np
import pytest
from kernels import twins

from shapempi.kernels import _psf


def gaussian(shape, sigma, sampling, dx=0.0, dy=0.0, g=0.0):
    y, x = (np.indices(shape) - (np.array(shape).reshape(2, 1, 1) - 1) / 2) * sampling
    x, y = x - dx, y - dy
    return np.exp(-0.5 * (x**2 * (1 - g) + y**2 * (1 + g)) / sigma**2)


@pytest.fixture(scope="module")
def batch():
    """Arguments of `draw`: a degree-2 model on a 41 x 37 grid and 40 positions."""
    rng = np.random.default_rng(3)
    first = gaussian((41, 37), 2.1, 0.8, g=0.05)
    basis = np.stack([first] + [first * rng.normal(0, 0.1, first.shape) for _ in range(5)])
    xn, yn = rng.uniform(-1, 1, (2, 40))
    dx, dy = rng.uniform(-0.5, 0.5, (2, 40))
    return basis, 2, 0.8, xn, yn, dx, dy, 33


def test_evaluate_equals_its_twin(batch):
    basis, degree, _, xn, yn = batch[:5]
    np.testing.assert_allclose(
        _psf.evaluate(basis, degree, xn, yn), twins.evaluate(basis, degree, xn, yn), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("interpolant", _psf.INTERPOLANTS)
@pytest.mark.parametrize("sampling", [1 / 3, 0.45, 0.5, 0.8, 1.0, 1.3, 2.0])
@pytest.mark.parametrize("size", [1, 3, 9, 33, 71])
def test_resample_equals_its_twin(batch, interpolant, sampling, size):
    basis, degree, _, xn, yn, dx, dy, _ = (a[:8] if np.ndim(a) == 1 else a for a in batch)
    models = twins.evaluate(basis, degree, xn, yn)
    np.testing.assert_allclose(
        _psf.resample(models, sampling, dx, dy, size, interpolant=interpolant),
        twins.resample(models, sampling, dx, dy, size, interpolant),
        rtol=0,
        atol=1e-13,
    )


@pytest.mark.parametrize("interpolant", _psf.INTERPOLANTS)
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (6, 5), (12, 9)])
@pytest.mark.parametrize("sampling", [0.7, 1.0])
def test_models_smaller_than_the_interpolant_and_even_ones(interpolant, shape, sampling):
    models = np.random.default_rng(2).uniform(0.5, 1, (5, *shape))
    dx, dy = np.array([0.0, 0.3, -2.6, 5.5, -40.0]), np.array([0.0, -0.2, 3.9, -5.1, 0.0])
    np.testing.assert_allclose(
        _psf.resample(models, sampling, dx, dy, 9, interpolant=interpolant),
        twins.resample(models, sampling, dx, dy, 9, interpolant),
        rtol=0,
        atol=1e-12,
    )


def test_a_step_that_is_almost_a_whole_number_makes_no_jump(batch):
    basis, degree, _, xn, yn, dx, dy, _ = batch
    models = _psf.evaluate(basis, degree, xn, yn)
    for whole in (1.0, 0.5):
        exact = _psf.resample(models, whole, dx, dy, 33, interpolant="kaiser6")
        almost = _psf.resample(models, whole * (1 + 1e-11), dx, dy, 33, interpolant="kaiser6")
        np.testing.assert_allclose(almost, exact, rtol=0, atol=1e-10)


def test_the_bits_are_the_same_on_every_machine():
    # Integers times powers of two: nothing here depends on a libm.
    rng = np.random.default_rng(5)
    basis = rng.integers(1, 1000, (6, 25, 23)) / 1024.0
    xn, yn, dx, dy = rng.integers(-512, 512, (4, 11)) / 1024.0
    digest = hashlib.sha256()
    for interpolant in _psf.INTERPOLANTS:
        for sampling in (0.5, 0.8125, 1.0):
            stamps = _psf.draw(basis, 2, sampling, xn, yn, dx, dy, 15, interpolant=interpolant)
            digest.update(stamps.astype("<f8").tobytes())
    assert digest.hexdigest() == "e00af33a8743dc013ec47c003e65cea462bbdceeb4a3c335ed6123a4a6e9b8fe"


def test_an_unknown_interpolant_is_refused(batch):
    with pytest.raises(ValueError, match="no interpolant 'lanczos6'; there are lanczos3"):
        _psf.draw(*batch, interpolant="lanczos6")
    with pytest.raises(ValueError, match="no interpolant"):
        _psf.resample(np.ones((1, 5, 5)), 1.0, np.zeros(1), np.zeros(1), 5, interpolant="nearest")


def test_draw_is_evaluate_then_resample(batch):
    basis, degree, sampling, xn, yn, dx, dy, size = batch
    in_two = _psf.resample(_psf.evaluate(basis, degree, xn, yn), sampling, dx, dy, size)
    assert np.array_equal(_psf.draw(*batch), in_two)


@pytest.mark.parametrize("degree", [0, 1, 2, 6])
def test_terms_are_in_the_order_of_psfex(degree):
    n_coef = (degree + 1) * (degree + 2) // 2
    basis = np.arange(1.0, n_coef + 1)[:, None, None] * np.ones((1, 2, 3))
    expected, k = 0.0, 1
    for q in range(degree + 1):
        for p in range(degree - q + 1):
            expected += k * 0.7**p * (-0.3) ** q
            k += 1
    drawn = _psf.evaluate(basis, degree, np.array([0.7]), np.array([-0.3]))
    np.testing.assert_allclose(drawn, np.full((1, 2, 3), expected), rtol=1e-13)


@pytest.mark.parametrize("interpolant", _psf.INTERPOLANTS)
@pytest.mark.parametrize("size", [15, 21, 27])
def test_on_the_grid_a_stamp_is_the_model_cropped_or_padded(size, interpolant):
    model = np.random.default_rng(1).uniform(0, 1, (21, 21))
    stamp = _psf.resample(model[None], 1.0, np.zeros(1), np.zeros(1), size, interpolant=interpolant)[0]
    if size <= 21:
        margin = (21 - size) // 2
        expected = model[margin : 21 - margin, margin : 21 - margin]
    else:
        expected = np.pad(model, (size - 21) // 2)
    np.testing.assert_allclose(stamp, expected / expected.sum(), rtol=0, atol=1e-17)


def test_a_model_of_unit_sum_is_copied_bit_by_bit():
    model = np.random.default_rng(1).integers(1, 1000, (16, 16)) / 1024.0
    model = np.pad(model, ((0, 1), (0, 1)))
    model[-1, -1] = 2.0 ** np.ceil(np.log2(model.sum())) - model.sum()  # the sum is a power of two, exactly
    for interpolant in _psf.INTERPOLANTS:
        stamp = _psf.resample(model[None], 1.0, np.zeros(1), np.zeros(1), 17, interpolant=interpolant)[0]
        assert np.array_equal(stamp, model / model.sum())


@pytest.mark.parametrize("interpolant", _psf.INTERPOLANTS)
def test_a_shift_by_whole_pixels_is_exact(interpolant):
    model = np.random.default_rng(1).uniform(0, 1, (21, 21))
    # 1 - 1e-16 / 2 and such are whole numbers too, with the rounding of whoever computed them
    for dx, dy in ((2.0, -1.0), (np.nextafter(2.0, 3.0), np.nextafter(-1.0, 0.0))):
        stamp = _psf.resample(model[None], 1.0, np.array([dx]), np.array([dy]), 31, interpolant=interpolant)[0]
        expected = np.roll(np.pad(model, 5), (-1, 2), axis=(0, 1))
        np.testing.assert_allclose(stamp, expected / expected.sum(), rtol=0, atol=1e-17)


@pytest.mark.parametrize("sampling", [0.5, 0.8, 1.0])
def test_a_shifted_gaussian_is_a_gaussian_shifted(sampling):
    sigma, dx, dy = 2.2, np.array([0.31, -0.5, 0.0]), np.array([-0.42, 0.5, 0.25])
    models = np.repeat(gaussian((61, 61), sigma, sampling)[None], 3, axis=0)
    for stamp, dx_i, dy_i in zip(_psf.resample(models, sampling, dx, dy, 25), dx, dy, strict=True):
        truth = gaussian((25, 25), sigma, 1.0, dx_i, dy_i)
        truth /= truth.sum()
        assert np.abs(stamp - truth).max() < 5e-3 * truth.max()
        y, x = np.indices(truth.shape)
        for axis in (x, y):  # moments weighted by the truth, so that the far wings do not count
            moment = (stamp * truth * axis).sum() / (stamp * truth).sum()
            assert abs(moment - (truth * truth * axis).sum() / (truth * truth).sum()) < 5e-3


def test_a_constant_model_stays_constant():
    for interpolant in _psf.INTERPOLANTS:
        for sampling in (0.5, 0.7, 1.0):
            model, dx, dy = np.ones((1, 61, 61)), np.array([0.123]), np.array([-0.321])
            stamps = _psf.resample(model, sampling, dx, dy, 11, interpolant=interpolant)
            np.testing.assert_allclose(stamps, 1 / 121, rtol=1e-13)


@pytest.mark.parametrize(
    ("interpolant", "error"), [("lanczos3", 2e-2), ("lanczos4", 6e-3), ("lanczos7", 2e-4), ("kaiser6", 5e-5)]
)
def test_the_size_of_a_shifted_gaussian(interpolant, error):
    # A PSF of FWHM 3.5 pixels sampled at one pixel, shifted by half a pixel: what each interpolant makes of T.
    sigma = 3.5 / 2.3548
    model = gaussian((51, 51), sigma, 1.0)[None]
    stamp = _psf.resample(model, 1.0, np.array([0.5]), np.array([0.5]), 51, interpolant=interpolant)[0]
    truth = gaussian((51, 51), sigma, 1.0, 0.5, 0.5)
    y, x = np.indices(truth.shape) - 25.5

    def second_moment(image):  # weighted by the truth, so that the far wings do not count
        return (image * truth * (x**2 + y**2)).sum() / (image * truth).sum()

    assert error / 10 < abs(second_moment(stamp) / second_moment(truth) - 1) < error


def test_stamps_have_unit_sum(batch):
    np.testing.assert_allclose(_psf.draw(*batch).sum(axis=(1, 2)), 1.0, rtol=0, atol=1e-13)


def test_threads_change_nothing(batch):
    one = _psf.draw(*batch)
    for n_threads in (2, 8):
        assert np.array_equal(one, _psf.draw(*batch, n_threads=n_threads))
    basis, degree, sampling, xn, yn, dx, dy, size = batch
    models = _psf.evaluate(basis, degree, xn, yn)
    assert np.array_equal(models, _psf.evaluate(basis, degree, xn, yn, n_threads=8))
    assert np.array_equal(
        _psf.resample(models, sampling, dx, dy, size), _psf.resample(models, sampling, dx, dy, size, n_threads=8)
    )


def test_a_stamp_does_not_depend_on_its_batch(batch):
    basis, degree, sampling, *positions, size = batch
    together = _psf.draw(*batch)
    order = np.random.default_rng(8).permutation(40)
    shuffled = _psf.draw(basis, degree, sampling, *(p[order] for p in positions), size)
    assert np.array_equal(shuffled, together[order])
    alone = [_psf.draw(basis, degree, sampling, *(p[i : i + 1] for p in positions), size)[0] for i in range(40)]
    assert np.array_equal(alone, together)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e6, -1e300])
@pytest.mark.parametrize("which", [3, 4, 5, 6])
def test_a_hostile_position_costs_its_own_stamp_only(batch, bad, which):
    arguments = list(batch)
    arguments[which] = arguments[which].copy()
    arguments[which][5] = bad
    drawn, good = _psf.draw(*arguments), _psf.draw(*batch)
    others = np.arange(40) != 5
    assert np.array_equal(drawn[others], good[others])
    assert np.isfinite(drawn).all()
    if not np.isfinite(bad) or which >= 5:
        assert not drawn[5].any()


def test_a_model_that_is_not_finite_or_not_positive_is_drawn_as_zero():
    models = np.ones((4, 15, 15))
    models[0, 7, 7], models[1, 7, 7], models[2] = np.nan, np.inf, -1.0
    stamps = _psf.resample(models, 1.0, np.full(4, 0.2), np.zeros(4), 11)
    assert not stamps[:3].any()
    assert stamps[3].sum() == pytest.approx(1.0)
    assert np.isnan(_psf.evaluate(models[:1], 0, np.array([np.nan]), np.zeros(1))).all()


def test_an_empty_batch_is_an_empty_array(batch):
    basis, degree, sampling, *_, size = batch
    none = np.empty(0)
    assert _psf.draw(basis, degree, sampling, none, none, none, none, size).shape == (0, size, size)
    assert _psf.evaluate(basis, degree, none, none).shape == (0, 41, 37)
    assert _psf.resample(np.empty((0, 5, 5)), sampling, none, none, size).shape == (0, size, size)


def test_strided_positions_are_read_right(batch):
    basis, degree, sampling, *positions, size = batch
    every_other = _psf.draw(basis, degree, sampling, *(p[::2] for p in positions), size)
    assert np.array_equal(every_other, _psf.draw(*batch)[::2])


def change(batch, **changes):
    names = ["coefficients", "degree", "sampling", "xn", "yn", "dx", "dy", "size"]
    return dict(zip(names, batch, strict=True)) | changes


@pytest.mark.parametrize(
    "changes",
    [
        {"size": 32},
        {"size": 0},
        {"size": -3},
        {"degree": 1},
        {"degree": -1},
        {"sampling": 0.0},
        {"sampling": np.nan},
        {"sampling": np.inf},
        {"xn": np.zeros(3)},
        {"dy": np.zeros(41)},
        {"coefficients": np.zeros((6, 0, 5))},
        {"coefficients": np.zeros((5, 5, 6)).T},
        {"coefficients": np.zeros((6, 5, 5), np.float32)},
        {"n_threads": 0},
        {"interpolant": "lanczos1"},
        {"interpolant": None},
    ],
)
def test_arguments_that_do_not_fit_are_refused(batch, changes):
    with pytest.raises(ValueError):
        _psf.draw(**change(batch, **changes))


def test_the_kernel_says_where_it_lives():
    assert _psf.draw.__module__ == "shapempi.kernels._psf"
