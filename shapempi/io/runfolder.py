"""The folder of a run: what lies where, who may write, and for which configuration.

RUN/parts/<job>/rank-*.h5   finished units (`shapempi.io.parts`)
RUN/journal.jsonl           what happened, line by line (`shapempi.io.journal`)
RUN/status.json             how things stand
RUN/config.digest           digest of the configuration with which the units were made, code.digest that of the code
RUN/ledger.h5               where the committed units lie (`shapempi.io.ledger`)
RUN/footprints.h5           where the CCDs of the exposures lie (`shapempi.survey.footprint_store`)
RUN/lock                    held by rank 0 while it runs
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
from collections.abc import Collection
from pathlib import Path
from typing import Self

from shapempi.errors import ConfigError
from shapempi.io.atomic import replacing
from shapempi.io.parts import PARTS

__all__ = ["RunFolder"]

_LOG = logging.getLogger(__name__)
#: What flock raises on a file system that has no locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class RunFolder:
    """A run's folder, held by this process; `RunFolder.open` makes one.

    Attributes
    ----------
    path : Path
        The folder, absolute.
    job : str
        Name of this start of the run: a number that no earlier start had, with the batch job's id if there is one
        (`0003-slurm1234`).  The part files of this start lie in RUN/parts/<job>.
    """

    def __init__(self, path: Path, job: str, lock: int) -> None:
        self.path = path
        self.job = job
        self._lock: int | None = lock

    @classmethod
    def open(cls, path: Path, digest: str, code: str = "", accept: Collection[str] = ()) -> Self:
        """Make the folder if it is not there, lock it, and tie it to a configuration and to the code.

        The lock ends with the process, however that ends.

        Parameters
        ----------
        path : Path
            The folder.
        digest : str
            Digest of everything in the configuration that the results depend on.
        code : str, optional
            Digest of the code; "" for any.
        accept : collection of str, optional
            `config`, `code`: which of them may differ from what the folder's units were made with.

        Returns
        -------
        RunFolder
            The folder, until it is closed.

        Raises
        ------
        ConfigError
            If the folder cannot be written, another run holds it, or it holds units of another configuration or
            code and that is not accepted.
        """
        path = Path(path).expanduser().resolve()
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o750)  # the group may read, others not
            (path / PARTS).mkdir(exist_ok=True, mode=0o750)
            lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise _unwritable(path, error) from error
        try:
            _lock(path, lock)
            _bind(path, "config", digest, accept)
            if code:
                _bind(path, "code", code, accept)
            return cls(path, _new_job(path), lock)
        except BaseException as error:
            os.close(lock)
            if isinstance(error, OSError):
                raise _unwritable(path, error) from error
            raise

    @property
    def has_units(self) -> bool:
        """Whether there is any part file."""
        return _has_units(self.path)

    def keep(self, name: str, content: bytes) -> None:
        """Write a small file into the folder, replacing an older one as a whole.

        Parameters
        ----------
        name : str
            File name.
        content : bytes
            What it says.

        Raises
        ------
        ConfigError
            If it cannot be written (disk full, say).
        """
        try:
            with replacing(self.path / name) as temporary:
                temporary.write_bytes(content)
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def close(self) -> None:
        """Give the folder up to other runs."""
        if self._lock is not None:
            os.ftruncate(self._lock, 0)
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _unwritable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"the run folder {path} cannot be written: {error.strerror or error}; choose another folder (run.folder) "
        "or change its permissions"
    )


def _lock(path: Path, lock: int) -> None:
    """Take the lock and say who has it, for the message of those who come later."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(lock, 200).decode(errors="replace").strip() or "another process"
        raise ConfigError(
            f"{path} is in use by {holder}: two runs cannot write to one folder. Wait for it, end it, or choose "
            "another folder (run.folder)"
        ) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        _LOG.warning("%s has no file locks: nothing keeps a second run from starting here", path)
    job = os.environ.get("SLURM_JOB_ID")
    os.ftruncate(lock, 0)
    os.write(lock, (f"process {os.getpid()} on {socket.gethostname()}" + (f", job {job}" if job else "")).encode())


def _bind(path: Path, what: str, digest: str, accept: Collection[str]) -> None:
    """Tie the folder to a configuration or to the code, or check that it is the one it was tied to."""
    file = path / f"{what}.digest"
    old = file.read_text().strip() if file.exists() else ""
    if old == digest:
        return
    if old and what not in accept and _has_units(path):
        name, back = _BOUND[what]
        raise ConfigError(
            f"{path} holds units made with another {name} (digest {old[:12]}, now {digest[:12]}): results are "
            f"never mixed silently. Choose a new run.folder, {back.format(path=path)}, remove it to start over, "
            f"or accept the mixture with --accept {what}"
        )
    with replacing(file) as temporary:
        temporary.write_text(digest + "\n")


#: What a folder is tied to: its name, and how to go back to the old one.
_BOUND = {
    "config": ("configuration", "go back to the old values (compare {path}/config.toml)"),
    "code": ("version of the code", "go back to the old version"),
}


def _has_units(path: Path) -> bool:
    return any((path / PARTS).glob("*/rank-*.h5"))


def _new_job(path: Path) -> str:
    """Make the folder for the part files of this start; return its name."""
    numbers = [int(each.name[:4]) for each in (path / PARTS).iterdir() if each.name[:4].isdigit()]
    job = os.environ.get("SLURM_JOB_ID", "")
    name = f"{max(numbers, default=0) + 1:04d}" + (f"-slurm{job}" if job.isalnum() else "")
    (path / PARTS / name).mkdir(mode=0o750)
    return name
