"""Star selections on catalogues: a selection file is read, applied to each catalogue, and its results are written."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from shapempi.errors import ConfigError, DataError, ShapempiError
from shapempi.io.fits import card_value
from shapempi.io.ldac import read_ldac, read_ldac_units
from shapempi.measure.setools.outcome import Selection
from shapempi.measure.setools.program import Program, parse
from shapempi.measure.stars import StarParams, constants_of, standard_program
from shapempi.report.selection import check_colours
from shapempi.report.selection_files import OUTPUTS, write_selection
from shapempi.wcs import Wcs

__all__ = ["SelectedCatalogue", "read_constants", "read_selection", "select_stars_of"]

_NUMBERS = re.compile(r"(?:-\d+)+$")


def read_selection(path: Path | None) -> Program:
    """Read a selection file.

    Parameters
    ----------
    path : Path or None
        A `.setools` file; None for the standard selection.

    Returns
    -------
    Program
        The selection.

    Raises
    ------
    ConfigError
        If the file cannot be read, or is not of the language: then the message is
        `file:line: text of the line: what is wrong`.
    """
    if path is None:
        return standard_program()
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the selection file: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not a selection file: byte {error.start} is no UTF-8 text") from error
    program = parse(text, str(path))
    check_colours(program)
    return program


def read_constants(words: Sequence[str]) -> dict[str, float]:
    """Read constants from the words of a command line.

    Parameters
    ----------
    words : sequence of str
        `name=value` for each.

    Returns
    -------
    dict of str to float
        The constants.

    Raises
    ------
    ConfigError
        If a word is of another form.
    """
    constants: dict[str, float] = {}
    for word in words:
        name, _, value = word.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name.strip(), re.ASCII) or not math.isfinite(number):
            raise ConfigError(f"--constant {word}: not of the form name=number, such as pixel_scale=0.187")
        constants[name.strip()] = number
    return constants


@dataclass(frozen=True)
class SelectedCatalogue:
    """What a selection found in one catalogue.

    Attributes
    ----------
    path : Path
        The catalogue.
    selection : Selection or None
        The outcome; None if the catalogue cannot be used.
    files : tuple of Path
        The files written.
    error : ShapempiError or None
        Why the catalogue cannot be used.
    """

    path: Path
    selection: Selection | None
    files: tuple[Path, ...] = ()
    error: ShapempiError | None = None

    def lines(self) -> list[str]:
        """Return what is to be said of it: the sizes of masks and parts, the statistics, and why something is empty."""
        if self.selection is None:
            return [str(self.error)]
        found = self.selection
        text = [f"{self.path}: {found.n_object} objects, {len(self.files)} files"]
        for name, mask in found.masks.items():
            reason = found.reason(name)
            text += [f"  {name}: {int(mask.selected.sum())}" + (f" ({reason})" if reason else "")] if mask.saved else []
        for name, split in found.splits.items():
            parts = zip(split.labels, (split.drawn, split.rest), strict=True)
            numbers = ", ".join(f"{int(part.sum())} in {name}_ratio_{label}" for label, part in parts)
            text.append(f"  {numbers}" + (f" (not written: {split.reason})" if split.reason else ""))
        return text + [f"  {row.label} = {row.value:.6g}" for row in found.statistics]


def select_stars_of(
    selection: Path | None,
    catalogues: Sequence[Path],
    output: Path,
    *,
    plots: bool = False,
    seed: int = 1,
    overwrite: bool = False,
    constants: Mapping[str, float] | None = None,
    params: StarParams | None = None,
) -> Iterator[SelectedCatalogue]:
    """Apply a selection to catalogues and write all its sections.

    Parameters
    ----------
    selection : Path or None
        The selection file; None for the standard one.
    catalogues : sequence of Path
        FITS_LDAC catalogues.  The numbers at the ends of their names (`-2113737-10` of `sexcat-2113737-10.fits`) are
        those of the files that are written, and the exposure and the CCD.
    output : Path
        Folder for the folders mask, rand_split, stat, new_cat and, with `plots`, plot; made if it is not there.
    plots : bool, optional
        Whether plots are drawn.
    seed : int, optional
        Seed of the random parts, together with the numbers of a catalogue: the parts of one catalogue do not depend on
        which others there are.
    overwrite : bool, optional
        Whether files that are there may be replaced.
    constants : mapping of str to float, optional
        Constants, beside those of the image's header (pixel_scale, ccd_nx, ccd_ny) and of the file's name (exposure,
        ccd); they win over both.
    params : StarParams, optional
        Numbers that are constants; the defaults if left out.

    Yields
    ------
    SelectedCatalogue
        One by one, as they are finished; a catalogue that cannot be read has an `error`, and the next one follows.

    Raises
    ------
    ConfigError
        If the selection is wrong or does not fit a catalogue, two catalogues have the same numbers, or a file is there
        and must not be replaced.
    """
    program = read_selection(selection)
    numbers: dict[str, Path] = {}
    for path in catalogues:
        earlier = numbers.setdefault(_number(path), path)
        if earlier is not path:
            raise ConfigError(f"{earlier} and {path} have the same numbers and would be written to the same files")
    kinds = [kind for kind in OUTPUTS if plots or kind != "plot"]
    apply = partial(_apply, program, params or StarParams(), dict(constants or {}), seed)
    return (_select(path, apply, output, kinds, overwrite=overwrite) for path in catalogues)


def _select(
    path: Path,
    apply: Callable[[Path, np.ndarray, str], Selection],
    output: Path,
    kinds: Sequence[str],
    *,
    overwrite: bool,
) -> SelectedCatalogue:
    """Read one catalogue, select, and write."""
    try:
        header, table = read_ldac(path)
        units = read_ldac_units(path)
    except ConfigError:
        raise
    except ShapempiError as error:
        return SelectedCatalogue(path, None, error=error)
    try:
        found = apply(path, table, header)
    except ConfigError as error:
        raise ConfigError(f"{error} (selecting from {path})") from error
    files = write_selection(found, table, header, output, _number(path), kinds, overwrite=overwrite, units=units)
    return SelectedCatalogue(path, found, tuple(files))


def _apply(
    program: Program,
    params: StarParams,
    constants: Mapping[str, float],
    seed: int,
    path: Path,
    table: np.ndarray,
    header: str,
) -> Selection:
    """Apply a selection to one table."""
    image = {**_from_name(path), **_from_header(header), **constants}
    known = constants_of(params, image)
    if "pixel_scale" not in image and _needs(program, table.dtype, known, "pixel_scale"):
        raise ConfigError(
            f"{program.name}: pixel_scale is needed, and the catalogue's header has no WCS; give --constant "
            "pixel_scale=..., in arcsec"
        )
    # The seed of a run's CCD, so that a catalogue of that CCD is split in the same way.
    entropy = [image[name] for name in ("exposure", "ccd") if math.isfinite(image.get(name, math.nan))]
    key = [int(number) for number in entropy] if len(entropy) == 2 else [zlib.crc32(path.name.encode())]
    return program.select(table, known, np.random.default_rng([seed, *key]))


def _needs(program: Program, dtype: np.dtype, constants: Mapping[str, float], name: str) -> bool:
    """Say whether a selection needs a constant; one that is wrong anyway raises its own ConfigError."""
    program.bind(dtype, constants)
    try:
        program.bind(dtype, [other for other in constants if other != name])
    except ConfigError:
        return True
    return False


def _stem(path: Path) -> str:
    """Return a file's name without its endings."""
    return re.sub(r"\.(fits|fit|cat|ldac)(\.(gz|fz))?$", "", path.name, flags=re.IGNORECASE)


def _number(path: Path) -> str:
    """Return what tells the files of one catalogue from those of another: `-2113737-10`, or `-` and its name."""
    match = _NUMBERS.search(_stem(path))
    return match.group() if match else f"-{_stem(path)}"


def _from_name(path: Path) -> dict[str, float]:
    """Return exposure and CCD if the file's name ends with two numbers."""
    match = _NUMBERS.search(_stem(path))
    numbers = match.group().split("-")[1:] if match else []
    return dict(zip(("exposure", "ccd"), map(float, numbers), strict=True)) if len(numbers) == 2 else {}


def _from_header(header: str) -> dict[str, float]:
    """Return the size of the CCD and its pixel scale, as far as the header says."""
    found: dict[str, float] = {}
    for name, keyword in (("ccd_nx", "NAXIS1"), ("ccd_ny", "NAXIS2")):
        value = card_value(header, keyword)
        if value is not None and value.isdigit():
            found[name] = float(value)
    try:
        wcs = Wcs(header)
    except DataError:  # a catalogue without a WCS; whether it is needed depends on the selection
        return found
    return found | {"pixel_scale": wcs.pixel_scale(found.get("ccd_nx", 1.0) / 2, found.get("ccd_ny", 1.0) / 2)}
