"""Stars and PSF models as users meet them: verbs on a finished run, a selection of their own, other engines."""

import fitsio
import h5py
import numpy as np
import pytest
from chain.program import shapempi, verb
from chain.tiny import EXPOSURES, committed, place

from shapempi.io.catalog import read_table
from shapempi.io.ldac import read_ldac

SELECTION = """
[MASK:clean]
FLAGS == 0 and IMAFLAGS_ISO == 0
NO_SAVE
[MASK:mine]
{clean}
18 < MAG_AUTO < 21.5
abs(FWHM_IMAGE - mode(FWHM_IMAGE{clean})) < 0.4
[RAND_SPLIT:quarter]
RATIO = 25
MASK = mine
[STAT:numbers]
"stars" = len(MAG_AUTO{mine})
[PLOT:size]
TYPE = plot
X = FWHM_IMAGE{mine}
Y = MAG_AUTO{mine}
TITLE = "@len(MAG_AUTO{mine})@ stars"
"""
OWN = (
    "[psf.acceptance]",
    '[stars]\nselection = "mine.setools"\nmask = "mine"\nsplit = "quarter"\n{}\n[psf.acceptance]',
)


def with_selection(survey, folder, text=SELECTION, more=""):
    folder = place(survey, folder, (OWN[0], OWN[1].format(more)))
    (folder / "mine.setools").write_text(text)
    return folder


def test_a_selection_of_the_users_own_with_all_its_files(survey, tmp_path):
    folder = with_selection(survey, tmp_path, more='output = ["mask", "rand_split", "stat", "plot"]')
    result = shapempi(folder, "run", "chain.toml", n_rank=3)
    assert result.code == 0, result
    assert verb(folder, "gather", "run").code == 0
    catalogue = folder / "run" / "catalogue.h5"
    status, statistics = read_table(catalogue, "psf_status"), read_table(catalogue, "star_statistics")
    assert set(statistics["label"]) == {b"stars"}
    np.testing.assert_array_equal(statistics["value"], status["n_star"])
    np.testing.assert_array_equal(status["n_test"], np.ceil(status["n_star"] / 4))
    stars = read_table(catalogue, "stars")
    for row in status:
        number = f"-{row['exposure']}-{row['ccd']}"
        header, mask = read_ldac(folder / "run" / "stars" / "mask" / f"mine{number}.fits")
        assert len(mask) == row["n_star"] and "CTYPE1" in header
        _, drawn = read_ldac(folder / "run" / "stars" / "rand_split" / f"quarter_ratio_25{number}.fits")
        held_back = stars[(stars["exposure"] == row["exposure"]) & (stars["CCD_NB"] == row["ccd"])]
        assert sorted(drawn["NUMBER"]) == sorted(held_back["NUMBER"])
        assert f"stars = {row['n_star']}" in (folder / "run" / "stars" / "stat" / f"numbers{number}.txt").read_text()
        assert (folder / "run" / "stars" / "plot" / f"size{number}.png").read_bytes().startswith(b"\x89PNG")
    # The file decides the catalogue like a key of the configuration: changed, it belongs to another run.
    (folder / "mine.setools").write_text(SELECTION.replace("21.5", "21.4"))
    names = committed(folder)
    result = shapempi(folder, "run", "chain.toml")
    assert result.code == 2
    assert "another configuration" in result.err
    assert committed(folder) == names


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (SELECTION.replace("MAG_AUTO < 21.5", "MAG_AUT < 21.5"), "mine.setools:7: "),
        (SELECTION.replace("mode(", "modus("), "mode"),
        (SELECTION.replace("[MASK:mine]", "[MASK:other]"), "mine"),
        (None, "mine.setools: cannot read the selection file: No such file"),
    ],
)
def test_a_wrong_selection_is_refused_before_anything_is_done(survey, tmp_path, text, complaint):
    folder = with_selection(survey, tmp_path, text or "")
    if text is None:
        (folder / "mine.setools").unlink()
    result = shapempi(folder, "run", "chain.toml", n_rank=2)
    assert result.code == 2
    (line,) = result.complaints
    assert complaint in line
    assert not (folder / "run").exists()


def test_psfex_makes_the_models(survey, reference, tmp_path):
    folder = place(survey, tmp_path, ("[psf.acceptance]", '[psf]\nengine = "psfex"\n[psf.acceptance]'))
    result = shapempi(folder, "run", "chain.toml", n_rank=3)
    assert result.code == 0, result
    assert verb(folder, "gather", "run").code == 0
    ours, theirs = (read_table(f / "run" / "catalogue.h5", "psf_status") for f in (reference, folder))
    assert all(engine.startswith(b"psfex 3") for engine in theirs["engine"])
    accepted = theirs["status"] == b"accepted"
    assert accepted.sum() >= 3
    np.testing.assert_allclose(theirs["fwhm"][accepted], ours["fwhm"][accepted], rtol=0.05)
    shapes = [read_table(f / "run" / "catalogue.h5") for f in (reference, folder)]
    both = np.isfinite(shapes[0]["psf_T"]) & np.isfinite(shapes[1]["psf_T"])
    assert both.sum() > 30
    assert np.median(shapes[1]["psf_T"][both] / shapes[0]["psf_T"][both]) == pytest.approx(1.0, abs=0.05)


def test_a_missing_engine_is_refused_before_anything_is_done(survey, tmp_path):
    change = '[psf]\nengine = "psfex"\npsfex = { program = "no-such-psfex" }\n[psf.acceptance]'
    folder = place(survey, tmp_path, ("[psf.acceptance]", change))
    result = shapempi(folder, "run", "chain.toml", n_rank=2)
    assert result.code == 2
    (line,) = result.complaints
    assert "no-such-psfex" in line and "apt install psfex" in line
    assert not (folder / "run").exists()


def test_the_validation_of_a_run(reference, tmp_path):
    output = tmp_path / "validation"
    result = verb(reference, "validate-psf", "run", "--output", output, "--exposures", EXPOSURES[0])
    assert result.code == 0, result
    assert "4 CCDs: 4 accepted" in result.out
    stars = read_table(reference / "run" / "catalogue.h5", "stars")
    _, full = read_ldac(output / "full_starcat-0000000.fits")
    assert len(full) == len(stars)
    for name in ("rho.png", "focal_plane_T.png", "whiskers.png", "trends.png", f"exposures/{EXPOSURES[0]:07d}/rho.png"):
        assert (output / name).read_bytes().startswith(b"\x89PNG")
    again = verb(reference, "validate-psf", "run", "--output", output)
    assert again.code == 2 and "--overwrite" in again.err
    assert verb(reference, "validate-psf", "run", "--output", output, "--overwrite").code == 0
    nowhere = verb(reference, "validate-psf", tmp_path / "no_run")
    assert nowhere.code == 3 and "no_run" in nowhere.err


def test_models_of_a_run_at_positions_of_the_users(reference, tmp_path):
    catalogue = reference / "run" / "catalogue.h5"
    rows, epochs = read_table(catalogue), read_table(catalogue, "epochs")
    result = verb(reference, "export", "run", "--output", tmp_path / "objects.fits")
    assert result.code == 0, result
    arguments = ("run", tmp_path / "objects.fits", "--position", "ra,dec", "--output", tmp_path / "epochs.h5")
    result = verb(reference, "interpolate-psf", "multi-epoch", *arguments)
    assert result.code == 0, result
    assert f"{len(rows)} objects, {len(epochs)} places, 0 of them without a PSF" in result.out
    with h5py.File(tmp_path / "epochs.h5") as file:
        assert file["psf"].shape == (len(epochs), 51, 51)
    ccd = f"{EXPOSURES[0]}-21"
    here = epochs[(epochs["exposure"] == EXPOSURES[0]) & (epochs["ccd"] == 21)]
    fitsio.write(tmp_path / "here.fits", here[["NUMBER", "x", "y"]])
    arguments = ("run", tmp_path / "here.fits", "--ccd", ccd, "--position", "x,y", "--output", tmp_path / "psf.fits")
    result = verb(reference, "interpolate-psf", "classic", *arguments)
    assert result.code == 0, result
    _, drawn = read_ldac(tmp_path / "psf.fits")
    np.testing.assert_allclose(drawn["T_psf"], here["psf_T"], rtol=1e-5)
    np.testing.assert_allclose(drawn["VIGNET"].sum(axis=(1, 2)), 1.0, rtol=1e-5)
    result = verb(reference, "interpolate-psf", "validation", "run", "--output", tmp_path / "stars")
    assert result.code == 0, result
    assert len(list((tmp_path / "stars").glob("validation_psf-*.fits"))) == 4
    wrong = verb(
        reference, "interpolate-psf", "classic", "run", tmp_path / "here.fits", "--output", tmp_path / "p.fits"
    )
    assert wrong.code == 2 and "EXPOSURE-CCD" in wrong.err
