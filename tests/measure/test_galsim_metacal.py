from pathlib import Path

import galsim
import h5py
import numpy as np
import pytest
from measure.galaxies import SHEARED, SIZE, STRAIGHT, UPSIDE_DOWN, draw_epoch

from shapempi.catalog import SHEAR_TYPES
from shapempi.measure.fit import FitParams
from shapempi.measure.galsim_metacal import azimuthal_sigma, gauss_sigma, metacal_images
from shapempi.measure.gaussfit import fit_by_scipy, pixel_list
from shapempi.measure.metacal import MetacalParams, shear_matrix, sheared_weight

REFERENCE = Path(__file__).parents[1] / "data" / "metacal_ngmix.h5"


def stamps(group, epoch):
    return (group[name][epoch].astype(float) for name in ("image", "noise", "psf", "jacobian"))


def reference_epochs():
    with h5py.File(REFERENCE) as file:
        return [(name, epoch) for name, group in file.items() for epoch in range(len(group["image"]))]


@pytest.mark.parametrize(("name", "epoch"), reference_epochs())
def test_images_are_those_of_ngmix(name, epoch):
    with h5py.File(REFERENCE) as file:
        group = file[name]
        result = metacal_images(*stamps(group, epoch), MetacalParams(target_psf="gauss"))
        assert result.sigma == pytest.approx(group["gauss/target_sigma"][epoch], rel=1e-12)
        stored = [kind for kind in SHEAR_TYPES if kind in group["gauss"]]
        assert "noshear" in stored
        for kind in stored:
            expected = group["gauss"][kind][epoch]
            # The reference is stored in single precision.
            np.testing.assert_allclose(result.image[kind], expected, rtol=0, atol=1e-6 * expected.max())


@pytest.mark.parametrize(("name", "epoch"), reference_epochs())
def test_azimuthal_target_is_that_of_ngmix(name, epoch):
    with h5py.File(REFERENCE) as file:
        group = file[name]
        result = metacal_images(*stamps(group, epoch), MetacalParams(target_psf="azgauss"))
        assert result.sigma == pytest.approx(group["azgauss/target_sigma"][epoch], rel=1e-12)


@pytest.mark.parametrize("target", ["gauss", "azgauss"])
@pytest.mark.parametrize("name", ["object_005", "object_010"])
def test_fits_are_those_of_ngmix(name, target):
    with h5py.File(REFERENCE) as file:
        group = file[name]
        params = MetacalParams(target_psf=target)
        epochs = [(metacal_images(*stamps(group, e), params), group["jacobian"][e]) for e in range(len(group["image"]))]
        weight = sheared_weight(np.full((SIZE, SIZE), group.attrs["sigma_noise"] ** -2))
        start = np.array([0.0, 0.0, 0.0, 0.0, 0.3, 100.0])
        for kind in SHEAR_TYPES:
            pixels = [pixel_list(e.image[kind], weight, jacobian, sigma=e.sigma) for e, jacobian in epochs]
            fit = fit_by_scipy(pixels, start, FitParams())
            expected = group[target][f"fit_{kind}"]
            errors = expected.attrs["pars_err"]
            assert fit.flags == 0
            assert np.max(np.abs(fit.parameters - expected[:]) / errors) < 1e-3
            np.testing.assert_allclose(fit.errors, errors, rtol=2e-3)
            assert fit.s2n == pytest.approx(expected.attrs["s2n"], rel=1e-5)


# With an exactly diagonal Jacobian GalSim does not cut the target at 1e-5.
NOT_QUITE_DIAGONAL = np.array([0.0, 1e-9, 0.0, 0.0])


@pytest.mark.parametrize("jacobian", [STRAIGHT + NOT_QUITE_DIAGONAL, UPSIDE_DOWN + NOT_QUITE_DIAGONAL, SHEARED])
def test_images_equal_galsims_own_drawing(jacobian):
    psf = galsim.Moffat(beta=3.0, fwhm=0.7).shear(g1=0.05, g2=-0.02)
    image, psf_stamp = draw_epoch(galsim.Exponential(half_light_radius=0.4, flux=100.0), psf, jacobian)
    noise = np.random.default_rng(1).normal(0.0, 0.02, image.shape)
    result = metacal_images(image, noise, psf_stamp, jacobian, MetacalParams(step=0.02))
    wcs = galsim.JacobianWCS(*jacobian)

    def through(stamp, g1):
        profile, psf_profile = (
            galsim.InterpolatedImage(galsim.Image(a, wcs=wcs), x_interpolant="lanczos15") for a in (stamp, psf_stamp)
        )
        bare = galsim.Convolve(profile, galsim.Deconvolve(psf_profile)).shear(g1=g1)
        drawn = galsim.Convolve(bare, galsim.Gaussian(sigma=result.sigma))
        return drawn.drawImage(nx=SIZE, ny=SIZE, wcs=wcs, method="no_pixel", dtype=float).array

    for kind, g1 in (("noshear", 0.0), ("1m", -0.02)):
        expected = through(image, g1) + np.rot90(through(np.ascontiguousarray(np.rot90(noise)), g1), 3)
        np.testing.assert_allclose(result.image[kind], expected, rtol=0, atol=4e-7 * expected.max())


@pytest.mark.parametrize("jacobian", [STRAIGHT, UPSIDE_DOWN, SHEARED])
@pytest.mark.parametrize(("kind", "g"), [("noshear", (0, 0)), ("1p", (0.01, 0)), ("2m", (0, -0.01))])
def test_a_noiseless_galaxy_becomes_the_sheared_galaxy(jacobian, kind, g):
    psf = galsim.Gaussian(fwhm=0.7).shear(g1=0.04, g2=0.03)
    galaxy = galsim.Gaussian(sigma=0.4, flux=100.0).shear(g1=0.2, g2=-0.1)
    image, psf_stamp = draw_epoch(galaxy, psf, jacobian)
    result = metacal_images(image, np.zeros_like(image), psf_stamp, jacobian, MetacalParams())
    expected = galsim.Convolve(galaxy.shear(g1=g[0], g2=g[1]), galsim.Gaussian(sigma=result.sigma)).drawImage(
        nx=SIZE, ny=SIZE, wcs=galsim.JacobianWCS(*jacobian), method="no_pixel", dtype=float
    )
    np.testing.assert_allclose(result.image[kind], expected.array, rtol=0, atol=2e-5 * expected.array.max())


def test_target_sizes_of_a_gaussian_psf():
    sigma = 0.3
    stamp = galsim.Gaussian(sigma=sigma).drawImage(
        nx=SIZE, ny=SIZE, wcs=galsim.JacobianWCS(*STRAIGHT), method="no_pixel", dtype=float
    )
    psf = galsim.InterpolatedImage(stamp, x_interpolant="lanczos15")
    # Half a step of the lattice in k is 2 %.
    assert gauss_sigma(psf) == pytest.approx(sigma * np.sqrt(np.log(0.003) / np.log(0.01)), rel=0.03)
    assert azimuthal_sigma(psf) == pytest.approx(sigma * np.sqrt(np.log(0.009) / np.log(0.03)), rel=0.01)


def test_a_given_target_is_taken_as_it_is():
    image, psf = draw_epoch(galsim.Gaussian(sigma=0.4), galsim.Gaussian(fwhm=0.7), STRAIGHT)
    params = MetacalParams(target_sigma=0.35, step=0.02)
    assert metacal_images(image, np.zeros_like(image), psf, STRAIGHT, params).sigma == 0.35


def test_a_larger_stamp_gives_the_same_centre():
    psf = galsim.Moffat(beta=3.0, fwhm=0.7)
    wcs = galsim.JacobianWCS(*STRAIGHT)
    centres = []
    for size in (51, 95):
        image, stamp = (
            p.drawImage(nx=size, ny=size, wcs=wcs, dtype=float).array
            for p in (galsim.Convolve(galsim.Gaussian(sigma=0.4), psf), psf)
        )
        params = MetacalParams(target_sigma=0.36)
        images = metacal_images(image, np.zeros_like(image), stamp / stamp.sum(), STRAIGHT, params).image
        inner = slice(size // 2 - 10, size // 2 + 11)
        centres.append(images["1p"][inner, inner])
    np.testing.assert_allclose(centres[0], centres[1], rtol=0, atol=5e-3 * centres[0].max())


def test_shear_matrices_have_unit_determinant_and_opposite_types_are_inverse():
    for plus, minus in (("1p", "1m"), ("2p", "2m")):
        assert np.linalg.det(shear_matrix(plus, 0.01)) == pytest.approx(1.0, abs=1e-14)
        np.testing.assert_allclose(shear_matrix(plus, 0.01) @ shear_matrix(minus, 0.01), np.eye(2), atol=1e-15)


def test_a_psf_without_size_gives_no_images():
    image = np.ones((SIZE, SIZE))
    spike = np.zeros_like(image)
    spike[25, 25] = 1.0
    assert metacal_images(image, image, np.zeros_like(image), STRAIGHT, MetacalParams()) is None
    result = metacal_images(image, image, spike, STRAIGHT, MetacalParams())
    assert result is None or np.isfinite(result.sigma)


@pytest.mark.parametrize("shape", [(50, 50), (51, 49)])
def test_stamps_must_be_odd_squares(shape):
    stamp = np.ones(shape)
    with pytest.raises(ValueError, match="odd side"):
        metacal_images(stamp, stamp, stamp, STRAIGHT, MetacalParams())
