"""The end of the allocation: how much time a run has left."""

from __future__ import annotations

import math
import os
import re
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Deadline", "find_deadline", "parse_walltime"]

_WALLTIME = re.compile(r"^(?:(\d+)-)?(?:(\d+):)?(\d+)(?::(\d+))?$")
#: How long to wait for squeue [s].
_PATIENCE = 20.0


@dataclass(frozen=True)
class Deadline:
    """When a run must have ended.

    Attributes
    ----------
    time : float
        The end [s since 1970]; infinite if nobody sets one.
    source : str
        Who says so.
    """

    time: float = math.inf
    source: str = ""

    def left(self) -> float:
        """Return the time left [s]."""
        return self.time - time.time()


def parse_walltime(text: str) -> float:
    """Return a time span in Slurm's notation in seconds.

    Parameters
    ----------
    text : str
        `minutes`, `minutes:seconds`, `hours:minutes:seconds` or `days-hours[:minutes[:seconds]]`.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    days, rest = text.split("-", 1) if "-" in text else (None, text)
    numbers = rest.split(":")
    if not _WALLTIME.match(text.strip()) or len(numbers) > 3:
        raise ValueError(
            f"{text!r} is no time span: write minutes, hours:minutes:seconds or days-hours:minutes:seconds"
        )
    values = [int(number) for number in numbers]
    if days is not None:
        hours, minutes, seconds = [*values, 0, 0][:3]
    elif len(values) == 1:
        hours, minutes, seconds = 0, values[0], 0
    elif len(values) == 2:
        hours, minutes, seconds = 0, *values
    else:
        hours, minutes, seconds = values
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60.0 + seconds


def find_deadline(walltime: str | None, environ: Mapping[str, str] | None = None) -> Deadline:
    """Return when this run must have ended.

    Parameters
    ----------
    walltime : str or None
        What the user says: the time from now, in Slurm's notation.
    environ : mapping, optional
        Environment with Slurm's variables; that of the process by default.

    Returns
    -------
    Deadline
        By the user, else by `SLURM_JOB_END_TIME`, else by `squeue`; the earlier of the user's and Slurm's.

    Raises
    ------
    ValueError
        If `walltime` is no time span.
    """
    environ = os.environ if environ is None else environ
    found = [Deadline(time.time() + parse_walltime(walltime), "--walltime")] if walltime else []
    end = environ.get("SLURM_JOB_END_TIME", "")
    if end.isdigit():
        found.append(Deadline(float(end), "SLURM_JOB_END_TIME"))
    elif environ.get("SLURM_JOB_ID", "").isdigit():
        found += _ask_slurm(environ["SLURM_JOB_ID"])
    return min(found, key=lambda deadline: deadline.time, default=Deadline())


def _ask_slurm(job: str) -> list[Deadline]:
    """Ask Slurm how much time is left; nothing if it does not say."""
    try:
        answer = subprocess.run(
            ["squeue", "-h", "-j", job, "-o", "%L"], capture_output=True, text=True, timeout=_PATIENCE, check=True
        )
        return [Deadline(time.time() + parse_walltime(answer.stdout.strip()), "squeue")]
    except (OSError, subprocess.SubprocessError, ValueError):  # no squeue here, no answer, or "UNLIMITED"
        return []
