"""PSFEx's configuration files as keys of the PSF model."""

from __future__ import annotations

from collections.abc import Iterator

from shapempi.convert.astromatic_file import read_keywords, read_text
from shapempi.convert.ini import Entry
from shapempi.convert.module_run import ModuleRun
from shapempi.convert.note import Assignment, Fate, Note
from shapempi.convert.option import Option, instead, read_by, taken, without
from shapempi.convert.value import list_of, number, side, whole, yes_or_no

__all__ = ["PSFEX_KEYWORDS", "named_images", "read_psfex_file"]


def named_images(text: str) -> list[str]:
    """Return the names of a list of check images or plots; empty for NONE."""
    return [item.upper() for item in list_of(text) if item.upper() != "NONE"]


def _degree(text: str) -> int:
    """Return the one degree of the polynomial."""
    degrees = list_of(text)
    if len(degrees) != 1:
        raise ValueError(f"{text}: the position is one group, with one degree")
    return whole(degrees[0])


def _accuracy(entry: Entry, run: ModuleRun) -> Iterator[Assignment | Note]:
    for engine in ("native", "psfex"):
        yield run.assignment(entry, f"psf.{engine}.accuracy", number(entry.value))


def _recenter(entry: Entry, run: ModuleRun) -> Iterator[Assignment | Note]:
    reason = "of PSFEx only; the fit in process fits the centres too, within psf.native.centre_error of the given ones"
    yield run.assignment(entry, "psf.psfex.recenter", yes_or_no(entry.value), reason)


def _flux(text: str) -> str:
    name = text.split("(")[0].upper()
    if name not in ("FLUX_AUTO", "FLUX_APER"):
        raise ValueError(f"{text}: shapempi knows FLUX_AUTO and FLUX_APER")
    return name


def _basis(entry: Entry, run: ModuleRun) -> Iterator[Assignment | Note]:
    if not entry.value.upper().startswith("PIXEL"):
        raise ValueError("shapempi's own fit and its use of PSFEx have pixels as their basis")
    yield Note(Fate.WITHOUT, entry.where, str(entry), "always pixels")


def _keys(entry: Entry, run: ModuleRun) -> Iterator[Assignment | Note]:
    if [name.upper() for name in list_of(entry.value)] != ["XWIN_IMAGE", "YWIN_IMAGE"]:
        text = "the model varies with XWIN_IMAGE, YWIN_IMAGE, and stars are centred by them"
        yield Note(Fate.CHANGED, entry.where, str(entry), text)
    else:
        yield Note(Fate.WITHOUT, entry.where, str(entry), "always these")


_SELECTED = "stars are selected by [stars]; PSFEx selects none"
_OURS = "shapempi sets it"

#: Every keyword of PSFEx 3.x.
PSFEX_KEYWORDS: tuple[Option, ...] = (
    taken("PSF_SIZE", "psf.size", side, "the stars' vignets have this size"),
    taken("PSF_SAMPLING", "psf.sampling", number, "0 chooses the step by the stars' size"),
    taken("PSFVAR_DEGREES", "psf.degree", _degree, "lowered on CCDs with few stars"),
    read_by("PSF_ACCURACY", "psf.native.accuracy psf.psfex.accuracy", _accuracy, ""),
    taken("BASIS_NUMBER", "psf.psfex.basis_number", whole, "of PSFEx only: psf.engine"),
    read_by(
        "PSF_RECENTER", "psf.psfex.recenter", _recenter, "of PSFEx only; psf.native.recenter is the fit's in process"
    ),
    taken("PHOTFLUX_KEY", "psf.psfex.flux", _flux, "of PSFEx only"),
    taken("CHECKPLOT_TYPE", "psf.psfex.check_plots", named_images, "of PSFEx only; they take seconds per CCD"),
    taken("CHECKIMAGE_TYPE", "psf.psfex.check_images", named_images, "of PSFEx only"),
    read_by("BASIS_TYPE", "", _basis, "always PIXEL"),
    read_by("CENTER_KEYS PSFVAR_KEYS", "", _keys, "always XWIN_IMAGE, YWIN_IMAGE"),
    instead("CHECKPLOT_DEV", "psf.psfex.check_plot_device", "PNG; NULL is no check_plots"),
    without("PSF_PIXELSIZE PSFVAR_GROUPS PSFVAR_NSNAP MEF_TYPE STABILITY_TYPE", _OURS),
    without("BASIS_NAME BASIS_SCALE NEWBASIS_TYPE NEWBASIS_NUMBER", "of other bases"),
    without("PHOTFLUXERR_KEY", "that of PHOTFLUX_KEY"),
    without("SAMPLE_AUTOSELECT SAMPLEVAR_TYPE SAMPLE_FWHMRANGE SAMPLE_VARIABILITY SAMPLE_MINSN", _SELECTED),
    without("SAMPLE_MAXELLIP SAMPLE_FLAGMASK SAMPLE_WFLAGMASK SAMPLE_IMAFLAGMASK", _SELECTED),
    without("BADPIXEL_FILTER BADPIXEL_NMAX", "bad pixels have no weight"),
    without(
        "HOMOBASIS_TYPE HOMOBASIS_NUMBER HOMOBASIS_SCALE HOMOPSF_PARAMS HOMOKERNEL_DIR HOMOKERNEL_SUFFIX", "no kernels"
    ),
    without("CHECKPLOT_RES CHECKPLOT_ANTIALIAS CHECKPLOT_NAME CHECKIMAGE_NAME CHECKIMAGE_CUBE", _OURS),
    without("OUTCAT_TYPE OUTCAT_NAME PSF_DIR PSF_SUFFIX VERBOSE_TYPE WRITE_XML XML_NAME XSL_URL NTHREADS", _OURS),
)


def read_psfex_file(entry: Entry, run: ModuleRun) -> Iterator[Assignment | Note]:
    """Read the configuration that DOT_PSFEX_FILE names."""
    found = read_text(entry, run)
    if isinstance(found, Note):
        yield found
        return
    yield Note(Fate.TAKEN, entry.where, str(entry), "spelled out key by key: psf")
    yield from read_keywords(*found, PSFEX_KEYWORDS, run)
    if run.programs:
        yield run.assignment(entry, "psf.psfex.configuration", str(found[0]))
