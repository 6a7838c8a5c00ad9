"""VOSpace as a place from which files are fetched: by CADC's client `vos`, as a package or as the command `vcp`."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shapempi.errors import DataError, EngineError, MissingInputError
from shapempi.io.remote_file import RemoteFile

__all__ = ["VosCommand", "VosPackage", "open_vospace"]

#: The longest time that one call of the command may take [s].
_DEADLINE = 4 * 3600.0

#: What the package's exceptions are called that no second try can help.
_ABSENT = "NotFoundException"
_REFUSED = ("UnauthorizedException", "ForbiddenException")
_CERTIFICATE = "get a certificate with `cadc-get-cert -u USER`"


def open_vospace(address: str) -> VosPackage | VosCommand:
    """Return the client for a folder of VOSpace.

    Parameters
    ----------
    address : str
        The folder, such as `vos:cfis/pitcairn`.

    Raises
    ------
    EngineError
        If the client is not installed.
    """
    try:
        from vos import Client
    except ImportError as error:
        command = shutil.which("vcp")
        if command is None:
            raise EngineError(
                f"{address}: VOSpace needs the client of CADC, which is not installed; `pip install 'shapempi[vos]'`, "
                "or fetch the files by other means and give their folder with --from"
            ) from error
        return VosCommand(address, command)
    return VosPackage(address, Client())


def _is_local_copy(path: Path, size: int | None) -> bool:
    """Say whether a file, not a link, is there that has the length if that is known."""
    return not path.is_symlink() and path.is_file() and size in (None, path.stat().st_size)


class VosPackage:
    """Fetches by the package's Python interface.

    Parameters
    ----------
    address : str
        The folder of VOSpace.
    client : vos.Client
        The client.
    """

    def __init__(self, address: str, client: Any) -> None:
        self.address = address.rstrip("/")
        self._client = client

    def find(self, names: Sequence[str]) -> RemoteFile:
        """Return the file that has the first of some names that is there, with its length.

        Raises
        ------
        MissingInputError
            If there is none, or it may not be read.
        DataError
            If VOSpace does not answer.
        """
        for name in names:
            where = f"{self.address}/{name}"
            try:
                length = self._client.get_node(where, limit=0, force=True).props.get("length")
            except Exception as error:  # the client, the network and the service raise dozens of classes
                if type(error).__name__ == _ABSENT:
                    continue
                raise _understood(error, where) from error
            return RemoteFile(name, where, int(length) if length is not None else None)
        raise MissingInputError(f"{self.address}/{names[0]} does not exist; correct --from or the list")

    def get(self, file: RemoteFile, target: Path) -> None:
        """Copy a file.

        Raises
        ------
        MissingInputError
            If it may not be read, or is gone.
        DataError
            If that fails, and may be tried again.
        """
        try:
            self._client.copy(file.where, str(target))
        except Exception as error:  # as in find
            raise _understood(error, file.where) from error

    def has_same(self, file: RemoteFile, path: Path) -> bool:
        """Say whether a file of the same length is there."""
        return _is_local_copy(path, file.size)


def _understood(error: Exception, where: str) -> DataError | MissingInputError:
    """Return the error of the package as one of ours: missing is what no second try can help."""
    kind = type(error).__name__
    reason = next(iter(str(error).strip().splitlines()), "") or kind
    if kind in _REFUSED:
        return MissingInputError(f"{where}: may not be read: {reason}; {_CERTIFICATE}")
    if kind == _ABSENT:
        return MissingInputError(f"{where} does not exist; correct --from or the list")
    return DataError(f"{where}: VOSpace does not answer: {reason}")


class VosCommand:
    """Fetches by the command `vcp`, which checks lengths itself.

    Parameters
    ----------
    address : str
        The folder of VOSpace.
    command : str
        Path of the command.
    """

    def __init__(self, address: str, command: str) -> None:
        self.address = address.rstrip("/")
        self._command = command

    def find(self, names: Sequence[str]) -> RemoteFile:
        """Return the file of the usual name, whether it is there or not: the command finds out."""
        return RemoteFile(names[0], f"{self.address}/{names[0]}", None)

    def get(self, file: RemoteFile, target: Path) -> None:
        """Copy a file.

        Raises
        ------
        DataError
            If that fails.
        """
        words = [self._command, file.where, str(target)]
        try:
            result = subprocess.run(
                words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=_DEADLINE
            )
        except subprocess.TimeoutExpired as error:
            raise DataError(f"{file.where}: vcp was ended after {_DEADLINE:g} s") from error
        if result.returncode != 0 or not target.is_file():
            said = [line.strip() for line in (result.stderr + result.stdout).splitlines() if line.strip()]
            raise DataError(f"{file.where}: vcp: {said[-1] if said else f'exit code {result.returncode}'}")

    def has_same(self, file: RemoteFile, path: Path) -> bool:
        """Say whether a file is there; its length is not known."""
        return _is_local_copy(path, file.size)
