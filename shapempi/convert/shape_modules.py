"""Modules that cut stamps and measure shapes (behaviour specification, sections 9 to 11)."""

from __future__ import annotations

from collections.abc import Iterator

from shapempi.convert.ini import Entry
from shapempi.convert.module_run import ModuleRun
from shapempi.convert.note import Assignment, Fate, Note
from shapempi.convert.option import Module, read_by, taken, without
from shapempi.convert.value import number, truth, whole

__all__ = ["SHAPE_MODULES"]


def _centre_prior(entry: Entry, run: ModuleRun) -> Iterator[Assignment | Note]:
    reason = "of the prior on the centre only: every other use of a scale takes that of the WCS"
    yield run.assignment(entry, "shapes.centre_prior_sigma", number(entry.value), reason)


def _masking(entry: Entry, run: ModuleRun) -> Iterator[Assignment | Note]:
    if truth(entry.value):
        text = "`shapempi export --format ldac --vignets` writes stamps with masked pixels at -1e30, MASK_VALUE or not"
        yield Note(Fate.CHANGED, entry.where, str(entry), text)
        return
    yield Note(Fate.TAKEN, entry.where, str(entry), "stamps are cut from images")


def _object_range(entry: Entry, run: ModuleRun) -> Iterator[Assignment | Note]:
    if whole(entry.value) > 0:
        raise ValueError("all objects of a tile are measured: ranks share them, and no range of numbers is needed")
    yield Note(
        Fate.WITHOUT, entry.where, str(entry), "all objects are measured; ranks get them in blocks (run.block_size)"
    )


SHAPE_MODULES: tuple[Module, ...] = (
    Module(
        ("vignetmaker", "vignetmaker_runner2"),
        "9",
        "`[vignet]`: part of a block's unit",
        (
            read_by("MASKING", "", _masking, "stamps are cut from images"),
            without("MASK_VALUE", "unusable pixels have weight 0 and flag bits"),
            without("MODE COORD", "always from the exposures, by sky position"),
            without("POSITION_PARAMS", "XWIN_WORLD, YWIN_WORLD"),
            taken("STAMP_SIZE", "vignet.size", whole),
            without("PREFIX SUFFIX", "no file is written"),
            without("ME_IMAGE_DIR ME_IMAGE_PATTERN", "image, weight, mask and background go from unit to unit"),
            without("ME_LOG_WCS", "the WCS comes from the exposures' headers"),
        ),
        "tile",
    ),
    Module(
        ("spread_model",),
        "10",
        "`[spread]`: part of a block's unit",
        (
            without("PREFIX SUFFIX", "no file is written"),
            without("PIXEL_SCALE", "that of the WCS"),
            without("OUTPUT_MODE", "SPREAD_MODEL and SPREADERR_MODEL are columns of the catalogue"),
        ),
        "tile",
    ),
    Module(
        ("ngmix",),
        "11",
        "`[shapes]`: part of a block's unit",
        (
            taken("MAG_ZP", "input.mag_zp", number),
            read_by("PIXEL_SCALE", "shapes.centre_prior_sigma", _centre_prior, "the width of the prior on the centre"),
            without("LOG_WCS", "the WCS comes from the exposures' headers"),
            read_by("ID_OBJ_MIN ID_OBJ_MAX", "", _object_range, "ranks get objects in blocks (run.block_size)"),
        ),
        "tile",
    ),
    Module(
        ("merge_sep_cats",),
        "11.5",
        "none needed: `shapempi gather` joins what ranks made",
        (
            without("N_SPLIT_MAX", "there are no split jobs"),
            without("WARNING", "what is missing is named by `shapempi status` and `shapempi report`"),
        ),
        "tile",
    ),
)
