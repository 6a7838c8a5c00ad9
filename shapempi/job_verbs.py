"""What the verb about job scripts does: print, and return the exit code."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from shapempi.config import load
from shapempi.errors import ConfigError
from shapempi.io.atomic import refuse_existing
from shapempi.io.text import write_lines
from shapempi.job_size import MARGIN, JobSize, parse_time, size_job, write_time
from shapempi.jobscript import Job, array_script, bench_script, gather_script, job_script
from shapempi.measure.shapes import ENGINES
from shapempi.site import Site, read_site, site_names
from shapempi.survey.graph import make_plan
from shapempi.survey.inputs import find_inputs
from shapempi.units import BlockCost, predicted_seconds

__all__ = ["add_jobscript", "jobscript"]

#: What a script without a configuration, an example to edit, is made for: core-hours and units.
_EXAMPLE_HOURS, _EXAMPLE_UNITS = 1000.0, 10000


def add_jobscript(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the verb."""
    verb = commands.add_parser("jobscript", help="a script that runs a survey on a cluster, sized by its plan")
    verb.add_argument(
        "config",
        type=Path,
        metavar="CONFIG",
        nargs="?",
        help="TOML file; with --array a text file with one TOML file per line; an example to edit without",
    )
    verb.add_argument("--site", metavar="NAME|FILE", help="where it runs: a name of --list, or a TOML file")
    verb.add_argument("--nodes", type=int, metavar="N", help="nodes (what the plan needs)")
    verb.add_argument("--time", metavar="H:M:S", help="time limit (what the plan needs, with a margin)")
    kind = verb.add_mutually_exclusive_group()
    kind.add_argument("--array", type=int, metavar="K", help="an array of K jobs, and a job that gathers at the end")
    kind.add_argument("--bench", action="store_true", help="time the survey on 1, 2, 4, ... nodes instead")
    verb.add_argument(
        "--output", type=Path, metavar="FILE", help="file to write; the one that gathers an array is beside it"
    )
    verb.add_argument("--overwrite", action="store_true", help="replace a file that is already there")
    verb.add_argument("--list", action="store_true", help="print the sites that are known")
    verb.set_defaults(verb=jobscript)


def jobscript(options: argparse.Namespace) -> int:
    """Write a script for a batch system."""
    if options.list:
        for name in site_names():
            print(f"{name:12s} {read_site(name).title}")
        return 0
    if options.site is None:
        raise ConfigError(f"say where it runs: --site NAME, one of {', '.join(site_names())}, or a TOML file")
    site = read_site(options.site)
    if options.array is not None:
        return _write_array(options, site)
    job = _job(options, site)
    text = bench_script(site, job) if options.bench else job_script(site, job)
    if options.output is None:
        print(text, end="")
    else:
        write_lines(options.output, text.splitlines(), overwrite=options.overwrite)
        _say(site, job.size)
        print(options.output)
    return 0


def _write_array(options: argparse.Namespace, site: Site) -> int:
    """Write the scripts of an array: the patches, and what gathers them."""
    target = options.output
    if target is None:
        raise ConfigError("--array makes two scripts: say where with --output FILE")
    gather = target.with_name(f"gather{target.suffix}")
    if gather == target:
        raise ConfigError(f"--output {target}: this is the name of the script that gathers; choose another")
    if options.array < 1:
        raise ConfigError(f"--array {options.array}: an array has at least one job")
    configs = _patches(options.config, options.array)
    job = _job(options, site, configs)
    names = {"name": target.name, "gather": gather.name}
    scripts = {
        target: array_script(site, job, options.array, **names),
        gather: gather_script(site, job, options.array, **names),
    }
    for path in scripts:
        refuse_existing(path, overwrite=options.overwrite)
    for path, text in scripts.items():
        write_lines(path, text.splitlines(), overwrite=options.overwrite)
    _say(site, job.size)
    print(*scripts, sep="\n")
    return 0


def _bench_job(options: argparse.Namespace, site: Site, chosen: dict[str, int | None]) -> Job:
    """Return what a benchmark shall start: its survey is simulated in the job, so there is no plan to go by."""
    if load(options.config).simulation is None:
        raise ConfigError(f"{options.config}: a benchmark simulates its survey: give it a table [simulation]")
    size = size_job(site, 3600 * _EXAMPLE_HOURS, _EXAMPLE_UNITS, **chosen)
    about = ("EDIT: nodes and time are by rule of thumb; nobody knows how long the simulation takes here.",)
    return _located(Job(size, options.config, load(options.config).run.folder, about))


def _patches(path: Path | None, n_patch: int) -> list[Path]:
    """Read the list of configurations of an array; each must have a run folder of its own."""
    if path is None:
        return []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the list of configurations cannot be read: {error}") from error
    if len(lines) != n_patch:
        raise ConfigError(f"{path}: has {len(lines)} lines, but --array {n_patch} needs one configuration for each job")
    folders: dict[Path, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            raise ConfigError(f"{path}: line {number} is empty; give one configuration per line")
        folder = load(Path(line)).run.folder.absolute()
        if folder in folders:
            raise ConfigError(
                f"{path}: {folders[folder]} and {line} have the same run folder {folder}; give each its own"
            )
        folders[folder] = line
    return [Path(line) for line in lines]


def _job(options: argparse.Namespace, site: Site, patches: list[Path] | None = None) -> Job:
    """Return what a script shall start."""
    if options.time is not None and site.script == "plain":
        raise ConfigError(f"--time {options.time}: there is no batch system that would end a job: {site.title}")
    chosen = {"nodes": options.nodes, "seconds": None if options.time is None else parse_time(options.time)}
    if options.config is None:
        size = size_job(site, 3600 * _EXAMPLE_HOURS, _EXAMPLE_UNITS, **chosen)
        about = (
            "EDIT: `shapempi jobscript CONFIG --site NAME` fills in names, nodes and time from the survey's plan.",
        )
        return Job(size, Path("survey.toml" if patches is None else "patches.txt"), about=about)
    if options.bench:
        return _bench_job(options, site, chosen)
    core_seconds, n_unit = max(_work(path) for path in patches or [options.config])
    size = size_job(site, core_seconds, n_unit, **chosen)
    about = (
        f"{core_seconds / 3600:.2g} core-hours are predicted{' for the largest patch' if patches else ''}; with a "
        f"margin of {100 * (MARGIN - 1):.0f} % that takes {write_time(round(size.needed))} on {_counted(size.nodes)}.",
    )
    return _located(Job(size, options.config, Path() if patches else load(options.config).run.folder, about))


def _located(job: Job) -> Job:
    """Return a job that works in this folder, with this installation."""
    programs = Path(sys.executable).absolute().parent
    return replace(job, folder=Path.cwd(), programs=programs if (programs / "shapempi").exists() else None)


def _work(path: Path) -> tuple[float, int]:
    """Return the predicted time of a survey on one core [s] and how many units can be done at the same time."""
    settings = load(path)
    plan = make_plan(find_inputs(settings.input, settings.run.folder))
    return sum(predicted_seconds(plan, BlockCost(ENGINES[settings.shapes.engine].epoch_seconds)).values()), len(
        plan.ccds
    ) + len(plan.tiles)


def _counted(nodes: int) -> str:
    """Write a number of nodes."""
    return "1 node" if nodes == 1 else f"{nodes} nodes"


def _say(site: Site, size: JobSize) -> None:
    """Say what the script asks for, and what follows from the time limit."""
    if site.script == "plain":
        return
    limit = write_time(size.seconds)
    print(f"{_counted(size.nodes)} x {size.ranks_per_node} ranks, {limit}", file=sys.stderr)
    if size.n_job > 1:
        print(f"the work takes about {size.n_job} such jobs, one after the other", file=sys.stderr)
