import galsim
import numpy as np
import pytest

from shapempi.measure.psf.interpolation import PSF_SHAPE_DTYPE, interpolate
from shapempi.psf import PsfModel

SIGMA, G1, G2 = 2.1, 0.06, -0.04
#: 0.187 arcsec, u West along -x: the parity of MegaCam's first rows.
FLIPPED = np.array([-0.187, 0.0, 0.0, 0.187])
STRAIGHT = np.array([0.187, 0.0, 0.0, 0.187])


def gaussian(sigma=SIGMA, size=61):
    profile = galsim.Gaussian(sigma=sigma).shear(g1=G1, g2=G2)
    return profile.drawImage(nx=size, ny=size, scale=1.0, method="no_pixel", dtype=float).array


@pytest.fixture(scope="module")
def model():
    """A Gaussian whose size grows along x: the linear term is its change between x' = 0 and 1."""
    first = gaussian()
    return PsfModel(
        np.stack([first, gaussian(1.05 * SIGMA) - first, 0 * first]), 1, (1000.5, 2000.5), (1000.0, 2000.0), 1.0,
        50, 1.0, 4.9, "kaiser6",
    )  # fmt: skip


def test_shapes_at_the_origin_and_at_the_edge(model):
    # 0-based positions of x' = 0 and x' = 1
    stamps, table = interpolate(model, np.array([999.5, 1999.5]), np.full(2, 1999.5), 51)
    assert table.dtype == PSF_SHAPE_DTYPE
    assert stamps.shape == (2, 51, 51)
    np.testing.assert_allclose(stamps.sum(axis=(1, 2)), 1.0)
    np.testing.assert_allclose(table["SIGMA_PSF_HSM"], [SIGMA, 1.05 * SIGMA], rtol=1e-4)
    np.testing.assert_allclose(table["E1_PSF_HSM"], G1, atol=1e-4)
    np.testing.assert_allclose(table["E2_PSF_HSM"], G2, atol=1e-4)
    assert not table["FLAG_PSF_HSM"].any()
    assert np.isnan(table["T_psf"]).all()  # no Jacobian, no sky


def test_the_sky_frame(model):
    x, y = np.full(2, 999.5), np.full(2, 1999.5)
    _, table = interpolate(model, x, y, 51, jacobians=np.stack([STRAIGHT, FLIPPED]))
    g2 = G1**2 + G2**2
    np.testing.assert_allclose(table["g1_psf"], G1, atol=1e-4)
    np.testing.assert_allclose(table["g2_psf"], [G2, -G2], atol=1e-4)
    np.testing.assert_allclose(table["T_psf"], 2 * (0.187 * SIGMA) ** 2 * (1 + g2) / (1 - g2), rtol=1e-4)


def test_an_offset_moves_the_stamp_and_not_the_shape(model):
    x, y, offset = np.full(3, 999.5), np.full(3, 1999.5), np.array([-0.5, 0.0, 0.31])
    stamps, table = interpolate(model, x, y, 51, dx=offset, dy=-offset)
    grid = np.arange(51) - 25
    np.testing.assert_allclose(stamps.sum(axis=1) @ grid, offset, atol=3e-3)
    np.testing.assert_allclose(stamps.sum(axis=2) @ grid, -offset, atol=3e-3)
    np.testing.assert_allclose(table["SIGMA_PSF_HSM"], SIGMA, rtol=1e-4)


def test_an_object_does_not_depend_on_the_others(model):
    rng = np.random.default_rng(2)
    x, y = rng.uniform(0, 2000, 23), rng.uniform(0, 4000, 23)
    stamps, table = interpolate(model, x, y, 33, jacobians=np.tile(FLIPPED, (23, 1)))
    order = rng.permutation(23)[:7]
    some, of_some = interpolate(model, x[order], y[order], 33, jacobians=np.tile(FLIPPED, (7, 1)), n_threads=3)
    assert np.array_equal(some, stamps[order])
    assert of_some.tobytes() == table[order].tobytes()


def test_a_position_that_is_no_number_has_an_empty_stamp_and_a_flag(model):
    stamps, table = interpolate(model, np.array([5.0, np.nan]), np.array([5.0, 5.0]), 33)
    assert not stamps[1].any()
    assert table["FLAG_PSF_HSM"].tolist()[0] == 0
    assert table["FLAG_PSF_HSM"][1] != 0
    assert np.isnan(table["E1_PSF_HSM"][1])


def test_without_shapes_and_without_objects(model):
    stamps, table = interpolate(model, np.array([5.0]), np.array([5.0]), 33, shapes=False)
    assert stamps.shape == (1, 33, 33)
    assert len(table) == 0
    stamps, table = interpolate(model, np.empty(0), np.empty(0), 33, jacobians=np.empty((0, 4)))
    assert stamps.shape == (0, 33, 33)
    assert len(table) == 0
