"""Modules that detect, select stars and model the PSF (behaviour specification, sections 5 to 8)."""

from __future__ import annotations

from collections.abc import Iterator

from shapempi.convert.ini import Entry
from shapempi.convert.module_run import ModuleRun
from shapempi.convert.note import Assignment, Fate, Note
from shapempi.convert.option import Module, Reader, read_by, taken, without
from shapempi.convert.psfex_file import named_images, read_psfex_file
from shapempi.convert.setools_file import read_setools_file
from shapempi.convert.sextractor_file import read_columns, read_filter, read_sex_file
from shapempi.convert.value import expand, is_true, list_of, number, truth, whole

__all__ = ["STAR_MODULES"]


def _always(entry: Entry, run: ModuleRun) -> Iterator[Assignment | Note]:
    """Of a truth that is always true here."""
    fate = Fate.TAKEN if truth(entry.value) else Fate.CHANGED
    what = {"WEIGHT_IMAGE": "the weight", "FLAG_IMAGE": "the mask"}[entry.name]
    yield Note(fate, entry.where, str(entry), f"{what} is always used")


#: Names under which programs are looked for without being told.
_USUAL = ("sex", "source-extractor", "sextractor", "psfex")


def _program(key: str) -> Reader:
    def reader(entry: Entry, run: ModuleRun) -> Iterator[Assignment | Note]:
        if run.programs and entry.value in _USUAL:
            yield Note(Fate.TAKEN, entry.where, str(entry), "the program is found under each of its names")
        elif run.programs and run.image:
            yield run.assignment(entry, key.replace("IMAGE", run.image), expand(entry.value, run.environment))
        else:
            text = f"everything is done in process; --programs keeps the program ({key.replace('IMAGE', run.image)})"
            yield Note(Fate.CHANGED, entry.where, str(entry), text)

    return reader


def _psf_file(entry: Entry, run: ModuleRun) -> Iterator[Assignment | Note]:
    if truth(entry.value):
        raise ValueError("there is no model photometry: columns that need a PSF are not measured")
    yield Note(Fate.WITHOUT, entry.where, str(entry), "there is no model photometry")


def _detection_image(entry: Entry, run: ModuleRun) -> Iterator[Assignment | Note]:
    """Detect in another image: the names are the last of the patterns."""
    patterns, ends = run.words("FILE_PATTERN"), run.words("FILE_EXT")
    if not truth(entry.value):
        yield Note(Fate.TAKEN, entry.where, str(entry), "objects are found where they are measured")
        return
    if run.image != "tile" or len(patterns) < 2:
        raise ValueError("another image to detect in is for tiles, and FILE_PATTERN names it")
    has_weight = is_true(run.says("DETECTION_WEIGHT"))
    key = "input.tile_detection_name" if entry.name == "DETECTION_IMAGE" else "input.tile_detection_weight_name"
    place = -2 if entry.name == "DETECTION_IMAGE" and has_weight else -1
    end = ends[place] if len(ends) == len(patterns) else (ends or [".fits"])[0]
    yield run.assignment(entry, key, f"{patterns[place]}-{{tile}}{end}")


def _keyword(flag: str, keys: str) -> Reader:
    def reader(entry: Entry, run: ModuleRun) -> Iterator[Assignment | Note]:
        exposure, tile = keys.split()
        key = tile if run.image == "tile" else exposure
        if is_true(run.says(flag)):
            yield run.assignment(entry, key, entry.value)
        else:
            yield Note(Fate.WITHOUT, entry.where, str(entry), f"{flag} is False")

    return reader


def _from_header(entry: Entry, run: ModuleRun) -> Iterator[Assignment | Note]:
    wanted, other = truth(entry.value), entry.name.split("_")[0]
    if other == "ZP" and not wanted and run.image == "exposure":
        text = "the zero point of a CCD is that of its header; input.keywords.default_zero_point where that has none"
        yield Note(Fate.CHANGED, entry.where, str(entry), text)
    else:
        text = f"{other}_KEY names the keyword" if wanted else "no keyword is needed"
        yield Note(Fate.TAKEN, entry.where, str(entry), text)


def _check_images(entry: Entry, run: ModuleRun) -> Iterator[Assignment | Note]:
    images = named_images(entry.value)
    if not images:
        yield Note(Fate.TAKEN, entry.where, str(entry), "none is made")
    if "BACKGROUND" in images:
        text = (
            f'the background is handed on by itself; {run.image or "exposure"}.output = ["background"] writes the image'
        )
        yield Note(Fate.CHANGED, entry.where, str(entry), text)
    others = [image for image in images if image != "BACKGROUND"]
    if others and run.programs and run.image:
        yield run.assignment(entry, f"{run.image}.detection.program.check_images", others, "kept in program.keep")
    elif others:
        text = f"{', '.join(others)}: `shapempi detect --check` makes check images; --programs asks source-extractor"
        yield Note(Fate.CHANGED, entry.where, str(entry), text)


def _position(entry: Entry, run: ModuleRun) -> Iterator[Assignment | Note]:
    names = [name.upper() for name in list_of(entry.value)]
    usual = all(name.startswith(("XWIN_", "YWIN_")) for name in names)
    text = "PSF models are evaluated at the windowed positions, through the WCS of each exposure"
    yield Note(Fate.WITHOUT if usual else Fate.CHANGED, entry.where, str(entry), text)


def _interpolation(entry: Entry, run: ModuleRun) -> Iterator[Assignment | Note]:
    if entry.value.upper() not in ("CLASSIC", "MULTI-EPOCH", "VALIDATION"):
        raise ValueError("no such mode; ShapePipe has CLASSIC, MULTI-EPOCH, VALIDATION, and does nothing otherwise")
    text = "a run does this; `shapempi interpolate-psf` writes the files"
    yield Note(Fate.TAKEN if entry.value.upper() != "CLASSIC" else Fate.COMMAND, entry.where, str(entry), text)


STAR_MODULES: tuple[Module, ...] = (
    Module(
        ("sextractor",),
        "5",
        "`[exposure.detection]`, `[tile.detection]`",
        (
            read_by(
                "EXEC_PATH",
                "IMAGE.detection.program.program",
                _program("IMAGE.detection.program.program"),
                "with --programs",
            ),
            read_by(
                "DOT_SEX_FILE", "IMAGE.detection", read_sex_file, "spelled out key by key; see the .sex file below"
            ),
            read_by("DOT_PARAM_FILE", "IMAGE.vignet_size", read_columns, "all columns are measured, wanted or not"),
            read_by(
                "DOT_CONV_FILE",
                "IMAGE.detection.program.filter",
                read_filter,
                "the 3 x 3 pyramid; others with --programs",
            ),
            read_by("WEIGHT_IMAGE FLAG_IMAGE", "", _always, "always"),
            read_by("PSF_FILE", "", _psf_file, "there is no model photometry"),
            read_by(
                "DETECTION_IMAGE DETECTION_WEIGHT",
                "input.tile_detection_name input.tile_detection_weight_name",
                _detection_image,
                "of tiles",
            ),
            read_by("ZP_FROM_HEADER BKG_FROM_HEADER", "", _from_header, "by the keyword"),
            read_by(
                "ZP_KEY",
                "input.keywords.zero_point",
                _keyword("ZP_FROM_HEADER", "input.keywords.zero_point input.keywords.zero_point"),
                "",
            ),
            read_by(
                "BKG_KEY",
                "input.keywords.background input.keywords.tile_background",
                _keyword("BKG_FROM_HEADER", "input.keywords.background input.keywords.tile_background"),
                "",
            ),
            read_by(
                "CHECKIMAGE",
                "IMAGE.output IMAGE.detection.program.check_images",
                _check_images,
                "the background is handed on by itself",
            ),
            without("PREFIX SUFFIX", '`output = ["catalogue"]` writes sexcat-EXPOSURE-CCD.fits, sexcat-XXX-YYY.fits'),
            without("MAKE_POST_PROCESS", "the epochs of objects are always found (/epochs, n_epoch)"),
            without("LOG_WCS", "the WCS comes from the exposures' headers"),
            without("WORLD_POSITION", "XWIN_WORLD, YWIN_WORLD"),
            without("CCD_SIZE", "the part with sky is that of the header (input.keywords.valid_section)"),
        ),
    ),
    Module(
        ("setools",),
        "6",
        "`[stars]`; `shapempi select-stars` on catalogues",
        (
            read_by(
                "SETOOLS_CONFIG_PATH",
                "stars.selection stars.mask stars.split",
                read_setools_file,
                "the file is used as it is: its language is known, with all its sections",
            ),
        ),
        "exposure",
    ),
    Module(
        ("psfex",),
        "7",
        "`[psf]`",
        (
            read_by("EXEC_PATH", "psf.psfex.program", _program("psf.psfex.program"), "with --programs"),
            read_by("DOT_PSFEX_FILE", "psf", read_psfex_file, "spelled out key by key; see the .psfex file below"),
            taken("CHECKIMAGE", "psf.psfex.check_images", named_images, "of PSFEx only"),
        ),
        "exposure",
    ),
    Module(
        ("psfex_interp", "psfexinterp"),
        "8",
        "part of a run; `shapempi interpolate-psf`, `shapempi validate-psf`",
        (
            read_by("MODE", "shapempi interpolate-psf", _interpolation, "a run does it; the command writes the files"),
            read_by("POSITION_PARAMS", "", _position, "windowed positions"),
            without("GET_SHAPES", "always, by adaptive moments in sky coordinates"),
            taken(
                "STAR_THRESH",
                "psf.acceptance.min_stars",
                whole,
                "one threshold for galaxies and validation: the larger",
            ),
            taken("CHI2_THRESH", "psf.acceptance.max_chi2", number, "one threshold for both: the smaller"),
            without("ME_DOT_PSF_DIR ME_DOT_PSF_PATTERN", "models go from unit to unit without files"),
            without("ME_LOG_WCS", "the WCS comes from the exposures' headers"),
        ),
    ),
)
