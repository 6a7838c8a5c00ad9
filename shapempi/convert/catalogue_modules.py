"""Modules that make, merge and look at catalogues (behaviour specification, section 12)."""

from __future__ import annotations

from collections.abc import Iterator

from shapempi.convert.ini import Entry
from shapempi.convert.module_run import ModuleRun
from shapempi.convert.note import Assignment, Fate, Note
from shapempi.convert.option import Module, command, read_by, taken, without
from shapempi.convert.value import list_of, number, path_of, truth, whole

__all__ = ["CATALOGUE_MODULES"]


def _classification(entry: Entry, run: ModuleRun) -> Iterator[Assignment | Note]:
    truth(entry.value)
    if "catalog" in run.written:
        text = "made from SPREAD_MODEL + 2 SPREADERR_MODEL; the older slope, 5/3, is the column spread_class_53"
        yield Note(Fate.CHANGED, entry.where, str(entry), text)
        return
    yield Note(Fate.TAKEN, entry.where, str(entry), "SPREAD_CLASS is always made")


def _measurement(entry: Entry, run: ModuleRun) -> Iterator[Assignment | Note]:
    others = [kind for kind in list_of(entry.value) if kind.lower() != "ngmix"]
    if others:
        raise ValueError(f"{', '.join(others)}: there is one shape measurement, that of ngmix (shapes.engine)")
    yield Note(Fate.TAKEN, entry.where, str(entry), "shapes are in the catalogue")


def _tile_list(entry: Entry, run: ModuleRun) -> Iterator[Assignment | Note]:
    path = path_of(entry.value, run.environment)
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    yield run.assignment(entry, "input.tile_list", str(path))


def _outliers(entry: Entry, run: ModuleRun) -> Iterator[Assignment | Note]:
    reason = "robust standard deviations of size and shape"
    yield run.assignment(entry, "validation.sample.outlier_sigma", 5.0 if truth(entry.value) else 0.0, reason)


_FIGURES = "all figures are made, with ranges of their own"

CATALOGUE_MODULES: tuple[Module, ...] = (
    Module(
        ("make_cat", "make_catalog"),
        "12.1",
        "`shapempi gather RUN`, `shapempi export RUN --grammar legacy`",
        (
            read_by("SM_DO_CLASSIFICATION", "", _classification, "always; spread_class_53 is the older generation's"),
            taken("SM_STAR_THRESH SM_STAR_STRESH", "spread.star_threshold", number),
            taken("SM_GAL_THRESH", "spread.galaxy_threshold", number),
            read_by("SHAPE_MEASUREMENT_TYPE", "", _measurement, "ngmix's; galsim is dead code upstream"),
            command(
                "SAVE_PSF_DATA", "export --format legacy --psf-data", "the PSF of every epoch is in /epochs anyway"
            ),
            read_by("TILE_LIST", "input.tile_list", _tile_list, ""),
        ),
        "tile",
    ),
    Module(
        ("merge_starcat",),
        "12.4",
        "`shapempi gather RUN` (the tables /stars and /training_stars), `shapempi validate-psf RUN`",
        (without("PSF_MODEL", "the stars of the run's own models; star statistics are in /star_statistics"),),
        "exposure",
    ),
    Module(
        ("mccd_plots",),
        "12.4",
        "`shapempi validate-psf RUN`",
        (
            without("PSF PLOT_MEANSHAPES PLOT_HISTOGRAMS PLOT_RHO_STATS", _FIGURES),
            taken("X_GRID", "validation.maps.x_bins", whole),
            taken("Y_GRID", "validation.maps.y_bins", whole),
            without("MAX_E MAX_DE MIN_R2 MAX_R2 MAX_DR2", _FIGURES),
            read_by("REMOVE_OUTLIERS", "validation.sample.outlier_sigma", _outliers, "True is 5"),
            without("RHO_STATS_STYLE RHO_STATS_YLIM_L RHO_STATS_YLIM_R", _FIGURES),
            without("HDU", "the run's own tables are read"),
        ),
        "exposure",
    ),
    Module(
        ("random_cat",),
        "12.3",
        "`shapempi random`",
        (
            command("N_RANDOM", "random --number", "with DENSITY = True: --density"),
            command("DENSITY", "random --density", "points per square degree that is not masked"),
            command("OUTPUT_FILE_PATTERN", "random --output", "RUN/random_cat.fits by default"),
            without(
                "SAVE_MASK_AS_HEALPIX HEALPIX_OUT_FILE_BASE HEALPIX_OUT_NSIDE",
                "masks stay pixel planes; maps of the sky go in by [sky_masks]",
            ),
        ),
        "tile",
    ),
    Module(
        ("match_external",),
        "12.5",
        "`shapempi match`",
        (
            command("TOLERANCE", "match --tolerance", "arcsec"),
            command("COL_MATCH", "match --position", ""),
            command("HDU", "match --hdu", ""),
            command("MODE", "match --epochs", "MULTI-EPOCH also copies the tables EPOCH_..."),
            command("EXTERNAL_CAT_PATH", "match CATALOGUE EXTERNAL", ""),
            command("EXTERNAL_COL_MATCH", "match --external-position", ""),
            command("EXTERNAL_COL_COPY", "match --copy", "with a suffix where names are equal"),
            command("EXTERNAL_HDU", "match --external-hdu", ""),
            command("PREFIX", "match --output", "the file's own name"),
            command("MARK_NON_MATCHED", "match --mark", "0 is a value, too"),
            command("OUTPUT_DISTANCE", "match --distance", ""),
        ),
        "tile",
    ),
    Module(
        ("pastecat",),
        "12.6",
        "`shapempi paste`",
        (
            command("HDU", "paste --hdu", ""),
            command("EXT_NAME", "paste --name", ""),
            command("CHECK_COL_NAME", "paste --check", ""),
            command("PREFIX", "paste --output", "the file's own name"),
        ),
        "tile",
    ),
    Module(
        ("mccd_preprocessing", "mccd_fit", "mccd_val", "mccd_fit_val", "mccd_interp", "mccd_merge_starcat"),
        "0.3",
        "none: the non-parametric model of the focal plane; `[psf] engine` has native, psfex and piff",
        (),
        "exposure",
    ),
)
