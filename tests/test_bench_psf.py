"""The benchmark of PSF models runs and says what it measured; nothing here judges how fast anything is."""

import json
import subprocess
import sys
from functools import partial

import galsim
import numpy as np
import pytest

from shapempi.bench import psf as bench
from shapempi.bench.clock import take_turns
from shapempi.bench.memory import memory_of
from shapempi.bench.star_sample import SHAPE, TruePsf, simulate_stars
from shapempi.measure.moments import adaptive_moments
from shapempi.measure.psf.outcome import PsfFit, PsfStatus
from shapempi.psf import INTERPOLANTS


def test_the_stars_are_where_the_sample_says_and_as_bright():
    sample, _ = simulate_stars(30, 51, np.random.default_rng(3))
    assert sample.vignets.shape == (30, 51, 51)
    assert sample.shape == SHAPE
    assert sample.usable().all()
    moments = adaptive_moments(sample.vignets)
    assert not moments["flag"].any()
    apart = np.hypot(moments["x"] - sample.offset[:, 0], moments["y"] - sample.offset[:, 1])
    assert np.median(apart) < 0.06  # the centres' own error is 0.02, the rest is noise
    centre = np.stack([sample.x, sample.y], axis=-1) - sample.offset  # of the vignets: whole pixels
    np.testing.assert_allclose(centre, np.rint(centre), atol=1e-9)
    s2n = sample.flux / sample.flux_err
    assert 50 <= s2n.min() < s2n.max() <= 1000
    again, _ = simulate_stars(30, 51, np.random.default_rng(3))
    assert np.array_equal(again.vignets, sample.vignets)


def test_the_true_psf_is_what_its_coefficients_say():
    flat, size = np.zeros(6), np.array([1.0, 0.1, 0.0, 0.0, 0.0, 0.0])
    psf = TruePsf(size, flat, np.array([0.0, 0.0, 0.0, 0.05, 0.0, 0.0]))
    x, y = np.array([0.0, SHAPE[1]]), np.array([SHAPE[0] / 2.0, SHAPE[0]])
    drawn = adaptive_moments(psf.draw(x, y, np.array([[0.2, -0.3], [0.0, 0.0]]), 51))
    np.testing.assert_allclose(drawn["g2"], [0.0, 0.05], atol=3e-3)
    np.testing.assert_allclose(drawn["sigma"][1] / drawn["sigma"][0], 1.1 / 0.9, rtol=0.02)
    np.testing.assert_allclose([drawn["x"][0], drawn["y"][0]], [0.2, -0.3], atol=1e-4)
    whole = galsim.Moffat(3.5, fwhm=3.7 * 0.9).drawImage(nx=51, ny=51, scale=1.0, dtype=float).array
    np.testing.assert_allclose(psf.draw(x[:1], y[:1], np.zeros((1, 2)), 51)[0], whole, atol=1e-6)


def test_turns_by_another_clock():
    ticks = iter(range(100))
    assert take_turns({"a": lambda: None}, 3, clock=lambda: next(ticks) ** 2)["a"].median == 5.0


def test_the_memory_of_work_and_of_programs():
    # What prepares the work must be known to the new process: partial makes work of a function and its arguments.
    ours = memory_of(partial, np.ones, 10_000_000)
    if np.isnan(ours.total):
        pytest.fail("the memory of a process is not known on this system: say so here if that is right")
    assert 70 < ours.process < 120
    assert ours.programs == 0
    code = "import time; b = bytearray(80_000_000); b[::4096] = b'x' * len(b[::4096]); time.sleep(0.1)"
    theirs = memory_of(partial, subprocess.run, [sys.executable, "-c", code])
    assert theirs.process < 20
    assert 80 < theirs.programs < 150
    assert theirs.total == theirs.process + theirs.programs
    with pytest.raises(TypeError):
        memory_of(partial, np.ones, "many")


def test_bench_psf_with_the_native_fit():
    said = []
    result = bench.bench_psf(n_stamp=20, n_star=40, n_repeat=1, n_slow=1, engines=("native",), report=said.append)
    assert set(result.drawing) == {*INTERPOLANTS, "lanczos4, not shifted", "galsim.des.DES_PSFEx, lanczos3"}
    assert all(spread.median > 0 for spread in result.drawing.values())
    fit = result.fits["native"]
    assert fit.status == "accepted"
    assert 20 <= fit.n_used <= 40
    assert abs(fit.size_error) < 0.02
    assert fit.shape_error < 0.02
    assert not result.without
    assert said[0].startswith("drawing")
    text = "\n".join(result.lines())
    assert "| native (native" in text
    assert "kaiser6" in text
    assert result.machine["processor"] in text
    assert json.loads(json.dumps(result.as_dict()))["fits"]["native"]["seconds"]["n"] == 1


def test_an_engine_that_makes_no_model_has_no_time(monkeypatch):
    class Failing:
        version = "none 0"

        def fit(self, stars):
            return PsfFit.refused(len(stars), PsfStatus.FIT_FAILED, "it would not")

    monkeypatch.setattr(bench, "make_engine", lambda params: Failing())
    result = bench.bench_psf(n_stamp=5, n_star=5, n_repeat=1, engines=("psfex without check-plots",))
    assert not result.fits
    assert result.without == {"psfex without check-plots": "it would not"}
    assert "without psfex without check-plots: it would not" in result.lines()


def test_every_engine_that_is_timed_can_be_configured():
    for values in bench.ENGINES.values():
        assert bench.PsfParams.model_validate(values).engine == values["engine"]
