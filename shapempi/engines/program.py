"""Programs of others: found by name or path, asked for their version, run in a private folder with a time limit."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from shapempi.errors import EngineError

__all__ = ["Finished", "Program", "keep_files", "private_folder"]

#: Time that a program gets to say its version [s].
_VERSION_TIMEOUT = 60.0

#: Bytes that are kept of what a program says.
_KEPT = 20_000

#: One thread, and numbers with a point whatever the user's language.
_ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    "LC_ALL": "C",
}

_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@dataclass(frozen=True)
class Finished:
    """What a program left behind.

    Attributes
    ----------
    code : int
        Its return code.
    stdout, stderr : str
        The ends of what it said.
    """

    code: int
    stdout: str
    stderr: str

    def complaint(self, lines: int = 3) -> str:
        """Return the last lines that say something, of stderr if there are any, as one line."""
        for text in (self.stderr, self.stdout):
            said = [line.strip(" >") for line in _COLOURS.sub("", text).splitlines()]
            said = [line for line in said if line]
            if said:
                return "; ".join(said[-lines:])
        return "it said nothing"


@dataclass(frozen=True)
class Program:
    """A program that is there.

    Attributes
    ----------
    path : str
        The file.
    version : str
        What it says its version is; "unknown" if it says none.
    setting : str
        Configuration key that names it, for messages.
    cure : str
        How to get it, for messages.
    """

    path: str
    version: str
    setting: str
    cure: str

    @classmethod
    def find(
        cls, names: Sequence[str], *, setting: str, cure: str, version_arguments: Sequence[str] = ("-v",)
    ) -> Program:
        """Find a program and ask for its version.

        Parameters
        ----------
        names : sequence of str
            Names to look for in the folders of PATH, or paths; the first that is there is taken.
        setting, cure : str
            For messages: the configuration key that names it, and how to get it.
        version_arguments : sequence of str, optional
            Arguments that make it say its version.

        Returns
        -------
        Program
            The program.

        Raises
        ------
        EngineError
            If there is none, or it does not start.
        """
        found = next((path for name in names if (path := shutil.which(name))), None)
        if found is None:
            raise EngineError(f"the program {' or '.join(names)} ({setting}) is not there: {cure}")
        program = cls(str(Path(found).absolute()), "unknown", setting, cure)
        with private_folder() as folder:
            said = program.run(version_arguments, folder=folder, timeout=_VERSION_TIMEOUT)
        match = re.search(r"version\s+([0-9]\S*)", said.stdout + said.stderr)
        return cls(program.path, match.group(1) if match else "unknown", setting, cure)

    def run(self, arguments: Sequence[str | Path], *, folder: Path, timeout: float, kept: int = _KEPT) -> Finished:
        """Run the program and wait for it; no shell is involved.

        Parameters
        ----------
        arguments : sequence of str or Path
            Its arguments.
        folder : Path
            Where it runs.
        timeout : float
            Seconds after which it and all that it started are killed.
        kept : int, optional
            Bytes that are kept of the end of what it says.

        Returns
        -------
        Finished
            Return code and messages, whatever the code is.

        Raises
        ------
        EngineError
            If it cannot be started, exceeds the time or is killed by a signal.
        """
        command = [self.path, *map(str, arguments)]
        name = Path(self.path).name
        with tempfile.TemporaryFile(dir=folder) as stdout, tempfile.TemporaryFile(dir=folder) as stderr:
            try:
                # A session of its own: what the program starts ends with it.
                process = subprocess.Popen(
                    command,
                    cwd=folder,
                    env={**os.environ, **_ENVIRONMENT},
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                    start_new_session=True,
                )
            except OSError as error:
                reason = f"{name} ({self.path}, {self.setting}) cannot be started: {error.strerror}"
                raise EngineError(f"{reason}: {self.cure}") from error
            try:
                code = process.wait(timeout)
            except subprocess.TimeoutExpired as error:
                raise EngineError(
                    f"{name} ({self.path}) has not ended after {timeout:g} s: raise its timeout beside {self.setting}"
                ) from error
            finally:
                _end(process)
            finished = Finished(code, _end_of(stdout, kept), _end_of(stderr, kept))
        if code < 0:
            reason = f"{name} ({self.path}, version {self.version}) was killed by {_signal_name(-code)}"
            raise EngineError(f"{reason}: {finished.complaint()}; try another release of it: {self.cure}")
        return finished


@contextmanager
def private_folder(parent: Path | None = None) -> Iterator[Path]:
    """Yield a new folder that only this user can read, removed with all that is in it when the block ends.

    It is removed, too, when the process is asked to terminate (SIGTERM, as batch systems do) meanwhile.

    Parameters
    ----------
    parent : Path, optional
        Where; by default in $TMPDIR, or the system's folder for temporary files.

    Yields
    ------
    Path
        The folder.

    Raises
    ------
    EngineError
        If it cannot be made.
    """
    try:
        folder = tempfile.TemporaryDirectory(prefix="shapempi-", dir=parent, ignore_cleanup_errors=True)
    except OSError as error:
        raise EngineError(f"no temporary folder can be made in {parent or tempfile.gettempdir()}: {error}") from error
    try:
        with _termination_as_exception(), folder as name:
            yield Path(name)
    except _TerminatedError:
        os.kill(os.getpid(), signal.SIGTERM)
        raise


def keep_files(folder: Path, target: Path, setting: str) -> None:
    """Copy what a program read and wrote to where the user wants it.

    Parameters
    ----------
    folder, target : Path
        From where, and to where; made if it is not there.
    setting : str
        The configuration key that says where, for messages.

    Raises
    ------
    EngineError
        If it cannot be written.
    """
    try:
        target.mkdir(parents=True, exist_ok=True)
        for file in sorted(folder.iterdir()):
            if file.is_file():
                shutil.copyfile(file, target / file.name)
    except OSError as error:
        raise EngineError(f"{setting}: {target} cannot be written: {error.strerror}") from error


class _TerminatedError(BaseException):
    """The process was asked to terminate; it does, when it has cleaned up."""


@contextmanager
def _termination_as_exception() -> Iterator[None]:
    """Raise `_TerminatedError` in the block on SIGTERM, where that would end the process at once."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def terminate(number: int, frame: object) -> None:
        raise _TerminatedError

    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill a program that still runs, and what it started."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _end_of(file: IO[bytes], kept: int) -> str:
    """Return the end of a file as text."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - kept, 0))
    return file.read().decode("utf-8", "replace")


def _signal_name(number: int) -> str:
    """Return a signal's name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
