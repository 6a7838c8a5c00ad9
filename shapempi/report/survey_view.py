"""What the report of a run needs to know of its plan, in plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["SurveyView"]


@dataclass(frozen=True)
class SurveyView:
    """A survey as the report sees it.

    Attributes
    ----------
    name : str
        Name of the survey.
    ccds : frozenset of str
        The units of the CCDs, by uid.
    tiles : mapping of str to tuple of str
        For each tile's unit the units of the CCDs that touch it.
    missing : mapping of str to tuple of int
        For each tile's unit the exposures that it names and that are not there.
    costs : mapping of str to float
        Predicted time of the units of CCDs and tiles [s].
    promised : mapping of str to float
        Predicted time of all blocks of each tile [s].
    areas : mapping of str to float
        Area of each tile [deg2].
    """

    name: str = ""
    ccds: frozenset[str] = frozenset()
    tiles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    missing: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    costs: Mapping[str, float] = field(default_factory=dict)
    promised: Mapping[str, float] = field(default_factory=dict)
    areas: Mapping[str, float] = field(default_factory=dict)
