"""The configuration: a TOML file and the survey description that it names become one typed, immutable object.

Each group of keys is declared beside the code that it configures; this module only composes the groups, reads
files into them and writes them out (the reference page, the commented production file).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import field_validator
from pydantic.fields import FieldInfo

from shapempi.calibration.params import CalibrationParams
from shapempi.camera import Camera
from shapempi.description import CFIS, KEPT_NAME, description_names, merged, read_description
from shapempi.engines.psf_params import PsfParams
from shapempi.errors import ConfigError
from shapempi.exposure_number import CFIS_NUMBER
from shapempi.io.exposure import CFIS_CCDS
from shapempi.io.flag_codes import CFIS_FLAGS
from shapempi.lensing.params import ShearParams
from shapempi.measure.shape_params import ShapeParams
from shapempi.measure.size_class import SizeClassParams
from shapempi.measure.spread import SpreadParams
from shapempi.measure.stars import StarParams
from shapempi.measure.vignets import VignetParams
from shapempi.params import REQUIRED, Params, check, group_of, key, read_tables
from shapempi.sim.params import SimulationParams
from shapempi.stages.ccd import ExposureParams
from shapempi.stages.tile import TileParams
from shapempi.survey.input_params import InputParams
from shapempi.survey.sky_masks import SkyMaskParams, check_names
from shapempi.tile_grid import CFIS_GRID
from shapempi.validation.params import ValidationParams

__all__ = [
    "Config",
    "commented_toml",
    "key_table",
    "keys",
    "load",
    "parse",
    "reference",
    "to_toml",
    "toml_value",
    "unit_of",
]


#: Keys of masks and detection that decide nothing but what is written besides, and where.
_IMAGE_FILES: dict[str, Any] = {
    "output": True,
    "vignet_size": True,
    "mask": {"output"},
    "detection": {"strip_rows": True, "program": {"scratch", "keep", "timeout", "check_images"}},
}


#: Keys of the camera that decide which CCD is which.
_CCD_NAMES = {"first_ccd", "ccd_pattern", "ccd_names"}

#: Groups of [input] that are part of the fingerprint only where they differ from CFIS.
_DESCRIBED: dict[str, Params] = {
    "exposure_number": CFIS_NUMBER,
    "tile_grid": CFIS_GRID,
    "camera": CFIS_CCDS,
    "flags": CFIS_FLAGS,
}


class SurveyParams(Params):
    """What is measured."""

    name: str = key("survey", "Name of the survey, written into every catalogue.", min_length=1)
    seed: int = key(1, "Seed of every random number of the run; the same seed gives the same catalogue.", ge=0)
    description: str = key(
        CFIS,
        "Survey description, whose values hold where this file says nothing: a name that `shapempi config --surveys` "
        "lists, or a TOML file.",
    )


class RunParams(Params):
    """How the run goes."""

    folder: Path = key(REQUIRED, "Folder of the run: part files, journal, catalogue; made if it is not there.")
    block_size: int = key(1000, "Largest number of objects in one unit of shape measurement.", ge=1)
    block_seconds: float = key(
        120.0, "Predicted time of such a unit; where objects take long, it has fewer of them.", unit="s", gt=0
    )
    isolate: bool = key(
        True, "Whether units are done in a child of the rank, so that a crash or a hang costs one unit, not the run."
    )
    time_limit: float = key(
        3600.0, "Longest time of one unit (isolate); one that takes longer is ended and has failed.", unit="s", gt=0
    )
    memory_limit: float = key(
        4.0, "Largest memory of one unit (isolate); one that takes more is ended and has failed.", unit="GiB", gt=0
    )
    drain_margin: float = key(
        60.0, "Time before the end of the allocation at which the last unit must have ended.", unit="s", ge=0
    )
    beat: float = key(30.0, "Time between two signs of life of a rank.", unit="s", gt=0)
    silence: float = key(
        600.0,
        "A rank of which nothing was heard for so long is taken for lost; its unit goes to another.",
        unit="s",
        gt=0,
    )
    cache_folder: Path | None = key(
        None,
        "Folder on each node's own disk, such as $TMPDIR, for copies of the exposures that its ranks read; without it "
        "they are read from where they are.",
    )
    cache_size: float = key(20.0, "What the copies on a node may hold together.", unit="GiB", gt=0)
    progress_interval: float = key(60.0, "Time between two progress lines in a batch log.", unit="s", gt=0)


class Config(Params):
    """Everything that a run needs to know."""

    survey: SurveyParams = SurveyParams()
    input: InputParams = key(REQUIRED, "")
    run: RunParams = key(REQUIRED, "")
    exposure: ExposureParams = ExposureParams()
    tile: TileParams = TileParams()
    stars: StarParams = StarParams()
    psf: PsfParams = PsfParams()
    vignet: VignetParams = VignetParams()
    spread: SpreadParams = SpreadParams()
    size_class: SizeClassParams = SizeClassParams()
    shapes: ShapeParams = ShapeParams()
    simulation: SimulationParams | None = None
    calibration: CalibrationParams = CalibrationParams()
    validation: ValidationParams = ValidationParams()
    shear: ShearParams = ShearParams()
    sky_masks: dict[str, SkyMaskParams] = key({}, "Maps of the sky by the names of their columns.")

    @field_validator("sky_masks")
    @classmethod
    def _free_names(cls, masks: dict[str, SkyMaskParams]) -> dict[str, SkyMaskParams]:
        """Refuse names that the catalogue has already."""
        check_names(masks)
        return masks

    def digest(self, *contents: str) -> str:
        """Return the fingerprint of everything that decides the catalogue or the units of work.

        Everything of [run] but the block size, the height of strips, the simulation, the calibration, the validation,
        the shear analysis and the maps of the sky do not; the rest does.

        Parameters
        ----------
        *contents : str
            Contents of the files that the configuration names and that decide something, too.
        """
        values = self.model_dump(
            mode="json",
            exclude={
                **dict.fromkeys(("simulation", "calibration", "validation", "shear", "sky_masks"), True),
                "survey": {"description"},  # its values count, wherever they are from
                "input": {"camera": set(Camera.model_fields) - _CCD_NAMES},  # the others are for figures
                "run": set(RunParams.model_fields) - {"block_size"},
                "stars": {"output"},
                **dict.fromkeys(("exposure", "tile"), _IMAGE_FILES),
                "psf": {"psfex": {"scratch", "keep", "timeout"}},
            },
        )
        _drop_defaults(values)
        text = json.dumps([values, *contents] if contents else values, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _drop_defaults(values: dict[str, Any]) -> None:
    """Take the described keys that have the values of CFIS out of a dump: they are younger than runs with CFIS."""
    given = values["input"]
    for name, cfis in _DESCRIBED.items():
        plain = cfis.model_dump(mode="json")
        given[name] = {key: value for key, value in given[name].items() if value != plain[key]}
        if not given[name]:
            del given[name]
    if not any("{band}" in str(value) for value in given.values()):
        del given["band"]


def load(path: Path) -> Config:
    """Read a configuration file, and beneath it the survey description that it names.

    Parameters
    ----------
    path : Path
        A TOML file.  Relative paths in it are relative to the current folder.  The description that a run has kept
        beside its configuration takes the place of a file that `survey.description` names.

    Returns
    -------
    Config
        The checked configuration.

    Raises
    ------
    ConfigError
        If a file is missing or is not TOML, or a key is unknown, missing, of the wrong type or out of range; all wrong
        keys are named at once, each with the file that it is in.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the configuration: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not a TOML file: {error}") from error
    return parse(text, str(path), Path(path).parent / KEPT_NAME)


def parse(text: str, name: str, kept: Path | None = None) -> Config:
    """Make a configuration from the text of its file, and the survey description that it names.

    Parameters
    ----------
    text : str
        The text.
    name : str
        Name of the file, for messages.
    kept : Path, optional
        Copy of the description that takes the place of a file of the user's, if it is there.

    Raises
    ------
    ConfigError
        As `load`.
    """
    values = read_tables(text, name)
    survey = values.get("survey")
    described = survey.get("description", CFIS) if isinstance(survey, dict) else CFIS
    # If it is no text, the check says so.
    description = read_description(described if isinstance(described, str) else CFIS, kept)

    def source(where: Sequence[str]) -> str:
        here, there = _find(values, where), _find(description.values, where)
        if isinstance(here, dict) and isinstance(there, dict):
            return f"{name} with {description.source}"
        return description.source if here is None and there is not None else name

    config = check(Config, merged(description.values, values), source)
    if config.simulation is not None:
        try:
            config.simulation.check_tiles(config.input.tile_grid)
        except ConfigError as error:
            raise ConfigError(f"{name}: {error}") from error
    return config


def _find(values: Any, where: Sequence[str]) -> Any:
    """Return what tables have under a key, or the value that it is a part of; None if they have neither."""
    for part in where:
        if not isinstance(values, dict):
            break
        if part not in values:
            return None
        values = values[part]
    return values


def keys(
    group: type[Params] = Config, prefix: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], type[Params], str, FieldInfo]]:
    """Walk over every key: yields (path of the group, the group, key name, declaration)."""
    inner = []
    for name, info in group.model_fields.items():
        nested = group_of(info)
        if nested is None:
            yield prefix, group, name, info
        else:
            inner.append((name if get_origin(info.annotation) is not dict else f"{name}.NAME", nested))
    for name, nested in inner:
        yield from keys(nested, (*prefix, name))


def _limits(info: FieldInfo) -> str:
    """Write the range of a key: `>= 0, <= 1`."""
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    parts = [
        f"{sign} {getattr(limit, word)}"
        for limit in info.metadata
        for word, sign in signs.items()
        if hasattr(limit, word)
    ]
    return ", ".join(parts)


def unit_of(info: FieldInfo) -> str:
    """Return the unit of a key."""
    extra = info.json_schema_extra
    return str(extra.get("unit", "")) if isinstance(extra, dict) else ""


def _type_name(info: FieldInfo) -> str:
    """Write the type of a key as a reader would say it."""
    annotation = info.annotation
    text = annotation.__name__ if isinstance(annotation, type) and not get_args(annotation) else str(annotation)
    return text.replace("typing.", "").replace("pathlib.", "").replace("NoneType", "None")


def _code(value: Any) -> str:
    """Write a default for the reference page."""
    return f"`{toml_value(value)}`"


def toml_value(value: Any) -> str:
    """Write a default as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {toml_value(item)}" for name, item in value.items()) + "}"
    return json.dumps(str(value))


def to_toml(config: Config) -> str:
    """Return a configuration as the text of a TOML file that `load` reads back to the same; without comments.

    Parameters
    ----------
    config : Config
        The configuration.
    """
    groups = config.model_dump(mode="json", exclude_none=True)
    return "\n".join(f"{name} = {toml_value(group)}" for name, group in groups.items()) + "\n"


def reference() -> str:
    """Return the reference page of all keys as Markdown (`docs/configuration.md`)."""
    lines = [
        "# Configuration reference",
        "",
        "Made by `shapempi config --reference` from the declarations in the code; do not edit.",
        "",
    ]
    current: tuple[str, ...] | None = None
    for path, group, name, info in keys():
        if path != current:
            current = path
            title = (group.__doc__ or "").strip().splitlines()[0]
            lines += ["", f"## `[{'.'.join(path)}]`", "", title, "", *_TABLE_HEAD]
        lines.append(_table_row(name, info))
    return "\n".join(lines) + "\n"


#: The head of a table of keys.
_TABLE_HEAD = ("| key | type | default | unit | range | meaning |", "|---|---|---|---|---|---|")


def _table_row(name: str, info: FieldInfo) -> str:
    """Write the row of one key."""
    default = "required" if info.is_required() else "none" if info.default is None else _code(info.default)
    cells = (f"`{name}`", _type_name(info), default, unit_of(info), _limits(info), info.description or "")
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def key_table(group: type[Params]) -> str:
    """Return the keys of one group as a Markdown table (that of sites in `docs/jobs.md` is made by it)."""
    rows = [_table_row(name, info) for _, _, name, info in keys(group)]
    return "\n".join((*_TABLE_HEAD, *rows)) + "\n"


#: Longest value that is written into a comment.
_LONGEST = 90


def commented_toml(
    values: dict[str, Any], *, skip: tuple[str, ...] = ("simulation", "calibration", "sky_masks.NAME")
) -> str:
    """Write a complete configuration file in which every key has its comment.

    What survey descriptions give stands in comments, so that another description can be named.

    Parameters
    ----------
    values : dict
        Values by dotted key for keys that have no default or shall differ from it.
    skip : tuple of str, optional
        Top-level groups that are left out.

    Returns
    -------
    str
        The TOML text (`configs/survey.toml` is made by it).
    """
    lines: list[str] = []
    cfis = read_description(CFIS).values
    described = reduce(merged, (read_description(name).values for name in description_names()))
    current: tuple[str, ...] | None = None
    for path, group, name, info in keys():
        if path and path[0] in skip:
            continue
        if path != current:
            current = path
            title = (group.__doc__ or "").strip().splitlines()[0]
            lines += ["", f"# {title}", f"[{'.'.join(path)}]"]
        about = [info.description or ""]
        about += [f"[{unit_of(info)}]"] if unit_of(info) else []
        about += [f"({_limits(info)})"] if _limits(info) else []
        lines.append("# " + " ".join(about))
        value = values.get(".".join((*path, name)), info.default)
        if _find(described, (*path, name)) is not None:
            value = _find(cfis, (*path, name))
            text = toml_value(info.default if value is None else value)
            lines.append(f"# {name} = {text if len(text) < _LONGEST else '...'}   (the survey description says it)")
        elif value is None or (info.is_required() and value is info.default):
            lines.append(f"# {name} =   (no default)")
        else:
            lines.append(f"{name} = {toml_value(value)}")
    return "\n".join(lines).lstrip("\n") + "\n"
