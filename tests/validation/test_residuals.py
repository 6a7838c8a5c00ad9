import numpy as np
import pytest
from validation.star_table import make_stars, set_shapes

from shapempi.validation.residuals import RESIDUAL_DTYPE, STAR_INPUT, SampleParams, collect, residuals


def test_residuals_are_star_minus_model_and_relative_to_the_stars_size():
    stars, _ = make_stars(np.random.default_rng(1), 1, [3], 10)
    set_shapes(stars, 0.05, -0.08, 0.2, 0.002, -0.003, 0.01)
    rows, rejected = residuals(stars)
    assert len(rows) == 10 and not any(rejected.values())
    for name, expected in (("de1", 0.002), ("de2", -0.003), ("dg1", 0.002), ("dg2", -0.003), ("dT", 0.01), ("T", 0.2)):
        np.testing.assert_allclose(rows[name], expected, rtol=1e-5)


def test_size_is_twice_sigma_squared_not_the_trace():
    stars, _ = make_stars(np.random.default_rng(1), 1, [3], 4)
    set_shapes(stars, 0.3, 0.0, 0.2, 0.0, 0.0, 0.0)
    assert stars["T_psf"][0] == pytest.approx(0.2 * 1.09 / 0.91)
    np.testing.assert_allclose(residuals(stars)[0]["T"], 0.2, rtol=1e-6)


def test_every_star_that_is_left_out_is_counted_once_with_its_reason():
    stars, _ = make_stars(np.random.default_rng(1), 1, [3], 10)
    stars["ACCEPTED"][0] = 0
    stars["FLAG_STAR_HSM"][:2] = 1
    stars["FLAG_PSF_HSM"][2] = 1
    stars["g1_star"][3] = np.nan
    stars["T_psf"][4] = -1.0
    sample = collect([stars[:5], stars[5:]], SampleParams())
    assert len(sample.rows) == 5 and sample.n_star == 10
    assert sample.rejected == {
        "model not accepted": 1,
        "star without moments": 1,
        "model without moments": 1,
        "values not finite": 1,
        "size not positive": 1,
    }


def test_magnitudes_that_are_not_known_cost_no_star():
    stars, _ = make_stars(np.random.default_rng(1), 1, [3], 10)
    stars["MAG"] = np.nan
    assert len(residuals(stars)[0]) == 10


def test_outliers_go_when_asked_and_only_then():
    stars, _ = make_stars(np.random.default_rng(2), 1, range(4), 100, noise=1e-3)
    stars["E1_STAR_HSM"][7] += 0.1
    assert len(collect([stars], SampleParams()).rows) == 400
    sample = collect([stars], SampleParams(outlier_sigma=8))
    assert len(sample.rows) == 399 and sample.rejected == {"outlier of 8 sigma": 1}


def test_the_parts_of_a_table_do_not_matter():
    stars, _ = make_stars(np.random.default_rng(2), 1, range(4), 25, noise=1e-3)
    whole = collect([stars], SampleParams()).rows
    parts = collect([stars[:1], stars[1:60], stars[60:]], SampleParams()).rows
    assert whole.tobytes() == parts.tobytes()


def test_nothing_at_all():
    stars, _ = make_stars(np.random.default_rng(1), 1, [3], 3)
    for table in (stars[:0], stars[:1]):
        sample = collect([table], SampleParams(outlier_sigma=3))
        assert len(sample.rows) == len(table) and sample.rows.dtype == RESIDUAL_DTYPE
    stars["T_star"] = np.nan
    assert collect([stars], SampleParams()).rejected == {"values not finite": 3}
    assert set(STAR_INPUT) <= set(stars.dtype.names)


def test_bright_stars_and_stars_of_an_exposure():
    stars, _ = make_stars(np.random.default_rng(1), 3, [3], 20)
    sample = collect([stars], SampleParams())
    bright = sample.brighter(100.0)
    assert (bright.rows["snr"] >= 100).all() and len(bright.rows) + bright.rejected["S/N below 100"] == 60
    assert len(sample.of_exposure(2243882).rows) == 20 and len(sample.of_exposure(5).rows) == 0
