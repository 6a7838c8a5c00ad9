"""Progress, summary and status: what is said of a run is what happened."""

import io
import time

import pytest
from rich.console import Console

from shapempi.io.journal import Journal, write_status
from shapempi.mpi.schedule import Schedule
from shapempi.mpi.unit import Outcome, Place, State, Unit
from shapempi.report.progress import Progress, counter, duration, seconds_left
from shapempi.report.status import RunStatus
from shapempi.report.summary import RunSummary


def done(unit, elapsed, n_row=0):
    place = Place("f", unit.uid, 1, n_row)
    return Outcome(
        unit.uid, unit.kind, State.DONE, place, seconds={"read": elapsed / 4}, elapsed=elapsed, cpu=elapsed / 2
    )


def failed(unit):
    return Outcome(unit.uid, unit.kind, State.FAILED, error="MeasurementError", reason="3 stars, 20 are needed")


def survey():
    schedule = Schedule()
    schedule.add(
        [
            Unit("ccd:1", "ccd", 2.0, 1),
            Unit("ccd:2", "ccd", 2.0, 1),
            Unit("tile:1", "tile", 1.0, after=("ccd:1", "ccd:2"), promised=10.0),
        ]
    )
    return schedule


def test_durations():
    assert [duration(t) for t in (0.2, 59.6, 200, 3599.7, 18_720)] == [
        "0 s",
        "1 min 00 s",
        "3 min 20 s",
        "1 h 00 min",
        "5 h 12 min",
    ]


def test_time_left_follows_cost_and_what_units_took():
    schedule = survey()
    assert seconds_left(schedule, 2) is None
    schedule.finish(done(schedule.next(), 6.0))  # three times the prediction
    assert seconds_left(schedule, 2) == pytest.approx(3.0 * (2.0 + 1.0 + 10.0) / 2)
    schedule.finish(done(schedule.next(), 6.0))
    schedule.finish(done(schedule.next(), 0.5))  # tiles are faster than predicted
    schedule.add([Unit("block:1", "block", 10.0)])
    assert seconds_left(schedule, 1) == pytest.approx(10.0 * 12.5 / 5.0)
    schedule.finish(done(schedule.next(), 1.0))
    assert seconds_left(schedule, 1) == 0.0


def test_a_log_gets_a_line_now_and_then():
    text = io.StringIO()
    schedule = survey()
    with Progress(schedule, 2, interval=0.05, console=Console(file=text, width=200)) as progress:
        progress.tick()
        assert text.getvalue() == ""
        schedule.finish(done(schedule.next(), 6.0))
        schedule.next()
        time.sleep(0.06)
        progress.tick()
        progress.tick()
        progress.say("ccd:2 failed: DataError: [x] truncated")
        lines = text.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("shapempi: ccd 1/2, tile 0/1, 1 running, 0 s gone, about 20 s left")
    assert lines[1] == "shapempi: ccd:2 failed: DataError: [x] truncated"
    assert len(text.getvalue().splitlines()) == 3  # and one at the end


def test_a_terminal_gets_a_bar():
    text = io.StringIO()
    schedule = survey()
    console = Console(file=text, width=120, force_terminal=True)
    with Progress(schedule, 2, interval=60.0, console=console) as progress:
        schedule.finish(failed(schedule.next()))
        progress.tick()
    assert "1 FAILED" in text.getvalue()
    assert "━" in text.getvalue()


def test_a_counter():
    text = io.StringIO()
    with counter("simulate", shown=True, console=Console(file=text, width=200)) as step:
        step(1, 4, "2243881p")
    assert text.getvalue() == "simulate: 1/4 2243881p, 0 s\n"
    with counter("simulate", shown=False) as step:
        step(1, 4, "")


def test_summary_adds_up():
    summary = RunSummary()
    block = Unit("block:1", "block")
    for outcome in (
        done(Unit("ccd:1", "ccd"), 8.0),
        failed(Unit("ccd:2", "ccd")),
        Outcome("tile:1", "tile", State.BLOCKED, reason="needs ccd:2, which failed"),
        done(block, 2.0, n_row=17),
        Outcome("block:2", "block", State.DONE, Place("f", "g", 1, 5), restored=True),
    ):
        summary.add(outcome.record())
    text = "\n".join(summary.lines(wall=10.0, n_worker=2))
    assert (summary.rows, summary.restored, summary.n_failed) == (22, 1, 2)
    assert "ccd              1        1        0" in text
    assert "tile             0        0        1" in text
    assert "catalogue rows 22; 1 units were committed before" in text
    assert "ccd: read" in text
    assert "workers busy 50%" in text
    assert "MeasurementError (1)\n  ccd:2: 3 stars, 20 are needed" in text
    assert "tile:1: needs ccd:2, which failed" in text


def test_many_failures_of_one_class_are_cut():
    summary = RunSummary()
    for k in range(50):
        summary.add(failed(Unit(f"ccd:{k}", "ccd")).record())
    lines = summary.failure_lines()
    assert "MeasurementError (50)" in lines
    assert "and 42 more; see journal.jsonl" in lines[-1]


def status_of(folder, *, age=0.0, code=None):
    schedule = survey()
    with Journal(folder, job="0002") as journal:
        unit = schedule.next()
        journal.write("unit", failed(unit).record())
        schedule.finish(failed(unit))
        schedule.next()
    write_status(
        folder,
        {
            "job": "0002",
            "host": "n1",
            "n_rank": 3,
            "time": time.time() - age,
            "counts": schedule.counts(),
            "seconds_left": 75.0,
            "exit_code": code,
        },
    )
    return RunStatus.read(folder)


def test_status_of_a_run_that_goes_on(tmp_path):
    status = status_of(tmp_path)
    text = "\n".join(status.lines())
    assert status.exit_code == 1
    assert "job 0002 on n1, 3 ranks: running" in text
    assert "about 1 min 15 s left" in text
    assert "ccd:1: 3 stars, 20 are needed" in text


def test_status_of_a_run_that_was_killed_ended_or_never_was(tmp_path):
    text = "\n".join(status_of(tmp_path, age=300.0).lines())
    assert "dead" in text
    assert "nothing was heard of it for 5 min 00 s; the same `shapempi run` command goes on" in text
    assert "left" not in text
    status = status_of(tmp_path, age=9999.0, code=0)
    assert (status.state, status.exit_code) == ("ended", 0)
    nothing = RunStatus.read(tmp_path / "nothing")
    assert nothing.exit_code == 1
    assert nothing.lines() == ["this run has not started any unit"]


def test_status_beside_a_torn_journal(tmp_path):
    status_of(tmp_path)
    with (tmp_path / "journal.jsonl").open("ab") as file:
        file.write(b'{"event": "unit", "ti')
    assert len(RunStatus.read(tmp_path).summary.failures) == 1
