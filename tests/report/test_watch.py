"""Status of a run: how fast it is, what it says to scripts, and watching it until it ends."""

import io
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from chain.program import verb
from report.simulated_run import START, make_plan, simulate, write_run
from rich.console import Console

from shapempi.io.journal import read_status, write_status
from shapempi.io.parts import PartWriter
from shapempi.product import Product
from shapempi.report.status import RunStatus
from shapempi.report.watch import watch
from shapempi.reporting import survey_view

#: Beginning of the job and time that each unit takes [s] where a test needs round numbers.
KINDS = {"ccd": 10.0, "tile": 20.0, "block": 30.0}
STATES = ("waiting", "ready", "running", "done", "failed", "blocked", "quarantined")


def counts_of(**kinds):
    """Counts by kind from (done, running, waiting), and of failed ones where there are any."""
    return {
        kind: dict.fromkeys(STATES, 0) | dict(zip(("done", "running", "waiting", "failed"), numbers, strict=False))
        for kind, numbers in kinds.items()
    }


def write_state(folder, counts, *, now, code=None, n_rank=3, job="0001"):
    """Write the status of a run as this machine's: this process is its rank 0."""
    values = {"job": job, "host": os.uname().nodename, "pid": os.getpid(), "n_rank": n_rank, "start": START}
    values |= {"time": now, "counts": counts, "seconds_left": None if code is not None else 75.0, "exit_code": code}
    write_status(folder, values)


def line(uid, begin, *, rank=1, state="done", n_row=0, event="unit", **more):
    kind = uid.partition(":")[0]
    elapsed = more.pop("elapsed", KINDS[kind])
    return {
        "event": event, "time": START + begin + elapsed, "job": "0001", "uid": uid, "kind": kind, "state": state,
        "place": ["f", uid, 1, n_row] if state == "done" else None, "error": "", "reason": "", "traceback": "",
        "failure": "", "seconds": {}, "elapsed": elapsed, "cpu": elapsed, "rss_peak": 1, "rank": rank, "host": "n1",
        "restored": False, "begin": START + begin, "cost": 1.0, "attempt": 1,
    } | more  # fmt: skip


@pytest.fixture
def half_way(tmp_path):
    """Two tiles of 4 CCDs each: all CCDs and one tile done, one of its four blocks; the other tile runs."""
    plan = make_plan(2, n_exposure=1)
    uids = [ccd.uid for ccd in plan.ccds]
    events = [{"event": "start", "time": START, "job": "0001", "n_rank": 3}]
    events += [line(uid, 10.0 * k, rank=1) for k, uid in enumerate(uids[:4])]
    events += [line(uid, 10.0 * k, rank=2) for k, uid in enumerate(uids[4:])]
    events += [line("tile:000.000", 40.0, rank=1), line("block:000.000:0", 60.0, rank=1, n_row=450)]
    events += [
        line(uids[0], 0.0, event="retry", state="failed", failure="io", error="OSError", elapsed=0.0, reason="stale"),
        {"event": "lost", "time": START + 41.0, "job": "0001", "rank": 2, "host": "n7", "uid": "tile:000.001"},
    ]
    write_run(tmp_path, plan, events)
    write_state(tmp_path, counts_of(ccd=(8, 0, 0), tile=(1, 1, 0), block=(1, 1, 2)), now=START + 90.0)
    return tmp_path, survey_view(plan)


def test_share_rate_and_busy_fraction(half_way):
    folder, survey = half_way
    work = RunStatus.read(folder, survey).work
    # 8 CCDs of 10 s and 1 of 2 tiles of 20 s are behind it; a quarter of its blocks took 30 s, so all take 240 s.
    assert work.share == pytest.approx((80 + 20 + 30) / (80 + 40 + 240))
    assert work.objects == pytest.approx(450 / 90)
    assert work.busy == pytest.approx((80 + 20 + 30) / (90 + 40))  # until each rank last ended a unit
    assert [(a.uid, a.elapsed) for a in work.slowest[:2]] == [("block:000.000:0", 30.0), ("tile:000.000", 20.0)]
    assert len(work.slowest) == 3
    assert RunStatus.read(folder).work.share is None


def test_the_lines_of_a_status(half_way):
    folder, survey = half_way
    write_state(folder, read_status(folder)["counts"], now=time.time())
    status = RunStatus.read(folder, survey)
    text = "\n".join(status.lines())
    assert status.state == "running"
    assert "36% of the predicted work done, 0 objects/s, ranks busy 100%, 2 of 2 at work" in text
    assert "slowest: block:000.000:0 30 s, tile:000.000 20 s, ccd:" in text
    assert "attempts tried again: io 1" in text
    assert "failures by class" not in text
    assert "ranks lost: 2 (n7)" in text
    assert status.line().startswith("running, 36% of the predicted work done, ")
    assert status.line().endswith("ccd 8/8, tile 1/2, block 1/4, about 1 min 15 s left")


def test_only_the_latest_job_counts(half_way):
    folder, survey = half_way
    write_state(folder, counts_of(ccd=(0, 0, 8), tile=(0, 0, 2)), now=START + 500.0, job="0002")
    status = RunStatus.read(folder, survey)
    assert (status.work.share, status.work.slowest, status.record.lost) == (0.0, (), ())


@pytest.mark.parametrize("code", [0, 1, 3, 10])
def test_the_verdict_is_the_runs_own(tmp_path, code):
    plan = make_plan(1)
    events = simulate(plan, 3, code=code, trouble=0.6 if code == 1 else 0.0)
    if code == 10:
        events.insert(-1, {"event": "drain", "time": events[-1]["time"], "job": "0001", "reason": "SIGUSR1"})
    write_run(tmp_path / "run", plan, events)
    write_state(
        tmp_path / "run", counts_of(ccd=(12, 0, 0), tile=(1, 0, 0), block=(12, 0, 0)), now=time.time(), code=code
    )
    assert verb(tmp_path, "status", "run").code == 0
    for options in ([], ["--watch", "--interval", "0.01"]):
        result = verb(tmp_path, "status", "run", "--exit-code", *options)
        assert (result.code, result.err) == (code, "")
        assert f"exit code {code}" in result.out
        assert ("asked to end: SIGUSR1" in result.out) == (code == 10)
        assert ("failures by class: " in result.out) == (code == 1)


def test_a_status_of_an_older_run(tmp_path):
    """No quarantined units, no begin and no cost in it."""
    plan = make_plan(1)
    events = simulate(plan, 3, n_block=2)
    for event in events:
        for name in ("begin", "cost", "attempt", "failure"):
            event.pop(name, None)
    write_run(tmp_path, plan, events)
    counts = counts_of(ccd=(12, 0, 0), tile=(1, 0, 0), block=(2, 0, 0))
    for states in counts.values():
        del states["quarantined"]
    write_state(tmp_path, counts, now=events[-1]["time"], code=0)
    status = RunStatus.read(tmp_path, survey_view(plan))
    assert status.work.share == pytest.approx(1.0)
    assert "ccd             12      12        0       0        0            0" in "\n".join(status.lines())


def test_committed_units_are_counted_in_the_part_files(tmp_path):
    write_run(tmp_path / "run", make_plan(1), [])
    assert verb(tmp_path, "status", "run", "--committed").out == "0\n"
    for rank in (1, 2):
        writer = PartWriter(tmp_path / "run", "0001", rank)
        for k in range(3):
            writer.commit(f"ccd:{rank}-{k}", Product({"x": np.arange(4)}))
    result = verb(tmp_path, "status", "run", "--committed")
    assert (result.code, result.out, result.err) == (0, "6\n", "")
    path = next((tmp_path / "run" / "parts").glob("*/rank-00002.h5"))
    path.write_bytes(b"not HDF5")
    result = verb(tmp_path, "status", "run", "--committed")
    assert (result.code, result.out) == (0, "3\n")
    assert "damaged part file" in result.err
    assert verb(tmp_path, "status", "run", "--committed", "--watch").code == 2
    assert verb(tmp_path, "status", ".").code == 3


def test_watching_by_lines_ends_with_the_run(half_way):
    folder, survey = half_way
    counts = counts_of(ccd=(8, 0, 0), tile=(2, 0, 0), block=(4, 0, 0))
    write_state(folder, counts, now=time.time())
    looks = []

    def read():
        looks.append(1)
        if len(looks) == 3:
            write_state(folder, counts, now=time.time(), code=0)
        return RunStatus.read(folder, survey)

    text = io.StringIO()
    state = watch(read, 0.001, Console(file=text, width=300))
    lines = text.getvalue().splitlines()
    assert (state.state, len(looks)) == ("ended", 3)
    assert [" running, " in each for each in lines[:3]] == [True, True, False]
    assert lines[2].endswith("3 ranks: ended")
    assert "\x1b" not in text.getvalue()


def test_watching_on_a_terminal_refreshes_in_place(half_way):
    folder, survey = half_way
    write_state(folder, read_status(folder)["counts"], now=time.time())
    states = iter([RunStatus.read(folder, survey)] * 2)
    write_state(folder, read_status(folder)["counts"], now=time.time() - 1000.0)
    dead = RunStatus.read(folder, survey)
    text = io.StringIO()
    state = watch(lambda: next(states, dead), 0.001, Console(file=text, width=120, height=50, force_terminal=True))
    assert state is dead
    assert state.exit_code == 1
    assert "\x1b[1A" in text.getvalue()  # the cursor goes up again
    assert text.getvalue().endswith("\n".join(dead.lines()) + "\n")
    assert text.getvalue().count("\x1b[?25h") == 1  # and is visible at the end


def test_interval_must_be_positive(half_way):
    folder, _ = half_way
    result = verb(folder, "status", ".", "--watch", "--interval", "0")
    assert result.code == 2
    assert "--interval 0: the time between two looks must be greater than 0 s" in result.err


def test_interrupt_ends_the_watching_quietly(half_way):
    folder, _ = half_way
    write_state(folder, read_status(folder)["counts"], now=time.time() + 1000.0)
    with subprocess.Popen(
        [sys.executable, "-m", "shapempi", "status", str(folder), "--watch", "--interval", "0.05"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        guard = threading.Timer(60.0, process.kill)
        guard.start()
        try:
            assert " running, " in process.stdout.readline()
            process.send_signal(signal.SIGINT)
            _, err = process.communicate()
        finally:
            guard.cancel()
            process.kill()
    assert (process.returncode, err) == (130, "")
