"""Blocks hold every object once, none is too large, and they are compact."""

from __future__ import annotations

import numpy as np
import pytest

from shapempi.measure.blocks import partition


@pytest.mark.parametrize(("n", "size"), [(0, 10), (1, 10), (10, 10), (11, 10), (999, 50), (1000, 1), (37, 1000)])
def test_every_object_is_in_one_block(n, size):
    rng = np.random.default_rng(n)
    x, y = rng.uniform(0, 300, n), rng.uniform(0, 100, n)
    blocks = partition(x, y, size)
    assert len(blocks) == -(-n // size)
    assert all(0 < len(block) <= size for block in blocks)
    assert all((np.diff(block) > 0).all() for block in blocks)
    np.testing.assert_array_equal(np.sort(np.concatenate([*blocks, np.zeros(0, int)])), np.arange(n))
    if blocks:
        assert max(map(len, blocks)) - min(map(len, blocks)) <= np.ceil(np.log2(len(blocks))) + 1
    for again, block in zip(partition(x.copy(), y.copy(), size), blocks, strict=True):
        np.testing.assert_array_equal(again, block)


def test_blocks_are_compact():
    x, y = (v.ravel().astype(float) for v in np.meshgrid(np.arange(100), np.arange(100)))
    blocks = partition(x, y, 625)
    assert len(blocks) == 16
    for block in blocks:
        assert np.ptp(x[block]) == 24 and np.ptp(y[block]) == 24


def test_equal_and_missing_positions():
    x = np.array([5.0] * 20 + [np.nan] * 3)
    blocks = partition(x, x, 4)
    np.testing.assert_array_equal(np.sort(np.concatenate(blocks)), np.arange(23))
    assert max(map(len, blocks)) <= 4


def test_wrong_arguments():
    with pytest.raises(ValueError, match="block_size"):
        partition(np.zeros(3), np.zeros(3), 0)
    with pytest.raises(ValueError, match="shapes"):
        partition(np.zeros(3), np.zeros(4), 2)
