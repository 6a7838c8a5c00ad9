"""Classes by size: the rule, and what has no size (tests/chain/test_truth.py has the classes of a whole survey)."""

import numpy as np
import pytest

from shapempi.measure.size_class import SizeClassParams, classify_sizes

PARAMS = SizeClassParams()


def table(T, error, psf):
    rows = np.zeros(len(T), [("T_noshear", "f8"), ("T_err_noshear", "f8"), ("psf_T", "f8")])
    rows["T_noshear"], rows["T_err_noshear"], rows["psf_T"] = T, error, psf
    return rows


def test_the_rule():
    psf = 0.2
    T = np.array([0.0, -0.01, 0.2, 0.052, 0.048, 0.2, np.nan, 0.2])
    error = np.array([0.001, 0.001, 0.001, 0.02, 0.02, np.nan, 0.001, 0.001])
    found = classify_sizes(table(T, error, np.array([psf] * 7 + [np.nan])), PARAMS)
    assert found["size_class"].tolist() == [0, 0, 1, 2, 2, 2, 2, 2]
    assert np.allclose(found["size_ratio"][:5], T[:5] / psf, rtol=1e-6)
    assert np.allclose(found["size_ratio_err"][:5], PARAMS.error_factor * error[:5] / psf, rtol=1e-6)
    assert np.isnan(found["size_ratio"][6:]).all()


def test_rows_do_not_know_each_other():
    rng = np.random.default_rng(2)
    rows = table(rng.normal(0.05, 0.1, 50), rng.uniform(0, 0.02, 50), rng.uniform(0.1, 0.3, 50))
    order = rng.permutation(50)
    assert np.array_equal(classify_sizes(rows, PARAMS)[order], classify_sizes(rows[order], PARAMS))
    assert len(classify_sizes(rows[:0], PARAMS)) == 0


@pytest.mark.parametrize("psf", [0.0, -0.1])
def test_a_psf_without_size_gives_no_class(psf):
    assert classify_sizes(table([0.1], [0.01], [psf]), PARAMS)["size_class"][0] == 2
