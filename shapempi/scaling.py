"""Weak and strong scaling: the same command on more and more ranks, on surveys that are simulated for it."""

from __future__ import annotations

import math
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from shapempi.config import Config, load, to_toml
from shapempi.errors import ConfigError, MeasurementError
from shapempi.ids import TileId
from shapempi.report.scaling import Scaling, ScalingRun
from shapempi.sim.write import SurveyFiles

__all__ = ["Launcher", "grown", "measure_scaling", "placed"]

#: Distance of the tiles that weak scaling adds [deg], so that no camera sees two groups.
_DISTANCE = 2.0
#: Time that a launcher gets to end its ranks before it is killed [s].
_GRACE = 10.0


@dataclass(frozen=True)
class Launcher:
    """What starts ranks.

    Attributes
    ----------
    words : tuple of str
        The command before the program; `{n}` stands for the number of ranks.
    deadline : float
        Longest time that a command may take [s].
    """

    words: tuple[str, ...]
    deadline: float

    @classmethod
    def parse(cls, text: str, deadline: float) -> Launcher:
        """Read a launcher as it is typed.

        Raises
        ------
        ConfigError
            If it is no command, does not say where the number of ranks goes, or its program is not there.
        """
        try:
            words = tuple(shlex.split(text))
        except ValueError as error:
            raise ConfigError(f"--launcher {text!r} cannot be read: {error}") from error
        if not words or not any("{n}" in word for word in words):
            raise ConfigError(f"--launcher {text!r} must say where the number of ranks goes: 'mpirun -n {{n}}'")
        if shutil.which(words[0]) is None:
            raise ConfigError(f"--launcher {text!r}: there is no program {words[0]}; name the one of your MPI library")
        return cls(words, deadline)

    def run(self, n_rank: int, arguments: Sequence[str | Path], log: Path) -> float:
        """Run shapempi on some ranks.

        Parameters
        ----------
        n_rank : int
            Ranks.
        arguments : sequence of str or Path
            Its command line.
        log : Path
            File that gets what it says.

        Returns
        -------
        float
            The time that it took [s].

        Raises
        ------
        MeasurementError
            If it does not end in time, or with another exit code than 0.
        """
        launcher = [word.replace("{n}", str(n_rank)) for word in self.words]
        command = [*launcher, sys.executable, "-m", "shapempi", *map(str, arguments)]
        start = time.monotonic()
        with log.open("wb") as said:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, start_new_session=True
            )
            try:
                code = process.wait(self.deadline)
            except subprocess.TimeoutExpired as error:
                raise MeasurementError(
                    f"{log}: {shlex.join(command)} did not end within {self.deadline:g} s; give it more (--deadline)"
                ) from error
            finally:
                _end(process)
        if code != 0:
            raise MeasurementError(f"{log}: {shlex.join(command)} ended with exit code {code}; the log says why")
        return time.monotonic() - start


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a launcher that still runs, and with it its ranks: with a word first, then without."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)


def grown(settings: Config, factor: int) -> Config:
    """Return a configuration with so many times as many simulated tiles, each with exposures of its own.

    Parameters
    ----------
    settings : Config
        A configuration with [simulation].
    factor : int
        How many times as many.

    Raises
    ------
    ConfigError
        If the survey's grid has no place for them.
    """
    simulation = settings.simulation
    assert simulation is not None
    ids = simulation.tile_ids
    grid = settings.input.tile_grid
    stride = max(tile.x for tile in ids) - min(tile.x for tile in ids) + math.ceil(_DISTANCE / grid.step)
    copies = [TileId(tile.x + stride * copy, tile.y) for copy in range(factor) for tile in ids]
    if not all(grid.has(tile) for tile in copies):
        raise ConfigError(f"{len(copies)} tiles have no place east of {ids[0]}: begin farther west, or use fewer ranks")
    tiles = tuple(str(tile) for tile in copies)
    return settings.model_copy(update={"simulation": simulation.model_copy(update={"tiles": tiles})})


def placed(settings: Config, survey: Path, run: Path) -> Config:
    """Return a configuration whose survey and run are in other folders."""
    files = SurveyFiles(survey)
    inputs = {
        "exposure_folder": files.exposures,
        "tile_folder": files.tiles,
        "star_catalogue": None if settings.input.star_catalogue is None else files.star_catalogue,
    }
    return settings.model_copy(
        update={
            "input": settings.input.model_copy(update=inputs),
            "run": settings.run.model_copy(update={"folder": run}),
        }
    )


def measure_scaling(
    path: Path,
    *,
    workers: Sequence[int],
    weak: bool,
    launcher: Launcher,
    report: Callable[[str], None] = lambda _: None,
) -> Scaling:
    """Simulate surveys and measure each of them with a number of workers, one after the other.

    Parameters
    ----------
    path : Path
        Configuration with [simulation]; everything is made in its run folder.
    workers : sequence of int
        Numbers of ranks that do units; each run has rank 0 besides.
    weak : bool
        With n workers measure n times the tiles of the configuration; otherwise the same survey every time.
    launcher : Launcher
        What starts the ranks.
    report : callable, optional
        Gets a line before each step.

    Returns
    -------
    Scaling
        The runs.

    Raises
    ------
    ConfigError
        If there is nothing to simulate, or something is in the run folder.
    MeasurementError
        If a command fails or does not end.
    """
    settings = load(path)
    if settings.simulation is None:
        raise ConfigError(f"{path}: there is no table [simulation]; configs/scaling.toml has one for this")
    base = settings.run.folder.absolute()
    if base.exists() and (not base.is_dir() or any(base.iterdir())):
        raise ConfigError(f"{base} is not empty: remove it, or name another run.folder in {path}")
    counts = sorted(set(workers))
    surveys = {n: grown(settings, n if weak else 1) for n in counts}
    try:
        base.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{base}: the folder cannot be made: {error.strerror}") from error
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    runs = []
    for n in counts:
        name = f"{n:04d}"
        folder = base / (f"survey-{name}" if weak else "survey")
        mine = placed(surveys[n], folder, base / f"run-{name}")
        config = base / f"run-{name}.toml"
        config.write_text(to_toml(mine), encoding="utf-8")
        assert mine.simulation is not None
        n_tile = len(mine.simulation.tiles)
        if not folder.exists():
            report(f"simulation of {n_tile} tiles")
            launcher.run(max(2, min(max(counts), cores)), ["simulate", config], base / f"simulate-{name}.log")
        report(f"run with {n} workers")
        seconds = launcher.run(n + 1, ["run", config], base / f"run-{name}.log")
        runs.append(ScalingRun.read(mine.run.folder, n_worker=n, n_tile=n_tile, command=seconds))
    return Scaling(tuple(runs), weak, cores)
