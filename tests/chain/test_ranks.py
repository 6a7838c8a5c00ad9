"""Any number of ranks under the MPI that is installed, and what it can do when one of them dies."""

import subprocess
import sys

import pytest
from chain.program import finish, ranks, started, verb, wait_for
from chain.tiny import block_size, committed, differences, last_job, place

from shapempi.fault import VARIABLE
from shapempi.io.journal import read_journal
from shapempi.selftest import launch


@pytest.fixture(scope="session")
def library():
    """Return the name of the MPI library."""
    program = "from mpi4py import MPI; print(MPI.Get_library_version())"
    return subprocess.run(
        [sys.executable, "-c", program],
        env=launch.environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout


@pytest.mark.parametrize("n_rank", [1, 2, 4, 5])
def test_the_same_bits(reference, survey, tmp_path, n_rank):
    folder = place(survey, tmp_path, block_size(7))
    with started(folder, "run", "chain.toml", n_rank=n_rank) as process:
        result = finish(process)
    assert result.code == 0, result
    used = {outcome["rank"] for outcome in last_job(folder).values()}
    assert used <= ({0, 1} if n_rank == 1 else set(range(1, n_rank)))
    assert (folder / "run" / "plan.json").read_text() == (reference / "run" / "plan.json").read_text()
    assert verb(folder, "gather", "run").code == 0
    assert differences(folder, reference) == []


def test_a_rank_that_dies(reference, survey, tmp_path, library):
    """Open MPI's ULFM goes on without it; elsewhere the job ends at once, and the same command goes on."""
    folder = place(survey, tmp_path, block_size(7))
    tolerant = "Open MPI" in library
    words = launch.launcher(4, ("--with-ft", "ulfm") if tolerant else ())
    command = [*words, sys.executable, "-m", "shapempi", "run", "chain.toml"]
    with launch.started(command, folder=folder, more={VARIABLE: "kill-rank:begin:block:*:1"}) as process:
        result = finish(process, timeout=90.0)
    lost = [event for event in read_journal(folder / "run")[0] if event["event"] == "lost"]
    if tolerant:
        assert result.code == 0, result
        assert len(lost) == 1 and lost[0]["reason"] == "it has died"
        assert "is lost, the run goes on without it" in result.err
    else:
        assert result.code == 9, result
        assert lost == []
        with started(folder, "run", "chain.toml", n_rank=2) as process:
            assert finish(process).code == 0
    assert verb(folder, "gather", "run").code == 0
    assert differences(folder, reference) == []


def test_rank_0_dies(survey, tmp_path, library):
    """No rank waits for a master that is dead."""
    folder = place(survey, tmp_path, block_size(7))
    words = launch.launcher(3, ("--with-ft", "ulfm") if "Open MPI" in library else ())
    with launch.started([*words, sys.executable, "-m", "shapempi", "run", "chain.toml"], folder=folder) as process:
        wait_for(lambda: committed(folder), process, "a commit")
        lock = (folder / "run" / "lock").read_text()
        master = int(lock.split()[1])
        assert master in ranks(process)
        everything = launch.family(process)
        subprocess.run(["kill", "-KILL", str(master)], check=True)
        finish(process, timeout=60.0)
    assert launch.survivors(everything) == []
