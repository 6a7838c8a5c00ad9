"""What the verbs that prepare a field do: choose what is meant, print, return the exit code."""

from __future__ import annotations

import argparse
import logging
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from shapempi.config import load
from shapempi.errors import ConfigError, DataError
from shapempi.exposure_number import CFIS_NUMBER, ExposureNumber
from shapempi.field.angles import parse_corners, parse_position
from shapempi.field.cfis import BAND, EXPOSURE_SIDE, MIN_EXPOSURE_TIME
from shapempi.field.fetch import Fetcher
from shapempi.field.image_name import ImageNames, NamePattern
from shapempi.field.image_source import Listing, chosen_files, find_files, listed_images
from shapempi.field.links import make_links, plan_links
from shapempi.field.search import at_position, cut_exposures, in_area, nearest_tile, with_number
from shapempi.field.sky_region import SkyRectangle
from shapempi.field.tile_exposure_list import read_tile_exposures, tile_files, write_exposure_list
from shapempi.field.tile_search import check_tile, named_tile, side_of, tiles_at, tiles_in
from shapempi.field.wcs_table import make_wcs_table
from shapempi.ids import TileId
from shapempi.io.atomic import refuse_existing
from shapempi.io.exposure import CFIS_CCDS, CFIS_KEYWORDS
from shapempi.io.id_list import ImageId, id_order, parse_id, read_ids, written_id
from shapempi.io.image_list import ListedImage, csv_lines, text_lines
from shapempi.io.local_tree import LinkedTree, LocalTree
from shapempi.io.remote_file import FileSource
from shapempi.io.text import write_lines
from shapempi.io.vospace import open_vospace
from shapempi.io.wcs_store import check_store, write_wcs_store
from shapempi.report.field_map import check_map, draw_field_map
from shapempi.report.progress import counter
from shapempi.survey.input_params import InputParams
from shapempi.tile_grid import CFIS_GRID, TileGrid

__all__ = ["add_field"]

_LOG = logging.getLogger(__name__)

#: Addresses that mean VOSpace, not a folder.
_VOSPACE = ("vos:", "arc:", "ivo:")

_ROLES = ("image", "weight", "flag")


def add_field(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the verbs and their options."""
    _add_select(commands)
    _add_link(commands)
    _add_exposures(commands)
    _add_fetch(commands)
    _add_headers(commands)


def _add_select(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    verb = commands.add_parser("select", help="find tiles and exposures by position, area, number or a tile's header")
    # A negative angle with a unit is a value, as it is without; Python 3.14 sees it so, too.
    verb._negative_number_matcher = re.compile(r"-\.?\d")
    what = verb.add_mutually_exclusive_group(required=True)
    what.add_argument("--coord", nargs="+", metavar="ANGLE", help="RA DEC: 213.68 54.79, 14:14:43 +54:47:24, ...")
    what.add_argument(
        "--area", nargs="+", metavar="ANGLE", help="RA0 DEC0 RA1 DEC1: centres inside; RA0 > RA1 crosses 0"
    )
    what.add_argument("--number", metavar="ID", help="tile XXX.YYY or exposure 2243881")
    what.add_argument("--tile", nargs="+", type=Path, metavar="FITS", help="the exposures that tiles were made from")
    verb.add_argument("--input", type=Path, metavar="DIR|LIST", help="where to look (tiles: the whole grid)")
    verb.add_argument("--column", type=int, metavar="N", help="column of the names in a list, from 0 (0)")
    verb.add_argument("--input-format", choices=["full", "ID_only"], default="full", help="file names or IDs (full)")
    kinds = list(ImageNames.of().patterns)
    verb.add_argument("--type", choices=kinds, metavar="TYPE", help=f"{', '.join(kinds)} (tile; with --tile exposure)")
    verb.add_argument("--all", action="store_true", help="every tile whose footprint with overlap holds the position")
    verb.add_argument("--no-cuts", dest="cuts", action="store_false", help="also short and invalid exposures")
    verb.add_argument("--output", type=Path, metavar="FILE", help="text, or .csv (standard output)")
    verb.add_argument("--plot", type=Path, metavar="FILE", help="map of what was found: .png or .pdf")
    form = verb.add_mutually_exclusive_group()
    form.add_argument("--short", action="store_true", help="no line with the names of the columns")
    form.add_argument("--name-only", action="store_true", help="names alone")
    form.add_argument("--id-only", action="store_true", help="IDs alone, as other verbs read them")
    _add_common(verb)
    verb.set_defaults(verb=select)


def _add_link(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    verb = commands.add_parser(
        "link", help="links with the pipeline's names: image-2243881.fitsfz, CFIS_image-241-293.fits"
    )
    verb.add_argument("--input", type=Path, default=Path(), metavar="DIR|LIST", help="folder, or list of files (.)")
    verb.add_argument("--column", type=int, default=0, metavar="N", help="column of the names in a list, from 0 (0)")
    verb.add_argument("--ids", type=Path, action="append", metavar="LIST", help="only these IDs (repeatable)")
    verb.add_argument("--type", choices=["exposure", "tile"], default="exposure", help="what is linked (exposure)")
    for role in _ROLES:
        verb.add_argument(f"--{role}-base", default="", metavar="NAME", help=f"beginning of the name of {role}s")
    verb.add_argument("--output", type=Path, metavar="DIR", required=True, help="folder of the links")
    _add_common(verb)
    verb.set_defaults(verb=link)


def _add_exposures(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    verb = commands.add_parser("exposures", help="list the exposures of each tile: exp_numbers-XXX-YYY.txt")
    verb.add_argument("tiles", type=Path, nargs="+", metavar="TILE|DIR", help="FITS files, or folders of tiles")
    verb.add_argument("--output", type=Path, metavar="DIR", required=True, help="folder of the lists")
    verb.add_argument("--overwrite", action="store_true", help="replace lists that say something else")
    _add_common(verb)
    verb.set_defaults(verb=exposures)


def _add_fetch(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    verb = commands.add_parser("fetch-images", help="fetch tiles and exposures by ID, and check them")
    verb.add_argument("lists", type=Path, nargs="+", metavar="LIST", help="IDs, one a line: 241.293 or 2243881p")
    verb.add_argument("--from", dest="source", metavar="DIR|vos:...", required=True, help="tree of folders, or VOSpace")
    for role in _ROLES[1:]:
        verb.add_argument(f"--{role}-from", metavar="DIR|vos:...", help=f"where the {role}s are, if elsewhere")
    verb.add_argument("--files", default=",".join(_ROLES), metavar="ROLE,...", help="what to fetch (image,weight,flag)")
    verb.add_argument("--copy", action="store_true", help="copy from a local tree; without it links are made")
    verb.add_argument("--pipeline-names", action="store_true", help="image-2243881.fitsfz instead of 2243881p.fits.fz")
    verb.add_argument("--tries", type=int, default=3, metavar="N", help="how often each file is tried (3)")
    verb.add_argument("--wait", type=float, default=5.0, metavar="S", help="time between two tries [s] (5)")
    verb.add_argument("--output", type=Path, metavar="DIR", required=True, help="folder of the files")
    verb.add_argument("--overwrite", action="store_true", help="replace other files of these names")
    _add_common(verb)
    verb.set_defaults(verb=fetch_images)


def _add_headers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    verb = commands.add_parser("headers", help="the WCS of all CCDs of exposures as one table")
    verb.add_argument("--input", type=Path, default=Path(), metavar="DIR|LIST", help="folder, or list of files (.)")
    verb.add_argument("--column", type=int, default=0, metavar="N", help="column of the names in a list, from 0 (0)")
    verb.add_argument("--ids", type=Path, action="append", metavar="LIST", help="only these IDs (repeatable)")
    verb.add_argument("--sip", action="store_true", help="also converted to TAN with SIP, and checked")
    verb.add_argument(
        "--tolerance", type=float, default=1e-3, metavar="PIX", help="largest error of SIP [pixel] (0.001)"
    )
    verb.add_argument("--output", type=Path, metavar="FILE", required=True, help="file to write: .fits, .h5")
    verb.add_argument("--overwrite", action="store_true", help="replace a file that is already there")
    _add_common(verb)
    verb.set_defaults(verb=headers)


def _add_common(verb: argparse.ArgumentParser) -> None:
    """Declare what says how files are named."""
    verb.add_argument("--band", default=BAND, metavar="B", help=f"band in the names of tiles ({BAND})")
    verb.add_argument("--config", type=Path, metavar="CONFIG", help="TOML file whose [input] has the names")


def _params(options: argparse.Namespace) -> InputParams | None:
    return None if options.config is None else load(options.config).input


def _names(options: argparse.Namespace) -> ImageNames:
    return ImageNames.of(_params(options)).in_band(options.band)


def _grid(options: argparse.Namespace) -> TileGrid:
    params = _params(options)
    return CFIS_GRID if params is None else params.tile_grid


def _number(options: argparse.Namespace) -> ExposureNumber:
    params = _params(options)
    return CFIS_NUMBER if params is None else params.exposure_number


def _folder(path: Path) -> Path:
    """Return an output folder; it is made if it is not there."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{path}: the folder cannot be made: {error.strerror}; give another --output") from error
    return path


def select(options: argparse.Namespace) -> int:
    """Find tiles and exposures; 1 if there is none."""
    for path in (options.output, options.plot):
        if path is not None:
            refuse_existing(path, overwrite=False)
    if options.plot is not None:
        check_map(options.plot)
    kind = options.type or ("exposure" if options.tile else "tile")
    pattern = _names(options).patterns[kind]
    if options.all and (options.coord is None or not pattern.of_tiles):
        raise ConfigError("--all goes with --coord and tiles: exposures that hold a position are all listed anyway")
    found, problems = _search(options, pattern)
    found = sorted(found, key=lambda each: id_order(each.image))
    if options.cuts and not pattern.of_tiles:
        cuts = cut_exposures(found)
        found = list(cuts.images)
        if cuts.n_short or cuts.n_invalid:
            _LOG.warning(
                "left out: %d exposures shorter than %g s, %d not validated; --no-cuts keeps them",
                cuts.n_short,
                MIN_EXPOSURE_TIME,
                cuts.n_invalid,
            )
    for problem in problems:
        _LOG.warning("%s", problem)
    if not found:
        _LOG.warning("nothing found%s", "" if options.input is None else f" in {options.input}")
        return 1
    if options.plot is not None:
        _draw(options, found, side_of(_grid(options)) if pattern.of_tiles else EXPOSURE_SIDE)
    lines = _lines(options, found)
    if options.output is None:
        print("\n".join(lines))
    else:
        write_lines(options.output, lines, overwrite=False)
        print(f"{options.output}: {len(found)} {'tiles' if pattern.of_tiles else 'exposures'}")
    return 1 if problems else 0


def _search(options: argparse.Namespace, pattern: NamePattern) -> tuple[Sequence[ListedImage], Sequence[str]]:
    """Return what the options ask for, and what is wrong with files."""
    if options.tile is not None:
        return _exposures_of_tiles(options, pattern)
    listing = _listing(options, pattern)
    if listing is None:
        if not pattern.of_tiles:
            raise ConfigError("--input is needed for exposures: their folder, or a list with positions")
        grid = _grid(options)
        return [_of_grid(tile, pattern, grid) for tile in _on_grid(options, grid)], ()
    if listing.others:
        _LOG.warning(
            "%s: %d names are not of the form %s, the first is %s",
            options.input,
            len(listing.others),
            pattern.template,
            listing.others[0],
        )
    return _among(options, pattern, listing), listing.problems


def _listing(options: argparse.Namespace, pattern: NamePattern) -> Listing | None:
    """Read the folder or the list that is given."""
    if options.input is None:
        return None
    params = _params(options)
    return listed_images(
        options.input,
        pattern,
        column=options.column,
        id_only=options.input_format == "ID_only",
        keywords=CFIS_KEYWORDS if params is None else params.keywords,
    )


def _of_grid(tile: TileId, pattern: NamePattern, grid: TileGrid) -> ListedImage:
    return ListedImage(tile, pattern.names(tile)[0], *grid.centre(tile))


def _on_grid(options: argparse.Namespace, grid: TileGrid) -> list[TileId]:
    """Search all tiles of the grid."""
    if options.area is not None:
        return tiles_in(SkyRectangle.between(*parse_corners(options.area)), grid)
    if options.number is not None:
        return [check_tile(_tile_number(options.number, grid), grid)]
    position = parse_position(options.coord)
    tile = named_tile(*position, grid)
    return tiles_at(*position, grid) if options.all else ([] if tile is None else [tile])


def _tile_number(text: str, grid: TileGrid) -> TileId:
    try:
        return grid.parse(text)
    except DataError as error:
        raise ConfigError(f"--number: {error}") from error


def _among(options: argparse.Namespace, pattern: NamePattern, listing: Listing) -> Sequence[ListedImage]:
    """Search the images of a folder or a list."""
    if options.area is not None:
        return in_area(listing.images, SkyRectangle.between(*parse_corners(options.area)))
    if options.number is not None:
        text = options.number
        number: ImageId = _tile_number(text, _grid(options)) if pattern.of_tiles else _exposure_number(text)
        return with_number(listing.images, number)
    ra, dec = parse_position(options.coord)
    grid = _grid(options)
    held = at_position(listing.images, ra, dec, grid)
    if options.all or not pattern.of_tiles:
        return held
    nearest, own = nearest_tile(held, ra, dec, grid), named_tile(ra, dec, grid)
    if nearest is None or nearest.image != own:
        instead = "the nearest that holds the position is listed" if held else "nor is another that holds the position"
        _LOG.warning("tile %s is not in %s; %s", own, options.input, instead)
    return [] if nearest is None else [nearest]


def _exposure_number(text: str) -> int:
    try:
        number = parse_id(text)
    except DataError as error:
        raise ConfigError(f"--number: {error}") from error
    if isinstance(number, TileId):
        raise ConfigError(f"--number {text}: this is a tile; leave --type out, or give an exposure")
    return number


def _exposures_of_tiles(options: argparse.Namespace, pattern: NamePattern) -> tuple[list[ListedImage], list[str]]:
    """Read the exposures that tiles were made from; a list or folder gives their positions."""
    if pattern.of_tiles:
        raise ConfigError("--tile lists exposures: leave --type out")
    read = [read_tile_exposures(path, _number(options)) for path in options.tile]
    problems = [each.problem for each in read if each.problem]
    listing = _listing(options, pattern)
    known = {} if listing is None else {each.image: each for each in listing.images}
    numbers = sorted({number for each in read for number in each.exposures})
    absent = [written_id(number) for number in numbers if known and number not in known]
    if absent:
        problems.append(f"{options.input}: there is no {', '.join(absent)}, from which the tiles were made")
    found = [known.get(number) or ListedImage(number, pattern.names(number)[0]) for number in numbers]
    return found, problems


def _lines(options: argparse.Namespace, found: Sequence[ListedImage]) -> list[str]:
    """Write what was found in the form that is asked for."""
    if options.id_only:
        return [written_id(each.image) for each in found]
    if options.name_only:
        return [each.name for each in found]
    write = csv_lines if options.output is not None and options.output.suffix.lower() == ".csv" else text_lines
    return write(found, header=not options.short)


def _draw(options: argparse.Namespace, found: Sequence[ListedImage], side: float) -> None:
    """Draw the map."""
    placed = [each for each in found if np.isfinite(each.ra)]
    if not placed:
        raise DataError("a map needs positions, and none of these exposures has one; give a list that has them")
    rectangle = None if options.area is None else SkyRectangle.between(*parse_corners(options.area))
    kind = ("tile" if isinstance(placed[0].image, TileId) else "exposure") + ("s" if len(placed) > 1 else "")
    draw_field_map(
        options.plot,
        [written_id(each.image) for each in placed],
        np.array([each.ra for each in placed]),
        np.array([each.dec for each in placed]),
        side,
        title=f"{len(placed)} {kind}" + ("" if rectangle is None else f": {rectangle}"),
        point=None if options.coord is None else parse_position(options.coord),
        outline=None if rectangle is None else rectangle.outline(),
    )
    print(options.plot, file=sys.stderr)  # standard output is the list


def link(options: argparse.Namespace) -> int:
    """Make links with the pipeline's names."""
    names = _names(options)
    own = names.patterns[options.type]
    files = find_files(options.input, [own], options.column)
    if options.ids:
        files = chosen_files(files, _ids_of_kind(options.ids, of_tiles=own.of_tiles), options.input)
    bases = {role: getattr(options, f"{role}_base") for role in _ROLES}
    links = plan_links(files, names, options.output, bases)
    _folder(options.output)
    n_made = make_links(links)
    print(f"{options.output}: {n_made} links made, {len(links) - n_made} were there; {len(files)} {options.type}s")
    return 0


def _ids_of_kind(lists: Sequence[Path], *, of_tiles: bool) -> list[ImageId]:
    """Read the IDs of tiles, or of exposures, from lists that have nothing else."""
    wanted = read_ids(lists)
    for image in wanted:
        if isinstance(image, TileId) != of_tiles:
            what = "a tile" if of_tiles else "an exposure"
            raise ConfigError(f"--ids: {written_id(image)} in {', '.join(map(str, lists))} is not {what}")
    return wanted


def exposures(options: argparse.Namespace) -> int:
    """List the exposures of each tile."""
    files = tile_files(options.tiles, _names(options).tiles, _grid(options))
    number = _number(options)
    read = {tile: read_tile_exposures(path, number) for tile, path in files.items()}
    _folder(options.output)
    n_written = n_kept = 0
    problems = [each.problem for each in read.values() if each.problem]
    for tile, each in read.items():
        if each.problem:
            continue
        try:
            written = write_exposure_list(options.output, tile, each, overwrite=options.overwrite)
        except ConfigError as error:
            problems.append(str(error))
            continue
        n_written, n_kept = n_written + written, n_kept + (not written)
    for problem in problems:
        _LOG.error("%s", problem)
    every = {number for each in read.values() for number in each.exposures}
    print(f"{options.output}: {n_written} lists written, {n_kept} were there; {len(every)} exposures in all")
    return 1 if problems else 0


def fetch_images(options: argparse.Namespace) -> int:
    """Fetch files by ID; 1 if some failed."""
    roles = options.files.split(",")
    if not set(roles) <= set(_ROLES):
        raise ConfigError(f"--files {options.files}: known are {', '.join(_ROLES)}")
    if options.tries < 1 or options.wait < 0:
        raise ConfigError("--tries is 1 or more, --wait not negative")
    images = read_ids(options.lists)
    fetcher = Fetcher(
        names=_names(options),
        sources=_sources(options, roles),
        folder=_folder(options.output),
        pipeline_names=options.pipeline_names,
        overwrite=options.overwrite,
        n_try=options.tries,
        wait=options.wait,
    )
    with counter("fetch", shown=True) as progress:
        outcome = fetcher.fetch(images, progress)
    for image, reasons in outcome.failures.items():
        for reason in reasons:
            _LOG.error("%s: %s", written_id(image), reason)
    if outcome.without_flag:
        _LOG.warning("without flags: %s", ", ".join(map(written_id, outcome.without_flag)))
    failed = ", ".join(map(written_id, outcome.failures))
    print(
        f"{options.output}: {outcome.n_fetched} files fetched, {outcome.n_kept} were there; "
        f"{len(images)} IDs, {len(outcome.failures)} failed" + (f": {failed}" if failed else "")
    )
    return 1 if failed else 0


def _sources(options: argparse.Namespace, roles: Sequence[str]) -> Mapping[str, FileSource]:
    """Open the places of the files, each place once."""
    opened: dict[str, FileSource] = {}
    found = {}
    for role in roles:
        address = getattr(options, f"{role}_from", None) or options.source
        if address not in opened:
            tree = LocalTree if options.copy else LinkedTree
            opened[address] = (
                open_vospace(address) if address.startswith(_VOSPACE) else tree(Path(address), options.output)
            )
        found[role] = opened[address]
    return found


def headers(options: argparse.Namespace) -> int:
    """Write the table of WCS; 1 if some CCDs are missing in it."""
    check_store(options.output, overwrite=options.overwrite)
    if not options.tolerance > 0:
        raise ConfigError("--tolerance is a positive number of pixels")
    params = _params(options)
    files = find_files(options.input, _names(options).exposures, options.column)
    if options.ids:
        files = chosen_files(files, _ids_of_kind(options.ids, of_tiles=False), options.input)
    fields = InputParams.model_fields
    with counter("headers", shown=True) as progress:
        table = make_wcs_table(
            {image: path for image, path in files.items() if isinstance(image, int)},
            CFIS_KEYWORDS if params is None else params.keywords,
            n_ccd=fields["n_ccd"].default if params is None else params.n_ccd,
            mag_zp=fields["mag_zp"].default if params is None else params.mag_zp,
            tolerance=options.tolerance if options.sip else None,
            progress=progress,
            camera=CFIS_CCDS if params is None else params.camera,
        )
    for problem in table.problems:
        _LOG.error("%s", problem)
    if not len(table.rows):
        raise DataError("no CCD has a usable WCS; no table was written")
    write_wcs_store(options.output, table.rows, table.columns, overwrite=options.overwrite)
    worst = f"; SIP within {np.nanmax(table.rows['SIP_RESIDUAL']):.1g} pixel" if options.sip else ""
    print(f"{options.output}: {len(table.rows)} CCDs of {len(np.unique(table.rows['EXPOSURE']))} exposures{worst}")
    return 1 if table.problems else 0
