from dataclasses import fields, replace

import galsim
import numpy as np
import pytest
from measure.galaxies import SHEARED, SIZE, STRAIGHT, UPSIDE_DOWN, make_stacks, select

from shapempi.catalog import SHEAR_TYPES
from shapempi.flags import ObjectFlag, PixelFlag
from shapempi.measure.response import ResponseSum
from shapempi.measure.shape_params import ShapeParams
from shapempi.measure.shape_table import SHAPE_DTYPE
from shapempi.measure.shapes import measure_shapes
from shapempi.vignet import VignetStacks

PARAMS = ShapeParams()
SEED = (20, 241, 293)
PSFS = (
    galsim.Moffat(beta=3.5, fwhm=0.65).shear(g1=0.03, g2=0.02),
    galsim.Moffat(beta=3.0, fwhm=0.70).shear(g1=-0.02, g2=0.04),
    galsim.Moffat(beta=4.0, fwhm=0.60).shear(g1=0.01, g2=-0.03),
)
EPOCHS = tuple(zip(PSFS, (STRAIGHT, UPSIDE_DOWN, SHEARED), strict=True))
GALAXY = galsim.Exponential(half_light_radius=0.45, flux=1000.0).shear(g1=0.15, g2=-0.1)


@pytest.fixture(scope="module")
def stacks():
    return make_stacks([GALAXY] * 4, EPOCHS, np.random.default_rng(1), snr=100.0)


@pytest.fixture(scope="module")
def table(stacks):
    return measure_shapes(stacks, PARAMS, seed=SEED)


def changed(stacks, **changes):
    """Return a copy whose arrays a test may write to."""
    copies = {field.name: np.array(getattr(stacks, field.name)) for field in fields(VignetStacks)}
    return replace(VignetStacks(**copies), **changes)


def same(left, right):
    return left.tobytes() == right.tobytes()


def test_a_good_object_has_every_number_and_no_flag(table):
    assert table.dtype == SHAPE_DTYPE
    assert (table["flags"] == 0).all()
    assert (table["n_epoch"] == 3).all()
    assert (table["n_epoch_used"] == 3).all()
    for name in SHAPE_DTYPE.names:
        assert np.isfinite(table[name]).all(), name
    np.testing.assert_allclose(table["s2n_noshear"], 75, rtol=0.1)
    for name, truth in (("g1", 0.15), ("g2", -0.10)):
        # The fit takes the noise as white; in metacalibration images the scatter is 2.7 times as large.
        assert (np.abs(table[f"{name}_noshear"] - truth) < 4 * 2.7 * table[f"{name}_err_noshear"]).all()
    np.testing.assert_allclose(table["r50_noshear"], 0.45, atol=0.04)
    np.testing.assert_allclose(table["mag_noshear"], 30 - 2.5 * np.log10(table["flux_noshear"]))
    for kind in SHEAR_TYPES:
        np.testing.assert_array_equal(table[f"Tpsf_{kind}"], table["Tpsf_noshear"])


def test_original_psf_is_the_mean_over_epochs_in_the_sky_frame(stacks, table):
    weight = stacks.weight[:3, 0, 0]
    # The pixels make the PSF rounder by a few per cent.
    np.testing.assert_allclose(table["psf_g1"], np.average([0.03, -0.02, 0.01], weights=weight), atol=0.002)
    np.testing.assert_allclose(table["psf_g2"], np.average([0.02, 0.04, -0.03], weights=weight), atol=0.002)
    np.testing.assert_allclose(table["psf_fit_g1"], table["psf_g1"], atol=1e-3)
    np.testing.assert_allclose(table["psf_fit_T"], table["psf_T"], rtol=0.03)
    assert (table["psf_T"] < table["Tpsf_noshear"]).all()


@pytest.mark.parametrize("objects", [[0], [3, 1], [2, 0, 3, 1], [1, 1]])
def test_a_row_depends_on_its_own_object_only(stacks, table, objects):
    assert same(measure_shapes(select(stacks, objects), PARAMS, seed=SEED), table[objects])


def test_the_order_of_epochs_does_not_matter(stacks, table):
    shuffled = select(stacks, [0])
    order = [2, 0, 1]
    names = ("image", "weight", "flag", "psf", "jacobian", "offset", "exposure", "ccd")
    shuffled = replace(shuffled, **{name: getattr(shuffled, name)[order] for name in names})
    assert same(measure_shapes(shuffled, PARAMS, seed=SEED), table[:1])


def test_the_seed_changes_the_noise_only(stacks, table):
    other = measure_shapes(select(stacks, [0]), PARAMS, seed=(21, 241, 293))
    assert other["g1_noshear"] != table["g1_noshear"][0]
    # Two noise fields: their part of the scatter, which is 2.7 times the error in all.
    assert abs(other["g1_noshear"][0] - table["g1_noshear"][0]) < 4 * 2.7 * table["g1_err_noshear"][0]


def test_the_sky_frame_is_the_same_for_every_orientation_of_the_pixels():
    """The same galaxy on straight, turned, mirrored and sheared pixels."""
    psf = galsim.Moffat(beta=3.5, fwhm=0.65).shear(g1=0.03, g2=0.02)
    mirrored, turned = STRAIGHT * [-1, 1, 1, 1], np.array([0.0, -0.186, 0.186, 0.0])
    rows = [
        measure_shapes(make_stacks([GALAXY], [(psf, jacobian)], np.random.default_rng(5), snr=1e5), PARAMS, seed=SEED)[
            0
        ]
        for jacobian in (STRAIGHT, UPSIDE_DOWN, mirrored, turned, SHEARED)
    ]
    for kind in SHEAR_TYPES:
        for name, tolerance in (("g1", 1e-3), ("g2", 1e-3), ("T", 3e-3)):
            values = [row[f"{name}_{kind}"] for row in rows]
            np.testing.assert_allclose(values, values[0], rtol=0, atol=tolerance)
    assert all(row["g1_1p"] - row["g1_1m"] > 0.01 and row["g2_2p"] - row["g2_2m"] > 0.01 for row in rows)


def _mean_shear(shear, snr):
    """Return the mean shear of 12 galaxies, each with its copy turned by 90 degrees, on two unlike epochs."""
    rng = np.random.default_rng(8)
    profiles = []
    for _ in range(12):
        hlr, g, angle = rng.uniform(0.3, 0.6), rng.uniform(0.0, 0.3), rng.uniform(0, 180)
        for turn in (0, 90):
            profile = galsim.Exponential(half_light_radius=hlr, flux=1000)
            profile = profile.shear(g=g, beta=(angle + turn) * galsim.degrees)
            profiles.append(profile.shear(g1=shear[0], g2=shear[1]))
    table = measure_shapes(make_stacks(profiles, EPOCHS[1:], rng, snr=snr), PARAMS, seed=SEED)
    assert (table["flags"] == 0).all()
    sums = ResponseSum(PARAMS.step)
    sums.add(table)
    assert 0.6 < sums.R()[0, 0] < 1.1
    return sums.shear().g


@pytest.mark.parametrize("component", [0, 1])
def test_shear_comes_back(component):
    """Elliptical PSFs, sub-pixel offsets, upside-down and sheared pixels."""
    shear = np.zeros(2)
    shear[component] = 0.02
    plus, minus = _mean_shear(shear, 1e5), _mean_shear(-shear, 1e5)
    m, c = (plus - minus) / 0.04, (plus + minus) / 2
    # What is left is of second order in the shear (2e-4).
    expected = np.zeros(2)
    expected[component] = 1.0
    np.testing.assert_allclose(m, expected, rtol=0, atol=1e-3)
    np.testing.assert_allclose(c, 0.0, rtol=0, atol=3e-5)


def test_masked_pixels_and_neighbours_are_ignored_but_counted(stacks, table):
    masked = changed(stacks)
    masked.flag[0, 40:45] = PixelFlag.NEIGHBOUR
    masked.image[0, 40:45] = 1e5
    masked.weight[1, :, 45:48] = 0.0
    masked.image[1, :, 45:48] = np.nan
    row = measure_shapes(select(masked, [0]), PARAMS, seed=SEED)[0]
    assert row["flags"] == 0
    assert row["n_epoch_used"] == 3
    for name in ("g1", "g2"):
        difference = row[f"{name}_noshear"] - table[f"{name}_noshear"][0]
        assert 0 < abs(difference) < 2 * table[f"{name}_err_noshear"][0]


def test_weights_from_the_map(stacks, table):
    rows = measure_shapes(stacks, ShapeParams(pixel_weight="map"), seed=SEED)
    assert (rows["flags"] == 0).all()
    np.testing.assert_allclose(rows["g1_noshear"], table["g1_noshear"], atol=0.02)
    wrong = changed(stacks, weight=np.asarray(stacks.weight) * 4)
    assert (measure_shapes(select(wrong, [0]), PARAMS, seed=SEED)["n_noise_mismatch"] == 3).all()


def test_lost_epochs_are_counted_by_reason(stacks):
    bad = changed(stacks)
    bad.flag[0, :20] = PixelFlag.HALO
    bad.psf[1] = 0.0
    row = measure_shapes(select(bad, [0]), PARAMS, seed=SEED)[0]
    assert row["flags"] == ObjectFlag.SOME_EPOCH_LOST
    assert (row["n_epoch"], row["n_epoch_used"], row["n_masked"], row["n_no_psf"]) == (3, 1, 1, 1)
    assert np.isfinite(row["g1_2m"])
    # What is left is the third epoch, with the noise it has in every company.
    bad.flag[3:6] = 0
    alone = changed(select(stacks, [0]))
    alone.flag[:2] = PixelFlag.BORDER
    assert measure_shapes(alone, PARAMS, seed=SEED)[0]["g1_noshear"] == row["g1_noshear"]


def _nothing(stacks, name, value):
    bad = changed(select(stacks, [0]))
    getattr(bad, name)[:] = value
    return bad


def _core(stacks):
    bad = changed(select(stacks, [0]))
    bad.flag[:, 24:27, 24:27] = PixelFlag.SPIKE
    return bad


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda s: _nothing(s, "psf", 0.0), ObjectFlag.PSF_MISSING),
        (lambda s: _nothing(s, "psf", np.nan), ObjectFlag.PSF_MISSING),
        (lambda s: _nothing(s, "flag", 1), ObjectFlag.ALL_MASKED),
        (lambda s: _nothing(s, "weight", 0.0), ObjectFlag.ALL_MASKED),
        (lambda s: _nothing(s, "weight", np.nan), ObjectFlag.ALL_MASKED),
        (lambda s: _nothing(s, "image", np.nan), ObjectFlag.ALL_MASKED),
        (_core, ObjectFlag.ALL_MASKED),
        (lambda s: _nothing(s, "jacobian", 0.0), ObjectFlag.METACAL_FAILED),
        (lambda s: _nothing(s, "offset", np.nan), ObjectFlag.METACAL_FAILED),
    ],
)
def test_an_object_without_epochs_says_why(stacks, make, reason):
    row = measure_shapes(make(stacks), PARAMS, seed=SEED)[0]
    assert row["flags"] == reason | ObjectFlag.NOT_MEASURED
    assert row["number"] == 1
    assert row["n_epoch"] == 3
    assert row["n_epoch_used"] == 0
    assert all(np.isnan(row[name]) for name in SHAPE_DTYPE.names if SHAPE_DTYPE[name].kind == "f")


def test_an_object_that_no_exposure_covers_has_a_row(stacks):
    empty = select(stacks, [0, 1])
    empty = replace(empty, first=np.array([0, 0, 6]))
    rows = measure_shapes(empty, PARAMS, seed=SEED)
    assert rows[0]["flags"] == ObjectFlag.NO_EPOCH | ObjectFlag.NOT_MEASURED
    assert rows[1]["n_epoch"] == 6


@pytest.mark.parametrize("value", [0.0, 5.0, -5.0, 1e30, -1e30])
def test_constant_stamps_do_not_raise(stacks, value):
    row = measure_shapes(_nothing(stacks, "image", value), PARAMS, seed=SEED)[0]
    assert row["flags"] & ObjectFlag.NOISE_FAILED
    assert row["n_noise_failed"] == 3


def test_a_negative_source_has_a_flag_and_no_magnitude(stacks):
    negative = changed(select(stacks, [0]))
    negative.image[:] *= -1
    row = measure_shapes(negative, PARAMS, seed=SEED)[0]
    assert row["flags"] & (ObjectFlag.NEGATIVE_FLUX | ObjectFlag.FIT_FAILED)
    assert row["flags"] & ObjectFlag.MOMENTS_FAILED
    assert row["moments_failed"] == 1
    assert np.isnan(row["mag_noshear"])


def test_pure_noise_gives_rows(stacks):
    rng = np.random.default_rng(9)
    noise = changed(stacks, image=rng.normal(0, 1, stacks.image.shape), weight=np.ones(stacks.image.shape))
    rows = measure_shapes(noise, PARAMS, seed=SEED)
    measured = (rows["flags"] & ObjectFlag.NOT_MEASURED) == 0
    assert np.isfinite(rows["g1_noshear"][measured]).all()
    assert np.isnan(rows["g1_noshear"][~measured]).all()
    assert (np.hypot(rows["g1_noshear"], rows["g2_noshear"])[measured] < 1).all()


def test_stamps_are_not_changed(stacks):
    before = {field.name: getattr(stacks, field.name).tobytes() for field in fields(VignetStacks)}
    measure_shapes(select(stacks, [0]), PARAMS, seed=SEED)
    assert all(getattr(stacks, name).tobytes() == content for name, content in before.items())
    assert stacks.image.shape[-1] == SIZE


def test_random_numbers_follow_the_place_and_not_the_number(stacks, table):
    one = select(stacks, [2])
    renumbered = measure_shapes(replace(one, number=one.number + 7), PARAMS, seed=SEED)
    assert renumbered["number"][0] == table["number"][2] + 7
    assert renumbered["g1_noshear"][0] == table["g1_noshear"][2]
    moved = measure_shapes(replace(one, place=one.place + 7), PARAMS, seed=SEED)
    assert moved["g1_noshear"][0] != table["g1_noshear"][2]
