import numpy as np
import pytest

from shapempi.validation.requirements import (
    RequirementParams,
    Verdict,
    expected_xi,
    judge_residuals,
    judge_rho,
    rho_limits,
)
from shapempi.validation.rho import RHO_DTYPE
from shapempi.validation.summary import STATISTICS_DTYPE


def test_a_verdict_says_whether_and_how_surely():
    assert Verdict.of("x", 0.5, 0.1, 1.0).met and Verdict.of("x", 0.5, 0.1, 1.0).significant
    assert not Verdict.of("x", -1.1, 0.1, 1.0).met and not Verdict.of("x", -1.1, 0.1, 1.0).significant
    nothing = Verdict.of("x", np.nan, np.nan, 1.0)
    assert not nothing.met and not nothing.significant


def test_mean_residuals_are_judged_in_the_sky_frame():
    row = np.zeros(1, STATISTICS_DTYPE)[0]
    row["dT_mean"], row["dg2_mean"], row["de1_mean"] = 2e-3, -2e-4, 1.0
    assert [verdict.met for verdict in judge_residuals(row, RequirementParams())] == [True, True, False]


def test_the_expected_xi_falls_and_scales():
    theta = np.geomspace(0.5, 300, 50)
    xi = expected_xi(theta)
    assert (np.diff(xi) < 0).all() and 0.9e-4 < expected_xi(np.array([1.0]))[0] < 1.1e-4
    np.testing.assert_allclose(expected_xi(theta, 2.0), 2 * xi)


def test_limits_follow_sizes_and_leakage():
    theta = np.array([10.0])
    limit_134, limit_25 = rho_limits(theta, RequirementParams(size_ratio=2.0, leakage=0.05, xi_fraction=0.2))
    allowed = 0.2 * expected_xi(theta)
    np.testing.assert_allclose(limit_134, allowed / 4)
    np.testing.assert_allclose(limit_25, allowed / (2 * 0.05))


def test_rho_is_judged_by_its_worst_bin_that_is_not_noise():
    table = np.zeros(3, RHO_DTYPE)
    table["theta"], table["n_pair"] = (1.0, 10.0, 100.0), 1e4
    limit_134, limit_25 = rho_limits(table["theta"], RequirementParams())
    for k in range(1, 6):
        table[f"rho{k}_xip"] = 0.1 * limit_134
        table[f"rho{k}_xip_err"] = 0.01 * limit_134
    table["rho1_xip"][1], table["rho1_xip"][2], table["rho1_xip_err"][2] = (
        3 * limit_134[1],
        -9 * limit_134[2],
        limit_134[2] * 8,
    )
    table["rho5_xip"] = np.nan
    verdicts = judge_rho(table, RequirementParams())
    assert [verdict.met for verdict in verdicts] == [False, True, True, True, False]
    assert verdicts[0].value == pytest.approx(3.0) and "10 arcmin" in verdicts[0].name
    assert verdicts[1].value == pytest.approx(0.1 * 0.03, rel=1e-6) and limit_25[0] > limit_134[0]
    assert np.isnan(verdicts[4].value)
    table["n_pair"][1] = 20  # too few to say anything
    assert judge_rho(table, RequirementParams())[0].met
