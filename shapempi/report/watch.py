"""The state of a run, again and again until it ends: in place on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console
from rich.live import Live
from rich.text import Text

from shapempi.report.status import RunStatus

__all__ = ["watch"]

#: A journal that takes long to read is not read all the time: the pause is at least so many times as long.
_PATIENCE = 10.0


def watch(read: Callable[[], RunStatus], interval: float, console: Console | None = None) -> RunStatus:
    """Show the state of a run until it has ended or is dead; Ctrl-C passes.

    Parameters
    ----------
    read : callable
        Reads the state.
    interval : float
        Time between two looks at it [s].
    console : Console, optional
        Where to write; standard output by default.

    Returns
    -------
    RunStatus
        The last state; it is shown in full.
    """
    console = console or Console(soft_wrap=True, highlight=False)
    state = (_in_place if console.is_terminal else _by_lines)(read, interval, console)
    console.print("\n".join(state.lines()), markup=False, highlight=False)
    return state


def _in_place(read: Callable[[], RunStatus], interval: float, console: Console) -> RunStatus:
    """Refresh the whole state where it is."""
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            began = time.monotonic()
            state = read()
            live.update(Text("\n".join(state.lines()), no_wrap=True, overflow="ellipsis"), refresh=True)
            if state.over:
                return state
            _pause(began, interval)


def _by_lines(read: Callable[[], RunStatus], interval: float, console: Console) -> RunStatus:
    """Write a line for each look."""
    while True:
        began = time.monotonic()
        state = read()
        if state.over:
            return state
        console.print(f"{time.strftime('%H:%M:%S')} {state.line()}", markup=False, highlight=False)
        _pause(began, interval)


def _pause(began: float, interval: float) -> None:
    time.sleep(max(interval, _PATIENCE * (time.monotonic() - began)))
