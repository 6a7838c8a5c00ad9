"""source-extractor's .sex, .param and .conv files as keys of the detection."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from shapempi.convert.astromatic_file import read_keywords, read_text
from shapempi.convert.ini import Entry
from shapempi.convert.module_run import ModuleRun
from shapempi.convert.note import Assignment, Fate, Note
from shapempi.convert.option import Option, instead, read_by, taken, without
from shapempi.convert.value import list_of, number, side, whole, yes_or_no
from shapempi.io.astromatic import parse_columns
from shapempi.measure.detection_table import DETECTION_DTYPE

__all__ = ["SEX_KEYWORDS", "read_columns", "read_filter", "read_sex_file"]

_PYRAMID = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16

#: Columns of SExtractor that are in our catalogue under another name or in another place.
_OTHER_PLACES = {
    "EXT_NUMBER": "every image has one extension",
    "VIGNET": 'stamps are cut from the images; `output = ["vignets"]` writes the column',
}


def _numbers(text: str, count: int) -> list[float]:
    """Return exactly so many numbers."""
    values = [number(item) for item in list_of(text)]
    if len(values) != count:
        raise ValueError(f"{len(values)} numbers; shapempi takes {count}")
    return values


def _one(text: str) -> float:
    return _numbers(text, 1)[0]


def _threshold(entry: Entry, run: ModuleRun) -> Iterator[Assignment | Note]:
    """Take a threshold in units of the noise."""
    yield run.assignment(entry, f"{run.image}.detection.threshold", _one(entry.value))


def _threshold_type(entry: Entry, run: ModuleRun) -> Iterator[Assignment | Note]:
    if entry.value.upper() != "RELATIVE":
        raise ValueError("shapempi's thresholds are RELATIVE, in units of the noise")
    yield Note(Fate.WITHOUT, entry.where, str(entry), "thresholds are always relative")


def _kron(entry: Entry, run: ModuleRun) -> Iterator[Assignment | Note]:
    factor, least = _numbers(entry.value, 2)
    yield run.assignment(entry, f"{run.image}.detection.kron_factor", factor)
    yield run.assignment(entry, f"{run.image}.detection.kron_min", least)


def _back_size(entry: Entry, run: ModuleRun) -> Iterator[Assignment | Note]:
    size = side(entry.value)
    yield run.assignment(entry, f"{run.image}.detection.rescale_box", size)
    if run.image == "exposure":
        yield run.assignment(entry, "exposure.background.box_size", size)


def _back_filter(entry: Entry, run: ModuleRun) -> Iterator[Assignment | Note]:
    if run.image == "exposure":
        yield run.assignment(entry, "exposure.background.filter_size", side(entry.value))
    else:
        yield Note(Fate.WITHOUT, entry.where, str(entry), "tiles have no background")


def _back_type(entry: Entry, run: ModuleRun) -> Iterator[Assignment | Note]:
    is_manual = entry.value.upper() == "MANUAL"
    if is_manual == (run.image == "tile"):
        how = "a tile has no background" if is_manual else "the background of a CCD is estimated"
        yield Note(Fate.TAKEN, entry.where, str(entry), how)
    elif is_manual:
        text = "the background of a CCD is estimated, or comes from a keyword (input.keywords.background)"
        yield Note(Fate.CHANGED, entry.where, str(entry), text)
    else:
        text = "a tile has no background, or the level in a keyword (input.keywords.tile_background)"
        yield Note(Fate.CHANGED, entry.where, str(entry), text)


def _back_value(entry: Entry, run: ModuleRun) -> Iterator[Assignment | Note]:
    if any(number(item) for item in list_of(entry.value)) and run.image == "tile":
        raise ValueError("a level other than 0 comes from a keyword of the header: set input.keywords.tile_background")
    yield Note(Fate.WITHOUT, entry.where, str(entry), "see BACK_TYPE")


def _zero_point(entry: Entry, run: ModuleRun) -> Iterator[Assignment | Note]:
    if run.image == "tile":
        yield run.assignment(entry, "input.mag_zp", _one(entry.value))
        return
    text = "the zero point of a CCD is that of its header (input.keywords.zero_point)"
    yield Note(Fate.CHANGED, entry.where, str(entry), text)


def _filter_wanted(entry: Entry, run: ModuleRun) -> Iterator[Assignment | Note]:
    if not yes_or_no(entry.value) and not run.programs:
        text = "detection in process filters with the 3 x 3 pyramid; --programs keeps source-extractor and its files"
        yield Note(Fate.CHANGED, entry.where, str(entry), text)
        return
    yield Note(Fate.WITHOUT, entry.where, str(entry), "see FILTER_NAME")


_OURS = "shapempi reads and writes by itself"
_HEADER = "comes from the header (input.keywords)"

#: Every keyword of source-extractor 2.x.
SEX_KEYWORDS: tuple[Option, ...] = (
    taken("DETECT_MINAREA", "IMAGE.detection.min_area", whole),
    read_by("DETECT_THRESH ANALYSIS_THRESH", "IMAGE.detection.threshold", _threshold, "one threshold for both"),
    read_by("THRESH_TYPE", "", _threshold_type, "always RELATIVE"),
    taken("DEBLEND_NTHRESH", "IMAGE.detection.deblend_levels", whole),
    taken("DEBLEND_MINCONT", "IMAGE.detection.deblend_contrast", number),
    taken("CLEAN", "IMAGE.detection.clean", yes_or_no),
    taken("CLEAN_PARAM", "IMAGE.detection.clean_efficiency", number),
    taken("RESCALE_WEIGHTS", "IMAGE.detection.rescale_weights", yes_or_no),
    taken("PHOT_APERTURES", "IMAGE.detection.aperture_diameter", _one, "one aperture"),
    read_by("PHOT_AUTOPARAMS", "IMAGE.detection.kron_factor IMAGE.detection.kron_min", _kron, ""),
    taken("PHOT_FLUXFRAC", "IMAGE.detection.light_fraction", _one, "one fraction"),
    read_by(
        "BACK_SIZE",
        "exposure.background.box_size IMAGE.detection.rescale_box",
        _back_size,
        "also the boxes of RESCALE_WEIGHTS",
    ),
    read_by("BACK_FILTERSIZE", "exposure.background.filter_size", _back_filter, "of CCDs"),
    read_by("BACK_TYPE", "", _back_type, "CCDs: AUTO or a keyword of the header; tiles: MANUAL or a keyword"),
    read_by("BACK_VALUE", "input.keywords.tile_background", _back_value, "0, or from a keyword of the header"),
    read_by("MAG_ZEROPOINT", "input.mag_zp", _zero_point, "that of the tiles; CCDs have the one of their header"),
    taken("GAIN_KEY", "input.keywords.gain", str),
    taken("SATUR_KEY", "input.keywords.saturate", str),
    read_by("FILTER", "", _filter_wanted, "the 3 x 3 pyramid, or with --programs as the file says"),
    without("FILTER_NAME", "DOT_CONV_FILE names the filter"),
    instead(
        "WEIGHT_GAIN",
        "IMAGE.detection.program.options",
        "N, because with Y errors of bright objects grow on flat weights",
    ),
    instead(
        "INTERP_TYPE", "IMAGE.detection.program.options", "NONE, because with ALL interpolated bad columns are objects"
    ),
    without("MASK_TYPE", "always CORRECT"),
    instead("MEMORY_PIXSTACK", "IMAGE.detection.pixel_stack", "a larger region is not deblended: a million is kept"),
    without("MEMORY_OBJSTACK MEMORY_BUFSIZE", "memory grows as it is needed"),
    without("GAIN SATUR_LEVEL PIXEL_SCALE", f"{_HEADER}; the pixel scale from the WCS"),
    without("WEIGHT_TYPE WEIGHT_IMAGE WEIGHT_THRESH", "weights are always inverse variances (MAP_WEIGHT)"),
    without("FLAG_TYPE FLAG_IMAGE", "flags are always OR-ed (IMAFLAGS_ISO)"),
    without("SEEING_FWHM STARNNW_NAME", "for CLASS_STAR, which is not measured; SPREAD_MODEL and size_class are"),
    without("BACKPHOTO_TYPE BACKPHOTO_THICK BACK_PEARSON BACK_FILTTHRESH", "always GLOBAL"),
    without("DETECT_TYPE DETECT_MAXAREA MAG_GAMMA FILTER_THRESH MASK_THRESH", "CCD images, without limits"),
    without("PHOT_PETROPARAMS PHOT_AUTOAPERS INTERP_MAXXLAG INTERP_MAXYLAG THRESH_METHOD", "not measured so"),
    without("CATALOG_NAME CATALOG_TYPE PARAMETERS_NAME CHECKIMAGE_TYPE CHECKIMAGE_NAME ASSOC_NAME", _OURS),
    without(
        "ASSOC_DATA ASSOC_PARAMS ASSOC_RADIUS ASSOC_TYPE ASSOCSELEC_TYPE ASSOCCOORD_TYPE", "`shapempi match` does it"
    ),
    without("PSF_NAME PSF_NMAX PATTERN_TYPE SOM_NAME FITS_UNSIGNED", "no model photometry"),
    without("VERBOSE_TYPE HEADER_SUFFIX WRITE_XML XML_NAME XSL_URL NTHREADS", _OURS),
)


def _read_named(entry: Entry, run: ModuleRun) -> tuple[Path, str] | Note:
    """Read the file that an option names, if it is known what it is for; otherwise say what is wrong."""
    return read_text(entry, run) if run.image else run.undecided(entry)


def read_sex_file(entry: Entry, run: ModuleRun) -> Iterator[Assignment | Note]:
    """Read the .sex file that DOT_SEX_FILE names."""
    found = _read_named(entry, run)
    if isinstance(found, Note):
        yield found
        return
    yield Note(Fate.TAKEN, entry.where, str(entry), f"spelled out key by key: {run.image}.detection")
    yield from read_keywords(*found, SEX_KEYWORDS, run)
    if run.programs:
        yield run.assignment(entry, f"{run.image}.detection.program.configuration", str(found[0]))


def read_columns(entry: Entry, run: ModuleRun) -> Iterator[Assignment | Note]:
    """Read the file of columns that DOT_PARAM_FILE names."""
    found = _read_named(entry, run)
    if isinstance(found, Note):
        yield found
        return
    path, text = found
    ours, columns = set(DETECTION_DTYPE.names or ()), list(parse_columns(text))
    for column in columns:
        where, what = f"{path}:{column.line}", f"{column.name}{column.sizes}"
        if not column.valid:
            yield Note(Fate.FAILED, where, what, "not of the form COLUMN or COLUMN(51,51)")
        elif column.name == "VIGNET" and column.sizes:
            size = column.sizes.strip("()").split(",")[0]
            yield Assignment(f"{run.image}.vignet_size", whole(size), where, what, _OTHER_PLACES["VIGNET"])
        elif column.name in _OTHER_PLACES:
            yield Note(Fate.WITHOUT, where, what, _OTHER_PLACES[column.name])
        elif column.name not in ours:
            yield _absent_column(where, what, column.name, sorted(ours))
    n_ours = sum(column.name in ours for column in columns)
    if run.programs:
        yield run.assignment(entry, f"{run.image}.detection.program.parameters", str(path))
    else:
        text = f"{n_ours} of the {len(columns)} columns are measured, wanted or not"
        yield Note(Fate.TAKEN, entry.where, str(entry), text)


def _absent_column(where: str, what: str, name: str, known: list[str]) -> Note:
    """Say that a column is not measured."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.85)
    if near:
        return Note(Fate.UNKNOWN, where, what, f"no such column; did you mean {near[0]}?")
    text = "not measured in process; with --programs source-extractor writes it to its own catalogue"
    return Note(Fate.WITHOUT, where, what, text)


def read_filter(entry: Entry, run: ModuleRun) -> Iterator[Assignment | Note]:
    """Read the detection filter that DOT_CONV_FILE names."""
    found = _read_named(entry, run)
    if isinstance(found, Note):
        yield found
        return
    path, text = found
    if run.programs:
        yield run.assignment(entry, f"{run.image}.detection.program.filter", str(path))
        return
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    rows = [line.split() for line in lines if line]
    if not rows or rows[0][0] != "CONV":
        raise ValueError(f"{path} does not begin with CONV, as a filter of source-extractor does")
    kernel = np.array([[number(item) for item in row] for row in rows[1:]])
    if kernel.shape == _PYRAMID.shape and np.allclose(kernel / kernel.sum(), _PYRAMID):
        yield Note(
            Fate.TAKEN, entry.where, str(entry), "the 3 x 3 pyramid, which is what detection in process filters with"
        )
        return
    raise ValueError(
        f"{path} is not the 3 x 3 pyramid, the filter of the detection in process; --programs keeps source-extractor"
    )
