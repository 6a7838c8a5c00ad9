"""The options of ShapePipe's engine: sections that are of no module, and keys that every module's section may have."""

from __future__ import annotations

from collections.abc import Iterator

from shapempi.convert.ini import Entry
from shapempi.convert.module_run import ModuleRun
from shapempi.convert.note import Assignment, Fate, Note
from shapempi.convert.option import Module, instead, read_by, used, without
from shapempi.convert.value import whole

__all__ = ["ENGINE", "EVERY_MODULE"]


def _ranks(entry: Entry, run: ModuleRun) -> Iterator[Assignment | Note]:
    """Say how many ranks do what so many jobs did."""
    count = whole(entry.value)
    if count < 1:
        raise ValueError("fewer than one job at a time")
    text = f"the number of ranks: mpirun -n {count + 1} shapempi run (rank 0 hands out the work)"
    yield Note(Fate.COMMAND, entry.where, str(entry), text)


_NAMES = "input.image_name input.weight_name input.flag_name input.tile_name input.tile_weight_name"
_FOUND = "see the keys of [input] that it says together with others"

#: Modules that say where the originals are, and those that say which stars PSFEx gets.
_SOURCES = {("get_images", "exposure"), ("get_images", "tile"), ("split_exp", "exposure"), ("uncompress_fits", "tile")}
_SOURCES |= {("mask", "tile"), ("sextractor", "tile"), ("psfex", "exposure")}


def _input(entry: Entry, run: ModuleRun) -> Iterator[Assignment | Note]:
    """Say whether files are looked for where a module says."""
    if (run.module, run.image) in _SOURCES or (run.module == "mask" and entry.name.endswith("INPUT_DIR")):
        yield Note(Fate.TAKEN, entry.where, str(entry), _FOUND)
    else:
        yield Note(Fate.WITHOUT, entry.where, str(entry), "what it reads goes from unit to unit without files")


def _numbers(entry: Entry, run: ModuleRun) -> Iterator[Assignment | Note]:
    """Say whether the numbers are those of tiles, which [input] takes."""
    if run.image != "tile":
        yield Note(Fate.CHANGED, entry.where, str(entry), "exposures are those that the HISTORY of the tiles names")


#: Sections that are of no module; module names and MODULE itself are read elsewhere.
ENGINE: tuple[Module, ...] = (
    Module(
        ("DEFAULT",),
        "13.1",
        "options of the command line",
        (
            without("VERBOSE", "progress is shown; messages are in RUN/journal.jsonl"),
            instead("RUN_NAME", "run.folder", "the folder of the run is OUTPUT_DIR/RUN_NAME_shapempi"),
            without("RUN_DATETIME", "one folder per survey: the same command goes on where it stopped"),
        ),
    ),
    Module(
        ("EXECUTION",),
        "13.1",
        "`shapempi run`",
        (
            used("MODULE", "", "one run does all modules of the chain; which are there decides what is converted"),
            without("MODE", "always MPI; one process without a launcher does it all, too"),
        ),
    ),
    Module(
        ("FILE",),
        "1.2-1.4",
        "`[input]`, `[run] folder`",
        (
            without("LOG_NAME RUN_LOG_NAME", "RUN/journal.jsonl and `shapempi status RUN`"),
            used("INPUT_DIR", "input.exposure_folder input.tile_folder input.star_catalogue", _FOUND),
            used("OUTPUT_DIR", "run.folder", "the folder of the run is in it: RUN_NAME_shapempi"),
            used("FILE_PATTERN FILE_EXT", _NAMES, f"of the first module; {_FOUND}"),
            without("NUMBERING_SCHEME", "exposures have 7 digits and tiles XXX.YYY or XXX-YYY; says which are meant"),
            read_by("NUMBER_LIST", "input.tiles", _numbers, "the tiles; exposures are those that their HISTORY names"),
            without("CORRECT_FILE_PATTERN", "a name is exactly what the configuration says"),
        ),
    ),
    Module(
        ("JOB",),
        "13.1",
        "`mpirun`",
        (
            read_by("SMP_BATCH_SIZE", "mpirun", _ranks, "one rank more than jobs at a time: rank 0 hands out the work"),
            without("SMP_BACKEND", "ranks are processes"),
            instead("TIMEOUT", "run.time_limit", "units of work are smaller than jobs: an hour each is enough"),
        ),
    ),
    Module(("WORKER",), "13.1", "none", (without("PROCESS_PRINT_LIMIT", "file lists are not printed"),)),
)

#: Keys that the section of any module may have; each also as ADD_<key>.
EVERY_MODULE = Module(
    ("every module",),
    "1.3, 13.1",
    "the plan of a run: units know what they need",
    (
        read_by(
            "INPUT_DIR",
            "input.exposure_folder input.tile_folder input.star_catalogue",
            _input,
            "of what gets, splits and masks images; what other modules read goes from unit to unit without files",
        ),
        read_by(
            "FILE_PATTERN FILE_EXT",
            f"{_NAMES} stars.mask stars.split",
            _input,
            "of what gets, splits and masks images, and of psfex",
        ),
        without("NUMBERING_SCHEME", "says whether CCDs or tiles are meant; units have names of their own"),
        read_by("NUMBER_LIST", "input.tiles", _numbers, "the tiles; exposures are those that their HISTORY names"),
        without("INPUT_MODULE", "products go from unit to unit without names"),
        without("RUN_METHOD", "whether a step is parallel is shapempi's"),
        without("DEPENDS EXECUTES", "what is missing is said before the start"),
    ),
)
