import numpy as np
import pytest
from validation.star_table import make_stars, set_shapes

from shapempi.validation.residuals import residuals
from shapempi.validation.trends import ABSCISSAE, TrendParams, trend


def sloped(seed, noise=2e-3, n_exposure=8):
    rng = np.random.default_rng(seed)
    stars, _ = make_stars(rng, n_exposure, range(4), 50)
    x = stars["MAG"] - 20
    set_shapes(stars, 0.02, 0.0, 0.2 + 0.005 * rng.normal(size=len(x)), *(noise * rng.normal(size=(3, len(x)))))
    extra = -2e-3 * x  # brighter stars are larger than the model
    stars["T_star"] *= 1 + extra
    stars["g1_star"] += 5e-4 * x
    return residuals(stars)[0]


def test_slopes_against_magnitude_are_found_within_their_errors():
    pulls = []
    for seed in range(25):
        found = trend(sloped(seed), "mag", TrendParams())
        pulls.append(
            [(found.slope[name] - true) / found.slope_error[name] for name, true in (("dg1", 5e-4), ("dT", -2e-3))]
        )
        assert found.slope_error["dT"] < 2e-4
    assert np.abs(np.mean(pulls, axis=0)).max() < 1.0 and 0.6 < np.std(pulls) < 1.7


def test_without_noise_the_line_is_exact():
    found = trend(sloped(3, noise=0.0), "mag", TrendParams(n_bin=6))
    assert found.slope["dg1"] == pytest.approx(5e-4, rel=1e-4) and found.slope["dT"] == pytest.approx(-2e-3, rel=0.03)
    assert found.slope["dg2"] == pytest.approx(0.0, abs=1e-8)
    assert found.level["dg1"] == pytest.approx(5e-4 * (found.pivot - 20), rel=1e-3)


def test_a_signal_to_noise_ratio_is_binned_in_decades():
    rows = sloped(5, noise=0.0)
    found = trend(rows, "snr", TrendParams())
    assert found.slope["dg1"] == pytest.approx(-5e-4 / 0.4, rel=1e-3)  # 2.5 mag are a decade
    assert (found.table["low"] < found.table["centre"]).all() and (found.table["centre"] < found.table["high"]).all()
    assert found.table["low"][0] == pytest.approx(rows["snr"].min(), rel=1e-5)


def test_bins_hold_equal_numbers_and_every_star():
    rows = sloped(5)
    for abscissa in ABSCISSAE:
        table = trend(rows, abscissa, TrendParams(n_bin=7)).table
        assert table["n"].sum() == len(rows) and np.ptp(table["n"]) <= 7
        inside = (rows[abscissa] >= table["low"][2]) & (rows[abscissa] < table["high"][2])
        assert table["dT"][2] == pytest.approx(rows["dT"][inside].mean(dtype=float), rel=1e-2)


@pytest.mark.parametrize("n", [0, 1, 9, 20])
def test_few_stars(n):
    rows = sloped(1)[:n]
    found = trend(rows, "mag", TrendParams())
    assert len(found.table) == n // 10 and np.isfinite(found.slope["dT"]) == (n == 20)


def test_one_value_and_no_value_give_no_bins():
    rows = sloped(1)
    rows["mag"] = 20.0
    rows["snr"] = np.nan
    for abscissa in ("mag", "snr"):
        found = trend(rows, abscissa, TrendParams())
        assert len(found.table) == 0 and np.isnan(found.slope["dT"])
