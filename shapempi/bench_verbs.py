"""What the verbs of `bench` do: print, and return the exit code."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from shapempi.bench.psf import ENGINES, bench_psf
from shapempi.bench.shapes import bench_shapes
from shapempi.bench.survey_law import LAWS
from shapempi.errors import ConfigError
from shapempi.farm_bench import bench_farm
from shapempi.mpi.comm import Comm, connect
from shapempi.mpi.nursery import Nursery
from shapempi.mpi.supervisor import serve
from shapempi.mpi_bench import bench_master, dismiss, stand_by
from shapempi.scaling import Launcher, measure_scaling

__all__ = ["COST_LAWS", "PSF_ENGINES", "psf", "scaling", "scheduler", "shapes"]

#: What `bench psf --engine` may name.
PSF_ENGINES = tuple(ENGINES)
#: What `bench scheduler --law` may name.
COST_LAWS = tuple(LAWS)

_Number = TypeVar("_Number", int, float)


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


def scheduler(options: argparse.Namespace) -> int:
    """Time the master with the ranks that there are, and simulate it with those that there are not."""
    failure: ConfigError | None = None
    work: dict[str, Any] | None = None
    nursery = Nursery.start(serve)  # before MPI is there
    with connect() as comm:
        if comm.rank == 0:
            try:
                work = _simulations(options)
            except ConfigError as error:
                failure = error
        work = comm.share(work)
        if work is not None and comm.rank > 0:
            bench_master(comm, options.units, nursery)
            stand_by(comm)
        elif work is not None:
            _schedule(comm, options, work, nursery)
            dismiss(comm)
    nursery.close()
    if failure is not None:
        raise failure  # on rank 0 only: one message
    return 0


def _simulations(options: argparse.Namespace) -> dict[str, Any]:
    """Return what is to be simulated."""
    _check(options, "units", "tiles", "most_units")
    if not 0.0 <= options.assign_us < math.inf:
        raise ConfigError(f"--assign-us must be a time of at least 0 us, not {options.assign_us}")
    if options.seed < 0:
        raise ConfigError(f"--seed must not be negative: {options.seed}")
    ranks, blocks = _numbers(options, "ranks", int), _numbers(options, "blocks", float)
    if min(ranks) < 2:
        raise ConfigError(f"--ranks {options.ranks}: rank 0 does no units, so there must be at least 2 ranks")
    return {
        "ranks": ranks,
        "blocks": blocks,
        "n_tile": options.tiles,
        "law": options.law,
        "assign_us": options.assign_us,
        "most_units": options.most_units,
        "seed": options.seed,
    }


def _schedule(comm: Comm, options: argparse.Namespace, work: dict[str, Any], nursery: Nursery) -> None:
    """Measure and simulate on rank 0; print and write."""
    numbers: dict[str, Any] = {}
    if comm.size > 1:
        master = bench_master(comm, options.units, nursery)
        assert master is not None
        numbers["master"] = master.as_dict()
        print("\n".join([*master.lines(), ""]), flush=True)
    else:
        _report("one process: to time rank 0 itself start `mpirun -n 3 shapempi bench scheduler`; simulated runs only")
    farm = bench_farm(**work, report=_report)
    print("\n".join(farm.lines()), flush=True)
    _save({**numbers, "simulation": farm.as_dict()}, options.json)


def scaling(options: argparse.Namespace) -> int:
    """Run a simulated survey on more and more ranks."""
    connect(use_mpi=False)  # says so if a launcher has started this: it starts the ranks itself
    _check(options)
    workers = _numbers(options, "ranks", int)
    if not options.deadline > 0.0:
        raise ConfigError(f"--deadline must be more than 0 seconds, not {options.deadline}")
    if options.figure is not None and not options.figure.parent.is_dir():
        raise ConfigError(f"--figure {options.figure}: there is no folder {options.figure.parent}; make it")
    launcher = Launcher.parse(options.launcher, options.deadline)
    result = measure_scaling(options.config, workers=workers, weak=options.weak, launcher=launcher, report=_report)
    if options.figure is not None:
        result.draw(options.figure)
    return _write(result, options.json)


def _numbers(options: argparse.Namespace, name: str, kind: Callable[[str], _Number]) -> list[_Number]:
    """Read an option that lists numbers, all above zero."""
    text = getattr(options, name)
    try:
        numbers = [kind(word) for word in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(0 < number < math.inf for number in numbers):
        raise ConfigError(f"--{name} {text!r} must be numbers above 0 with commas between them")
    return numbers


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
    _save(result.as_dict(), path)
    return 0


def _save(numbers: dict[str, Any], path: Path | None) -> None:
    """Write the numbers, if a file was named."""
    if path is not None:
        try:
            path.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error
