from dataclasses import fields, replace
from itertools import pairwise

import galsim
import numpy as np
import pytest
from measure.galaxies import SHEARED, SIZE, STRAIGHT, UPSIDE_DOWN, make_stacks, select

from shapempi.catalog import SHEAR_TYPES
from shapempi.flags import ObjectFlag
from shapempi.kernels import _isa
from shapempi.measure.native_engine import lattice_period
from shapempi.measure.shape_params import ShapeParams
from shapempi.measure.shape_table import SHAPE_DTYPE
from shapempi.measure.shapes import measure_shapes
from shapempi.vignet import VignetStacks

SEED = (20, 241, 293)
PSFS = (
    galsim.Moffat(beta=3.5, fwhm=0.65).shear(g1=0.03, g2=0.02),
    galsim.Moffat(beta=3.0, fwhm=0.70).shear(g1=-0.02, g2=0.04),
    galsim.Moffat(beta=4.0, fwhm=0.60).shear(g1=0.01, g2=-0.03),
)
EPOCHS = tuple(zip(PSFS, (STRAIGHT, UPSIDE_DOWN, SHEARED), strict=True))
EPOCH_ARRAYS = ("image", "weight", "flag", "psf", "jacobian", "offset", "exposure", "ccd")

#: Columns that count or flag; the number of evaluations is the minimiser's own.
INTEGERS = [name for name in SHAPE_DTYPE.names if SHAPE_DTYPE[name].kind == "i" and not name.startswith("n_iter")]


def galaxies(n, seed=3):
    rng = np.random.default_rng(seed)
    for i in range(n):
        kind = galsim.Exponential if i % 2 else galsim.Gaussian
        g1, g2 = rng.uniform(-0.3, 0.3, 2)
        yield kind(half_light_radius=rng.uniform(0.25, 0.7), flux=1000.0).shear(g1=g1, g2=g2)


@pytest.fixture(scope="module")
def stacks():
    """Galaxies of different signal-to-noise ratios, some with masks."""
    rng = np.random.default_rng(1)
    parts = [make_stacks(list(galaxies(4, seed)), EPOCHS, rng, snr=snr) for seed, snr in ((3, 30.0), (4, 300.0))]
    arrays = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in (*EPOCH_ARRAYS, "number", "place")
    }
    arrays["place"] = np.arange(8)
    for row in (1, 6, 13):
        arrays["flag"][row, 10:14, 30:36] = 1
    arrays["weight"][16, 33:36, 20:30] = 0.0
    return VignetStacks(first=np.arange(0, 25, 3), **arrays)


@pytest.fixture(scope="module")
def table(stacks):
    return measure_shapes(stacks, ShapeParams(), seed=SEED)


def ragged(stacks):
    """Return the stacks with 3, 0, 1, 2, ... epochs per object, the epochs of one of them all rejected."""
    counts = [3, 0, 1, 2, 3, 0, 2, 0]
    rows = np.concatenate([stacks.first[i] + np.arange(count) for i, count in enumerate(counts)])
    arrays = {name: np.array(getattr(stacks, name)[rows]) for name in EPOCH_ARRAYS}
    arrays["weight"][-2:] = 0.0
    return replace(stacks, first=np.concatenate([[0], np.cumsum(counts)]), **arrays)


def same(left, right):
    return left.tobytes() == right.tobytes()


def response(table):
    """Return R [n, 2, 2]."""
    columns = [[(table[f"g{i}_{j}p"] - table[f"g{i}_{j}m"]) / 0.02 for j in (1, 2)] for i in (1, 2)]
    return np.moveaxis(np.array(columns), -1, 0)


def differences(left, right):
    """Return the largest difference of the fits in units of their errors."""
    return max(
        np.abs((left[f"{name}_{kind}"] - right[f"{name}_{kind}"]) / right[f"{name}_err_{kind}"]).max()
        for kind in SHEAR_TYPES
        for name in ("g1", "g2", "T", "flux")
    )


@pytest.mark.parametrize("options", [{}, {"target_psf": "gauss"}, {"target_sigma": 0.36, "model": "exp"}])
def test_the_native_engine_measures_what_the_galsim_engine_measures(stacks, options):
    some = select(stacks, [0, 2, 5, 6])
    native = measure_shapes(some, ShapeParams(**options), seed=SEED)
    reference = measure_shapes(some, ShapeParams(engine="galsim", **options), seed=SEED)
    assert (native["flags"] == 0).all()
    assert (native["n_epoch_used"] == 3).all()
    for name in INTEGERS:
        np.testing.assert_array_equal(native[name], reference[name], err_msg=name)
    # What the target's size differs by, shapes differ by.
    assert differences(native, reference) < (0.01 if "target_psf" not in options else 0.1)
    # GalSim interpolates in Fourier space: 1e-4 of the peak in images of noise.
    R, expected = response(native), response(reference)
    assert np.sqrt(np.mean((R - expected) ** 2)) < 5e-3
    assert np.abs(np.mean(R - expected, axis=0)).max() < 1e-3
    for kind in SHEAR_TYPES:
        np.testing.assert_allclose(native[f"Tpsf_{kind}"], reference[f"Tpsf_{kind}"], rtol=0.01)
        np.testing.assert_allclose(native[f"s2n_{kind}"], reference[f"s2n_{kind}"], rtol=5e-3)
        np.testing.assert_allclose(native[f"r50_{kind}"], reference[f"r50_{kind}"], atol=2e-3)
    for name in ("psf_g1", "psf_g2", "psf_T", "psf_fit_g1", "psf_fit_g2", "psf_fit_T"):
        np.testing.assert_allclose(native[name], reference[name], rtol=0, atol=1e-6)


def test_single_precision_changes_little(stacks, table):
    single = measure_shapes(stacks, ShapeParams(precision="float32"), seed=SEED)
    for name in INTEGERS:
        np.testing.assert_array_equal(single[name], table[name], err_msg=name)
    assert 0 < differences(single, table) < 3e-3
    assert np.abs(response(single) - response(table)).max() < 3e-3
    assert np.abs(np.mean(response(single) - response(table), axis=0)).max() < 2e-4


@pytest.mark.parametrize("isa", _isa.available())
@pytest.mark.parametrize("model", ["gauss", "exp"])
def test_instruction_sets_agree(stacks, isa, model):
    params = ShapeParams(model=model)
    reference = measure_shapes(stacks, params.model_copy(update={"instruction_set": "portable"}), seed=SEED)
    made = measure_shapes(stacks, params.model_copy(update={"instruction_set": isa}), seed=SEED)
    assert (made["flags"] == 0).all()
    for name in INTEGERS:
        np.testing.assert_array_equal(made[name], reference[name], err_msg=name)
    assert differences(made, reference) < 1e-9
    for kind in SHEAR_TYPES:
        np.testing.assert_allclose(made[f"s2n_{kind}"], reference[f"s2n_{kind}"], rtol=1e-9)
    for name in SHAPE_DTYPE.names:
        if SHAPE_DTYPE[name].kind == "f":
            np.testing.assert_allclose(made[name], reference[name], rtol=1e-7, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("isa", _isa.available())
def test_threads_and_splits_do_not_change_a_bit(stacks, isa, precision):
    params = ShapeParams(precision=precision, instruction_set=isa)
    for objects in (stacks, ragged(stacks)):
        whole = measure_shapes(objects, params, seed=SEED)
        for n_threads in (2, 3):
            assert same(measure_shapes(objects, params, seed=SEED, n_threads=n_threads), whole)
        for cuts in ([0, 1, 8], [0, 3, 4, 8], range(9)):
            parts = [
                measure_shapes(objects.part(begin, end), params, seed=SEED, n_threads=1 + begin % 3)
                for begin, end in pairwise(cuts)
            ]
            assert same(np.concatenate(parts), whole)
        order = [7, 2, 5, 0, 1, 6, 3, 4]
        assert same(measure_shapes(select(objects, order), params, seed=SEED), whole[order])


def test_more_objects_than_are_worked_on_together(stacks, table):
    """An engine cuts its objects into parts; nothing shows where."""
    order = [0, 3, 6, 1, 4, 7, 2, 5] * 5
    assert same(measure_shapes(select(stacks, order), ShapeParams(), seed=SEED), table[order])
    many = select(ragged(stacks), order)
    assert same(
        measure_shapes(many, ShapeParams(), seed=SEED)[:8], measure_shapes(many.part(0, 8), ShapeParams(), seed=SEED)
    )


def test_ragged_epochs_are_counted(stacks, table):
    made = measure_shapes(ragged(stacks), ShapeParams(), seed=SEED)
    assert same(made[[0, 4]], table[[0, 4]])
    np.testing.assert_array_equal(made["n_epoch"], [3, 0, 1, 2, 3, 0, 2, 0])
    np.testing.assert_array_equal(made["n_epoch_used"], [3, 0, 1, 2, 3, 0, 0, 0])
    assert (made["flags"][[0, 2, 3, 4]] == 0).all()
    assert (made["flags"][[1, 5, 7]] == ObjectFlag.NO_EPOCH | ObjectFlag.NOT_MEASURED).all()
    assert made["flags"][6] == ObjectFlag.ALL_MASKED | ObjectFlag.NOT_MEASURED
    nothing = measure_shapes(ragged(stacks).part(5, 6), ShapeParams(), seed=SEED)
    assert same(nothing, made[5:6])
    assert measure_shapes(stacks.part(2, 2), ShapeParams(), seed=SEED).shape == (0,)


@pytest.mark.parametrize("column", ["image", "weight", "psf", "jacobian", "offset", "flag"])
def test_a_change_of_one_object_leaves_the_others(stacks, table, column):
    arrays = {field.name: np.array(getattr(stacks, field.name)) for field in fields(VignetStacks)}
    rows = slice(9, 12)
    if column == "flag":
        arrays[column][rows, 20:23, 30:33] = 1
    else:
        arrays[column][rows] *= 1.01
    if column == "psf":
        arrays[column][rows, 25, 25] *= 1.1
    if column == "weight":
        arrays[column][rows, :20] = 0.0
    made = measure_shapes(replace(stacks, **arrays), ShapeParams(), seed=SEED)
    others = np.arange(8) != 3
    assert same(made[others], table[others])
    assert made[3]["g1_1p"] != table[3]["g1_1p"]


def test_the_period_is_even_and_longer_than_the_stamp():
    for size in range(1, 102, 2):
        assert lattice_period(size) % 2 == 0
        assert size < lattice_period(size) < 1.13 * size + 2
    assert lattice_period(SIZE) == 58
