"""What source-extractor is told: the keys of its configuration and the columns of its catalogue.

The defaults are those of the behaviour specification, section 5.2, but for two of them.  INTERP_TYPE is NONE and not
ALL: pixels without weight take no part, and interpolated bad columns are no objects.  WEIGHT_GAIN is N and not Y: the
gain is that of the image.  Both are what the detection in process does.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shapempi.engines.detection_params import DetectionEngineParams
from shapempi.engines.program import Program, private_folder
from shapempi.errors import ConfigError
from shapempi.io.astromatic import parse_columns, parse_keywords

__all__ = ["COLUMNS", "OURS", "SextractorSettings"]

#: The columns that the chain needs, and what else its own columns are made from.
COLUMNS = (
    *("NUMBER", "X_IMAGE_DBL", "Y_IMAGE_DBL", "X2_IMAGE", "Y2_IMAGE", "XY_IMAGE"),
    *("ERRX2_IMAGE", "ERRY2_IMAGE", "ERRXY_IMAGE", "A_IMAGE", "B_IMAGE", "THETA_IMAGE", "ELONGATION", "ELLIPTICITY"),
    *("ISOAREA_IMAGE", "ISOAREAF_IMAGE", "XWIN_IMAGE", "YWIN_IMAGE", "X2WIN_IMAGE", "Y2WIN_IMAGE", "XYWIN_IMAGE"),
    *("ERRX2WIN_IMAGE", "ERRY2WIN_IMAGE", "ERRXYWIN_IMAGE", "FLAGS_WIN", "FLUX_WIN", "FLUXERR_WIN"),
    *("FLUX_AUTO", "FLUXERR_AUTO", "KRON_RADIUS", "FLUX_APER", "FLUXERR_APER", "FLUX_RADIUS", "FWHM_IMAGE"),
    *("THRESHOLD", "FLUX_MAX", "FLAGS", "IMAFLAGS_ISO"),
)

#: Keys that no file and no option of the user's changes: what is read and written, and what the image is.
OURS = frozenset(
    {
        *("CATALOG_NAME", "CATALOG_TYPE", "PARAMETERS_NAME", "FILTER_NAME", "STARNNW_NAME", "DETECT_TYPE"),
        *("WEIGHT_TYPE", "WEIGHT_IMAGE", "FLAG_IMAGE", "FLAG_TYPE", "BACK_TYPE", "BACK_VALUE", "MAG_ZEROPOINT"),
        *("GAIN", "GAIN_KEY", "SATUR_LEVEL", "SATUR_KEY", "PIXEL_SCALE", "CHECKIMAGE_TYPE", "CHECKIMAGE_NAME"),
        *("HEADER_SUFFIX", "WRITE_XML", "VERBOSE_TYPE", "NTHREADS"),
    }
)

#: The filter of source-extractor's own default.conv.
_PYRAMID = "CONV NORM\n1 2 1\n2 4 2\n1 2 1\n"


@dataclass(frozen=True)
class SextractorSettings:
    """Everything that source-extractor reads besides the images.

    Attributes
    ----------
    configuration : str
        Text of the configuration file.
    columns : tuple of str
        Lines of the file of columns, COLUMNS included.
    filter : str
        Text of the detection filter.
    neural_network : str or None
        Text of the weights of the neural network.
    options : mapping of str to str
        Keys and values that win over the configuration file.
    notes : tuple of str
        What the user should know about the files.
    """

    configuration: str
    columns: tuple[str, ...]
    filter: str
    neural_network: str | None
    options: Mapping[str, str]
    notes: tuple[str, ...] = ()

    @classmethod
    def read(cls, params: DetectionEngineParams, program: Program, table: str) -> SextractorSettings:
        """Read the user's files, or make what stands in their place.

        Parameters
        ----------
        params : DetectionEngineParams
            The settings.
        program : Program
            source-extractor, which knows its keys and columns.
        table : str
            Name of the settings' table, for messages.

        Raises
        ------
        ConfigError
            If a file is not there, a column does not exist, or an option is one of `OURS`.
        """
        given, where = params.program, f"{table}.program"
        options = {name.upper(): value for name, value in given.options.items()}
        if taken := sorted(OURS & options.keys()):
            raise ConfigError(f"{where}.options: {', '.join(taken)} cannot be changed; shapempi sets it")
        known_keys, known_columns = _known(program)
        notes: list[str] = []
        defaults = _defaults(params)
        text = "".join(f"{name} {value}\n" for name, value in defaults.items())
        if given.configuration is not None:
            text = _read(given.configuration, f"{where}.configuration")
        values = _parse(text)
        unknown = sorted((values.keys() | options.keys()) - known_keys) if known_keys else []
        if unknown:
            notes.append(f"{where}: {program.path} does not know {', '.join(unknown)} and ignores it")
        if given.configuration is not None and (idle := sorted(OURS & values.keys() - {"FILTER_NAME", "STARNNW_NAME"})):
            notes.append(f"{given.configuration}: {', '.join(idle)} of this file are not used; shapempi sets them")
        columns = _columns(given.parameters, f"{where}.parameters", known_columns)
        return cls(
            configuration=text,
            columns=columns,
            filter=_filter(given.filter, values, given.configuration, where),
            neural_network=_network(given.neural_network, values, given.configuration, columns, where),
            options=options,
            notes=tuple(notes),
        )

    @property
    def text(self) -> str:
        """Everything as one text: what decides the catalogue."""
        return "\n".join(
            (
                self.configuration,
                *self.columns,
                self.filter,
                self.neural_network or "",
                repr(sorted(self.options.items())),
            )
        )


def _defaults(params: DetectionEngineParams) -> dict[str, object]:
    """Return the configuration that the typed keys say."""
    return {
        "DETECT_MINAREA": params.min_area,
        "THRESH_TYPE": "RELATIVE",
        "DETECT_THRESH": f"{params.threshold:g}",
        "ANALYSIS_THRESH": f"{params.threshold:g}",
        "FILTER": "Y",
        "DEBLEND_NTHRESH": params.deblend_levels,
        "DEBLEND_MINCONT": f"{params.deblend_contrast:g}",
        "CLEAN": "Y" if params.clean else "N",
        "CLEAN_PARAM": f"{params.clean_efficiency:g}",
        "MASK_TYPE": "CORRECT",
        "RESCALE_WEIGHTS": "Y" if params.rescale_weights else "N",
        "WEIGHT_GAIN": "N",
        "PHOT_APERTURES": f"{params.aperture_diameter:g}",
        "PHOT_AUTOPARAMS": f"{params.kron_factor:g},{params.kron_min:g}",
        "PHOT_FLUXFRAC": f"{params.light_fraction:g}",
        "SEEING_FWHM": "0.6",
        "BACK_SIZE": params.rescale_box,
        "BACK_FILTERSIZE": 3,
        "BACKPHOTO_TYPE": "GLOBAL",
        "MEMORY_PIXSTACK": params.pixel_stack,
        "MEMORY_BUFSIZE": 1024,
        "INTERP_TYPE": "NONE",
    }


def _known(program: Program) -> tuple[frozenset[str], frozenset[str]]:
    """Ask the program for all keys of its configuration and all columns; empty if it does not say."""
    with private_folder() as folder:
        said = [program.run([option], folder=folder, timeout=60.0, kept=1_000_000).stdout for option in ("-dd", "-dp")]
    keys = frozenset(_parse(said[0]))
    columns = frozenset(match.group(1) for match in re.finditer(r"^#?\s*([A-Z_0-9]+)", said[1], re.MULTILINE))
    return keys, columns


def _read(path: Path, where: str) -> str:
    """Read a file of the user's."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError as error:
        raise ConfigError(f"{where}: there is no file {path}") from error
    except OSError as error:
        raise ConfigError(f"{where}: {path} cannot be read: {error.strerror}") from error


def _parse(text: str) -> dict[str, str]:
    """Return keys and values of a configuration file."""
    return {name: keyword.value for name, keyword in parse_keywords(text).items()}


def _columns(path: Path | None, where: str, known: frozenset[str]) -> tuple[str, ...]:
    """Return the columns of a file with those that it lacks."""
    lines: dict[str, str] = {}
    for column in parse_columns(_read(path, where) if path is not None else ""):
        if not column.valid or (known and column.name not in known):
            near = difflib.get_close_matches(column.name, known, n=1)
            cure = f"did you mean {near[0]}?" if near else "`source-extractor -dp` prints all"
            raise ConfigError(f"{path}:{column.line}: source-extractor has no column {column.name}; {cure} ({where})")
        lines[column.name] = column.name + column.sizes
    for name in COLUMNS:
        lines.setdefault(name, name)
    return tuple(lines.values())


def _named(values: Mapping[str, str], keyword: str, configuration: Path | None) -> Path | None:
    """Return the file that a configuration file of the user's names, if it is there: as it is, or beside that file."""
    name = values.get(keyword, "").split()
    if configuration is None or not name:
        return None
    found = [path for path in (Path(name[0]), configuration.parent / name[0]) if path.is_file()]
    return found[0] if found else None


def _filter(path: Path | None, values: Mapping[str, str], configuration: Path | None, where: str) -> str:
    """Return the text of the detection filter."""
    if path is not None:
        return _read(path, f"{where}.filter")
    named = _named(values, "FILTER_NAME", configuration)
    if named is not None:
        return _read(named, f"{where}.configuration")
    name = values.get("FILTER_NAME", "")
    wanted = values.get("FILTER", "Y").upper().startswith("Y")
    if configuration is not None and wanted and name and Path(name).name != "default.conv":
        raise ConfigError(f"{configuration}: there is no filter {name}; name the file in {where}.filter")
    return _PYRAMID


def _network(
    path: Path | None, values: Mapping[str, str], configuration: Path | None, columns: Sequence[str], where: str
) -> str | None:
    """Return the text of the neural network's weights, if a column needs them."""
    if path is not None:
        return _read(path, f"{where}.neural_network")
    if not any(column.startswith("CLASS_STAR") for column in columns):
        return None
    named = _named(values, "STARNNW_NAME", configuration)
    if named is None:
        raise ConfigError(
            f"CLASS_STAR needs the weights of a neural network: name the file, such as "
            f"/usr/share/source-extractor/default.nnw, in {where}.neural_network"
        )
    return _read(named, f"{where}.configuration")
