from itertools import permutations

import numpy as np
import pytest

from shapempi.catalog import SHEAR_TYPES
from shapempi.measure.response import ResponseSum

STEP = 0.01
SHIFT = {"noshear": (0, 0), "1p": (1, 0), "1m": (-1, 0), "2p": (0, 1), "2m": (0, -1)}


def linear_table(rng, n, shear=(0.02, -0.01), response=((0.8, 0.05), (-0.03, 0.7)), scatter=0.2):
    """Return shapes that answer a shear linearly with a known response."""
    table = np.zeros(n, [(f"g{i}_{kind}", "f8") for kind in SHEAR_TYPES for i in (1, 2)])
    intrinsic = rng.normal(0.0, scatter, (n, 2))
    for kind, shift in SHIFT.items():
        g = intrinsic + np.array(response) @ (np.array(shear) + STEP * np.array(shift))
        table[f"g1_{kind}"], table[f"g2_{kind}"] = g.T
    return table


def test_a_linear_response_is_found_and_divided_out():
    sums = ResponseSum(STEP)
    sums.add(linear_table(np.random.default_rng(1), 1000, scatter=0.0))
    np.testing.assert_allclose(sums.R(), [[0.8, 0.05], [-0.03, 0.7]], rtol=0, atol=1e-12)
    np.testing.assert_allclose(sums.R_selection(), 0.0, atol=1e-12)
    np.testing.assert_allclose(sums.shear().g, [0.02, -0.01], rtol=1e-10)
    assert sums.n == 1000


def test_selection_response_is_taken_into_account():
    """A cut on a sheared quantity biases the mean; its response repairs that."""
    rng = np.random.default_rng(2)
    table = linear_table(rng, 400_000, shear=(0.02, 0.0), response=((1, 0), (0, 1)))
    select = {kind: table[f"g1_{kind}"] < 0.1 for kind in SHEAR_TYPES}
    sums = ResponseSum(STEP)
    sums.add(table, select=select)
    # Against the same cut without shear, the mean answers with less than 1.
    uncut = linear_table(np.random.default_rng(2), 400_000, shear=(0.0, 0.0), response=((1, 0), (0, 1)))
    bias = uncut["g1_noshear"][uncut["g1_noshear"] < 0.1].mean()
    assert sums.R_shear()[0, 0] == pytest.approx(1.0, abs=1e-9)
    assert sums.R_selection()[0, 0] < -0.3
    answer = (sums.mean_g()[0] - bias) / sums.R()[0, 0]
    assert answer == pytest.approx(0.02, abs=0.002)


def test_weights_enter_per_type():
    rng = np.random.default_rng(3)
    table = linear_table(rng, 1000)
    doubled = ResponseSum(STEP)
    doubled.add(np.concatenate([table, table[:300]]))
    weighted = ResponseSum(STEP)
    weight = np.where(np.arange(1000) < 300, 2.0, 1.0)
    weighted.add(table, weight=dict.fromkeys(SHEAR_TYPES, weight))
    np.testing.assert_allclose(weighted.shear().g, doubled.shear().g, rtol=1e-12)
    np.testing.assert_allclose(weighted.R(), doubled.R(), rtol=1e-12)


def test_merging_in_any_order_gives_the_same_bits():
    rng = np.random.default_rng(4)
    parts = []
    for name in ("a", "b", "c", "d"):
        part = ResponseSum(STEP)
        part.add(linear_table(rng, 37), patch=name)
        parts.append(part)
    results = set()
    for order in permutations(parts):
        total = ResponseSum(STEP)
        for part in order:
            total.merge(part)
        results.add((total.R().tobytes(), total.shear().g.tobytes(), total.shear().error.tobytes()))
    assert len(results) == 1


def test_both_kinds_of_errors_are_the_scatter():
    rng = np.random.default_rng(5)
    answers, scatter, jackknife = [], [], []
    for _ in range(100):
        few, many = ResponseSum(STEP), ResponseSum(STEP)
        for patch in range(20):
            table = linear_table(rng, 50)
            few.add(table)
            many.add(table, patch=f"{patch:02d}")
        answers.append(few.shear().g)
        scatter.append(few.shear().error)
        jackknife.append(many.shear().error)
        np.testing.assert_allclose(few.shear().g, many.shear().g, rtol=1e-10)
    expected = np.std(answers, axis=0)
    np.testing.assert_allclose(np.mean(scatter, axis=0), expected, rtol=0.25)
    np.testing.assert_allclose(np.mean(jackknife, axis=0), expected, rtol=0.25)


def test_objects_without_a_shape_are_left_out():
    table = linear_table(np.random.default_rng(6), 100)
    holes = table.copy()
    holes["g2_1m"][10:] = np.nan
    sums, expected = ResponseSum(STEP), ResponseSum(STEP)
    sums.add(holes)
    expected.add(table[:10])
    assert sums.n == 10
    np.testing.assert_allclose(sums.shear().g, expected.shear().g, rtol=1e-12)


def test_nothing_gives_nan_without_warnings():
    sums = ResponseSum(STEP)
    assert np.isnan(sums.shear().g).all()
    sums.add(linear_table(np.random.default_rng(7), 0))
    assert sums.n == 0
    assert np.isnan(sums.R()).all()
    assert np.isnan(sums.shear().error).all()


def test_wrong_use_is_an_error():
    table = linear_table(np.random.default_rng(8), 3)
    with pytest.raises(ValueError, match="types noshear"):
        ResponseSum(STEP).add(table, select={"noshear": np.ones(3, bool)})
    with pytest.raises(ValueError, match="step"):
        ResponseSum(STEP).merge(ResponseSum(0.02))
