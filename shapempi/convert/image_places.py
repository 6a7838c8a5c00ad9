"""Where the originals of exposures and tiles are, by the sections that get, split and mask them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from shapempi.convert.ini import Entry
from shapempi.convert.module_run import ModuleRun, is_running_number, scheme_pattern
from shapempi.convert.run_log import folder_of, is_reference
from shapempi.convert.value import list_of

__all__ = ["Images", "folders_of", "has_files", "images_of"]


@dataclass(frozen=True)
class Images:
    """A place where images may be.

    Attributes
    ----------
    entry : Entry
        The key that says so.
    folder : Path or None
        The folder; None if it is not known.
    names : tuple of str
        Names of the files, `{exposure}` or `{tile}` in them; an empty one is not known.
    """

    entry: Entry
    folder: Path | None
    names: tuple[str, ...]


def images_of(run: ModuleRun, image: str) -> Iterator[Images]:
    """Yield where a module gets the originals of exposures or tiles from.

    Parameters
    ----------
    run : ModuleRun
        The module.
    image : str
        `exposure` or `tile`.
    """
    readers = {
        ("get_images", "exposure"): _fetched,
        ("get_images", "tile"): _fetched,
        ("split_exp", "exposure"): _split,
        ("uncompress_fits", "tile"): _tile_files,
        ("mask", "tile"): _tile_files,
        ("sextractor", "tile"): _tile_files,
    }
    reader = readers.get((run.module, run.image)) if run.image == image else None
    if reader is not None:
        try:
            yield from reader(run)
        except ValueError:
            return  # said where the key is read


def _fetched(run: ModuleRun) -> Iterator[Images]:
    """Read [GET_IMAGES_RUNNER]: the folder that is linked to, or the one that is downloaded to."""
    mark = "{tile}" if run.image == "tile" else "{exposure}"
    is_local = run.says("RETRIEVE") == "symlink"
    path = run.own("INPUT_PATH" if is_local else "OUTPUT_PATH")
    patterns = run.words("INPUT_FILE_PATTERN" if is_local else "OUTPUT_FILE_PATTERN")
    ends, numbering = run.words("INPUT_FILE_EXT"), run.own("INPUT_NUMBERING")
    if path is None or not patterns:
        return
    ends = ends if len(ends) == len(patterns) else [(ends or [".fits"])[0]] * len(patterns)
    names: list[str] = []
    if not is_local:
        names = [f"{name.rstrip('-')}-{mark}{_one_dot(end)}" for name, end in zip(patterns, ends, strict=True)]
    elif numbering is not None:
        number = mark if run.image == "tile" else f"{mark}p"
        form = scheme_pattern(f"RE:{numbering.value}")
        names = [form.sub(number, name) + end for name, end in zip(patterns, ends, strict=True)]
    yield Images(path, folder_of(list_of(path.value)[0], run), tuple(names))


def _one_dot(end: str) -> str:
    """Return `.fitsfz` for `.fits.fz`: ShapePipe's extensions have one dot."""
    return "." + end.replace(".", "")


def _split(run: ModuleRun) -> Iterator[Images]:
    """Read [SPLIT_EXP_RUNNER]: the mosaics."""
    entry = run.setting("INPUT_DIR")
    if entry is None:
        return
    patterns = run.words("FILE_PATTERN") or ["image", "weight", "flag"]
    ends = run.words("FILE_EXT") or [".fitsfz"]
    ends = ends if len(ends) == len(patterns) else [ends[0]] * len(patterns)
    names = tuple(f"{name}-{{exposure}}{end}" for name, end in zip(patterns, ends, strict=True))
    yield Images(entry, _likely_folder(run, names), names)


def _tile_files(run: ModuleRun) -> Iterator[Images]:
    """Read what a module takes of tiles: image and weight."""
    entry, patterns = run.setting("INPUT_DIR"), run.words("FILE_PATTERN")
    scheme = run.setting("NUMBERING_SCHEME")
    if entry is None or not patterns or (scheme is not None and is_running_number(scheme.value)):
        return
    ends = run.words("FILE_EXT") or [".fits"]
    ends = ends if len(ends) == len(patterns) else [ends[0]] * len(patterns)
    image = weight = ""
    for pattern, end in zip(patterns, ends, strict=True):
        name = f"{pattern}-{{tile}}{end}"
        if "weight" in pattern:
            weight = weight or name
        elif "flag" not in pattern and "star" not in pattern and "cat" not in pattern:
            image = image or name
    yield Images(entry, _likely_folder(run, (image, weight)), (image, weight))


def _likely_folder(run: ModuleRun, names: Sequence[str]) -> Path | None:
    """Return the folder that has the files, or else the first that is there, or the first that is named."""
    folders = folders_of(run)
    for is_likely in (lambda folder: any(has_files(folder, name) for name in names if name), Path.is_dir):
        found = next((folder for folder in folders if is_likely(folder)), None)
        if found is not None:
            return found
    return folders[0] if folders else None


def folders_of(run: ModuleRun, *, references: bool = True) -> list[Path]:
    """Return the known folders of a module's INPUT_DIR and ADD_INPUT_DIR.

    Parameters
    ----------
    run : ModuleRun
        The module.
    references : bool, optional
        Whether the folders that `last:MODULE` means are among them.

    Raises
    ------
    ValueError
        If a variable is not set, or a comma is wrong.
    """
    items = [item for item in run.words("INPUT_DIR") if references or not is_reference(item)]
    return [folder for item in items if (folder := folder_of(item, run)) is not None]


def has_files(folder: Path | None, name: str) -> bool:
    """Whether a folder has files of a name, with `.fz` or without.

    Parameters
    ----------
    folder : Path or None
        The folder.
    name : str
        The name, with `{exposure}` or `{tile}` in it.
    """
    if folder is None or not folder.is_dir():
        return False
    form = re.sub(r"\{\w+\}", "*", name)
    return any(next(folder.glob(each), None) is not None for each in (form, f"{form}.fz", form.removesuffix(".fz")))
