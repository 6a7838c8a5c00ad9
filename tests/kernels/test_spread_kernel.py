"""The sums of the spread model against plain NumPy; threads, batches and hostile pixels change nothing else."""

import numpy as np
import pytest
from kernels.twins import spread_sums

from shapempi.kernels import _spread

SHARES = np.array([0.5, 0.3, 0.2])


def stamps(n=7, ny=11, nx=9, seed=1):
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(n, ny, nx)).astype(np.float32)
    weight = rng.uniform(0.5, 2.0, image.shape).astype(np.float32)
    across, down = rng.uniform(0, 1, (n, 4, nx)), rng.uniform(0, 1, (n, 4, ny))
    return image, weight, across, down


def test_the_sums_are_those_of_numpy():
    image, weight, across, down = stamps()
    image[0, 1, 2], image[1, 0, 0], weight[2, 3, 3], weight[3, 4, 4], weight[4, 0, 1] = np.nan, np.inf, 0, -1, np.nan
    weight[5, 5, 5] = np.inf
    found = _spread.sums(image, weight, across, down, SHARES)
    assert np.allclose(found, spread_sums(image, weight, across, down, SHARES), rtol=1e-12, atol=1e-12)
    assert np.isfinite(found).all()


def test_threads_and_batches_change_no_bit():
    arguments = stamps(n=23)
    whole = _spread.sums(*arguments, SHARES)
    for n_threads in (2, 3, 7):
        assert np.array_equal(_spread.sums(*arguments, SHARES, n_threads=n_threads), whole)
    for part in (slice(0, 1), slice(5, 12), slice(20, 23)):
        assert np.array_equal(_spread.sums(*(each[part] for each in arguments), SHARES), whole[part])
    assert _spread.sums(*(each[:0] for each in arguments), SHARES).shape == (0, 7)


def test_nothing_usable_is_zero():
    image, weight, across, down = stamps(n=2)
    weight[:] = 0
    assert not _spread.sums(image, weight, across, down, SHARES).any()


def test_shapes_that_do_not_fit():
    image, weight, across, down = stamps()
    for arguments, words in (
        ((image, weight[:, :, 1:].copy(), across, down, SHARES), "the same shape"),
        ((image, weight, across[1:], down, SHARES), "7 stamps of 4 profiles"),
        ((image, weight, across, down, SHARES[1:]), "7 stamps of 3 profiles"),
        ((image, weight, down, across, SHARES), "the lengths of the stamps, 9 and 11"),
    ):
        with pytest.raises(ValueError, match=words):
            _spread.sums(*arguments)
    with pytest.raises(ValueError, match="n_threads must be 1 or more"):
        _spread.sums(image, weight, across, down, SHARES, n_threads=0)
