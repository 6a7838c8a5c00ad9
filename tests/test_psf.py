from dataclasses import replace
from pathlib import Path

import galsim
import galsim.des
import numpy as np
import pytest
from astropy.io import fits

from shapempi.errors import DataError
from shapempi.kernels import _psf, _psffit
from shapempi.measure.psf.solve import StarForms, polynomial_terms
from shapempi.product import Product
from shapempi.psf import INTERPOLANTS, PsfModel

PSFEX_FILE = Path(__file__).parent / "data" / "psfex_decam_00154912_12.psf"


@pytest.fixture(scope="module")
def decam():
    """The model of one DECam CCD that PSFEx fitted."""
    with fits.open(PSFEX_FILE) as hdus:
        header, basis = hdus[1].header, hdus[1].data["PSF_MASK"][0]
    return PsfModel(
        coefficients=basis.astype(float),
        degree=header["POLDEG1"],
        zero=(header["POLZERO1"], header["POLZERO2"]),
        scale=(header["POLSCAL1"], header["POLSCAL2"]),
        sampling=header["PSF_SAMP"],
        n_star=header["ACCEPTED"],
        chi2=header["CHI2"],
        fwhm=header["PSF_FWHM"],
    )


POSITIONS = [(0.0, 0.0), (2047.0, 4095.0), (1023.5, 2047.5), (311.2, 3800.9)]


def test_the_evaluation_equals_the_referee_at_a_hundred_positions(decam):
    referee = galsim.des.DES_PSFEx(str(PSFEX_FILE))
    rng = np.random.default_rng(4)
    x, y = rng.uniform(0, 2047, 100), rng.uniform(0, 4095, 100)
    xn, yn = (x + 1 - decam.zero[0]) / decam.scale[0], (y + 1 - decam.zero[1]) / decam.scale[1]
    for model, x_i, y_i in zip(_psf.evaluate(decam.coefficients, 2, xn, yn), x, y, strict=True):
        expected = referee.getPSFArray(galsim.PositionD(x_i + 1, y_i + 1))
        assert np.abs(model - expected).max() < 1e-6 * expected.max()


@pytest.mark.parametrize("order", [3, 4, 5, 7])
@pytest.mark.parametrize(("x", "y"), POSITIONS)
@pytest.mark.parametrize(("dx", "dy"), [(0.0, 0.0), (0.3, -0.45)])
def test_a_psfex_model_is_drawn_as_galsim_draws_it(decam, order, x, y, dx, dy):
    model = replace(decam, interpolant=f"lanczos{order}")
    stamp = model.draw(x, y, 33, dx=np.array([dx]), dy=np.array([dy]))[0]
    array = galsim.des.DES_PSFEx(str(PSFEX_FILE)).getPSFArray(galsim.PositionD(x + 1, y + 1))
    profile = galsim.InterpolatedImage(
        galsim.Image(array.astype(float)), scale=decam.sampling, x_interpolant=galsim.Lanczos(order), flux=1.0
    )
    other = profile.drawImage(nx=33, ny=33, scale=1.0, offset=(dx, dy), method="no_pixel", dtype=float).array
    # GalSim's kernels are tables and its normalisation a series.
    assert np.abs(stamp - other / other.sum()).max() < 1e-5 * other.max()


@pytest.mark.parametrize(("x", "y"), POSITIONS)
@pytest.mark.parametrize(("dx", "dy"), [(0.0, 0.0), (0.3, -0.45)])
def test_with_lanczos3_a_psfex_model_is_what_des_psfex_draws(decam, x, y, dx, dy):
    stamp = replace(decam, interpolant="lanczos3").draw(x, y, 33, dx=np.array([dx]), dy=np.array([dy]))[0]
    profile = galsim.des.DES_PSFEx(str(PSFEX_FILE)).getPSF(galsim.PositionD(x + 1, y + 1))
    other = profile.drawImage(nx=33, ny=33, scale=1.0, offset=(dx, dy), method="no_pixel", dtype=float).array
    assert np.abs(stamp - other / other.sum()).max() < 1e-5 * other.max()


@pytest.mark.parametrize("sampling", [0.5, 0.8, 1.0, 1.2])
def test_kaiser6_is_the_interpolation_of_the_native_fit(decam, sampling):
    model = replace(decam, interpolant="kaiser6", sampling=sampling)
    x, y = np.array(POSITIONS).T
    dx, dy = np.random.default_rng(5).uniform(-0.7, 0.7, (2, len(x)))
    xn, yn = (x + 1 - decam.zero[0]) / decam.scale[0], (y + 1 - decam.zero[1]) / decam.scale[1]
    basis = np.ascontiguousarray(decam.coefficients, dtype=float)
    rows, columns = (_psffit.taps(d, 31, basis.shape[1], sampling) for d in (dy, dx))
    forms = StarForms(polynomial_terms(2, xn, yn), np.ones(len(x)), rows, columns, basis.shape[1])
    expected = forms.draw(basis)
    expected /= expected.sum(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(model.draw(x, y, 31, dx=dx, dy=dy), expected, rtol=0, atol=1e-13)


def test_a_psfex_model_has_the_shape_of_a_real_star(decam):
    # The star at (1195.64, 1276.63), 1-based, measured on the DECam image by GalSim's own test suite.
    stamp = decam.draw(1194.64074707, 1275.63427734, 33)[0]
    moments = galsim.hsm.FindAdaptiveMom(galsim.Image(np.ascontiguousarray(stamp)))
    assert moments.moments_sigma == pytest.approx(1.80668628, abs=0.02)
    assert moments.observed_shape.g1 == pytest.approx(0.0221043, abs=0.01)
    assert moments.observed_shape.g2 == pytest.approx(-0.1309252, abs=0.01)


def test_positions_are_0_based(decam):
    # At the polynomial's origin, which PSFEx writes 1-based, only the constant term is left.
    model = decam.coefficients[0]
    constant = PsfModel(model[None], 0, (0.0, 0.0), (1.0, 1.0), decam.sampling, 0, 0.0, 0.0)
    at_origin = decam.draw(decam.zero[0] - 1, decam.zero[1] - 1, 21)
    np.testing.assert_allclose(at_origin, constant.draw(17.0, 5.0, 21), rtol=0, atol=1e-15)


def test_one_position_and_many(decam):
    x, y = np.array(POSITIONS).T
    many = decam.draw(x, y, 51)
    assert many.shape == (4, 51, 51)
    assert np.array_equal(many[2:3], decam.draw(x[2], y[2], 51))
    assert np.array_equal(many, decam.draw(x, y, 51, n_threads=8))
    assert decam.draw(np.empty(0), np.empty(0), 51).shape == (0, 51, 51)


def test_a_model_survives_its_product(decam):
    back = PsfModel.from_product(decam.to_product())
    assert back.degree == 2
    assert (back.zero, back.scale, back.sampling) == (decam.zero, decam.scale, decam.sampling)
    assert (back.n_star, back.chi2, back.fwhm) == (decam.n_star, decam.chi2, decam.fwhm)
    assert np.array_equal(back.draw(500.0, 900.0, 51), decam.draw(500.0, 900.0, 51))
    for interpolant in INTERPOLANTS:
        model = replace(decam, interpolant=interpolant)
        assert PsfModel.from_product(model.to_product()).interpolant == interpolant


def test_a_product_that_names_no_interpolant_is_lanczos4(decam):
    product = replace(decam, interpolant="kaiser6").to_product()
    attrs = {name: value for name, value in product.attrs.items() if name != "psf_interpolant"}
    assert PsfModel.from_product(Product(product.arrays, attrs)).interpolant == "lanczos4"


def test_an_unknown_interpolant_is_refused(decam):
    with pytest.raises(DataError, match="interpolant 'linear'; there are lanczos3, "):
        replace(decam, interpolant="linear")


def test_a_position_that_is_no_number_gives_an_empty_stamp(decam):
    x, y = np.array([100.0, np.nan, 100.0, 3.0]), np.array([5.0, 5.0, np.inf, 5.0])
    stamps = decam.draw(x, y, 31)
    assert not stamps[1:3].any()
    np.testing.assert_allclose(stamps[[0, 3]].sum(axis=(1, 2)), 1.0)


def test_a_number_of_basis_images_that_fits_no_degree_is_refused(decam):
    with pytest.raises(DataError, match="degree 2 has 6"):
        PsfModel(decam.coefficients[:5], 2, (0.0, 0.0), (1.0, 1.0), 1.0, 0, 0.0, 0.0)
