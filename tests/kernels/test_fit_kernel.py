import numpy as np
import pytest
from kernels import twins_fit as twins

from shapempi.kernels import _fit, _isa

SCALE = 0.186
STRAIGHT = np.array([SCALE, 0.0, 0.0, SCALE])
JACOBIANS = {
    "straight": STRAIGHT,
    "rotated by 180 degrees": -STRAIGHT,
    "rotated by 90 degrees": STRAIGHT[[1, 0, 3, 2]] * [1, 1, -1, 1],
    "flipped": STRAIGHT * [-1, 1, 1, 1],
    "axes swapped": STRAIGHT[[1, 0, 3, 2]],
    "sheared": np.array([0.190, 0.006, 0.004, 0.180]),
    "sheared much": np.array([0.25, 0.10, -0.06, 0.15]),
}
TRUTH = np.array([0.03, -0.05, 0.2, -0.1, 0.3, 100.0])
START = np.array([0.0, 0.0, 0.0, 0.0, 0.2, np.nan])

SINGULAR, NOT_FINITE, RANGE, NO_PIXELS = 512, 4096, 128, 32768


def epoch(p=TRUTH, shape=(41, 41), jacobian=STRAIGHT, sigma=0.35, origin=(0.0, 0.0), components=twins.GAUSS, noise=0.0):
    """Return an epoch (image, weight, jacobian, sigma, origin)."""
    image = twins.draw(p, shape, jacobian, sigma, origin, components)
    return image + noise, np.ones(shape), jacobian, sigma, origin


def run(objects, start=START, *, components=twins.GAUSS, **settings):
    """Fit objects, each a list of epochs; an epoch's image is [y, x] or [type, y, x]."""
    epochs = [e for epochs in objects for e in epochs]
    images = np.array([e[0].reshape(-1, *e[0].shape[-2:]) for e in epochs])
    origins = np.broadcast_to(np.array([e[4] for e in epochs])[:, None], (*images.shape[:2], 2))
    return _fit.fit(
        images,
        np.array([e[1] for e in epochs]),
        np.array([e[2] for e in epochs]),
        np.ascontiguousarray(origins),
        np.array([e[3] for e in epochs], dtype=float),
        np.cumsum([0] + [len(epochs) for epochs in objects]),
        np.broadcast_to(start, (len(objects), 6)).copy("C"),
        flux_fractions=components[0],
        size_fractions=components[1],
        **(twins.SETTINGS | settings),
    )


def noisy_objects(n, snr, seed=0, n_epoch=3, n_type=1, components=twins.GAUSS, shape=(35, 35)):
    """Return objects of different shapes and sizes in epochs of different Jacobians, with masks."""
    rng = np.random.default_rng(seed)
    jacobians = list(JACOBIANS.values())
    objects = []
    for i in range(n):
        p = np.array([*rng.normal(0, 0.05, 2), *rng.uniform(-0.4, 0.4, 2), rng.uniform(0.1, 0.6), 100.0])
        epochs = []
        for k in range(n_epoch):
            jacobian = jacobians[(i + k) % len(jacobians)]
            origin = rng.uniform(-0.1, 0.1, 2)
            image, weight, *rest = epoch(p, shape, jacobian, 0.3 + 0.03 * k, origin, components)
            sigma = np.sqrt(n_epoch * np.sum(image**2)) / snr
            image = image + rng.normal(0, sigma, (n_type, *shape))
            weight = rng.uniform(0.5, 1.0, shape) / sigma**2
            weight[rng.random(shape) < 0.1] = 0.0
            epochs.append((image if n_type > 1 else image[0], weight, *rest))
        objects.append(epochs)
    return objects


def same(a, b):
    return all(np.array_equal(x, y, equal_nan=x.dtype.kind == "f") for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("components", [twins.GAUSS, twins.PAIR], ids=["one component", "two components"])
@pytest.mark.parametrize("with_prior", [True, False])
@pytest.mark.parametrize("snr", [20, 200])
def test_the_solution_is_that_of_the_twin(components, with_prior, snr):
    objects = noisy_objects(4, snr, components=components)
    p, errors, covariance, s2n, flags, _ = run(objects, components=components, with_prior=with_prior, tolerance=1e-14)
    assert not flags.any()
    for i, epochs in enumerate(objects):
        slopes = twins.derivatives(p[i, 0], epochs, components, with_prior=with_prior)
        values = twins.residuals(p[i, 0], epochs, components, with_prior=with_prior)
        # What a step of Gauss and Newton would still change, in errors.
        step = np.linalg.solve(slopes @ slopes.T, slopes @ values)
        np.testing.assert_allclose(step / errors[i, 0], 0.0, atol=2e-6)
        expected = twins.covariance(p[i, 0], epochs, components, with_prior=with_prior)
        scale = np.sqrt(np.diag(expected))
        np.testing.assert_allclose(errors[i, 0], scale, rtol=1e-6)
        np.testing.assert_allclose(
            covariance[i, 0] / np.outer(scale, scale), expected / np.outer(scale, scale), atol=1e-6
        )
        assert s2n[i, 0] == pytest.approx(twins.signal_to_noise(p[i, 0], epochs, components), rel=1e-9)


def test_the_default_tolerance_is_near_enough():
    objects = noisy_objects(12, 15, seed=1)
    ends, errors, _, _, flags, n_evaluation = run(objects, tolerance=1e-14)
    p, _, _, _, _, fewer = run(objects)
    assert not flags.any()
    assert np.abs((p - ends) / errors).max() < 1e-4
    assert fewer.mean() < n_evaluation.mean()


@pytest.mark.parametrize("components", [twins.GAUSS, twins.PAIR], ids=["one component", "two components"])
@pytest.mark.parametrize("name", JACOBIANS)
def test_truth_comes_back_whatever_the_jacobian(name, components):
    one = epoch(jacobian=JACOBIANS[name], origin=(0.08, -0.03), components=components)
    p, _, _, _, flags, n_evaluation = run([[one]], with_prior=False, components=components)
    assert flags[0, 0] == 0
    np.testing.assert_allclose(p[0, 0], TRUTH, rtol=1e-9, atol=1e-9)
    assert n_evaluation[0, 0] < 12


@pytest.mark.parametrize("shape", [(7, 7), (8, 8), (9, 31), (16, 15), (31, 9), (51, 51), (101, 101)])
def test_stamps_of_all_sizes(shape):
    p, _, _, _, flags, _ = run([[epoch(shape=shape), epoch(shape=shape, sigma=0.4)]], with_prior=False)
    assert flags[0, 0] == 0
    np.testing.assert_allclose(p[0, 0], TRUTH, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (2, 3)])
def test_a_stamp_of_fewer_pixels_than_parameters_is_flagged(shape):
    p, errors, covariance, s2n, flags, n_evaluation = run([[epoch(shape=shape)]])
    assert flags[0, 0] == NO_PIXELS
    assert n_evaluation[0, 0] == 0
    assert np.isnan([*p.ravel(), *errors.ravel(), *covariance.ravel(), *s2n.ravel()]).all()


@pytest.mark.parametrize(
    ("p", "sigma"),
    [
        ([0, 0, 0.85, 0.2, 0.5, 10.0], 0.0),  # long and thin, half a pixel across
        ([0, 0, 0, 0, 0.008, 10.0], 0.0),  # a third of a pixel
        ([0.4, -0.7, 0.3, 0.5, 4.0, 10.0], 0.3),  # larger than the stamp, off centre
        ([2.9, 2.9, 0.1, 0.0, 0.2, 10.0], 0.35),  # at the corner
        ([0, 0, -0.3, 0.1, -0.1, 10.0], 0.35),  # smaller than the PSF
        ([0, 0, 0.2, 0.1, 0.3, -10.0], 0.35),  # negative
    ],
)
def test_extreme_models_are_summed_right(p, sigma):
    p = np.array(p, dtype=float)
    one = epoch(p, (33, 33), JACOBIANS["sheared much"], sigma)
    results = []
    for isa in _isa.available():
        fit = run([[one]], p * [1, 1, 1.01, 1.01, 0.99, 1], with_prior=False, isa=isa)
        assert fit[4][0, 0] == 0
        np.testing.assert_allclose(fit[0][0, 0], p, rtol=1e-7, atol=1e-7)
        results.append(fit[3][0, 0])
    np.testing.assert_allclose(results, twins.signal_to_noise(p, [one]), rtol=1e-10)


@pytest.mark.parametrize("components", [twins.GAUSS, twins.PAIR], ids=["one component", "two components"])
def test_instruction_sets_agree(components):
    objects = noisy_objects(10, 30, seed=2, n_type=3, components=components)
    reference = run(objects, components=components, isa="portable")
    assert not reference[4].any()
    for isa in _isa.available():
        fit = run(objects, components=components, isa=isa)
        assert np.abs((fit[0] - reference[0]) / reference[1]).max() < 1e-9
        np.testing.assert_allclose(fit[1], reference[1], rtol=1e-9)
        assert np.array_equal(fit[4], reference[4])


def test_an_object_depends_on_nothing_else_in_the_batch():
    objects = noisy_objects(9, 30, seed=3, n_type=2)
    objects[2] = objects[2][:1]
    objects[4] = [(np.full_like(e[0], np.nan), *e[1:]) for e in objects[4]]
    together = run(objects)
    assert np.array_equal(together[4] != 0, (np.arange(9) == 4)[:, None] & np.ones((9, 2), bool))
    assert same(together, run(objects, n_threads=3))
    backwards = run(objects[::-1])
    assert same(together, [values[::-1] for values in backwards])
    for i, epochs in enumerate(objects):
        assert same([values[i : i + 1] for values in together], run([epochs]))


def test_what_lies_under_weight_zero_does_not_matter():
    image, weight, *rest = epoch()
    weight[15:19, 3:30] = 0.0
    weight[0, 0], weight[40, 40] = -1.0, np.nan
    clean = run([[(image, weight, *rest)]])
    for value in (np.nan, np.inf, -1e300):
        assert same(clean, run([[(np.where(weight > 0, image, value), weight, *rest)]]))
    np.testing.assert_allclose(run([[(image, weight, *rest)]], with_prior=False)[0][0, 0], TRUTH, rtol=1e-8, atol=1e-8)


def test_sheared_types_start_from_the_solution_of_the_first():
    objects = noisy_objects(10, 50, seed=4)
    stacked = [[(np.stack([e[0], 1.001 * e[0], e[0]]), *e[1:]) for e in epochs] for epochs in objects]
    p, errors, _, _, flags, n_evaluation = run(stacked)
    assert not flags.any()
    assert (n_evaluation[:, 2] <= 2).all()
    assert n_evaluation[:, 1].mean() < 0.7 * n_evaluation[:, 0].mean()
    assert np.abs((p[:, 2] - p[:, 0]) / errors[:, 0]).max() < 1e-4
    # Without a first type they start where it would have.
    alone = run(objects)
    broken = [[(np.stack([np.full_like(e[0], np.nan), e[0]]), *e[1:]) for e in epochs] for epochs in objects]
    assert same([values[:, :1] for values in alone], [values[:, 1:] for values in run(broken)])


def test_the_starting_flux_does_not_matter_but_its_range():
    objects = noisy_objects(3, 50, seed=5)
    start = START.copy()
    start[5] = 3.0
    assert same(run(objects), run(objects, start))
    start[5] = -1e5
    assert (run(objects, start, n_try=1)[4] == RANGE).all()


def test_errors_do_not_depend_on_the_scale_of_weights_without_priors():
    objects = noisy_objects(3, 50, seed=6)
    scaled = [[(e[0], 7.0 * e[1], *e[2:]) for e in epochs] for epochs in objects]
    a, b = (run(o, with_prior=False, tolerance=1e-14) for o in (objects, scaled))
    np.testing.assert_allclose(a[1], b[1], rtol=1e-9)
    np.testing.assert_allclose(np.sqrt(7.0) * a[3], b[3], rtol=1e-9)


def test_few_evaluations_are_enough_for_faint_objects():
    _, _, _, _, flags, n_evaluation = run(noisy_objects(40, 10, seed=7))
    assert not flags.any()
    assert n_evaluation.mean() < 8
    assert n_evaluation.max() < 30


def test_running_out_of_evaluations_is_flagged():
    fit = run(noisy_objects(1, 20), max_evaluations=2, n_try=1)
    assert fit[4][0, 0] == 1
    assert fit[5][0, 0] == 2
    assert run(noisy_objects(1, 20), max_evaluations=2, n_try=3)[5][0, 0] == 6


HOSTILE = {
    "zeros": lambda rng: np.zeros((21, 21)),
    "constant": lambda rng: np.full((21, 21), 7.0),
    "negative constant": lambda rng: np.full((21, 21), -7.0),
    "huge": lambda rng: np.full((21, 21), 1e155),
    "tiny": lambda rng: np.full((21, 21), 1e-300),
    "noise": lambda rng: rng.normal(0, 1, (21, 21)),
    "one pixel": lambda rng: np.eye(1, 441, 220).reshape(21, 21),
    "checkers": lambda rng: np.indices((21, 21)).sum(axis=0) % 2.0,
    "line": lambda rng: np.eye(21) * 50.0,
    "nan": lambda rng: np.full((21, 21), np.nan),
    "one nan": lambda rng: np.where(np.arange(441).reshape(21, 21) == 440, np.nan, 1.0),
    "inf": lambda rng: np.full((21, 21), np.inf),
}


@pytest.mark.parametrize("components", [twins.GAUSS, twins.PAIR], ids=["one component", "two components"])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_images_give_flags(name, components):
    rng = np.random.default_rng(8)
    good = epoch(shape=(21, 21), components=components)
    for sigma in (0.0, 0.35):
        bad = (HOSTILE[name](rng), np.ones((21, 21)), STRAIGHT, sigma, (0.0, 0.0))
        fit = run([[good], [bad, bad], [good]], components=components)
        failed = fit[4][1, 0] != 0
        assert np.isfinite(fit[0][1]).all() != failed
        assert np.isfinite(fit[1][1]).all() != failed
        assert np.isfinite(fit[3][1]).all() != failed
        assert fit[4][0, 0] == fit[4][2, 0] == 0
    if name in ("nan", "one nan", "inf", "huge"):
        assert fit[4][1, 0] == NOT_FINITE
    if name == "zeros":
        assert fit[4][1, 0] == SINGULAR


@pytest.mark.parametrize(
    ("place", "value", "flag"),
    [
        (1, 0.0, NO_PIXELS),
        (1, -1.0, NO_PIXELS),
        (1, np.nan, NO_PIXELS),
        (1, np.inf, NOT_FINITE),
        (1, 1e-308, None),
        (1, 1e300, None),
        (1, 1e307, None),
        (2, 0.0, SINGULAR),
        (2, 0.1, SINGULAR),  # all four elements alike
        (2, np.nan, NOT_FINITE),
        (2, 1e200, None),
        (3, np.nan, NOT_FINITE),
        (3, np.inf, NOT_FINITE),
        (3, 1e8, None),
        (4, np.nan, NOT_FINITE),
        (4, 1e30, None),
    ],
)
def test_hostile_circumstances_give_flags(place, value, flag):
    one = list(epoch(shape=(21, 21)))
    one[place] = np.full_like(np.asarray(one[place]), value)
    fit = run([[tuple(one)]])
    assert fit[4][0, 0] == flag if flag is not None else np.isfinite(fit[0]).all() or fit[4][0, 0] != 0


@pytest.mark.parametrize(
    "start", [[0, 0, 1, 0, 1, 1], [0, 0, 0, 0, np.nan, 1], [0, 0, 0, 0, -5, 1], [np.inf, 0, 0, 0, 1, 1]]
)
def test_a_start_out_of_range_is_flagged(start):
    assert run([[epoch()]], np.array(start, dtype=float), n_try=1)[4][0, 0] == RANGE


def test_one_usable_pixel_is_not_enough_but_others_help():
    image, weight, *rest = epoch(shape=(21, 21))
    one = np.zeros_like(weight)
    one[10, 10] = 1.0
    assert run([[(image, one, *rest)]])[4][0, 0] == NO_PIXELS
    assert run([[(image, one, *rest), (image, weight, *rest)]])[4][0, 0] == 0


def test_objects_without_epochs_and_batches_without_objects():
    one = epoch(shape=(21, 21))
    fit = run([[], [one], []])
    assert fit[4].ravel().tolist() == [NO_PIXELS, 0, NO_PIXELS]
    assert same([values[1:2] for values in fit], run([[one]]))
    empty = _fit.fit(
        np.empty((0, 5, 9, 9)),
        np.empty((0, 9, 9)),
        np.empty((0, 4)),
        np.empty((0, 5, 2)),
        np.empty(0),
        np.zeros(1, dtype=np.int64),
        np.empty((0, 6)),
        flux_fractions=np.ones(1),
        size_fractions=np.ones(1),
        **twins.SETTINGS,
    )
    assert [values.shape for values in empty] == [(0, 5, 6), (0, 5, 6), (0, 5, 6, 6), (0, 5), (0, 5), (0, 5)]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"weights": np.ones((2, 9, 9))}, "numbers of epochs"),
        ({"weights": np.ones((1, 9, 8))}, "weights are"),
        ({"jacobians": np.ones((1, 3))}, "jacobians"),
        ({"origins": np.ones((1, 2, 2))}, "origins"),
        ({"sigma": np.ones(2)}, "numbers of epochs"),
        ({"first": np.array([0, 1, 1])}, "first"),
        ({"first": np.array([0, 2])}, "ascend"),
        ({"first": np.array([-1, 1])}, "ascend"),
        ({"start": np.ones((1, 5))}, "start"),
        ({"images": np.ones((1, 0, 9, 9))}, "at least one"),
        ({"flux_fractions": np.ones(2)}, "fractions"),
        ({"size_fractions": np.zeros(1)}, "positive"),
        ({"g_prior_sigma": 0.0}, "positive"),
        ({"tolerance": np.nan}, "positive"),
        ({"T_min": 2e6}, "T_min"),
        ({"n_try": 6}, "n_try"),
        ({"n_threads": 0}, "n_threads"),
        ({"isa": "mmx"}, "mmx"),
    ],
)
def test_wrong_arguments_are_refused(change, match):
    arguments = {
        "images": np.ones((1, 1, 9, 9)),
        "weights": np.ones((1, 9, 9)),
        "jacobians": np.ones((1, 4)),
        "origins": np.zeros((1, 1, 2)),
        "sigma": np.ones(1),
        "first": np.array([0, 1]),
        "start": np.ones((1, 6)),
        "flux_fractions": np.ones(1),
        "size_fractions": np.ones(1),
        **twins.SETTINGS,
    }
    with pytest.raises(ValueError, match=match):
        _fit.fit(**(arguments | change))
