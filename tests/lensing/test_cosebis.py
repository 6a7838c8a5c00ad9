import numpy as np
import pytest

from shapempi.lensing.cosebis import cosebi_filters, plus_polynomials

N_MODE = 8


def e_mode(theta, s=12.0):
    """Return xi+ and xi- of an E-mode field with a Gaussian xi+: xi- follows by the integral that binds the two."""
    x = theta**2 / (2 * s**2)
    fall = np.exp(-x)
    return fall, fall + 4 * s**2 / theta**2 * (1 - fall) - 24 * s**4 / theta**4 * (1 - fall * (1 + x))


@pytest.mark.parametrize("ratio", [5.0, 500.0])
def test_the_polynomials_are_what_their_definition_says(ratio):
    z, node = np.polynomial.legendre.leggauss(300)
    theta = np.exp(np.log(ratio) / 2 * (z - 1))
    measure = node * np.log(ratio) / 2 * theta
    modes = np.polynomial.legendre.legval(z, plus_polynomials(ratio, N_MODE).T)
    np.testing.assert_allclose((modes * measure) @ modes.T / (1 - 1 / ratio), np.eye(N_MODE), atol=1e-9)
    for power in (1, 3):
        size = np.abs(modes) @ (measure * theta**power)
        assert (np.abs(modes @ (measure * theta**power)) < 1e-10 * size).all()


def test_a_constant_is_no_mode():
    filters = cosebi_filters(np.geomspace(1, 100, 201), N_MODE)
    e, b = filters.modes(np.ones(200), np.zeros(200))
    assert (np.abs(e) < 1e-10 * np.abs(filters.plus).sum(axis=1)).all()
    np.testing.assert_array_equal(e, b)


def test_e_modes_give_e_and_b_modes_give_b_on_any_range():
    """Of a rotation by 45 degrees only the sign of xi- is changed."""
    for low, high in ((0.5, 100.0), (3.0, 30.0)):
        edges = np.geomspace(low, high, 201)
        filters = cosebi_filters(edges, 5)
        xip, xim = e_mode(np.sqrt(edges[:-1] * edges[1:]))
        e, b = filters.modes(xip, xim)
        assert (np.abs(b) < 2e-3 * np.abs(e).max()).all()
        turned_e, turned_b = filters.modes(xip, -xim)
        np.testing.assert_allclose(turned_b, e, rtol=1e-12)
        np.testing.assert_allclose(turned_e, b, rtol=1e-12)


def test_narrower_bins_come_nearer_to_no_b_mode():
    b = []
    for n in (50, 100, 200):
        edges = np.geomspace(1, 100, n + 1)
        b.append(np.abs(cosebi_filters(edges, 3).modes(*e_mode(np.sqrt(edges[:-1] * edges[1:])))[1]).max())
    assert b[1] < 0.3 * b[0]
    assert b[2] < 0.3 * b[1]


def test_the_covariance_is_that_of_noise():
    rng = np.random.default_rng(1)
    filters = cosebi_filters(np.geomspace(1, 100, 41), 3)
    var_xip, var_xim = rng.uniform(0.5, 2, (2, 40))
    noise = rng.normal(size=(2, 40, 20_000)) * np.sqrt([var_xip, var_xim])[:, :, None]
    expected = filters.covariance(var_xip, var_xim)
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    for found in filters.modes(*noise):
        np.testing.assert_allclose(np.cov(found) / scale, expected / scale, atol=0.04)  # four errors
