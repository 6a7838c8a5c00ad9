import numpy as np
import pytest

from shapempi.validation.ccd_status import histogram, summarise_status


def status_table():
    names = [("exposure", "i4"), ("ccd", "i2"), ("status", "S16"), ("n_used", "i4"), ("chi2", "f8")]
    table = np.zeros(6, [*names, ("fwhm_mean_arcsec", "f8"), ("reason", "S200")])
    table["exposure"], table["ccd"] = [2, 2, 2, 1, 1, 3], [0, 1, 2, 0, 1, 0]
    table["status"] = [b"accepted", b"chi2", b"few_stars", b"accepted", b"few_stars", b"few_stars"]
    table["reason"] = [b"", b"chi2 = 3", b"12 stars", b"", b"3 stars", b"0 stars"]
    table["n_used"], table["chi2"] = [60, 50, 12, 40, 3, 0], [1.0, 3.0, np.nan, 1.2, np.nan, np.nan]
    table["fwhm_mean_arcsec"] = 0.7
    return table


def test_ccds_by_status_and_exposure():
    summary = summarise_status(status_table())
    assert list(summary.counts.items()) == [("few_stars", 3), ("accepted", 2), ("chi2", 1)] and summary.n_ccd == 6
    assert summary.examples == {"few_stars": "0000002-2: 12 stars", "chi2": "0000002-1: chi2 = 3"}
    assert summary.exposures["exposure"].tolist() == [1, 2, 3]
    assert summary.exposures["n_accepted"].tolist() == [1, 1, 0] and summary.exposures["n_ccd"].tolist() == [2, 3, 1]
    np.testing.assert_array_equal(summary.exposures["chi2"], [1.2, 1.0, np.nan])
    np.testing.assert_array_equal(summary.exposures["n_used"], [40, 60, np.nan])


def test_histograms_count_every_finite_value():
    histograms = {each.name: each for each in summarise_status(status_table(), n_bin=5).histograms}
    assert set(histograms) == {"n_used", "chi2", "fwhm_mean_arcsec"}
    assert histograms["n_used"].count.sum() == 6
    np.testing.assert_array_equal(histograms["n_used"].edges, -0.5 + 13 * np.arange(6))  # 0 to 60 in whole numbers
    assert histograms["chi2"].count.sum() == 3
    assert histograms["fwhm_mean_arcsec"].count.tolist() == [6]


@pytest.mark.parametrize("values", [[], [np.nan], [np.inf, np.nan]])
def test_no_values(values):
    edges, count = histogram(np.array(values), 5)
    assert len(edges) == 0 and len(count) == 0
    assert summarise_status(status_table()[:0]).counts == {}
