from itertools import pairwise

import galsim
import numpy as np
import pytest
from kernels import twins_metacal as twins
from numpy.testing import assert_allclose, assert_array_equal

from shapempi.kernels import _isa, _metacal
from shapempi.measure.galsim_metacal import azimuthal_sigma, gauss_sigma

PATHS = _isa.available()
SCALE = 0.186
STRAIGHT = np.array([SCALE, 0.0, 0.0, SCALE])
ANGLE = np.deg2rad(33.0)
JACOBIANS = {
    "straight": STRAIGHT,
    "rotated by 180 degrees": -STRAIGHT,
    "rotated by 33 degrees": SCALE * np.array([np.cos(ANGLE), -np.sin(ANGLE), np.sin(ANGLE), np.cos(ANGLE)]),
    "rotated by 90 degrees": SCALE * np.array([0.0, -1.0, 1.0, 0.0]),
    "flipped": STRAIGHT * [-1, 1, 1, 1],
    "axes swapped": STRAIGHT[[1, 0, 3, 2]],
    "sheared": np.array([0.190, 0.006, 0.004, 0.180]),
    "sheared much": np.array([0.25, 0.10, -0.06, 0.15]),
}
SHEARS = np.array([[0.0, 0.0], [0.01, 0.0], [-0.01, 0.0], [0.0, 0.01], [0.0, -0.01]])


def make_psf(side, fwhm=3.7, g=(0.05, -0.03), offset=(0.1, -0.2)):
    """An elliptical Moffat profile in pixels, a little off the centre, so that its transform is complex."""
    y, x = (np.indices((side, side)) - side // 2).astype(float)
    x, y = x - offset[0], y - offset[1]
    radius2 = ((1 - g[0]) * x - g[1] * y) ** 2 + ((1 + g[0]) * y - g[1] * x) ** 2
    psf = (1.0 + radius2 * 4 * (2 ** (1 / 3.5) - 1) / fwhm**2) ** -3.5
    return psf / psf.sum()


def make_stamps(side, n, seed=1, noise=0.05):
    """Stamps of galaxies that do not look the same from any side, with noise, and noise fields."""
    rng = np.random.default_rng(seed)
    y, x = (np.indices((side, side)) - side // 2).astype(float)
    stamps = np.empty((n, side, side))
    for stamp in stamps:
        dx, dy = x - rng.uniform(-0.5, 0.5), y - rng.uniform(-0.5, 0.5)
        g1, g2 = rng.uniform(-0.3, 0.3, 2)
        radius = np.hypot((1 - g1) * dx - g2 * dy, (1 + g1) * dy - g2 * dx)
        stamp[...] = 100 * np.exp(-np.sqrt(1 + radius**2 / 4)) + noise * rng.normal(size=stamp.shape)
    return stamps, noise * rng.normal(size=stamps.shape)


def run(stamps, noises, psf, jacobian, sigma, max_k, shear=SHEARS, **options):
    """Make images of stamps that have PSF, Jacobian and target in common."""
    n = len(stamps)
    return _metacal.images(
        np.ascontiguousarray(stamps),
        np.tile(psf, (n, 1, 1)),
        np.tile(jacobian, (n, 1)),
        np.full(n, sigma),
        np.full(n, max_k),
        np.ascontiguousarray(shear, dtype=float),
        noise=noises,
        **options,
    )


def assert_equals_twin(stamps, noises, psf, jacobian, sigma, max_k, shear, period, accuracy=1e-12, dilation=0.0):
    """Every instruction set makes the twin's images."""
    noise_of = [None] * len(stamps) if noises is None else noises
    args = (psf, jacobian, sigma, max_k, shear)
    expected = np.array(
        [twins.images(stamp, *args, noise, period, dilation) for stamp, noise in zip(stamps, noise_of, strict=True)]
    )
    tolerance = accuracy * np.abs(expected).max(axis=(-2, -1), keepdims=True)
    for isa in PATHS:
        made = run(stamps, noises, *args, period=period, isa=isa, dilation=dilation)
        assert (np.abs(made - expected) <= tolerance).all(), isa


# Sides with their shortest periods, periods that are no product of small primes, and the period of GalSim.
SIZES = [
    (1, 2),
    (1, 8),
    (3, 4),
    (3, 10),
    (5, 6),
    (5, 16),
    (15, 16),
    (15, 38),
    (51, 52),
    (51, 58),
    (51, 128),
    (101, 102),
]


@pytest.mark.parametrize(("side", "period"), SIZES)
def test_images_are_those_of_the_twin_for_every_size(side, period):
    stamps, noises = make_stamps(side, 1)
    assert_equals_twin(stamps, noises, make_psf(side), JACOBIANS["sheared"], 0.36, 11.0, SHEARS[3:4], period)


@pytest.mark.parametrize("jacobian", JACOBIANS.values(), ids=JACOBIANS)
@pytest.mark.parametrize("with_noise", [True, False])
def test_images_are_those_of_the_twin_for_every_jacobian(jacobian, with_noise):
    stamps, noises = make_stamps(15, 2)
    assert_equals_twin(stamps, noises if with_noise else None, make_psf(15), jacobian, 0.36, 11.0, SHEARS, 28)


@pytest.mark.parametrize("step", [0.001, 0.01, 0.05, 0.1])
def test_images_are_those_of_the_twin_for_every_step(step):
    stamps, noises = make_stamps(17, 1, seed=2)
    shear = step * np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1], [0.7, -0.7]])
    assert_equals_twin(stamps, noises, make_psf(17), JACOBIANS["sheared much"], 0.36, 11.0, shear, 26)


@pytest.mark.parametrize(
    ("fwhm", "sigma", "max_k"),
    [(1.5, 0.36, 1e3), (1.5, 0.36, 6.0), (1.5, 0.05, 25.0), (1.5, 3.0, 11.0), (1.5, 0.36, 0.1), (4.0, 0.30, 1e3)],
    ids=["no end", "PSF ends first", "whole plane", "wide target", "nothing but the flux", "PSF falls to 1e-3"],
)
def test_images_are_those_of_the_twin_wherever_the_transforms_end(fwhm, sigma, max_k):
    stamps, noises = make_stamps(17, 1, seed=3)
    psf = make_psf(17, fwhm)
    assert_equals_twin(stamps, noises, psf, JACOBIANS["sheared"], sigma, max_k, SHEARS[:2], 34)


@pytest.mark.parametrize("dilation", [1.0, 1.02, 1.2])
@pytest.mark.parametrize("jacobian", ["straight", "rotated by 90 degrees", "sheared much"])
@pytest.mark.parametrize("with_noise", [True, False])
def test_the_dilated_psf_as_target_is_that_of_the_twin(dilation, jacobian, with_noise):
    stamps, noises = make_stamps(15, 2)
    args = (3.0 * make_psf(15), JACOBIANS[jacobian], 0.36, 8.0, SHEARS[[0, 1, 4]], 28)
    assert_equals_twin(stamps, noises if with_noise else None, *args, dilation=dilation)


def test_a_psf_below_the_floor_is_taken_as_the_floor():
    side = 21
    stamps, noises = make_stamps(side, 1, seed=3)
    # The transform of a box has zeros where the target still is: at 2 pi/7 per pixel.
    psf = np.zeros((side, side))
    psf[7:14, 7:14] = 1 / 49
    assert_equals_twin(stamps, noises, psf, STRAIGHT, 0.2, 30.0, SHEARS[:1], 28, accuracy=1e-10)
    (made,) = run(stamps, noises, psf, STRAIGHT, 0.2, 30.0, SHEARS[:1], period=28)
    assert np.abs(made).max() > 1e3 * np.abs(stamps).max()


@pytest.mark.parametrize("isa", PATHS)
@pytest.mark.parametrize("side", [5, 15, 51, 101])
def test_single_precision(side, isa):
    stamps, noises = make_stamps(side, 1)
    args = (make_psf(side), JACOBIANS["sheared"], 0.36, 11.0)
    for with_noise in (noises, None):
        double, single = (
            run(stamps, with_noise, *args, period=side + 11, isa=isa, dtype=dtype) for dtype in (np.float64, np.float32)
        )
        assert (double.dtype, single.dtype) == (np.float64, np.float32)
        assert_allclose(single, double, rtol=0, atol=1e-5 * np.abs(double).max())


def mixed_batch(n=13, side=51):
    """Stamps, PSFs, Jacobians and targets that all differ."""
    stamps, noises = make_stamps(side, n, seed=5)
    rng = np.random.default_rng(6)
    psf = np.stack([make_psf(side, rng.uniform(3, 5), rng.uniform(-0.1, 0.1, 2)) for _ in range(n)])
    jacobian = np.stack([list(JACOBIANS.values())[i % len(JACOBIANS)] for i in range(n)])
    max_k, sigma = _metacal.band(psf, jacobian, target="azgauss")
    return {
        "image": stamps,
        "psf": psf,
        "jacobian": jacobian,
        "sigma": 1.02 * sigma,
        "max_k": max_k,
        "noise": noises,
    }


def test_instruction_sets_agree():
    batch = mixed_batch()
    reference = _metacal.images(**batch, shear=SHEARS, period=58, isa="portable")
    for isa in PATHS:
        made = _metacal.images(**batch, shear=SHEARS, period=58, isa=isa)
        assert_allclose(made, reference, rtol=0, atol=1e-12 * reference.max())


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("isa", PATHS)
def test_threads_and_batches_do_not_change_a_bit(isa, dtype):
    batch = mixed_batch()
    options = {"shear": SHEARS, "period": 58, "isa": isa, "dtype": dtype}
    whole = _metacal.images(**batch, **options)
    assert np.isfinite(whole).all()
    for n_threads in (2, 3, 20):
        assert_array_equal(_metacal.images(**batch, **options, n_threads=n_threads), whole)
    for parts in ([0, 1, 13], [0, 6, 7, 13], range(14)):
        made = [
            _metacal.images(**{name: array[a:b] for name, array in batch.items()}, **options)
            for a, b in pairwise(parts)
        ]
        assert_array_equal(np.concatenate(made), whole)
    backwards = {name: np.ascontiguousarray(array[::-1]) for name, array in batch.items()}
    assert_array_equal(_metacal.images(**backwards, **options)[::-1], whole)
    # Neither do the types that are asked for beside.
    for i in range(len(SHEARS)):
        made = _metacal.images(**batch, **(options | {"shear": SHEARS[i : i + 1]}))
        assert_allclose(made[:, 0], whole[:, i], rtol=0, atol=1e-12 * whole.max() if dtype == np.float64 else 1e-3)


@pytest.mark.parametrize("isa", PATHS)
def test_flux_is_kept(isa):
    side = 51
    y, x = np.indices((side, side)) - side // 2
    stamp = np.exp(-0.5 * (x**2 + 0.7 * y**2) / 2.5**2)[None]
    psf = 7.0 * make_psf(side, fwhm=3.0)  # its sum does not matter
    made = run(stamp, None, psf, JACOBIANS["sheared"], 0.36, 11.0, period=128, isa=isa)
    assert_allclose(made.sum(axis=(-2, -1)), stamp.sum(), rtol=3e-3)
    # With the period of the stamp's side the sum is the transform at zero.
    period = [run(stamp, None, psf, JACOBIANS["sheared"], 0.36, 11.0, shear=SHEARS[:1], period=side + 1, isa=isa)]
    assert_allclose(np.sum(period), stamp.sum(), rtol=1e-3)


def test_images_are_linear_in_stamp_and_noise():
    stamps, noises = make_stamps(25, 2)
    args = (make_psf(25), JACOBIANS["sheared"], 0.36, 11.0)
    both = run(stamps[:1] + 3 * stamps[1:], noises[:1], *args)
    parts = run(stamps, None, *args)
    noise = run(np.zeros_like(noises[:1]), noises[:1], *args)
    assert_allclose(both[0], parts[0] + 3 * parts[1] + noise[0], rtol=0, atol=1e-12 * both.max())
    turned = run(np.rot90(noises[:1], axes=(1, 2)), None, *args)
    assert_allclose(noise[0], np.rot90(turned[0], 3, axes=(1, 2)), rtol=0, atol=1e-12 * noise.max())


@pytest.mark.parametrize("isa", PATHS)
@pytest.mark.parametrize("side", [5, 15, 31, 51, 101])
def test_max_k_is_that_of_the_twin_and_of_galsim(side, isa):
    for k, jacobian in enumerate(JACOBIANS.values()):
        psf = make_psf(side, 3.0 + 0.4 * k, (0.02 * k, -0.05), (0.0, 0.0))
        (found,), (sigma,) = _metacal.band(psf[None], jacobian[None], isa=isa)
        step = 2 * np.pi / (4 * side) / np.linalg.svd(jacobian.reshape(2, 2), compute_uv=False)[0]
        assert_allclose(found, twins.max_k(psf, jacobian), rtol=1e-12)
        image = galsim.Image(psf.copy(), wcs=galsim.JacobianWCS(*jacobian))
        assert found == pytest.approx(galsim.InterpolatedImage(image, x_interpolant="lanczos15").maxk, abs=0.01 * step)
        assert np.isnan(sigma)


@pytest.mark.parametrize("isa", PATHS)
@pytest.mark.parametrize("noise", [0.0, 1e-5, 1e-4])
def test_max_k_of_noisy_psfs(noise, isa):
    """Where single squares stand out, a search on the lattice finds what all other searches find."""
    rng = np.random.default_rng(8)
    psf = np.stack([make_psf(51, rng.uniform(2.5, 5.0)) for _ in range(20)])
    psf += noise * rng.normal(size=psf.shape)
    jacobian = np.tile(STRAIGHT, (len(psf), 1))
    found, _ = _metacal.band(psf, jacobian, isa=isa)
    assert_array_equal(found, _metacal.band(psf, jacobian, isa="portable")[0])
    expected = [twins.max_k(p, STRAIGHT) for p in psf]
    assert_allclose(found, expected, rtol=1e-12)


def psf_images(n=12, side=51):
    """PSFs by GalSim, wide and narrow, round and not, on all Jacobians."""
    rng = np.random.default_rng(9)
    for i in range(n):
        jacobian = list(JACOBIANS.values())[i % len(JACOBIANS)]
        kind = (galsim.Moffat(beta=3.5, fwhm=0.7), galsim.Gaussian(fwhm=0.65), galsim.Kolmogorov(fwhm=0.75))[i % 3]
        g1, g2 = rng.uniform(-0.08, 0.08, 2)
        profile = kind.shear(g1=g1, g2=g2).dilate(rng.uniform(0.85, 1.3))
        wcs = galsim.JacobianWCS(*jacobian)
        yield profile.drawImage(nx=side, ny=side, wcs=wcs, dtype=float), jacobian


@pytest.mark.parametrize("isa", PATHS)
@pytest.mark.parametrize("side", [51, 61])
def test_target_sizes_are_those_of_galsims_transforms(side, isa):
    for image, jacobian in psf_images(side=side):
        profile = galsim.InterpolatedImage(image, x_interpolant="lanczos15")
        psf = np.ascontiguousarray(image.array[None])
        for target, rule, accuracy in (("gauss", gauss_sigma, 5e-3), ("azgauss", azimuthal_sigma, 1e-3)):
            max_k, sigma = _metacal.band(psf, jacobian[None], target=target, isa=isa)
            assert sigma[0] == pytest.approx(rule(profile), rel=accuracy)
            assert max_k[0] == pytest.approx(profile.maxk, rel=1e-9)


@pytest.mark.parametrize("target", ["none", "gauss", "azgauss"])
def test_bands_do_not_depend_on_threads_batches_and_scale(target):
    batch = mixed_batch(n=9)
    psf, jacobian = batch["psf"], batch["jacobian"]
    for isa in PATHS:
        whole = _metacal.band(psf, jacobian, target=target, isa=isa)
        for n_threads in (2, 3, 16):
            assert_array_equal(_metacal.band(psf, jacobian, target=target, isa=isa, n_threads=n_threads), whole)
        single = [_metacal.band(psf[i : i + 1], jacobian[i : i + 1], target=target, isa=isa) for i in range(9)]
        assert_array_equal(np.concatenate(single, axis=1), whole)
        # The PSF's sum does not matter: a power of two changes no bit.
        assert_array_equal(_metacal.band(psf * 2.0**-70, jacobian, target=target, isa=isa), whole)
        assert_allclose(whole, _metacal.band(psf, jacobian, target=target, isa="portable"), rtol=1e-12)


def test_nothing_in_nothing_out():
    empty = np.zeros((0, 51, 51))
    none = np.zeros(0)
    assert _metacal.images(empty, empty, np.zeros((0, 4)), none, none, SHEARS).shape == (0, 5, 51, 51)
    stamps, _ = make_stamps(5, 2)
    assert run(stamps, None, make_psf(5), STRAIGHT, 0.3, 10.0, shear=np.zeros((0, 2))).shape == (2, 0, 5, 5)
    assert _metacal.band(empty, np.zeros((0, 4)))[0].shape == (0,)


GOOD = {
    "image": np.ones((2, 5, 5)),
    "psf": np.ones((2, 5, 5)),
    "jacobian": np.tile(STRAIGHT, (2, 1)),
    "sigma": np.ones(2),
    "max_k": np.ones(2),
    "shear": np.zeros((1, 2)),
}


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"image": np.ones((2, 4, 4))}, "odd side"),
        ({"image": np.ones((2, 5, 7))}, "square"),
        ({"image": np.ones((2, 0, 0))}, "odd side"),
        ({"image": np.ones((1, 403, 403))}, "up to 401"),
        ({"psf": np.ones((1, 5, 5))}, "psf"),
        ({"psf": np.ones((2, 3, 3))}, "psf"),
        ({"noise": np.ones((2, 5, 3))}, "noise"),
        ({"noise": np.ones((3, 5, 5))}, "noise"),
        ({"jacobian": np.ones((2, 3))}, "Jacobians"),
        ({"jacobian": np.ones((1, 4))}, "Jacobians"),
        ({"sigma": np.ones(1)}, "sigma and max_k"),
        ({"max_k": np.ones(3)}, "sigma and max_k"),
        ({"shear": np.zeros((1, 3))}, "shear"),
        ({"shear": np.array([[0.4, 0.4]])}, "shear"),
        ({"shear": np.array([[np.nan, 0.0]])}, "shear"),
        ({"period": 7}, "period"),
        ({"period": 4}, "period"),
        ({"period": 5000}, "period"),
        ({"dtype": np.int32}, "dtype"),
        ({"dtype": np.float16}, "dtype"),
        ({"isa": "sse9"}, "instruction set"),
        ({"n_threads": 0}, "n_threads"),
        ({"dilation": -1.0}, "dilation"),
        ({"dilation": np.nan}, "dilation"),
    ],
)
def test_what_images_refuses(changes, match):
    with pytest.raises(ValueError, match=match):
        _metacal.images(**(GOOD | changes))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"psf": np.ones((2, 4, 4))}, "odd side"),
        ({"jacobian": np.ones((2, 5))}, "Jacobians"),
        ({"target": "round"}, "target"),
        ({"isa": "sse9"}, "instruction set"),
        ({"n_threads": 0}, "n_threads"),
    ],
)
def test_what_band_refuses(changes, match):
    with pytest.raises(ValueError, match=match):
        _metacal.band(**({name: GOOD[name] for name in ("psf", "jacobian")} | changes))


def bad_epochs(side=15):
    """Return what cannot be computed: (name, what it replaces)."""
    x = np.indices((side, side))[1] - side // 2
    nan, infinite, huge = (np.full((side, side), value) for value in (np.nan, np.inf, 1e200))
    one_nan = make_psf(side)
    one_nan[3, 4] = np.nan
    return {
        "image NaN": {"image": nan},
        "image with a NaN": {"image": one_nan},
        "image infinite": {"image": infinite},
        "image huge": {"image": huge},
        "noise NaN": {"noise": nan},
        "noise infinite": {"noise": -infinite},
        "PSF NaN": {"psf": nan},
        "PSF with a NaN": {"psf": one_nan},
        "PSF infinite": {"psf": infinite},
        "PSF zero": {"psf": np.zeros((side, side))},
        "PSF negative": {"psf": -make_psf(side)},
        "PSF sums to next to nothing": {"psf": np.sign(x) + 1e-9},
        "Jacobian zero": {"jacobian": np.zeros(4)},
        "Jacobian singular": {"jacobian": np.array([0.2, 0.2, 0.2, 0.2])},
        "Jacobian nearly singular": {"jacobian": np.array([0.2, 0.2, 0.2, 0.2 + 1e-7])},
        "Jacobian NaN": {"jacobian": np.array([0.2, np.nan, 0.0, 0.2])},
        "Jacobian infinite": {"jacobian": np.array([np.inf, 0.0, 0.0, 0.2])},
        "Jacobian tiny": {"jacobian": 1e-150 * STRAIGHT},
        "Jacobian huge": {"jacobian": 1e200 * STRAIGHT},
        "sigma zero": {"sigma": 0.0},
        "sigma negative": {"sigma": -0.3},
        "sigma NaN": {"sigma": np.nan},
        "sigma infinite": {"sigma": np.inf},
        "max_k zero": {"max_k": 0.0},
        "max_k NaN": {"max_k": np.nan},
    }


@pytest.mark.parametrize("dilation", [0.0, 1.02])
@pytest.mark.parametrize("isa", PATHS)
def test_what_cannot_be_computed_is_nan_and_leaves_the_others_alone(isa, dilation):
    side, bad = 15, bad_epochs()
    stamps, noises = make_stamps(side, 2 * len(bad) + 1)
    n = len(stamps)
    batch = {
        "image": stamps,
        "noise": noises,
        "psf": np.tile(make_psf(side), (n, 1, 1)),
        "jacobian": np.tile(STRAIGHT, (n, 1)),
        "sigma": np.full(n, 0.36),
        "max_k": np.full(n, 11.0),
    }
    options = {"shear": SHEARS, "period": 32, "isa": isa, "dilation": dilation}
    good = _metacal.images(**batch, **options)
    assert np.isfinite(good).all()
    for i, changes in enumerate(bad.values()):
        for name, value in changes.items():
            batch[name][2 * i + 1] = value
    made = _metacal.images(**batch, **options, n_threads=2)
    assert_array_equal(made[::2], good[::2])
    for i, name in enumerate(bad):
        assert np.isnan(made[2 * i + 1]).all(), name
    max_k, sigma = _metacal.band(batch["psf"], batch["jacobian"], target="azgauss", isa=isa)
    assert np.isfinite(max_k[::2]).all() and np.isfinite(sigma[::2]).all()
    for i, (name, changes) in enumerate(bad.items()):
        unusable = "psf" in changes or "jacobian" in changes
        assert np.isnan(max_k[2 * i + 1]) == unusable, name
        assert np.isnan(sigma[2 * i + 1]) == unusable, name
