from pathlib import Path

import galsim
import galsim.des
import numpy as np
import pytest
from astropy.io import fits

from shapempi.errors import DataError
from shapempi.psf import PsfModel

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


@pytest.mark.parametrize(("x", "y"), POSITIONS)
@pytest.mark.parametrize(("dx", "dy"), [(0.0, 0.0), (0.3, -0.45)])
def test_a_psfex_model_is_drawn_as_galsim_draws_it(decam, x, y, dx, dy):
    stamp = decam.draw(x, y, 33, dx=np.array([dx]), dy=np.array([dy]))[0]
    model = galsim.des.DES_PSFEx(str(PSFEX_FILE)).getPSFArray(galsim.PositionD(x + 1, y + 1))
    profile = galsim.InterpolatedImage(
        galsim.Image(model.astype(float)), scale=decam.sampling, x_interpolant=galsim.Lanczos(4), flux=1.0
    )
    other = profile.drawImage(nx=33, ny=33, scale=1.0, offset=(dx, dy), method="no_pixel", dtype=float).array
    assert np.abs(stamp - other / other.sum()).max() < 1e-5 * other.max()


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


def test_a_number_of_basis_images_that_fits_no_degree_is_refused(decam):
    with pytest.raises(DataError, match="degree 2 has 6"):
        PsfModel(decam.coefficients[:5], 2, (0.0, 0.0), (1.0, 1.0), 1.0, 0, 0.0, 0.0)
