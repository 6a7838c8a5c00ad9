"""The engine on real ranks: everything ends, nothing is lost, the result never depends on who did what."""

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from mpi.launch import kill, launch, started

from shapempi.io.journal import read_journal
from shapempi.io.parts import PartReader, scan
from shapempi.mpi.comm import SerialComm
from shapempi.mpi.executor import Inline
from shapempi.mpi.farm import End, lead
from shapempi.mpi.master import Listener
from shapempi.mpi.schedule import Schedule
from shapempi.mpi.signals import Signals
from shapempi.mpi.unit import Outcome, State, Unit

TOY = Path(__file__).with_name("toy.py")
N_CCD, N_TILE = 20, 5
#: 20 CCDs, 5 tiles, 5 reports, 3 blocks of each of the 4 tiles that succeed.
N_UNIT = 42
FAILURES = {
    "ccd:7": ["failed", "MeasurementError", "no stars"],
    "tile:3": ["failed", "IndexError", "list index out of range"],
    "report:3": ["blocked", "", "needs tile:3, which failed: IndexError: list index out of range"],
}


def content(folder):
    """Return everything that a run committed: checksum of each unit, and the attributes of the tiles."""
    found = scan(folder, deep=True)
    reader = PartReader(folder, patience=0.0)
    tiles = {name: reader.read(location).attrs for name, location in found.locations.items() if name.startswith("tile")}
    assert found.damaged == []
    return {name: location.crc32 for name, location in found.locations.items()}, tiles


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The content of an undisturbed run in one process."""
    folder = tmp_path_factory.mktemp("toy") / "serial"
    code, out, err = launch(None, TOY, folder, N_CCD, N_TILE)
    assert code == 0, err
    report = json.loads(out)
    assert report["size"] == 1
    assert report["ranks"] == {"0": N_UNIT - 1, "-1": 1}
    assert report["failures"] == FAILURES
    assert len(list((folder / "parts").glob("*/*.h5"))) == 1
    return content(folder)


@pytest.mark.parametrize("n_rank", [2, 3, 5])
def test_every_unit_ends_and_the_result_is_the_same(tmp_path, reference, n_rank):
    folder = tmp_path / "run"
    code, out, err = launch(n_rank, TOY, folder, N_CCD, N_TILE)
    assert code == 0, err
    report = json.loads(out)
    assert report["size"] == n_rank
    assert report["n_unit"] == report["n_outcome"] == N_UNIT
    assert report["failures"] == FAILURES
    assert report["traceback"]
    assert report["stages"] == ["read", "sleep"]
    assert "0" not in report["ranks"]  # rank 0 only computes if it is alone
    assert content(folder) == reference
    assert len(list((folder / "parts").glob("*/*.h5"))) <= n_rank - 1
    events, n_torn = read_journal(folder)
    assert n_torn == 0
    assert sum(event["event"] == "unit" for event in events) == N_UNIT


@pytest.mark.parametrize(("n_rank", "n_ccd", "n_tile"), [(5, 1, 0), (4, 2, 0), (3, 0, 0), (None, 0, 0), (5, 0, 1)])
def test_more_ranks_than_units_and_none_at_all(tmp_path, n_rank, n_ccd, n_tile):
    code, out, err = launch(n_rank, TOY, tmp_path / "run", n_ccd, n_tile, timeout=30.0)
    assert code == 0, err
    assert json.loads(out)["n_outcome"] == n_ccd + 5 * n_tile


def test_the_same_command_again_does_only_what_failed(tmp_path, reference):
    folder = tmp_path / "run"
    launch(2, TOY, folder, N_CCD, N_TILE)
    code, out, err = launch(3, TOY, folder, N_CCD, N_TILE)
    assert code == 0, err
    report = json.loads(out)
    assert report["restored"] == N_UNIT - len(FAILURES)
    assert report["failures"] == FAILURES
    assert content(folder) == reference
    assert not list((folder / "parts" / "0002").iterdir())


def ranks_of(folder, n_rank, timeout=30.0):
    """Wait until all ranks are there; return their process ids, in no order."""
    deadline = time.monotonic() + timeout
    pids = Path(f"{folder}.pids")
    while time.monotonic() < deadline:
        if pids.is_dir() and len(list(pids.iterdir())) >= n_rank:
            return [int(path.name) for path in pids.iterdir()]
        time.sleep(0.01)
    raise TimeoutError("the ranks did not start")


def wait_for(path, deadline):
    while not list(path.glob("parts/*/*.h5")) and time.monotonic() < deadline:
        time.sleep(0.01)


@pytest.mark.parametrize("whom", ["a worker", "everything", "rank 0"])
def test_kill_and_resume(tmp_path, reference, whom):
    """SIGKILL in the middle, twice, then to the end: the content is that of an undisturbed run."""
    rng = np.random.default_rng(len(whom))
    folder = tmp_path / "run"
    n_committed = [0]
    for _ in range(2):
        for path in Path(f"{folder}.pids").glob("*"):
            path.unlink()
        with started(3, TOY, folder, N_CCD, N_TILE, 0.08) as process:
            pids = ranks_of(folder, 3)
            holder = wait_lock(folder, pids)
            wait_for(folder, time.monotonic() + 20.0)
            time.sleep(float(rng.uniform(0.1, 0.35)))
            if whom == "everything":
                kill(process)
                for pid in pids:
                    kill_quietly(pid)
            else:
                kill_quietly(holder if whom == "rank 0" else next(pid for pid in pids if pid != holder))
            assert process.wait(20.0) != 0  # the job ends by itself: no hang
            for pid in pids:
                gone(pid)
        n_committed.append(len(content(folder)[0]))
    assert 0 < n_committed[1] < N_UNIT - len(FAILURES)
    code, out, err = launch(2, TOY, folder, N_CCD, N_TILE)
    assert code == 0, err
    assert json.loads(out)["restored"] == n_committed[-1]
    assert content(folder) == reference


def wait_lock(folder, pids=None, timeout=20.0):
    """Wait until rank 0 has written who it is (one of `pids`: a run that was killed leaves its name); return it."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if (folder / "lock").exists() and (folder / "lock").read_text().startswith("process "):
            holder = int((folder / "lock").read_text().split()[1])
            if pids is None or holder in pids:
                return holder
        time.sleep(0.01)
    raise TimeoutError("rank 0 did not lock the folder")


def kill_quietly(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def gone(pid, timeout=20.0):
    """Wait until a process has ended; the next run must not meet it."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return
        except (FileNotFoundError, ProcessLookupError):
            return
        time.sleep(0.02)
    raise TimeoutError(f"process {pid} is still there")


def test_two_runs_on_one_folder(tmp_path):
    folder = tmp_path / "run"
    with started(2, TOY, folder, N_CCD, N_TILE, 0.2):
        assert wait_lock(folder)
        code, _, err = launch(2, TOY, folder, N_CCD, N_TILE, timeout=30.0)
    assert code == 2
    assert f"{folder} is in use by process " in err


def done(unit, inputs):
    return Outcome(unit.uid, unit.kind, State.DONE)


def alone(schedule, execute, **listener):
    """Do the units of a schedule in this process."""
    return lead(SerialComm(), schedule, Signals(), executor=Inline(execute), listener=Listener(**listener))


def test_alone_needs_somebody_to_do_the_work():
    with pytest.raises(ValueError, match="needs an executor"):
        lead(SerialComm(), Schedule(), Signals())


def test_alone_everything_is_done_and_told():
    schedule, heard = Schedule(), []
    schedule.add([Unit("tile", "tile"), Unit("other", "x")])

    def execute(unit, inputs):
        children = (Unit("block", "x", needs=("tile",)),) if unit.kind == "tile" else ()
        return Outcome(unit.uid, unit.kind, State.DONE, children=children)

    assert alone(schedule, execute, outcome=heard.append) == (End.COMPLETE, set())
    assert {outcome.uid: str(outcome.state) for outcome in heard} == dict.fromkeys(("tile", "block", "other"), "done")


def test_children_that_cannot_be_cost_their_unit():
    schedule, heard = Schedule(), []
    schedule.add([Unit("tile", "tile"), Unit("after", "x", needs=("tile",)), Unit("other", "x")])

    def execute(unit, inputs):
        children = (Unit("other", "x"),) if unit.kind == "tile" else ()
        return Outcome(unit.uid, unit.kind, State.DONE, children=children)

    alone(schedule, execute, outcome=heard.append)
    assert {outcome.uid: str(outcome.state) for outcome in heard} == {
        "tile": "failed",
        "after": "blocked",
        "other": "done",
    }
    assert schedule.complete


def test_a_keyboard_interrupt_passes():
    schedule = Schedule()
    schedule.add([Unit("a", "x")])

    def interrupted(unit, inputs):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        alone(schedule, interrupted)


def test_tick_is_called_while_units_end():
    schedule, ticks = Schedule(), []
    schedule.add([Unit(str(k), "x") for k in range(5)])

    def slow(unit, inputs):
        time.sleep(0.11)
        return done(unit, inputs)

    alone(schedule, slow, tick=lambda: ticks.append(1))
    assert 1 <= len(ticks) <= 4
