"""The job script: templates of bash, filled from the description of a site and the size of a job.

A template stands in `sites/templates` under the kind of script and what it is for (`slurm.job`); `@{name}` in it is
replaced by the text of that name, which may be another template (`@{launch}`).
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from shapempi.errors import ConfigError
from shapempi.job_size import JobSize, write_time
from shapempi.site import RANK_MEMORY, Site

__all__ = ["Job", "array_script", "bench_script", "gather_script", "job_script"]

#: Templates that are parts of others.
_PARTS = ("environment", "nodes", "committed", "launch", "verdict")

#: Time limit of the job that gathers, per patch and beside that [s].
_GATHER_SECONDS, _GATHER_OVERHEAD = 300, 3300

_MARK = re.compile(r"@\{(\w+)\}")


@dataclass(frozen=True)
class Job:
    """What a script shall start.

    Attributes
    ----------
    size : JobSize
        Nodes and time.
    config : Path
        The configuration; for an array the list of configurations.
    run : Path
        The folder of its run; of no meaning for an array.
    about : tuple of str
        Comment lines on the size.
    folder : Path or None
        Folder in which the script works; that in which it is started if None.
    programs : Path or None
        Folder of the command `shapempi`; a line to edit if None.
    """

    size: JobSize
    config: Path
    run: Path = Path("run")
    about: tuple[str, ...] = ()
    folder: Path | None = None
    programs: Path | None = None


def job_script(site: Site, job: Job) -> str:
    """Return the script of one run.

    Parameters
    ----------
    site : Site
        Where it runs.
    job : Job
        What it starts.
    """
    return _fill(site, "job", _values(site, job))


def array_script(
    site: Site, job: Job, n_patch: int, *, name: str = "array.sbatch", gather: str = "gather.sbatch"
) -> str:
    """Return the script of an array of runs, one per line of a list of configurations.

    Parameters
    ----------
    site : Site
        Where it runs.
    job : Job
        What each of them starts; `config` is the list.
    n_patch : int
        Lines of the list.
    name, gather : str, optional
        Names of this script and of the one that gathers.

    Raises
    ------
    ConfigError
        If the site has no arrays of jobs.
    """
    return _fill(site, "array", _values(site, job) | _array_values(job, n_patch, name, gather))


def gather_script(
    site: Site, job: Job, n_patch: int, *, name: str = "array.sbatch", gather: str = "gather.sbatch"
) -> str:
    """Return the script that gathers all runs of an array; parameters and errors as those of `array_script`."""
    values = _values(site, job) | _array_values(job, n_patch, name, gather)
    seconds = min(_GATHER_OVERHEAD + _GATHER_SECONDS * n_patch, int(3600 * site.max_time))
    return _fill(site, "gather", values | {"gather_time": write_time(seconds)})


def bench_script(site: Site, job: Job) -> str:
    """Return the script that times a survey on 1, 2, 4, ... nodes.

    Parameters
    ----------
    site : Site
        Where it runs.
    job : Job
        What is timed, and the largest number of nodes.

    Raises
    ------
    ConfigError
        If the site's launcher is not srun, which starts ranks on a part of the nodes.
    """
    if not site.launcher.startswith("srun"):
        raise ConfigError(f"{site.title}: a benchmark needs `srun` as launcher, not `{site.launcher}`")
    return _fill(site, "bench", _values(site, job))


def _values(site: Site, job: Job) -> dict[str, str]:
    """Return the texts that fill the templates."""
    size = job.size
    programs = '"$HOME"/shapempi-venv/bin' if job.programs is None else shlex.quote(str(job.programs))
    edit = "    # EDIT: where `pip install` put shapempi" if job.programs is None else ""
    resources = [f"--nodes={size.nodes}", f"--ntasks-per-node={size.ranks_per_node}", "--cpus-per-task=1"]
    resources += [f"--mem-per-cpu={int(1024 * RANK_MEMORY)}M"] if site.ask_memory else []
    return {
        "title": site.title,
        "notes": _lines("# ", site.notes),
        "about": _lines("# ", job.about),
        "resources": _lines("#SBATCH ", resources),
        "options": _lines("#SBATCH ", site.sbatch),
        "time": write_time(size.seconds),
        "drain": str(site.drain),
        "n_node": str(size.nodes),
        "ranks_per_node": str(size.ranks_per_node),
        "config": _path(job.config),
        "run": _path(job.run),
        "enter": "" if job.folder is None else f"cd -- {shlex.quote(str(job.folder))} || exit 2",
        "modules": "\n".join(site.modules),
        "path": f'export PATH={programs}:"$PATH"{edit}',
        "scratch": _folder(site.scratch),
        "launcher": site.launcher,
    }


def _array_values(job: Job, n_patch: int, name: str, gather: str) -> dict[str, str]:
    """Return the texts that only the scripts of an array have."""
    return {
        "list": _path(job.config),
        "n_patch": str(n_patch),
        "array_name": shlex.quote(name),
        "gather_name": shlex.quote(gather),
    }


def _lines(start: str, texts: tuple[str, ...] | list[str]) -> str:
    """Write lines that begin alike."""
    return "\n".join(f"{start}{text}" for text in texts)


def _path(path: Path) -> str:
    """Quote a path; one that begins with a minus is no option."""
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


def _folder(text: str) -> str:
    """Quote a folder whose first part may be a variable."""
    variable, slash, rest = text.partition("/")
    if not variable:
        return shlex.quote(text)
    return f'"{variable}"' + (shlex.quote(slash + rest) if slash else "")


def _fill(site: Site, purpose: str, values: dict[str, str]) -> str:
    """Fill the template of a purpose; empty lines where nothing was to be filled in go."""
    folder = resources.files("shapempi") / "sites" / "templates"
    template = folder / f"{site.script}.{purpose}"
    if not template.is_file():
        raise ConfigError(f"{site.title}: there is no batch system for this script; choose a site with Slurm")
    parts = {name: (folder / name).read_text(encoding="utf-8") for name in _PARTS}
    return _replace(template.read_text(encoding="utf-8"), values, parts)


def _replace(template: str, values: dict[str, str], parts: dict[str, str]) -> str:
    """Replace the marks of a template; a line whose only mark is replaced by nothing goes."""
    lines = []
    for line in template.splitlines():
        alone = _MARK.fullmatch(line)
        if alone is not None and alone[1] in parts:
            lines.append(_replace(parts[alone[1]], values, parts).rstrip("\n"))
        elif alone is None or values[alone[1]]:
            lines.append(_MARK.sub(lambda mark: values[mark[1]], line))
    return "\n".join(lines) + "\n"
