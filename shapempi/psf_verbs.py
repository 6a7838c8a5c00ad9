"""What the verbs about stars and PSF models do: print, and return the exit code."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from shapempi.config import load
from shapempi.errors import ConfigError, MissingInputError, ShapempiError
from shapempi.ids import CcdId
from shapempi.interpolate import Interpolated, interpolate_catalogue, interpolate_epochs, interpolate_stars
from shapempi.selection import read_constants, select_stars_of
from shapempi.validate_psf import validate_run
from shapempi.validation.params import ValidationParams

__all__ = [
    "STANDARD",
    "interpolate_classic",
    "interpolate_multi_epoch",
    "interpolate_validation",
    "select_stars",
    "validate_psf",
]

#: What stands for the standard selection in place of a file.
STANDARD = "standard"


def select_stars(options: argparse.Namespace) -> int:
    """Apply a star selection to catalogues."""
    settings = None if options.config is None else load(options.config)
    found = select_stars_of(
        None if options.selection == STANDARD else Path(options.selection),
        options.catalogues,
        options.output,
        plots=options.plots,
        seed=options.seed if options.seed is not None else 1 if settings is None else settings.survey.seed,
        overwrite=options.overwrite,
        constants=read_constants(options.constant),
        params=None if settings is None else settings.stars,
    )
    failed: list[ShapempiError] = []
    for each in found:
        print("\n".join(each.lines()), file=sys.stdout if each.error is None else sys.stderr, flush=True)
        failed += [each.error] if each.error is not None else []
    if not failed:
        return 0
    return 3 if all(isinstance(error, MissingInputError) for error in failed) else 1


def validate_psf(options: argparse.Namespace) -> int:
    """Compare the PSF models of a run with the stars held back from them."""
    kept = options.run / "config.toml"
    params, title, camera = ValidationParams(), None, None
    if options.config is not None or kept.is_file():
        settings = load(options.config or kept)
        params, title, camera = settings.validation, settings.survey.name, settings.input.camera
    result = validate_run(
        options.run,
        options.output,
        catalogue=options.catalogue,
        exposures=options.exposures,
        overwrite=options.overwrite,
        figures=options.figures,
        title=title,
        params=params,
        camera=camera,
        n_threads=int(os.environ.get("OMP_NUM_THREADS", "1").partition(",")[0] or 1),
    )
    print("\n".join(result.lines))
    print(f"\n{result.folder}: {len(result.paths)} files")
    return 1 if options.exit_code and not result.met else 0


def interpolate_classic(options: argparse.Namespace) -> int:
    """Draw the PSF of one CCD at the objects of a catalogue."""
    return _report(
        interpolate_catalogue(
            options.psf,
            options.catalogue,
            options.output,
            ccd=None if options.ccd is None else _ccd(options.ccd),
            position=_pair(options.position),
            size=options.size,
            shapes=options.shapes,
            overwrite=options.overwrite,
        )
    )


def interpolate_multi_epoch(options: argparse.Namespace) -> int:
    """Draw the PSF of every CCD of a run at every object that it sees."""
    return _report(
        interpolate_epochs(
            options.run,
            options.catalogue,
            options.output,
            position=_pair(options.position),
            size=options.size,
            shapes=options.shapes,
            shifted=options.shifted,
            overwrite=options.overwrite,
        )
    )


def interpolate_validation(options: argparse.Namespace) -> int:
    """Compare the models of a run with its stars once more, a file per CCD."""
    return _report(
        interpolate_stars(
            options.run, options.output, training=options.training, size=options.size, overwrite=options.overwrite
        )
    )


def _report(result: Interpolated) -> int:
    """Say what was written, and which CCDs have no model."""
    for row in result.refused:
        name = "the model" if row["EXP"] < 0 else f"CCD {row['EXP']}-{row['CCD']}"
        print(f"{name} is not accepted: {row['STATUS'].decode()}: {row['REASON'].decode()}")
    for text in result.damaged:
        print(f"shapempi: damaged part file: {text}", file=sys.stderr)
    for path in result.files:
        print(path)
    print(f"{result.n_object} objects, {result.n_epoch} places, {result.n_lost} of them without a PSF")
    return 0


def _ccd(text: str) -> CcdId:
    """Return the CCD of a text EXPOSURE-CCD."""
    exposure, dash, number = text.rpartition("-")
    if not (dash and exposure.isdigit() and number.isdigit()):
        raise ConfigError(f"--ccd {text}: a CCD is written EXPOSURE-CCD, such as 2243881-12")
    return CcdId(int(exposure), int(number))


def _pair(text: str) -> tuple[str, str]:
    """Return the two column names of a text X,Y."""
    names = [name.strip() for name in text.split(",")]
    if len(names) != 2 or not all(names):
        raise ConfigError(f"--position {text}: two columns with a comma between them are needed")
    return names[0], names[1]
