"""The size of a job: how many nodes for how long, from the predicted time on one core."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from shapempi.errors import ConfigError
from shapempi.site import Site

__all__ = ["JobSize", "parse_time", "size_job", "write_time"]

#: The predicted time is multiplied by this, and this is added for the start and the end of a job [s].
MARGIN, OVERHEAD = 1.5, 600.0

#: Time for which a job is planned if nothing else is asked for: short jobs start soon [s].
USUAL_SECONDS = 4 * 3600.0

#: Times are rounded up to this [s].
_STEP = 600


@dataclass(frozen=True)
class JobSize:
    """Nodes, ranks and time of a job.

    Attributes
    ----------
    nodes : int
        Nodes.
    ranks_per_node : int
        Ranks on each of them; one of all hands out the work.
    seconds : int
        Time limit [s].
    needed : float
        Time that the work is expected to take on these nodes, with its margin [s]; 0 if nothing was predicted.
    """

    nodes: int
    ranks_per_node: int
    seconds: int
    needed: float = 0.0

    @property
    def n_job(self) -> int:
        """Return how many jobs of this size, one after the other, the work will take."""
        return max(math.ceil(self.needed / self.seconds), 1)


def size_job(
    site: Site, core_seconds: float, n_unit: int, *, nodes: int | None = None, seconds: int | None = None
) -> JobSize:
    """Choose the nodes and the time of a job.

    Parameters
    ----------
    site : Site
        Where it runs.
    core_seconds : float
        Predicted time on one core [s].
    n_unit : int
        Units that can be done at the same time: more workers would have nothing to do.
    nodes : int, optional
        Nodes, if the user has chosen them.
    seconds : int, optional
        Time limit [s], if the user has chosen it.

    Returns
    -------
    JobSize
        The fewest nodes that do the work in four hours, or in the time that was asked for, with a margin.

    Raises
    ------
    ConfigError
        If the site has no such nodes or time.
    """
    if nodes is not None and not 1 <= nodes <= site.max_nodes:
        raise ConfigError(f"--nodes {nodes}: {site.title} has jobs of 1 to {site.max_nodes} nodes")
    longest = int(3600 * site.max_time)
    if seconds is not None and not 2 * site.drain < seconds <= longest:
        raise ConfigError(
            f"--time {write_time(seconds)}: give more than {write_time(2 * site.drain)}, for the last {site.drain} s "
            f"of a job are for finishing units, and at most {write_time(longest)}, the limit of {site.title}"
        )
    per_node = site.ranks_per_node
    if nodes is None:
        goal = min(seconds or USUAL_SECONDS, longest) - OVERHEAD
        wanted = math.ceil((MARGIN * core_seconds / max(goal, OVERHEAD) + 1) / per_node)
        useful = math.ceil((n_unit + 1) / per_node)
        nodes = max(min(wanted, useful, site.max_nodes), 1)
    needed = MARGIN * core_seconds / max(nodes * per_node - 1, 1) + OVERHEAD
    if seconds is None:
        shortest = 2 * site.drain + _STEP
        seconds = min(_STEP * math.ceil(max(needed + site.drain, shortest) / _STEP), longest)
    return JobSize(nodes, per_node, seconds, needed)


def parse_time(text: str) -> int:
    """Read a time limit.

    Parameters
    ----------
    text : str
        H:M:S.

    Returns
    -------
    int
        The time [s].

    Raises
    ------
    ConfigError
        If it is something else.
    """
    match = re.fullmatch(r"(\d+):([0-5]?\d):([0-5]?\d)", text)
    if match is None:
        raise ConfigError(f"--time {text}: give hours, minutes and seconds, such as 12:00:00")
    hours, minutes, rest = map(int, match.groups())
    return 3600 * hours + 60 * minutes + rest


def write_time(seconds: int) -> str:
    """Write a time [s] as H:M:S."""
    return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
