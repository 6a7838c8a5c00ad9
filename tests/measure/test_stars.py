import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from pydantic import ValidationError

from shapempi.errors import ConfigError
from shapempi.measure.detection_table import DETECTION_DTYPE
from shapempi.measure.setools.mode import mode
from shapempi.measure.setools.program import parse
from shapempi.measure.stars import StarParams, check_program, constants_of, select_stars, standard_program

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
    assert numbers["n_unflagged"] == ((table["FLAGS"] == 0) & (table["IMAFLAGS_ISO"] == 0)).sum()
    assert numbers["n_star"] == selection.selected.sum()
    assert_allclose([numbers["fwhm_mean_arcsec"], numbers["fwhm_std_arcsec"]], [chosen.mean(), chosen.std()])
    area = 4612 * 2048 * (SCALE / 3600) ** 2
    assert_allclose(numbers["star_density_per_deg2"], selection.selected.sum() / area)


def test_the_standard_file_states_the_same_numbers():
    table, _ = make_table()
    selection = select(table)
    numbers, rows = selection.statistics, {row.label: row.value for row in selection.rows}
    assert {row.section for row in selection.rows} == {"star_stat"}
    mode = numbers["fwhm_mode_pix"]
    assert_allclose(
        list(rows.values()),
        [
            *[numbers[name] for name in ("n_object", "n_unflagged", "n_star", "star_density_per_deg2")],
            *[numbers[name] for name in ("fwhm_mean_arcsec", "fwhm_std_arcsec")],
            *[(mode + cut) * SCALE for cut in (0, -0.2, 0.2)],  # the limits that were used
        ],
    )


def by_hand(table, params):
    """The standard selection, written out."""
    clean = (table["FLAGS"] == 0) & (table["IMAFLAGS_ISO"] == 0)
    mag, fwhm = table["MAG_AUTO"].astype(float), table["FWHM_IMAGE"].astype(float)
    size = fwhm * SCALE
    showing = clean & (mag > params.preselect_mag_min) & (mag < params.preselect_mag_max)
    showing &= (size > params.preselect_fwhm_min) & (size < params.preselect_fwhm_max)
    centre = mode(fwhm[showing]) if showing.any() else np.nan
    near = np.abs(fwhm - centre) <= params.fwhm_tolerance
    return clean & (mag > params.mag_min) & (mag < params.mag_max) & near, centre


@pytest.mark.parametrize("seed", range(8))
def test_the_standard_file_is_the_standard_selection(seed):
    table, _ = make_table(seed, n_star=25 * seed)
    if seed % 2:
        table = table.astype([(name, "f4" if name in COLUMNS else table.dtype[name]) for name in table.dtype.names])
        table["FWHM_IMAGE"][::7] = np.nan
        table["MAG_AUTO"][::9] = 99
    params = StarParams(mag_max=21.5, fwhm_tolerance=0.05 + 0.05 * seed, preselect_mag_max=20 + 0.2 * seed)
    expected, centre = by_hand(table, params)
    selection = select_stars(table, SCALE, params, np.random.default_rng(0))
    assert (selection.selected == expected).all()
    assert_array_equal(selection.fwhm_mode, centre)


def change(table, **columns):
    table = table.copy()
    for name, value in columns.items():
        table[name] = value
    return table


def test_no_stars_is_an_answer_with_a_reason():
    table, _ = make_table()
    for bad, words in [
        (table[:0], ["there are no objects"]),
        (
            change(table, FLAGS=1),
            ["0 of 1160 objects pass star_selection: {unflagged} keeps 0", "unflagged: FLAGS == 0 keeps 0"],
        ),
        (change(table, FWHM_IMAGE=30.0), ["; preselect: {unflagged}", "FWHM_IMAGE * 0.187 < 1.5 keeps 0"]),
        (change(table, MAG_AUTO=17.0), ["{unflagged} keeps 1033, MAG_AUTO > 18 keeps 0"]),
        (change(table, MAG_AUTO=np.nan), ["MAG_AUTO > 0 keeps 0"]),
        (change(table, FWHM_IMAGE=np.nan), ["FWHM_IMAGE * 0.187 > 0.3 keeps 0"]),
    ]:
        selection = select(bad)
        assert not (selection.selected.any() or selection.train.any() or selection.test.any())
        assert all(word in selection.reason for word in words), selection.reason
        assert len(selection.reason) < 200
        assert selection.selected.shape == bad.shape
        assert np.isnan(selection.statistics["fwhm_mean_arcsec"])
        rows = {row.label: row.value for row in selection.rows}
        assert rows["Stars"] == rows["Stars per deg^2"] == 0
        assert np.isnan(rows["Mean FWHM of the stars (arcsec)"])
        assert_array_equal(rows["Mode of the FWHM (arcsec)"], selection.fwhm_mode * SCALE)


@pytest.mark.parametrize("n", [0, 1, 5, 19])
def test_few_stars(n):
    table, star = make_table()
    shown = star & (np.abs(table["FWHM_IMAGE"] - 3.9) < 0.1) & (table["MAG_AUTO"] < 21)
    few = table[np.flatnonzero(shown)[:n]]
    selection = select(few)
    assert selection.selected.sum() == n
    assert selection.test.sum() == math.ceil(0.2 * n)
    assert (selection.train ^ selection.test == selection.selected).all()
    assert bool(selection.reason) == (n == 0)


def test_constant_columns():
    table, _ = make_table()
    same = select(change(table, FWHM_IMAGE=3.9))
    assert same.fwhm_mode == 3.9
    assert same.selected.sum() > 100
    one_place = select(change(table, XWIN_IMAGE=5.0, YWIN_IMAGE=7.0))
    assert one_place.test.sum() == math.ceil(0.2 * one_place.selected.sum())


def test_a_selection_of_the_user():
    table, _ = make_table()
    text = """
    [MASK:all]
    [MASK:bright]
    MAG_AUTO < limit and exposure == 7 and ccd_nx == 2048
    [RAND_SPLIT:half]
    RATIO = 50
    MASK = bright
    [STAT:numbers]
    "brightest" = min(MAG_AUTO)
    """
    program = parse(text, "mine.setools")
    params = StarParams(selection="mine.setools", mask="bright", split="half")
    rng = np.random.default_rng(1)
    constants = {"limit": 20.0, "exposure": 7.0}
    selection = select_stars(table, SCALE, params, rng, program=program, shape=(4612, 2048), constants=constants)
    assert (selection.selected == (table["MAG_AUTO"] < 20)).all()
    assert selection.test.sum() == math.ceil(0.5 * selection.selected.sum())
    assert selection.fwhm_mode == mode(table["FWHM_IMAGE"][selection.selected])  # there is no mask preselect
    assert [(row.section, row.label, row.value) for row in selection.rows] == [
        ("numbers", "brightest", table["MAG_AUTO"].min())
    ]
    none = StarParams(mask="bright", split="")
    assert not select_stars(table, SCALE, none, rng, program=program, constants=constants).test.any()
    with pytest.raises(ValueError, match="setools is needed"):
        select_stars(table, SCALE, params, rng)


def test_a_selection_is_checked_before_anything_is_computed():
    program = standard_program()
    check_program(program, StarParams(), DETECTION_DTYPE)
    for params, dtype, message in [
        (
            StarParams(mask="star_select"),
            DETECTION_DTYPE,
            r"no section \[MASK:star_select\]; did you mean star_selection",
        ),
        (StarParams(split="halves"), DETECTION_DTYPE, r"no section \[RAND_SPLIT:halves\]; there is only star_split"),
        (StarParams(), np.dtype([("FLAGS", "i2")]), r"star_selection.setools:8: IMAFLAGS_ISO == 0: there is no column"),
    ]:
        with pytest.raises(ConfigError, match=message):
            check_program(program, params, dtype)


def test_plots_are_checked_with_the_rest():
    program = parse("[MASK:m]\n[PLOT:p]\nTYPE = hist\nY = MAG_AUTO\nXLIM = 0, percentile(MAG_AUTO, mag_min * 10)", "t")
    with pytest.raises(ConfigError, match=r"t:5: .*must be between 0 and 100, not 180"):
        check_program(program, StarParams(mask="m", split=""), DETECTION_DTYPE)
    check_program(program, StarParams(mask="m", split="", mag_min=3), DETECTION_DTYPE)


def test_the_parameters_come_from_a_file():
    text = '{"selection": "a.setools", "output": ["mask", "plot"], "split": ""}'
    params = StarParams.model_validate_json(text, strict=True)
    assert (params.selection, params.output, params.split) == ("a.setools", ("mask", "plot"), "")
    with pytest.raises(ValidationError, match="output"):
        StarParams(output=("masks",))


def test_the_constants_are_the_parameters_and_those_of_the_image():
    constants = constants_of(StarParams(mag_max=21.25), {"pixel_scale": 0.2, "seeing": 0.7})
    assert (constants["mag_max"], constants["pixel_scale"], constants["seeing"]) == (21.25, 0.2, 0.7)
    assert np.isnan(constants["exposure"])
    assert "mask" not in constants
