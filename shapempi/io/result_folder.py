"""A folder of results that one verb writes: made, or emptied of what the verb made before, and of nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from shapempi.errors import ConfigError

__all__ = ["claim", "refuse_folder"]


def refuse_folder(folder: Path, names: Collection[str], what: str, *, overwrite: bool) -> None:
    """Refuse a folder that results must not be written to.

    Parameters
    ----------
    folder : Path
        The folder; it need not be there.
    names : collection of str
        Files and folders that the results consist of.
    what : str
        What they are, for messages.
    overwrite : bool
        Whether earlier results may be replaced.

    Raises
    ------
    ConfigError
        If the folder holds anything that may not be replaced, or is none.
    """
    try:
        there = sorted(path.name for path in folder.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written: {error.strerror}; give another --output") from error
    strange = [name for name in there if name not in names]
    if strange:
        raise ConfigError(f"{folder} holds {strange[0]}, which no {what} made: choose another --output")
    if there and not overwrite:
        raise ConfigError(f"{folder} holds a {what} already; give --overwrite to replace it, or --output")


def claim(folder: Path, names: Collection[str], what: str, *, overwrite: bool) -> None:
    """Make a folder for results, or empty it of earlier ones; parameters and errors are those of `refuse_folder`."""
    try:
        folder.mkdir(exist_ok=True)
        refuse_folder(folder, names, what, overwrite=overwrite)
        for path in folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written: {error.strerror}; give another --output") from error
