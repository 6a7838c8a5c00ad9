"""Processor time of functions, what a core can do, and which machine that was."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from shapempi import __version__
from shapempi.kernels import _isa, _peak

__all__ = ["Spread", "machine", "peak_rate", "take_turns"]

#: Time that one measurement of the peak takes [s], and how many there are.
_PEAK_SECONDS, _N_PEAK = 0.05, 7

_PACKAGES = ("numpy", "scipy", "galsim", "numba")


@dataclass(frozen=True)
class Spread:
    """Repeated measurements of one number.

    Attributes
    ----------
    median, low, high : float
        The median, and the values below which one sixth and five sixths of the measurements are.
    n : int
        Measurements.
    """

    median: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of values, at least one."""
        low, median, high = (float(value) for value in np.quantile(values, [1 / 6, 1 / 2, 5 / 6]))
        return cls(median, low, high, len(values))

    def scaled(self, factor: float) -> Spread:
        """Return the spread of the values times a factor."""
        return Spread(self.median * factor, self.low * factor, self.high * factor, self.n)


def take_turns(
    functions: Mapping[str, Callable[[], Any]],
    n: int,
    *,
    before: bool = True,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, Spread]:
    """Measure the processor time of functions, which take turns.

    On a machine that others use, too, its speed drifts: functions that take turns are slowed down alike, so that
    their ratios hold.

    Parameters
    ----------
    functions : mapping of str to callable
        What to measure; each takes no argument.
    n : int
        Turns.
    before : bool, optional
        Call each once before, for what is done only once (compilation, first pages).
    clock : callable, optional
        Tells the time [s]; by default the processor time of all threads of the process.

    Returns
    -------
    dict of str to Spread
        Time of one call [s].
    """
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    if before:
        for function in functions.values():
            function()
    for _ in range(n):
        for name, function in functions.items():
            start = clock()
            function()
            seconds[name].append(clock() - start)
    return {name: Spread.of(values) for name, values in seconds.items()}


def peak_rate(*, single: bool = False) -> float:
    """Return the multiply-adds per second that one core reaches in registers, the best of some measurements."""
    n_round, best = 1000, 0.0
    while True:
        start = time.process_time()
        _peak.multiply_adds(n_round, single=single)
        if time.process_time() - start > _PEAK_SECONDS:
            break
        n_round *= 2
    for _ in range(_N_PEAK):
        start = time.process_time()
        count, _ = _peak.multiply_adds(n_round, single=single)
        best = max(best, count / (time.process_time() - start))
    return best


def machine() -> dict[str, str]:
    """Return what to say about this machine and the versions of what runs on it."""
    known = {
        "processor": _processor(),
        "instruction set": _isa.available()[-1],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "shapempi": __version__,
    }
    return known | {name: found for name in _PACKAGES if (found := _version(name))}


def _processor() -> str:
    """Return the processor's name, as far as the system tells."""
    names = [platform.processor()]
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        cpu = {name.strip(): value.strip() for name, value in fields.items()}
        names.insert(0, f"{cpu['model name']}, family {cpu['cpu family']} model {cpu['model']}")
    except (OSError, KeyError):  # no Linux, or no x86: the system's short name has to do
        pass
    return next((name for name in names if name), "unknown")


def _version(name: str) -> str:
    """Return the version of a package, empty if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
