"""Wrong input: what the user reads, the exit code, and that everything else is measured all the same."""

import re

import numpy as np
import pytest
from chain.program import shapempi, verb
from chain.tiny import CCDS, EXPOSURES, TILE, committed, copy_of, differences, failed, last_job, place, unpacked

from shapempi.flags import NO_RESULT, ObjectFlag
from shapempi.io.catalog import read_table

FIRST, SECOND = EXPOSURES
#: Columns that the tile alone decides.
DETECTION = ("NUMBER", "XWIN_IMAGE", "YWIN_IMAGE", "ra", "dec", "MAG_AUTO", "SNR_WIN", "FLAGS", "IMAFLAGS_ISO")


def run(folder, code, *, n_rank=3):
    """Run, and check the exit code, that there is no traceback, and that no other tables of units came out."""
    result = shapempi(folder, "run", "chain.toml", n_rank=n_rank)
    assert result.code == code, result
    assert "Traceback" not in result.out + result.err
    return result


def gathered(folder, *absent):
    """Gather a run that lacks some units; return its tables."""
    result = verb(folder, "gather", "run", "--overwrite")
    assert result.code == (1 if absent else 0), result
    assert [f"not in the catalogue: {uid};" in result.err for uid in absent] == [True] * len(absent)
    assert len(result.complaints) == len(absent)
    path = folder / "run" / "catalogue.h5"
    return read_table(path), read_table(path, "epochs")


def seen_by(folder, exposure, ccd=None):
    """Return which objects of a catalogue have an epoch on an exposure or one of its CCDs."""
    path = folder / "run" / "catalogue.h5"
    epochs = read_table(path, "epochs")
    here = (epochs["exposure"] == exposure) & ((epochs["ccd"] == ccd) if ccd is not None else True)
    return np.isin(read_table(path)["NUMBER"], epochs["NUMBER"][here])


def assert_the_rest_is_measured(reference, rows, lost):
    """Check that every object has its row, and that those which lost nothing have the bits of a run without fault."""
    whole = read_table(reference / "run" / "catalogue.h5")
    assert lost.sum() > 5 and (~lost).sum() > 3
    for name in DETECTION:
        np.testing.assert_array_equal(rows[name], whole[name])
    assert rows[~lost].tobytes() == whole[~lost].tobytes()
    measured = (rows["shape_flags"] & int(NO_RESULT)) == 0
    assert measured[lost & (rows["n_epoch_used"] > 0)].mean() > 0.9
    assert np.isnan(rows["g1_noshear"][~measured]).all()


def assert_lost_epochs_are_flagged(reference, rows, lost):
    whole = read_table(reference / "run" / "catalogue.h5")
    flags = rows["shape_flags"]
    assert ((flags & ObjectFlag.CCD_FAILED) != 0).tolist() == lost.tolist()
    np.testing.assert_array_equal(rows["N_EPOCH"], whole["N_EPOCH"])
    alone = lost & (whole["N_EPOCH"] == 1)
    assert (flags[alone] & ObjectFlag.NOT_MEASURED != 0).all()
    several = lost & (rows["n_epoch_used"] > 0)
    assert several.sum() > 5
    assert (flags[several] & ObjectFlag.SOME_EPOCH_LOST != 0).all()


def test_a_missing_weight_and_its_return(reference, survey, tmp_path):
    """Exit code 3; the CCDs fail by name; put back, the same command mends what it cost, to the last bit."""
    folder = place(survey, tmp_path)
    weight = folder / "survey" / "exposures" / f"{FIRST}p.weight.fits.fz"
    weight.unlink()
    result = run(folder, 3)
    assert f"shapempi: input: survey/exposures/{weight.name}: the weight file does not exist" in result.err
    assert f"(needed by exposure {FIRST}, tile 241.293); put it there or correct [input]" in result.err
    assert set(failed(folder)) == set(CCDS[:2])
    assert all(error == "MissingInputError" and weight.name in reason for error, reason in failed(folder).values())
    rows, epochs = gathered(folder, *CCDS[:2])
    lost = seen_by(reference, FIRST)
    assert_the_rest_is_measured(reference, rows, lost)
    assert_lost_epochs_are_flagged(reference, rows, lost)
    there = epochs["exposure"] == SECOND
    before = read_table(reference / "run" / "catalogue.h5", "epochs")
    assert epochs[there].tobytes() == before[there].tobytes()
    assert np.isnan(epochs["psf_T"][~there]).all() and (epochs["psf_flag"][~there] == 1).all()

    # Again with the weight still missing: the CCDs are tried, nothing else is done.
    names = committed(folder)
    run(folder, 3, n_rank=None)
    assert committed(folder) == names
    assert {uid for uid, outcome in last_job(folder).items() if not outcome["restored"]} == set(CCDS[:2])

    weight.symlink_to(survey / "exposures" / weight.name)
    run(folder, 0)
    done = {uid for uid, outcome in last_job(folder).items() if not outcome["restored"]}
    assert done >= set(CCDS[:2]) and TILE not in done and not done & set(CCDS[2:])
    assert {uid.partition(":")[0] for uid in done} == {"ccd", "block"}
    gathered(folder)
    assert differences(folder, reference) == []


def test_a_truncated_exposure(reference, survey, tmp_path):
    folder = place(survey, tmp_path)
    image = copy_of(folder / "survey" / "exposures" / f"{FIRST}p.fits.fz")
    content = image.read_bytes()
    image.write_bytes(content[: int(0.6 * len(content))])  # the header of its second CCD with pixels is still there
    result = run(folder, 1)
    assert f"survey/exposures/{image.name}: truncated in HDU" in result.err
    reasons = failed(folder)
    assert set(reasons) == {f"ccd:{FIRST}-{ccd}" for ccd in range(22, 40)}
    for error, reason in reasons.values():
        assert error == "DataError" and image.name in reason and "truncated" in reason and "fetch" in reason
    rows, _ = gathered(folder, *reasons)
    lost = seen_by(reference, FIRST, 22)
    assert_the_rest_is_measured(reference, rows, lost)
    assert_lost_epochs_are_flagged(reference, rows, lost)


def test_a_ccd_without_wcs(reference, survey, tmp_path):
    """The mosaic is there uncompressed, one header without CTYPE and CRVAL: that CCD is lost, nobody knows where."""
    folder = place(survey, tmp_path)

    def without_wcs(name, header, pixels):
        if name == "ccd22":
            for key in ("CTYPE1", "CTYPE2", "CRVAL1", "CRVAL2"):
                header.delete(key)

    plain = unpacked(folder / "survey" / "exposures" / f"{FIRST}p.fits.fz", without_wcs)
    result = run(folder, 1)
    assert f"shapempi: input: survey/exposures/{plain.name}, HDU 23 (ccd22): no celestial WCS" in result.err
    assert f"(needed by CCD {FIRST}-22); replace the file" in result.err
    ((uid, (error, reason)),) = failed(folder).items()
    assert (uid, error) == (f"ccd:{FIRST}-22", "DataError")
    assert plain.name in reason and "WCS" in reason
    rows, _ = gathered(folder, uid)
    lost = seen_by(reference, FIRST, 22)
    assert_the_rest_is_measured(reference, rows, lost)
    assert (rows["N_EPOCH"][lost] == read_table(reference / "run" / "catalogue.h5")["N_EPOCH"][lost] - 1).all()


def test_ccds_without_enough_stars(reference, survey, tmp_path):
    """One CCD all flagged, one nearly so: they are done, say why they have no PSF, and cost their epochs only."""
    folder = place(survey, tmp_path)

    def flagged(name, header, pixels):
        if name in ("ccd21", "ccd22"):
            pixels[:, 0 if name == "ccd22" else 80 :] = 1

    unpacked(folder / "survey" / "exposures" / f"{FIRST}p.flag.fits.fz", flagged)
    result = run(folder, 0)
    assert failed(folder) == {}
    assert re.search(rf"ccd:{FIRST}-22 has no PSF model: no stars selected: .*flag", result.err, re.IGNORECASE)
    assert "done, without an accepted PSF model (2)" in result.out
    rows, epochs = gathered(folder)
    lost = seen_by(reference, FIRST)
    assert_the_rest_is_measured(reference, rows, lost)
    assert_lost_epochs_are_flagged(reference, rows, lost)
    path = folder / "run" / "catalogue.h5"
    status = read_table(path, "psf_status")
    assert dict(zip(status["ccd"].tolist(), status["status"].tolist(), strict=True)) == {
        21: b"few_stars", 22: b"no_stars", 13: b"accepted", 14: b"accepted"
    }  # fmt: skip
    assert b"fewer than psf.acceptance.min_stars = 8" in status["reason"][status["ccd"] == 21][0]
    assert np.isnan(epochs["psf_T"][epochs["exposure"] == FIRST]).all()
    # The stars of a refused CCD are kept, and say that they are not to be trusted as a validation.
    stars, training = read_table(path, "stars"), read_table(path, "training_stars")
    few = training[training["CCD_NB"] == 21]
    assert 0 < len(few) + (stars["CCD_NB"] == 21).sum() < 10
    assert (few["ACCEPTED"] == 0).all() and np.isnan(few["T_psf"]).all() and np.isfinite(few["T_star"]).all()
    assert (stars["ACCEPTED"][stars["exposure"] == SECOND] == 1).all()
    # Again: nothing is tried again, for nothing failed.
    names = committed(folder)
    run(folder, 0, n_rank=None)
    assert committed(folder) == names


def test_an_exposure_that_history_names_is_not_there(reference, survey, tmp_path):
    folder = place(survey, tmp_path)
    for file in (folder / "survey" / "exposures").glob(f"{FIRST}p*"):
        file.unlink()
    result = run(folder, 3)
    assert f"survey/exposures/{FIRST}p.fits.fz: the image file does not exist" in result.err
    assert f"needed by exposure {FIRST}, which the HISTORY of tile 241.293 names" in result.err
    assert "put it there or correct [input]" in result.err
    assert failed(folder) == {}
    rows, epochs = gathered(folder)
    assert_the_rest_is_measured(reference, rows, seen_by(reference, FIRST))
    assert set(epochs["exposure"]) == {SECOND}


def assert_nothing_is_made(folder):
    assert not list(folder.glob("run*"))


@pytest.mark.parametrize("n_rank", [None, 2])
def test_a_misspelled_key(survey, tmp_path, n_rank):
    folder = place(survey, tmp_path, ("spike_mag_limit", "spike_mag_limt"))
    result = run(folder, 2, n_rank=n_rank)
    assert result.complaints == [
        "shapempi: chain.toml: unknown key 'exposure.mask.spike_mag_limt'; did you mean 'spike_mag_limit'?"
    ]
    assert_nothing_is_made(folder)


def test_a_run_folder_that_cannot_be_made(survey, tmp_path):
    folder = place(survey, tmp_path, ('folder = "run"', 'folder = "chain.toml/run"'))
    result = run(folder, 2)
    (line,) = result.complaints
    assert f"the run folder {folder / 'chain.toml' / 'run'} cannot be written: Not a directory" in line
    assert "choose another folder (run.folder)" in line


def test_a_missing_star_catalogue(survey, tmp_path):
    """Every mask needs it, so nothing is begun."""
    folder = place(survey, tmp_path)
    (folder / "survey" / "star_catalogue.fits").unlink()
    result = run(folder, 3, n_rank=2)
    (line,) = result.complaints
    assert "survey/star_catalogue.fits: the star catalogue does not exist" in line
    assert "correct [input] star_catalogue, or leave it out to mask no stars" in line
    result = verb(folder, "plan", "chain.toml")
    assert result.code == 3
    assert "survey/star_catalogue.fits: the star catalogue does not exist" in result.err
    (folder / "survey" / "star_catalogue.fits").write_text("ra dec mag")
    result = run(folder, 1, n_rank=None)
    (line,) = result.complaints
    assert "survey/star_catalogue.fits: cannot be read" in line
    assert_nothing_is_made(folder)


def test_another_configuration_in_the_same_folder(reference, survey, tmp_path):
    folder = place(survey, tmp_path, ("min_stars = 8", "min_stars = 9"))
    (folder / "run").symlink_to(reference / "run")
    before = sorted(path for path in (folder / "run").rglob("*"))
    result = run(folder, 2, n_rank=None)
    (line,) = result.complaints
    assert f"{(folder / 'run').resolve()} holds units made with another configuration" in line
    assert "Choose a new run.folder" in line
    assert sorted(path for path in (folder / "run").rglob("*")) == before
