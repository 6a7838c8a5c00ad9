import numpy as np
import pytest
from kernels import twins

from shapempi.kernels import _uberseg


def field(seed, shape=(60, 70), n=25, largest=5.0):
    """A plane of random discs, some hidden by later ones, and windows at their centres, some of them outside."""
    rng = np.random.default_rng(seed)
    plane = np.zeros(shape, np.int32)
    x, y = rng.uniform(-3, shape[1] + 3, n), rng.uniform(-3, shape[0] + 3, n)
    gy, gx = np.indices(shape)
    for i in range(n):
        plane[np.hypot(gx - x[i], gy - y[i]) < rng.uniform(0.3, largest)] = i + 1
    return plane, np.arange(1, n + 1, dtype=np.int32), np.rint(x).astype(np.int64), np.rint(y).astype(np.int64)


@pytest.mark.parametrize("reach", [0, 1, 7, 15])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_territories_equal_their_twin(seed, reach):
    batch = field(seed)
    windows = _uberseg.territory(*batch, reach)
    assert windows.dtype == np.uint8
    np.testing.assert_array_equal(windows, twins.territory(*batch, reach))


def test_pixels_everywhere_and_numbers_of_any_sign_equal_their_twin():
    """Every second pixel is another's, at random: all columns have parabolas."""
    rng = np.random.default_rng(3)
    plane = rng.integers(-3, 4, (40, 40)).astype(np.int32)
    batch = plane, np.array([1, -2, 9], np.int32), np.array([20, 3, 39]), np.array([20, 38, 5])
    np.testing.assert_array_equal(_uberseg.territory(*batch, 12), twins.territory(*batch, 12))


def test_two_points_are_divided_by_their_bisector_and_ties_stay():
    plane = np.zeros((41, 41), np.int32)
    plane[20, 20], plane[24, 28] = 1, 2
    (window,) = _uberseg.territory(plane, np.array([1], np.int32), np.array([20]), np.array([20]), 20)
    y, x = np.indices(window.shape)
    side = 8 * (x - 24) + 4 * (y - 22)  # of the line half-way, at right angles to the line between the two
    np.testing.assert_array_equal(window > 0, side > 0)
    assert (side == 0).sum() > 5


def test_an_object_without_pixels_has_the_one_at_its_centre():
    plane = np.zeros((21, 21), np.int32)
    plane[10, 16] = 2
    args = np.array([1], np.int32), np.array([10]), np.array([10]), 10
    bare = _uberseg.territory(plane, *args)
    plane[10, 10] = 1
    np.testing.assert_array_equal(bare, _uberseg.territory(plane, *args))
    plane[10, 10] = 2  # in the middle of another one
    inside = _uberseg.territory(plane, *args)
    np.testing.assert_array_equal(inside, twins.territory(plane, *args[:3], 10))
    assert inside[0, 10, 10] == _uberseg.NEIGHBOUR


def test_nobody_else_takes_nothing_and_a_plane_may_be_empty():
    alone = np.zeros((9, 9), np.int32)
    alone[4, 4] = 5
    args = np.array([5, 5], np.int32), np.array([4, 4000]), np.array([4, -4000]), 6
    assert not _uberseg.territory(alone, *args).any()
    for shape in ((0, 5), (5, 0), (0, 0)):
        assert not _uberseg.territory(np.zeros(shape, np.int32), *args).any()
    nothing = np.zeros(0, np.int64)
    assert _uberseg.territory(alone, nothing.astype(np.int32), nothing, nothing, 3).shape == (0, 7, 7)


def test_threads_batch_and_a_larger_plane_change_nothing():
    plane, number, x, y = field(4, n=60, shape=(90, 80))
    together = _uberseg.territory(plane, number, x, y, 11)
    np.testing.assert_array_equal(together, _uberseg.territory(plane, number, x, y, 11, n_threads=7))
    order = np.random.default_rng(1).permutation(len(x))
    np.testing.assert_array_equal(together[order], _uberseg.territory(plane, number[order], x[order], y[order], 11))
    for i in range(len(x)):
        y0, x0 = max(y[i] - 13, 0), max(x[i] - 11, 0)
        section = np.ascontiguousarray(plane[y0 : max(y[i] + 12, 0), x0 : max(x[i] + 14, 0)])
        alone = _uberseg.territory(section, number[i : i + 1], x[i : i + 1] - x0, y[i : i + 1] - y0, 11)
        np.testing.assert_array_equal(alone[0], together[i])


@pytest.mark.parametrize("corner", [(0, 0), (0, 600), (600, 0), (600, 600)])
def test_the_largest_distances_do_not_overflow(corner):
    plane = np.zeros((601, 601), np.int32)
    plane[corner] = 2
    (window,) = _uberseg.territory(plane, np.array([1], np.int32), np.array([300]), np.array([300]), 1500)
    y, x = np.indices(window.shape) - 1500 + 300
    nearer = (x - corner[1]) ** 2 + (y - corner[0]) ** 2 < (x - 300) ** 2 + (y - 300) ** 2
    np.testing.assert_array_equal(window > 0, nearer)


@pytest.mark.parametrize(
    ("number", "x", "y", "reach", "n_threads", "reason"),
    [
        (2, 1, 2, 3, 1, "positions"),
        (2, 2, 1, 3, 1, "positions"),
        (2, 2, 2, -1, 1, "reaches"),
        (2, 2, 2, 8001, 1, "reaches"),
        (2, 2, 2, 3, 0, "n_threads"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(number, x, y, reach, n_threads, reason):
    zeros = np.zeros
    with pytest.raises(ValueError, match=reason):
        _uberseg.territory(
            zeros((4, 5), np.int32),
            zeros(number, np.int32),
            zeros(x, np.int64),
            zeros(y, np.int64),
            reach,
            n_threads=n_threads,
        )


@pytest.mark.parametrize("far", [2**40, -(2**40), 2**63 - 1, -(2**63)])
def test_a_position_too_far_away_is_refused(far):
    place, other = np.array([far]), np.zeros(1, np.int64)
    for x, y in ((place, other), (other, place)):
        with pytest.raises(ValueError, match="too far"):
            _uberseg.territory(np.zeros((4, 5), np.int32), np.zeros(1, np.int32), x, y, 3)


def test_planes_of_another_type_or_order_are_refused():
    place = np.zeros(1, np.int64)
    for plane in (np.zeros((4, 5)), np.zeros((4, 10), np.int32)[:, ::2], np.zeros(5, np.int32)):
        with pytest.raises(ValueError):
            _uberseg.territory(plane, np.ones(1, np.int32), place, place, 3)
