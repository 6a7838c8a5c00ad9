import numpy as np
import pytest
from kernels import twins
from matplotlib.path import Path

from shapempi.kernels import _mask

SHAPE = (90, 120)


def empty(shape=SHAPE):
    return np.zeros(shape, np.int32)


@pytest.fixture(scope="module")
def polygons():
    """Random, mostly self-crossing polygons, partly outside, with up to 9 vertices (2 and fewer included)."""
    rng = np.random.default_rng(5)
    counts = np.array([0, 1, 2, 3, 3, 4, 4, 5, 6, 9])
    vertices = rng.uniform((-30, -30), (150, 120), (counts.sum(), 2))
    vertices[6:9] = np.rint(vertices[6:9])  # vertices on pixel centres
    return vertices, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


@pytest.fixture(scope="module")
def ellipses():
    rng = np.random.default_rng(6)
    x, y = rng.uniform((-20, -20), (140, 110), (12, 2)).T
    a, b = rng.uniform(0.3, 25, (2, 12))
    return x.copy(), y.copy(), a, b, rng.uniform(-np.pi, np.pi, 12)


def test_polygons_equal_their_twin(polygons):
    vertices, first = polygons
    for i in range(len(first) - 1):
        plane = empty()
        _mask.fill_polygons(plane, vertices, first[i : i + 2], 8)
        assert np.array_equal(plane == 8, twins.inside_polygon(SHAPE, vertices[first[i] : first[i + 1]]))
        assert set(np.unique(plane)) <= {0, 8}


def test_a_batch_of_polygons_is_their_union(polygons):
    vertices, first = polygons
    together, one_by_one = empty(), empty()
    _mask.fill_polygons(together, vertices, first, 2)
    for i in range(len(first) - 1):
        _mask.fill_polygons(one_by_one, vertices, first[i : i + 2], 2)
    assert np.array_equal(together, one_by_one)
    assert together.any()


def test_a_simple_polygon_agrees_with_matplotlib():
    angle = np.linspace(0, 2 * np.pi, 11)[:-1]
    radius = np.where(np.arange(10) % 2, 37.3, 15.1)  # a star: not convex
    vertices = np.stack([61.2 + radius * np.cos(angle), 44.7 + radius * np.sin(angle)], axis=1)
    plane = empty()
    _mask.fill_polygons(plane, vertices, np.array([0, 10]), 1)
    y, x = np.indices(SHAPE)
    inside = Path(vertices).contains_points(np.stack([x.ravel(), y.ravel()], axis=1)).reshape(SHAPE)
    assert np.array_equal(plane == 1, inside)
    x1, y1 = vertices.T
    x2, y2 = np.roll(vertices, -1, axis=0).T
    assert (plane == 1).sum() == pytest.approx(0.5 * abs((x1 * y2 - x2 * y1).sum()), rel=0.02)


def test_a_rectangle_has_its_left_and_not_its_right_edge():
    plane = empty()
    _mask.fill_polygons(plane, np.array([[3.0, 5.0], [10.0, 5.0], [10.0, 9.0], [3.0, 9.0]]), np.array([0, 4]), 1)
    expected = empty()
    expected[5:9, 3:10] = 1
    assert np.array_equal(plane, expected)


def test_polygons_that_share_edges_tile_the_plane():
    rng = np.random.default_rng(7)
    hub = np.array([55.0, 40.0])
    corners = np.array([[-5.0, -5.0], [130.0, -5.0], [130.0, 100.0], [-5.0, 100.0]])
    hubs = [hub, hub + 0.5, rng.uniform(30, 60, 2)]
    for centre in hubs:
        count = empty()
        for k in range(4):
            plane = empty()
            vertices = np.stack([centre, corners[k], corners[(k + 1) % 4]])
            _mask.fill_polygons(plane, vertices, np.array([0, 3]), 1)
            count += plane
        assert (count == 1).all()


def test_a_polygon_wound_twice_over_itself_has_a_hole():
    square = np.array([[10.0, 10.0], [50.0, 10.0], [50.0, 50.0], [10.0, 50.0], [10.0, 10.0]])
    inner = (square - 30) / 2 + 30
    plane = empty()
    _mask.fill_polygons(plane, np.concatenate([square, inner]), np.array([0, 10]), 1)
    assert plane[30, 30] == 0
    assert plane[12, 30] == 1


def test_ellipses_equal_their_twin(ellipses):
    for one in zip(*ellipses, strict=True):
        plane = empty()
        _mask.fill_ellipses(plane, *(np.array([v]) for v in one), 16)
        assert np.array_equal(plane == 16, twins.inside_ellipse(SHAPE, *one))


def test_areas_of_circles_and_ellipses():
    x, y = np.array([60.3]), np.array([45.6])
    plane = empty()
    _mask.fill_circles(plane, x, y, np.array([30.0]), 1)
    assert plane.sum() == pytest.approx(np.pi * 900, rel=5e-3)
    plane = empty()
    _mask.fill_ellipses(plane, x, y, np.array([40.0]), np.array([12.0]), np.array([0.6]), 1)
    assert plane.sum() == pytest.approx(np.pi * 480, rel=5e-3)
    rows, columns = np.nonzero(plane)
    assert np.polyfit(columns, rows, 1)[0] > 0.3  # the long axis points from +x towards +y


def test_a_circle_includes_its_edge():
    plane = empty()
    _mask.fill_circles(plane, np.array([20.0]), np.array([30.0]), np.array([3.0]), 1)
    assert plane[30, 17] == plane[30, 23] == plane[27, 20] == plane[33, 20] == 1
    assert plane.sum() == 29


@pytest.mark.parametrize("width", [0, 1, 7, 44, 45, 60, 1000])
def test_the_border_equals_its_twin(width):
    plane = empty()
    _mask.fill_border(plane, width, 4)
    assert np.array_equal(plane == 4, twins.inside_border(SHAPE, width))


def test_bits_are_added_to_what_is_there(polygons, ellipses):
    plane = np.random.default_rng(1).integers(0, 2**20, SHAPE).astype(np.int32)
    before, painted = plane.copy(), empty()
    for target in (plane, painted):
        _mask.fill_polygons(target, *polygons, 2)
        _mask.fill_ellipses(target, *ellipses, 1 << 30)
        _mask.fill_border(target, 3, 4)
    assert np.array_equal(plane, before | painted)


def test_threads_change_nothing(polygons, ellipses):
    one, eight = empty(), empty()
    for plane, n_threads in ((one, 1), (eight, 8)):
        _mask.fill_polygons(plane, *polygons, 2, n_threads=n_threads)
        _mask.fill_ellipses(plane, *ellipses, 8, n_threads=n_threads)
        _mask.fill_circles(plane, *ellipses[:3], 32, n_threads=n_threads)
    assert np.array_equal(one, eight)


def test_many_bands_and_many_polygons_equal_the_twin():
    """More rows than a thread paints together, polygons over some of them and over all, any number of threads."""
    rng = np.random.default_rng(8)
    shape, n = (333, 41), 60
    vertices = rng.uniform((-20, -200), (60, 500), (n, 7, 2))
    vertices[::3, :, 1] = rng.uniform(0, 333, (20, 1)) + rng.uniform(-9, 9, (20, 7))
    first = np.arange(n + 1) * 7
    expected = np.any([twins.inside_polygon(shape, each) for each in vertices], axis=0)
    ellipses = rng.uniform((-5, -50, 1, 1, -3), (46, 380, 30, 90, 3), (n, 5)).T
    outside = np.array([twins.inside_ellipse(shape, *one) for one in ellipses.T]).any(axis=0)
    for n_threads in (1, 2, 3, 7):
        plane = empty(shape)
        _mask.fill_polygons(plane, vertices.reshape(-1, 2), first, 4, n_threads=n_threads)
        _mask.fill_ellipses(plane, *(v.copy() for v in ellipses), 8, n_threads=n_threads)
        assert np.array_equal(plane, 4 * expected + 8 * outside)


def test_a_polygon_of_very_many_vertices():
    """So many that only a few rows at a time fit the list of crossings."""
    angle = np.linspace(0, 2 * np.pi, 60001)[:-1]
    radius = 30 + 8 * np.sin(3 * angle)
    vertices = np.stack([61.2 + radius * np.cos(angle), 44.7 + radius * np.sin(angle)], axis=1)
    plane = empty()
    _mask.fill_polygons(plane, vertices, np.array([0, len(vertices)]), 1)
    y, x = np.indices(SHAPE) - np.array([44.7, 61.2]).reshape(2, 1, 1)
    assert np.array_equal(plane == 1, np.hypot(x, y) < 30 + 8 * np.sin(3 * np.arctan2(y, x)))


def test_counts_of_bits_equal_their_twin():
    rng = np.random.default_rng(9)
    bits = np.array([1, 2, 4 | 128, 1 << 30, -1, 0], np.int32)
    runs = np.repeat(rng.integers(0, 256, 500), rng.integers(1, 60, 500))[: 90 * 120].reshape(SHAPE).astype(np.int32)
    noise = rng.integers(-(2**31), 2**31, SHAPE).astype(np.int32)
    for plane in (runs, noise, empty(), runs[3:70, 5:90], np.full(SHAPE, -1, np.int32)):
        assert np.array_equal(_mask.count_bits(plane, bits), twins.count_bits(plane, bits))
    for shape in ((0, 5), (5, 0), (1, 1)):
        assert np.array_equal(_mask.count_bits(empty(shape), bits), np.zeros(6))


def test_a_section_gets_the_same_bits_as_the_whole(polygons, ellipses):
    whole, around = empty(), empty((200, 250))
    section = around[10:100, 20:140]  # a strided view, painted in place
    for plane in (whole, section):
        _mask.fill_polygons(plane, *polygons, 2)
        _mask.fill_ellipses(plane, *ellipses, 8)
        _mask.fill_border(plane, 2, 4)
    assert np.array_equal(section, whole)
    assert around.sum() == whole.sum()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300, -1e300])
def test_a_shape_that_is_not_finite_paints_nothing_and_costs_no_other(polygons, ellipses, bad):
    vertices, first = polygons
    expected, plane = empty(), empty()
    _mask.fill_polygons(expected, vertices[: first[9]], first[:10], 2)
    for column in (0, 1):
        hostile = vertices.copy()
        hostile[first[9] + 2, column] = bad
        plane[...] = 0
        _mask.fill_polygons(plane, hostile, first, 2)
        assert np.array_equal(plane, expected)
    expected[...] = 0
    _mask.fill_ellipses(expected, *(v[:-1] for v in ellipses), 2)
    for k in (0, 1):
        hostile = [v.copy() for v in ellipses]
        hostile[k][-1] = bad
        plane[...] = 0
        _mask.fill_ellipses(plane, *hostile, 2)
        assert np.array_equal(plane, expected)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 0.0, -2.0])
def test_an_axis_that_is_no_axis_paints_nothing(bad):
    at, good, bad = np.array([40.0]), np.array([5.0]), np.array([bad])
    plane = empty()
    _mask.fill_circles(plane, at, at, bad, 1)
    _mask.fill_ellipses(plane, at, at, bad, good, np.zeros(1), 1)
    _mask.fill_ellipses(plane, at, at, good, bad, np.zeros(1), 1)
    assert not plane.any()


def test_an_angle_that_is_not_finite_paints_nothing():
    plane, at = empty(), np.array([40.0])
    for angle in (np.nan, np.inf):
        _mask.fill_ellipses(plane, at, at, np.array([5.0]), np.array([5.0]), np.array([angle]), 1)
    assert not plane.any()


def test_a_shape_larger_than_everything_paints_everything():
    far = 1e14
    plane = empty()
    _mask.fill_polygons(plane, np.array([[-far, -far], [far, -far], [far, far], [-far, far]]), np.array([0, 4]), 1)
    _mask.fill_circles(plane, np.array([3e3]), np.array([-7e3]), np.array([1e12]), 2)
    assert (plane == 3).all()


def test_empty_batches_and_empty_planes_are_no_work(polygons, ellipses):
    plane, none = empty(), np.empty(0)
    _mask.fill_polygons(plane, np.empty((0, 2)), np.zeros(1, np.int64), 1)
    _mask.fill_circles(plane, none, none, none, 1)
    _mask.fill_ellipses(plane, none, none, none, none, none, 1)
    assert not plane.any()
    for shape in ((0, 5), (5, 0)):
        _mask.fill_polygons(empty(shape), *polygons, 1)
        _mask.fill_ellipses(empty(shape), *ellipses, 1)
        _mask.fill_border(empty(shape), 2, 1)


@pytest.mark.parametrize(
    "first",
    [[0, 4], [-1, 3], [2, 1], [0, 3, 2], [0, 1 << 40, 3], [0, -(1 << 40), 3], [5, -(1 << 63), 1 - (1 << 63)], []],
)
def test_polygons_that_lead_out_of_their_vertices_are_refused(first):
    with pytest.raises(ValueError):
        _mask.fill_polygons(empty(), np.zeros((3, 2)), np.array(first, np.int64), 1)


def test_arguments_that_do_not_fit_are_refused():
    three, two = np.ones(3), np.ones(2)
    with pytest.raises(ValueError, match="two columns"):
        _mask.fill_polygons(empty(), np.zeros((3, 3)), np.array([0, 3]), 1)
    with pytest.raises(ValueError, match="same length"):
        _mask.fill_circles(empty(), three, three, two, 1)
    with pytest.raises(ValueError, match="same length"):
        _mask.fill_ellipses(empty(), three, three, three, three, two, 1)
    with pytest.raises(ValueError, match="negative"):
        _mask.fill_border(empty(), -1, 1)
    for bit in (0, -4):
        with pytest.raises(ValueError, match="bit"):
            _mask.fill_border(empty(), 1, bit)
    with pytest.raises(OverflowError):
        _mask.fill_border(empty(), 1, 1 << 31)
    with pytest.raises(ValueError, match="n_threads"):
        _mask.fill_circles(empty(), three, three, three, 1, n_threads=0)
    for plane in (np.zeros(SHAPE, np.int64), np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.float32)):
        with pytest.raises(ValueError):
            _mask.fill_border(plane, 1, 1)
    locked = empty()
    locked.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        _mask.fill_border(locked, 1, 1)
