import galsim
import numpy as np
import pytest
from measure.galaxies import SHEARED, SIZE, STRAIGHT, UPSIDE_DOWN, draw_epoch
from numpy.testing import assert_allclose, assert_array_equal

import shapempi
from shapempi import metacal_images
from shapempi.catalog import SHEAR_TYPES
from shapempi.kernels import _isa
from shapempi.measure import galsim_metacal
from shapempi.measure.metacal import (
    MetacalParams,
    find_targets,
    fourier_period,
    shear_components,
    shear_matrix,
    sheared_weight,
)

TURNED = 0.186 * np.array([np.cos(0.6), -np.sin(0.6), np.sin(0.6), np.cos(0.6)])
JACOBIANS = {
    "straight": STRAIGHT,
    "upside down": UPSIDE_DOWN,
    "flipped": STRAIGHT * [-1, 1, 1, 1],
    "turned": TURNED,
    "sheared": SHEARED,
}
SHEARS = dict(zip(SHEAR_TYPES, shear_components(SHEAR_TYPES, 1.0), strict=True))
PSF = galsim.Moffat(beta=3.5, fwhm=0.65).shear(g1=0.04, g2=0.03)


def drawn(profile, jacobian, size=SIZE):
    """Return a profile without pixel at the centres of the pixels [counts]."""
    wcs = galsim.JacobianWCS(*jacobian)
    return profile.drawImage(nx=size, ny=size, wcs=wcs, method="no_pixel", dtype=float).array


@pytest.fixture(scope="module")
def stamps():
    """Return images, PSFs, Jacobians and noise fields of a few galaxies."""
    rng = np.random.default_rng(1)
    rows = []
    for jacobian in JACOBIANS.values():
        galaxy = galsim.Exponential(half_light_radius=0.4, flux=100.0).shear(g1=0.2, g2=-0.1)
        image, psf = draw_epoch(galaxy, PSF, jacobian, rng.uniform(-0.5, 0.5, 2))
        rows.append((image, psf, jacobian, rng.normal(0, 0.02, image.shape)))
    image, psf, jacobian, noise = (np.array(arrays) for arrays in zip(*rows, strict=True))
    return image + rng.normal(0, 0.02, image.shape), psf, jacobian, noise


@pytest.mark.parametrize("jacobian", JACOBIANS.values(), ids=JACOBIANS)
@pytest.mark.parametrize("step", [0.01, 0.05])
def test_a_gaussian_becomes_the_sheared_gaussian(jacobian, step):
    galaxy = galsim.Gaussian(sigma=0.4, flux=100.0).shear(g1=0.2, g2=-0.1).shift(0.03, -0.05)
    psf = galsim.Gaussian(fwhm=0.7).shear(g1=0.04, g2=0.03)
    # No pixel, so that all profiles are Gaussians: nothing here hangs on GalSim's transforms.
    made = metacal_images(drawn(galsim.Convolve(galaxy, psf), jacobian), drawn(psf, jacobian), jacobian, step=step)
    for kind, direction in SHEARS.items():
        g1, g2 = step * direction
        expected = drawn(
            galsim.Convolve(galaxy.shear(g1=g1, g2=g2), galsim.Gaussian(sigma=made.target_sigma)), jacobian
        )
        assert_allclose(made.images[kind], expected, rtol=0, atol=2e-5 * expected.max())
        # Of the flux only what the sharp end of the target's transform lets ring out of the stamp is missing.
        assert made.images[kind].sum() == pytest.approx(expected.sum(), rel=1e-3)


@pytest.mark.parametrize("target", ["azgauss", "gauss", "fitgauss", 0.36])
def test_an_exponential_disc_becomes_the_sheared_disc(target):
    galaxy = galsim.Exponential(half_light_radius=0.4, flux=100.0).shear(g1=0.2, g2=-0.1)
    image, psf = draw_epoch(galaxy, PSF, SHEARED)
    made = metacal_images(image, psf, SHEARED, target=target)
    for kind, direction in SHEARS.items():
        g1, g2 = 0.01 * direction
        sheared = galsim.Convolve(galaxy.shear(g1=g1, g2=g2), galsim.Gaussian(sigma=made.target_sigma))
        expected = drawn(sheared, SHEARED)
        # PSF and disc reach beyond the stamp.
        assert_allclose(made.images[kind], expected, rtol=0, atol=2e-3 * expected.max())
        assert made.images[kind].sum() == pytest.approx(100.0, rel=5e-3)


def test_the_dilated_psf_is_a_target_of_its_own():
    """The pixel stays as it is: the target is the PSF before the pixel, dilated, times the pixel."""
    galaxy = galsim.Gaussian(sigma=0.4, flux=100.0).shear(g1=0.2, g2=-0.1)
    psf = galsim.Gaussian(fwhm=0.7).shear(g1=0.04, g2=0.03)
    image, stamp = draw_epoch(galaxy, psf, SHEARED)
    made = metacal_images(image, stamp, SHEARED, target="dilate")
    wcs = galsim.JacobianWCS(*SHEARED)
    for kind, direction in SHEARS.items():
        g1, g2 = 0.01 * direction
        sheared = galsim.Convolve(galaxy.shear(g1=g1, g2=g2), psf.dilate(1.02))
        expected = sheared.drawImage(nx=SIZE, ny=SIZE, wcs=wcs, dtype=float).array
        assert_allclose(made.images[kind], expected, rtol=0, atol=1e-4 * expected.max())


@pytest.mark.parametrize("target", ["azgauss", "gauss", "fitgauss", "dilate"])
def test_images_are_those_of_galsim(stamps, target):
    image, psf, jacobian, noise = stamps
    params = MetacalParams(target_psf=target)
    made = metacal_images(image, psf, jacobian, noise=noise, target=target)
    for i in range(len(image)):
        expected = galsim_metacal.metacal_images(image[i], noise[i], psf[i], jacobian[i], params)
        assert made.target_sigma[i] == pytest.approx(expected.sigma, rel=5e-3)
        if target != "dilate":
            # The same target for both, to compare images.
            one = metacal_images(image[i], psf[i], jacobian[i], noise=noise[i], target=expected.sigma).images
        else:
            one = {kind: made.images[kind][i] for kind in SHEAR_TYPES}
        for kind in SHEAR_TYPES:
            accuracy = 1e-6 if kind == "noshear" else 2e-4
            if target == "dilate":
                # A target that ends where it is still 1e-3: GalSim finds the end of each transform by itself.
                accuracy = 2e-3
            peak = expected.image[kind].max()
            assert_allclose(one[kind], expected.image[kind], rtol=0, atol=accuracy * peak)


def test_target_sigma_of_a_known_psf():
    sigma = 0.3
    psf = drawn(galsim.Gaussian(sigma=sigma), STRAIGHT)
    for target, factor, accuracy in (
        ("gauss", np.sqrt(np.log(0.003) / np.log(0.01)), 0.03),  # half a step of the lattice in k is 2 %
        ("azgauss", np.sqrt(np.log(0.009) / np.log(0.03)), 0.01),
        ("fitgauss", 1.0, 1e-3),
    ):
        for step in (0.01, 0.05):
            found = metacal_images(psf, psf, STRAIGHT, target=target, step=step, types=()).target_sigma
            assert found == pytest.approx(sigma * factor * (1 + 2 * step), rel=accuracy)


def test_given_targets_are_taken_as_they_are(stamps):
    image, psf, jacobian, _ = stamps
    each = np.linspace(0.33, 0.40, len(image))
    made = metacal_images(image, psf, jacobian, target=each, step=0.02)
    assert_array_equal(made.target_sigma, each)
    for i in range(len(image)):
        one = metacal_images(image[i], psf[i], jacobian[i], target=each[i], step=0.02)
        assert_array_equal(one.images["2m"], made.images["2m"][i])
    same = metacal_images(image, psf, jacobian, target=0.35)
    assert_array_equal(same.target_sigma, np.full(len(image), 0.35))


def test_shapes_of_arrays(stamps):
    image, psf, jacobian, noise = stamps
    one = metacal_images(image[0], psf[0], jacobian[0], noise=noise[0])
    assert isinstance(one.target_sigma, float)
    assert list(one.images) == list(SHEAR_TYPES)
    assert all(array.shape == (SIZE, SIZE) and array.dtype == np.float64 for array in one.images.values())
    batch = metacal_images(image, psf, jacobian, noise=noise)
    assert batch.target_sigma.shape == (5,)
    grid = [np.stack([array, array[::-1]]) for array in stamps]
    made = metacal_images(grid[0], grid[1], grid[2], noise=grid[3])
    assert made.target_sigma.shape == (2, 5)
    for kind in SHEAR_TYPES:
        assert batch.images[kind].shape == (5, SIZE, SIZE)
        assert made.images[kind].shape == (2, 5, SIZE, SIZE)
        assert_array_equal(batch.images[kind][0], one.images[kind])
        assert_array_equal(made.images[kind][1, ::-1], batch.images[kind])
    empty = metacal_images(image[:0], psf[:0], jacobian[:0])
    assert empty.images["1p"].shape == (0, SIZE, SIZE)
    assert empty.target_sigma.shape == (0,)


def test_types_in_the_order_asked_for(stamps):
    image, psf, jacobian, _ = stamps
    every = metacal_images(image, psf, jacobian).images
    some = metacal_images(image, psf, jacobian, types=("2m", "noshear")).images
    assert list(some) == ["2m", "noshear"]
    for kind, array in some.items():
        assert_allclose(array, every[kind], rtol=0, atol=1e-12 * array.max())
    assert metacal_images(image, psf, jacobian, types=()).images == {}


def test_precision_of_input_and_output(stamps):
    image, psf, jacobian, noise = stamps
    double = metacal_images(image, psf, jacobian, noise=noise)
    single = metacal_images(image, psf, jacobian, noise=noise, dtype=np.float32)
    assert_array_equal(single.target_sigma, double.target_sigma)
    for kind in SHEAR_TYPES:
        assert single.images[kind].dtype == np.float32
        assert_allclose(single.images[kind], double.images[kind], rtol=0, atol=1e-5 * double.images[kind].max())
    # Lists, views, other types and orders of the same numbers are the same.
    views = [np.asfortranarray(array[::-1].astype(np.float32).astype(">f8"))[::-1] for array in (image, psf, noise)]
    plain = [array.astype(np.float32).astype(float) for array in (image, psf, noise)]
    left = metacal_images(views[0], views[1], jacobian.tolist(), noise=views[2])
    right = metacal_images(plain[0], plain[1], jacobian, noise=plain[2])
    assert_array_equal(left.images["1p"], right.images["1p"])


@pytest.mark.parametrize("factor", [2.0**-900, 2.0**-100, 2.0**100, 2.0**900])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_sum_of_the_psf_does_not_matter(stamps, dtype, factor):
    image, psf, jacobian, noise = stamps
    for target in ("azgauss", "dilate"):
        made, scaled = (
            metacal_images(image, p, jacobian, noise=noise, target=target, dtype=dtype) for p in (psf, factor * psf)
        )
        assert_array_equal(scaled.target_sigma, made.target_sigma)
        for kind in SHEAR_TYPES:
            assert_array_equal(scaled.images[kind], made.images[kind])


def test_inputs_are_not_changed(stamps):
    copies = [array.copy() for array in stamps]
    for array in stamps:
        array.setflags(write=False)
    metacal_images(*stamps[:3], noise=stamps[3], target="fitgauss")
    for array, copy in zip(stamps, copies, strict=True):
        assert_array_equal(array, copy)


def test_threads_and_instruction_sets(stamps):
    image, psf, jacobian, noise = stamps
    reference = metacal_images(image, psf, jacobian, noise=noise, isa="portable")
    for isa in _isa.available():
        made = [metacal_images(image, psf, jacobian, noise=noise, isa=isa, n_threads=n) for n in (1, 3)]
        for kind in SHEAR_TYPES:
            assert_array_equal(made[0].images[kind], made[1].images[kind])
            peak = reference.images[kind].max()
            assert_allclose(made[0].images[kind], reference.images[kind], rtol=0, atol=1e-11 * peak)


def test_the_noise_is_that_of_two_fields_and_does_not_answer_to_shear():
    """Pure noise: the second field doubles the variance, and the mean response of shapes to shear is gone."""
    rng = np.random.default_rng(5)
    n = 24
    _, psf = draw_epoch(galsim.Gaussian(sigma=0.4), PSF, STRAIGHT)
    image, noise = rng.normal(size=(2, n, SIZE, SIZE))
    psf, jacobian = np.tile(psf, (n, 1, 1)), np.tile(STRAIGHT, (n, 1))
    alone = metacal_images(image, psf, jacobian).images
    both = metacal_images(image, psf, jacobian, noise=noise).images
    variance = np.var(both["noshear"]) / np.var(alone["noshear"])
    assert variance == pytest.approx(2.0, rel=0.03)

    def anisotropy(images):
        """Excess of the correlation of neighbours along x over that along y."""
        along_x, along_y = np.mean(images[..., 1:] * images[..., :-1]), np.mean(images[:, 1:] * images[:, :-1])
        return (along_x - along_y) / np.mean(images**2)

    response = [(anisotropy(images["1p"]) - anisotropy(images["1m"])) / 0.02 for images in (alone, both)]
    assert abs(response[0]) > 0.5
    assert abs(response[1]) < 0.02 * abs(response[0])


def test_what_cannot_be_computed_is_nan(stamps):
    image, psf, jacobian, noise = (array.copy() for array in stamps)
    good = metacal_images(image, psf, jacobian, noise=noise)
    image[1, 3, 4] = np.nan
    psf[2] = 0.0
    jacobian[3] = 0.1
    noise[4, 0, 0] = np.inf
    made = metacal_images(image, psf, jacobian, noise=noise)
    for kind in SHEAR_TYPES:
        assert_array_equal(made.images[kind][0], good.images[kind][0])
        assert np.isnan(made.images[kind][1:]).all()
    assert_array_equal(np.isnan(made.target_sigma), [False, False, True, True, False])
    one = metacal_images(image[0], psf[2], jacobian[0])
    assert np.isnan(one.target_sigma)
    assert np.isnan(one.images["1p"]).all()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"image": np.ones(5)}, "image must have"),
        ({"image": np.ones((4, 4)), "psf": np.ones((4, 4))}, "odd side"),
        ({"image": np.ones((5, 7)), "psf": np.ones((5, 7))}, "square"),
        ({"psf": np.ones((3, 3))}, "psf must have the shape"),
        ({"psf": np.ones((1, 5, 5))}, "psf must have the shape"),
        ({"jacobian": np.ones(3)}, "jacobian must have the shape"),
        ({"jacobian": np.ones((2, 2))}, "jacobian must have the shape"),
        ({"noise": np.ones((5, 3))}, "noise must have the shape"),
        ({"target": "round"}, "unknown target PSF 'round'"),
        ({"target": -0.3}, "target"),
        ({"target": 0.0}, "target"),
        ({"target": np.nan}, "target"),
        ({"target": [0.3, 0.4]}, "target"),
        ({"step": 0.0}, "step"),
        ({"step": 0.2}, "step"),
        ({"step": np.nan}, "step"),
        ({"types": ("noshear", "3p")}, "unknown metacalibration type '3p'"),
        ({"dtype": np.int32}, "dtype"),
        ({"isa": "sse9"}, "instruction set"),
        ({"n_threads": 0}, "n_threads"),
    ],
)
def test_wrong_arguments_are_refused_by_name(change, match):
    good = {"image": np.ones((5, 5)), "psf": np.ones((5, 5)), "jacobian": STRAIGHT}
    with pytest.raises(ValueError, match=match):
        metacal_images(**(good | change))


def test_the_function_is_public():
    assert shapempi.metacal_images is metacal_images
    assert "metacal_images" in dir(shapempi)


def test_shears_are_matrices_of_unit_determinant():
    for plus, minus in (("1p", "1m"), ("2p", "2m")):
        assert np.linalg.det(shear_matrix(plus, 0.01)) == pytest.approx(1.0, abs=1e-14)
        assert_allclose(shear_matrix(plus, 0.01) @ shear_matrix(minus, 0.01), np.eye(2), atol=1e-15)
    assert_array_equal(shear_matrix("noshear", 0.01), np.eye(2))
    assert_array_equal(shear_components(("2m", "1p"), 0.02), [[0, -0.02], [0.02, 0]])
    assert shear_components((), 0.02).shape == (0, 2)


def test_small_functions():
    assert_array_equal(sheared_weight(np.array([0.0, 3.0])), [0.0, 1.5])
    assert [fourier_period(size) for size in (1, 51, 63, 65, 97, 101)] == [128, 128, 128, 192, 256, 256]
    psf = np.stack([drawn(PSF, STRAIGHT), np.zeros((SIZE, SIZE))])
    sigma, max_k = find_targets(psf, np.stack([STRAIGHT, STRAIGHT]), 0.3, 0.01)
    assert_array_equal(sigma, [0.3, np.nan])
    assert_array_equal(np.isnan(max_k), [False, True])
