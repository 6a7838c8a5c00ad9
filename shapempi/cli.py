"""The command line: verbs, their options, and the exit codes."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from shapempi import (
    __version__,
    bench_verbs,
    catalogue_verbs,
    convert_verbs,
    field_verbs,
    image_verbs,
    job_verbs,
    legacy_verbs,
    look_verbs,
    psf_verbs,
    report_verbs,
    selftest_verbs,
    shear_verbs,
    star_verbs,
    verbs,
)
from shapempi.engines.detection import ENGINES as DETECTION_ENGINES
from shapempi.errors import (
    ConfigError,
    DataError,
    EngineError,
    MeasurementError,
    MissingInputError,
    ShapempiError,
)
from shapempi.grammar import GRAMMARS
from shapempi.interrupt import heard_interrupts

__all__ = ["main"]

EXIT_CODES = """exit codes:
  0  complete
  1  some units failed, or a file cannot be used; each is named with its reason, everything else is done
  2  wrong configuration or command line
  3  missing input; each file is named, everything that does not need it is done
  4  internal error, or all workers were lost
 10  the run was asked to end (time limit, SIGUSR1, SIGTERM) before it was complete; the same command goes on
130  interrupted; the same command goes on where it stopped
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb of the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        The command line without the program's name; `sys.argv` by default.

    Returns
    -------
    int
        The exit code.
    """
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="shapempi: %(message)s", stream=sys.stderr)
    try:
        with heard_interrupts():
            return int(options.verb(options))
    except (ConfigError, EngineError) as error:
        return _complain(error, 2)
    except MissingInputError as error:
        return _complain(error, 3)
    except (DataError, MeasurementError) as error:
        return _complain(error, 1)
    except ShapempiError as error:
        return _complain(error, 4)
    except KeyboardInterrupt:
        return _complain(ShapempiError("interrupted; what is finished stays, and the same command does the rest"), 130)
    except BrokenPipeError:
        # The reader of our output (`| head`) has left; what was asked for was done.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:  # a bug; Python's own exit code 1 would say that some units failed
        traceback.print_exc()
        return _complain(ShapempiError("internal error (see above); please report it"), 4)


def _complain(error: Exception, code: int) -> int:
    """Print an error as lines that begin with the program's name; return the exit code."""
    for line in str(error).splitlines():
        print(f"shapempi: {line}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    """Declare verbs and options."""
    parser = argparse.ArgumentParser(
        prog="shapempi",
        description="From calibrated survey images to weak-lensing shear catalogues in one mpirun.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"shapempi {__version__}")
    commands = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    verb = commands.add_parser("simulate", help="make a survey with known truth (also under mpirun)")
    verb.add_argument("config", type=Path, metavar="CONFIG", help="TOML file with a table [simulation]")
    verb.add_argument("--overwrite", action="store_true", help="replace files that are already there")
    verb.set_defaults(verb=verbs.simulate)

    verb = commands.add_parser("plan", help="list units and missing inputs; starts nothing")
    verb.add_argument("config", type=Path, metavar="CONFIG", help="TOML file")
    verb.add_argument("--units", action="store_true", help="name every unit")
    verb.set_defaults(verb=verbs.plan)

    job_verbs.add_jobscript(commands)
    field_verbs.add_field(commands)

    verb = commands.add_parser("run", help="the main job (mpirun -n N shapempi run CONFIG); the same command resumes")
    verb.add_argument("config", type=Path, metavar="CONFIG", help="TOML file")
    verb.add_argument("--live", action="store_true", help="live bar also under a launcher, which hides the terminal")
    verb.add_argument("--walltime", metavar="H:M:S", help="time until the run must have ended (Slurm's is known)")
    verb.add_argument(
        "--accept",
        action="append",
        choices=verbs.ACCEPTABLE,
        metavar="WHAT",
        help="go on although this has changed since units were made: config, code or inputs (repeatable)",
    )
    verb.add_argument("--retry-quarantined", action="store_true", help="try units again that have cost two ranks")
    verb.set_defaults(verb=verbs.run)

    verb = commands.add_parser("status", help="how far a run is; works while it runs")
    verb.add_argument("run", type=Path, metavar="RUN", help="run folder")
    verb.add_argument("--exit-code", action="store_true", help="exit with the run's verdict instead of 0")
    how = verb.add_mutually_exclusive_group()
    how.add_argument(
        "--watch", action="store_true", help="again and again until the run ends; Ctrl-C ends the watching"
    )
    how.add_argument("--committed", action="store_true", help="print the number of committed units and nothing else")
    verb.add_argument("--interval", type=float, default=5.0, metavar="S", help="time between two looks [s] (5)")
    verb.set_defaults(verb=report_verbs.status)

    verb = commands.add_parser("gather", help="merge the part files of a run to one catalogue")
    verb.add_argument("run", type=Path, metavar="RUN", help="run folder")
    verb.add_argument("--output", type=Path, help="catalogue to write (RUN/catalogue.h5, or the folder RUN/catalogue)")
    verb.add_argument(
        "--shards", type=int, default=1, metavar="N", help="files, each a part of the sky; ranks write them in parallel"
    )
    verb.add_argument("--config", type=Path, metavar="CONFIG", help="TOML file with [sky_masks] (the run's own)")
    verb.add_argument("--overwrite", action="store_true", help="replace a catalogue that is already there")
    verb.set_defaults(verb=verbs.gather)

    verb = commands.add_parser("report", help="what a run did, what failed, what it cost; figures; works at any time")
    verb.add_argument("run", type=Path, metavar="RUN", help="run folder")
    verb.add_argument("--truth", type=Path, help="truth of a simulation; found beside the exposures by default")
    verb.add_argument(
        "--opposite",
        type=Path,
        metavar="RUN",
        help="run on the same simulated sky with the opposite shear; prints the bias",
    )
    verb.set_defaults(verb=report_verbs.report)

    verb = commands.add_parser("export", help="write the catalogue in another form")
    verb.add_argument("run", type=Path, metavar="RUN", help="run folder; of tables also a catalogue")
    verb.add_argument(
        "--format",
        choices=list(verbs.EXPORTS),
        default="fits",
        help="one table; TXPipe's catalogue; a FITS_LDAC per tile; or a tree of files as ShapePipe leaves it (fits)",
    )
    verb.add_argument("--grammar", choices=list(GRAMMARS), default="native", help="column names")
    verb.add_argument("--output", type=Path, help="file to write (RUN/catalogue.fits), folder (RUN/sexcat, RUN/legacy)")
    verb.add_argument(
        "--vignets", action="store_true", help="with ldac: stamps of the tile, neighbours and bad pixels -1e30"
    )
    catalogue_verbs.add_export_options(verb)
    verb.add_argument("--overwrite", action="store_true", help="replace a file that is already there")
    legacy_verbs.add_legacy_options(verb)
    verb.set_defaults(verb=verbs.export)

    catalogue_verbs.add_catalogues(commands)
    _add_image_verbs(commands)
    look_verbs.add_look(commands)
    _add_psf_verbs(commands)
    shear_verbs.add_shear(commands)

    verb = commands.add_parser(
        "calibrate", help="m, c and PSF leakage of the shapes from simulations of known shear (also under mpirun)"
    )
    verb.add_argument("config", type=Path, metavar="CONFIG", help="TOML file; its [shapes] are put to the test")
    verb.add_argument(
        "--case", action="append", metavar="NAME", help="only this case of calibration.cases (repeatable)"
    )
    verb.add_argument("--pairs", type=int, metavar="N", help="pairs of each case, whatever the configuration says")
    verb.add_argument(
        "--chain",
        action="store_true",
        help="instead: simulate, run and gather the survey of [simulation] with both signs",
    )
    verb.add_argument("--overwrite", action="store_true", help="make a finished calibration anew")
    verb.set_defaults(verb=verbs.calibrate)

    _add_star_verbs(commands)
    _add_benchmarks(commands)
    _add_trials(commands)

    convert_verbs.add_convert(commands)

    verb = commands.add_parser("config", help="check a configuration, or print the reference of all keys")
    verb.add_argument("config", type=Path, metavar="CONFIG", nargs="?", help="TOML file to check")
    verb.add_argument("--run-folder", action="store_true", help="print the folder of its run, for scripts")
    verb.add_argument("--reference", action="store_true", help="print every key with type, default, unit and range")
    verb.add_argument("--columns", action="store_true", help="print every column of the catalogue")
    verb.add_argument("--template", action="store_true", help="print a complete configuration with comments")
    verb.add_argument("--surveys", action="store_true", help="list the survey descriptions that come with shapempi")
    verb.add_argument("--survey", metavar="NAME", help="print one of them, to begin a description of your own with")
    verb.set_defaults(verb=verbs.config)
    return parser


def _add_image_verbs(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the verbs about single images."""
    verb = commands.add_parser("mask", help="the mask of one image, without a run: FITS flags, DS9 regions")
    verb.add_argument("image", type=Path, metavar="IMAGE", help="FITS image, or a mosaic of CCDs")
    which = verb.add_mutually_exclusive_group()
    which.add_argument("--hdu", type=int, metavar="N", help="HDU in all files (the first image)")
    which.add_argument("--ccd", type=int, metavar="N", help="CCD in all files, by EXTNAME or position")
    verb.add_argument("--weight", type=Path, metavar="FILE", help="inverse variance")
    verb.add_argument("--flag", type=Path, metavar="FILE", help="the observatory's flag bits, OR-ed into the mask")
    verb.add_argument("--stars", type=Path, metavar="CATALOGUE", help="catalogue of bright stars")
    verb.add_argument("--messier", type=Path, metavar="CATALOGUE", help="catalogue of Messier objects")
    verb.add_argument("--ngc", type=Path, metavar="CATALOGUE", help="catalogue of NGC and IC objects")
    verb.add_argument(
        "--config", type=Path, metavar="CONFIG", help="TOML file whose [exposure.mask] and catalogues are used"
    )
    verb.add_argument("--tile", action="store_true", help="the image is a tile: use [tile.mask]")
    verb.add_argument("--mask-config", type=Path, metavar="FILE", help=".mask file, in place of the table's keys")
    verb.add_argument("--output", type=Path, metavar="DIR|FILE", required=True, help="folder, or file FILE.fits")
    verb.add_argument("--regions", action="store_true", help="write a region file for DS9, too")
    verb.add_argument("--overwrite", action="store_true", help="replace files that are already there")
    verb.set_defaults(verb=image_verbs.mask)

    verb = commands.add_parser("detect", help="the objects of one image as a FITS_LDAC catalogue, without a run")
    verb.add_argument("image", type=Path, metavar="IMAGE", help="FITS image, tile, or mosaic of CCDs")
    which = verb.add_mutually_exclusive_group()
    which.add_argument("--hdu", type=int, metavar="N", help="HDU in all files (the first image of each)")
    which.add_argument("--ccd", type=int, metavar="N", help="CCD in all files, by EXTNAME or position")
    verb.add_argument("--weight", type=Path, metavar="FILE", help="inverse variance; without it the sky's own noise")
    verb.add_argument("--flag", type=Path, metavar="FILE", help="flag bits, reported in IMAFLAGS_ISO")
    verb.add_argument("--detection-image", type=Path, metavar="FILE", help="find the objects in this image instead")
    verb.add_argument("--detection-weight", type=Path, metavar="FILE", help="its inverse variance (that of --weight)")
    verb.add_argument("--engine", choices=list(DETECTION_ENGINES), help="what detects (the configuration's, or sep)")
    verb.add_argument("--config", type=Path, metavar="CONFIG", help="TOML file with [exposure] and [input.keywords]")
    verb.add_argument("--tile", action="store_true", help="the image is a tile: [tile], and no background")
    for name, what in (
        ("sex", "configuration"),
        ("param", "columns"),
        ("conv", "detection filter"),
        ("nnw", "neural network"),
    ):
        verb.add_argument(f"--{name}", type=Path, metavar="FILE", help=f"source-extractor's file: {what}")
    verb.add_argument(
        "--background", metavar="estimate|header|VALUE", help="what is subtracted (estimate; 0 with --tile)"
    )
    verb.add_argument("--vignets", action="store_true", help="with the column VIGNET")
    verb.add_argument("--check", metavar="NAME,...", help="check images beside the catalogue: background, segmentation")
    verb.add_argument("--output", type=Path, metavar="CATALOGUE", required=True, help="file to write")
    verb.add_argument("--overwrite", action="store_true", help="replace files that are already there")
    verb.set_defaults(verb=image_verbs.detect)


def _add_psf_verbs(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the verbs about stars and PSF models."""
    verb = commands.add_parser("select-stars", help="apply a star selection to catalogues: masks, splits, statistics")
    verb.add_argument(
        "selection", metavar="SELECTION", help=f".setools file, or `{psf_verbs.STANDARD}` for the one that is built in"
    )
    verb.add_argument("catalogues", type=Path, nargs="+", metavar="CATALOGUE", help="FITS_LDAC catalogue of one CCD")
    verb.add_argument("--output", type=Path, metavar="DIR", required=True, help="folder to write")
    verb.add_argument("--plots", action="store_true", help="draw the plots, too")
    verb.add_argument("--config", type=Path, metavar="CONFIG", help="TOML file whose [stars] are the constants")
    verb.add_argument(
        "--constant", action="append", default=[], metavar="NAME=VALUE", help="a constant, such as pixel_scale=0.187"
    )
    verb.add_argument("--seed", type=int, metavar="N", help="seed of the random splits (the configuration's, or 1)")
    verb.add_argument("--overwrite", action="store_true", help="replace files that are already there")
    verb.set_defaults(verb=psf_verbs.select_stars)

    verb = commands.add_parser(
        "validate-psf", help="PSF models against held-back stars: residuals, maps, trends, rho statistics, figures"
    )
    verb.add_argument("run", type=Path, metavar="RUN", help="run folder, gathered")
    verb.add_argument("--output", type=Path, metavar="DIR", help="folder to write (RUN/psf_validation)")
    verb.add_argument("--catalogue", type=Path, metavar="FILE", help="catalogue (RUN/catalogue.h5)")
    verb.add_argument("--config", type=Path, metavar="CONFIG", help="TOML file with [validation] (the run's own)")
    verb.add_argument(
        "--exposures",
        type=int,
        nargs="*",
        metavar="N",
        help="figures of each of these exposures, too; of all if none is named",
    )
    verb.add_argument("--no-figures", dest="figures", action="store_false", help="numbers and tables only")
    verb.add_argument("--exit-code", action="store_true", help="exit with 1 if a requirement is not met")
    verb.add_argument("--overwrite", action="store_true", help="replace an earlier validation")
    verb.set_defaults(verb=psf_verbs.validate_psf)

    verb = commands.add_parser("interpolate-psf", help="PSF models where you want them: stamps and their shapes")
    modes = verb.add_subparsers(title="modes", metavar="MODE", required=True)

    mode = modes.add_parser("classic", help="one CCD's model at the positions of a catalogue")
    mode.add_argument("psf", type=Path, metavar="PSF|RUN", help=".psf file, or run folder with --ccd")
    mode.add_argument("catalogue", type=Path, metavar="CATALOGUE", help="FITS or FITS_LDAC table")
    mode.add_argument("--ccd", metavar="EXPOSURE-CCD", help="which CCD of the run")
    _add_stamp_options(mode, "XWIN_IMAGE,YWIN_IMAGE", "columns of the position on the CCD, 1-based")
    mode.set_defaults(verb=psf_verbs.interpolate_classic)

    mode = modes.add_parser("multi-epoch", help="every CCD of a run at every object that it sees")
    mode.add_argument("run", type=Path, metavar="RUN", help="run folder")
    mode.add_argument("catalogue", type=Path, metavar="CATALOGUE", help="FITS or FITS_LDAC table")
    mode.add_argument(
        "--shifted", action="store_true", help="draw the PSF off centre, as the object lies in its pixels"
    )
    _add_stamp_options(mode, "RA,DEC", "columns of the sky position [deg]")
    mode.set_defaults(verb=psf_verbs.interpolate_multi_epoch)

    mode = modes.add_parser("validation", help="the models of a run at its stars, a validation_psf file per CCD")
    mode.add_argument("run", type=Path, metavar="RUN", help="run folder")
    mode.add_argument("--training", action="store_true", help="also at the stars that the models were fitted to")
    mode.add_argument("--output", type=Path, metavar="DIR", required=True, help="folder to write")
    mode.add_argument("--size", type=int, default=51, metavar="N", help="side of the stamps [pixel], odd (51)")
    mode.add_argument("--overwrite", action="store_true", help="replace files that are already there")
    mode.set_defaults(verb=psf_verbs.interpolate_validation)


def _add_star_verbs(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the verb about catalogues of bright stars."""
    verb = commands.add_parser("starcat", help="take the bright stars of some fields out of a larger catalogue")
    verb.add_argument(
        "output", type=Path, metavar="OUTPUT", help="file to write: .h5 (an index), .fits, .csv, .parquet"
    )
    source = verb.add_mutually_exclusive_group(required=True)
    source.add_argument("--from", dest="source", type=Path, metavar="FILE", help="local catalogue, or folder of texts")
    source.add_argument("--query", choices=["gaia"], help="ask the archive of Gaia (DR3), where there is network")
    verb.add_argument(
        "--cone",
        type=float,
        nargs=3,
        action="append",
        metavar=("RA", "DEC", "RADIUS"),
        help="a circle [deg] (repeatable)",
    )
    verb.add_argument("--image", type=Path, action="append", metavar="FILE", help="images of a FITS file (repeatable)")
    verb.add_argument("--config", type=Path, metavar="CONFIG", help="all tiles and exposures of a survey")
    verb.add_argument("--mag-limit", type=float, default=18.0, metavar="MAG", help="brighter than this (18)")
    verb.add_argument("--margin", type=float, default=0.2, metavar="DEG", help="how far around the fields (0.2)")
    verb.add_argument("--overwrite", action="store_true", help="replace a file that is already there")
    verb.set_defaults(verb=star_verbs.starcat)


def _add_stamp_options(mode: argparse.ArgumentParser, position: str, meaning: str) -> None:
    """Declare what the modes with a catalogue have in common."""
    mode.add_argument("--output", type=Path, metavar="FILE", required=True, help="file to write")
    mode.add_argument("--position", default=position, metavar="X,Y", help=f"{meaning} ({position})")
    mode.add_argument("--size", type=int, default=51, metavar="N", help="side of the stamps [pixel], odd (51)")
    mode.add_argument("--no-shapes", dest="shapes", action="store_false", help="do not measure shapes")
    mode.add_argument("--overwrite", action="store_true", help="replace files that are already there")


def _add_trials(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare what an installation and a run can be checked by."""
    verb = commands.add_parser("ledger", help="what is committed in a run; the part files are the truth")
    actions = verb.add_subparsers(title="actions", metavar="ACTION", required=True)
    for name, what, action in (
        ("show", "count the committed units", selftest_verbs.ledger_show),
        ("rebuild", "read and verify all part files, and write the ledger anew", selftest_verbs.ledger_rebuild),
    ):
        subject = actions.add_parser(name, help=what)
        subject.add_argument("run", type=Path, metavar="RUN", help="run folder")
        subject.set_defaults(verb=action)

    verb = commands.add_parser("selftest", help="trials of this installation")
    subjects = verb.add_subparsers(title="subjects", metavar="SUBJECT", required=True)
    subject = subjects.add_parser("faults", help="make faults on purpose: every run must end, and resume to the same")
    subject.add_argument("--trials", type=int, default=1, metavar="N", help="trials of each fault (1)")
    subject.add_argument("--seed", type=int, default=1, metavar="N", help="seed of moments, ranks and files (1)")
    subject.add_argument("--fault", type=int, action="append", metavar="N", help="only this number (repeatable)")
    subject.add_argument("--launcher-options", default="", metavar="TEXT", help='such as "--with-ft ulfm"')
    subject.add_argument("--folder", type=Path, metavar="DIR", help="where; what went wrong stays there")
    subject.add_argument("--json", type=Path, metavar="FILE", help="write all findings")
    subject.set_defaults(verb=selftest_verbs.faults)


def _add_benchmarks(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare what can be timed."""
    verb = commands.add_parser("bench", help="how fast the measurement is on this machine")
    subjects = verb.add_subparsers(title="subjects", metavar="SUBJECT", required=True)

    subject = subjects.add_parser("shapes", help="the shape measurement, by part and beside the other engines")
    subject.add_argument("--objects", type=int, default=64, metavar="N", help="simulated objects (64)")
    subject.add_argument("--repeats", type=int, default=15, metavar="N", help="measurements of the native engine (15)")
    subject.add_argument("--slow-repeats", type=int, default=1, metavar="N", help="measurements of other engines (1)")
    subject.add_argument("--json", type=Path, metavar="FILE", help="write all numbers")
    subject.set_defaults(verb=bench_verbs.shapes)

    subject = subjects.add_parser("psf", help="stamps per second, and the fit of a CCD by every engine")
    subject.add_argument("--stamps", type=int, default=2000, metavar="N", help="stamps that are drawn (2000)")
    subject.add_argument("--stars", type=int, default=120, metavar="N", help="stars of the simulated CCD (120)")
    subject.add_argument("--repeats", type=int, default=3, metavar="N", help="repeats (3)")
    subject.add_argument("--slow-repeats", type=int, default=1, metavar="N", help="repeats of slow engines (1)")
    engines = list(bench_verbs.PSF_ENGINES)
    subject.add_argument("--engine", action="append", choices=engines, help="only this engine (repeatable)")
    subject.add_argument("--json", type=Path, metavar="FILE", help="write all numbers")
    subject.set_defaults(verb=bench_verbs.psf)

    subject = subjects.add_parser(
        "scheduler", help="how many units rank 0 gives out (under mpirun), and how busy thousands of ranks would be"
    )
    subject.add_argument("--units", type=int, default=20_000, metavar="N", help="units that do nothing (20000)")
    subject.add_argument("--ranks", default="512,1024,4096,10000", metavar="N,...", help="ranks that are simulated")
    subject.add_argument("--tiles", type=int, default=23_114, metavar="N", help="tiles of the drawn survey (23114)")
    subject.add_argument("--blocks", default="15,60,300,1200", metavar="S,...", help="what a block shall take [s]")
    laws = list(bench_verbs.COST_LAWS)
    subject.add_argument("--law", choices=laws, default=laws[0], help="what units take: native shapes or ShapePipe's")
    subject.add_argument("--assign-us", type=float, default=70.0, metavar="T", help="rank 0 per unit [us] (70)")
    subject.add_argument(
        "--most-units", type=int, default=1_000_000, metavar="N", help="cut the survey to so many units (1000000)"
    )
    subject.add_argument("--seed", type=int, default=1, metavar="N", help="of the drawn survey (1)")
    subject.add_argument("--json", type=Path, metavar="FILE", help="write all numbers")
    subject.set_defaults(verb=bench_verbs.scheduler)

    subject = subjects.add_parser("scaling", help="run a simulated survey on more and more ranks, one after the other")
    subject.add_argument("config", type=Path, metavar="CONFIG", help="TOML file with a table [simulation]")
    subject.add_argument("--ranks", default="1,2,4", metavar="N,...", help="ranks that do units, beside rank 0 (1,2,4)")
    subject.add_argument("--weak", action="store_true", help="with n ranks n times the tiles; otherwise one survey")
    subject.add_argument(
        "--launcher", default="mpirun -n {n}", metavar="COMMAND", help="what starts n processes ('mpirun -n {n}')"
    )
    subject.add_argument("--deadline", type=float, default=3600.0, metavar="S", help="longest time of a command (3600)")
    subject.add_argument("--json", type=Path, metavar="FILE", help="write all numbers")
    subject.add_argument("--figure", type=Path, metavar="FILE", help="PNG file: time and efficiency against ranks")
    subject.set_defaults(verb=bench_verbs.scaling)
