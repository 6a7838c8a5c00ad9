"""What `shapempi export`, `merge`, `random`, `match` and `paste` do: print, and return the exit code."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from shapempi.catalogues.any_table import hdu_of
from shapempi.catalogues.export import Chosen
from shapempi.catalogues.export import export_table as write_table
from shapempi.catalogues.match import MatchParams
from shapempi.catalogues.match import match as match_tables
from shapempi.catalogues.merge import merge as merge_catalogues
from shapempi.catalogues.opened import applied_step
from shapempi.catalogues.paste import PasteParams
from shapempi.catalogues.paste import paste as paste_tables
from shapempi.catalogues.randoms import RandomParams, make_randoms
from shapempi.catalogues.txpipe import FRAMES, TxpipeParams
from shapempi.catalogues.txpipe import export_txpipe as write_txpipe
from shapempi.errors import ConfigError
from shapempi.io.table_file import WRITERS
from shapempi.report.progress import counter

__all__ = [
    "EXPORTS",
    "add_catalogues",
    "add_export_options",
    "export_table",
    "export_txpipe",
    "match",
    "merge",
    "paste",
    "random",
    "refuse_options",
]

#: Options of `export` that not every format has, and what they are without being given.
_OPTIONS = {
    "grammar": "native",
    "vignets": False,
    "columns": None,
    "primary": None,
    "band": None,
    "frame": None,
    "shape_noise": None,
    "step": None,
}
#: Endings of the files of each format.
_ENDINGS = {"fits": ".fits", "parquet": ".parquet", "hdf5": ".hdf5", "npy": ".npy"}


def refuse_options(options: argparse.Namespace, *accepted: str) -> None:
    """Raise ConfigError if an option of `export` is given that its format does not have.

    Parameters
    ----------
    options : argparse.Namespace
        What was typed.
    *accepted : str
        The format, then the options that it has.
    """
    kind, *known = accepted
    for name, default in _OPTIONS.items():
        if name not in known and getattr(options, name) != default:
            option = "--" + name.replace("_", "-")
            raise ConfigError(f"{option} is of no use with --format {kind}; leave it out")


def add_export_options(verb: argparse.ArgumentParser) -> None:
    """Declare the options of `export` about tables of the whole catalogue."""
    verb.add_argument("--columns", type=Path, metavar="FILE", help="columns to write: a name of the grammar a line")
    verb.add_argument(
        "--primary",
        action=argparse.BooleanOptionalAction,
        help="only objects that are primary where tiles overlap (with txpipe yes, otherwise all)",
    )
    verb.add_argument("--band", metavar="NAME", help="with txpipe: the band that was measured, for mag_NAME (r)")
    verb.add_argument(
        "--frame", choices=list(FRAMES), help="with txpipe: where u of g1, g2 points to; east fits its defaults (east)"
    )
    verb.add_argument(
        "--shape-noise", type=float, metavar="RMS", help="with txpipe: intrinsic rms of g, for the weights (0.3)"
    )
    verb.add_argument("--step", type=float, metavar="G", help="with txpipe: shear of the images (the run's)")


def _target(options: argparse.Namespace, name: str, ending: str) -> Path:
    """Return the file to write: that of the user, or one beside the catalogue."""
    if options.output is not None:
        return Path(options.output)
    source: Path = options.run
    if source.is_file():
        target = source.with_suffix(ending)
        return target if name == "catalogue" else source.with_name(f"{source.stem}-{name}{ending}")
    return source / f"{name}{ending}"


def export_table(options: argparse.Namespace) -> int:
    """Write the catalogue as a table of the format that is asked for."""
    kind = options.format
    refuse_options(options, kind, "grammar", "columns", "primary")
    target = _target(options, "catalogue", _ENDINGS[kind])
    chosen = Chosen(options.grammar, options.columns, bool(options.primary))
    with counter("export", shown=True) as progress:
        n_row = write_table(options.run, target, kind, chosen, overwrite=options.overwrite, progress=progress)
    print(f"{target}: {n_row} rows")
    return 0


def export_txpipe(options: argparse.Namespace) -> int:
    """Write the catalogue as TXPipe's metacalibration catalogue."""
    refuse_options(options, "txpipe", "primary", "band", "frame", "shape_noise", "step")
    step = options.step if options.step is not None else applied_step(options.run)
    if step is None:
        raise ConfigError(f"{options.run}: nothing says by what shear its images were sheared; give --step (0.01, say)")
    if not step > 0:
        raise ConfigError(f"--step must be greater than 0, not {step:g}")
    noise = 0.3 if options.shape_noise is None else options.shape_noise
    if not noise > 0:
        raise ConfigError(f"--shape-noise must be greater than 0, not {noise:g}")
    primary = options.primary is not False
    params = TxpipeParams(step, options.band or "r", options.frame or "east", noise, primary)
    target = _target(options, "shear_catalog", ".hdf5")
    with counter("export", shown=True) as progress:
        n_row = write_txpipe(options.run, target, params, overwrite=options.overwrite, progress=progress)
    flip = "true, its default" if params.frame == "east" else "false"
    print(f"{target}: {n_row} {'primary ' if primary else ''}objects; TXTwoPoint: flip_g2 {flip}")
    print(f"delta_gamma of TXPipe's source selector is {2 * step:g}")
    return 0


#: What writes each format of `export` that is one table.
EXPORTS: dict[str, Callable[[argparse.Namespace], int]] = {
    **dict.fromkeys(WRITERS, export_table),
    "txpipe": export_txpipe,
}


def add_catalogues(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the verbs about catalogues."""
    verb = commands.add_parser("merge", help="one catalogue of several runs: sorted by sky, every object primary once")
    verb.add_argument("inputs", type=Path, nargs="+", metavar="RUN", help="run folders, or catalogues")
    verb.add_argument("--output", type=Path, required=True, metavar="FILE", help="catalogue to write (HDF5)")
    verb.add_argument("--columns", type=Path, metavar="FILE", help="columns to keep: a name a line")
    verb.add_argument("--tiles", type=Path, metavar="FILE", help="tiles to take: XXX.YYY a line")
    verb.add_argument("--overwrite", action="store_true", help="replace a file that is already there")
    verb.set_defaults(verb=merge)

    verb = commands.add_parser("random", help="random points over the tiles of runs, outside the mask")
    verb.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run folders")
    verb.add_argument("--number", type=int, metavar="N", help="points in every tile")
    verb.add_argument("--density", type=float, metavar="D", help="points per square degree that is not masked")
    verb.add_argument("--seed", type=int, default=1, metavar="N", help="seed of the random numbers (1)")
    verb.add_argument(
        "--whole-tile", action="store_true", help="on whole tiles; by default where a tile is the primary one"
    )
    verb.add_argument("--footprint", type=Path, metavar="MAP", help="map of the sky: only where it is greater than 0")
    verb.add_argument("--sky-mask", type=Path, metavar="MAP", help="map of the sky: only where it is 0 or has no value")
    verb.add_argument("--output", type=Path, metavar="FILE", help=".fits, .parquet or .h5 (RUN/random_cat.fits)")
    verb.add_argument("--overwrite", action="store_true", help="replace a file that is already there")
    verb.set_defaults(verb=random)

    verb = commands.add_parser("match", help="columns of an external catalogue for every object, by position")
    verb.add_argument(
        "catalogue", type=Path, metavar="CATALOGUE", help="FITS, Parquet, HDF5 or CSV file, or run folder"
    )
    verb.add_argument("external", type=Path, metavar="EXTERNAL", help="external catalogue")
    verb.add_argument("--output", type=Path, required=True, metavar="FILE", help="file to write; table MATCHED")
    verb.add_argument("--tolerance", type=float, default=0.3, metavar="ARCSEC", help="a match is nearer (0.3)")
    verb.add_argument("--position", metavar="RA,DEC", help="columns of the positions [deg] (known names)")
    verb.add_argument("--external-position", metavar="RA,DEC", help="the same in the external catalogue")
    verb.add_argument("--copy", default="", metavar="A,B,...", help="columns to copy (all)")
    verb.add_argument("--suffix", default="_ext", help="added to the names of copied columns (_ext)")
    verb.add_argument("--unique", action="store_true", help="an external object serves the nearest object only")
    verb.add_argument("--all", action="store_true", help="also rows without a match: NaN, and the column MATCHED")
    verb.add_argument("--mark", type=float, metavar="VALUE", help="like --all with this instead of NaN; may be 0")
    verb.add_argument("--distance", action="store_true", help="write the column DISTANCE [arcsec]")
    verb.add_argument("--hdu", metavar="N|NAME", help="table in the file (the first)")
    verb.add_argument("--external-hdu", metavar="N|NAME", help="table in the external file (the first)")
    verb.add_argument("--epochs", action="store_true", help="also these rows of the tables EPOCH_... (FITS)")
    verb.add_argument("--overwrite", action="store_true", help="replace a file that is already there")
    verb.set_defaults(verb=match)

    verb = commands.add_parser("paste", help="tables of several files in one: as HDUs, or side by side")
    verb.add_argument("files", type=Path, nargs="+", metavar="FILE", help="FITS, Parquet, HDF5 or CSV files")
    verb.add_argument("--output", type=Path, required=True, metavar="FILE", help="file to write")
    verb.add_argument("--hdu", default="", metavar="N,N,...", help="number or name of the table of each (the first)")
    verb.add_argument("--name", default="", metavar="A,B,...", help="names of the tables (the files')")
    verb.add_argument("--check", default="", metavar="COLUMN", help="must have the same values in all, row by row")
    verb.add_argument("--join", action="store_true", help="one table with the columns of all")
    verb.add_argument("--overwrite", action="store_true", help="replace a file that is already there")
    verb.set_defaults(verb=paste)


def merge(options: argparse.Namespace) -> int:
    """Merge catalogues to one of the whole survey."""
    with counter("merge", shown=True) as progress:
        result = merge_catalogues(
            options.inputs,
            options.output,
            columns=options.columns,
            tiles=options.tiles,
            overwrite=options.overwrite,
            progress=progress,
        )
    print(
        f"{result.path}: {result.n_row} objects of {result.n_tile} tiles from {result.n_input} catalogues, "
        f"{result.n_primary} of them primary"
    )
    for text in result.repeated:
        print(text)
    for text in result.skipped:
        print(f"shapempi: skipped: {text}", file=sys.stderr)
    for uid in result.missing:
        print(f"shapempi: not in the catalogue: {uid}", file=sys.stderr)
    return 1 if result.skipped or result.missing else 0


def random(options: argparse.Namespace) -> int:
    """Write random points."""
    params = RandomParams(
        options.number, options.density, options.seed, options.whole_tile, options.footprint, options.sky_mask
    )
    if options.output is None and len(options.runs) > 1:
        raise ConfigError("name the file of several runs by --output")
    output = options.output or options.runs[0] / "random_cat.fits"
    with counter("random", shown=len(options.runs) > 0) as progress:
        result = make_randoms(options.runs, output, params, overwrite=options.overwrite, progress=progress)
    for tile in result.tiles:
        print(
            f"tile {tile.tile}: {tile.n_point} points on {tile.unmasked:.6f} of {tile.area:.6f} deg2, "
            f"unmasked {_ratio(tile.unmasked, tile.area)}"
        )
    print(
        f"{output}: {result.n_point} points, area {result.area:.6f} deg2, unmasked {result.unmasked:.6f} deg2, "
        f"unmasked {_ratio(result.unmasked, result.area)}"
    )
    for text in result.missing:
        print(f"shapempi: lacking: {text}", file=sys.stderr)
    return 1 if result.missing else 0


def _ratio(part: float, whole: float) -> str:
    return f"{100 * part / whole:.2f} %" if whole > 0 else "nothing"


def match(options: argparse.Namespace) -> int:
    """Match a catalogue to an external one."""
    params = MatchParams(
        tolerance=options.tolerance,
        position=options.position,
        external_position=options.external_position,
        copy=_list(options.copy),
        suffix=options.suffix,
        unique=options.unique,
        mark=options.mark,
        keep=options.all,
        distance=options.distance,
        hdu=hdu_of(options.hdu),
        external_hdu=hdu_of(options.external_hdu),
        epochs=options.epochs,
    )
    result = match_tables(options.catalogue, options.external, options.output, params, overwrite=options.overwrite)
    found = f"{result.n_matched} of {result.n_row} objects have one of {result.n_external} external objects"
    if not result.n_matched:
        print(f"shapempi: {found} within {options.tolerance:g} arcsec; nothing is written", file=sys.stderr)
        return 1
    print(f"{options.output}: {result.n_written} rows; {found} within {options.tolerance:g} arcsec")
    if result.n_shared:
        print(f"{result.n_shared} external objects are the match of several objects; --unique leaves the nearest")
    return 0


def _list(text: str) -> tuple[str, ...]:
    """Return the entries of a list as it is typed."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def paste(options: argparse.Namespace) -> int:
    """Put tables into one file."""
    params = PasteParams(
        tuple(hdu_of(text) for text in _list(options.hdu)), _list(options.name), options.check, options.join
    )
    result = paste_tables(options.files, options.output, params, overwrite=options.overwrite)
    print(options.output)
    for name, n_row, n_column in result.tables:
        print(f"{name}: {n_row} rows, {n_column} columns")
    for text in result.renamed:
        print(text)
    return 0
