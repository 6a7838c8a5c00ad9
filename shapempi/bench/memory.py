"""How much memory a piece of work takes: the process itself, and the programs that it starts."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Memory", "memory_of"]

#: Time between two looks at the programs that were started [s]; what they grow by after the last look is not seen.
_PAUSE = 0.005


@dataclass(frozen=True)
class Memory:
    """Memory of a piece of work [MB]; NaN where the system does not tell.

    Attributes
    ----------
    process : float
        What the process needs at most, beyond what it had when the work began.
    programs : float
        What the largest program that it starts needs at most.
    """

    process: float
    programs: float

    @property
    def total(self) -> float:
        """Both together."""
        return self.process + self.programs


def memory_of(function: Callable[..., Callable[[], Any]], *arguments: object) -> Memory:
    """Measure the memory of a piece of work in a process of its own.

    Parameters
    ----------
    function : callable
        A function of a module, which the new process can import; it prepares the work and returns what does it.
    *arguments : object
        What it is called with.

    Returns
    -------
    Memory
        The memory of the work, its preparation left out.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measure, function, arguments).result()


def _measure(function: Callable[..., Callable[[], Any]], arguments: tuple[object, ...]) -> Memory:
    """Do the work here and watch."""
    work = function(*arguments)
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts again
        before = _kilobytes(os.getpid(), "VmRSS")
    except OSError:  # no Linux
        work()
        return Memory(float("nan"), float("nan"))
    ended = threading.Event()
    largest = [0.0]

    def watch() -> None:
        while not ended.wait(_PAUSE):
            largest[0] = max([largest[0], *(_kilobytes(child, "VmHWM") for child in _descendants(os.getpid()))])

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        ended.set()
        watcher.join()
    return Memory(max(_kilobytes(os.getpid(), "VmHWM") - before, 0.0) / 1e3, largest[0] / 1e3)


def _kilobytes(process: int, name: str) -> float:
    """Return a number of a process's status; 0 if the process is no more."""
    with suppress(OSError, IndexError, ValueError):
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
        return next((float(line.split()[1]) for line in lines if line.startswith(f"{name}:")), 0.0)
    return 0.0


def _descendants(process: int) -> list[int]:
    """Return the processes that a process has started, and those that they have."""
    found: list[int] = []
    with suppress(OSError, ValueError):
        for task in Path(f"/proc/{process}/task").iterdir():
            for child in (task / "children").read_text(encoding="ascii").split():
                found += [int(child), *_descendants(int(child))]
    return found
