"""What can go wrong with a run: each fault is made, at a random moment, and what is promised at once is checked.

Afterwards the campaign resumes the run and compares the catalogue with that of an uninterrupted one.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from shapempi.fault import VARIABLE
from shapempi.selftest.launch import family, kill, ranks, survivors
from shapempi.selftest.trial import Trial

__all__ = ["FAULTS", "Fault"]

_UNITS = ("ccd:*", "tile:*", "block:*")


@dataclass(frozen=True)
class Fault:
    """A kind of fault.

    Attributes
    ----------
    number : int
        Its number in the list of docs/reliability.md.
    name : str
        What happens.
    make : callable
        Makes it happen in a trial.
    arguments : tuple of str
        With which the run is resumed.
    settings : dict
        Fields of the trial that differ.
    """

    number: int
    name: str
    make: Callable[[Trial], None]
    arguments: tuple[str, ...] = ()
    block_size: int = 7
    silence: float = 30.0


def _inside(kind: str, moment: str = "", code: int | None = 0, n_time: int = 1) -> Callable[[Trial], None]:
    """Return what makes a fault inside units, and demands an exit code."""

    def make(trial: Trial) -> None:
        when = moment or str(trial.rng.choice(["begin", "written", "committed"]))
        units = str(trial.rng.choice(_UNITS))
        result = trial.run(trial.n_rank(), **{VARIABLE: f"{kind}:{when}:{units}:{n_time}"})
        made = len(list((trial.run_folder / "faults").glob("*")))
        trial.n_fault += made
        trial.demand(made > 0, f"the fault {kind} at {when} of {units} was not met")
        if code is not None:
            trial.demand(result.code == code, f"exit code {result.code}, not {code}: {result.err[-800:]}")
        trial.demand("Traceback" not in result.err, f"a traceback: {result.err[-2000:]}")

    return make


def _signal_to(whom: Callable[[Trial, list[int], int], int], number: signal.Signals) -> Callable[[Trial], None]:
    """Return what sends a signal at a random moment."""

    def make(trial: Trial) -> None:
        with trial.running(trial.n_rank()) as process:
            trial.at_random(process)
            everything = family(process)
            members = ranks(process)
            if members:
                trial.signal(whom(trial, members, process.pid), number)
            trial.finish(process)
        left = survivors(everything)
        trial.demand(not left, f"processes that outlived the run: {left}")

    return make


def _a_rank(trial: Trial, members: list[int], launcher: int) -> int:
    return members[int(trial.rng.integers(len(members)))]


def _the_launcher(trial: Trial, members: list[int], launcher: int) -> int:
    return launcher


def _kill_everything(trial: Trial) -> None:
    with trial.running(trial.n_rank()) as process:
        trial.at_random(process)
        everything = family(process)
        kill(process)
        trial.n_fault += 1
        trial.finish(process)
    trial.demand(not survivors(everything), "processes outlived SIGKILL")


def _drain(trial: Trial) -> None:
    """SIGUSR1 to all ranks at random times, until the run is complete."""
    for _ in range(4):
        with trial.running(trial.n_rank()) as process:
            trial.at_random(process)
            for pid in ranks(process):
                trial.signal(pid, signal.SIGUSR1)
            result = trial.finish(process)
        # A rank that is still starting has no ear for signals yet, and dies: the job ends, and is resumed.
        early = -signal.SIGUSR1 in (result.code, -result.code) or "signal 10" in result.err or not trial.committed()
        trial.demand(result.code in (0, 10) or early, f"exit code {result.code}: {result.err[-800:]}")
        if result.code == 0:
            return


def _truncate(trial: Trial) -> None:
    """Cut a compressed file off, then put a good one in its place."""
    path = trial.an_input(str(trial.rng.choice([".fits.fz", ".weight.fits.fz", ".flag.fits.fz"])))
    good = path.with_name(path.name + ".good")
    shutil.copy2(path, good)
    with path.open("r+b") as file:
        file.truncate(int(trial.rng.integers(1, good.stat().st_size)))
    trial.n_fault += 1
    result = trial.run(trial.n_rank())
    trial.demand(result.code in (0, 1, 3), f"exit code {result.code}: {result.err[-800:]}")
    trial.demand(result.code == 0 or path.name in result.err + result.out, f"{path.name} is not named: {result.err}")
    good.replace(path)
    os.utime(path)
    result = trial.run(trial.n_rank())
    trial.demand(result.code == 2 and path.name in result.err, f"a replaced file is not refused: {result.err[-800:]}")


def _missing(trial: Trial) -> None:
    """Take a file away, and bring it back."""
    path = trial.an_input(str(trial.rng.choice([".fits.fz", ".weight.fits.fz", ".flag.fits.fz"])))
    away = path.with_name(path.name + ".away")
    path.rename(away)
    trial.n_fault += 1
    result = trial.run(trial.n_rank())
    trial.demand(result.code == 3, f"exit code {result.code}, not 3: {result.err[-800:]}")
    trial.demand(path.name in result.err, f"{path.name} is not named: {result.err}")
    away.rename(path)


def _frozen(trial: Trial) -> None:
    """Stop a rank for longer than the silence that is granted; it comes back with a result that nobody waits for."""
    with trial.running(4) as process:
        trial.at_random(process)
        members = ranks(process)
        if members:
            victim = members[-1]
            trial.signal(victim, signal.SIGSTOP)
            time.sleep(trial.silence + 3.0)
            trial.signal(victim, signal.SIGCONT)
        trial.finish(process)


def _half(trial: Trial) -> None:
    """Kill a run somewhere in the middle."""
    with trial.running(trial.n_rank()) as process:
        trial.at_random(process)
        kill(process)
        trial.finish(process)


def _torn_journal(trial: Trial) -> None:
    _half(trial)
    path = trial.run_folder / "journal.jsonl"
    if path.exists() and path.stat().st_size > 1:
        with path.open("r+b") as file:
            file.truncate(int(trial.rng.integers(1, path.stat().st_size)))
    trial.n_fault += 1


def _no_ledger(trial: Trial) -> None:
    """Delete the ledger of a run that was complete, or fill it with rubbish, or have it made anew."""
    trial.run(trial.n_rank())
    path = trial.run_folder / "ledger.h5"
    trial.demand(path.exists(), "a run that has ended has no ledger")
    way = int(trial.rng.integers(3))
    if way == 0:
        path.unlink()
    elif way == 1:
        path.write_bytes(trial.rng.bytes(5000))
    else:
        path.unlink()
        result = trial.verb("ledger", "rebuild", "run")
        trial.demand(result.code == 0 and path.exists(), f"ledger rebuild: {result.err}")
    trial.n_fault += 1
    before = trial.committed()
    result = trial.run(trial.n_rank())
    trial.demand(result.code == 0 and trial.committed() == before, "units were done again without need")


def _more_ranks_than_units(trial: Trial) -> None:
    trial.n_fault += 1
    result = trial.run(12)
    trial.demand(result.code == 0, f"exit code {result.code}: {result.err[-800:]}")


def _lost_part(trial: Trial) -> None:
    """Remove a part file: gather says what is missing, and the next run does it again."""
    trial.run(trial.n_rank())
    path = trial.a_part_file()
    trial.demand(path is not None, "no part file")
    assert path is not None
    if trial.rng.random() < 0.5:
        path.unlink()
    else:
        with path.open("r+b") as file:
            file.truncate(int(trial.rng.integers(1, path.stat().st_size // 2)))
    trial.n_fault += 1
    result = trial.verb("gather", "run", "--output", "early.h5")
    trial.demand(result.code == 1, f"gather ended with exit code {result.code} although {path.name} is gone")


def _other_division(trial: Trial) -> None:
    trial.n_fault += 1
    trial.run(trial.n_rank())


def _two_at_once(trial: Trial) -> None:
    with trial.running(trial.n_rank()) as process:
        while not (trial.run_folder / "status.json").exists() and process.poll() is None:
            time.sleep(0.02)
        if process.poll() is None:
            second = trial.run(2)
            trial.n_fault += 1
            if process.poll() is None:
                trial.demand(second.code == 2 and "is in use by" in second.err, f"not refused: {second.err[-800:]}")
        result = trial.finish(process)
    trial.demand(result.code == 0, f"the first run: exit code {result.code}: {result.err[-800:]}")


def _new_rank_count(trial: Trial) -> None:
    for n_rank in (5, 2):
        with trial.running(n_rank) as process:
            trial.at_random(process)
            kill(process)
            trial.n_fault += 1
            trial.finish(process)


FAULTS = (
    Fault(1, "exception in a unit", _inside("raise", code=1)),
    Fault(1, "input/output error", _inside("io", "begin", n_time=2)),
    Fault(2, "SIGSEGV in a unit", _inside("segv")),
    Fault(2, "abort in a unit", _inside("abort")),
    Fault(2, "exit in a unit", _inside("exit")),
    Fault(3, "endless loop in C", _inside("hang")),
    Fault(4, "memory without bound", _inside("bomb")),
    Fault(5, "SIGKILL of a rank", _signal_to(_a_rank, signal.SIGKILL)),
    Fault(5, "SIGKILL of a rank in a unit", _inside("kill-rank", code=None)),
    Fault(5, "SIGKILL of everything", _kill_everything),
    Fault(6, "SIGKILL between flush and commit", _inside("kill", "written")),
    Fault(7, "truncated .fz", _truncate, ("--accept", "inputs")),
    Fault(8, "missing input", _missing),
    Fault(9, "SIGUSR1 at random times", _drain),
    Fault(9, "SIGTERM to the launcher", _signal_to(_the_launcher, signal.SIGTERM)),
    Fault(9, "SIGINT to the launcher", _signal_to(_the_launcher, signal.SIGINT)),
    Fault(10, "a rank that freezes and comes back", _frozen, silence=3.0),
    Fault(11, "journal cut off", _torn_journal),
    Fault(12, "ledger deleted, rubbish, rebuilt", _no_ledger),
    Fault(13, "more ranks than units", _more_ranks_than_units, block_size=1000),
    Fault(14, "no byte more on the disk", _inside("full", code=None)),
    Fault(15, "part file removed or cut off", _lost_part),
    Fault(16, "blocks of another size", _other_division, block_size=3),
    Fault(17, "two runs at once", _two_at_once),
    Fault(18, "restart with another number of ranks", _new_rank_count),
)
