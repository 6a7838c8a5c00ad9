import numpy as np
import pytest
from kernels import twins

from shapempi.kernels import _vignet

DTYPES = ["float32", "float64", "int16", "int32", "uint8"]


def planes_of(shape, dtypes=DTYPES):
    values = np.random.default_rng(2).integers(0, 255, shape)
    return [values.astype(dtype) for dtype in dtypes]


@pytest.fixture(scope="module")
def batch():
    """Five planes of 40 x 60 and 50 positions, many of them near or beyond the edges."""
    x, y = np.random.default_rng(4).uniform((-8, -8), (68, 48), (50, 2)).T.copy()
    x[:3], y[:3] = [10.5, 11.5, 59.5], [10.0, 12.5, 39.5]  # half-way cases
    return planes_of((40, 60)), x, y, 9, [np.nan, -1.5, -7, 4, 255]


def assert_same(left, right):
    for one, other in zip(left[0], right[0], strict=True):
        assert one.dtype == other.dtype
        assert np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    for one, other in zip(left[1:], right[1:], strict=True):
        assert one.dtype == other.dtype
        assert np.array_equal(one, other, equal_nan=one.dtype.kind == "f")


def cut(planes, x, y, size, fill, **keywords):
    return _vignet.cut(planes, x, y, size, fill=fill, **keywords)


@pytest.mark.parametrize("size", [1, 9, 51])
def test_cut_equals_its_twin(batch, size):
    planes, x, y, _, fill = batch
    stamps, centre, offset, inside, valid = cut(planes, x, y, size, fill)
    expected = twins.cut(planes, x, y, size, fill)
    np.testing.assert_allclose(inside, expected[3], rtol=0, atol=1e-12)
    assert_same((stamps, centre, offset, valid), (*expected[:3], expected[4]))


def test_a_stamp_in_the_middle_is_the_slice(batch):
    planes = batch[0]
    stamps, centre, offset, inside, valid = cut(planes, np.array([30.25]), np.array([19.75]), 9, [0] * 5)
    for stamp, plane in zip(stamps, planes, strict=True):
        assert np.array_equal(stamp[0], plane[16:25, 26:35])
    assert centre.tolist() == [[30, 20]]
    assert offset.tolist() == [[0.25, -0.25]]
    assert inside[0] == 1.0
    assert valid[0]


def test_threads_change_nothing(batch):
    assert_same(cut(*batch), cut(*batch, n_threads=8))


def test_a_stamp_does_not_depend_on_its_batch(batch):
    planes, x, y, size, fill = batch
    together = cut(*batch)
    order = np.random.default_rng(8).permutation(len(x))
    shuffled = cut(planes, x[order], y[order], size, fill)
    assert_same(shuffled, ([s[order] for s in together[0]], *(part[order] for part in together[1:])))
    for i in range(len(x)):
        rows = slice(i, i + 1)
        alone = cut(planes, x[rows], y[rows], size, fill)
        assert_same(alone, ([s[rows] for s in together[0]], *(part[rows] for part in together[1:])))


def test_one_plane_is_cut_the_same_with_others_and_alone(batch):
    planes, x, y, size, fill = batch
    together = cut(*batch)
    for k, plane in enumerate(planes):
        assert_same(cut([plane], x, y, size, fill[k : k + 1]), ([together[0][k]], *together[1:]))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300, -1e300, 2.0**31, -(2.0**63)])
def test_a_hostile_position_is_not_valid_and_costs_nothing_else(batch, bad):
    planes, x, y, size, fill = batch
    for k, position in enumerate((x, y)):
        hostile = position.copy()
        hostile[7] = bad
        result = cut(planes, *((hostile, y) if k == 0 else (x, hostile)), size, fill)
        good = cut(*batch)
        others = np.arange(len(x)) != 7
        assert_same(
            ([s[others] for s in result[0]], *(part[others] for part in result[1:])),
            ([s[others] for s in good[0]], *(part[others] for part in good[1:])),
        )
        stamps, centre, offset, inside, valid = result
        assert not valid[7]
        assert inside[7] == 0.0
        assert centre[7].tolist() == [-1, -1]
        assert np.isnan(offset[7]).all()
        for stamp, outside in zip(stamps, fill, strict=True):
            assert np.array_equal(stamp[7], np.full((size, size), outside, stamp.dtype), equal_nan=outside != outside)


@pytest.mark.parametrize("far", [-(10.0**9), 10.0**9, -5.0, 64.0])
def test_a_stamp_outside_is_all_fill(far):
    (stamp,), _, offset, inside, valid = cut([np.ones((40, 60), np.float32)], np.array([far]), np.zeros(1), 9, [-3])
    assert (stamp == -3).all()
    assert inside[0] == 0.0
    assert not valid[0]
    assert offset[0].tolist() == [0.0, 0.0]


def test_sections_strides_and_read_only_planes_are_cut_right(batch):
    _, x, y, size, _ = batch
    large = np.arange(90 * 130, dtype=np.float32).reshape(90, 130)
    large.flags.writeable = False
    for plane in (large[10:50, 20:80], large[0:80:2, 5:125:2], large[::-1][3:43, 4:64], large.T[:40, :60]):
        assert_same(cut([plane], x, y, size, [0]), cut([np.ascontiguousarray(plane)], x, y, size, [0]))


def test_an_empty_batch_and_an_empty_plane():
    stamps, centre, offset, inside, valid = cut(planes_of((4, 5)), np.empty(0), np.empty(0), 3, [0] * 5)
    assert [s.shape for s in stamps] == [(0, 3, 3)] * 5
    assert (centre.shape, offset.shape, inside.shape, valid.shape) == ((0, 2), (0, 2), (0,), (0,))
    for shape in ((0, 5), (5, 0), (0, 0)):
        (stamp,), _, _, inside, valid = cut([np.zeros(shape)], np.zeros(2), np.zeros(2), 3, [9.0])
        assert (stamp == 9.0).all()
        assert not inside.any()
        assert not valid.any()


@pytest.mark.parametrize(
    ("planes", "size", "fill", "error"),
    [
        ([np.zeros((4, 5))], 4, [0], ValueError),
        ([np.zeros((4, 5))], 0, [0], ValueError),
        ([np.zeros((4, 5))], -1, [0], ValueError),
        ([], 3, [], ValueError),
        ([np.zeros((4, 5)), np.zeros((5, 4))], 3, [0, 0], ValueError),
        ([np.zeros((4, 5))], 3, [0, 0], ValueError),
        ([np.zeros(5)], 3, [0], ValueError),
        ([np.zeros((4, 5), np.uint8)], 3, [256], ValueError),
        ([np.zeros((4, 5), np.int16)], 3, [np.nan], ValueError),
        ([np.zeros((4, 5), np.int16)], 3, [np.inf], ValueError),
        ([np.zeros((4, 5), np.int32)], 3, [0.5], ValueError),
        ([np.zeros((4, 5), np.int64)], 3, [0], TypeError),
        ([np.zeros((4, 5), ">f4")], 3, [0], TypeError),
        ([np.zeros((4, 5), object)], 3, [0], TypeError),
    ],
)
def test_arguments_that_do_not_fit_are_refused(planes, size, fill, error):
    with pytest.raises(error):
        cut(planes, np.zeros(2), np.zeros(2), size, fill)


def test_positions_of_different_lengths_and_no_threads_are_refused():
    with pytest.raises(ValueError, match="elements"):
        cut([np.zeros((4, 5))], np.zeros(2), np.zeros(3), 3, [0])
    with pytest.raises(ValueError, match="n_threads"):
        cut([np.zeros((4, 5))], np.zeros(2), np.zeros(2), 3, [0], n_threads=0)
