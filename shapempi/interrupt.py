"""Ctrl-C that is never lost.

Python delivers an interrupt as an exception between two instructions of whatever runs.  If that is a destructor or
a callback of the garbage collector, the exception is printed and dropped, and the program runs on.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Protocol

__all__ = ["heard_interrupts"]

#: How soon an interrupt that was dropped is raised again [s].
_AGAIN = 0.01


class _Unraisable(Protocol):
    """What `sys.unraisablehook` is told."""

    exc_type: type[BaseException]
    exc_value: BaseException | None
    exc_traceback: TracebackType | None
    err_msg: str | None
    object: object


@contextmanager
def heard_interrupts() -> Iterator[None]:
    """Raise a KeyboardInterrupt that was dropped again, a moment later, until it is heard; main thread only."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    def hook(unraisable: _Unraisable) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, _AGAIN)
        else:
            hook_before(unraisable)

    hook_before, alarm_before = sys.unraisablehook, signal.signal(signal.SIGALRM, interrupt)
    sys.unraisablehook = hook
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, alarm_before)
        sys.unraisablehook = hook_before
