"""Survey descriptions: TOML files of defaults for everything in which surveys differ, read beneath a configuration.

Those that come with shapempi are in configs/surveys; a user writes one of their own with the same tables.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from shapempi.camera import Camera
from shapempi.errors import ConfigError
from shapempi.params import read_tables

__all__ = ["CFIS", "KEPT_NAME", "Description", "cfis_camera", "description_names", "merged", "read_description"]

#: The description that holds where a configuration names none.
CFIS = "cfis"

#: Name under which a run keeps the description that its configuration names, beside the configuration.
KEPT_NAME = "description.kept.toml"

#: Tables that are the user's alone.
_OF_THE_USER = ("survey", "run", "simulation", "calibration")


@dataclass(frozen=True)
class Description:
    """What a survey description says.

    Attributes
    ----------
    values : dict
        Its tables.
    source : str
        Its file, for messages.
    text : str
        Its text.
    """

    values: dict[str, Any]
    source: str
    text: str

    @property
    def title(self) -> str:
        """What the survey is: the comment in the first line."""
        first = self.text.partition("\n")[0]
        return first.lstrip("# ").strip() if first.startswith("#") else ""


def _folder() -> Traversable:
    """Return the folder of the descriptions: of the package, or of the source tree that it is in."""
    package = resources.files("shapempi")
    installed = package / "surveys"
    return installed if installed.is_dir() else Path(str(package)).parent / "configs" / "surveys"


def description_names() -> list[str]:
    """Return the names of the descriptions that come with shapempi, sorted."""
    return sorted(file.name.removesuffix(".toml") for file in _folder().iterdir() if file.name.endswith(".toml"))


def read_description(name: str, kept: Path | None = None) -> Description:
    """Read a survey description.

    Parameters
    ----------
    name : str
        A name of `description_names`, or the path of a TOML file.
    kept : Path, optional
        A copy that takes the place of a file of the user's, if it is there.

    Returns
    -------
    Description
        Its tables, not checked yet: they are checked with the configuration that they are read beneath.

    Raises
    ------
    ConfigError
        If there is no such description or file, or it is not TOML, or has a table that is not for descriptions.
    """
    if not name.endswith(".toml"):
        known = description_names()
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            cure = f"did you mean {near[0]!r}? " if near else ""
            raise ConfigError(
                f"there is no survey description {name!r}; {cure}known: {', '.join(known)}; "
                "a file of your own ends with .toml"
            )
        return _parse((_folder() / f"{name}.toml").read_text(encoding="utf-8"), f"surveys/{name}.toml")
    path = kept if kept is not None and kept.is_file() else Path(name)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{path}: the survey description cannot be read: {error.strerror}; correct [survey] description"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not a TOML file: {error}") from error
    return _parse(text, str(path))


def _parse(text: str, source: str) -> Description:
    """Read the tables of a description."""
    values = read_tables(text, source)
    for name in _OF_THE_USER:
        if name in values:
            raise ConfigError(
                f"{source}: a survey description has no table [{name}]: it says how a survey's data look, and "
                f"[{name}] is for the configuration"
            )
    return Description(values, source, text)


def merged(description: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Return tables of a description with those of a configuration over them, key by key.

    Tables of free names (`[input.flags.codes]`) are merged as other tables are.
    """
    result = dict(description)
    for name, value in values.items():
        below = result.get(name)
        result[name] = merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result


def cfis_camera() -> Camera:
    """Return the camera of CFIS: MegaCam."""
    return Camera.model_validate(read_description(CFIS).values["input"]["camera"])
