"""What `shapempi look` does: choose what is meant, print what was drawn, return the exit code."""

from __future__ import annotations

import argparse
from pathlib import Path

from shapempi.config import load
from shapempi.errors import ConfigError, MissingInputError
from shapempi.ids import CcdId, TileId
from shapempi.io.atomic import refuse_existing
from shapempi.look import Look, View
from shapempi.look_file import FileSources, look_file
from shapempi.look_object import look_object
from shapempi.look_unit import look_ccd, look_tile
from shapempi.run_view import ObjectId, RunView

__all__ = ["add_look", "look"]

#: Options that say which files belong to an image; a run knows its own.
_FILE_OPTIONS = ("weight", "flag", "mask", "catalogue", "stars", "hdu", "ccd")


def add_look(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the verb and its options."""
    verb = commands.add_parser("look", help="picture of an image, of a CCD or a tile of a run, or of one object in it")
    verb.add_argument("target", type=Path, metavar="FILE|RUN", help="FITS file, or run folder")
    verb.add_argument(
        "unit", metavar="UNIT", nargs="?", help="of a run: CCD 2243881-12, tile 241.293, or object 241.293:NUMBER"
    )
    verb.add_argument("--box", type=float, nargs=3, metavar=("X", "Y", "SIZE"), help="section: centre, side [pixel]")
    verb.add_argument(
        "--sky",
        type=float,
        nargs="+",
        metavar="RA DEC [SIZE]",
        help="section: centre [deg], side [arcsec]; without a size the nearest object of a run",
    )
    verb.add_argument("--weight", type=Path, metavar="FILE", help="weight of the image: pixels without are coloured")
    verb.add_argument("--flag", type=Path, metavar="FILE", help="the observatory's flags")
    verb.add_argument("--mask", type=Path, metavar="FILE", help="flags that shapempi made")
    verb.add_argument("--catalogue", type=Path, metavar="FILE", help="FITS_LDAC catalogue of detections: ellipses")
    verb.add_argument("--stars", type=Path, metavar="FILE", help="FITS_LDAC catalogue of selected stars: markers")
    which = verb.add_mutually_exclusive_group()
    which.add_argument("--hdu", type=int, metavar="N", help="HDU of the image, from 0")
    which.add_argument("--ccd", type=int, metavar="N", help="CCD of a mosaic")
    verb.add_argument("--config", type=Path, metavar="CONFIG", help="TOML file with names of CCDs and codes of flags")
    verb.add_argument("--output", type=Path, metavar="PNG", help="picture to write (RUN/look/UNIT.png)")
    verb.add_argument("--overwrite", action="store_true", help="replace a picture that is already there")
    verb.set_defaults(verb=look)


def look(options: argparse.Namespace) -> int:
    """Draw one picture."""
    if options.sky is not None and len(options.sky) not in (2, 3):
        raise ConfigError(f"--sky takes RA DEC or RA DEC SIZE, not {len(options.sky)} numbers")
    if options.box is not None and options.sky is not None:
        raise ConfigError("--box and --sky both choose a section; give one of them")
    result = _of_run(options) if options.target.is_dir() else _of_file(options)
    print(result.path)
    print("\n".join(result.lines))
    return 0


def _of_file(options: argparse.Namespace) -> Look:
    """Draw an image file."""
    if not options.target.exists():
        raise MissingInputError(f"{options.target}: there is no such file, nor a run folder of this name")
    if options.unit is not None:
        raise ConfigError(f"{options.target} is a file, not a run folder: {options.unit} names nothing in it")
    if options.sky is not None and len(options.sky) == 2:
        raise ConfigError("--sky of a file needs three numbers: RA DEC SIZE, in degrees and arcsec")
    if options.output is None:
        raise ConfigError("name the picture of a file with --output PNG")
    refuse_existing(options.output, overwrite=options.overwrite)
    files = {name: getattr(options, name) for name in _FILE_OPTIONS}
    if options.config is not None:
        survey = load(options.config).input
        files |= {"camera": survey.camera, "codes": survey.flags}
    sources = FileSources(options.target, **files)
    return look_file(sources, options.output, _view(options))


def _of_run(options: argparse.Namespace) -> Look:
    """Draw a CCD, a tile or an object of a run."""
    given = [f"--{name}" for name in (*_FILE_OPTIONS, "config") if getattr(options, name) is not None]
    if given:
        raise ConfigError(f"a run knows its own files: {', '.join(given)} is for a FILE")
    run = RunView(options.target)
    unit = None if options.unit is None else run.parse(options.unit)
    if options.sky is not None and len(options.sky) == 2:
        if unit is not None and not isinstance(unit, TileId):
            raise ConfigError(f"--sky RA DEC without a size looks for an object: {options.unit} is no tile")
        unit = run.nearest(options.sky[0], options.sky[1], unit)
    if unit is None:
        raise ConfigError(
            "say what to look at: a CCD as 2243881-12, a tile as 241.293, an object as 241.293:NUMBER or --sky RA DEC"
        )
    if isinstance(unit, ObjectId) and (options.box is not None or (options.sky is not None and len(options.sky) == 3)):
        raise ConfigError("an object is drawn in its own stamps: --box and --sky RA DEC SIZE are for CCDs and tiles")
    output = options.output or options.target / "look" / f"{_file_name(unit, options)}.png"
    if options.output is None:
        try:
            output.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{output.parent}: the folder cannot be made: {error.strerror}; give --output") from error
    refuse_existing(output, overwrite=options.overwrite)
    if isinstance(unit, ObjectId):
        return look_object(run, unit, output)
    if isinstance(unit, CcdId):
        return look_ccd(run, unit, output, _view(options))
    return look_tile(run, unit, output, _view(options))


def _view(options: argparse.Namespace) -> View:
    """Return the section that the options choose."""
    return View(
        box=None if options.box is None else (options.box[0], options.box[1], options.box[2]),
        sky=None if options.sky is None or len(options.sky) < 3 else (options.sky[0], options.sky[1], options.sky[2]),
    )


def _file_name(unit: CcdId | TileId | ObjectId, options: argparse.Namespace) -> str:
    """Return the name of a picture in RUN/look: sections have names of their own."""
    kind = {CcdId: "ccd", TileId: "tile", ObjectId: "object"}[type(unit)]
    name = f"{kind}-{str(unit).replace(':', '-')}"
    for option in ("box", "sky"):
        numbers = getattr(options, option)
        if numbers is not None and len(numbers) == 3:
            name += f"-{option}-" + "-".join(f"{number:g}" for number in numbers)
    return name
