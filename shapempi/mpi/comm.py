"""The ranks of a run and the messages between them: the only module that imports mpi4py.

MPI starts in `connect`, never at import.  A run uses it as

    with connect() as comm:
        ...

and the `with` is what keeps an error on one rank from leaving the others waiting for ever: an exception that
leaves it is printed with the rank's name and ends all ranks.  Compute the exit code inside, call `sys.exit` outside.
"""

from __future__ import annotations

import faulthandler
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

from shapempi.errors import ConfigError, EngineError, ShapempiError

__all__ = ["LOST", "Comm", "Message", "MpiComm", "SerialComm", "connect", "pair"]

#: Tag of a message that nobody sent: the source has died, and the MPI library noticed.
LOST = 99

#: Exit codes for an error that ends all ranks: bad configuration, internal error, interrupt.
_EXIT_CONFIG, _EXIT_INTERNAL, _EXIT_INTERRUPT = 2, 4, 130

#: Looks before the first nap and between two naps, and the shortest and longest nap [s].  MPICH needs about nine
#: looks before it sees a message that is there (it polls its transports in turn): with one look per nap a round trip
#: took 30 ms, with 20 it takes 0.03 ms, and an idle rank still costs its core about 1 %.
_N_FIRST, _N_LOOK, _NAP_MIN, _NAP_MAX = 100, 20, 5e-5, 0.01

#: How long MPI may take to start [s]: ten thousand ranks that load Python from a slow disk need minutes; and what says
#: otherwise.
_START_LIMIT, _START_VARIABLE = 1800.0, "SHAPEMPI_START_LIMIT"

#: Longest nap of a rank that also waits for its child, which wakes it [s].
_NAP_BUSY = 0.05


class Message(NamedTuple):
    """What arrived, from whom."""

    source: int
    tag: int
    content: Any


class Comm(Protocol):
    """What the farm needs of a communicator."""

    rank: int
    size: int
    host: str

    def send(self, content: Any, dest: int, tag: int) -> None:
        """Send a small picklable value; returns at once."""

    def receive(self, timeout: float | None = None, wake: int | None = None) -> Message | None:
        """Wait for a message, asleep most of the time.

        Returns None when `timeout` [s] has passed or the file descriptor `wake` can be read.
        """

    def flush(self, timeout: float | None = None) -> None:
        """Wait until everything that was sent has left, but no longer than `timeout` [s]."""

    def share(self, content: Any) -> Any:
        """Return rank 0's value on every rank.  Collective: before the farm starts only."""

    def collect(self, content: Any) -> list[Any]:
        """Return all ranks' values on rank 0, [] on the others.  Collective: before the farm starts only."""

    def barrier(self) -> None:
        """Wait for all ranks.  Collective: before the farm starts only."""

    def leave(self, code: int) -> None:
        """End this process with an exit code, without a word to MPI; for the end of a run that has lost ranks."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class SerialComm:
    """One process alone, or one of the two ends of a `pair`: nothing to start, nothing to end."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank = rank
        self.size = size
        self.host = socket.gethostname()
        self._inbox: deque[Message] = deque()
        self._other: SerialComm | None = None

    def send(self, content: Any, dest: int, tag: int) -> None:
        """Put a message into the other end's box."""
        if self._other is None or dest != self._other.rank:
            raise RuntimeError(f"rank {dest} does not exist: this run has one process")
        self._other._inbox.append(Message(self.rank, tag, content))

    def receive(self, timeout: float | None = None, wake: int | None = None) -> Message | None:
        """Return the next message; without one wait for `wake` or the timeout, for nobody can send meanwhile."""
        if self._inbox:
            return self._inbox.popleft()
        if timeout is None and wake is None:
            raise RuntimeError("nobody can send a message: this run has one process")
        _sleep(timeout, wake)
        return None

    def flush(self, timeout: float | None = None) -> None:
        """Do nothing: what was sent is there."""

    def share(self, content: Any) -> Any:
        """Return the value itself."""
        return content

    def collect(self, content: Any) -> list[Any]:
        """Return the value in a list."""
        return [content]

    def barrier(self) -> None:
        """Do nothing: nobody to wait for."""

    def leave(self, code: int) -> None:
        """Do nothing: this process can end as every other."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


def pair() -> tuple[SerialComm, SerialComm]:
    """Return two communicators of this process that talk to each other: rank 0, who leads, and rank 1, who works."""
    first, second = SerialComm(0, 2), SerialComm(1, 2)
    first._other, second._other = second, first
    return first, second


def _sleep(timeout: float | None, wake: int | None) -> bool:
    """Sleep; return whether `wake` can be read."""
    if wake is None:
        time.sleep(timeout or 0.0)
        return False
    return bool(select.select([wake], [], [], timeout)[0])


class MpiComm:
    """Several ranks of an MPI world; messages go over a private duplicate of the world's communicator.

    Parameters
    ----------
    world : mpi4py.MPI.Intracomm
        The world; duplicated here, so this is collective.
    """

    def __init__(self, world: Any) -> None:
        from mpi4py import MPI  # by now it is imported: this is a name, not a start

        self._mpi = MPI
        self._world = world
        self._comm = world.Dup()
        self._comm.Set_errhandler(MPI.ERRORS_RETURN)  # a dead rank is an event, where the library can say so
        self._tolerant = _outlives_ranks(os.environ)
        self._lost: set[int] = set()
        self._deaths: deque[Message] = deque()
        self._status = MPI.Status()
        self._pending: list[Any] = []
        self.rank: int = self._comm.Get_rank()
        self.size: int = self._comm.Get_size()
        self.host = socket.gethostname()

    def send(self, content: Any, dest: int, tag: int) -> None:
        """Send a small picklable value; returns at once, whatever the receiver does, also if it is dead."""
        self._pending = [request for request in self._pending if not self._sent(request)]
        if dest in self._lost:
            return
        try:
            self._pending.append(self._comm.isend(content, dest=dest, tag=tag))
        except self._mpi.Exception as error:
            self._check(error)

    def _sent(self, request: Any) -> bool:
        """Return whether a message needs no more care."""
        try:
            return bool(request.Test())
        except self._mpi.Exception as error:
            self._check(error)
            return True

    def _check(self, error: Any) -> None:
        """Pass over an error of MPI that says that a rank has died; raise any other."""
        failed = {getattr(self._mpi, name, None) for name in ("ERR_PROC_FAILED", "ERR_PROC_FAILED_PENDING")} - {None}
        if error.Get_error_class() not in failed:
            raise error

    def receive(self, timeout: float | None = None, wake: int | None = None) -> Message | None:
        """Wait for a message from anyone.

        Parameters
        ----------
        timeout : float, optional
            Longest wait [s]; for ever if None.
        wake : int, optional
            File descriptor; when it can be read, the wait ends.

        Returns
        -------
        Message or None
            None when the time has passed or `wake` can be read.  A `LOST` message says that its source has died.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        nap, longest = _NAP_MIN, _NAP_MAX if wake is None else _NAP_BUSY
        looks = _N_FIRST  # most answers come at once
        while True:
            try:
                if self._look(looks):
                    source, tag = self._status.Get_source(), self._status.Get_tag()
                    return Message(source, tag, self._comm.recv(source=source, tag=tag))
            except self._mpi.Exception as error:
                self._check(error)
                self._note_lost()
            if self._deaths:
                return self._deaths.popleft()
            looks = _N_LOOK
            if deadline is not None:
                rest = deadline - time.monotonic()
                if rest <= 0.0:
                    return None
                nap = min(nap, rest)
            if _sleep(nap, wake):
                return None
            nap = min(2.0 * nap, longest)

    def _look(self, n_look: int) -> bool:
        """Return whether a message is there; `_status` then says which."""
        for _ in range(n_look):
            if self._comm.iprobe(self._mpi.ANY_SOURCE, self._mpi.ANY_TAG, self._status):
                return True
            os.sched_yield()
        return False

    def _note_lost(self) -> None:
        """Ask the library which ranks have died, and have it go on without them."""
        self._comm.Ack_failed()
        failed = self._comm.Get_failed()
        ranks = failed.Translate_ranks(list(range(failed.Get_size())), self._comm.Get_group())
        fresh = sorted(set(ranks) - self._lost)
        self._lost |= set(fresh)
        self._deaths.extend(Message(rank, LOST, None) for rank in fresh)

    def flush(self, timeout: float | None = None) -> None:
        """Wait until everything that was sent has left, but no longer than `timeout` [s]."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self._pending and (deadline is None or time.monotonic() < deadline):
            self._pending = [request for request in self._pending if not self._sent(request)]
            time.sleep(1e-4 if self._pending else 0.0)
        self._pending = []

    def leave(self, code: int) -> None:
        """End this process with an exit code, without a word to MPI: its own end waits for ranks that are dead."""
        sys.stdout.flush()
        sys.stderr.flush()
        time.sleep(0.3)  # the launcher forwards the text, and the library its last messages
        os._exit(code)

    def share(self, content: Any) -> Any:
        """Return rank 0's value on every rank.  Collective: before the farm starts only."""
        return self._comm.bcast(content, root=0)

    def collect(self, content: Any) -> list[Any]:
        """Return all ranks' values on rank 0, [] on the others.  Collective: before the farm starts only."""
        return self._comm.gather(content, root=0) or []

    def barrier(self) -> None:
        """Wait for all ranks.  Collective: before the farm starts only."""
        self._comm.Barrier()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all ranks if an exception leaves the block; without it they would wait for this one for ever."""
        if error is None:
            return
        code = _exit_code(error)
        where = f"shapempi: rank {self.rank} of {self.size} on {self.host}"
        if isinstance(error, ShapempiError | KeyboardInterrupt):
            print(f"{where}: {type(error).__name__}: {error}".removesuffix(": "), file=sys.stderr)
        elif not isinstance(error, SystemExit):
            print(f"{where} stops everything:\n{''.join(traceback.format_exception(error))}", file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        time.sleep(0.2)  # the launcher forwards the text above before it kills
        if self._tolerant and self.rank > 0 and 0 not in self._lost:
            os.kill(os.getpid(), signal.SIGKILL)  # the only death that the others are told of
        if self._tolerant:
            os._exit(code)  # the workers see that rank 0 has died, and end
        self._world.Abort(code)


def _exit_code(error: BaseException) -> int:
    """Return the exit code for an error that ends all ranks."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else _EXIT_INTERNAL
    if isinstance(error, ConfigError):
        return _EXIT_CONFIG
    return _EXIT_INTERRUPT if isinstance(error, KeyboardInterrupt) else _EXIT_INTERNAL


def _outlives_ranks(environ: Mapping[str, str]) -> bool:
    """Return whether the launcher keeps a job alive when a rank has died (Open MPI's ULFM)."""
    names = ("OMPI_MCA_mpi_ft_enable", "PRTE_MCA_prte_enable_ft")
    return any(environ.get(name, "").lower() in ("1", "true", "yes") for name in names)


def _announced(environ: Mapping[str, str]) -> tuple[int, str]:
    """Return how many ranks the launcher says it started, and the variable that says so; (1, "") without one.

    `SLURM_NTASKS` alone proves nothing: the batch script itself has it too, as task 0 of its own step.
    """
    names = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"]
    if environ.get("SLURM_PROCID", "0") != "0":
        names.append("SLURM_NTASKS")
    for name in names:
        if environ.get(name, "").isdigit():
            return int(environ[name]), name
    return 1, ""


def _start_limit(environ: Mapping[str, str]) -> float:
    """Return how long MPI may take to start [s]."""
    text = environ.get(_START_VARIABLE, "")
    try:
        limit = float(text) if text else _START_LIMIT
    except ValueError:
        limit = 0.0
    if not 0.0 < limit < float("inf"):
        raise ConfigError(f"{_START_VARIABLE}={text}: give the time that MPI may take to start, in seconds, above 0")
    return limit


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """End the process, with a traceback of where it waits, if the block takes longer.

    A rank that dies in MPI_Init leaves the others waiting in there, where no signal handler of Python and no thread
    runs.  The standard library's own watchdog is a thread in C, which needs neither.
    """
    faulthandler.dump_traceback_later(seconds, exit=True, file=2)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def connect(use_mpi: bool = True, environ: Mapping[str, str] | None = None) -> Comm:
    """Start MPI and return the communicator of this run.

    Parameters
    ----------
    use_mpi : bool, optional
        False for one process that leaves MPI alone (on a login node that forbids it, say).
    environ : mapping, optional
        Environment in which to look for the launcher; that of the process by default.

    Returns
    -------
    Comm
        An `MpiComm` if there are several ranks, else a `SerialComm`.

    Raises
    ------
    ConfigError
        If the launcher started several processes and each finds itself alone: they would all do the same work; or if
        SHAPEMPI_START_LIMIT, the time that MPI may take to start [s], is no time.
    EngineError
        If it did and mpi4py or its MPI library is missing.
    """
    environ = os.environ if environ is None else environ
    expected, variable = _announced(environ)
    if not use_mpi:
        if expected > 1:
            raise ConfigError(f"MPI is switched off, but {variable}={expected}: start one process without a launcher")
        return SerialComm()
    try:
        import mpi4py

        mpi4py.rc.thread_level = "funneled"  # kernels may use threads; only the main one talks
        with _limited(_start_limit(environ)):
            from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        if expected > 1:
            raise EngineError(
                f"the launcher started {expected} processes ({variable}), but MPI cannot be loaded: {error}. "
                "Install mpi4py with the site's MPI, or `pip install 'shapempi[mpich]'` and its own mpiexec"
            ) from error
        return SerialComm()
    if MPI.COMM_WORLD.Get_size() > 1:
        return MpiComm(MPI.COMM_WORLD)
    if expected > 1:
        library = MPI.Get_library_version().splitlines()[0].strip("\0 ")
        raise ConfigError(
            f"the launcher started {expected} processes ({variable}), but each of them is alone in its MPI world: the "
            f"launcher does not belong to the MPI library that mpi4py uses ({library}). Start with the mpiexec beside "
            f"{sys.executable}, or give srun the plugin of this library: `srun --mpi=list` shows them; pmi2 serves "
            "MPICH, pmix Open MPI"
        )
    return SerialComm()
