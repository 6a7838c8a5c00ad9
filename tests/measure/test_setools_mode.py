"""Estimators of the mode: a Gaussian core on a uniform background, and degenerate samples."""

from __future__ import annotations

import numpy as np
import pytest

from shapempi.measure.setools.mode import half_sample_mode, mode, mode_kde

ESTIMATORS = [mode, mode_kde, half_sample_mode]


def errors(estimate, n_core, n_background, n_seed=60):
    found = []
    for seed in range(n_seed):
        rng = np.random.default_rng(seed)
        found.append(estimate(np.r_[rng.normal(3.9, 0.08, n_core), rng.uniform(1.6, 8.0, n_background)]) - 3.9)
    return np.array(found)


@pytest.mark.parametrize("estimate", ESTIMATORS)
@pytest.mark.parametrize(("n_core", "n_background"), [(150, 0), (150, 150), (100, 300), (1000, 1000)])
def test_a_core_on_a_background(estimate, n_core, n_background):
    error = errors(estimate, n_core, n_background)
    assert abs(error.mean()) < 0.02
    assert error.std() < 0.05
    assert np.abs(error).max() < 0.15


def test_the_density_scatters_least():
    spread = {estimate.__name__: errors(estimate, 150, 150).std() for estimate in ESTIMATORS}
    assert spread["mode_kde"] < 0.7 * spread["mode"]
    assert spread["mode_kde"] < 0.015


@pytest.mark.parametrize("estimate", ESTIMATORS)
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], -1.0),
        ([np.nan, np.inf], -1.0),
        ([2.5], 2.5),
        ([2.5, np.nan, -np.inf], 2.5),
        ([3.25] * 200, 3.25),
        (np.full(300, 3.7, np.float32), float(np.float32(3.7))),
        ([1.0] * 50 + [5.0] * 100, 5.0),
        (np.full(30, 1e300), 1e300),
        (np.zeros(40, np.int16), 0.0),
    ],
)
def test_small_and_degenerate_samples(estimate, values, expected):
    assert estimate(np.asarray(values)) == pytest.approx(expected, rel=1e-12, abs=0)


def test_fewer_than_twenty_values_have_their_median():
    values = np.r_[np.full(9, 2.0), np.linspace(3, 9, 10)]
    assert mode(values) == np.median(values) == 3.0
    assert mode([1.0, 2.0, 9.0]) == 2.0


@pytest.mark.parametrize("estimate", ESTIMATORS)
def test_values_that_differ_by_rounding(estimate):
    base = np.float32(3.7)
    values = np.where(np.arange(400) % 2, base, np.nextafter(base, np.float32(4)))
    assert estimate(values) == pytest.approx(3.7, abs=1e-6)
    wide = np.r_[values, 1e17, -1e17]
    assert np.isfinite(estimate(wide))
    assert 0 <= estimate(np.arange(500.0)) <= 499


@pytest.mark.parametrize("estimate", ESTIMATORS)
def test_the_order_of_the_values_is_of_no_concern(estimate):
    rng = np.random.default_rng(4)
    values = np.r_[rng.normal(3.9, 0.08, 150), rng.uniform(1.6, 8.0, 150)]
    assert estimate(values) == estimate(rng.permutation(values)) == estimate(values[::-1])


def test_all_of_a_symmetric_sample_has_its_centre():
    assert half_sample_mode([1.0, 2.0, 3.0]) == 2.0
    assert half_sample_mode([1.0, 1.5, 9.0]) == 1.25
    assert half_sample_mode([1.0, 8.5, 9.0]) == 8.75
