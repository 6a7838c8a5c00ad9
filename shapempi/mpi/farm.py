"""A run of units on the ranks that there are: rank 0 leads, the others work, and one that is alone does both."""

from __future__ import annotations

from enum import StrEnum

from shapempi.mpi.comm import Comm, pair
from shapempi.mpi.executor import Executor
from shapempi.mpi.master import Listener, Master, Policy
from shapempi.mpi.schedule import Schedule
from shapempi.mpi.signals import Signals
from shapempi.mpi.worker import Worker

__all__ = ["End", "lead", "work"]


class End(StrEnum):
    """How a farm ended.

    `COMPLETE` all units are done, failed or blocked; `DRAINED` it was asked to end before; `ABANDONED` no worker is
    left.
    """

    COMPLETE = "complete"
    DRAINED = "drained"
    ABANDONED = "abandoned"


def lead(
    comm: Comm,
    schedule: Schedule,
    signals: Signals,
    *,
    executor: Executor | None = None,
    policy: Policy | None = None,
    listener: Listener | None = None,
) -> tuple[End, set[int]]:
    """Have every unit of a schedule done; for rank 0.

    Parameters
    ----------
    comm : Comm
        The ranks.
    schedule : Schedule
        The units; what an earlier run committed is restored already.
    signals : Signals
        What the system asks for.
    executor : Executor, optional
        Does units; only used, and only needed, if this rank is alone.
    policy : Policy, optional
        How units are given out.
    listener : Listener, optional
        Whoever wants to know.

    Returns
    -------
    end : End
        How it ended.
    lost : set of int
        Ranks that were lost on the way.

    Raises
    ------
    ValueError
        If the rank is alone and there is no executor.
    KeyboardInterrupt
        If a signal asks to stop at once.
    RuntimeError
        If a message comes that this program does not know.
    """
    if comm.size > 1:
        master = Master(comm, schedule, signals, policy, listener)
        master.run()
    else:
        if executor is None:
            raise ValueError("a rank that is alone does the units itself and needs an executor")
        master = _alone(schedule, signals, executor, policy, listener)
    if schedule.complete:
        return End.COMPLETE, master.lost
    if master.draining:
        return End.DRAINED, master.lost
    if master.lost:
        return End.ABANDONED, master.lost
    raise RuntimeError(f"units are left that nothing can release: {schedule.counts()}")


def _alone(
    schedule: Schedule, signals: Signals, executor: Executor, policy: Policy | None, listener: Listener | None
) -> Master:
    """Lead and work by turns; the worker waits for its unit, the master for nothing."""
    leader, follower = pair()
    worker = Worker(follower, executor, signals)
    master = Master(leader, schedule, signals, policy, listener)
    while not master.finished:
        master.step(0.0)
        worker.step(0.1)
    master.close()
    worker.run()
    return master


def work(comm: Comm, executor: Executor, signals: Signals, *, policy: Policy | None = None) -> bool:
    """Do units until rank 0 says stop; for all other ranks.

    Parameters
    ----------
    comm : Comm
        The ranks.
    executor : Executor
        Does units.
    signals : Signals
        What the system asks for.
    policy : Policy, optional
        The same as rank 0's.

    Returns
    -------
    bool
        Whether ranks were lost: then nobody may wait for the others any more (`Comm.leave`).

    Raises
    ------
    MasterLostError
        If rank 0 has died.
    KeyboardInterrupt
        If a signal asks to stop at once.
    """
    worker = Worker(comm, executor, signals, None if policy is None else policy.pulse)
    worker.run()
    return worker.ranks_lost
