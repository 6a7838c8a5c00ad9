"""`last:MODULE` in INPUT_DIR: the newest output of a module, by ShapePipe's list of runs (section 1.4)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from shapempi.convert.module_run import ModuleRun
from shapempi.convert.value import expand, path_of

__all__ = ["configuration_of", "folder_of", "is_reference", "output_folder"]

_REFERENCE = re.compile(r"(?:last!?|all|[^/\\]+):(\w+)$")


def is_reference(item: str) -> bool:
    """Whether an entry of INPUT_DIR is `last:MODULE` or the like, not a folder."""
    return _REFERENCE.fullmatch(item) is not None


def output_folder(run: ModuleRun) -> Path | None:
    """Return [FILE] OUTPUT_DIR of a file; None if it has none.

    Raises
    ------
    ValueError
        If a variable is not set.
    """
    entry = run.file.get("FILE", "OUTPUT_DIR")
    return path_of(entry.value, run.environment) if entry is not None else None


def folder_of(item: str, run: ModuleRun) -> Path | None:
    """Return the folder that an entry of INPUT_DIR means; None for the output of a run that is not there.

    Raises
    ------
    ValueError
        If a variable is not set.
    """
    item = expand(item, run.environment)
    match = _REFERENCE.fullmatch(item)
    if match is None:
        return Path(item).expanduser()
    module = match.group(1)
    for found in _runs_with(module, run):
        if (found / module / "output").is_dir():
            return found / module / "output"
    return None


def configuration_of(item: str, run: ModuleRun) -> Path | None:
    """Return the copy of the configuration that the run of an entry `last:MODULE` keeps; None if there is none.

    Raises
    ------
    ValueError
        If a variable is not set.
    """
    match = _REFERENCE.fullmatch(item)
    folders = _runs_with(match.group(1), run) if match is not None else iter(())
    return next((path for folder in folders for path in sorted((folder / "logs").glob("*.ini"))), None)


def _runs_with(module: str, run: ModuleRun) -> Iterator[Path]:
    """Yield the folders of the runs that had a module, newest first."""
    root, name = output_folder(run), run.file.get("FILE", "RUN_LOG_NAME")
    if root is None:
        return
    log = root / f"{name.value if name is not None else 'shapepipe_runs'}.txt"
    try:
        lines = log.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return  # the caller says that the module's output is not known
    bare = re.sub(r"_run_\d+$", "", module)
    for line in reversed(lines):
        folder, _, modules = line.strip().rpartition(" ")
        if folder and bare in modules.split(","):
            yield Path(folder)
