"""The campaign: faults one after the other, each in a run of its own that is resumed and compared with a whole one."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from shapempi.selftest import launch, miniature
from shapempi.selftest.faults import FAULTS, Fault
from shapempi.selftest.trial import DEADLINE, Trial, TrialError

__all__ = ["Campaign", "Finding", "run_campaign", "try_fault"]


@dataclass(frozen=True)
class Finding:
    """What a trial showed.

    Attributes
    ----------
    number, name : int, str
        The fault.
    n_fault : int
        How often it was made.
    codes : tuple of int
        Exit codes of the runs, resumptions included.
    seconds : float
        Time of the trial [s].
    problem : str
        What was not as promised; "" if all was.
    """

    number: int
    name: str
    n_fault: int
    codes: tuple[int, ...]
    seconds: float
    problem: str


@dataclass
class Campaign:
    """All findings.

    Attributes
    ----------
    mpi : str
        The MPI library.
    options : tuple of str
        Options of the launcher.
    findings : list of Finding
        One per trial.
    """

    mpi: str
    options: tuple[str, ...]
    findings: list[Finding] = field(default_factory=list)

    @property
    def n_problem(self) -> int:
        """Trials that were not as promised."""
        return sum(bool(finding.problem) for finding in self.findings)

    def lines(self) -> list[str]:
        """Return the table, one line per kind of fault, and the problems."""
        n_fault = sum(finding.n_fault for finding in self.findings)
        text = [
            f"{self.mpi} {' '.join(self.options)}".strip(),
            "",
            "| fault | | trials | faults made | runs | ended by itself, same catalogue | longest [s] |",
            "|---|---|---|---|---|---|---|",
        ]
        for number, name in dict.fromkeys((finding.number, finding.name) for finding in self.findings):
            mine = [finding for finding in self.findings if finding.name == name]
            good = sum(not finding.problem for finding in mine)
            text.append(
                f"| {number} | {name} | {len(mine)} | {sum(f.n_fault for f in mine)} "
                f"| {sum(len(f.codes) for f in mine)} | {good} of {len(mine)} | {max(f.seconds for f in mine):.0f} |"
            )
        n = len(self.findings)
        text += ["", f"{n} trials, {n_fault} faults, {n - self.n_problem} as promised"]
        text += [f"  {finding.name}: {finding.problem}" for finding in self.findings if finding.problem]
        return text

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            "mpi": self.mpi,
            "options": list(self.options),
            "findings": [asdict(finding) for finding in self.findings],
        }


def run_campaign(
    folder: Path,
    *,
    n_trial: int = 1,
    seed: int = 1,
    numbers: Sequence[int] = (),
    options: Sequence[str] = (),
    keep: bool = False,
    report: Callable[[str], None] = print,
) -> Campaign:
    """Make every fault, several times.

    Parameters
    ----------
    folder : Path
        An empty or new folder; a survey of 5 MB is simulated in it.
    n_trial : int, optional
        Trials of each fault.
    seed : int, optional
        Seed of what is chosen at random.
    numbers : sequence of int, optional
        Only faults with these numbers; all by default.
    options : sequence of str, optional
        Options of the launcher, such as `--with-ft ulfm`.
    keep : bool, optional
        Keep the folders of trials that went well, too.
    report : callable, optional
        Is told how each trial ended.

    Returns
    -------
    Campaign
        What was found.

    Raises
    ------
    TrialError
        If the uninterrupted run, with which all others are compared, fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    survey, reference = _reference(folder)
    campaign = Campaign(_library(), tuple(options))
    chosen = [fault for fault in FAULTS if not numbers or fault.number in numbers]
    for repeat in range(n_trial):
        for index, fault in enumerate(chosen):
            rng = np.random.default_rng([seed, repeat, FAULTS.index(fault)])
            place = folder / f"trial-{repeat:03d}-{index:02d}"
            finding = try_fault(fault, survey, place, rng, tuple(options), reference)
            campaign.findings.append(finding)
            report(
                f"{len(campaign.findings)}/{n_trial * len(chosen)} {fault.name}: {finding.problem or 'as promised'}, "
                f"exit codes {' '.join(map(str, finding.codes))}, {finding.seconds:.0f} s"
            )
            if not finding.problem and not keep:
                shutil.rmtree(place)
    return campaign


def _reference(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Simulate the survey and measure it undisturbed, in one process."""
    for name in ("sky", "reference"):
        shutil.rmtree(folder / name, ignore_errors=True)
    sky = folder / "sky"
    sky.mkdir()
    miniature.configure(sky)
    command = [sys.executable, "-m", "shapempi"]
    with launch.started([*command, "simulate", "chain.toml"], folder=sky) as process:
        if (result := launch.finish(process, DEADLINE)).code != 0:
            raise TrialError(f"the survey cannot be simulated: {result.err}")
    trial = Trial(sky / "survey", folder / "reference", np.random.default_rng(0), block_size=25)
    if (result := trial.run(None)).code != 0 or (result := trial.verb("gather", "run")).code != 0:
        raise TrialError(f"the undisturbed run failed: {result.err}")
    return sky / "survey", dict(miniature.tables(trial.run_folder / "catalogue.h5"))


def try_fault(
    fault: Fault,
    survey: Path,
    place: Path,
    rng: np.random.Generator,
    options: tuple[str, ...],
    reference: dict[str, Any],
) -> Finding:
    """Make a fault in a run of its own, resume, compare.

    Parameters
    ----------
    fault : Fault
        The fault.
    survey : Path
        The survey in miniature.
    place : Path
        A new folder.
    rng : numpy.random.Generator
        Chooses moments, ranks and files.
    options : tuple of str
        Options of the launcher.
    reference : dict
        `miniature.tables` of the catalogue of an undisturbed run.

    Returns
    -------
    Finding
        What became of it.
    """
    start = time.monotonic()
    trial = Trial(survey, place, rng, options, fault.block_size, fault.silence)
    problem = ""
    try:
        fault.make(trial)
        trial.resume(*fault.arguments, "--retry-quarantined")
        trial.judge(reference)
    except TrialError as error:
        problem = str(error)
    return Finding(fault.number, fault.name, trial.n_fault, tuple(trial.codes), time.monotonic() - start, problem)


def _library() -> str:
    """Return the name of the MPI library of this Python, from a process of its own."""
    program = "from mpi4py import MPI; print(MPI.Get_library_version().splitlines()[0].strip('\\0 '))"
    with launch.started([sys.executable, "-c", program]) as process:
        return " ".join(launch.finish(process).out.split())
