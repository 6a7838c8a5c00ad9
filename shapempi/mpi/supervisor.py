"""A child that does the units of a rank, watched by the rank: whatever a unit does to its process costs that unit only.

SIGSEGV, an abort of a library, the kernel's memory killer, memory without bound, a loop in C that never ends: the child
dies or is killed, the unit has failed with its class, and a new child is there some milliseconds later.  The rank
sleeps while its child works.
"""

from __future__ import annotations

import os
import pickle
import resource
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from shapempi.mpi.executor import Execute, Limits
from shapempi.mpi.nursery import Child, Nursery, exactly, kill_family
from shapempi.mpi.unit import Failure, Outcome, Place, State, Unit

__all__ = ["Supervised", "serve"]

#: Makes, in the child, what does a unit: (whatever the rank gave, number of the child) -> execute.
Make = Callable[[Any, int], Execute]

_LENGTH = struct.Struct("<q")
#: Time between two looks at a child's memory [s].
_LOOK = 0.1
#: How long a child has to write where it is before it is killed [s].
_LAST_WORDS = 0.5
#: Bytes of last words that are kept.
_TRACE_BYTES = 8192


def serve(connection: socket.socket) -> None:
    """Be a child: do the units that come through a socket, until it is closed."""
    make, setup, number = pickle.loads(_receive(connection))  # from the rank that this process was forked from
    execute: Execute = make(setup, number)
    limit = 0
    while True:
        try:
            unit, places, limits = pickle.loads(_receive(connection))
        except EOFError:
            return
        if limits.memory != limit:
            limit = limits.memory
            _limit_memory(limit)
        _send(connection, pickle.dumps(execute(unit, places)))


def _send(connection: socket.socket, data: bytes) -> None:
    connection.sendall(_LENGTH.pack(len(data)) + data)


def _receive(connection: socket.socket) -> bytes:
    """Return the next message; EOFError if the other end is closed."""
    (length,) = _LENGTH.unpack(exactly(connection, _LENGTH.size))
    return exactly(connection, length)


def _limit_memory(limit: int) -> None:
    """Have the system refuse memory beyond a limit [byte] over what is mapped now: a MemoryError, where it can tell."""
    if limit and sys.platform.startswith("linux"):
        mapped = next(
            (int(line.split()[1]) * 1024 for line in Path("/proc/self/status").open() if line.startswith("VmData")), 0
        )
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (mapped + limit, hard))


class Supervised:
    """Does units in a child.

    Parameters
    ----------
    nursery : Nursery
        Starts children; made before MPI was.
    make : callable
        Makes what does a unit, in the child; a function of a module, for it travels by its name.
    setup : object
        What `make` needs.
    rank : int
        This rank.
    host : str
        Name of this machine.
    """

    def __init__(self, nursery: Nursery, make: Make, setup: object, *, rank: int = 0, host: str = "") -> None:
        self._nursery = nursery
        self._make = make
        self._setup = setup
        self._rank = rank
        self._host = host
        self._child: Child | None = None
        self._n_child = 0
        self._unit: Unit | None = None
        self._limits = Limits()
        self._begin = 0.0
        self._clock = 0.0
        self._looked = 0.0
        self._data = b""
        self._words = ""
        self.notes: list[str] = []
        self.memory = 0
        self._peak = 0

    @property
    def wake(self) -> int | None:
        """The child's socket while it does a unit."""
        return self._child.socket.fileno() if self._child is not None and self._unit is not None else None

    def start(self, unit: Unit, places: Mapping[str, Place], limits: Limits) -> None:
        """Give a unit to the child."""
        self._unit, self._limits = unit, limits
        self._begin, self._clock, self._looked = time.time(), time.monotonic(), 0.0
        self._data, self._peak = b"", 0
        message = pickle.dumps((unit, dict(places), limits))
        for last in (False, True):  # a child that died while it had nothing to do is no fault of the unit
            try:
                child = self._child or self._new_child()
                _send(child.socket, message)
                return
            except OSError:
                if last:
                    raise
                code = self._bury()
                self.notes.append(f"a child ended ({code}) while it had nothing to do; there is a new one")

    def _new_child(self) -> Child:
        """Start a child and tell it what it will need."""
        child = self._nursery.fork()
        self._child = child
        _send(child.socket, pickle.dumps((self._make, self._setup, self._n_child)))
        self._n_child += 1
        return child

    def poll(self) -> Outcome | None:
        """Return the outcome if the unit has ended, by itself or because it met a limit."""
        if self._unit is None or self._child is None:
            return None
        try:
            data = self._child.socket.recv(1 << 20, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return self._watch()
        except ConnectionError:
            data = b""
        if not data:
            return self._crashed()
        self._data += data
        if len(self._data) < _LENGTH.size or len(self._data) < _LENGTH.size + _LENGTH.unpack_from(self._data)[0]:
            return None
        outcome: Outcome = pickle.loads(self._data[_LENGTH.size :])  # from our own child
        self._unit = None
        return outcome

    def _watch(self) -> Outcome | None:
        """End the unit if it is over a limit."""
        now = time.monotonic()
        seconds, memory = self._limits.seconds, self._limits.memory
        if seconds and now - self._clock > seconds:
            return self.stop(Failure.TIMEOUT, "TimeLimitError", f"ran for more than {seconds:.0f} s (run.time_limit)")
        if now - self._looked >= _LOOK and self._child is not None:
            self._looked = now
            self.memory = _resident(self._child.pid)
            self._peak = max(self._peak, self.memory)
            if memory and self.memory > memory:
                reason = f"took {self.memory / 2**30:.2f} GiB, more than {memory / 2**30:.2f} GiB (run.memory_limit)"
                return self.stop(Failure.MEMORY, "MemoryLimitError", reason)
        return None

    def stop(self, failure: Failure, error: str, reason: str) -> Outcome:
        """Kill the child; its last words say where it was."""
        if self._child is None or self._unit is None:
            raise RuntimeError("no unit is being done")
        with suppress(ProcessLookupError):
            os.kill(self._child.pid, signal.SIGABRT)  # faulthandler writes the stack, also of a loop in C
        self._wait_for_end(_LAST_WORDS)
        self._bury()
        return self._outcome(failure, error, reason)

    def _wait_for_end(self, seconds: float) -> None:
        """Wait until the child has closed its socket, or the time has passed."""
        assert self._child is not None
        self._child.socket.settimeout(seconds)
        deadline = time.monotonic() + seconds
        with suppress(OSError):
            while self._child.socket.recv(1 << 20) and time.monotonic() < deadline:
                pass

    def _crashed(self) -> Outcome:
        """Describe the death of the child."""
        code = self._bury()
        if code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
            if -code == signal.SIGKILL:
                return self._outcome(
                    Failure.CRASH, "KilledError", "killed (SIGKILL): by the system for want of memory, or by somebody"
                )
            return self._outcome(Failure.CRASH, "CrashError", f"the process that did it ended by {name}")
        return self._outcome(Failure.CRASH, "CrashError", f"the process that did it ended with exit code {code}")

    def _bury(self) -> int:
        """Make sure that the child has ended, with all that it started; returns how."""
        child, self._child = self._child, None
        if child is None:
            return 0
        kill_family(child.pid)
        code = self._nursery.bury(child)
        child.trace.seek(0)
        self._words = child.trace.read(_TRACE_BYTES).decode(errors="replace")
        child.trace.close()
        return code

    def _outcome(self, failure: Failure, error: str, reason: str) -> Outcome:
        """Return the outcome of a unit whose child is dead."""
        unit, self._unit = self._unit, None
        assert unit is not None
        outcome = Outcome(unit.uid, unit.kind, State.FAILED, failure=failure, error=error, reason=reason)
        return replace(
            outcome,
            traceback=self._words,
            elapsed=time.monotonic() - self._clock,
            rss_peak=self._peak,
            rank=self._rank,
            host=self._host,
            begin=self._begin,
        )

    def close(self) -> None:
        """End the child, and the nursery."""
        if self._child is not None:
            self._bury()
        self._nursery.close()


def _resident(pid: int) -> int:
    """Return the resident memory of a process [byte]; 0 if there is no such process."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError, ValueError):
        return 0
