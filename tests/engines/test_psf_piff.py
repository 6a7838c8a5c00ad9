"""Piff, the package: it must be installed where these tests run (the extra `test` has it)."""

import sys
import types

import numpy as np
import pytest
from measure.star_field import NX, NY, TruePsf, make_stars

from shapempi.engines.measured_stars import MeasuredStars
from shapempi.engines.psf import make_engine
from shapempi.engines.psf_params import PsfParams
from shapempi.engines.psf_piff import PiffPsf, load_piff
from shapempi.errors import EngineError
from shapempi.measure.psf.outcome import PsfStatus


def params(*, degree=2, size=31, sampling=1.0, **piff):
    settings = {"extent": 15.0, "max_iterations": 10, **piff}
    return PsfParams(engine="piff", size=size, sampling=sampling, degree=degree, piff=settings)


@pytest.fixture(scope="module")
def stars():
    return make_stars(TruePsf(2), 2, 30, snr=(200, 400), dirt=False, size=31)


def test_without_piff_the_cure_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "piff", None)
    with pytest.raises(EngineError, match=r"Piff cannot be imported .*pip install 'shapempi\[piff\]'"):
        make_engine(params())


def test_an_old_piff_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "piff", types.SimpleNamespace(__version__="1.4.2"))
    with pytest.raises(EngineError, match=r"needs 1.5 or newer, found 1.4.2: pip install"):
        load_piff()


@pytest.mark.parametrize("degree", [0, 1, 3])
def test_the_evaluated_form_draws_what_piff_draws(stars, degree, monkeypatch):
    engine = PiffPsf(params(degree=degree))
    fits = []
    original = PiffPsf._fit
    monkeypatch.setattr(PiffPsf, "_fit", lambda self, *arguments: fits.append(original(self, *arguments)) or fits[-1])
    model = engine.fit(stars).model
    assert model.degree == degree
    piff, (psf,) = load_piff(), fits
    for x, y, dx, dy in ((100.0, 200.0, 0.0, 0.0), (1900.0, 4000.0, 0.3, -0.45), (1000.25, 2222.5, 0.5, 0.5)):
        properties = {
            name: (c + 1 - zero) / scale
            for name, c, zero, scale in zip(("x_normal", "y_normal"), (x, y), model.zero, model.scale, strict=True)
        }
        target = piff.Star.makeTarget(x=dx, y=dy, properties=properties, scale=1.0, stamp_size=21)
        target.image.setCenter(0, 0)
        theirs = psf.drawStar(psf.interpolateStar(target)).image.array
        ours = model.draw(np.array([x]), np.array([y]), 21, dx=np.array([dx]), dy=np.array([dy]))[0]
        assert np.abs(ours - theirs / theirs.sum()).max() < 2e-4 * ours.max()


def test_a_failure_of_piff_is_a_status(stars, monkeypatch):
    def fail(self, *arguments):
        raise RuntimeError("No stars left to fit.\nmore")

    monkeypatch.setattr(PiffPsf, "_fit", fail)
    fit = make_engine(params()).fit(stars)
    assert (fit.model, fit.status) == (None, PsfStatus.FIT_FAILED)
    assert fit.reason == "Piff could not fit 30 stars: No stars left to fit."


def test_a_bug_is_not_hidden(stars, monkeypatch):
    def fail(self, *arguments):
        raise KeyError("a bug")

    monkeypatch.setattr(PiffPsf, "_fit", fail)
    with pytest.raises(KeyError):
        make_engine(params()).fit(stars)


def test_piff_says_nothing(stars, capfd):
    make_engine(params()).fit(stars)
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


def test_the_grid_is_the_smaller_of_both(stars):
    assert make_engine(params(degree=0, extent=15.0)).fit(stars).model.coefficients.shape == (1, 15, 15)
    assert make_engine(params(degree=0, extent=99.0, size=17)).fit(stars).model.coefficients.shape == (1, 17, 17)
    fit = make_engine(params(degree=0, extent=15.0, sampling=0.5)).fit(stars)
    assert (fit.model.coefficients.shape, fit.model.sampling) == ((1, 31, 31), 0.5)


def test_given_centres_can_be_trusted(stars):
    fit = make_engine(params(recenter=False)).fit(stars)
    assert fit.status is PsfStatus.ACCEPTED
    assert not fit.shift.any()
    moved = make_engine(params(recenter=True)).fit(stars)
    assert 0 < np.abs(moved.shift).max() < 0.2


@pytest.mark.parametrize("even", [False, True])
def test_stars_keep_their_places_in_their_stamps(stars, even):
    psf = TruePsf(4, variation=0.0)
    sample = make_stars(psf, 3, 25, noise=False, dirt=False, centre_error=0.0, size=31)
    if even:  # without the first row and column the middle is half a pixel further
        sample = type(sample)(
            sample.vignets[:, 1:, 1:], sample.weights[:, 1:, 1:], sample.x, sample.y, sample.offset - 0.5,
            sample.flux, sample.flux_err, (NY, NX), sample.gain,
        )  # fmt: skip
    fit = make_engine(params(degree=0, recenter=False, extent=19.0)).fit(sample)
    truth = psf.draw([0.0], [0.0], [0.0], [0.0], 15)[0]
    ours = fit.model.draw(np.zeros(1), np.zeros(1), 15)[0]
    assert np.abs(ours - truth / truth.sum()).max() < 3e-3 * ours.max()


def test_measured_stars_are_ordered_and_come_back(stars):
    order = np.random.default_rng(1).permutation(len(stars))
    measured = MeasuredStars.of(stars[order])
    assert np.all(np.diff(measured.sample.y[np.argsort(measured.rows)]) != 0)
    assert np.all(np.diff(measured.sample.x) >= 0)
    back = measured.spread(measured.sample.x, np.nan)
    assert np.array_equal(back, stars.x[order])
