"""Samples that are no samples of stars: a status and a reason, or a sane model; no exception, no warning."""

from dataclasses import replace

import galsim
import numpy as np
import pytest
from measure.star_field import NX, NY, TruePsf, make_stars

from shapempi.measure.moments import adaptive_moments
from shapempi.measure.psf.fit import fit_psf
from shapempi.measure.psf.outcome import PsfAcceptance, PsfStatus
from shapempi.measure.psf.params import NativePsfParams, PsfModelParams

N = 40
PSF = TruePsf(1)


@pytest.fixture(scope="module")
def stars():
    return make_stars(PSF, 1, N, snr=(100, 1000), dirt=False, size=41)


def fit(sample, native=None, **form):
    return fit_psf(sample, PsfModelParams(**{"size": 41, **form}), native or NativePsfParams())


def with_one(values, value):
    changed = np.array(values, dtype=float)
    changed[3] = value
    return changed


def assert_sane(result, tolerance=0.2):
    """The model has the right size everywhere on the CCD, its corners included."""
    x, y = (c.ravel() for c in np.meshgrid([0.0, NX / 2, NX - 1], [0.0, NY / 2, NY - 1]))
    true, drawn = adaptive_moments(PSF.draw(x, y, 0 * x, 0 * x)), adaptive_moments(result.model.draw(x, y, 41))
    assert (drawn["flag"] == 0).all()
    assert np.abs((drawn["sigma"] / true["sigma"]) ** 2 - 1).max() < tolerance
    assert np.hypot(drawn["g1"] - true["g1"], drawn["g2"] - true["g2"]).max() < tolerance


HOPELESS = {
    "constant": lambda s: replace(s, vignets=np.full_like(s.vignets, 5.0)),
    "NaN": lambda s: replace(s, vignets=np.full_like(s.vignets, np.nan)),
    "negative": lambda s: replace(s, vignets=-s.vignets),
    "zero weights": lambda s: replace(s, weights=np.zeros_like(s.weights)),
    "infinite weights": lambda s: replace(s, weights=np.full_like(s.weights, np.inf)),
    "NaN weights": lambda s: replace(s, weights=np.full_like(s.weights, np.nan)),
    "saturated and masked": lambda s: replace(s, weights=np.where(s.vignets > 100, 0, s.weights)),
    "NaN x": lambda s: replace(s, x=np.full(N, np.nan)),
    "NaN offsets": lambda s: replace(s, offset=np.full((N, 2), np.nan)),
    "offsets out of the stamps": lambda s: replace(s, offset=s.offset + 1e9),
    "hot pixels": lambda s: replace(s, vignets=np.where(np.indices((41, 41)).sum(axis=0) == 40, 1e4, s.vignets * 0)),
    "one pixel": lambda s: replace(s, vignets=s.vignets[:, 20:21, 20:21], weights=s.weights[:, 20:21, 20:21]),
    "no photons": lambda s: replace(s, gain=1e-300),
}


@pytest.mark.parametrize("name", HOPELESS)
@pytest.mark.parametrize("sampling", [0.0, 0.5])
def test_no_stars_are_a_reason(stars, name, sampling):
    result = fit(HOPELESS[name](stars), sampling=sampling)
    assert result.status in (PsfStatus.FIT_FAILED, PsfStatus.FEW_STARS)
    assert "star" in result.reason
    assert result.model is None
    assert len(result.used) == N


FORGIVEN = {
    "a NaN x": lambda s: replace(s, x=with_one(s.x, np.nan)),
    "a NaN offset": lambda s: replace(s, offset=with_one(s.offset, np.nan)),
    "an offset out of the stamp": lambda s: replace(s, offset=with_one(s.offset, 1e9)),
    "an infinite pixel": lambda s: replace(s, vignets=with_one(s.vignets, np.inf)),
    "a star 1e6 times brighter": lambda s: replace(s, vignets=with_one(s.vignets, 1e6 * s.vignets[3].astype(float))),
    "the largest number": lambda s: replace(s, vignets=with_one(s.vignets, 3e38)),
}


@pytest.mark.parametrize("name", FORGIVEN)
def test_one_bad_star_is_left_out(stars, name):
    result = fit(FORGIVEN[name](stars))
    assert result.reason == ""
    assert result.used.sum() >= N - 2
    assert_sane(result, 0.05)


@pytest.mark.parametrize("gain", [0.0, np.nan, np.inf, -1.0])
def test_a_gain_that_is_none_adds_no_noise(stars, gain):
    assert_sane(fit(replace(stars, gain=gain), acceptance=PsfAcceptance(max_chi2=10)), 0.05)


@pytest.mark.parametrize("n", [0, 1, 5, 19])
def test_few_stars_are_a_reason_or_a_model(stars, n):
    assert fit(stars[:n]).status is PsfStatus.FEW_STARS
    result = fit(stars[:n], acceptance=PsfAcceptance(min_stars=1, max_chi2=1e9))
    if n == 0:
        assert result.status is PsfStatus.FEW_STARS
    else:
        assert_sane(result)


PLACES = {
    "one place": lambda s: replace(s, x=np.full(N, 500.0), y=np.full(N, 700.0)),
    "a corner": lambda s: replace(s, x=0.1 * s.x, y=0.1 * s.y),
    "a line": lambda s: replace(s, x=np.full(N, 300.0)),
    "a sloping line": lambda s: replace(s, y=2 * s.x),
    "far out": lambda s: replace(s, x=s.x + 1e8),
}


@pytest.mark.parametrize("name", PLACES)
def test_stars_that_say_nothing_of_most_of_the_ccd_are_not_extrapolated(stars, name):
    result = fit(PLACES[name](stars))
    assert result.reason == ""
    assert result.model.degree < 2
    assert_sane(result)


def test_a_corner_of_the_truth_gives_a_sane_psf_in_the_other():
    sample = make_stars(PSF, 2, 200, snr=(100, 1000), dirt=False, size=41)
    corner = (sample.x < 0.3 * NX) & (sample.y < 0.5 * NY)
    result = fit(sample[corner])
    assert 20 < corner.sum() < 50
    assert result.model.degree < 2
    assert_sane(result, 0.25)


@pytest.mark.parametrize("sampling", [0.0, 0.5])
def test_identical_stars_are_one_star(stars, sampling):
    result = fit(stars[np.zeros(N, dtype=int)], sampling=sampling)
    assert result.model.degree == 0
    assert_sane(result)


def test_galaxies_alone_never_break_the_fit(stars):
    rng = np.random.default_rng(3)
    pixel = galsim.Pixel(1.0)
    images = [
        galsim.Convolve(
            galsim.Exponential(half_light_radius=rng.uniform(1, 6)).shear(g1=rng.normal(0, 0.2), g2=0),
            PSF.at(a, b),
            pixel,
        )
        .drawImage(nx=41, ny=41, scale=1.0, method="no_pixel", dtype=float)
        .array
        for a, b in zip(stars.x, stars.y, strict=True)
    ]
    galaxies = 3e4 * np.array(images) + rng.normal(0, 10, (N, 41, 41))
    result = fit(replace(stars, vignets=galaxies))
    assert result.status in (PsfStatus.ACCEPTED, PsfStatus.CHI2, PsfStatus.FEW_STARS)
    if result.model is not None:
        assert np.isfinite(result.model.coefficients).all()


@pytest.mark.parametrize("n", [3, 6, N])
def test_the_highest_degree_falls_back(stars, n):
    native = NativePsfParams(choose_degree=True)
    result = fit(stars[:n], native, degree=5, acceptance=PsfAcceptance(min_stars=1, max_chi2=1e9))
    if result.model is not None:
        assert_sane(result)
