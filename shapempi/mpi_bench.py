"""Units that do nothing, given out by the real master to real ranks: what rank 0 and an idle rank cost."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from shapempi.mpi.attempt import Stopwatch, attempt
from shapempi.mpi.comm import Comm
from shapempi.mpi.executor import Execute, Executor, Inline
from shapempi.mpi.farm import lead, work
from shapempi.mpi.nursery import Nursery
from shapempi.mpi.schedule import Schedule
from shapempi.mpi.signals import Signals
from shapempi.mpi.supervisor import Supervised
from shapempi.mpi.unit import Outcome, Place, Unit

__all__ = ["MasterBenchmark", "bench_master", "dismiss", "stand_by"]

#: How long ranks wait for a unit that never comes while one of them sleeps in its own [s].
_IDLE_SECONDS = 3.0
#: Tag of a rank's account of that time; the farm has ended then, and knows nothing of it.
_ACCOUNT = 77
#: Longest wait for it [s].
_PATIENCE = 60.0
#: Tag of the word that nothing follows.
_DISMISSED = 78


@dataclass(frozen=True)
class MasterBenchmark:
    """The result of `bench_master`.

    Attributes
    ----------
    n_rank : int
        Ranks, rank 0 included.
    n_unit : int
        Units.
    units_per_second : float
        Assignments with their results per second.
    cpu_us_per_unit : float
        Processor time of rank 0 per unit [microsecond].
    idle_cpu : float
        Processor time that an idle rank takes per second [s].
    waiting_cpu : float
        Processor time that a rank takes per second while its child does a unit [s].
    """

    n_rank: int
    n_unit: int
    units_per_second: float
    cpu_us_per_unit: float
    idle_cpu: float
    waiting_cpu: float

    def as_dict(self) -> dict[str, Any]:
        """Return all numbers, for JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Return the table."""
        return [
            f"{self.n_unit} units that do nothing on {self.n_rank} ranks",
            "",
            "| what | value |",
            "|---|---|",
            f"| assignments with their results | {self.units_per_second:.0f} per second |",
            f"| processor time of rank 0 per unit | {self.cpu_us_per_unit:.1f} us |",
            f"| an idle rank | {self.idle_cpu:.2%} of a core |",
            f"| a rank whose child does a unit | {self.waiting_cpu:.2%} of a core |",
        ]


def bench_master(comm: Comm, n_unit: int, nursery: Nursery) -> MasterBenchmark | None:
    """Give out units that do nothing; let the ranks idle; let them wait for their children.

    Every rank calls this, at least two of them.

    Parameters
    ----------
    comm : Comm
        The ranks.
    n_unit : int
        Units.
    nursery : Nursery
        Starts children; made before MPI was.

    Returns
    -------
    MasterBenchmark or None
        The times, on rank 0; None on the others.
    """
    if comm.rank > 0:
        _work(comm, nursery)
        return None
    units = [Unit(f"block:{k}", "block", cost=float(k % 97), payload={"tile": "241.293"}) for k in range(n_unit)]
    wall, cpu = _lead(comm, units)
    # One rank sleeps, which takes no processor time either: all of them have nothing to do.
    _lead(comm, [_nap(0)])
    idle = _accounts(comm)
    _lead(comm, [_nap(rank) for rank in range(1, comm.size)])
    waiting = _accounts(comm)
    return MasterBenchmark(comm.size, n_unit, n_unit / wall, 1e6 * cpu / n_unit, idle, waiting)


def _nap(number: int) -> Unit:
    """Return a unit that sleeps."""
    return Unit(f"block:nap{number}", "block", payload={"tile": "241.293", "nap": _IDLE_SECONDS})


def _accounts(comm: Comm) -> float:
    """Return the mean of what the other ranks say they took."""
    shares = []
    for _ in range(comm.size - 1):
        account = comm.receive(_PATIENCE)
        if account is None:
            raise RuntimeError(f"a rank gave no account of its idle time within {_PATIENCE:g} s")
        shares.append(account.content)
    return sum(shares) / len(shares)


def _lead(comm: Comm, units: list[Unit]) -> tuple[float, float]:
    """Have units done by the other ranks; returns the wall-clock and processor time of rank 0 [s]."""
    schedule = Schedule()
    schedule.add(units)
    comm.barrier()
    start, cpu = time.perf_counter(), time.process_time()
    with Signals() as signals:
        lead(comm, schedule, signals)
    return time.perf_counter() - start, time.process_time() - cpu


def _work(comm: Comm, nursery: Nursery) -> None:
    """Do the units of the three farms on a rank that is not rank 0, and tell what the last two cost."""
    here = Inline(sleeper((comm.rank, comm.host), 0))
    child = Supervised(nursery, sleeper, (comm.rank, comm.host), rank=comm.rank, host=comm.host)
    farms: tuple[tuple[Executor, bool], ...] = ((here, False), (here, True), (child, True))
    for executor, told in farms:
        comm.barrier()
        start, cpu = time.perf_counter(), time.process_time()
        with Signals() as signals:
            work(comm, executor, signals)
        share = (time.process_time() - cpu) / (time.perf_counter() - start)
        if told:
            comm.send(share, 0, _ACCOUNT)
            comm.flush()
    child.close()


def sleeper(place: tuple[int, str], number: int) -> Execute:
    """Return what does a unit by sleeping for the time that it says, in a rank or in its child."""
    rank, host = place

    def nap(unit: Unit, inputs: Mapping[str, Place], watch: Stopwatch) -> Place:
        time.sleep(unit.payload.get("nap", 0.0))
        return Place("parts/0001/rank-00001.h5", unit.uid, 1, 1)

    def execute(unit: Unit, inputs: Mapping[str, Place]) -> Outcome:
        return attempt(nap, unit, inputs, rank=rank, host=host)

    return execute


def stand_by(comm: Comm) -> None:
    """Wait for `dismiss` of rank 0, asleep: at the end of MPI a rank would wait for the others at full speed."""
    comm.receive()


def dismiss(comm: Comm) -> None:
    """Let the other ranks go, on rank 0."""
    for rank in range(1, comm.size):
        comm.send(None, rank, _DISMISSED)
    comm.flush()
