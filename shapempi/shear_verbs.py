"""What `shapempi shear` does: read what the options name, print the summary, return the exit code."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np

from shapempi.config import load
from shapempi.errors import ConfigError, DataError
from shapempi.io.positions import read_positions
from shapempi.lensing.params import ShearParams
from shapempi.measure.shape_params import ShapeParams
from shapempi.shear_analysis import Around, analyse_shear

__all__ = ["add_shear", "shear"]


def add_shear(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the verb and its options."""
    verb = commands.add_parser(
        "shear", help="calibrated shear of a run: response, correlations, null tests, shear around positions, figures"
    )
    verb.add_argument("run", type=Path, metavar="RUN", help="run folder, gathered")
    verb.add_argument("--output", type=Path, metavar="DIR", help="folder to write (RUN/shear)")
    verb.add_argument("--catalogue", type=Path, metavar="FILE", help="catalogue (RUN/catalogue.h5, or RUN/catalogue)")
    verb.add_argument("--config", type=Path, metavar="CONFIG", help="TOML file with [shear] (the run's own)")
    verb.add_argument(
        "--around",
        type=Path,
        metavar="POSITIONS",
        help="shear around these positions, too: FITS, text, CSV or HDF5 with columns RA, DEC [deg]",
    )
    verb.add_argument("--randoms", type=Path, metavar="FILE", help="random positions; shear around them is subtracted")
    verb.add_argument("--position", default="RA,DEC", metavar="RA,DEC", help="names of the columns of both (RA,DEC)")
    verb.add_argument("--truth", type=Path, metavar="FILE", help="truth of a simulation: bias m and c")
    verb.add_argument("--no-figures", dest="figures", action="store_false", help="numbers and tables only")
    verb.add_argument("--overwrite", action="store_true", help="replace an earlier analysis")
    verb.set_defaults(verb=shear)


def shear(options: argparse.Namespace) -> int:
    """Calibrate the shear of a run and look at it."""
    if options.randoms is not None and options.around is None:
        raise ConfigError("--randoms belongs to --around POSITIONS, which is not given")
    kept = options.run / "config.toml"
    own = load(kept) if kept.is_file() else None
    chosen = own if options.config is None else load(options.config)
    # The types were sheared by the step of the run, whatever another configuration says.
    measured = own or chosen
    names = _names(options.position)
    around = []
    if options.around is not None:
        randoms = None if options.randoms is None else _positions(options.randoms, names)
        around.append(Around(options.around.stem, _positions(options.around, names), randoms))
    result = analyse_shear(
        options.run,
        options.output,
        catalogue=options.catalogue,
        around=around,
        truth=options.truth,
        step=(ShapeParams() if measured is None else measured.shapes).step,
        title=None if measured is None else measured.survey.name,
        overwrite=options.overwrite,
        figures=options.figures,
        params=ShearParams() if chosen is None else chosen.shear,
        n_threads=int(os.environ.get("OMP_NUM_THREADS", "1").partition(",")[0] or 1),
    )
    print("\n".join(result.lines))
    print(f"\n{result.folder}: {len(result.paths)} files")
    return 0


def _names(text: str) -> tuple[str, str]:
    """Return the two column names of a text RA,DEC."""
    names = [name.strip() for name in text.split(",")]
    if len(names) != 2 or not all(names):
        raise ConfigError(f"--position {text}: two columns with a comma between them are needed")
    return names[0], names[1]


def _positions(path: Path, names: tuple[str, str]) -> np.ndarray:
    """Return positions [n, 2] of a file; raise if they are none on the sky."""
    found = read_positions(path, names)
    positions = np.stack([found.x, found.y], axis=1)
    wrong = ~(np.isfinite(positions).all(axis=1) & (np.abs(found.y) <= 90) & (np.abs(found.x) <= 360))
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"{path}: {wrong.sum()} of {len(positions)} rows are not positions in degrees; first row {first + 1}, "
            f"{names[0]} {positions[first, 0]:g}, {names[1]} {positions[first, 1]:g}"
        )
    if not len(positions):
        raise DataError(f"{path}: there are no positions in it")
    return positions
