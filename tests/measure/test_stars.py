import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from shapempi.measure.stars import StarParams, mode, select_stars

COLUMNS = ("MAG_AUTO", "FWHM_IMAGE", "XWIN_IMAGE", "YWIN_IMAGE")
SCALE = 0.187


def make_table(seed=1, n_star=160, n_galaxy=1000, fwhm=3.9):
    """Return a detection table with a stellar sequence, and which rows are stars of selectable magnitude."""
    rng = np.random.default_rng(seed)
    n = n_star + n_galaxy
    table = np.zeros(n, [(name, "f8") for name in COLUMNS] + [("FLAGS", "i2"), ("IMAFLAGS_ISO", "i4")])
    table["MAG_AUTO"] = np.r_[rng.uniform(16, 22, n_star), rng.triangular(19, 24, 24.5, n_galaxy)]
    table["FWHM_IMAGE"] = np.r_[rng.normal(fwhm, 0.05, n_star), fwhm * rng.uniform(1.1, 3.0, n_galaxy)]
    table["XWIN_IMAGE"], table["YWIN_IMAGE"] = rng.uniform(1, 2048, n), rng.uniform(1, 4612, n)
    table["FLAGS"][::17] = 2
    table["IMAFLAGS_ISO"][::19] = 4
    star = (np.arange(n) < n_star) & (table["MAG_AUTO"] > 18) & (table["FLAGS"] == 0) & (table["IMAFLAGS_ISO"] == 0)
    return table, star


def select(table, seed=5, **params):
    return select_stars(table, SCALE, StarParams(**params), np.random.default_rng(seed), shape=(4612, 2048))


def test_mode_of_a_core_on_a_background():
    errors = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        errors.append(mode(np.r_[rng.normal(3.9, 0.08, 150), rng.uniform(1.6, 8.0, 150)]) - 3.9)
    assert abs(np.mean(errors)) < 0.02
    assert np.std(errors) < 0.05
    assert np.abs(errors).max() < 0.15


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], -1.0),
        ([np.nan, np.inf], -1.0),
        ([2.5], 2.5),
        ([1.0, 2.0, 9.0], 2.0),
        ([3.25] * 200, 3.25),
        (np.full(300, 3.7, np.float32), float(np.float32(3.7))),
        ([1.0] * 50 + [5.0] * 100, 5.0),
    ],
)
def test_mode_of_small_and_degenerate_samples(values, expected):
    assert mode(np.asarray(values)) == expected


def test_mode_never_fails_on_values_that_differ_by_rounding():
    base = np.float32(3.7)
    values = np.where(np.arange(400) % 2, base, np.nextafter(base, np.float32(4)))
    assert mode(values) == pytest.approx(3.7, abs=1e-6)
    assert mode(np.arange(500.0)) == pytest.approx(250, abs=250)


def test_stars_are_found():
    table, star = make_table()
    selection = select(table)
    assert selection.reason == ""
    assert selection.fwhm_mode == pytest.approx(3.9, abs=0.05)
    assert (selection.selected & star).sum() >= 0.98 * star.sum()
    assert (selection.selected & ~star).sum() <= 0.05 * star.sum()
    assert not selection.selected[(table["FLAGS"] != 0) | (table["IMAFLAGS_ISO"] != 0)].any()
    bright = table["MAG_AUTO"][selection.selected]
    assert bright.min() > 18
    assert bright.max() < 22


def test_the_split_is_complete_and_rounds_up():
    table, _ = make_table()
    selection = select(table)
    n = selection.selected.sum()
    assert selection.test.sum() == math.ceil(0.2 * n)
    assert not (selection.train & selection.test).any()
    assert ((selection.train | selection.test) == selection.selected).all()
    assert not select(table, validation_ratio=0.0).test.any()
    hundred = select(table[selection.selected][:100], validation_ratio=0.07)
    assert hundred.test.sum() == math.ceil(0.07 * hundred.selected.sum() - 1e-9)


def test_the_split_comes_from_the_generator_and_not_from_the_order():
    table, _ = make_table()
    first, again, other = select(table), select(table), select(table, seed=6)
    assert (first.test == again.test).all()
    assert (first.test != other.test).any()
    order = np.random.default_rng(9).permutation(len(table))
    shuffled = select(table[order])
    assert (shuffled.test == first.test[order]).all()
    assert shuffled.fwhm_mode == first.fwhm_mode


def test_statistics():
    table, _ = make_table()
    selection = select(table)
    numbers = selection.statistics
    chosen = table["FWHM_IMAGE"][selection.selected] * SCALE
    assert numbers["n_object"] == len(table)
    assert numbers["n_star"] == selection.selected.sum()
    assert_allclose([numbers["fwhm_mean_arcsec"], numbers["fwhm_std_arcsec"]], [chosen.mean(), chosen.std()])
    assert_allclose(numbers["fwhm_max_cut_pix"] - numbers["fwhm_min_cut_pix"], 0.4)
    area = 4612 * 2048 * (SCALE / 3600) ** 2
    assert_allclose(numbers["star_density_per_deg2"], selection.selected.sum() / area)


def test_no_stars_is_an_answer_with_a_reason():
    table, _ = make_table()
    flagged = table.copy()
    flagged["FLAGS"] = 1
    huge = table.copy()
    huge["FWHM_IMAGE"] = 30.0
    faint = table.copy()
    faint["MAG_AUTO"] = 17.0
    unknown = table.copy()
    unknown["MAG_AUTO"] = np.nan
    for bad, word in [
        (table[:0], "no object"),
        (flagged, "flagged"),
        (huge, "arcsec"),
        (faint, "18 < MAG_AUTO < 22"),
        (unknown, "MAG_AUTO"),
    ]:
        selection = select(bad)
        assert not (selection.selected.any() or selection.train.any() or selection.test.any())
        assert word in selection.reason
        assert selection.selected.shape == bad.shape
