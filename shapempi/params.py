"""The base of every parameter group: typed, immutable, complete, and described key by key.

A parameter group lives beside the code it configures (`measure/detect.py` holds `DetectionParams`), and
`config.py` composes them.  Every key is declared with `key`: its default, unit, range and one sentence.  The
configuration reference and the comments of `configs/survey.toml` come from these declarations.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from shapempi.errors import ConfigError

__all__ = ["REQUIRED", "Params", "check", "group_of", "key", "parse", "read_tables"]

#: Default of a key that the user must give.
REQUIRED: Any = ...


class Params(BaseModel):
    """A group of configuration keys; unknown keys are refused and values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def key(default: Any, doc: str, *, unit: str = "", **limits: Any) -> Any:
    """Declare one configuration key.

    Parameters
    ----------
    default : Any
        The default value, or `REQUIRED`.
    doc : str
        One sentence that says what the key does.
    unit : str, optional
        The unit of the value; empty for a pure number or a text.
    **limits
        Range limits as pydantic names them: `ge`, `gt`, `le`, `lt`, `min_length`, `pattern`.

    Returns
    -------
    Any
        The field declaration for a `Params` class body.
    """
    return Field(default, description=doc, json_schema_extra={"unit": unit}, **limits)


#: Characters of a wrong value that a message shows.
_LONGEST = 200

_Group = TypeVar("_Group", bound=Params)


def parse(group: type[_Group], text: str, name: str) -> _Group:
    """Make a parameter group from the text of a TOML file.

    Parameters
    ----------
    group : type of Params
        The group that the whole file describes.
    text : str
        The text.
    name : str
        Name of the file, for messages.

    Returns
    -------
    Params
        The checked group.

    Raises
    ------
    ConfigError
        If the text is not TOML, or a key is unknown, missing, of the wrong type or out of range; all wrong keys are
        named at once.
    """
    return check(group, read_tables(text, name), lambda _: name)


def read_tables(text: str, name: str) -> dict[str, Any]:
    """Return the tables of a TOML file.

    Parameters
    ----------
    text : str
        The text.
    name : str
        Name of the file, for messages.

    Raises
    ------
    ConfigError
        If the text is not TOML.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name}: not a TOML file: {error}") from error


def check(group: type[_Group], values: dict[str, Any], source: Callable[[Sequence[str]], str]) -> _Group:
    """Make a parameter group from the tables of TOML files.

    Parameters
    ----------
    group : type of Params
        The group.
    values : dict
        The tables.
    source : callable
        Returns the name of the file that a key is from, by the path of the key.

    Raises
    ------
    ConfigError
        If a key is unknown, missing, of the wrong type or out of range; all wrong keys are named at once.
    """
    try:
        # By way of JSON, because only there strict means what TOML means: lists are tuples, texts are paths, 1 is 1.0,
        # but "1" is no number and "yes" no truth.
        return group.model_validate_json(json.dumps(values, default=str), strict=True)
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            where = [str(part) for part in problem["loc"]]
            lines.append(f"{source(where)}: {_explain(group, dict(problem))}")
        raise ConfigError("\n".join(lines)) from error


def _explain(group: type[Params], problem: dict[str, Any]) -> str:
    """Say in one line what is wrong with one key."""
    where = [str(part) for part in problem["loc"]]
    name = ".".join(where)
    if problem["type"] == "extra_forbidden":
        known = list(_group_at(group, where[:-1]).model_fields)
        near = difflib.get_close_matches(where[-1], known, n=1, cutoff=0.5)
        cure = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
        return f"unknown key {name!r}; {cure}"
    if problem["type"] == "missing":
        return f"the key {name!r} is required and missing"
    value = repr(problem["input"])
    shown = value if len(value) <= _LONGEST else f"{value[:_LONGEST]} ..."
    return f"the key {name!r} has the value {shown}: {problem['msg']}"


def group_of(info: FieldInfo) -> type[Params] | None:
    """Return the parameter group that a field holds, or None if it holds a value."""
    for candidate in (info.annotation, *get_args(info.annotation)):
        if isinstance(candidate, type) and issubclass(candidate, Params):
            return candidate
    return None


def _group_at(group: type[Params], where: list[str]) -> type[Params]:
    """Return the parameter group at a path of keys."""
    for part in where:
        info = group.model_fields.get(part)
        inner = group_of(info) if info is not None else None
        if inner is None:
            break
        group = inner
    return group
