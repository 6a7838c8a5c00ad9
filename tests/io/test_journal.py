"""The journal and the status file: what a crash leaves of them can be read."""

import json

import pytest

from shapempi.io.atomic import replacing
from shapempi.io.journal import Journal, read_journal, read_status, write_status


def test_what_is_written_is_read(tmp_path):
    with Journal(tmp_path, job="0001", clock=lambda: 12.3456) as journal:
        journal.write("start", {"n_rank": 3})
        for k in range(100):
            journal.write("unit", {"uid": f"u{k}", "reason": "two\nlines, ü"})
        journal.write("stop")
    events, n_torn = read_journal(tmp_path)
    assert n_torn == 0
    assert events[0] == {"event": "start", "time": 12.346, "job": "0001", "n_rank": 3}
    assert [event["uid"] for event in events[1:-1]] == [f"u{k}" for k in range(100)]
    assert events[-1]["event"] == "stop"


def test_lines_reach_the_file_in_time(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("shapempi.io.journal.time.monotonic", lambda: now[0])
    with Journal(tmp_path) as journal:
        journal.write("start")
        assert len(read_journal(tmp_path)[0]) == 1  # what is not a unit goes at once
        for k in range(63):
            journal.write("unit", {"uid": str(k)})
        assert len(read_journal(tmp_path)[0]) == 1
        journal.write("unit", {"uid": "63"})
        assert len(read_journal(tmp_path)[0]) == 65  # after 64 lines
        journal.write("unit", {"uid": "64"})
        now[0] = 1.1
        journal.tick()
        assert len(read_journal(tmp_path)[0]) == 66  # after a second


def test_a_torn_last_line_costs_that_line_only(tmp_path):
    with Journal(tmp_path) as journal:
        for k in range(3):
            journal.write("unit", {"uid": str(k)})
    path = tmp_path / "journal.jsonl"
    whole = path.read_bytes()
    last = whole.rstrip(b"\n").rindex(b"\n") + 1
    for cut in range(last + 1, len(whole) - 1):
        path.write_bytes(whole[:cut])
        events, n_torn = read_journal(tmp_path)
        assert ([event["uid"] for event in events], n_torn) == (["0", "1"], 1)
        with Journal(tmp_path) as journal:
            journal.write("stop")
        events, n_torn = read_journal(tmp_path)
        assert ([event["event"] for event in events], n_torn) == (["unit", "unit", "stop"], 1)


def test_lines_of_something_else(tmp_path):
    (tmp_path / "journal.jsonl").write_bytes(b'[1]\n\xff\xfe\n{"event": "stop", "time": 1}\n\n17\n')
    events, n_torn = read_journal(tmp_path)
    assert (len(events), n_torn) == (1, 3)
    assert read_journal(tmp_path / "nowhere") == ([], 0)


def test_status_is_replaced_as_a_whole(tmp_path):
    assert read_status(tmp_path) is None
    write_status(tmp_path, {"time": 1.0, "counts": {"ccd": {"done": 1}}})
    write_status(tmp_path, {"time": 2.0})
    assert read_status(tmp_path) == {"time": 2.0}
    assert [path.name for path in tmp_path.iterdir()] == ["status.json"]
    (tmp_path / "status.json").write_text(json.dumps({"time": 2.0})[:-1])
    assert read_status(tmp_path) is None


def test_replacing_keeps_the_old_file_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "x"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_text("half")
        assert path.read_text() == "old"
        raise ZeroDivisionError
    assert path.read_text() == "old"
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]
