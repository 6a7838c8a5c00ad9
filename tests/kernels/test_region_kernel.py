import numpy as np
import pytest
import sep
from kernels import twins
from scipy import ndimage

from shapempi.kernels import _region
from shapempi.measure.region import FILTER_KERNEL

SHAPE = (83, 107)


def noise(shape=SHAPE, seed=1):
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


@pytest.mark.parametrize("sides", [(1, 1), (3, 3), (5, 3), (3, 9)])
def test_the_filter_equals_its_twin_bit_for_bit(sides):
    kernel = np.random.default_rng(2).uniform(-1, 1, sides).astype(np.float32)
    for shape in (SHAPE, (1, 40), (40, 1), (2, 2), (0, 5), (5, 0)):
        data = noise(shape)
        smoothed = _region.smooth(data, kernel)
        assert smoothed.dtype == np.float32 and np.array_equal(smoothed, twins.smooth(data, kernel)), shape


def test_the_filter_does_not_depend_on_where_the_image_begins():
    data = noise()
    whole = _region.smooth(data, FILTER_KERNEL)
    part = _region.smooth(np.ascontiguousarray(data[20:50, 33:90]), FILTER_KERNEL)
    assert np.array_equal(part[1:-1, 1:-1], whole[21:49, 34:89])


def test_even_filters_are_refused():
    with pytest.raises(ValueError, match="odd, not 2 x 3"):
        _region.smooth(noise(), np.ones((2, 3), np.float32))


@pytest.mark.parametrize("threshold", [-1.0, 0.3, 0.6, 1.2, 5.0])
def test_regions_equal_their_twin(threshold):
    """From almost everything in one region through a maze to single pixels and nothing."""
    smoothed = _region.smooth(noise(), FILTER_KERNEL * np.float32(2.5))
    variance = np.random.default_rng(3).uniform(0.5, 1.5, SHAPE).astype(np.float32)
    for got, expected in zip(
        _region.label(smoothed, variance, threshold), twins.label(smoothed, variance, threshold), strict=True
    ):
        assert got.dtype == expected.dtype and np.array_equal(got, expected)


def test_regions_are_those_of_other_libraries():
    smoothed, variance = noise((300, 200)), np.ones((300, 200), np.float32)
    labels, boxes, n_pixel, _ = _region.label(smoothed, variance, 0.4)
    expected, n = ndimage.label(smoothed > 0.4, np.ones((3, 3)))
    assert len(boxes) == n and np.array_equal(np.unique(labels * (n + 1) + expected).size, n + 1)
    found = sep.extract(smoothed, 0.4, minarea=8, filter_kernel=None, deblend_nthresh=1, clean=False)
    large = n_pixel >= 8
    assert sorted(
        zip(found["npix"], found["xmin"], found["ymin"], found["xmax"], found["ymax"], strict=True)
    ) == sorted(
        zip(n_pixel[large], boxes[large, 2], boxes[large, 0], boxes[large, 3] - 1, boxes[large, 1] - 1, strict=True)
    )


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (1, 1), (1, 7), (7, 1)])
def test_small_images(shape):
    smoothed, variance = np.full(shape, 2.0, np.float32), np.ones(shape, np.float32)
    labels, boxes, n_pixel, n_peak = _region.label(smoothed, variance, 1.0)
    n = min(1, labels.size)
    assert labels.shape == shape and len(boxes) == len(n_pixel) == n
    if n:
        assert boxes.tolist() == [[0, shape[0], 0, shape[1]]] and n_pixel.tolist() == n_peak.tolist() == [labels.size]


def test_shapes_that_shake_the_labels():
    """A comb that is joined at its foot, a spiral, diagonals, and nan, which is above nothing."""
    comb = np.zeros((20, 41), np.float32)
    comb[:, ::2] = 1
    comb[-1] = 1
    spiral = np.zeros((21, 21), np.float32)
    y, x, dy, dx = 0, 0, 0, 1
    for step in [20, 20, 20, *np.repeat(np.arange(18, 0, -2), 2)]:
        for _ in range(step):
            spiral[y, x] = 1
            y, x = y + dy, x + dx
        dy, dx = dx, -dy
    diagonal = np.eye(30, dtype=np.float32) + np.eye(30, dtype=np.float32)[::-1]
    dotted = diagonal.copy()
    dotted[3, 3] = np.nan
    for image in (comb, spiral, diagonal, dotted):
        for turned in (image, image[::-1], image[:, ::-1], image.T):
            plane, ones = np.ascontiguousarray(turned), np.ones(turned.shape, np.float32)
            for got, expected in zip(_region.label(plane, ones, 0.5), twins.label(plane, ones, 0.5), strict=True):
                assert np.array_equal(got, expected)


def test_planes_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match="differ in shape"):
        _region.label(noise(), np.ones((3, 3), np.float32), 1.0)
