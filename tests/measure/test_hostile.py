"""Stamps that no survey should contain, but some will: no exception, no warning, and a flag that says why."""

from dataclasses import fields, replace

import galsim
import numpy as np
import pytest
from measure.galaxies import SHEARED, SIZE, UPSIDE_DOWN, make_stacks, select

from shapempi import fit_gaussian, metacal_images
from shapempi.catalog import SHEAR_TYPES
from shapempi.flags import ObjectFlag
from shapempi.kernels import _isa
from shapempi.measure.shape_params import ShapeParams
from shapempi.measure.shapes import measure_shapes
from shapempi.vignet import VignetStacks

SEED = (20, 241, 293)
CENTRE = SIZE // 2
PSFS = (
    galsim.Moffat(beta=3.5, fwhm=0.65).shear(g1=0.03, g2=0.02),
    galsim.Moffat(beta=3.0, fwhm=0.70).shear(g1=-0.02, g2=0.04),
)
EPOCHS = tuple(zip(PSFS, (UPSIDE_DOWN, SHEARED), strict=True))
GALAXY = galsim.Exponential(half_light_radius=0.45, flux=1000.0).shear(g1=0.15, g2=-0.1)

CHECKERS = np.where(np.indices((SIZE, SIZE)).sum(axis=0) % 2 == 0, 1.0, -1.0)
DELTA = np.zeros((SIZE, SIZE))
DELTA[CENTRE, CENTRE] = 1.0


def to(value):
    """Return what replaces an array by a value or an array."""
    return lambda array: np.broadcast_to(np.asarray(value, dtype=array.dtype), array.shape)


def at(index, value):
    """Return what replaces one element."""

    def change(array):
        array = array.copy()
        array[index] = value
        return array

    return change


def times(factor):
    """Return what scales an array; what float32 cannot hold becomes infinite."""

    def change(array):
        with np.errstate(over="ignore"):
            return array * np.asarray(factor, dtype=array.dtype)

    return change


def pure_noise(array):
    """Noise of the image's level alone: S/N 1."""
    return np.random.default_rng(3).normal(0.0, np.std(array[:8]), array.shape).astype(array.dtype)


def gaussian(sigma, dx=0.0):
    y, x = np.indices((SIZE, SIZE)) - CENTRE
    stamp = np.exp(-0.5 * ((x - dx) ** 2 + y**2) / sigma**2)
    return stamp / stamp.sum()


#: Names of what is wrong, and which array is replaced how.
HOSTILE = {
    "image zero": ("image", to(0.0)),
    "image NaN": ("image", to(np.nan)),
    "image with one NaN": ("image", at((20, 21), np.nan)),
    "image with a NaN at its centre": ("image", at((CENTRE, CENTRE), np.nan)),
    "image infinite": ("image", to(np.inf)),
    "image minus infinite": ("image", to(-np.inf)),
    "image with one infinite": ("image", at((20, 21), np.inf)),
    "image constant": ("image", to(7.0)),
    "image constant and negative": ("image", to(-7.0)),
    "image negative": ("image", times(-1.0)),
    "image of noise": ("image", pure_noise),
    "image huge": ("image", times(1e30)),
    "image at the end of float32": ("image", to(3e38)),
    "image with one huge pixel": ("image", at((20, 21), 1e30)),
    "image denormal": ("image", times(1e-42)),
    "image a chessboard": ("image", to(CHECKERS)),
    "image one pixel": ("image", to(1e4 * DELTA)),
    "weight zero": ("weight", to(0.0)),
    "weight negative": ("weight", times(-1.0)),
    "weight NaN": ("weight", to(np.nan)),
    "weight infinite": ("weight", to(np.inf)),
    "weight with one infinite": ("weight", at((20, 21), np.inf)),
    "weight huge": ("weight", to(3e38)),
    "weight denormal": ("weight", to(1e-42)),
    "one pixel valid": ("weight", to(DELTA)),
    "weight a chessboard": ("weight", times(CHECKERS)),
    "flag set": ("flag", to(1)),
    "flag has its sign": ("flag", to(-(2**31))),
    "PSF zero": ("psf", to(0.0)),
    "PSF NaN": ("psf", to(np.nan)),
    "PSF with one NaN": ("psf", at((3, 4), np.nan)),
    "PSF infinite": ("psf", to(np.inf)),
    "PSF with one infinite": ("psf", at((3, 4), np.inf)),
    "PSF negative": ("psf", times(-1.0)),
    "PSF sums to nothing": ("psf", to(gaussian(2.0) - gaussian(3.0))),
    "PSF wider than the stamp": ("psf", to(gaussian(60.0))),
    "PSF flat": ("psf", to(1.0)),
    "PSF one pixel": ("psf", to(DELTA)),
    "PSF one pixel in the corner": ("psf", at((0, 0), 1e6)),
    "PSF off its centre": ("psf", to(gaussian(2.0, 9.0))),
    "PSF a chessboard": ("psf", to(CHECKERS)),
    "PSF huge": ("psf", times(1e30)),
    "PSF too huge": ("psf", times(1e250)),
    "PSF tiny": ("psf", times(1e-30)),
    "PSF denormal": ("psf", times(1e-318)),
    "PSF of noise": ("psf", lambda array: np.random.default_rng(4).normal(0.01, 1.0, array.shape)),
    "Jacobian zero": ("jacobian", to(0.0)),
    "Jacobian singular": ("jacobian", to([0.2, 0.2, 0.2, 0.2])),
    "Jacobian nearly singular": ("jacobian", to([0.2, 0.2, 0.2, 0.2 + 1e-9])),
    "Jacobian NaN": ("jacobian", to(np.nan)),
    "Jacobian with one NaN": ("jacobian", at(1, np.nan)),
    "Jacobian infinite": ("jacobian", to(np.inf)),
    "Jacobian with one infinite": ("jacobian", at(0, np.inf)),
    "Jacobian tiny": ("jacobian", times(1e-12)),
    "Jacobian too tiny": ("jacobian", times(1e-160)),
    "Jacobian huge": ("jacobian", times(1e12)),
    "Jacobian too huge": ("jacobian", times(1e200)),
    "offset NaN": ("offset", to(np.nan)),
    "offset infinite": ("offset", to(np.inf)),
    "offset far away": ("offset", to(1e5)),
    "offset out of this world": ("offset", to(1e300)),
}

MASKED, NO_PSF, NO_IMAGES, NO_FIT = (
    ObjectFlag.NOT_MEASURED | why
    for why in (ObjectFlag.ALL_MASKED, ObjectFlag.PSF_MISSING, ObjectFlag.METACAL_FAILED, ObjectFlag.FIT_FAILED)
)
GOOD = ObjectFlag(0)

#: The flags of an object all of whose epochs are like this; of the others some flag is enough.
FLAGS = {
    "image zero": ObjectFlag.NOISE_FAILED | ObjectFlag.MOMENTS_FAILED,
    "image NaN": MASKED,
    "image with one NaN": GOOD,
    "image with a NaN at its centre": GOOD,
    "image infinite": MASKED,
    "image minus infinite": MASKED,
    "image with one infinite": GOOD,
    "image constant": ObjectFlag.NOISE_FAILED,
    "image constant and negative": NO_FIT | ObjectFlag.NOISE_FAILED | ObjectFlag.MOMENTS_FAILED,
    "image negative": ObjectFlag.NEGATIVE_FLUX | ObjectFlag.MOMENTS_FAILED,
    "image of noise": GOOD,
    "image huge": NO_FIT,
    "image with one huge pixel": NO_FIT | ObjectFlag.MOMENTS_FAILED,
    "image denormal": GOOD,
    "image a chessboard": ObjectFlag.NOISE_FAILED | ObjectFlag.MOMENTS_FAILED,
    "image one pixel": ObjectFlag.NOISE_FAILED | ObjectFlag.MOMENTS_FAILED,
    "weight zero": MASKED,
    "weight negative": MASKED,
    "weight NaN": MASKED,
    "weight infinite": MASKED,
    "weight with one infinite": GOOD,
    "weight huge": GOOD,
    "weight denormal": GOOD,
    "one pixel valid": MASKED,
    "weight a chessboard": MASKED,
    "flag set": MASKED,
    "flag has its sign": MASKED,
    "PSF zero": NO_PSF,
    "PSF NaN": NO_PSF,
    "PSF with one NaN": NO_PSF,
    "PSF infinite": NO_PSF,
    "PSF with one infinite": NO_PSF,
    "PSF negative": NO_PSF,
    "PSF sums to nothing": NO_IMAGES,
    "PSF wider than the stamp": NO_FIT,
    "PSF flat": NO_FIT,
    "PSF one pixel": ObjectFlag.MOMENTS_FAILED,
    "PSF off its centre": GOOD,
    "PSF huge": GOOD,
    "PSF too huge": GOOD,
    "PSF tiny": GOOD,
    "PSF denormal": NO_PSF,
    "Jacobian zero": NO_IMAGES,
    "Jacobian singular": NO_IMAGES,
    "Jacobian nearly singular": NO_IMAGES,
    "Jacobian NaN": NO_IMAGES,
    "Jacobian with one NaN": NO_IMAGES,
    "Jacobian infinite": NO_IMAGES,
    "Jacobian with one infinite": NO_IMAGES,
    "Jacobian tiny": NO_FIT,
    "Jacobian too tiny": NO_IMAGES,
    "Jacobian huge": NO_FIT,
    "Jacobian too huge": NO_IMAGES,
    "offset NaN": NO_IMAGES,
    "offset infinite": NO_IMAGES,
    "offset far away": NO_FIT,
    "offset out of this world": NO_FIT,
}

REASONS = (
    ObjectFlag.NO_EPOCH
    | ObjectFlag.ALL_MASKED
    | ObjectFlag.PSF_MISSING
    | ObjectFlag.FIT_FAILED
    | ObjectFlag.METACAL_FAILED
)


@pytest.fixture(scope="module")
def healthy():
    return make_stacks([GALAXY] * 2, EPOCHS, np.random.default_rng(1), snr=100.0)


def hostile_stacks(healthy, names, n_hostile):
    """Return objects that alternate: a healthy one, then one of which so many epochs are hostile."""
    stacks = select(healthy, [0, 1] * len(names) + [0])
    arrays = {field.name: np.array(getattr(stacks, field.name)) for field in fields(VignetStacks)}
    for i, name in enumerate(names):
        column, change = HOSTILE[name]
        for row in range(stacks.first[2 * i + 1], stacks.first[2 * i + 1] + n_hostile):
            arrays[column][row] = change(arrays[column][row])
    return replace(stacks, **arrays)


def check_row(row, what):
    """Assert that everything that a row does not call failed is finite, and that what failed has a reason."""
    flags = ObjectFlag(int(row["flags"]))
    lost = row["n_masked"] + row["n_masked_core"] + row["n_no_psf"] + row["n_metacal_failed"]
    assert row["n_epoch"] == row["n_epoch_used"] + lost, what
    if ObjectFlag.NOT_MEASURED in flags:
        assert flags & REASONS, what
        assert row["flags_noshear"] != 0, what
    else:
        assert row["n_epoch_used"] > 0, what
        assert row["flags_noshear"] == 0, what
        assert (lost > 0) == (ObjectFlag.SOME_EPOCH_LOST in flags), what
    failed = 0
    for kind in SHEAR_TYPES:
        names = [f"{name}_{kind}" for name in ("g1", "g2", "T", "flux", "g1_err", "g2_err", "T_err", "flux_err", "s2n")]
        values = np.array([row[name] for name in names])
        failed |= int(row[f"flags_{kind}"])
        if row[f"flags_{kind}"]:
            assert ObjectFlag.FIT_FAILED in flags or row["n_epoch_used"] == 0, what
            assert np.isnan(values).all(), what
            assert np.isnan([row[f"{name}_{kind}"] for name in ("r50", "mag", "mag_err")]).all(), what
            continue
        assert np.isfinite(values).all(), what
        assert np.hypot(*values[:2]) < 1, what
        assert (values[4:8] > 0).all(), what
        assert row[f"Tpsf_{kind}"] > 0, what
        assert np.isfinite(row[f"Tpsf_{kind}"]), what
        assert np.isfinite(row[f"r50_{kind}"]) == (values[2] > 0), what
        assert np.isfinite(row[f"mag_{kind}"]) == (values[3] > 0), what
    assert row["mcal_flags"] == failed, what


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("n_hostile", [1, 2])
@pytest.mark.parametrize("isa", _isa.available())
def test_every_hostile_stamp_is_flagged_and_leaves_the_others_alone(healthy, isa, n_hostile, precision):
    names = list(HOSTILE)
    params = ShapeParams(instruction_set=isa, precision=precision)
    good = measure_shapes(healthy, params, seed=SEED)
    assert (good["flags"] == 0).all()
    table = measure_shapes(hostile_stacks(healthy, names, n_hostile), params, seed=SEED, n_threads=2)
    assert all(row.tobytes() == good[0].tobytes() for row in table[::2])
    for name, row in zip(names, table[1::2], strict=True):
        check_row(row, name)
        flags = ObjectFlag(int(row["flags"]))
        if n_hostile == 1 and FLAGS.get(name) in (MASKED, NO_PSF, NO_IMAGES):
            # The other epoch is as if it were alone.
            assert flags == ObjectFlag.SOME_EPOCH_LOST, name
            assert abs(row["g1_noshear"] - good["g1_noshear"][1]) < 5 * row["g1_err_noshear"], name
        elif n_hostile == 2 and name in FLAGS:
            assert flags == FLAGS[name], name


@pytest.mark.parametrize(
    "options",
    [{"target_psf": name} for name in ("gauss", "fitgauss", "dilate")]
    + [{"target_sigma": 0.35}, {"model": "exp"}, {"pixel_weight": "map"}, {"max_masked_fraction": 1.0}, {"step": 0.1}],
)
def test_hostile_stamps_with_other_settings(healthy, options):
    names = list(HOSTILE)
    params = ShapeParams(max_core_masked_fraction=1.0 if "max_masked_fraction" in options else 0.1, **options)
    good = measure_shapes(healthy, params, seed=SEED)
    for n_hostile in (1, 2):
        table = measure_shapes(hostile_stacks(healthy, names, n_hostile), params, seed=SEED)
        assert all(row.tobytes() == good[0].tobytes() for row in table[::2])
        for name, row in zip(names, table[1::2], strict=True):
            check_row(row, name)


def scrambled(rng, stacks):
    """Return stacks in which random elements of random arrays are random, often extreme numbers."""
    arrays = {field.name: np.array(getattr(stacks, field.name)) for field in fields(VignetStacks)}
    extremes = np.array([0.0, np.nan, np.inf, -np.inf, -1.0, 1e30, -1e30, 1e-30, 3e38, 1e300, -1e300, 5e-324])
    for row in range(len(stacks.image)):
        for column in ("image", "weight", "psf", "jacobian", "offset"):
            array = arrays[column][row]
            action = rng.integers(12)
            with np.errstate(over="ignore", invalid="ignore"):
                if action == 0:
                    array[rng.random(array.shape) < rng.choice([1e-3, 0.1, 1.0])] = rng.choice(extremes)
                elif action == 1:
                    array *= array.dtype.type(10.0 ** rng.uniform(-40, 40))
                elif action == 2:
                    array[...] = rng.normal(0, 10.0 ** rng.uniform(-5, 5), array.shape)
                elif action == 3:
                    array[...] = rng.permutation(array.ravel()).reshape(array.shape)
                elif action == 4:
                    array[...] = -array
        if rng.random() < 0.2:
            arrays["flag"][row][rng.random((SIZE, SIZE)) < rng.random() ** 2] = 1
    return replace(stacks, **arrays)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random_numbers_everywhere(healthy, seed):
    n = 120
    stacks = scrambled(np.random.default_rng(seed), select(healthy, [0, 1] * (n // 2)))
    table = measure_shapes(stacks, ShapeParams(precision="float32" if seed == 2 else "float64"), seed=SEED)
    for i, row in enumerate(table):
        check_row(row, i)
    assert 0.1 * n < np.count_nonzero(table["flags"] == 0) < 0.9 * n
    again = measure_shapes(
        select(stacks, [7, 100, 31]), ShapeParams(precision="float32" if seed == 2 else "float64"), seed=SEED
    )
    assert again.tobytes() == table[[7, 100, 31]].tobytes()


@pytest.mark.parametrize("target", ["azgauss", "gauss", "fitgauss", "dilate", 0.35])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_images_of_hostile_stamps_are_finite_or_nan_as_a_whole(healthy, target, dtype):
    names = [name for name, (column, _) in HOSTILE.items() if column in ("image", "psf", "jacobian")]
    stacks = hostile_stacks(healthy, names, 2)
    args = (stacks.image, stacks.psf, stacks.jacobian)
    noise = np.random.default_rng(5).normal(size=stacks.image.shape)
    made = metacal_images(*args, noise=noise, target=target, dtype=dtype)
    images = np.stack([made.images[kind] for kind in SHEAR_TYPES], axis=1)
    assert images.dtype == dtype
    number_of_good = np.isfinite(images).sum(axis=(1, 2, 3))
    assert np.isin(number_of_good, [0, images[0].size]).all()
    assert (np.isnan(images).sum(axis=(1, 2, 3)) + number_of_good == images[0].size).all()
    assert (number_of_good.reshape(-1, 2)[::2] > 0).all()
    bad = {
        "image NaN",
        "image infinite",
        "PSF zero",
        "PSF NaN",
        "PSF negative",
        "PSF sums to nothing",
        "Jacobian zero",
        "Jacobian singular",
        "Jacobian NaN",
        "Jacobian infinite",
    }
    for i, name in enumerate(names):
        if name in bad:
            assert (number_of_good.reshape(-1, 2)[2 * i + 1] == 0).all(), name
    has_noise_of_nan = metacal_images(*(a[0] for a in args), noise=np.full((SIZE, SIZE), np.nan), target=target)
    assert np.isnan(has_noise_of_nan.images["1p"]).all()


@pytest.mark.parametrize("n_hostile", [1, 2])
def test_fits_of_hostile_stamps(healthy, n_hostile):
    names = [name for name, (column, _) in HOSTILE.items() if column != "flag"]
    stacks = hostile_stacks(healthy, names, n_hostile)
    for i, name in enumerate(names):
        stack = stacks[2 * i + 1]
        for sigma in (0.35, [0.35, 0.0], [0.35, 1e30], [1e-200, 0.35]):
            fit = fit_gaussian(stack.image, stack.weight, stack.jacobian, sigma, offset=stack.offset)
            numbers = np.array([*fit.parameters, fit.s2n])
            if fit.flags == 0:
                assert np.isfinite(numbers).all(), (name, sigma)
                assert np.isfinite(fit.covariance).all(), (name, sigma)
                assert (np.linalg.eigvalsh(_correlation(fit.covariance)) > 0).all(), (name, sigma)
                assert np.hypot(fit.g1, fit.g2) < 1, (name, sigma)
            else:
                assert np.isnan(numbers).all(), (name, sigma)
                assert "failed" in repr(fit)


def _correlation(covariance):
    """Return the correlations; the covariance alone may be badly scaled."""
    errors = np.sqrt(np.diagonal(covariance))
    return covariance / errors[:, None] / errors
