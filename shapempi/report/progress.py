"""Progress of a run on rank 0: a live bar on a terminal, a plain line now and then in a batch log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

__all__ = ["Progress", "ProgressSource", "counter", "duration", "error_console", "seconds_left"]


class ProgressSource(Protocol):
    """What progress is read from: the schedule of a run."""

    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """Return the number of units by kind and state."""
        ...

    def cost_left(self) -> Mapping[str, float]:
        """Return the predicted cost of what has not ended, by kind."""
        ...

    @property
    def spent(self) -> Mapping[str, Any]:
        """Predicted cost and time taken of what ended in this run, by kind."""
        ...


def error_console(live: bool = False) -> Console:
    """Return the console on standard error.

    Parameters
    ----------
    live : bool, optional
        Take it for a terminal although it does not look like one: MPI launchers put a pipe before it.
    """
    return Console(file=sys.stderr, soft_wrap=True, highlight=False, force_terminal=True if live else None)


def duration(seconds: float) -> str:
    """Write a time as people say it: 45 s, 3 min 20 s, 5 h 12 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def seconds_left(source: ProgressSource, n_worker: int) -> float | None:
    """Predict the time until a run is complete.

    The predicted cost of each kind of unit is corrected by what its units took so far.

    Parameters
    ----------
    source : ProgressSource
        The schedule.
    n_worker : int
        Ranks that do units.

    Returns
    -------
    float or None
        Time left [s]; None before the first unit of this run has ended.
    """
    if not source.spent:
        return None
    total_cost = sum(spent.cost for spent in source.spent.values())
    total_seconds = sum(spent.seconds for spent in source.spent.values())
    if total_cost <= 0:
        return None
    left = 0.0
    for kind, cost in source.cost_left().items():
        spent = source.spent.get("block" if kind == "promised" else kind)
        ratio = spent.seconds / spent.cost if spent is not None and spent.cost > 0 else total_seconds / total_cost
        left += cost * ratio
    return left / max(n_worker, 1)


class Progress:
    """Shows how far a run is.

    Parameters
    ----------
    source : ProgressSource
        The schedule.
    n_worker : int
        Ranks that do units.
    interval : float
        Time between two lines where there is no terminal [s].
    console : Console, optional
        Where to write; standard error by default (`error_console`).
    """

    def __init__(
        self, source: ProgressSource, n_worker: int, *, interval: float, console: Console | None = None
    ) -> None:
        self._source = source
        self._n_worker = n_worker
        self._interval = interval
        self._console = console or error_console()
        self._start = time.monotonic()
        self._next_line = self._start + min(interval, 10.0)
        self._bar: Bar | None = None
        if self._console.is_terminal:
            self._bar = Bar(
                TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[eta]}"), console=self._console
            )
            self._task = self._bar.add_task("", total=None, eta="")

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._show_bar()
            self._bar.stop()
        elif error is None:
            self.say(self.line())

    def say(self, text: str) -> None:
        """Print a line at once, above the bar if there is one."""
        self._console.print(f"shapempi: {text}", markup=False)

    def tick(self) -> None:
        """Bring bar or log up to date; called often."""
        if self._bar is not None:
            self._show_bar()
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + self._interval
            self.say(self.line())

    def line(self) -> str:
        """Return the state of the run in one line."""
        parts, failed, running = [], 0, 0
        for kind, states in self._source.counts().items():
            lacking = states["failed"] + states["blocked"] + states.get("quarantined", 0)
            parts.append(f"{kind} {states['done'] + lacking}/{sum(states.values())}")
            failed += lacking
            running += states["running"]
        text = ", ".join(parts) + f", {running} running"
        if failed:
            text += f", {failed} FAILED"
        return f"{text}, {duration(time.monotonic() - self._start)} gone, {self._left()}"

    def _left(self) -> str:
        left = seconds_left(self._source, self._n_worker)
        return "time left unknown" if left is None else f"about {duration(left)} left"

    def _show_bar(self) -> None:
        assert self._bar is not None
        gone = time.monotonic() - self._start
        left = seconds_left(self._source, self._n_worker)
        total = None if left is None else gone + left
        description = self.line().rsplit(", ", 2)[0]
        self._bar.update(self._task, total=total, completed=gone, description=description, eta=self._left())


@contextmanager
def counter(title: str, *, shown: bool, console: Console | None = None) -> Iterator[Callable[[int, int, str], None]]:
    """Show a bar for work that counts its steps.

    Parameters
    ----------
    title : str
        What is done.
    shown : bool
        False shows nothing (on the other ranks).
    console : Console, optional
        Where to write; standard error by default.

    Yields
    ------
    callable
        To be called with (steps done, steps in all, name of the step).
    """
    if not shown:
        yield lambda done, total, text: None
        return
    console = console or error_console()
    if not console.is_terminal:
        start = time.monotonic()

        def say(done: int, total: int, text: str) -> None:
            console.print(f"{title}: {done}/{total} {text}, {duration(time.monotonic() - start)}", markup=False)

        yield say
        return
    with Bar(TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total, text: bar.update(task, completed=done, total=total, description=f"{title}: {text}")
