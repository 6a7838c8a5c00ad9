"""One trial: a run that something happens to, its resumption, and the judgement of the result."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from shapempi.io.parts import part_files, scan
from shapempi.selftest import launch, miniature
from shapempi.selftest.launch import Process, Result

__all__ = ["Trial", "TrialError"]

#: Longest time of any command of a trial [s]: alone it takes 2 to 5.
DEADLINE = 120.0

#: How often a run is resumed before it is given up.
_N_RESUME = 8

#: Settings of trials: small blocks, limits and signs of life of seconds.
_RUN = """block_size = {block_size}
time_limit = 5.0
memory_limit = 1.0
drain_margin = 1.0
beat = 0.5
silence = {silence}
"""


class TrialError(AssertionError):
    """What was promised did not happen."""


@dataclass
class Trial:
    """A folder with a survey and a configuration, and the runs in it.

    Attributes
    ----------
    survey : Path
        The simulated survey; its files are linked, not changed.
    folder : Path
        Where this trial takes place.
    rng : numpy.random.Generator
        Chooses moments, ranks and files.
    options : tuple of str
        Options of the launcher.
    block_size : int
        Largest number of objects in a block.
    silence : float
        After which a silent rank is lost [s].
    codes : list of int
        Exit codes of the runs.
    n_fault : int
        Faults that were made.
    """

    survey: Path
    folder: Path
    rng: np.random.Generator
    options: tuple[str, ...] = ()
    block_size: int = 7
    silence: float = 30.0
    codes: list[int] = field(default_factory=list)
    n_fault: int = 0

    def __post_init__(self) -> None:
        settings = _RUN.format(block_size=self.block_size, silence=self.silence)
        self.folder.mkdir(parents=True)
        miniature.place(self.survey, self.folder, ("block_size = 25\n", settings))

    @property
    def run_folder(self) -> Path:
        """The folder of the run."""
        return self.folder / "run"

    def n_rank(self) -> int:
        """Choose a number of ranks."""
        return int(self.rng.choice([2, 3, 4, 5]))

    @contextmanager
    def running(self, n_rank: int | None, *arguments: str, **environ: str) -> Iterator[Process]:
        """Start a run; what is left of it at the end is killed."""
        words = launch.launcher(n_rank, self.options if n_rank is not None else ())
        command = [*words, sys.executable, "-m", "shapempi", "run", "chain.toml", *arguments]
        with launch.started(command, folder=self.folder, more=environ) as process:
            yield process

    def finish(self, process: Process) -> Result:
        """Wait for the end of a run, which must come by itself."""
        try:
            result = launch.finish(process, DEADLINE)
        except subprocess.TimeoutExpired as error:
            raise TrialError(f"a run did not end within {DEADLINE:.0f} s") from error
        self.codes.append(result.code)
        return result

    def run(self, n_rank: int | None, *arguments: str, **environ: str) -> Result:
        """Run to the end."""
        with self.running(n_rank, *arguments, **environ) as process:
            return self.finish(process)

    def at_random(self, process: Process) -> None:
        """Wait until a random number of units is committed, and a random moment more, or the run ends."""
        wanted = len(self.committed()) + int(self.rng.integers(0, 9))
        deadline = time.monotonic() + DEADLINE
        while len(self.committed()) < wanted and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(float(self.rng.uniform(0.0, 0.3)))

    def signal(self, pid: int, number: signal.Signals) -> None:
        """Send a signal; whether it meets a living process or not, it was meant."""
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        self.n_fault += 1

    def committed(self) -> set[str]:
        """Return the names of all commits."""
        return set(scan(self.run_folder).locations)

    def a_part_file(self) -> Path | None:
        """Choose a part file; None if there is none."""
        paths = part_files(self.run_folder)
        return paths[int(self.rng.integers(len(paths)))] if paths else None

    def an_input(self, ending: str) -> Path:
        """Choose an input file, and make it one of this trial's own that can be changed."""
        links = sorted((self.folder / "survey" / "exposures").glob(f"*p{ending}"))
        link = links[int(self.rng.integers(len(links)))]
        target = link.resolve()
        link.unlink()
        shutil.copy2(target, link)
        return link

    def verb(self, *arguments: str, **environ: str) -> Result:
        """Run another verb of the program."""
        command = [sys.executable, "-m", "shapempi", *arguments]
        with launch.started(command, folder=self.folder, more=environ) as process:
            return launch.finish(process, DEADLINE)

    def resume(self, *arguments: str) -> None:
        """Run again until the run is complete."""
        for _ in range(_N_RESUME):
            result = self.run(self.n_rank(), *arguments)
            if result.code == 0:
                return
        raise TrialError(f"not complete after {_N_RESUME} times (exit codes {self.codes}): {result.err[-800:]}")

    def judge(self, reference: Mapping[str, object]) -> None:
        """Gather, and compare every column with the uninterrupted run, bit for bit."""
        result = self.verb("gather", "run", "--overwrite")
        if result.code != 0:
            raise TrialError(f"gather ended with exit code {result.code}: {result.err[-800:]}")
        found = miniature.tables(self.run_folder / "catalogue.h5")
        different = sorted(name for name in found.keys() | reference.keys() if found.get(name) != reference.get(name))
        if different:
            raise TrialError(f"{len(different)} columns differ from those of the uninterrupted run: {different[:5]}")

    def demand(self, true: bool, what: str) -> None:
        """Raise if something that was promised is not so."""
        if not true:
            raise TrialError(what)
