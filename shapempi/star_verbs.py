"""What the verb about star catalogues does: print, and return the exit code."""

from __future__ import annotations

import argparse

from shapempi.config import load
from shapempi.errors import ConfigError
from shapempi.star_extraction import (
    Circle,
    area_of,
    check_output,
    circle_of_image,
    circles_of_survey,
    extract,
    write_stars,
)
from shapempi.survey.inputs import find_inputs

__all__ = ["starcat"]


def starcat(options: argparse.Namespace) -> int:
    """Take the stars of some fields out of a catalogue."""
    check_output(options.output, overwrite=options.overwrite)
    circles = [Circle(*cone) for cone in options.cone or ()]
    for image in options.image or ():
        circles += circle_of_image(image)
    if options.config is not None:
        settings = load(options.config)
        circles += circles_of_survey(find_inputs(settings.input, settings.run.folder))
    if options.source is None and not circles:
        raise ConfigError("say which field is asked for: --cone RA DEC RADIUS, --image FILE or --config CONFIG")
    stars = extract(options.source, circles, mag_limit=options.mag_limit, margin=options.margin)
    write_stars(options.output, stars, overwrite=options.overwrite)
    where = f" on {area_of(circles):.3g} square degrees" if circles else ""
    margin = f" and {options.margin:g} degrees around" if circles and options.margin else ""
    range_ = f", magnitude {stars['mag'].min():.2f} to {stars['mag'].max():.2f}" if len(stars) else ""
    moving = int((stars["epoch"] > 0).sum())
    print(f"{options.output}: {len(stars)} stars{where}{margin}{range_}; {moving} with proper motion")
    return 0
