from dataclasses import fields, replace

import galsim
import numpy as np
import pytest
from measure.galaxies import SHEARED, SIZE, STRAIGHT, UPSIDE_DOWN, make_stacks, select

from shapempi.flags import PixelFlag
from shapempi.kernels import _noise
from shapempi.measure.noise import noise_key
from shapempi.measure.observation import EpochParams, Observations, Rejection, prepare
from shapempi.vignet import VignetStacks

PARAMS = EpochParams()
SEED = (20, 241, 293)
PSF = galsim.Moffat(beta=3.5, fwhm=0.65).shear(g1=0.03, g2=0.02)
EPOCHS = tuple((PSF, jacobian) for jacobian in (STRAIGHT, UPSIDE_DOWN, SHEARED))
GALAXY = galsim.Exponential(half_light_radius=0.45, flux=1000.0).shear(g1=0.15, g2=-0.1)
#: What must not depend on other objects, batches and threads.
ROWS = [field.name for field in fields(Observations) if field.name not in ("first", "rejected")]


@pytest.fixture(scope="module")
def stacks():
    return make_stacks([GALAXY] * 4, EPOCHS, np.random.default_rng(1), snr=100.0)


@pytest.fixture(scope="module")
def masked(stacks):
    """Return the stacks with a tenth of the pixels masked, in clumps outside the core, and garbage there."""
    rng = np.random.default_rng(2)
    bad = changed(stacks)
    y, x = np.indices((SIZE, SIZE)) - SIZE // 2
    outside = np.hypot(x, y) > 5
    for i in range(len(bad.image)):
        hole = np.zeros((SIZE, SIZE), bool)
        while hole.mean() < 0.1:
            cy, cx = rng.integers(0, SIZE, 2)
            hole[max(cy - 2, 0) : cy + 3, max(cx - 2, 0) : cx + 3] = True
            hole &= outside
        bad.flag[i][hole] = PixelFlag.NEIGHBOUR
        bad.image[i][hole] = 1e5
    return bad


def changed(stacks, **changes):
    """Return a copy whose arrays a test may write to."""
    copies = {field.name: np.array(getattr(stacks, field.name)) for field in fields(VignetStacks)}
    return replace(VignetStacks(**copies), **changes)


def same(left, right, names=ROWS):
    return all(np.asarray(getattr(left, n)).tobytes() == np.asarray(getattr(right, n)).tobytes() for n in names)


def rows(observations, begin, end):
    """Return some epochs."""
    return replace(observations, **{name: getattr(observations, name)[begin:end] for name in ROWS})


def finite(observations):
    return all(
        np.isfinite(getattr(observations, name)).all() for name in ROWS if name not in ("moments", "psf_moments")
    )


def test_good_epochs_are_kept_as_they_are(stacks):
    made = prepare(stacks, PARAMS, SEED)
    np.testing.assert_array_equal(made.first, [0, 3, 6, 9, 12])
    np.testing.assert_array_equal(made.rejected, np.zeros((4, 4)))
    assert made.first.dtype == np.int64
    assert made.rejected.dtype == np.int32
    np.testing.assert_array_equal(made.image, stacks.image)
    np.testing.assert_array_equal(made.jacobian, stacks.jacobian)
    np.testing.assert_array_equal(made.offset, stacks.offset)
    np.testing.assert_allclose(made.psf, stacks.psf, rtol=1e-12)
    np.testing.assert_allclose(made.psf.sum(axis=(1, 2)), 1, rtol=1e-12)
    assert not made.noise_failed.any()
    assert not made.noise_mismatch.any()
    # one number for the stamp, which the map's agrees with
    np.testing.assert_array_equal(made.weight, np.broadcast_to(made.weight[:, :1, :1], made.weight.shape))
    np.testing.assert_allclose(made.weight[:, 0, 0], stacks.weight[:, 0, 0], rtol=0.15)
    np.testing.assert_allclose(made.total_weight, made.weight.sum(axis=(1, 2)), rtol=1e-12)
    np.testing.assert_allclose(made.noise.std(axis=(1, 2)) ** -2, made.weight[:, 0, 0], rtol=0.1)


def test_moments_are_in_the_frame_of_the_sky():
    made = prepare(make_stacks([GALAXY], EPOCHS, np.random.default_rng(1), snr=1e4), PARAMS, SEED)
    seen = galsim.Convolve(GALAXY, PSF).drawImage(nx=201, ny=201, scale=0.05, dtype=float).FindAdaptiveMom()
    star = PSF.drawImage(nx=201, ny=201, scale=0.05, dtype=float).FindAdaptiveMom()
    for moments, truth in ((made.moments, seen), (made.psf_moments, star)):
        shape = truth.observed_shape
        T = 2 * (0.05 * truth.moments_sigma) ** 2 * (1 + shape.g**2) / (1 - shape.g**2)
        # the pixel of the stamp makes it rounder and larger
        np.testing.assert_allclose(moments[:, 0], shape.g1, atol=0.012)
        np.testing.assert_allclose(moments[:, 1], shape.g2, atol=0.012)
        np.testing.assert_allclose(moments[:, 2], T, rtol=0.06)


def test_noise_is_named_by_seed_place_exposure_and_ccd(stacks):
    made = prepare(stacks, PARAMS, SEED)
    place = np.repeat(stacks.place, 3)
    field = _noise.normal(noise_key(SEED), place, stacks.exposure, stacks.ccd, _noise.NOISE, SIZE)
    sigma = made.weight[:, 0, 0] ** -0.5
    np.testing.assert_allclose(made.noise, sigma[:, None, None] * field, rtol=1e-12)
    for other in (
        prepare(replace(stacks, place=stacks.place + 1000), PARAMS, SEED),
        prepare(replace(stacks, exposure=stacks.exposure + 1000), PARAMS, SEED),
        prepare(replace(stacks, ccd=stacks.ccd + 1), PARAMS, SEED),
        prepare(stacks, PARAMS, (21, 241, 293)),
    ):
        assert abs(np.corrcoef(made.noise.ravel(), other.noise.ravel())[0, 1]) < 0.03
        np.testing.assert_array_equal(made.image, other.image)
    renumbered = prepare(replace(stacks, number=stacks.number + 9), PARAMS, SEED)
    assert same(made, renumbered)


def test_long_numbers_of_exposures_have_noise_of_their_own(stacks):
    """Date and time as number: those that agree in 31 bits differ in their noise, and short ones have what they had."""
    first = prepare(stacks, PARAMS, SEED).noise
    exposures = 171113061941 + (1 << 31) * np.arange(len(stacks.exposure))
    long = prepare(changed(stacks, exposure=exposures, ccd=np.full(len(exposures), 3, np.int32)), PARAMS, SEED).noise
    flat = np.concatenate([first, long]).reshape(2 * len(first), -1)
    assert np.abs(np.corrcoef(flat) - np.eye(len(flat))).max() < 0.15
    wide = changed(stacks, exposure=np.asarray(stacks.exposure, np.int64))
    np.testing.assert_array_equal(prepare(wide, PARAMS, SEED).noise, first)


@pytest.mark.parametrize("pixel_weight", ["mask", "map"])
def test_an_epoch_does_not_depend_on_batch_and_threads(masked, pixel_weight):
    params = EpochParams(pixel_weight=pixel_weight)
    bad = changed(masked)
    bad.psf[4] = 0.0
    whole = prepare(bad, params, SEED, n_threads=3)
    np.testing.assert_array_equal(whole.first, [0, 3, 5, 8, 11])
    assert same(whole, prepare(bad, params, SEED))
    for i in range(4):
        one = prepare(select(bad, [i]), params, SEED)
        assert same(one, rows(whole, whole.first[i], whole.first[i + 1]))
        np.testing.assert_array_equal(one.rejected, whole.rejected[i : i + 1])
    turned = prepare(select(bad, [3, 1, 0]), params, SEED)
    assert same(rows(turned, 3, 5), rows(whole, 3, 5))


def test_epochs_come_in_the_order_of_exposure_and_ccd(masked):
    order = np.array([2, 0, 1, 5, 4, 3])
    names = ("image", "weight", "flag", "psf", "jacobian", "offset", "exposure", "ccd")
    two = select(masked, [0, 1])
    two = replace(two, exposure=np.array([5, 5, 9, 5, 7, 7], np.int32), ccd=np.array([1, 30, 0, 2, 3, 4], np.int32))
    shuffled = replace(two, **{name: getattr(two, name)[order] for name in names})
    assert same(prepare(two, PARAMS, SEED), prepare(shuffled, PARAMS, SEED))


def test_an_epoch_does_not_depend_on_the_other_epochs(masked):
    whole = prepare(masked, PARAMS, SEED)
    bad = changed(masked)
    bad.flag[0] = PixelFlag.BORDER
    assert same(rows(prepare(bad, PARAMS, SEED), 0, 11), rows(whole, 1, 12))


def unusable_half(bad):
    bad.flag[0, :18] = 1


def unusable_core(bad):
    bad.flag[0, 24:27, 24:27] = 1


CASES = {
    "flags": (unusable_half, Rejection.MASKED),
    "no weight": (lambda bad: bad.weight[0].fill(0), Rejection.MASKED),
    "negative weight": (lambda bad: bad.weight[0].fill(-1), Rejection.MASKED),
    "infinite weight": (lambda bad: bad.weight[0].fill(np.inf), Rejection.MASKED),
    "weight is no number": (lambda bad: bad.weight[0].fill(np.nan), Rejection.MASKED),
    "infinite image": (lambda bad: bad.image[0].fill(np.inf), Rejection.MASKED),
    "image is no number": (lambda bad: bad.image[0].fill(np.nan), Rejection.MASKED),
    "core": (unusable_core, Rejection.MASKED_CORE),
    "PSF zero": (lambda bad: bad.psf[0].fill(0), Rejection.NO_PSF),
    "PSF negative": (lambda bad: bad.psf[0].fill(-1), Rejection.NO_PSF),
    "PSF is no number": (lambda bad: bad.psf[0, 3].fill(np.nan), Rejection.NO_PSF),
    "PSF infinite": (lambda bad: bad.psf[0, 3].fill(np.inf), Rejection.NO_PSF),
    "PSF too large": (lambda bad: bad.psf[0].fill(1e308), Rejection.NO_PSF),
    "Jacobian zero": (lambda bad: bad.jacobian[0].fill(0), Rejection.METACAL),
    "Jacobian singular": (lambda bad: bad.jacobian[0].fill(0.2), Rejection.METACAL),
    "Jacobian is no number": (lambda bad: bad.jacobian[0, 1:2].fill(np.nan), Rejection.METACAL),
    "Jacobian infinite": (lambda bad: bad.jacobian[0, :1].fill(np.inf), Rejection.METACAL),
    "Jacobian too large": (lambda bad: bad.jacobian[0].__imul__(1e200), Rejection.METACAL),
    "offset is no number": (lambda bad: bad.offset[0].fill(np.nan), Rejection.METACAL),
    "offset infinite": (lambda bad: bad.offset[0].fill(-np.inf), Rejection.METACAL),
}


@pytest.mark.parametrize("case", CASES)
def test_rejected_epochs_are_counted_by_their_reason(stacks, case):
    spoil, reason = CASES[case]
    bad = changed(stacks)
    spoil(bad)
    made = prepare(bad, PARAMS, SEED)
    expected = np.zeros((4, 4), int)
    expected[0, list(Rejection).index(reason)] = 1
    np.testing.assert_array_equal(made.rejected, expected)
    np.testing.assert_array_equal(made.first, [0, 2, 5, 8, 11])
    assert same(made, rows(prepare(stacks, PARAMS, SEED), 1, 12))


def test_the_first_reason_counts(stacks):
    bad = changed(stacks)
    for spoil in (unusable_core, CASES["PSF zero"][0]):
        spoil(bad)
    assert prepare(bad, PARAMS, SEED).rejected[0, 1] == 1
    CASES["Jacobian zero"][0](bad)
    assert prepare(bad, PARAMS, SEED).rejected[0, 3] == 1
    unusable_half(bad)
    assert prepare(bad, PARAMS, SEED).rejected[0, 0] == 1


def test_limits_are_those_of_the_parameters(stacks):
    bad = changed(stacks)
    unusable_half(bad)  # 18 of 51 rows
    bad.flag[1, 25, 25] = 1
    for params, lost in (
        (EpochParams(), [1, 0]),
        (EpochParams(max_masked_fraction=18 / 51), [0, 0]),
        (EpochParams(max_core_masked_fraction=0.02), [1, 1]),
        (EpochParams(max_core_masked_fraction=0.0, core_radius=0.0), [1, 0]),
        (EpochParams(max_masked_fraction=0.0, max_core_masked_fraction=1.0), [2, 0]),
    ):
        np.testing.assert_array_equal(prepare(bad, params, SEED).rejected[0, :2], lost)


def territory(stacks, begin, bits=0):
    """The rows from one on given up to a neighbour in the first epoch, with other bits besides."""
    bad = changed(stacks)
    bad.flag[0, begin:] = PixelFlag.TERRITORY | bits
    return bad


def test_territory_has_a_limit_of_its_own(stacks):
    """Half a stamp may be given up, but not half a stamp lost: only sound pixels count as given up."""
    half = territory(stacks, 29)  # 22 of 51 rows
    for params, lost in (
        (PARAMS, 0),
        (EpochParams(max_masked_fraction=0.0), 0),
        (EpochParams(max_territory_fraction=22 / 51), 0),
        (EpochParams(max_territory_fraction=0.43), 1),
    ):
        assert prepare(half, params, SEED).rejected[0].tolist() == [lost, 0, 0, 0]
    for bits in (PixelFlag.NEIGHBOUR, PixelFlag.BORDER, 1 << 20):
        assert prepare(territory(stacks, 29, bits), PARAMS, SEED).rejected[0, 0] == 1
    for name, value in (("weight", 0.0), ("weight", np.nan), ("image", np.inf)):
        bad = territory(stacks, 29)
        getattr(bad, name)[0, 29:] = value
        assert prepare(bad, PARAMS, SEED).rejected[0, 0] == 1
    assert prepare(territory(stacks, 0), PARAMS, SEED).rejected[0, 0] == 1  # nothing is left
    assert prepare(territory(stacks, 26), PARAMS, SEED).rejected[0, 1] == 1  # half of the core


@pytest.mark.parametrize("pixel_weight", ["mask", "map"])
def test_territory_has_no_weight_and_keeps_what_was_seen(stacks, pixel_weight):
    """Beside it a hole is filled, and moments do not see the light of a neighbour in the territory."""
    params = EpochParams(pixel_weight=pixel_weight)
    bad = territory(stacks, 32)
    bad.image[0, 40:45, 20:25] += 500.0
    bad.flag[0, 3:6, 3:9] = PixelFlag.NEIGHBOUR
    bad.flag[0, 33, 4] |= PixelFlag.BORDER
    made = prepare(bad, params, SEED)
    given_up = bad.flag[0] == PixelFlag.TERRITORY
    np.testing.assert_array_equal(made.weight[0] > 0, bad.flag[0] == 0)
    np.testing.assert_array_equal(made.image[0][given_up], bad.image[0][given_up])
    np.testing.assert_array_equal(made.image[0][bad.flag[0] == 0], bad.image[0][bad.flag[0] == 0])
    assert (made.image[0] != bad.image[0])[(bad.flag[0] != 0) & ~given_up].all()
    clean = prepare(stacks, params, SEED)
    np.testing.assert_allclose(made.moments[0], clean.moments[0], atol=0.02)
    np.testing.assert_array_equal(made.noise[0] != 0, True)
    assert same(rows(made, 1, 12), rows(clean, 1, 12))


def test_weights_from_the_map(stacks):
    uneven = changed(stacks)
    uneven.weight[:, :, :25] *= 0.25
    uneven.flag[:, 5, 40:45] = 1
    made = prepare(uneven, EpochParams(pixel_weight="map"), SEED)
    np.testing.assert_array_equal(made.weight, np.where(uneven.flag == 0, uneven.weight, 0))
    np.testing.assert_allclose(made.total_weight, made.weight.sum(axis=(1, 2)), rtol=1e-12)
    ratio = made.noise[:, 8:, :25].std() / made.noise[:, 8:, 25:].std()
    assert ratio == pytest.approx(2.0, rel=0.05)
    # in the hole, the median rms
    field = made.noise[:, 5, 40:45] * np.sqrt(stacks.weight[:, 5, 40:45])
    assert 0.7 < field.std() < 1.4
    wrong = changed(stacks, weight=np.asarray(stacks.weight) * 4)
    assert prepare(wrong, PARAMS, SEED).noise_mismatch.all()


def test_masked_pixels_leave_no_trace(stacks, masked):
    made = prepare(masked, PARAMS, SEED)
    hole = masked.flag != 0
    assert (made.weight[hole] == 0).all()
    assert (made.weight[~hole] > 0).all()
    np.testing.assert_array_equal(made.image[~hole], masked.image[~hole])
    sigma = np.broadcast_to(made.weight.max(axis=(1, 2))[:, None, None] ** -0.5, hole.shape)
    assert (made.image / sigma)[hole].max() < 15
    assert (made.noise / sigma)[hole].std() == pytest.approx(1.0, rel=0.05)
    # what fills the holes does not know the noise that metacalibration adds
    assert abs(np.corrcoef(made.image[hole] / sigma[hole], made.noise[hole] / sigma[hole])[0, 1]) < 0.07


def test_a_tenth_of_the_pixels_masked_shifts_neither_flux_nor_size(masked):
    """Without noise all that differs is what fills the holes."""
    clean = make_stacks([GALAXY] * 4, EPOCHS, np.random.default_rng(1), snr=1e5)
    holed = changed(clean, flag=masked.flag)
    holed.image[masked.flag != 0] = 1e5
    whole, made = prepare(clean, PARAMS, SEED), prepare(holed, PARAMS, SEED)
    difference = made.moments - whole.moments
    assert abs(np.mean(made.image.sum(axis=(1, 2)) / whole.image.sum(axis=(1, 2))) - 1) < 2e-3
    assert abs(np.mean(difference[:, 2] / whole.moments[:, 2])) < 3e-3
    assert (np.abs(difference[:, :2].mean(axis=0)) < 2e-3).all()
    assert (np.abs(difference[:, :2]) < 0.01).all()


def test_an_object_that_no_exposure_covers(stacks):
    one = select(stacks, [0])
    made = prepare(replace(one, number=np.arange(3), place=np.arange(3), first=np.array([0, 0, 3, 3])), PARAMS, SEED)
    np.testing.assert_array_equal(made.first, [0, 0, 3, 3])
    nothing = changed(one, flag=np.ones_like(one.flag))
    made = prepare(nothing, PARAMS, SEED)
    np.testing.assert_array_equal(made.first, [0, 0])
    np.testing.assert_array_equal(made.rejected, [[3, 0, 0, 0]])
    assert made.image.shape == (0, SIZE, SIZE)
    empty = {name: getattr(one, name)[:0] for name in ("image", "weight", "flag", "psf", "exposure", "ccd")}
    empty |= {"jacobian": one.jacobian[:0], "offset": one.offset[:0]}
    made = prepare(replace(one, first=np.array([0, 0]), **empty), PARAMS, SEED)
    np.testing.assert_array_equal(made.first, [0, 0])
    made = prepare(replace(one, number=one.number[:0], place=one.place[:0], first=np.array([0]), **empty), PARAMS, SEED)
    assert made.rejected.shape == (0, 4)


@pytest.mark.parametrize("value", [0.0, 5.0, -5.0, 1e30, -1e30, 3.4e38, 1e-45])
@pytest.mark.parametrize("weight", [1e-45, 1.0, 3.4e38])
@pytest.mark.parametrize("pixel_weight", ["mask", "map"])
def test_hostile_stamps_give_numbers(stacks, value, weight, pixel_weight):
    bad = changed(stacks)
    bad.image[:6], bad.weight[:6] = value, weight
    bad.image[3:6, ::2] *= -1
    bad.image[6] *= 1e30
    bad.image[7, 3, 3] = 3e38
    bad.flag[:, 10:13, 3:20] = 1
    bad.psf[8] = np.random.default_rng(3).normal(size=(SIZE, SIZE))
    bad.psf[8] += 1e-3 - bad.psf[8].mean()
    made = prepare(bad, EpochParams(pixel_weight=pixel_weight), SEED)
    assert len(made.image) + made.rejected.sum() == 12
    assert finite(made)
    assert made.noise_failed[:3].all()
    good = replace(stacks, flag=bad.flag)
    assert same(rows(made, -3, None), rows(prepare(good, EpochParams(pixel_weight=pixel_weight), SEED), 9, 12))


def test_one_usable_pixel_and_values_beyond_single_precision(stacks):
    bad = changed(stacks, image=stacks.image.astype(float))
    bad.weight[0] = 0.0
    bad.weight[0, 25, 25] = 1.0
    bad.image[1] = 1e300
    made = prepare(bad, EpochParams(max_masked_fraction=1, max_core_masked_fraction=1), SEED)
    np.testing.assert_array_equal(made.rejected[0], [1, 0, 0, 0])
    assert made.noise_failed[0]
    assert np.isnan(made.moments[0]).all()
    assert finite(made)


def test_arrays_of_any_layout_will_do(masked):
    other = {field.name: np.asarray(getattr(masked, field.name)) for field in fields(VignetStacks)}
    for name, array in other.items():
        wide = {"i": np.int64, "f": np.float64}[array.dtype.kind]
        other[name] = np.asfortranarray(array.astype(wide) if name != "first" else array.astype(np.int32))
        other[name].setflags(write=False)
    assert same(prepare(VignetStacks(**other), PARAMS, SEED), prepare(masked, PARAMS, SEED))


def test_stamps_are_not_changed(masked):
    before = {field.name: getattr(masked, field.name).tobytes() for field in fields(VignetStacks)}
    prepare(masked, PARAMS, SEED)
    assert all(getattr(masked, name).tobytes() == content for name, content in before.items())
