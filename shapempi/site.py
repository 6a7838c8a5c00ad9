"""A site: a computer or cluster as its job scripts must know it, read from a small TOML file.

The files of the sites that we know are in the folder `sites`; a user writes one of their own with the same keys.
"""

from __future__ import annotations

import difflib
from importlib import resources
from pathlib import Path
from typing import Literal

from pydantic import model_validator

from shapempi.errors import ConfigError
from shapempi.params import REQUIRED, Params, key, parse

__all__ = ["RANK_MEMORY", "Site", "read_site", "site_names"]

#: Memory that a rank needs [GiB].
RANK_MEMORY = 1.5

_ONE_LINE = r"^[^\n]+$"

#: A folder, or a variable of the batch system that holds one; a quote or a backslash is an oversight.
_FOLDER = r"^(/|\$[A-Za-z_][A-Za-z0-9_]*)[^\n\"'`$\\]*$"


class Site(Params):
    """A computer or cluster on which shapempi runs."""

    title: str = key(REQUIRED, "What and where it is.", pattern=_ONE_LINE)
    notes: tuple[str, ...] = key((), "Comment lines at the head of every script: what to know and to edit.")
    script: Literal["slurm", "plain"] = key(
        REQUIRED, "Kind of script: `slurm` for sbatch, `plain` for a shell without a batch system."
    )
    cores_per_node: int = key(REQUIRED, "Cores of a node; a rank takes one.", unit="core", ge=1, le=4096)
    memory_per_node: float = key(REQUIRED, "Memory of a node that jobs may use.", unit="GiB", ge=RANK_MEMORY, le=65536)
    max_nodes: int = key(1, "Most nodes of a job.", unit="node", ge=1)
    max_time: float = key(24.0, "Longest time of a job.", unit="h", gt=0, le=8760)
    drain: int = key(
        300, "Time before the limit at which a job finishes its units and starts no more.", unit="s", ge=10, le=86400
    )
    launcher: str = key(
        REQUIRED,
        'Command that starts the ranks, as in a shell: without a batch system it has `"$RANKS"`.',
        pattern=_ONE_LINE,
    )
    modules: tuple[str, ...] = key((), "Shell lines before anything else: modules to load.")
    sbatch: tuple[str, ...] = key((), "More options of sbatch, one per `#SBATCH` line.")
    ask_memory: bool = key(True, "Ask for memory per core; false where it comes with the cores.")
    scratch: str = key("/tmp", "Folder for temporary files, or the variable that names it.", pattern=_FOLDER)

    @model_validator(mode="after")
    def _lines_fit(self) -> Site:
        """Refuse lines that would break out of their place in a script."""
        for name in ("notes", "modules", "sbatch"):
            for line in getattr(self, name):
                if "\n" in line or not line.strip():
                    raise ValueError(f"{name}: each must be one line of text, not {line!r}")
        for line in self.sbatch:
            if not line.startswith("-"):
                raise ValueError(f"sbatch: an option begins with a minus, not {line!r}")
        if self.script == "plain" and (self.max_nodes > 1 or self.sbatch):
            raise ValueError("without a batch system there is one node (max_nodes = 1) and there are no sbatch lines")
        return self

    @property
    def ranks_per_node(self) -> int:
        """Return how many ranks fit on a node, by cores and memory."""
        return min(self.cores_per_node, int(self.memory_per_node / RANK_MEMORY))


def site_names() -> list[str]:
    """Return the names of the sites that come with shapempi, sorted."""
    folder = resources.files("shapempi") / "sites"
    return sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml"))


def read_site(name: str) -> Site:
    """Read the description of a site.

    Parameters
    ----------
    name : str
        A name of `site_names`, or the path of a TOML file.

    Returns
    -------
    Site
        The checked description.

    Raises
    ------
    ConfigError
        If there is no such site or file, or a key of it is wrong.
    """
    if not name.endswith(".toml"):
        known = site_names()
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            cure = f"did you mean {near[0]!r}? " if near else ""
            raise ConfigError(
                f"there is no site {name!r}; {cure}known: {', '.join(known)}; a file of your own ends with .toml"
            )
        text = (resources.files("shapempi") / "sites" / f"{name}.toml").read_text(encoding="utf-8")
        return parse(Site, text, f"sites/{name}.toml")
    try:
        text = Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{name}: the description of the site cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: not a TOML file: {error}") from error
    return parse(Site, text, name)
