"""The linear map of a PSF fit against plain matrices, its transpose and its edges."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from shapempi.kernels import _psf, _psffit

SHAPES = [(51, 51, 49, 1.0), (13, 31, 21, 1.0), (53, 31, 25, 0.57), (63, 31, 31, 0.5)]


def interpolation_matrix(index, n):
    """Weights [len(index), n] of the sinc in a Kaiser window, divided by their sum over all taps."""
    tap = np.floor(index)[:, None] + np.arange(-5, 7)
    distance = index[:, None] - tap
    weight = np.sinc(distance) * np.i0(6.5 * np.sqrt(np.maximum(1 - (distance / 6) ** 2, 0)))
    weight /= weight.sum(axis=1, keepdims=True)
    matrix = np.zeros((len(index), n))
    for row, taps, weights in zip(matrix, tap.astype(int), weight, strict=True):
        inside = (taps >= 0) & (taps < n)
        row[taps[inside]] = weights[inside]
    return matrix


def problem(m, ny, nx, sampling, n=7):
    rng = np.random.default_rng([m, nx])
    dx, dy = rng.uniform(-0.7, 0.7, (2, n))
    dx[0] = dy[1] = 0.0
    terms, basis = rng.normal(size=(n, 3)), rng.normal(size=(3, m, m))
    index_y = [(np.arange(ny) - (ny - 1) / 2 - shift) / sampling + (m - 1) / 2 for shift in dy]
    index_x = [(np.arange(nx) - (nx - 1) / 2 - shift) / sampling + (m - 1) / 2 for shift in dx]
    rows = np.array([interpolation_matrix(index, m) for index in index_y])
    columns = np.array([interpolation_matrix(index, m) for index in index_x])
    taps = _psffit.taps(dy, ny, m, sampling), _psffit.taps(dx, nx, m, sampling)
    return basis, terms, rows, columns, taps, rng.uniform(size=(n, ny, nx)), (dx, dy)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_map_and_its_transpose_equal_their_twins(shape):
    basis, terms, rows, columns, taps, stamps, _ = problem(*shape)
    drawn = rows @ np.tensordot(terms, basis, 1) @ columns.transpose(0, 2, 1)
    assert_allclose(_psffit.draw(basis, terms, *taps), drawn, atol=1e-12)

    def transpose(images):
        return np.tensordot(terms.T, rows.transpose(0, 2, 1) @ images @ columns, 1)

    assert_allclose(_psffit.transpose(stamps, terms, *taps, *basis.shape[1:]), transpose(stamps), atol=1e-11)
    assert_allclose(_psffit.normal(basis, stamps, terms, *taps), transpose(stamps * drawn), atol=1e-11)


def test_stars_are_drawn_as_the_psf_is():
    basis, terms, _, _, taps, _, (dx, dy) = problem(53, 31, 31, 0.57)
    basis[0] += 1.0
    terms[:, 1:] *= 0.01
    drawn = _psffit.draw(basis, terms, *taps)
    models = np.ascontiguousarray(np.tensordot(terms, basis, 1))
    stamps = _psf.resample(models, 0.57, dx, dy, 31, interpolant="kaiser6")
    positive = drawn.sum(axis=(1, 2)) > 0
    assert positive.any()
    assert_allclose(stamps[positive], (drawn / drawn.sum(axis=(1, 2), keepdims=True))[positive], atol=1e-12)


def test_a_star_does_not_depend_on_the_others():
    basis, terms, _, _, (rows, columns), _, _ = problem(*SHAPES[0])
    drawn = _psffit.draw(basis, terms, rows, columns)
    for i in range(len(terms)):
        one = slice(i, i + 1)
        alone = _psffit.draw(basis, terms[one], (rows[0][one], rows[1][one]), (columns[0][one], columns[1][one]))
        assert (alone[0] == drawn[i]).all()


def test_offsets_that_lead_nowhere_have_no_weight():
    first, weight = _psffit.taps(np.array([np.nan, np.inf, 1e300, -80.0, 0.3]), 21, 21, 1.0)
    assert (weight[:4] == 0).all()
    assert (first >= 0).all()
    assert (first <= 21 - _psffit.N_TAP).all()
    assert_allclose(weight[4, 8:13].sum(axis=-1), 1.0)


def test_no_stars_draw_nothing():
    taps = _psffit.taps(np.empty(0), 15, 21, 1.0)
    basis, terms = np.ones((3, 21, 21)), np.empty((0, 3))
    assert _psffit.draw(basis, terms, taps, taps).shape == (0, 15, 15)
    assert (_psffit.transpose(np.empty((0, 15, 15)), terms, taps, taps, 21, 21) == 0).all()


def test_shapes_that_do_not_fit_are_refused():
    basis, terms, _, _, (rows, columns), stamps, _ = problem(*SHAPES[1])
    calls = [
        lambda: _psffit.taps(np.zeros(2), 11, 11, 1.0),
        lambda: _psffit.taps(np.zeros(2), 11, 21, 0.0),
        lambda: _psffit.draw(basis[0], terms, rows, columns),
        lambda: _psffit.draw(basis[:2], terms, rows, columns),
        lambda: _psffit.draw(basis, terms[:3].copy(), rows, columns),
        lambda: _psffit.draw(basis, terms, (rows[0] + 5, rows[1]), columns),
        lambda: _psffit.draw(basis, terms, (rows[0], rows[1][:, :, :8].copy()), columns),
        lambda: _psffit.transpose(stamps[:, 1:].copy(), terms, rows, columns, 13, 13),
        lambda: _psffit.normal(basis, stamps[1:].copy(), terms, rows, columns),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"\w"):
            call()
