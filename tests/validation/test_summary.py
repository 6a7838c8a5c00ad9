import numpy as np
import pytest
from validation.star_table import make_stars, set_shapes

from shapempi.validation.jackknife import exposure_groups
from shapempi.validation.residuals import residuals
from shapempi.validation.summary import QUANTITIES, STATISTICS_DTYPE, statistics_by, statistics_of


def rows_with(seed=1, n_exposure=3, ccds=range(6), per_ccd=40, noise=2e-3):
    rng = np.random.default_rng(seed)
    stars, _ = make_stars(rng, n_exposure, ccds, per_ccd)
    n = len(stars)
    by_exposure = np.repeat([1e-3, -1e-3, 3e-3], n // n_exposure) if n_exposure == 3 else 0.0
    set_shapes(stars, 0.02, 0.01, 0.2, *(noise * rng.normal(size=(3, n)) + by_exposure))
    return residuals(stars)[0]


def test_mean_and_scatter_are_numpys():
    rows = rows_with()
    total = statistics_of(rows)
    for name in QUANTITIES:
        values = rows[name].astype(float)
        assert total[f"{name}_mean"] == pytest.approx(values.mean(), rel=1e-9)
        assert total[f"{name}_rms"] == pytest.approx(np.sqrt((values**2).mean()), rel=1e-9)
        assert total[f"{name}_median"] == pytest.approx(np.median(values), rel=1e-9)
        nmad = 1.4826 * np.median(np.abs(values - np.median(values)))
        assert total[f"{name}_nmad"] == pytest.approx(nmad, rel=1e-9)
    assert total["n"] == len(rows) and total["exposure"] == -1 and total["ccd"] == -1


def test_the_error_of_a_survey_knows_that_exposures_differ():
    rng = np.random.default_rng(3)
    stars, _ = make_stars(rng, 12, range(4), 20)
    n = len(stars)
    set_shapes(
        stars, 0.02, 0.01, 0.2, *(2e-3 * rng.normal(size=(3, n)) + np.repeat(2e-3 * rng.normal(size=12), n // 12))
    )
    rows = residuals(stars)[0]
    means = np.array([rows["dT"][rows["exposure"] == each].mean(dtype=float) for each in np.unique(rows["exposure"])])
    expected = means.std(ddof=1) / np.sqrt(12)  # what the jackknife is for groups of equal size
    assert statistics_of(rows)["dT_mean_err"] == pytest.approx(expected, rel=1e-6)
    assert expected > 3 * rows["dT"].std() / np.sqrt(len(rows)) and exposure_groups(rows).unit == "exposures"


def test_few_exposures_are_judged_by_their_ccds():
    rows = rows_with()
    code = rows["exposure"].astype(np.int64) * 100 + rows["ccd"]
    means = np.array([rows["dT"][code == each].mean(dtype=float) for each in np.unique(code)])
    assert statistics_of(rows)["dT_mean_err"] == pytest.approx(means.std(ddof=1) / np.sqrt(18), rel=1e-6)
    assert exposure_groups(rows).unit == "CCDs"


def test_one_exposure_is_judged_by_its_ccds_and_one_ccd_by_its_stars():
    rows = rows_with()
    first = rows[rows["exposure"] == rows["exposure"][0]]
    means = np.array([first["dg1"][first["ccd"] == ccd].mean(dtype=float) for ccd in range(6)])
    error = means.std(ddof=1) / np.sqrt(6)
    assert statistics_of(first)["dg1_mean_err"] == pytest.approx(error, rel=1e-6)
    assert statistics_by(rows, ccds=False)["dg1_mean_err"][0] == pytest.approx(error, rel=1e-6)
    one = first[first["ccd"] == 2]["dg1"].astype(float)
    error = one.std(ddof=1) / np.sqrt(len(one))
    assert statistics_of(first[first["ccd"] == 2])["dg1_mean_err"] == pytest.approx(error, rel=1e-6)
    table = statistics_by(rows, ccds=True)
    assert table["dg1_mean_err"][(table["ccd"] == 2)][0] == pytest.approx(error, rel=1e-6)


def test_tables_by_exposure_and_ccd():
    rows = rows_with()
    shuffled = rows[np.random.default_rng(4).permutation(len(rows))]
    for ccds, n in ((False, 3), (True, 18)):
        table, other = statistics_by(rows, ccds=ccds), statistics_by(shuffled, ccds=ccds)
        assert len(table) == n and (table["n"] == len(rows) // n).all()
        for name in ("dT_mean", "dg2_rms", "de1_median", "de2_nmad"):
            np.testing.assert_allclose(table[name], other[name], rtol=1e-12)
    table = statistics_by(rows, ccds=True)
    one = rows[(rows["exposure"] == 2243882) & (rows["ccd"] == 4)]
    row = table[(table["exposure"] == 2243882) & (table["ccd"] == 4)][0]
    assert row["dT_mean"] == pytest.approx(one["dT"].astype(float).mean(), rel=1e-9)
    assert row["dT_median"] == pytest.approx(np.median(one["dT"].astype(float)), rel=1e-9)


def test_errors_are_of_the_right_size():
    """Over many surveys the mean scatters by its error."""
    pulls = []
    for seed in range(40):
        rows = rows_with(seed, 10, range(3), 10)
        row = statistics_of(rows)
        pulls.append(row["dg1_mean"] / row["dg1_mean_err"])
    assert 0.75 < np.std(pulls) < 1.6


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_stars(n):
    rows = rows_with()[:n]
    total = statistics_of(rows)
    assert total.dtype == STATISTICS_DTYPE and total["n"] == n
    assert np.isfinite(total["dT_mean"]) == (n > 0) and np.isfinite(total["dT_mean_err"]) == (n > 1)
    for ccds in (True, False):
        assert len(statistics_by(rows, ccds=ccds)) == min(n, 1)
