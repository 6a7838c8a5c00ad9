import re
from dataclasses import replace

import numpy as np
import pytest
from measure.star_field import NX, NY, SKY, TruePsf, add_galaxies, draw_by_thirds, make_stars
from numpy.testing import assert_allclose
from pydantic import ValidationError

from shapempi.measure.moments import adaptive_moments
from shapempi.measure.psf.fit import fit_psf
from shapempi.measure.psf.outcome import PsfAcceptance, PsfStatus
from shapempi.measure.psf.params import NativePsfParams, PsfModelParams
from shapempi.measure.psf.sample import StarSample
from shapempi.psf import PsfModel


def fit(stars, **params):
    acceptance = PsfAcceptance(min_stars=params.pop("min_stars", 20))
    form = {name: params.pop(name) for name in ("size", "sampling", "degree") if name in params}
    return fit_psf(stars, PsfModelParams(acceptance=acceptance, **form), NativePsfParams(**params))


def grid(n=5):
    x, y = np.meshgrid(np.linspace(40, NX - 40, n), np.linspace(40, NY - 40, n))
    return x.ravel(), y.ravel()


def residuals(model, psf):
    """Return dT/T, de1, de2 and the distance of the model's centroid from the stamp's centre on a grid."""
    x, y = grid()
    true = adaptive_moments(psf.draw(x, y, 0 * x, 0 * x))
    drawn = adaptive_moments(model.draw(x, y, 51))
    dT = (drawn["sigma"] / true["sigma"]) ** 2 - 1
    return dT, 2 * (drawn["g1"] - true["g1"]), 2 * (drawn["g2"] - true["g2"]), np.hypot(drawn["x"], drawn["y"])


@pytest.fixture(scope="module")
def clean():
    """A PSF, 60 bright clean stars and their fit."""
    psf = TruePsf(1)
    stars = make_stars(psf, 1, 60, snr=(300, 1000), dirt=False, centre_error=0.0)
    return psf, stars, fit(stars)


@pytest.mark.parametrize(("fwhm", "moffat"), [(3.2, True), (4.5, False)])
def test_noiseless_stars_give_their_psf(fwhm, moffat):
    psf = TruePsf(3, fwhm, moffat)
    stars = make_stars(psf, 3, 60, snr=(500, 1000), noise=False, dirt=False, centre_error=0.0)
    result = fit(stars)
    dT, de1, de2, centre = residuals(result.model, psf)
    # What is left is the curvature of the pixels' values beyond a quadratic: it averages out.
    assert abs(dT.mean()) < 3e-4
    assert abs(de1.mean()) < 1e-4
    assert abs(de2.mean()) < 1e-4
    assert np.abs([dT, de1, de2]).max() < 3e-3
    assert centre.max() < 0.003
    true = psf.draw([NX / 2], [NY / 2], [0], [0])[0]
    drawn = result.model.draw(np.array([NX / 2]), np.array([NY / 2]), 51)[0]
    assert_allclose(drawn, true / true.sum(), atol=3e-3 * true.max())
    assert result.used.all()
    assert_allclose(result.flux, stars.flux * true.sum(), rtol=2e-3)


@pytest.mark.parametrize(("n", "beta", "fwhm"), [(25, 3.0, 3.2), (25, 3.5, 4.5), (100, 3.0, 4.5)])
def test_where_galaxies_take_it_the_psf_is_right(n, beta, fwhm):
    """Stars lie at all sub-pixel phases; the PSF of a galaxy is drawn on the centre of a pixel."""
    mean = []
    for seed in range(3 if n < 100 else 1):
        psf = TruePsf(20 + seed, fwhm, beta=beta)
        stars = make_stars(psf, seed, n, snr=(500, 1000), noise=False, dirt=False, centre_error=0.0)
        dT, de1, de2, _ = residuals(fit(stars).model, psf)
        mean.append([dT.mean(), de1.mean(), de2.mean()])
    dT, de1, de2 = np.mean(mean, axis=0)
    assert abs(dT) < 5e-4
    assert abs(de1) < 2e-4
    assert abs(de2) < 2e-4


def test_few_noisy_stars_give_the_psf_without_bias():
    mean = []
    for seed in range(10):
        psf = TruePsf(50 + seed, 3.8)
        result = fit(make_stars(psf, seed, 25, snr=(100, 1000), dirt=False))
        dT, de1, de2, _ = residuals(result.model, psf)
        mean.append([np.median(dT), np.median(de1), np.median(de2)])
    error = np.std(mean, axis=0) / np.sqrt(len(mean))
    assert (error < 1e-3).all()
    assert (np.abs(np.mean(mean, axis=0)) < 1e-3 + 2 * error).all()


def test_twenty_good_stars_are_enough():
    """With few stars the model is uncertain: that is no reason to leave the brightest stars out."""
    psfs = [TruePsf(600 + seed, 3.8) for seed in (8, 22, 36)]
    n_used = [
        fit(make_stars(psf, 1500 + seed, 20, dirt=False), min_stars=8).used.sum()
        for psf, seed in zip(psfs, (8, 22, 36), strict=True)
    ]
    assert min(n_used) >= 19


def test_realistic_stars_give_the_psf_within_the_requirements():
    mean, centre = [], []
    for seed, (fwhm, moffat) in enumerate([(3.3, True), (3.8, False), (4.2, True), (4.5, False)]):
        psf = TruePsf(seed, fwhm, moffat)
        result = fit(make_stars(psf, seed, 100))
        dT, de1, de2, distance = residuals(result.model, psf)
        assert np.abs(dT).max() < 0.02
        assert np.hypot(de1, de2).max() < 0.015
        assert not result.used[7]  # the blend
        assert result.used.sum() > 90
        assert 0.9 < result.model.chi2 < 1.15
        assert result.reason == ""
        mean.append([dT.mean(), de1.mean(), de2.mean()])
        centre.append(distance.max())
    # The noise of the mean of four CCDs is 3e-4.
    assert np.abs(np.mean(mean, axis=0)).max() < 1e-3
    assert max(centre) < 0.01


def test_undersampled_stars_give_the_psf():
    """1.5 pixels FWHM before the pixels' own response: only many stars at many phases tell what is between pixels."""
    mean = []
    for seed in range(3):
        psf = TruePsf(seed, 1.5)
        result = fit(make_stars(psf, seed, 80, size=31), size=31)
        assert result.model.sampling < 0.65
        assert result.status is PsfStatus.ACCEPTED
        assert result.used.sum() > 72
        x, y = grid(3)
        true, drawn = (adaptive_moments(stamps) for stamps in draw_by_thirds(psf, result.model, x, y))
        dT = (drawn["sigma"] / true["sigma"]) ** 2 - 1
        mean.append([dT.mean(), *(2 * (drawn[name] - true[name]).mean() for name in ("g1", "g2"))])
    # The noise of the mean of three CCDs is 1e-3.
    assert np.abs(np.mean(mean, axis=0)).max() < 3e-3


@pytest.mark.parametrize(("fwhm", "limit"), [(1.5, 6e-4), (2.0, 4e-4)])
def test_undersampled_stars_without_noise_give_the_psf(fwhm, limit):
    psf = TruePsf(4, fwhm)
    result = fit(make_stars(psf, 4, 80, snr=(500, 1000), noise=False, dirt=False, centre_error=0.0, size=31), size=31)
    x, y = grid(3)
    true, drawn = (adaptive_moments(stamps) for stamps in draw_by_thirds(psf, result.model, x, y))
    assert abs(np.mean((drawn["sigma"] / true["sigma"]) ** 2 - 1)) < limit
    for name in ("g1", "g2"):
        assert abs(np.mean(drawn[name] - true[name])) < limit / 2


def test_the_step_of_the_grid_is_chosen_by_the_size_of_the_stars():
    form = PsfModelParams(size=51)
    steps = [form.step(fwhm) for fwhm in (0.5, 1.9, 2.5, 3.3, 6.0)]
    assert steps == pytest.approx([0.3, 0.55, 0.75, 1.0, 1.0])
    assert [form.grid_size(step) for step in (1.0, 0.5, 0.55)] == [51, 101, 93]
    assert PsfModelParams(sampling=0.7).step(6.0) == 0.7
    for sampling in (0.1, -1.0, 1.5):
        with pytest.raises(ValidationError, match="sampling"):
            PsfModelParams(sampling=sampling)


def test_oversampled_stars_give_the_psf_at_any_offset():
    mean = []
    for seed in range(2):
        psf = TruePsf(seed, 6.0)
        model = fit(make_stars(psf, seed, 60)).model
        assert model.sampling == 1.0
        x, y = grid(4)
        dx, dy = np.random.default_rng(seed).uniform(-0.5, 0.5, (2, len(x)))
        true, drawn = (adaptive_moments(s) for s in (psf.draw(x, y, dx, dy), model.draw(x, y, 51, dx=dx, dy=dy)))
        dT = (drawn["sigma"] / true["sigma"]) ** 2 - 1
        mean.append([dT.mean(), *(2 * (drawn[name] - true[name]).mean() for name in ("g1", "g2"))])
    # The noise of the mean of two CCDs is 1e-3.
    assert np.abs(np.mean(mean, axis=0)).max() < 3e-3


@pytest.mark.parametrize("fwhm", [1.8, 3.5])
def test_galaxies_are_left_out(fwhm):
    psf = TruePsf(8, fwhm)
    stars, galaxies = add_galaxies(psf, make_stars(psf, 8, 60, size=41), 8, 6)
    result = fit(stars, size=41)
    assert not result.used[galaxies].any()
    assert result.used[~galaxies].sum() > 50


def test_the_model_describes_itself(clean):
    psf, stars, result = clean
    model = result.model
    assert (model.degree, model.sampling, model.n_star) == (2, 1.0, result.used.sum())
    assert model.coefficients.shape == (6, 51, 51)
    assert_allclose(model.coefficients.sum(axis=(1, 2)), [1, 0, 0, 0, 0, 0], atol=1e-10)
    # The seeing and the pixel, in quadrature for FWHMs near enough.
    assert model.fwhm == pytest.approx(psf.fwhm + 0.1, abs=0.1)
    assert_allclose(result.chi2[result.used].mean(), 1.0, atol=0.15)
    assert_allclose(result.flux, stars.flux, rtol=0.02)
    again = PsfModel.from_product(model.to_product())
    x, y = grid(2)
    assert_allclose(again.draw(x, y, 51), model.draw(x, y, 51), atol=1e-8)


def test_far_from_the_centre_the_model_is_not_noise(clean):
    psf, stars, result = clean
    x, y = grid(3)
    drawn = result.model.draw(x, y, 51)
    true = psf.draw(x, y, 0 * x, 0 * x)
    yy, xx = np.mgrid[-25:26, -25:26]
    ring = (np.hypot(xx, yy) > 12) & (np.hypot(xx, yy) < 20)
    # The noise of the stars' mean: the prior is what keeps the model below it.
    noise = SKY / np.sqrt(np.sum(stars.flux**2))
    assert np.std((drawn - true)[:, ring]) < min(0.5 * true[:, ring].mean(), 0.25 * noise)
    assert drawn[:, ring].mean() == pytest.approx(true[:, ring].mean(), rel=0.2)


def test_the_order_of_the_stars_does_not_matter(clean):
    _, stars, result = clean
    order = np.random.default_rng(4).permutation(len(stars.x))
    other = fit(stars[order])
    assert (other.model.coefficients == result.model.coefficients).all()
    assert other.model.chi2 == result.model.chi2
    for name in ("used", "chi2", "flux", "shift"):
        assert (getattr(other, name) == getattr(result, name)[order]).all()


def test_a_wrong_convention_of_the_centres_is_taken_up():
    psf = TruePsf(5)
    stars = make_stars(psf, 5, 40, snr=(300, 1000), dirt=False, centre_error=0.0)
    moved = replace(stars, offset=stars.offset + np.array([0.2, -0.1]))
    result = fit(moved)
    dT, _, _, centre = residuals(result.model, psf)
    assert centre.max() < 0.01
    assert_allclose(result.shift.mean(axis=0), [-0.2, 0.1], atol=0.01)
    assert abs(dT.mean()) < 3e-3


def test_recentring_finds_the_centres():
    psf = TruePsf(6)
    stars = make_stars(psf, 6, 40, snr=(300, 1000), dirt=False, centre_error=0.0)
    error = np.random.default_rng(6).normal(0, 0.05, stars.offset.shape)
    moved = replace(stars, offset=stars.offset + error)
    result = fit(moved, recenter=True, centre_error=0.05)
    assert np.std(result.shift + error) < 0.015
    assert np.std(fit(moved, recenter=False).shift + error) > 0.04


def test_a_grid_finer_than_the_pixels():
    psf = TruePsf(7, 3.3)
    stars = make_stars(psf, 7, 40, snr=(300, 1000), dirt=False, centre_error=0.0, size=31)
    result = fit(stars, sampling=0.5, size=63)
    x, y = grid(3)
    true = adaptive_moments(psf.draw(x, y, 0 * x, 0 * x, 31))
    drawn = adaptive_moments(result.model.draw(x, y, 31))
    assert abs(np.mean((drawn["sigma"] / true["sigma"]) ** 2 - 1)) < 3e-3
    assert_allclose(drawn["g1"], true["g1"], atol=4e-3)
    assert_allclose(result.flux, stars.flux, rtol=0.02)


def test_vignets_larger_than_the_model_are_cropped(clean):
    _, stars, _ = clean
    small = stars[:25]
    cut = replace(small, vignets=small.vignets[:, 5:-5, 5:-5], weights=small.weights[:, 5:-5, 5:-5])
    assert (fit(small, size=41).model.coefficients == fit(cut, size=41).model.coefficients).all()


@pytest.mark.parametrize(("n", "degree"), [(4, 0), (9, 1), (20, 2)])
def test_few_stars_lower_the_degree(clean, n, degree):
    psf, stars, _ = clean
    result = fit(stars[:n], min_stars=3)
    assert result.model.degree == degree
    x, y = grid(2)
    drawn = adaptive_moments(result.model.draw(x, y, 51))
    assert (drawn["flag"] == 0).all()
    assert_allclose(drawn["sigma"] * 2.355, psf.fwhm, rtol=0.2)


def refused(stars):
    """The status and the reason of a fit that has no model."""
    result = fit(stars)
    assert result.model is None
    assert not result.used.any()
    assert len(result.chi2) == len(stars)
    return result.status, result.reason


def test_too_few_stars_are_a_status_with_numbers(clean):
    _, stars, _ = clean
    status, reason = refused(stars[:19])
    assert status is PsfStatus.FEW_STARS
    assert re.search(r"19 stars.*min_stars = 20", reason)
    dead = replace(stars, weights=np.where(np.arange(60)[:, None, None] < 45, 0, stars.weights))
    status, reason = refused(dead)
    assert status is PsfStatus.FEW_STARS
    assert re.search(r"1[0-5] of 60 stars left after rejection.*min_stars = 20", reason)
    assert refused(stars[:0])[0] is PsfStatus.FEW_STARS


def blank(vignets, weight):
    n = len(vignets)
    place = np.arange(n) * 50.0
    return StarSample(
        vignets, np.full(vignets.shape, weight), place, 2 * place, np.zeros((n, 2)), np.ones(n), np.ones(n), (NY, NX)
    )


@pytest.mark.parametrize("value", [0.0, np.nan, -1e30])
def test_stars_without_light_are_a_status(value):
    status, reason = refused(blank(np.full((25, 51, 51), value), 1.0))
    assert status in (PsfStatus.FIT_FAILED, PsfStatus.FEW_STARS)
    assert "stars" in reason


def test_noise_instead_of_stars_is_a_status():
    status, reason = refused(blank(np.random.default_rng(8).normal(0, 10, (25, 51, 51)), 0.01))
    assert status in (PsfStatus.FIT_FAILED, PsfStatus.FEW_STARS)
    assert "star" in reason


def test_acceptance_names_its_reason():
    acceptance = PsfAcceptance()
    assert acceptance.judge(20, 2.0) == (PsfStatus.ACCEPTED, "")
    status, reason = acceptance.judge(19, 1.0)
    assert (status, "19 stars" in reason) == (PsfStatus.FEW_STARS, True)
    for chi2, text in ((2.1, "chi2 = 2.1"), (np.nan, "chi2 = nan")):
        status, reason = acceptance.judge(50, chi2)
        assert (status, text in reason) == (PsfStatus.CHI2, True)


def test_a_bad_chi2_refuses_the_model(clean):
    _, stars, _ = clean
    result = fit(replace(stars, weights=stars.weights * 9))
    assert result.model.chi2 > 2
    assert result.status is PsfStatus.CHI2
    assert "max_chi2" in result.reason


def test_an_even_size_is_refused():
    with pytest.raises(ValidationError, match="odd"):
        PsfModelParams(size=50)
