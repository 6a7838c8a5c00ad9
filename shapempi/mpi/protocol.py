"""The messages between rank 0, the master, and the workers: few small tags, names in the content, no bulk data.

| tag | name   | direction   | content                                                            |
|-----|--------|-------------|--------------------------------------------------------------------|
| 1   | READY  | worker -> 0 | `Ready`: the worker is there and free                              |
| 2   | ASSIGN | 0 -> worker | `Assign`: a lease of a unit, places of its inputs, its limits      |
| 3   | RESULT | worker -> 0 | (lease, outcome): the worker is free                               |
| 4   | BEAT   | both        | `Beat` from a worker, now and then; answered with the same tag     |
| 6   | DRAIN  | both        | 0 -> worker: seconds that are left; worker -> 0: it was asked to   |
| 7   | STOP   | 0 -> worker | whether ranks were lost, so that nobody waits for them             |
| 8   | LOG    | worker -> 0 | a line for the log                                                 |

A worker has at most one result on its way; rank 0 never waits for a send; there is no collective call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from shapempi.mpi.executor import Limits
from shapempi.mpi.unit import Place, Unit

__all__ = ["ASSIGN", "BEAT", "DRAIN", "LOG", "PROTOCOL", "READY", "RESULT", "STOP", "Assign", "Beat", "Pulse", "Ready"]

PROTOCOL = 2
READY, ASSIGN, RESULT, BEAT, DRAIN, STOP, LOG = 1, 2, 3, 4, 6, 7, 8


class Ready(NamedTuple):
    """A worker that is there."""

    version: int
    host: str
    pid: int


class Assign(NamedTuple):
    """A lease: the right, and the duty, of one worker to do one unit."""

    lease: int
    unit: Unit
    places: Mapping[str, Place]
    limits: Limits
    attempt: int
    cost: float


class Beat(NamedTuple):
    """A sign of life: the lease (0 for none) and the memory of whoever works on it [byte]."""

    lease: int
    memory: int


class Pulse(NamedTuple):
    """How often master and workers give signs of life.

    Attributes
    ----------
    beat : float
        Time between two beats of a worker [s].
    silence : float
        Time after which one who was not heard of is taken for dead [s].  Ranks that do units themselves cannot beat
        meanwhile: half a day, then, is for those that nobody says to be dead.
    """

    beat: float = 30.0
    silence: float = 43_200.0
