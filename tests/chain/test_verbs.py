"""What each verb prints, writes and refuses."""

import json
import os
import re
import shutil
import signal

import fitsio
import h5py
import numpy as np
import pytest
from chain.program import finish, shapempi, started, verb, wait_for
from chain.tiny import CCDS, TILE, committed, configure, differences, last_job, place

from shapempi.catalog import COLUMNS
from shapempi.grammar import columns_of
from shapempi.io.catalog import read_table


def test_plan_lists_the_units_and_starts_nothing(survey, tmp_path):
    folder = place(survey, tmp_path)
    result = verb(folder, "plan", "chain.toml", "--units")
    assert (result.code, result.err) == (0, "")
    assert "4 CCDs of 2 exposures: about " in result.out
    assert "1 tiles: about " in result.out
    assert "blocks of at most 25 objects: about " in result.out
    assert "core-hours; with 8 ranks about " in result.out
    assert "all input files are there" in result.out
    assert [line for line in result.out.splitlines() if line.startswith("ccd:")] == list(CCDS)
    assert f"{TILE} is under 4 CCDs: {', '.join(uid[4:] for uid in CCDS)}" in result.out
    assert sorted(path.name for path in folder.iterdir()) == ["chain.toml", "survey"]


def test_plan_names_what_is_missing(survey, tmp_path):
    folder = place(survey, tmp_path)
    for name in ("exposures/2243881p.flag.fits.fz", "tiles/CFIS.241.293.r.weight.fits.fz"):
        (folder / "survey" / name).unlink()
    result = verb(folder, "plan", "chain.toml")
    assert result.code == 3
    flag, weight = sorted(result.complaints)
    assert "survey/exposures/2243881p.flag.fits.fz: the flag file does not exist" in flag
    assert "set flag_required = false to do without flags" in flag
    assert "survey/tiles/CFIS.241.293.r.weight.fits.fz: the tile weight file does not exist" in weight


def test_a_run_in_progress(survey, tmp_path):
    """Status tells how far it is; a second run in the same folder is refused; Ctrl-C ends it in one line."""
    folder = place(survey, tmp_path)
    with started(folder, "run", "chain.toml") as process:
        wait_for(lambda: committed(folder) and (folder / "run" / "status.json").exists(), process, "a commit")
        os.kill(process.pid, signal.SIGSTOP)  # it holds its folder, and goes on after the test has looked at it
        status = shapempi(folder, "status", "run")
        verdict = verb(folder, "status", "run", "--exit-code")
        second = shapempi(folder, "run", "chain.toml", n_rank=2)
        early = verb(folder, "gather", "run", "--output", "early.h5")
        before = committed(folder)
        os.kill(process.pid, signal.SIGCONT)
        os.kill(process.pid, signal.SIGINT)
        result = finish(process, timeout=20.0)
    assert status.code == 0
    assert ", 1 ranks: running" in status.out
    assert re.search(r"ccd +4 +\d", status.out)
    assert verdict.code == 1
    assert second.code == 2
    (line,) = second.complaints
    assert f"{folder / 'run'} is in use by process {process.pid} on " in line
    assert "Wait for it, end it, or choose another folder (run.folder)" in line
    assert early.code == 1
    assert re.search("not in the catalogue: (ccd|block|tile):.*; see `shapempi status run`", early.err)
    assert result.code == 130
    assert result.complaints[-1] == (
        "shapempi: interrupted; what is finished stays, and the same command does the rest"
    )
    assert "Traceback" not in result.err
    assert before <= committed(folder)
    status = verb(folder, "status", "run", "--exit-code")
    assert status.code == 1
    assert ", 1 ranks: dead" in status.out
    assert "the same `shapempi run` command goes on" in status.out


def test_status_after_a_run(reference, crew):
    result = verb(crew, "status", "run", "--exit-code")
    assert (result.code, result.err) == (0, "")
    assert ", 5 ranks: ended" in result.out
    n_block = sum(uid.startswith("block:") for uid in last_job(crew))
    for kind, number in (("ccd", 4), ("tile", 1), ("block", n_block)):
        assert re.search(rf"{kind} +{number} +{number} +0 +0 +0", result.out), result.out
    result = verb(reference, "status", ".")
    assert result.code == 3
    assert "not the folder of a run" in result.err


def test_gather_refuses_to_replace(reference, tmp_path):
    path = reference / "run" / "catalogue.h5"
    before = path.read_bytes()
    result = verb(reference, "gather", "run")
    assert result.code == 0
    assert "1 of 1 files were made from the same results before and are as they were" in result.out
    other = tmp_path / "catalogue.h5"
    other.write_bytes(b"something else")
    result = verb(reference, "gather", "run", "--output", other)
    assert result.code == 2
    assert result.complaints == [f"shapempi: {other} is already there; give --overwrite to replace it, or another name"]
    assert other.read_bytes() == b"something else"
    assert path.read_bytes() == before
    result = verb(reference, "gather", "run", "--output", "nowhere/catalogue.h5")
    assert result.code == 2
    assert "nowhere/catalogue.h5: cannot be written: the folder is missing" in result.complaints[0]


def part_files(folder):
    return sorted((folder / "run" / "parts").glob("*/rank-*.h5"))


def assert_same_rows(folder, reference, lacking):
    """Check that a catalogue has the reference's rows but those of some units."""
    rows, whole = (read_table(each / "run" / "catalogue.h5") for each in (folder, reference))
    assert 0 < len(rows) < len(whole)
    assert rows.tobytes() == whole[np.isin(whole["NUMBER"], rows["NUMBER"])].tobytes()
    with h5py.File(folder / "run" / "catalogue.h5", locking=False) as file:
        assert {name.decode() for name in file["missing"][()]} == lacking


@pytest.mark.parametrize("damage", ["deleted", "cut off"])
def test_gather_without_a_part(crew, reference, tmp_path, damage):
    shutil.copytree(crew / "run", tmp_path / "run", ignore=shutil.ignore_patterns("catalogue.h5"))
    before = last_job(crew)
    # One without the tile: without its product there is no block either.
    part = next(path for path in part_files(tmp_path) if str(path).endswith(f"/{file_of(before, rank_not_of(before))}"))
    lacking = {uid for uid, outcome in before.items() if outcome["place"][0].endswith(part.name)}
    if damage == "deleted":
        part.unlink()
    else:
        part.write_bytes(part.read_bytes()[: part.stat().st_size // 2])
    result = verb(tmp_path, "gather", "run")
    assert result.code == 1
    assert "Traceback" not in result.err
    for uid in lacking:
        assert f"shapempi: not in the catalogue: {uid}; see `shapempi status run`" in result.err
    assert (f"damaged part file: run/parts/{part.parent.name}/{part.name}: " in result.err) == (damage == "cut off")
    assert_same_rows(tmp_path, reference, lacking)


def rank_not_of(outcomes):
    """Return a rank that committed a block, but not the tile."""
    owner = outcomes[TILE]["rank"]
    return next(o["rank"] for uid, o in sorted(outcomes.items()) if uid.startswith("block:") and o["rank"] != owner)


def file_of(outcomes, rank):
    return next(outcome["place"][0].rpartition("/")[2] for outcome in outcomes.values() if outcome["rank"] == rank)


def test_gather_from_a_damaged_part_and_its_cure(crew, reference, survey, tmp_path):
    """Bytes that rotted inside a block: no catalogue; with the file out of the way the run does its units again."""
    folder = place(survey, tmp_path, ("block_size = 25", "block_size = 7"))
    shutil.copytree(crew / "run", folder / "run", ignore=shutil.ignore_patterns("catalogue.h5"))
    outcome = next(o for uid, o in sorted(last_job(crew).items()) if uid.startswith("block:"))
    part = folder / "run" / outcome["place"][0]
    with h5py.File(part, "r", locking=False) as file:
        name = next(name for name in file["units"] if name.startswith(outcome["uid"] + "~"))
        chunk = file["units"][name]["arrays/catalogue"].id.get_chunk_info(0)
    content = bytearray(part.read_bytes())
    content[chunk.byte_offset + chunk.size // 2] ^= 0xFF
    part.write_bytes(content)
    result = verb(folder, "gather", "run")
    assert result.code == 1
    (line,) = result.complaints
    assert f"run/{outcome['place'][0]}: /units/{name}" in line
    assert "with the file moved away, the next run does its units again" in line
    assert [path.name for path in (folder / "run").glob("*catalogue*")] == ["star_catalogue.h5"]
    part.rename(tmp_path / "away.h5")
    assert shapempi(folder, "run", "chain.toml", n_rank=3).code == 0
    done = {uid for uid, after in last_job(folder).items() if not after["restored"]}
    assert done == {uid for uid, before in last_job(crew).items() if before["rank"] == outcome["rank"]}
    assert verb(folder, "gather", "run").code == 0
    assert differences(folder, reference) == []


@pytest.mark.parametrize("grammar", ["native", "legacy", "v2"])
def test_export(reference, tmp_path, grammar):
    path = tmp_path / "out.fits"
    result = verb(reference, "export", "run", "--format", "fits", "--grammar", grammar, "--output", path)
    assert result.code == 0, result
    native = read_table(reference / "run" / "catalogue.h5")
    assert result.out == f"{path}: {len(native)} rows\n"
    columns = columns_of(grammar)
    with fitsio.FITS(str(path)) as fits:
        rows, header = fits["RESULTS"].read(), fits["RESULTS"].read_header()
    assert rows.dtype.names == tuple(column.name for column in columns)
    assert [header.get(f"TUNIT{k}", "").strip() for k in range(1, len(columns) + 1)] == [c.unit for c in columns]
    assert len(rows) == len(native)
    nothing = np.isnan(native["g1_1p"])
    assert 0 < nothing.sum() < len(native)
    if grammar == "native":
        assert len(columns) == len(COLUMNS)
        for column in columns:
            np.testing.assert_array_equal(rows[column.name].astype(column.dtype), native[column.name])
        result = verb(reference, "export", "run", "--output", path)
        assert result.code == 2
        assert f"{path} is already there; give --overwrite" in result.complaints[0]
        return
    np.testing.assert_array_equal(rows["TILE_ID"].astype("S7"), native["tile"])
    for name in ("NUMBER", "XWIN_WORLD", "MAG_AUTO", "SPREAD_CLASS", "N_EPOCH"):
        np.testing.assert_array_equal(rows[name], native[name])
    np.testing.assert_array_equal(rows["NGMIX_FLUX_ERR_2M"], np.where(nothing, -1, native["flux_err_2m"]))
    np.testing.assert_array_equal(rows["NGMIX_T_ERR_NOSHEAR"], np.where(nothing, 1e30, native["T_err_noshear"]))
    for component in (1, 2):
        shear = np.where(nothing, -10, native[f"g{component}_1p"])
        old = rows["NGMIX_ELL_1P"][:, component - 1] if grammar == "legacy" else rows[f"NGMIX_G{component}_1P"]
        np.testing.assert_array_equal(old, shear)


def test_report(reference, tmp_path):
    result = verb(reference, "report", "run")
    assert (result.code, result.err) == (0, "")
    folder = reference / "run" / "report"
    picture = folder / "overview.png"
    assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size > 10_000
    text = (folder / "report.txt").read_text()
    n_row = len(read_table(reference / "run" / "catalogue.h5"))
    for line in (
        f"catalogue rows {n_row};",
        "block: shapes",
        "against the truth, survey/truth.h5",
        "completeness at S/N",
    ):
        assert line in text
        assert line in result.out
    assert result.out.rstrip().endswith("run/report/report.html\nrun/report/overview.png")
    page = (folder / "report.html").read_text()
    assert page.count('src="data:image/png;base64,') == 4  # ranks, cost, memory, overview
    assert f"run/catalogue.h5: {n_row} objects" in page
    markdown = (folder / "report.md").read_text()
    assert "Nothing failed." in markdown
    assert "    against the truth, survey/truth.h5" in markdown
    result = verb(tmp_path, "report", "run")
    assert result.code == 3
    assert "run: not the folder of a run: plan.json cannot be read" in result.err


def test_report_of_a_run_that_is_not_gathered(reference, tmp_path):
    shutil.copytree(reference, tmp_path / "copy", ignore=shutil.ignore_patterns("catalogue.*", "report"))
    result = verb(tmp_path / "copy", "report", "run")
    assert (result.code, result.err) == (0, "")
    text = "There is no catalogue yet, so nothing is said of it; `shapempi gather run` makes it."
    folder = tmp_path / "copy" / "run" / "report"
    assert text in (folder / "report.txt").read_text()
    assert text in (folder / "report.html").read_text()
    assert not (folder / "overview.png").exists()
    result = verb(tmp_path / "copy", "report", "run", "--truth", "survey/truth.h5")
    assert result.code == 3
    assert "run/catalogue.h5: there is no catalogue; make it with `shapempi gather`" in result.err


def test_simulate_refuses_to_replace_a_survey(survey, tmp_path):
    folder = place(survey, tmp_path)
    result = shapempi(folder, "simulate", "chain.toml")
    assert result.code == 2
    assert "exists already" in result.complaints[0]
    (folder / "chain.toml").write_text((folder / "chain.toml").read_text().partition("[simulation]")[0])
    result = shapempi(folder, "simulate", "chain.toml", n_rank=2)
    assert result.code == 2
    assert result.complaints == ["shapempi: chain.toml: there is no table [simulation], so nothing to simulate"]


def test_ranks_simulate_the_same_survey(survey, tmp_path):
    configure(tmp_path)
    result = shapempi(tmp_path, "simulate", "chain.toml", n_rank=2)
    assert result.code == 0, result
    names = sorted(path.relative_to(survey) for path in survey.rglob("*.fits*"))
    assert len(names) == 9
    for name in names:
        assert fitsio_content(tmp_path / "survey" / name) == fitsio_content(survey / name), name


def fitsio_content(path):
    with fitsio.FITS(str(path)) as file:
        return [hdu.read().tobytes() for hdu in file if hdu.has_data()]


def test_words_that_are_no_command(tmp_path):
    result = verb(tmp_path, "measure")
    assert result.code == 2
    assert "invalid choice: 'measure'" in result.err
    result = shapempi(tmp_path, "--help")
    assert result.code == 0
    for word in ("simulate", "plan", "run", "status", "gather", "report", "export", "config"):
        assert f"    {word} " in result.out
    assert "2  wrong configuration or command line" in result.out


def test_the_journal_tells_who_did_what(crew):
    events = [json.loads(line) for line in (crew / "run" / "journal.jsonl").read_text().splitlines()]
    assert [events[0]["event"], events[-1]["event"]] == ["start", "stop"]
    assert events[0]["n_rank"] == 5
    assert events[-1]["exit_code"] == 0
