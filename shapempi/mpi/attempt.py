"""Do one unit and describe how it went: the wall between a unit's errors and the run."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from shapempi.mpi.retry import classify
from shapempi.mpi.unit import Outcome, Place, State, Unit

__all__ = ["Stopwatch", "Work", "attempt"]


class Stopwatch:
    """Wall-clock time by stage: `with stopwatch("detect"): ...`.

    Attributes
    ----------
    seconds : dict of str to float
        Time of each stage so far [s]; a stage that is entered again adds to its time.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Count the time of the block for a stage, also if it raises."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start


#: Does a unit from the places of its inputs and commits the result: (unit, inputs by uid, stopwatch) -> place.
Work = Callable[[Unit, Mapping[str, Place], Stopwatch], Place | None]


def attempt(work: Work, unit: Unit, inputs: Mapping[str, Place], *, rank: int = 0, host: str = "") -> Outcome:
    """Do a unit; whatever exception comes out of it becomes its outcome.

    Parameters
    ----------
    work : callable
        Does the unit and returns where its result is committed.
    unit : Unit
        What to do.
    inputs : mapping of str to Place
        Where the results lie that it builds on.
    rank : int, optional
        This rank.
    host : str, optional
        Name of this machine.

    Returns
    -------
    Outcome
        Done, or failed with classes, reason and traceback.  Only a KeyboardInterrupt passes.
    """
    stopwatch = Stopwatch()
    start, cpu = time.perf_counter(), time.process_time()
    outcome = Outcome(unit.uid, unit.kind, State.DONE, rank=rank, host=host, begin=time.time())
    try:
        outcome = replace(outcome, place=work(unit, inputs, stopwatch))
    except (Exception, SystemExit) as error:  # a library that calls sys.exit costs one unit as well
        outcome = outcome.failed_by(error, classify(error))
    return replace(
        outcome,
        seconds=stopwatch.seconds,
        elapsed=time.perf_counter() - start,
        cpu=time.process_time() - cpu,
        rss_peak=_rss_peak(),
    )


def _rss_peak() -> int:
    """Return the largest resident memory of this process so far [byte]."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
