"""The adapter of ngmix, with the real ngmix where there is one; continuous integration has none and checks the error.

What the adapter does with ngmix's results is tested everywhere.
"""

import importlib.util
import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from measure.galaxies import SHEARED, make_stacks
from measure.test_shapes import GALAXY, PSFS, SEED, changed, same

import shapempi
from shapempi.catalog import SHEAR_TYPES
from shapempi.errors import EngineError
from shapempi.flags import ObjectFlag
from shapempi.measure.fit import FitFlag
from shapempi.measure.ngmix_engine import NgmixEngine, as_gaussian_fit, load_ngmix
from shapempi.measure.shape_params import ShapeParams
from shapempi.measure.shapes import measure_shapes

INSTALLED = importlib.util.find_spec("ngmix") is not None

#: Not exactly diagonal: with exactly diagonal pixels GalSim, and so ngmix, does not cut the target at 1e-5.
EPOCHS = tuple(zip(PSFS[:2], (SHEARED, SHEARED * [-1, 1, 1, -1]), strict=True))


def the_stacks(*, offsets, snr=100.0):
    return make_stacks([GALAXY] * 2, EPOCHS, np.random.default_rng(1), snr=snr, offsets=offsets)


def largest_difference(left, right, types=SHEAR_TYPES):
    """Return the largest difference of two tables in units of the errors."""
    return max(
        np.abs((left[f"{name}_{kind}"] - right[f"{name}_{kind}"]) / right[f"{name}_err_{kind}"]).max()
        for name in ("g1", "g2", "T", "flux")
        for kind in types
    )


def test_the_engine_is_there_or_says_how_to_get_it():
    if INSTALLED:
        stacks = the_stacks(offsets=False)
        theirs = measure_shapes(stacks, ShapeParams(engine="ngmix"), seed=SEED)
        assert (theirs["flags"] == 0).all()
        for engine in ("galsim", "native"):
            ours = measure_shapes(stacks, ShapeParams(engine=engine), seed=SEED)
            assert largest_difference(theirs, ours) < 3e-3
            for kind in SHEAR_TYPES:
                np.testing.assert_allclose(theirs[f"Tpsf_{kind}"], ours[f"Tpsf_{kind}"], rtol=2e-4)
                np.testing.assert_allclose(theirs[f"s2n_{kind}"], ours[f"s2n_{kind}"], rtol=3e-5)
                np.testing.assert_allclose(theirs[f"g1_err_{kind}"], ours[f"g1_err_{kind}"], rtol=1e-3)
            for name in ("psf_g1", "psf_T", "psf_fit_T", "n_epoch_used", "psf_fit_T_err"):
                np.testing.assert_allclose(theirs[name], ours[name], rtol=1e-6)
        ours, theirs = (
            measure_shapes(stacks, ShapeParams(engine=engine, model="exp"), seed=SEED) for engine in ("native", "ngmix")
        )
        assert largest_difference(theirs, ours) < 3e-3
        np.testing.assert_allclose(theirs["r50_noshear"], ours["r50_noshear"], rtol=1e-4)
    else:
        with pytest.raises(EngineError, match=r"conda install -c conda-forge .ngmix>=2\.4"):
            measure_shapes(the_stacks(offsets=False), ShapeParams(engine="ngmix"), seed=SEED)


def test_the_real_ngmix_measures_what_is_off_centre_and_masked_and_flags_what_is_hopeless():
    if not INSTALLED:
        with pytest.raises(EngineError, match="cannot be imported"):
            NgmixEngine()
        return
    stacks = changed(the_stacks(offsets=True))
    stacks.flag[0, 40:45] = 1
    stacks.image[0, 40:45] = np.nan
    ours = measure_shapes(stacks, ShapeParams(engine="galsim"), seed=SEED)
    theirs = measure_shapes(stacks, ShapeParams(engine="ngmix"), seed=SEED)
    assert same(theirs, measure_shapes(stacks, ShapeParams(engine="ngmix"), seed=SEED))
    # A shear about the stamp's centre moves an object that is not there.  ngmix lets the centre of its fit stay, so
    # that sheared epochs of different offsets do not lie on each other, by one per cent of the offset.
    assert largest_difference(theirs, ours, ["noshear"]) < 3e-3
    assert 3e-3 < largest_difference(theirs, ours) < 3e-2
    stacks.psf[:] = 0.0
    stacks.psf[:2, 25, 25] = 1.0  # no Fourier transform that falls
    rows = measure_shapes(stacks, ShapeParams(engine="ngmix"), seed=SEED)
    assert rows["flags"][0] == ObjectFlag.METACAL_FAILED | ObjectFlag.NOT_MEASURED
    assert rows["n_metacal_failed"][0] == 2
    assert rows["flags"][1] == ObjectFlag.PSF_MISSING | ObjectFlag.NOT_MEASURED


@pytest.mark.parametrize("release", ["1.3.6", "2.3.4"])
def test_an_old_ngmix_is_refused(monkeypatch, release):
    old = types.ModuleType("ngmix")
    old.__version__ = release
    monkeypatch.setitem(sys.modules, "ngmix", old)
    with pytest.raises(EngineError, match=f"2.4 or newer, found {release}.*conda-forge"):
        load_ngmix()


@pytest.mark.parametrize("release", ["2.4.0", "2.4.2", "2.10.0rc1", "3.0"])
def test_a_new_ngmix_is_accepted(monkeypatch, release):
    new = types.ModuleType("ngmix")
    new.__version__ = release
    monkeypatch.setitem(sys.modules, "ngmix", new)
    assert load_ngmix() is new


def test_a_good_result_keeps_its_numbers():
    result = {
        "flags": 0,
        "nfev": 7,
        "pars": [0.1, 0.2, 0.3, 0.4, 0.5, 60.0],
        "pars_err": [1, 2, 3, 4, 5, 6],
        "s2n": 12.5,
    }
    fit = as_gaussian_fit(result)
    np.testing.assert_array_equal(fit.parameters, result["pars"])
    np.testing.assert_array_equal(fit.errors, result["pars_err"])
    assert (fit.s2n, fit.flags, fit.n_evaluation) == (12.5, 0, 7)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (1, FitFlag.MAX_EVALUATIONS),
        (4, 4),
        (512, FitFlag.SINGULAR),
        (1024, FitFlag.SINGULAR),  # negative eigenvalue of the covariance
        (4096, FitFlag.NOT_FINITE),
        (1 | 2048, FitFlag.MAX_EVALUATIONS | FitFlag.SINGULAR),
    ],
)
def test_a_failed_result_has_no_numbers_and_known_flags(theirs, ours):
    fit = as_gaussian_fit({"flags": theirs, "nfev": -1, "pars": [-9.999e9] * 6, "pars_err": None})
    assert fit.flags == ours
    assert fit.n_evaluation == 0
    assert np.isnan(fit.parameters).all()
    assert np.isnan(fit.errors).all()
    assert np.isnan(fit.s2n)


def test_a_run_with_an_engine_that_is_not_there_ends_before_any_work(tmp_path):
    (tmp_path / "ngmix.py").write_text('__version__ = "1.3.6"\n')
    (tmp_path / "survey.toml").write_text(
        '[survey]\nname = "s"\n[input]\nexposure_folder = "exposures"\ntile_folder = "tiles"\n'
        '[run]\nfolder = "run"\n[shapes]\nengine = "ngmix"\n'
    )
    package = str(Path(shapempi.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-m", "shapempi", "run", "survey.toml"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), package])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "ngmix>=2.4" in done.stderr
    assert not (tmp_path / "run").exists()
