"""Modules that get, prepare and mask images (behaviour specification, sections 2 to 4)."""

from __future__ import annotations

from collections.abc import Iterator

from shapempi.convert.ini import Entry
from shapempi.convert.mask_file import read_mask_file
from shapempi.convert.module_run import ModuleRun
from shapempi.convert.note import Assignment, Fate, Note
from shapempi.convert.option import Module, command, instead, read_by, taken, without
from shapempi.convert.value import truth, whole

__all__ = ["IMAGE_MODULES"]


def _external_flag(entry: Entry, run: ModuleRun) -> Iterator[Assignment | Note]:
    wanted = truth(entry.value)
    if run.image == "exposure" and not wanted:
        reason = "flag files are used where they are, and not missed where they are not"
        yield run.assignment(entry, "input.flag_required", False, reason)
    elif run.image == "tile" and wanted:
        yield Note(Fate.CHANGED, entry.where, str(entry), "tiles have no flag files")
    else:
        text = "the flags of an exposure are always used" if wanted else "tiles have no flag files"
        yield Note(Fate.TAKEN, entry.where, str(entry), text)


def _external_star(entry: Entry, run: ModuleRun) -> Iterator[Assignment | Note]:
    if truth(entry.value):
        text = "the folder of the star catalogues is input.star_catalogue"
        yield Note(Fate.TAKEN, entry.where, str(entry), text)
        return
    text = "no client is asked during a run: make a catalogue with `shapempi starcat`, and set input.star_catalogue"
    yield Note(Fate.COMMAND, entry.where, str(entry), text)


_NAMES = "input.image_name input.weight_name input.flag_name input.tile_name input.tile_weight_name"
_READ = "the originals are read where they are"

IMAGE_MODULES: tuple[Module, ...] = (
    Module(
        ("find_exposures",),
        "2.5",
        "`shapempi run` reads HISTORY itself; `shapempi exposures` writes exp_numbers-XXX-YYY.txt",
        (
            without("COLNUM", "the exposure's name is found wherever it is in a HISTORY card"),
            without("EXP_PREFIX", "the exposure's number is found behind any prefix"),
        ),
        "tile",
    ),
    Module(
        ("get_images",),
        "2.6",
        "`shapempi fetch-images`; a local folder is read where it is",
        (
            command("RETRIEVE", "fetch-images --from", "a folder or vos:...; a run needs no links"),
            command("N_TRY", "fetch-images --tries", ""),
            without("RETRIEVE_OPTIONS", "the client's own configuration"),
            without("N_EXPECTED", "every file is checked by itself"),
            instead("INPUT_PATH", "input.exposure_folder input.tile_folder", _READ),
            instead("INPUT_FILE_PATTERN INPUT_FILE_EXT INPUT_NUMBERING", _NAMES, _READ),
            instead("OUTPUT_PATH OUTPUT_FILE_PATTERN", f"input.exposure_folder {_NAMES}", "where the download ends"),
            command("CHECK_EXISTING_DIR", "fetch-images --output", "files that are there and whole are kept"),
        ),
    ),
    Module(
        ("uncompress_fits", "uncompress_fits_image"),
        "2.7",
        "none needed: compressed files are read as they are",
        (
            without("HDU_DATA", "the HDU with the image is found"),
            without("OUTPUT_PATTERN", "nothing is written"),
        ),
        "tile",
    ),
    Module(
        ("split_exp",),
        "3.1",
        "none needed: each CCD is read from the mosaic; `shapempi export --format legacy` writes split files",
        (
            without("OUTPUT_SUFFIX", "nothing is written; the files of `shapempi export` have the historic names"),
            taken("N_HDU", "input.n_ccd", whole),
        ),
        "exposure",
    ),
    Module(
        ("merge_headers", "merge_header"),
        "3.2",
        "none needed: RUN/footprints.h5; `shapempi headers` writes the WCS of all CCDs as one table",
        (without("OUTPUT_PATH", "no store is needed by a run"),),
        "exposure",
    ),
    Module(
        ("mask",),
        "4",
        "`[exposure.mask]`, `[tile.mask]`",
        (
            read_by(
                "MASK_CONFIG_PATH", "IMAGE.mask", read_mask_file, "spelled out key by key; see the .mask file below"
            ),
            read_by(
                "USE_EXT_FLAG", "input.flag_required", _external_flag, "flags of exposures are used where they are"
            ),
            read_by("USE_EXT_STAR", "input.star_catalogue", _external_star, "one catalogue for the survey"),
            without("HDU", "the HDU is found"),
            without("PREFIX SUFFIX", 'mask.output = ["flag"] writes pipeline_flag-EXPOSURE-CCD.fits'),
        ),
    ),
)
