import numpy as np
import pytest
from measure.star_field import TruePsf, make_stars

from shapempi.measure.psf.degree import highest_degree
from shapempi.measure.psf.fit import fit_psf
from shapempi.measure.psf.params import NativePsfParams, PsfModelParams
from shapempi.measure.psf.stars import PsfStars

CHOOSE = NativePsfParams(choose_degree=True)


@pytest.fixture(scope="module")
def stars():
    return make_stars(TruePsf(3, 3.3), 3, 60, dirt=False, size=31)


def allowed(stars, degree, **params):
    prepared = PsfStars.prepare(stars, PsfModelParams(size=31))
    return highest_degree(prepared, np.ones(len(prepared), dtype=bool), degree, NativePsfParams(**params))


def test_the_number_of_stars_limits_the_degree(stars):
    assert [allowed(stars[:n], 4) for n in (5, 12, 24)] == [0, 1, 2]
    assert allowed(stars, 1) == 1
    assert allowed(stars, 2, stars_per_term=15.0) == 1


def test_the_places_of_stars_limit_the_degree(stars):
    assert allowed(stars, 2) == 2
    assert allowed(stars, 2, extrapolation=1e-3) == 0


@pytest.mark.parametrize(("variation", "degree"), [(0.0, 0), (1.0, 2)])
def test_the_degree_of_the_truth_is_found(variation, degree):
    found = []
    for seed in range(3):
        sample = make_stars(TruePsf(seed, 3.3, variation=variation), seed, 50, size=31)
        found.append(fit_psf(sample, PsfModelParams(size=31, degree=4), CHOOSE).model.degree)
    assert np.median(found) == degree


def test_the_choice_does_not_depend_on_the_order(stars):
    order = np.random.default_rng(1).permutation(len(stars))
    form = PsfModelParams(size=31, degree=3)
    one, other = fit_psf(stars, form, CHOOSE), fit_psf(stars[order], form, CHOOSE)
    assert one.model.degree == other.model.degree
    assert (one.model.coefficients == other.model.coefficients).all()
