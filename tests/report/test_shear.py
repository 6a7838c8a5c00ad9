"""Mean shear and bias of made-up galaxies whose response, noise and bias are known."""

import numpy as np
import pytest

from shapempi.catalog import SHEAR_TYPES
from shapempi.errors import DataError
from shapempi.io.truth import TRUTH_DTYPE
from shapempi.report.shear import mean_shear, shear_bias, whole_pairs
from shapempi.report.truth import compare_opposite

RESPONSE = 0.8


def make_truth(n, *, paired, g=(0.02, -0.01)):
    truth = np.zeros(n, TRUTH_DTYPE)
    truth["g1"], truth["g2"] = g
    truth["pair"] = np.arange(n) // 2 if paired else -1
    return truth


def make_rows(truth, *, m=0.0, c=0.0, noise=0.01, shape_noise=0.0, seed=1):
    """Return rows with g = R ((1 + m) g_true + c) + noise; pairs have opposite shapes."""
    rng = np.random.default_rng(seed)
    n = len(truth)
    rows = np.zeros(n, [(f"g{i}_{kind}", "f8") for i in (1, 2) for kind in SHEAR_TYPES] + [("shape_flags", "i4")])
    intrinsic = shape_noise * np.repeat(rng.standard_normal((n // 2, 2)), 2, axis=0) * np.tile([1, -1], n // 2)[:, None]
    for i in (1, 2):
        g = RESPONSE * ((1 + m) * truth[f"g{i}"] + c) + intrinsic[:, i - 1] + noise * rng.standard_normal(n)
        for kind in SHEAR_TYPES:
            rows[f"g{i}_{kind}"] = g
        rows[f"g{i}_{i}p"] += 0.01 * RESPONSE
        rows[f"g{i}_{i}m"] -= 0.01 * RESPONSE
    return rows


@pytest.mark.parametrize("paired", [False, True])
def test_the_error_is_that_of_the_mean(paired):
    """Shape noise that cancels in pairs is no error; without pairs it would be 30 times as large."""
    truth = make_truth(600, paired=paired)
    shape_noise = 0.3 if paired else 0.0
    results = [mean_shear(make_rows(truth, shape_noise=shape_noise, seed=seed), truth) for seed in range(40)]
    expected = 0.01 / RESPONSE / np.sqrt(600)
    assert np.mean([r.error for r in results]) == pytest.approx(expected, rel=0.1)
    pulls = np.concatenate([r.pull for r in results])
    assert 0.75 < pulls.std() < 1.25
    assert abs(pulls.mean()) < 0.4
    assert results[0].n_galaxy == 600
    assert results[0].R[0, 0] == pytest.approx(RESPONSE)


def test_a_galaxy_without_its_partner_is_left_out():
    truth = make_truth(40, paired=True)
    rows = make_rows(truth, noise=0.0, shape_noise=0.3)
    kept = np.arange(40) != 7
    result = mean_shear(rows[kept], truth[kept])
    assert result.n_galaxy == 38
    np.testing.assert_allclose(result.g, [0.02, -0.01], atol=1e-12)


def test_whole_pairs():
    pair, usable = np.array([0, 0, 1, 1, -1, 2]), np.array([True, True, True, False, True, True])
    assert whole_pairs(pair, usable).tolist() == [True, True, False, False, False, False]
    assert whole_pairs(np.full(6, -1), usable).tolist() == usable.tolist()


def test_too_few_galaxies_have_no_shear():
    truth = make_truth(2, paired=False)
    assert mean_shear(make_rows(truth), truth) is None
    assert shear_bias(make_rows(truth), make_rows(truth), truth) is None


@pytest.mark.parametrize("paired", [False, True])
def test_opposite_shears_give_the_bias_without_the_common_noise(paired):
    plus, minus = make_truth(1000, paired=paired), make_truth(1000, paired=paired, g=(-0.02, 0.01))
    # The same seed is the same noise in both.
    first, second = (make_rows(t, m=0.03, c=0.002, noise=0.05, seed=5) for t in (plus, minus))
    bias = shear_bias(first, second, plus)
    np.testing.assert_allclose(bias.m, 0.03, atol=1e-9)
    assert (bias.m_error < 1e-9).all()
    error = 0.05 / RESPONSE / np.sqrt(1000)
    np.testing.assert_allclose(bias.c_error, error, rtol=0.3)
    assert np.abs(bias.c - 0.002).max() < 4 * error
    assert len(bias.lines()) == 3


def test_a_component_without_shear_has_no_multiplicative_bias():
    plus, minus = make_truth(100, paired=False, g=(0.02, 0.0)), make_truth(100, paired=False, g=(-0.02, 0.0))
    bias = shear_bias(make_rows(plus), make_rows(minus), plus)
    assert np.isfinite(bias.m[0])
    assert np.isnan(bias.m[1])


def test_simulations_of_different_skies_are_refused():
    truth = make_truth(4, paired=False)
    rows = make_rows(truth)
    with pytest.raises(DataError, match="opposite"):
        compare_opposite((rows, truth), (rows, truth), [])
