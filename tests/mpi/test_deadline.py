"""When the allocation ends."""

import math
import time

import pytest

from shapempi.mpi.deadline import Deadline, find_deadline, parse_walltime


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 5400),
        ("90:30", 5430),
        ("2:00:00", 7200),
        ("1-2", 93600),
        ("1-02:03", 93780),
        ("1-02:03:04", 93784),
        ("0:20", 20),
    ],
)
def test_time_spans_as_slurm_writes_them(text, seconds):
    assert parse_walltime(text) == seconds


@pytest.mark.parametrize("text", ["", "UNLIMITED", "INVALID", "1:2:3:4", "-5", "1.5", "2 h"])
def test_what_is_no_time_span(text):
    with pytest.raises(ValueError, match="no time span"):
        parse_walltime(text)


def test_the_earlier_end_counts():
    end = time.time() + 1000
    found = find_deadline("0:30", {"SLURM_JOB_END_TIME": str(int(end))})
    assert found.source == "--walltime"
    assert 25 < found.left() <= 30
    found = find_deadline("1:00:00", {"SLURM_JOB_END_TIME": str(int(end))})
    assert (found.source, found.time) == ("SLURM_JOB_END_TIME", int(end))


def test_squeue_is_asked_and_may_be_silent(tmp_path, monkeypatch):
    squeue = tmp_path / "squeue"
    squeue.write_text('#!/bin/sh\n[ "$*" = "-h -j 77 -o %L" ] && echo 1:02:03\n')
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    found = find_deadline(None, {"SLURM_JOB_ID": "77"})
    assert found.source == "squeue"
    assert 3700 < found.left() <= 3723
    assert find_deadline(None, {"SLURM_JOB_ID": "78"}) == Deadline()
    squeue.unlink()


def test_without_anybody_who_knows_there_is_no_end():
    assert find_deadline(None, {}) == Deadline()
    assert math.isinf(Deadline().left())
