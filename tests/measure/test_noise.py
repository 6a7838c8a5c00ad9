import numpy as np
import pytest

from shapempi.measure.noise import noise_key


def test_a_key_is_four_words_of_all_numbers_of_the_seed():
    key = noise_key((1, 241, 293))
    assert key.dtype == np.uint64
    assert key.shape == (4,)
    np.testing.assert_array_equal(key, noise_key(np.array([1, 241, 293])))
    others = [noise_key(seed) for seed in ((2, 241, 293), (1, 242, 293), (1, 241, 294), (1, 293, 241), (1, 241))]
    assert all((key != other).all() for other in others)


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError):
        noise_key((-1, 2, 3))
