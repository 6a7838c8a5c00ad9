"""The base of every parameter group: typed, immutable, complete, and described key by key.

A parameter group lives beside the code it configures (`measure/detect.py` holds `DetectionParams`), and
`config.py` composes them.  Every key is declared with `key`: its default, unit, range and one sentence.  The
configuration reference and the comments of `configs/survey.toml` come from these declarations.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["REQUIRED", "Params", "key"]

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
