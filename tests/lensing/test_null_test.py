import numpy as np

from shapempi.lensing.null_test import null_test


def test_p_is_uniform_whatever_the_errors_come_from():
    """2000 trials of noise: a tenth of p is known to 0.007."""
    rng = np.random.default_rng(1)
    p = {"noise": [], "jackknife": []}
    for _ in range(2000):
        patches = rng.normal(size=(20, 4)) * [1, 2, 3, 4]
        mean = patches.mean(axis=0)
        rest = (patches.sum(axis=0) - patches) / 19
        for each in (None, rest):
            found = null_test("noise", mean, np.diag(np.array([1, 4, 9, 16]) / 20), each)
            p[found.errors].append(found.p)
    for values in p.values():
        assert len(values) == 2000
        for limit in (0.1, 0.5, 0.9):
            assert abs(np.mean(np.array(values) < limit) - limit) < 0.04


def test_what_is_not_zero_has_a_small_p():
    found = null_test("five", np.array([5.0, 0.0]), np.eye(2))
    assert found.chi2 == 25
    assert found.p < 1e-5


def test_too_few_patches_leave_the_noise_and_nothing_is_no_test():
    assert null_test("few", np.ones(4), np.eye(4), np.ones((7, 4))).errors == "noise"
    for nothing in (null_test("none", np.zeros(0), np.zeros((0, 0))), null_test("sure", np.ones(2), np.zeros((2, 2)))):
        assert nothing.dof == 0
        assert np.isnan(nothing.p)
