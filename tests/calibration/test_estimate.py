"""Biases that were planted in a table come back, with errors that are those of repeated experiments."""

import numpy as np
import pytest

from shapempi.calibration.estimate import change, estimate
from shapempi.calibration.params import CalibrationParams, CaseParams, ViewParams
from shapempi.calibration.stamps import variants
from shapempi.calibration.trial import TRIAL_DTYPE
from shapempi.catalog import SHEAR_TYPES

STEP = 0.01
PARAMS = CalibrationParams()
RESPONSE = np.array([[0.8, 0.02], [-0.01, 0.7]])
PSF = np.array([0.03, -0.04])
APPLIED = {"noshear": (0, 0), "1p": (STEP, 0), "1m": (-STEP, 0), "2p": (0, STEP), "2m": (0, -STEP)}


def make_table(case, *, n_pair=400, m=0.0, c=(0.0, 0.0), alpha=0.0, noise=0.0, shape=0.2, size_slope=0.0, seed=1):
    """Return rows with g = R ((1 + m) g_true + c + alpha g_psf + shape) + noise, the noise common to the variants.

    T/Tpsf is 0.5 + size_slope g1 plus scatter, so that the cut on it acts on g1.
    """
    rng = np.random.default_rng(seed)
    kinds = variants(case)
    rows = np.zeros((n_pair, len(kinds), 2), TRIAL_DTYPE)
    rows["pair"] = np.arange(n_pair)[:, None, None]
    intrinsic = shape * rng.standard_normal((n_pair, 1, 2)) * np.array([1, -1])[:, None]
    scatter = noise * rng.standard_normal((n_pair, 2, 2))
    size = 0.5 + 0.1 * rng.standard_normal((n_pair, 2))
    for column, kind in enumerate(kinds):
        truth = (1 + m) * kind.shear * np.array([case.g1, case.g2]) + np.array(c) + alpha * kind.psf * PSF
        for name in SHEAR_TYPES:
            g = (truth + intrinsic + APPLIED[name]) @ RESPONSE.T + scatter
            rows[f"g1_{name}"][:, column], rows[f"g2_{name}"][:, column] = g[..., 0], g[..., 1]
            rows[f"T_{name}"][:, column] = size + size_slope * g[..., 0]
            rows[f"Tpsf_{name}"], rows[f"s2n_{name}"] = 1.0, 100.0
    return rows


def patches(rows, n_patch=20):
    for index, part in enumerate(np.array_split(rows, n_patch)):
        yield f"{index:03d}", part.reshape(-1)


def value(result, name):
    return result.quantities[name].value


GALAXIES = CaseParams(name="galaxies")
ELLIPTIC = CaseParams(name="elliptic", views=(ViewParams(psf_g1=PSF[0], psf_g2=PSF[1]),))


def test_planted_biases_come_back():
    rows = make_table(ELLIPTIC, m=0.01, c=(2e-3, -1e-3), alpha=0.05)
    result = estimate(ELLIPTIC, PARAMS, STEP, patches(rows))
    assert (result.n_pair, result.n_used) == (400, 400)
    for name, expected in {"m": 0.01, "m1": 0.01, "m2": 0.01, "m_cross": 0.0, "c1": 2e-3, "c2": -1e-3}.items():
        assert value(result, name) == pytest.approx(expected, abs=1e-10), name
        assert result.quantities[name].error < 1e-10
    assert value(result, "alpha") == pytest.approx(0.05, abs=1e-10)
    assert value(result, "alpha_cross") == pytest.approx(0.0, abs=1e-10)
    assert value(result, "R11") == pytest.approx(0.8)
    assert value(result, "R22") == pytest.approx(0.7)


def test_noise_that_the_signs_share_is_in_c_only():
    results = [
        estimate(GALAXIES, PARAMS, STEP, patches(make_table(GALAXIES, noise=0.05, seed=seed))) for seed in range(30)
    ]
    assert max(abs(value(result, "m")) for result in results) < 1e-10
    c1 = np.array([value(result, "c1") for result in results])
    error = np.mean([result.quantities["c1"].error for result in results])
    assert c1.std() == pytest.approx(0.05 / 0.8 / np.sqrt(800), rel=0.35)
    assert error == pytest.approx(c1.std(), rel=0.35)


def test_a_selection_has_a_response():
    """A cut on a size that grows with g1 lets smaller intrinsic g1 pass, the more the galaxies are sheared."""
    case = CaseParams(name="selected", g1=0.02, g2=0.0)
    rows = make_table(case, n_pair=20000, size_slope=0.3, seed=3)
    result = estimate(case, PARAMS, STEP, patches(rows, 50))
    with_it, without = result.quantities["m_cut"], result.quantities["m_cut_bare"]
    assert 0.4 < result.cut_fraction < 0.6
    assert value(result, "R_selection") < -0.03
    assert without.value < -10 * without.error
    assert abs(with_it.value) < 3 * with_it.error
    assert abs(value(result, "m")) < 1e-10


def test_a_pair_with_a_hole_is_left_out_as_a_whole():
    rows = make_table(GALAXIES, m=0.01)
    expected = estimate(GALAXIES, PARAMS, STEP, patches(np.delete(rows, 7, axis=0)))
    rows["g2_1p"][7, 1, 0] = np.nan
    result = estimate(GALAXIES, PARAMS, STEP, patches(rows))
    assert (result.n_pair, result.n_used) == (400, 399)
    assert value(result, "c1") == pytest.approx(value(expected, "c1"), abs=1e-15)


def test_stars_have_a_response_and_no_bias():
    stars = CaseParams(name="stars", stars=True)
    result = estimate(stars, PARAMS, STEP, patches(make_table(stars)))
    assert value(result, "R11") == pytest.approx(0.8)
    assert np.isnan(value(result, "m"))


def test_without_shear_there_is_no_m():
    still = CaseParams(name="still", g1=0.0, g2=0.0)
    result = estimate(still, PARAMS, STEP, patches(make_table(still, c=(1e-3, 0.0))))
    assert np.isnan(value(result, "m"))
    assert value(result, "c1") == pytest.approx(1e-3)


def test_a_change_has_no_common_noise():
    first, second = (
        estimate(GALAXIES, PARAMS, STEP, patches(make_table(GALAXIES, m=m, noise=0.05))) for m in (0.013, 0.01)
    )
    result = change(first, second)
    assert value(result, "dm") == pytest.approx(0.003, abs=1e-10)
    assert value(result, "dc1") == pytest.approx(0.0, abs=1e-10)
    assert result.quantities["dc1"].error < 1e-10
    assert result.quantities["c1"].error > 1e-3


def test_nothing_measured_is_nan():
    rows = make_table(GALAXIES)
    for name in TRIAL_DTYPE.names[5:]:
        rows[name] = np.nan
    result = estimate(GALAXIES, PARAMS, STEP, patches(rows))
    assert result.n_used == 0
    assert np.isnan(value(result, "m"))
    assert np.isnan(result.cut_fraction)
