"""Links with the pipeline's names to the observatory's files (specification, 2.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shapempi.errors import ConfigError, MissingInputError
from shapempi.field.image_name import ImageNames, pipeline_name
from shapempi.io.id_list import ImageId, written_id

__all__ = ["Link", "make_links", "plan_links"]

#: Lines of a message that are shown.
_SHOWN = 10


@dataclass(frozen=True)
class Link:
    """A symbolic link.

    Attributes
    ----------
    path : Path
        The link.
    target : Path
        The file that it shall point to, with its whole path.
    """

    path: Path
    target: Path

    @property
    def is_there(self) -> bool:
        """Whether the link is there and points to its target."""
        return self.path.is_symlink() and self.path.resolve() == self.target.resolve()

    @property
    def obstacle(self) -> str:
        """What stands in the way of the link; empty if nothing does."""
        if self.is_there:
            return ""
        if self.path.is_symlink():
            return f"{self.path} is already there and points to {self.path.readlink()} instead of {self.target}"
        if self.path.exists():
            return f"{self.path} is already there and is no link to {self.target}"
        return ""


def plan_links(
    files: Mapping[ImageId, Path], names: ImageNames, folder: Path, bases: Mapping[str, str] | None = None
) -> list[Link]:
    """Work out the links of tiles or exposures, image by image, and check that every file is there.

    Parameters
    ----------
    files : mapping of TileId or int to Path
        Image files; weights and flags lie beside them.
    names : ImageNames
        The observatory's names.
    folder : Path
        Where the links shall be.
    bases : mapping of str to str, optional
        Beginnings of the links' names by role (image, weight, flag).

    Returns
    -------
    list of Link
        Image, weight and flag of each; no link of a flag that is not there.

    Raises
    ------
    MissingInputError
        If an image or a weight is not there; all are named.
    """
    links, missing = [], []
    for image, path in files.items():
        for role, pattern in names.roles(image).items():
            usual = [path] if role == "image" else [path.parent / name for name in pattern.names(image)]
            found = next((file for file in usual if file.is_file()), None)
            if found is None:
                if role != "flag":
                    missing.append(f"{usual[0]}: the {role} of {written_id(image)} does not exist; put it there")
                continue
            name = pipeline_name(role, image, found.name, (bases or {}).get(role, ""))
            links.append(Link(folder / name, found.absolute()))
    if missing:
        raise MissingInputError("\n".join([*_shown(missing), "nothing was linked"]))
    return links


def make_links(links: Sequence[Link]) -> int:
    """Make links; those that are there stay as they are.

    Parameters
    ----------
    links : sequence of Link
        The links.

    Returns
    -------
    int
        How many were made.

    Raises
    ------
    ConfigError
        If something else has the name of a link, or one cannot be made; then nothing has changed.
    """
    obstacles = [link.obstacle for link in links if link.obstacle]
    if obstacles:
        raise ConfigError("\n".join([*_shown(obstacles), "nothing was changed; remove them, or give another --output"]))
    made: list[Path] = []
    try:
        for link in links:
            if not link.is_there:
                link.path.symlink_to(link.target)
                made.append(link.path)
    except OSError as error:
        for path in made:
            path.unlink()
        raise ConfigError(f"{link.path}: the link cannot be made: {error.strerror}; nothing was changed") from error
    return len(made)


def _shown(lines: Sequence[str]) -> list[str]:
    """Return the first lines, and how many more there are."""
    return [*lines[:_SHOWN], *([f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else [])]
