"""The script for a computer without a batch system, made from the plan of a survey and started as a user does."""

import json
import re
import signal
from contextlib import contextmanager

from chain.program import finish, search_path, verb, wait_for
from chain.tiny import committed, differences, place

from shapempi.selftest import launch


@contextmanager
def started(folder):
    """Start the script of a folder on three ranks, from elsewhere: it knows where it belongs."""
    (folder / "bin").mkdir(exist_ok=True)
    more = {"PATH": search_path(folder / "bin"), "RANKS": "3"}
    with launch.started(["bash", str(folder / "job.sh")], folder=folder.parent, more=more) as process:
        yield process


def test_a_script_runs_a_survey_and_goes_on_after_a_signal(reference, survey, tmp_path):
    folder = place(survey, tmp_path)
    result = verb(folder, "jobscript", "chain.toml", "--site", "laptop", "--output", "job.sh")
    assert result.code == 0, result
    with started(folder) as process:
        wait_for(lambda: committed(folder), process, "a commit")
        process.send_signal(signal.SIGTERM)  # to the script alone: it must pass it on
        result = finish(process)
    assert result.code == 10, result
    assert "work is left; the same command goes on" in result.err
    assert not (folder / "run" / "catalogue.h5").exists()
    with started(folder) as process:
        result = finish(process)
    assert result.code == 0, result
    assert json.loads((folder / "run" / "status.json").read_text())["n_rank"] == 3
    assert differences(folder, reference) == []
    assert (folder / "run" / "report" / "report.txt").exists()


def test_the_size_of_a_job_comes_from_the_plan(survey, tmp_path):
    folder = place(survey, tmp_path)
    result = verb(folder, "jobscript", "chain.toml", "--site", "perlmutter")
    assert result.code == 0, result
    assert "#SBATCH --nodes=1\n" in result.out
    assert re.search(r"^# [0-9.e-]+ core-hours are predicted; with a margin of 50 % that takes 0:10:", result.out, re.M)
    assert f"cd -- {folder} || exit 2\n" in result.out
    assert "CONFIG=chain.toml\nRUN=run\n" in result.out


def test_a_configuration_says_where_its_run_is(survey, tmp_path):
    folder = place(survey, tmp_path, ('folder = "run"', 'folder = "some where/run"'))
    assert verb(folder, "config", "chain.toml", "--run-folder").out == "some where/run\n"
