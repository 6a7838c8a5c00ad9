"""PSFEx, the program: it must be installed where these tests run (`apt install psfex`)."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from measure.star_field import NX, NY, TruePsf, make_stars

from shapempi.engines.psf import make_engine
from shapempi.engines.psf_params import PsfParams
from shapempi.errors import ConfigError, EngineError
from shapempi.io.ldac import read_ldac
from shapempi.measure.moments import adaptive_moments
from shapempi.measure.psf.outcome import PsfStatus
from shapempi.measure.psf.sample import StarSample

SIZE = 25


def params(*, degree=1, sampling=1.0, size=SIZE, **psfex):
    return PsfParams(engine="psfex", size=size, sampling=sampling, degree=degree, psfex={"basis_number": 10, **psfex})


@pytest.fixture(scope="module")
def stars():
    return make_stars(TruePsf(2, variation=0.0), 2, 24, snr=(200, 400), dirt=False, size=SIZE)


@pytest.fixture
def pretend(tmp_path):
    """Return the settings for a program that says it is PSFEx and does something else."""
    (tmp_path / "scratch").mkdir()

    def pretend(body, **others):
        path = tmp_path / "psfex"
        path.write_text(f'#!/bin/sh\n[ "$1" = -v ] && echo "PSFEx version 9.9 (never)" && exit 0\n{body}\n')
        path.chmod(0o755)
        return params(program=str(path), scratch=tmp_path / "scratch", **others)

    yield pretend
    assert list((tmp_path / "scratch").iterdir()) == []


def test_the_program_is_there():
    assert shutil.which("psfex"), "install PSFEx: these tests are about it"


def test_a_missing_program_says_how_to_get_it():
    with pytest.raises(EngineError, match=r"no-psfex \(psf.psfex.program\) is not there.*apt install psfex.*conda"):
        make_engine(params(program="no-psfex"))


def test_a_missing_configuration_is_found_before_the_start(tmp_path):
    with pytest.raises(ConfigError, match=r"psf.psfex.configuration: there is no file .*mine.psfex"):
        make_engine(params(configuration=tmp_path / "mine.psfex"))


def refused(settings, stars):
    fit = make_engine(settings).fit(stars)
    assert fit.model is None
    assert not fit.used.any()
    assert fit.status is PsfStatus.FIT_FAILED
    return fit.reason


def test_a_program_that_fails_is_a_status_with_what_it_said(pretend, stars):
    reason = refused(pretend("echo working; echo; echo '> *Error*: cannot' >&2; exit 1"), stars)
    assert reason == "PSFEx ended with code 1: *Error*: cannot"


def test_a_program_that_writes_nothing_is_a_status(pretend, stars):
    assert refused(pretend("echo tired"), stars) == "PSFEx made no model of 24 stars: tired"


@pytest.mark.parametrize(
    "body",
    [
        "echo garbage > stars.psf; echo garbage > output.cat",
        "cp stars.cat stars.psf; cp stars.cat output.cat",
        ": > stars.psf",
    ],
)
def test_a_program_that_writes_garbage_is_a_status(pretend, stars, body):
    reason = refused(pretend(body), stars)
    assert reason.startswith("what PSFEx made of 24 stars cannot be used: stars.psf: ")


def test_a_model_without_catalogue_is_a_status(pretend, stars, tmp_path):
    make_engine(params(keep=tmp_path / "kept")).fit(stars)
    model = next((tmp_path / "kept").glob("*/stars.psf"))
    assert "output.cat" in refused(pretend(f"cp {model} stars.psf"), stars)
    assert "CHI2_PSF, NORM_PSF, SOURCE_NUMBER are missing" in refused(
        pretend(f"cp {model} stars.psf; cp stars.cat output.cat"), stars
    )


def test_a_program_that_hangs_or_crashes_is_an_error(pretend, stars):
    with pytest.raises(EngineError, match=r"psfex .*not ended after 0.3 s"):
        make_engine(pretend("sleep 60", timeout=0.3)).fit(stars)
    with pytest.raises(EngineError, match=r"psfex .*version 9.9.* killed by SIGSEGV"):
        make_engine(pretend("kill -SEGV $$")).fit(stars)


def test_the_real_program_leaves_nothing_behind(stars, tmp_path):
    (tmp_path / "scratch").mkdir()
    fit = make_engine(params(scratch=tmp_path / "scratch")).fit(stars)
    assert fit.status is PsfStatus.ACCEPTED
    assert [path.name for path in tmp_path.iterdir()] == ["scratch"]
    assert list((tmp_path / "scratch").iterdir()) == []


def test_what_the_user_wants_is_kept(stars, tmp_path):
    settings = params(keep=tmp_path / "kept", check_images=("RESIDUALS", "SAMPLES"), check_plots=("FWHM",))
    fit = make_engine(settings).fit(stars)
    assert fit.status is PsfStatus.ACCEPTED
    (folder,) = (tmp_path / "kept").iterdir()
    names = {path.name for path in folder.iterdir()}
    assert {"stars.cat", "stars.psf", "output.cat", "settings.psfex"} <= names
    assert {"image_residuals_stars.fits", "image_samples_stars.fits"} <= names
    assert [name for name in names if name.startswith("plot_fwhm")]
    header, table = read_ldac(folder / "stars.cat")
    assert "SEXGAIN =      3.000000000E+00" in header
    assert f"NAXIS2  = {NY:>20}" in header
    assert len(table) == 24


def test_a_folder_for_what_is_kept_that_cannot_be_made_is_named(stars, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EngineError, match=r"psf.psfex.keep: .*file"):
        make_engine(params(keep=tmp_path / "file")).fit(stars)


def test_a_configuration_of_the_users_replaces_ours_but_for_the_form(stars, tmp_path):
    mine = tmp_path / "mine.psfex"
    mine.write_text(
        "BASIS_TYPE NONE\nPSF_SIZE 99,99\nPSF_SAMPLING 0.3\nPSFVAR_DEGREES 4\nSAMPLE_AUTOSELECT N\n"
        "SAMPLE_FWHMRANGE 1.0,20.0\nOUTCAT_NAME elsewhere\nPSF_DIR /nowhere\n"
    )
    fit = make_engine(params(configuration=mine)).fit(stars)
    assert fit.status is PsfStatus.ACCEPTED
    assert (fit.model.coefficients.shape, fit.model.sampling) == ((3, SIZE, SIZE), 1.0)
    ours = make_engine(params()).fit(stars)
    assert not np.array_equal(fit.model.coefficients, ours.model.coefficients)


def test_a_configuration_that_psfex_does_not_understand_is_a_status(stars, tmp_path):
    mine = tmp_path / "mine.psfex"
    mine.write_text("BASIS_TYPE NONSENSE\n")
    fit = make_engine(params(configuration=mine)).fit(stars)
    assert fit.status is PsfStatus.FIT_FAILED
    assert "BASIS_TYPE" in fit.reason


def cut(psf, x, y, move, shape):
    """Noiseless stars at (x, y) whose stamps are centred `move` whole pixels away from the nearest one."""
    ny, nx = shape
    middle_x, middle_y = (
        np.rint(x) + move[0] - (0.5 if nx % 2 == 0 else 0),
        np.rint(y) + move[1] - (0.5 if ny % 2 == 0 else 0),
    )
    offset = np.stack([x - middle_x, y - middle_y], axis=-1)
    images = []
    for a, b, (dx, dy) in zip(x, y, offset, strict=True):
        big = psf.draw([a], [b], [dx + (0.5 if nx % 2 == 0 else 0)], [dy + (0.5 if ny % 2 == 0 else 0)], 45)[0]
        images.append(big[22 - ny // 2 : 22 - ny // 2 + ny, 22 - nx // 2 : 22 - nx // 2 + nx])
    vignets = 1e5 * np.array(images)
    n = len(x)
    return StarSample(
        vignets, np.full(vignets.shape, 0.01), x, y, offset, np.full(n, 1e5), np.full(n, 300.0), (NY, NX), 3.0
    )


@pytest.mark.parametrize("sampling", [1.0, 0.6])
@pytest.mark.parametrize(
    ("move", "shape"),
    [((0, 0), (25, 25)), ((1, 0), (25, 25)), ((-2, 1), (27, 27)), ((0, 0), (26, 26)), ((0, 0), (25, 28))],
)
def test_the_model_is_centred_wherever_the_stars_are_in_their_stamps(sampling, move, shape):
    # Truth by construction: a wrong convention of half or a whole pixel, for some stars or all, moves and widens it.
    psf = TruePsf(4, variation=0.0)
    rng = np.random.default_rng(7)
    x, y = rng.uniform(30, NX - 30, 30), rng.uniform(30, NY - 30, 30)
    x[:4] = np.rint(x[:4]) + np.array([0.4999, -0.4999, 0.5, -0.5])  # what is nearest is a matter of rounding
    sample = cut(psf, x, y, move, shape)
    fit = make_engine(params(degree=0, sampling=sampling)).fit(sample)
    assert fit.status is PsfStatus.ACCEPTED
    assert fit.used.all()
    true = adaptive_moments(psf.draw([0.0], [0.0], [0.0], [0.0], 25))[0]
    drawn = adaptive_moments(fit.model.draw(np.zeros(1), np.zeros(1), 25))[0]
    assert abs(drawn["x"]) < 0.01
    assert abs(drawn["y"]) < 0.01
    # At a sampling of 1, PSFEx's interpolation makes the model larger.
    assert abs((drawn["sigma"] / true["sigma"]) ** 2 - 1) < (0.01 if sampling == 1 else 0.004)
    for name in ("g1", "g2"):
        assert abs(drawn[name] - true[name]) < 0.002


def test_positions_far_out_keep_their_fractions(stars):
    # In single precision they would be wrong by some 1e-4 pixels here, and by 1e-2 on a large mosaic.
    far = replace(stars, x=stars.x + 200_000.0, y=stars.y + 300_000.0, shape=(400_000, 300_000))
    near, moved = (make_engine(params(degree=0)).fit(sample) for sample in (stars, far))
    difference = near.model.draw(X, X, SIZE) - moved.model.draw(X, X, SIZE)
    assert np.abs(difference).max() < 1e-6


X = np.zeros(1)


def test_the_flux_of_an_aperture_can_be_asked_for(stars):
    wrong = replace(stars, flux=stars.flux * np.random.default_rng(1).uniform(0.6, 1.5, len(stars)))
    fit = make_engine(params(flux="FLUX_APER", aperture=4.0)).fit(wrong)
    ratio = fit.flux / stars.flux
    assert np.abs(ratio / np.median(ratio) - 1).max() < 0.02
    again = make_engine(params(flux="FLUX_APER", aperture=4.0)).fit(stars)
    assert np.array_equal(fit.model.coefficients, again.model.coefficients)


def test_pixels_without_data_do_not_matter(stars):
    vignets, weights = stars.vignets.copy(), stars.weights.copy()
    weights[3, :, 5] = 0
    weights[5, 9:12, 9] = 0
    vignets[3, :, 5], vignets[5, 9:12, 9] = 7e7, np.nan
    marked = replace(stars, vignets=vignets, weights=weights)
    vignets = vignets.copy()
    vignets[3, :, 5], vignets[5, 9:12, 9] = -1e30, 0.0
    others = replace(marked, vignets=vignets)
    fits = [make_engine(params()).fit(sample) for sample in (marked, others)]
    assert fits[0].used[[3, 5]].all()
    assert np.array_equal(fits[0].model.coefficients, fits[1].model.coefficients)


def test_the_thresholds_decide(stars):
    settings = params()
    strict = settings.model_copy(update={"acceptance": settings.acceptance.model_copy(update={"max_chi2": 0.1})})
    fit = make_engine(strict).fit(stars)
    assert fit.status is PsfStatus.CHI2
    assert "psf.acceptance.max_chi2 = 0.1" in fit.reason
    assert fit.model is not None
