"""The process that starts the children which do the units: forked before MPI is initialised, and never touched by it.

A rank cannot fork safely once MPI runs.  So it forks one process before, the nursery, which has everything imported and
nothing else to do; that one forks a child when the rank asks for it (in a few milliseconds, all memory shared until
it is written to), hands over the child's end of a socket, and buries it.  When the rank ends, however it ends, the
nursery sees its socket close, kills what is left and ends.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import select
import signal
import socket
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

__all__ = ["Child", "Nursery", "exactly", "family", "kill_family"]

_FORK, _BURY = b"F", b"B"
#: Signals that the rank answers; its children live on until it says otherwise.
_RANKS_OWN = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
#: prctl's options: the kernel kills a process when its parent ends; gives it the orphans among its descendants.
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


@dataclass
class Child:
    """A process that does units.

    Attributes
    ----------
    pid : int
        Its number; nobody else gets it before it is buried.
    socket : socket.socket
        What connects it with the rank.
    trace : BinaryIO
        File into which it writes where it was when a signal killed it.
    """

    pid: int
    socket: socket.socket
    trace: BinaryIO


class Nursery:
    """The rank's end of the nursery; `Nursery.start` makes one.

    Parameters
    ----------
    pid : int
        The nursery's process.
    control : socket.socket
        What connects it with the rank.
    """

    def __init__(self, pid: int, control: socket.socket) -> None:
        self._pid = pid
        self._control = control

    @classmethod
    def start(cls, serve: Callable[[socket.socket], None]) -> Nursery:
        """Fork the nursery; call this before MPI is initialised and while the process has one thread.

        Parameters
        ----------
        serve : callable
            What a child does, with its socket, until that is closed.
        """
        ours, theirs = socket.socketpair()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            ours.close()
            code = 1
            try:
                _nurse(theirs, serve)
                code = 0
            finally:
                os._exit(code)
        theirs.close()
        return cls(pid, ours)

    def fork(self) -> Child:
        """Have a child started.

        Raises
        ------
        OSError
            If the nursery is gone, or the system gives no more processes.
        """
        self._control.sendall(_FORK)
        data, fds, _, _ = socket.recv_fds(self._control, 8, 2)
        if len(data) != 8 or len(fds) != 2:
            raise OSError("the process that starts children has ended; the system may be out of processes or memory")
        return Child(int.from_bytes(data, "little"), socket.socket(fileno=fds[0]), os.fdopen(fds[1], "rb"))

    def bury(self, child: Child) -> int:
        """Wait for the end of a child that dies or was killed; return its exit code, or minus the signal."""
        self._control.sendall(_BURY + child.pid.to_bytes(8, "little"))
        try:
            status = int.from_bytes(exactly(self._control, 8), "little")
        except EOFError as error:
            raise OSError("the process that starts children has ended") from error
        child.socket.close()
        return os.waitstatus_to_exitcode(status)

    def close(self) -> None:
        """End the nursery, and the children with it."""
        self._control.close()
        with suppress(ChildProcessError):
            os.waitpid(self._pid, 0)


def exactly(connection: socket.socket, n: int) -> bytes:
    """Receive n bytes; EOFError if the other end is closed before."""
    parts = []
    while n > 0:
        part = connection.recv(min(n, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        n -= len(part)
    return b"".join(parts)


def _nurse(control: socket.socket, serve: Callable[[socket.socket], None]) -> None:
    """Be the nursery until the rank closes the socket."""
    for number in _RANKS_OWN:
        signal.signal(number, signal.SIG_IGN)
    _die_with_parent()
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    living: set[int] = set()
    try:
        while True:
            select.select([control], [], [])
            order = control.recv(1)
            if order == _FORK:
                living.add(_fork(control, serve))
            elif order == _BURY:
                pid = int.from_bytes(exactly(control, 8), "little")
                _, status = os.waitpid(pid, 0)
                living.discard(pid)
                _end_orphans(living)
                control.sendall(status.to_bytes(8, "little"))
            else:
                return
    finally:
        for pid in living:
            kill_family(pid)


def _fork(control: socket.socket, serve: Callable[[socket.socket], None]) -> int:
    """Fork a child and hand its socket over; returns its process."""
    ours, theirs = socket.socketpair()
    trace = tempfile.TemporaryFile()  # the rank reads it through the descriptor that it gets
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            control.close()
            ours.close()
            _die_with_parent()
            _be_killed_first()
            faulthandler.enable(trace)
            serve(theirs)
            code = 0
        except BaseException:  # the rank reads it, and says what happened
            trace.write(traceback.format_exc().encode())
            trace.flush()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    theirs.close()
    socket.send_fds(control, [pid.to_bytes(8, "little")], [ours.fileno(), trace.fileno()])
    ours.close()
    trace.close()
    return pid


def _die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends, where it can."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    """Set an option of this process; on Linux only."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _end_orphans(living: set[int]) -> None:
    """Kill what a dead child had started: it is the nursery's now."""
    kept = {pid for child in living for pid in family(child)}
    for pid in family(os.getpid())[1:]:
        if pid not in kept:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _be_killed_first() -> None:
    """Have a node without memory end this process rather than its rank."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")


def family(pid: int) -> list[int]:
    """Return a process and its descendants, as far as /proc shows them."""
    found = [pid]
    for each in found:  # grows while it is read
        with suppress(OSError):
            for task in Path(f"/proc/{each}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


def kill_family(pid: int) -> None:
    """Kill a process and what it started: the programs of an engine have sessions of their own."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)  # it starts nothing more
    for each in family(pid):
        with suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)
