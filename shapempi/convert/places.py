"""Where images are and how they are named, from the sections that get, split and mask them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from shapempi.convert.image_places import Images, folders_of, has_files, images_of
from shapempi.convert.ini import Entry
from shapempi.convert.module_run import ModuleRun, is_running_number
from shapempi.convert.note import Assignment, Fate, Note
from shapempi.convert.run_log import configuration_of, folder_of, output_folder
from shapempi.convert.value import is_true, list_of, path_of
from shapempi.errors import DataError
from shapempi.ids import TileId

__all__ = ["Given", "find_places"]

_EXPOSURE_KEYS = ("input.image_name", "input.weight_name", "input.flag_name")
_TILE_KEYS = ("input.tile_name", "input.tile_weight_name")


@dataclass(frozen=True)
class Given:
    """What the user says on the command line; it wins over the files.

    Attributes
    ----------
    exposure_folder, tile_folder, star_catalogue, run_folder : Path or None
        Values of the keys of these names.
    """

    exposure_folder: Path | None = None
    tile_folder: Path | None = None
    star_catalogue: Path | None = None
    run_folder: Path | None = None


def find_places(runs: Sequence[ModuleRun], given: Given) -> Iterator[Assignment | Note]:
    """Yield the keys of [input] and [run] that say where things are.

    Parameters
    ----------
    runs : sequence of ModuleRun
        The modules of all files.
    given : Given
        What the command line says.
    """
    exposures = [found for run in runs for found in images_of(run, "exposure")]
    tiles = [found for run in runs for found in images_of(run, "tile")]
    hint = ", ".join(_earlier_files(runs))
    yield from _placed("exposure", exposures, _EXPOSURE_KEYS, given.exposure_folder, hint)
    yield from _placed("tile", tiles, _TILE_KEYS, given.tile_folder, hint)
    yield from _star_catalogue(runs, given.star_catalogue)
    yield from _tiles(runs)
    yield from _run_folder(runs, given.run_folder)


def _earlier_files(runs: Sequence[ModuleRun]) -> list[str]:
    """Return the configurations of the runs whose output the files take with `last:MODULE`, if they are there."""
    found: dict[str, None] = {}
    here = {run.written for run in runs}
    for run in runs:
        try:
            items = [
                item for item in run.words("INPUT_DIR") if re.sub(r"_run_\d+$", "", item.split(":")[-1]) not in here
            ]
            found.update((str(path), None) for item in items if (path := configuration_of(item, run)) is not None)
        except ValueError:
            continue  # said where the key is read
    return list(found)


def _placed(
    image: str, places: Sequence[Images], keys: Sequence[str], given: Path | None, hint: str
) -> Iterator[Assignment | Note]:
    """Yield the folder of exposures or tiles, and the names of the files in it."""
    key = f"input.{image}_folder"
    option = "--" + f"{image}_folder".replace("_", "-")
    known = [place for place in places if place.folder is not None]
    chosen = next((place for place in known if place.folder and place.folder.is_dir()), known[0] if known else None)
    if given is not None:
        yield Assignment(key, str(given), "command line", option)
    elif chosen is not None:
        yield Assignment(key, str(chosen.folder), chosen.entry.where, str(chosen.entry))
        if not Path(str(chosen.folder)).is_dir():
            text = f"there is no folder {chosen.folder} here; correct {key}, or give {option}"
            yield Note(Fate.FAILED, chosen.entry.where, str(chosen.entry), text)
    else:
        where, what = (places[0].entry.where, str(places[0].entry)) if places else ("all files", "")
        text = f"no file says where the {image}s are: give {option} DIR, or {hint or 'the file of the step before'}"
        yield Note(Fate.FAILED, where, what, f"{text}, too; or edit {key}")
    folder = given if given is not None else chosen.folder if chosen is not None else None
    for place, name_key in enumerate(keys):
        candidates = [
            (each.entry, each.names[place]) for each in places if len(each.names) > place and each.names[place]
        ]
        found = next(((entry, name) for entry, name in candidates if has_files(folder, name)), None)
        if found is None and given is not None:
            continue  # the folder is not the one of the files: names as the observatory's, which are the default
        if found is None and candidates:
            found = candidates[0]
        if found is None:
            continue
        yield Assignment(name_key, found[1], found[0].where, str(found[0]))
        if (
            name_key != "input.flag_name"
            and folder is not None
            and _is_in_use(folder)
            and not has_files(folder, found[1])
        ):
            text = f"there are no files {found[1]} in {folder}; correct {name_key}, or link them: `shapempi link`"
            yield Note(Fate.FAILED, found[0].where, str(found[0]), text)


def _is_in_use(folder: Path) -> bool:
    """Whether there is anything in a folder."""
    return folder.is_dir() and next(folder.iterdir(), None) is not None


def _star_catalogue(runs: Iterable[ModuleRun], given: Path | None) -> Iterator[Assignment | Note]:
    """Yield the folder of the star catalogues: one that [MASK_RUNNER] has besides the images."""
    if given is not None:
        yield Assignment("input.star_catalogue", str(given), "command line", "--star-catalogue")
        return
    masks = sorted((run for run in runs if run.module == "mask"), key=lambda run: run.image != "exposure")
    chosen = None
    for run in masks:
        entry = run.setting("INPUT_DIR")
        if not is_true(run.says("USE_EXT_STAR")) or entry is None:
            continue
        try:
            folders = folders_of(run, references=False)
        except ValueError:
            continue  # said where the key is read
        folder = next((each for each in folders if has_files(each, "star_cat*")), None)
        folder = folder or next((each for each in reversed(folders) if not _is_in_use(each)), None)
        if folder is None:
            text = "no folder of star catalogues is known: give --star-catalogue, or set input.star_catalogue"
            yield Note(Fate.FAILED, entry.where, str(entry), text)
        elif chosen is None:
            chosen = folder
            reason = (
                "one catalogue serves all images; `shapempi starcat stars.h5 --from FOLDER` makes an index of the texts"
            )
            yield Assignment("input.star_catalogue", str(folder), entry.where, str(entry), reason)
            if not folder.exists():
                text = f"there is no folder {folder} here; correct input.star_catalogue, or give --star-catalogue"
                yield Note(Fate.FAILED, entry.where, str(entry), text)
        elif folder != chosen:
            text = f"stars are those of {chosen}: one catalogue serves all images"
            yield Note(Fate.CHANGED, entry.where, str(entry), text)


def _tiles(runs: Iterable[ModuleRun]) -> Iterator[Assignment | Note]:
    """Yield the tiles that are asked for."""
    for run in runs:
        if run.image != "tile":
            continue
        try:
            yield from _numbers(run)
            yield from _listed(run)
        except ValueError:
            continue  # said where the key is read


def _numbers(run: ModuleRun) -> Iterator[Assignment | Note]:
    """Read NUMBER_LIST: numbers, or a file with one a line; say what is wrong with running numbers."""
    scheme, entry = run.setting("NUMBERING_SCHEME"), run.setting("NUMBER_LIST")
    if scheme is not None and is_running_number(scheme.value) and run.module in ("mask", "sextractor"):
        text = "running numbers do not say which tile it is: `shapempi link` makes links with XXX-YYY in their names"
        yield Note(Fate.FAILED, scheme.where, str(scheme), text)
        return
    if entry is None:
        return
    words = list_of(entry.value)
    path = path_of(words[0], run.environment) if len(words) == 1 else None
    if path is not None and path.is_file():
        words = [
            line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()
        ]
    try:
        tiles = [str(TileId.parse(word.lstrip("-_"))) for word in words]
    except DataError as error:
        yield Note(Fate.FAILED, entry.where, str(entry), f"{error}; or there is no such file")
        return
    yield Assignment("input.tiles", tiles, entry.where, str(entry))


def _listed(run: ModuleRun) -> Iterator[Assignment | Note]:
    """Find the list of tiles that images are got for."""
    entry, patterns = run.setting("INPUT_DIR"), run.words("FILE_PATTERN")
    if run.module != "get_images" or entry is None or not patterns:
        return
    end = (run.words("FILE_EXT") or [".txt"])[0]
    for item in list_of(entry.value):
        folder = folder_of(item, run)
        path = folder / f"{patterns[0]}{end}" if folder is not None else None
        if path is not None and path.is_file():
            yield Assignment("input.tile_list", str(path), entry.where, str(entry))
            return


def _run_folder(runs: Sequence[ModuleRun], given: Path | None) -> Iterator[Assignment | Note]:
    """Yield the folder of the run, beside those of ShapePipe."""
    if given is not None:
        yield Assignment("run.folder", str(given), "command line", "--run-folder")
        return
    names: dict[str, Entry] = {}
    folders: dict[Path, Entry] = {}
    for run in runs:
        named, entry = run.file.get("DEFAULT", "RUN_NAME"), run.file.get("FILE", "OUTPUT_DIR")
        if named is not None:
            names[named.value] = named
        if entry is not None:
            try:
                folder = output_folder(run)
            except ValueError:
                continue  # said where the key is read
            if folder is not None:
                folders.setdefault(folder, entry)
    if not folders:
        yield Note(Fate.FAILED, "all files", "", "no [FILE] OUTPUT_DIR is known: give --run-folder, or edit run.folder")
        return
    chosen, source = list(folders.items())[-1]
    name = f"{next(iter(names))}_shapempi" if len(names) == 1 else "run_shapempi"
    reason = "one folder for the whole chain: the same command goes on where it stopped"
    yield Assignment("run.folder", str(chosen / name), source.where, str(source), reason)
