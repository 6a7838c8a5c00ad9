"""Cuts, response, bins and mean shear of simulated catalogues whose shear, response and leakage are known."""

import numpy as np
import pytest
from lensing.sky import STEP, catalogue, disc
from pydantic import ValidationError

from shapempi.flags import ObjectFlag
from shapempi.lensing.bins import QUANTITIES, Axis, BinParams, make_axis
from shapempi.lensing.cuts import CutParams, cut_steps, selected, weights
from shapempi.lensing.leakage import leakage, line_fit
from shapempi.lensing.patches import PatchParams, make_patches
from shapempi.lensing.sample import Preview, Sample
from shapempi.lensing.truth import truth_bias

SHEAR = 0.02 - 0.01j
CUTS, BINS = CutParams(), BinParams()


def rows_of(rng, n, shear=SHEAR, place=(0.0, 20.0), **more):
    return catalogue(rng, *disc(rng, n, *place, 1.0), shear, **more)


def sample_of(rows, parts=1, cuts=CUTS, bins=BINS, fraction=1.0):
    """Return the sample of rows that come in parts."""
    pieces = np.array_split(rows, parts)
    preview = Preview(cuts, 20.0, np.random.default_rng(1))
    for piece in pieces:
        preview.add(piece)
    some = preview.galaxies
    patches = make_patches(some["ra"], some["dec"], preview.n_galaxy, PatchParams(), np.random.default_rng(2))
    axes = {name: make_axis(name, some[name], bins, cuts) for name in QUANTITIES}
    sample = Sample(cuts, patches, axes, STEP, fraction=fraction, rng=np.random.default_rng(3))
    for piece in pieces:
        sample.add(piece)
    return preview, sample


def test_the_shear_comes_back_although_the_cut_answers_to_it():
    """S/N grows with the shape; without the response of the selection the shear would be wrong by ten errors."""
    rng = np.random.default_rng(1)
    _, sample = sample_of(rows_of(rng, 150_000, scatter=0.1, selection=60.0), cuts=CutParams(s2n_min=20))
    g, error = sample.total.shear()
    truth = np.array([SHEAR.real, SHEAR.imag])
    assert (np.abs(g - truth) < 3 * error).all()
    np.testing.assert_allclose(sample.total.R_shear(), 0.7 * np.eye(2), atol=1e-9)
    wrong = np.linalg.solve(sample.total.R_shear(), sample.total.mean_g())
    assert (np.abs(wrong - truth) > 10 * error).any()


def test_each_bin_has_its_own_response_of_the_selection():
    """Galaxies move from bin to bin with the shear: every bin gives the shear all the same (3.5 errors, 48 numbers)."""
    rng = np.random.default_rng(2)
    preview, sample = sample_of(rows_of(rng, 120_000))
    for name, bins in sample.bins.items():
        table = bins.table()
        for i, truth in ((1, SHEAR.real), (2, SHEAR.imag)):
            assert (np.abs(table[f"g{i}"] - truth) < 3.5 * table[f"g{i}_err"]).all(), name
        assert table["n"].sum() == preview.n_galaxy
        np.testing.assert_allclose(table["n"], preview.n_galaxy / len(table), rtol=0.01)
        assert ((table["mean"] > table["low"]) & (table["mean"] < table["high"])).all()
    s2n = sample.bins["s2n"].table()
    assert np.abs(s2n["Rsel11"]).max() > 10 * s2n["R11_err"].max() / 2
    grid = sample.grid.table()
    np.testing.assert_array_equal(grid["n"].sum(axis=1), s2n["n"])
    np.testing.assert_array_equal(grid["n"].sum(axis=0), sample.bins["size_ratio"].table()["n"])
    np.testing.assert_array_equal(grid["low"][:, 0], s2n["low"])
    np.testing.assert_array_equal(sample.grid.table(1)["low"][0], sample.bins["size_ratio"].table()["low"])


def test_parts_do_not_matter():
    rng = np.random.default_rng(3)
    rows = rows_of(rng, 5000)
    (first, whole), (second, parts) = sample_of(rows), sample_of(rows, 7)
    assert first.counts == second.counts
    np.testing.assert_array_equal(whole.galaxies(), parts.galaxies())
    np.testing.assert_allclose(whole.total.R(), parts.total.R(), rtol=1e-12)
    for name in whole.bins:
        one, other = whole.bins[name].table(), parts.bins[name].table()
        for column in one.dtype.names:
            np.testing.assert_allclose(one[column], other[column], rtol=1e-9, atol=1e-12)


def test_every_cut_takes_what_it_names():
    rng = np.random.default_rng(4)
    rows = rows_of(rng, 100, scatter=0.0, selection=0.0)
    for kind in ("noshear", "1p", "1m", "2p", "2m"):
        rows[f"s2n_{kind}"], rows[f"mag_{kind}"] = 50, 22
    assert selected(rows, "noshear", CUTS).all()
    changes = {
        0: ("FLAG_TILING", 0),
        1: ("FLAGS", 4),
        2: ("IMAFLAGS_ISO", 2),
        3: ("n_epoch_used", 0),
        4: ("shape_flags", int(ObjectFlag.FIT_FAILED)),
        5: ("mcal_flags", 1),
        6: ("g1_noshear", np.nan),
        7: ("psf_T", np.nan),
        8: ("psf_g1", np.nan),
        9: ("s2n_noshear", 9.99),
        10: ("s2n_noshear", 500.0),
        11: ("T_noshear", 0.49 * rows["psf_T"][11]),
        12: ("T_noshear", np.nan),
        13: ("mag_noshear", np.nan),
        14: ("mag_noshear", 30.0),
    }
    for row, (name, value) in changes.items():
        rows[name][row] = value
    rows["FLAGS"][20], rows["shape_flags"][21] = 3, int(ObjectFlag.SOME_EPOCH_LOST)  # crowded; information only
    np.testing.assert_array_equal(np.flatnonzero(~selected(rows, "noshear", CUTS)), list(changes))
    preview = Preview(CUTS, 20.0, rng)
    preview.add(rows)
    assert list(preview.counts.values()) == [99, 98, 97, 96, 93, 91, 89, 87, 85]
    assert len(preview.counts) == len(cut_steps(rows, "noshear", CUTS))
    every = CUTS.model_copy(update={"primary_only": False})
    assert selected(rows, "noshear", every)[0]


def test_weights_fall_with_the_error_and_a_large_scatter_makes_them_equal():
    rows = rows_of(np.random.default_rng(5), 3)
    rows["g1_err_1p"], rows["g2_err_1p"] = [0.0, 0.3, np.nan], [0.0, 0.3, 0.3]
    np.testing.assert_allclose(weights(rows, "1p", CUTS), [1, 0.5, 0])
    even = weights(rows, "1p", CUTS.model_copy(update={"weight_scatter": 100.0}))
    np.testing.assert_allclose(even[:2], 1, atol=1e-4)


def test_limits_of_bins_can_be_given_and_are_checked():
    axis = make_axis("s2n", np.zeros(5), BinParams(s2n=(10, 20, 40)), CUTS)
    np.testing.assert_array_equal(axis.place(np.array([9.9, 10, 19.9, 20, 40, np.nan])), [-1, 0, 0, 1, -1, -1])
    np.testing.assert_array_equal(make_axis("mag", np.full(9, 22.0), BinParams(), CUTS).edges, [15, 22, 30])
    assert len(Axis("psf_T", np.array([-np.inf, np.inf]))) == 1
    for wrong in ({"s2n": (10,)}, {"mag": (20, 20)}):
        with pytest.raises(ValidationError, match="limits of bins"):
            BinParams(**wrong)
    with pytest.raises(ValidationError, match="s2n_min is not less"):
        CutParams(s2n_min=600)


def calibrated(sample):
    galaxies = sample.galaxies()
    return galaxies, np.linalg.solve(sample.total.R(), np.stack([galaxies["g1"], galaxies["g2"]]))


def test_leakage_comes_back():
    """alpha 0.2 within 3.5 errors of a twentieth of it; no other slope."""
    rng = np.random.default_rng(6)
    _, sample = sample_of(rows_of(rng, 60_000, scatter=0.05, leak=0.2, selection=0.0))
    table = leakage(*calibrated(sample))
    expected = np.where((table["component"] == 1) & (table["against"] == b"psf_g1"), 0.2, 0.0)
    expected[(table["component"] == 2) & (table["against"] == b"psf_g2")] = 0.2
    assert (table["slope_err"] < 0.012).all()
    assert (np.abs(table["slope"] - expected) < 3.5 * table["slope_err"]).all(), table
    offsets = np.where(table["component"] == 1, SHEAR.real, SHEAR.imag)
    assert (np.abs(table["offset"] - offsets) < 3.5 * table["offset_err"]).all()


def test_both_errors_of_a_line_are_its_scatter():
    rng = np.random.default_rng(7)
    found = []
    for _ in range(200):
        x, weight = rng.normal(3, 1, 400), rng.uniform(0.2, 1, 400)
        y = 2 + 0.5 * x + rng.normal(size=400)
        few, many = (line_fit(x, y, weight, np.arange(400) // size) for size in (200, 20))
        found.append([few[0], few[1], many[1]])
    values, few, many = np.array(found).transpose(1, 0, 2)
    np.testing.assert_allclose(values.mean(axis=0), [3.5, 0.5], atol=0.02)
    scatter = [np.std(values[:, 0] - 0), np.std(values[:, 1])]
    np.testing.assert_allclose(few.mean(axis=0), scatter, rtol=0.2)
    np.testing.assert_allclose(many.mean(axis=0), scatter, rtol=0.2)
    assert np.isnan(line_fit(np.ones(9), np.ones(9), np.ones(9), np.arange(9))[0]).all()


def test_bias_against_the_truth():
    rng = np.random.default_rng(8)
    n = 20_000
    truth = 0.03 * rng.normal(size=(2, n)) + 0.01
    shear = 1.1 * truth + np.array([[0.002], [-0.003]]) + 0.05 * rng.normal(size=(2, n))
    found = truth_bias(shear, np.ones(n), truth, np.arange(n))
    assert not found.one_shear
    assert (np.abs(found.m - 0.1) < 3.5 * found.m_err).all()
    assert (np.abs(found.c - [0.002, -0.003]) < 3.5 * found.c_err).all()
    assert (found.m_err < 0.02).all()
    one = np.broadcast_to([[0.02], [0.0]], (2, n))
    found = truth_bias(1.1 * one + 0.05 * rng.normal(size=(2, n)), np.ones(n), one, np.arange(n))
    assert found.one_shear
    assert abs(found.m[0] - 0.1) < 3.5 * found.m_err[0]
    assert np.isnan(found.m[1])
    assert truth_bias(shear[:, :2], np.ones(2), truth[:, :2], np.arange(2)) is None


def test_rotated_pairs_have_the_error_of_pairs():
    rng = np.random.default_rng(9)
    intrinsic = 0.3 * rng.normal(size=(2, 1000))
    shear = np.concatenate([intrinsic, -intrinsic], axis=1) + 0.01 + 0.001 * rng.normal(size=(2, 2000))
    truth = np.full((2, 2000), 0.01)
    pairs = truth_bias(shear, np.ones(2000), truth, np.tile(np.arange(1000), 2))
    alone = truth_bias(shear, np.ones(2000), truth, np.arange(2000) * 7919 % 2003)
    assert (pairs.g_err < 1e-4).all()
    assert (alone.g_err > 1e-3).all()


def test_a_part_of_the_galaxies_can_be_correlated():
    rows = rows_of(np.random.default_rng(10), 4000)
    (preview, whole), (_, half) = sample_of(rows), sample_of(rows, fraction=0.5)
    assert len(whole.galaxies()) == preview.n_galaxy
    assert len(half.galaxies()) == pytest.approx(preview.n_galaxy / 2, rel=0.1)
    np.testing.assert_array_equal(whole.total.R(), half.total.R())
