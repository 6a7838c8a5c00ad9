"""What `shapempi convert` does: convert, write the configuration and the report, return the exit code."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from shapempi.convert.account import account
from shapempi.convert.conversion import convert as converted
from shapempi.convert.option_table import option_table
from shapempi.convert.places import Given
from shapempi.convert.toml_file import toml_text
from shapempi.errors import ConfigError
from shapempi.io.atomic import refuse_existing
from shapempi.io.text import write_lines

__all__ = ["add_convert", "convert"]


def add_convert(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the verb and its options."""
    verb = commands.add_parser(
        "convert", help="make a configuration of ShapePipe's INI files, with a report on every key of theirs"
    )
    verb.add_argument(
        "configs", type=Path, nargs="*", metavar="INI", help="files of one survey, in the order in which they are run"
    )
    verb.add_argument("--output", type=Path, default=Path("survey.toml"), metavar="TOML", help="file (survey.toml)")
    verb.add_argument("--report", type=Path, metavar="FILE", help="write the report there, too")
    verb.add_argument("--exposure-folder", type=Path, metavar="DIR", help="folder of the exposures' mosaics")
    verb.add_argument("--tile-folder", type=Path, metavar="DIR", help="folder of the tiles and their weights")
    verb.add_argument("--star-catalogue", type=Path, metavar="FILE", help="bright stars, or a folder of star_cat*.cat")
    verb.add_argument("--run-folder", type=Path, metavar="DIR", help="folder of the run (OUTPUT_DIR/RUN_NAME_shapempi)")
    verb.add_argument(
        "--programs",
        action="store_true",
        help="keep source-extractor and PSFEx with their files; else their settings go to the engines in process",
    )
    verb.add_argument("--table", action="store_true", help="print the counterparts of all options, as Markdown")
    verb.add_argument("--overwrite", action="store_true", help="replace files that are already there")
    verb.set_defaults(verb=convert)


def convert(options: argparse.Namespace) -> int:
    """Convert the files; 1 if something of them could not be converted."""
    if options.table:
        print(option_table(), end="")
        return 0
    if not options.configs:
        raise ConfigError("name one or more INI files of ShapePipe's, or give --table")
    outputs = [path for path in (options.output, options.report) if path is not None]
    for path in outputs:
        refuse_existing(path, overwrite=options.overwrite)
        if not path.parent.is_dir():
            raise ConfigError(f"{path}: there is no folder {path.parent}; make it first")
    names = [path.resolve() for path in (*options.configs, *outputs)]
    if twice := [path for path in outputs if names.count(path.resolve()) > 1]:
        raise ConfigError(f"{twice[0]}: a file to write is also one to read, or to write besides; give it another name")
    given = Given(options.exposure_folder, options.tile_folder, options.star_catalogue, options.run_folder)
    result = converted(options.configs, given, os.environ, programs=options.programs)
    text = toml_text(result, options.configs, str(options.output))
    lines = account(result, options.configs, options.output)
    write_lines(options.output, text.splitlines(), overwrite=options.overwrite)
    if options.report is not None:
        write_lines(options.report, lines, overwrite=options.overwrite)
    print("\n".join(lines))
    return 1 if result.problems else 0
