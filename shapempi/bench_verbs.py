"""What the verbs of `bench` do: print, and return the exit code."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Protocol

from shapempi.bench.psf import ENGINES, bench_psf
from shapempi.bench.shapes import bench_shapes
from shapempi.errors import ConfigError

__all__ = ["PSF_ENGINES", "psf", "shapes"]

#: What `bench psf --engine` may name.
PSF_ENGINES = tuple(ENGINES)


class _Result(Protocol):
    """What a benchmark found."""

    def lines(self) -> list[str]:
        """Return the tables."""
        ...

    def as_dict(self) -> dict[str, Any]:
        """Return all numbers."""
        ...


def shapes(options: argparse.Namespace) -> int:
    """Time the shape measurement."""
    _check(options, "objects", "repeats", "slow_repeats")
    result = bench_shapes(
        n_object=options.objects, n_repeat=options.repeats, n_slow=options.slow_repeats, report=_report
    )
    return _write(result, options.json)


def psf(options: argparse.Namespace) -> int:
    """Time the drawing and the fits of PSF models."""
    _check(options, "stamps", "stars", "repeats", "slow_repeats")
    result = bench_psf(
        n_stamp=options.stamps,
        n_star=options.stars,
        n_repeat=options.repeats,
        n_slow=options.slow_repeats,
        engines=tuple(options.engine or PSF_ENGINES),
        report=_report,
    )
    return _write(result, options.json)


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _check(options: argparse.Namespace, *names: str) -> None:
    """Refuse numbers below one and a file that cannot be made, before anything is timed."""
    for name in names:
        if getattr(options, name) < 1:
            raise ConfigError(f"--{name.replace('_', '-')} must be at least 1, not {getattr(options, name)}")
    if options.json is not None and not options.json.parent.is_dir():
        raise ConfigError(f"--json {options.json}: there is no folder {options.json.parent}; make it")


def _write(result: _Result, path: Path | None) -> int:
    """Print the tables and write the numbers."""
    print("\n".join(result.lines()))
    if path is not None:
        try:
            path.write_text(json.dumps(result.as_dict(), indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error
    return 0
