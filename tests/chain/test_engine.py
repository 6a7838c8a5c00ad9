"""The engine with the whole chain: crashes, limits, drains, quarantine, and folders that belong to something else."""

import json
import os
import shutil
import signal
import time

import pytest
from chain.program import ranks, shapempi, started, verb, wait_for
from chain.tiny import TILE, block_size, committed, copy_of, differences, failed, last_job, place

from shapempi.fault import VARIABLE
from shapempi.io.catalog import read_table
from shapempi.io.journal import read_journal
from shapempi.selftest.launch import finish


def settings(**keys):
    """Return the change of the configuration that sets keys of [run]."""
    lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in keys.items())
    return "block_size = 25\n", lines


def complete(folder, reference):
    """Resume, gather, compare."""
    result = shapempi(folder, "run", "chain.toml", n_rank=2)
    assert result.code == 0, result
    assert verb(folder, "gather", "run").code == 0
    assert differences(folder, reference) == []


@pytest.mark.parametrize("n_rank", [None, 3])
def test_a_crash_costs_a_unit_and_not_the_run(reference, survey, tmp_path, n_rank):
    folder = place(survey, tmp_path)
    result = shapempi(folder, "run", "chain.toml", n_rank=n_rank, **{VARIABLE: "segv:begin:ccd:*-21:2"})
    assert result.code == 1, result
    assert "ccd:2243881-21 is tried again: crash: CrashError: the process that did it ended by SIGSEGV" in result.err
    assert failed(folder) == {"ccd:2243881-21": ("CrashError", "the process that did it ended by SIGSEGV")}
    outcome = last_job(folder)["ccd:2243881-21"]
    assert (outcome["failure"], outcome["attempt"]) == ("crash", 2)
    assert "Fatal Python error: Segmentation fault" in outcome["traceback"]
    complete(folder, reference)


def test_limits_of_time_and_memory(reference, survey, tmp_path):
    folder = place(survey, tmp_path, settings(block_size=25, time_limit=3.0, memory_limit=1.0))
    result = shapempi(folder, "run", "chain.toml", n_rank=3, **{VARIABLE: "bomb:begin:tile:*:2"})
    assert result.code == 1, result
    assert failed(folder)[TILE][0] in ("MemoryLimitError", "MemoryError")
    result = shapempi(folder, "run", "chain.toml", n_rank=2, **{VARIABLE: "hang:begin:block:*:1"})
    assert result.code == 0, result
    assert "is tried again: timeout: TimeLimitError: ran for more than 3 s (run.time_limit)" in result.err
    complete(folder, reference)


def test_without_isolation_the_bits_are_the_same(reference, survey, tmp_path):
    folder = place(survey, tmp_path, settings(block_size=25, isolate=False))
    assert shapempi(folder, "run", "chain.toml", n_rank=3).code == 0
    complete(folder, reference)


def test_it_drains_when_it_is_asked_to_and_goes_on(reference, survey, tmp_path):
    folder = place(survey, tmp_path, block_size(7))
    with started(folder, "run", "chain.toml", n_rank=3) as process:
        wait_for(lambda: committed(folder), process, "a commit")
        for pid in ranks(process):
            os.kill(pid, signal.SIGUSR1)
        result = finish(process)
    assert result.code == 10, result
    assert "no more units are given out: SIGUSR1" in result.err
    assert "drained before the survey was complete; the same command goes on" in result.out
    assert verb(folder, "status", "run", "--exit-code").code == 10
    complete(folder, reference)


def test_it_ends_before_the_allocation_does(reference, survey, tmp_path):
    folder = place(survey, tmp_path, block_size(7))
    start = time.monotonic()
    result = shapempi(folder, "run", "chain.toml", "--walltime", "0:30", n_rank=2)  # the margin is 60 s
    assert time.monotonic() - start < 60.0
    assert result.code == 10, result
    assert "the allocation ends (--walltime)" in result.err
    assert committed(folder) == set()
    complete(folder, reference)


@pytest.mark.parametrize("n_rank", [None, 3])
def test_a_walltime_that_is_none_and_a_fault_that_nobody_knows(survey, tmp_path, n_rank):
    folder = place(survey, tmp_path)
    result = shapempi(folder, "run", "chain.toml", "--walltime", "soon", n_rank=n_rank)
    assert result.code == 2
    (line,) = result.complaints
    assert line.startswith("shapempi: --walltime: 'soon' is no time span: write minutes, ")
    result = shapempi(folder, "run", "chain.toml", n_rank=n_rank, **{VARIABLE: "earthquake"})
    assert result.code == 2
    assert "write KIND:MOMENT:UNITS:TIMES" in result.complaints[0]
    assert not (folder / "run").exists()


def test_a_replaced_input_is_refused_or_accepted(survey, tmp_path):
    folder = place(survey, tmp_path)
    assert shapempi(folder, "run", "chain.toml", n_rank=2).code == 0
    before = committed(folder)
    path = copy_of(folder / "survey" / "exposures" / "2243881p.fits.fz")
    os.utime(path, ns=(1, 1))
    result = shapempi(folder, "run", "chain.toml", n_rank=2)
    assert result.code == 2
    assert f"{path.relative_to(folder)}: size or date is not what it was" in result.err
    assert "--accept inputs" in result.err
    assert shapempi(folder, "run", "chain.toml", "--accept", "inputs", n_rank=2).code == 0
    starts = [event["accepted"] for event in read_journal(folder / "run")[0] if event["event"] == "start"]
    assert starts == [[], ["inputs"]]
    assert shapempi(folder, "run", "chain.toml", n_rank=2).code == 0
    assert committed(folder) == before


def test_other_code_and_another_configuration_are_refused_or_accepted(reference, survey, tmp_path):
    folder = place(survey, tmp_path, ("seed = 5", "seed = 6"))
    shutil.copytree(reference / "run", folder / "run")
    result = shapempi(folder, "run", "chain.toml")
    assert result.code == 2
    assert "made with another configuration" in result.err and "--accept config" in result.err
    (folder / "run" / "code.digest").write_text("0123456789abcdef\n")
    result = shapempi(folder, "run", "chain.toml", "--accept", "config")
    assert result.code == 2
    assert "made with another version of the code" in result.err and "--accept code" in result.err
    result = shapempi(folder, "run", "chain.toml", "--accept", "config", "--accept", "code", "--accept", "inputs")
    assert result.code == 0, result


def test_quarantine_is_kept_until_it_is_lifted(reference, survey, tmp_path):
    folder = place(survey, tmp_path, block_size(7))
    (folder / "run").mkdir()
    line = {
        "event": "unit",
        "time": 1.0,
        "job": "0000",
        "uid": "ccd:2243881-22",
        "kind": "ccd",
        "state": "quarantined",
        "place": None,
        "error": "LostRankError",
        "failure": "lost",
        "reason": "rank 3 on n1: it has died",
        "traceback": "",
        "seconds": {},
        "elapsed": 0.0,
        "cpu": 0.0,
        "rss_peak": 0,
        "rank": 3,
        "host": "n1",
        "restored": False,
    }
    (folder / "run" / "journal.jsonl").write_text(json.dumps(line) + "\n")
    result = shapempi(folder, "run", "chain.toml", n_rank=2)
    assert result.code == 1, result
    reason = "rank 3 on n1: it has died; --retry-quarantined tries it again"
    assert failed(folder) == {"ccd:2243881-22": ("LostRankError", reason)}
    assert shapempi(folder, "run", "chain.toml", n_rank=2).code == 1
    result = shapempi(folder, "run", "chain.toml", "--retry-quarantined", n_rank=2)
    assert result.code == 0, result
    assert verb(folder, "gather", "run").code == 0
    assert differences(folder, reference) == []


def test_costs_are_learned_and_written_down(crew):
    events, _ = read_journal(crew / "run")
    stop = [event for event in events if event["event"] == "stop"][-1]
    assert stop["costs"]["block"]["n_unit"] > 5
    blocks = [event for event in events if event["event"] == "unit" and event["kind"] == "block"]
    assert all(event["cost"] > 0 and event["begin"] > 1e9 and event["attempt"] == 1 for event in blocks)


def test_the_ledger_of_a_run(crew):
    shown = verb(crew, "ledger", "show", "run")
    assert shown.code == 0
    assert "4 ccd" in shown.out and "1 tile" in shown.out and "part files" in shown.out
    rebuilt = verb(crew, "ledger", "rebuild", "run")
    assert (rebuilt.code, rebuilt.out) == (0, shown.out)
    assert verb(crew, "ledger", "show", "nowhere").code == 3


def test_ranks_gather_files_side_by_side(reference, crew, tmp_path):
    result = shapempi(crew, "gather", "run", "--shards", "2", "--output", str(tmp_path / "catalogue"), n_rank=3)
    assert result.code == 0, result
    assert result.out.startswith(f"{tmp_path / 'catalogue'}: ")
    assert read_table(tmp_path / "catalogue").tobytes() == read_table(crew / "run" / "catalogue.h5").tobytes()
    assert verb(crew, "gather", "run", "--shards", "0").code == 2
    result = shapempi(crew, "gather", "nowhere", "--shards", "2", n_rank=3)
    assert result.code != 0
    assert result.complaints == ["shapempi: nowhere: not the folder of a run: plan.json cannot be read"]
