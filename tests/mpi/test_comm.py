"""Start-up, messages, and what one rank's error does to the others."""

import re
import subprocess
import sys

import pytest
from mpi.launch import environment, launch

from shapempi.errors import ConfigError
from shapempi.mpi.comm import SerialComm, _announced, connect

PROGRAM = """
import sys, time
from shapempi.errors import ConfigError, DataError
from shapempi.mpi.comm import connect
with connect() as comm:
    comm.barrier()
    {body}
    while comm.rank != {rank}:
        comm.receive(1.0)
"""


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        ("raise ZeroDivisionError('a bug')", 4, "ZeroDivisionError: a bug"),
        ("raise ConfigError('key x: no such key')", 2, "ConfigError: key x: no such key"),
        ("sys.exit(3)", 3, ""),
        ("raise KeyboardInterrupt", 130, "KeyboardInterrupt"),
    ],
)
def test_an_error_on_one_rank_ends_all(rank, body, code, text):
    body = f"if comm.rank == {rank}: {body}"
    found, _, err = launch(3, "-c", PROGRAM.format(body=body, rank=rank), timeout=30.0)
    assert found == code, err
    assert text in err
    if "bug" in body:
        assert f"rank {rank} of 3 on " in err
        assert "Traceback" in err


def test_a_quiet_end_is_quiet():
    code, out, err = launch(3, "-c", "from shapempi.mpi.comm import connect\nwith connect() as c: print(c.size)")
    assert (code, "".join(out.split()), err) == (0, "333", "")  # their lines may mix


def test_messages_and_start_up():
    program = """
from shapempi.mpi.comm import connect
import time
with connect() as comm:
    assert comm.share({"job": comm.rank}) == {"job": 0}
    gathered = comm.collect({comm.rank: "x" * 100000 * comm.rank})
    assert [len(x[k]) for k, x in enumerate(gathered)] == ([0, 100000, 200000] if comm.rank == 0 else [])
    if comm.rank == 0:
        got = sorted((m.source, m.tag, len(m.content)) for m in (comm.receive() for _ in range(4)))
        assert got == [(1, 5, 3), (1, 6, 1000000), (2, 5, 3), (2, 6, 1000000)], got
        start = time.monotonic()
        assert comm.receive(0.2) is None
        assert 0.19 < time.monotonic() - start < 2.0
        for rank in (1, 2):
            comm.send("x" * 1000000, rank, 7)  # larger than any eager limit: returns all the same
        comm.flush()
    else:
        comm.send("abc", 0, 5)
        comm.send("y" * 1000000, 0, 6)
        message = comm.receive()
        assert (message.source, message.tag, len(message.content)) == (0, 7, 1000000)
        comm.flush()
"""
    code, _, err = launch(3, "-c", program, timeout=30.0)
    assert code == 0, err


def test_a_rank_that_never_starts_is_not_waited_for():
    program = (
        "import os, time\n"
        "rank = next(os.environ[n] for n in ('PMI_RANK', 'OMPI_COMM_WORLD_RANK', 'PMIX_RANK') if n in os.environ)\n"
        "if rank == '1': time.sleep(50)\n"
        "from shapempi.mpi.comm import connect\n"
        "with connect() as c: print('started')\n"
    )
    code, out, err = launch(2, "-c", program, timeout=30.0, SHAPEMPI_START_LIMIT="3")
    assert code not in (0, None), "the job has ended by itself, long before rank 1 woke up"
    assert "started" not in out
    assert "Timeout (0:00:03)!" in err
    assert "in connect" in err


def test_a_start_limit_that_is_none():
    with pytest.raises(ConfigError, match="SHAPEMPI_START_LIMIT=soon"):
        connect(environ={"SHAPEMPI_START_LIMIT": "soon"})


def test_an_idle_rank_sleeps():
    program = """
from shapempi.mpi.comm import connect
import time
with connect() as comm:
    comm.barrier()
    cpu = time.process_time()
    comm.receive(1.5)
    share = (time.process_time() - cpu) / 1.5
    assert share < 0.10, share  # 0.01 measured; a busy wait has 1
"""
    code, _, err = launch(2, "-c", program, timeout=30.0)
    assert code == 0, err


def test_importing_does_not_start_mpi():
    program = """
import sys, pkgutil, importlib, shapempi.mpi
for module in pkgutil.iter_modules(shapempi.mpi.__path__):
    importlib.import_module("shapempi.mpi." + module.name)
assert "mpi4py" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], env=environment(), check=True, timeout=60)


def test_one_process_without_a_launcher():
    code, out, err = launch(
        None, "-c", "from shapempi.mpi.comm import connect\nwith connect() as c: print(type(c).__name__, c.share(7))"
    )
    assert (code, out) == (0, "SerialComm 7\n"), err


def test_singletons_under_a_launcher_are_refused():
    """What srun with the plugin of another MPI makes: four processes, each of them a world of its own."""
    program = "from shapempi.mpi.comm import connect\nconnect()"
    srun = {"SLURM_PROCID": "2", "SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "4"}
    code, _, err = launch(None, "-c", program, **srun)
    assert code == 1
    assert "the launcher started 4 processes (SLURM_STEP_NUM_TASKS), but each of them is alone" in err
    assert "srun --mpi=list" in err
    code, _, err = launch(None, "-c", program, OMPI_COMM_WORLD_SIZE="3")
    assert "the launcher started 3 processes (OMPI_COMM_WORLD_SIZE)" in err


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, 1),
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, 1),  # the batch script itself
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "1"}, 4),
        ({"SLURM_STEP_NUM_TASKS": "8", "SLURM_NTASKS": "16", "SLURM_PROCID": "0"}, 8),
        ({"PMI_SIZE": "1", "SLURM_STEP_NUM_TASKS": "2"}, 1),  # mpiexec -n 1 whose daemons srun started
        ({"PMI_SIZE": "", "SLURM_NTASKS": "x"}, 1),
    ],
)
def test_what_the_launcher_says(environ, expected):
    assert _announced(environ)[0] == expected


def test_mpi_switched_off():
    assert isinstance(connect(use_mpi=False, environ={}), SerialComm)
    with pytest.raises(ConfigError, match="PMI_SIZE=2: start one process"):
        connect(use_mpi=False, environ={"PMI_SIZE": "2"})


def test_without_mpi4py():
    program = "import sys; sys.modules['mpi4py'] = None\nfrom shapempi.mpi.comm import connect\nprint(connect().size)"
    code, out, err = launch(None, "-c", program)
    assert (code, out) == (0, "1\n"), err
    code, _, err = launch(2, "-c", program, timeout=30.0)
    assert code != 0
    assert re.search(r"the launcher started 2 processes \(\w+_SIZE\), but MPI cannot be loaded", err)


def test_nobody_to_talk_to():
    comm = SerialComm()
    with pytest.raises(RuntimeError, match="rank 1 does not exist"):
        comm.send(1, 1, 1)
    with pytest.raises(RuntimeError, match="nobody can send"):
        comm.receive()
    with comm:
        comm.barrier()
        comm.flush()
        assert comm.share(3) == 3
        assert comm.collect(3) == [3]
