"""The converted configuration as a TOML file: every value with the key that it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from shapempi.config import Config, keys, parse, toml_value, unit_of
from shapempi.convert.conversion import Conversion
from shapempi.convert.note import Assignment

__all__ = ["toml_text"]

#: What stands for a key that a run needs and no file gives; each is a folder that is not there.
_TO_FILL_IN = {
    "input.exposure_folder": "FOLDER-OF-THE-EXPOSURES",
    "input.tile_folder": "FOLDER-OF-THE-TILES",
    "run.folder": "FOLDER-OF-THE-RUN",
}

_IN_PROCESS = {
    "exposure.detection": 'engine = "source-extractor" detects with the program',
    "tile.detection": 'engine = "source-extractor" detects with the program',
    "psf": 'engine = "psfex" makes the models with the program',
}


def toml_text(conversion: Conversion, sources: Sequence[Path], name: str) -> str:
    """Return the text of the configuration.

    Parameters
    ----------
    conversion : Conversion
        Keys and notes.
    sources : sequence of Path
        The files that were converted.
    name : str
        Name of the file, for messages.

    Raises
    ------
    ConfigError
        If the keys do not fit together; they are named.
    """
    values = conversion.values
    lines = [
        "# Converted by `shapempi convert` from",
        *(f"#   {source}" for source in sources),
        "# Behind each value: its unit, the key of ShapePipe's, the file and the line.",
        "# Keys that are not here have their defaults: `shapempi config --reference` prints all of them.",
    ]
    open_points = conversion.problems
    if open_points:
        lines += ["#", "# Not converted; decide about each:"]
        lines += [f"#   {' '.join(str(note).split())}" for note in open_points]
    current: tuple[str, ...] | None = None
    for path, _, key, info in keys(Config):
        dotted = ".".join((*path, key))
        if dotted not in values and dotted not in _TO_FILL_IN:
            continue
        if path != current:
            current = path
            table = ".".join(path)
            lines += ["", f"[{table}]"]
            if table in _IN_PROCESS and f"{table}.engine" not in values:
                lines.append(f"# In process; {_IN_PROCESS[table]}.")
        lines += _lines(key, dotted, values, unit_of(info))
    text = "\n".join(lines) + "\n"
    parse(text, name)
    return text


def _lines(key: str, dotted: str, values: Mapping[str, Sequence[Assignment]], unit: str) -> list[str]:
    """Return the lines of one key: why it is another value, the value, where it comes from."""
    if dotted not in values:
        return ["# To be filled in: no file says it.", f"{key} = {toml_value(_TO_FILL_IN[dotted])}"]
    sources = values[dotted]
    reasons = dict.fromkeys(source.reason for source in sources if source.reason)
    lines = [f"# {reason}" for reason in reasons]
    origins = dict.fromkeys(_origin(source) for source in sources if source.value == sources[0].value)
    said = f"{key} = {toml_value(sources[0].value)}"
    return [*lines, f"{said:<31} # {f'[{unit}] ' if unit else ''}{'; '.join(origins)}"]


def _origin(source: Assignment) -> str:
    """Return where a value comes from: `[SECTION] KEY, file:line`, without the folder of the file."""
    place, name = Path(source.where).name, source.what.split(" = ")[0]
    file = place.partition(":")[0]
    return f"{name.removeprefix(f'[{file}] ')}, {place}"
