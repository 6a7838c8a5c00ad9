"""Fetching the files of tiles and exposures by ID, checked, each on its own (specification, 2.6)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shapempi.errors import ConfigError, DataError, MissingInputError
from shapempi.field.image_name import ImageNames, NamePattern, pipeline_name
from shapempi.io.atomic import replacing
from shapempi.io.fits_check import check_fits
from shapempi.io.id_list import ImageId, written_id
from shapempi.io.remote_file import FileSource, RemoteFile

__all__ = ["Fetcher", "Outcome"]


@dataclass
class Outcome:
    """What became of all IDs.

    Attributes
    ----------
    n_fetched, n_kept : int
        Files that were brought, and that were there already.
    failures : dict of TileId or int to list of str
        Why files are missing, by ID.
    without_flag : list of TileId or int
        Exposures that have no flag file.
    """

    n_fetched: int = 0
    n_kept: int = 0
    failures: dict[ImageId, list[str]] = field(default_factory=dict)
    without_flag: list[ImageId] = field(default_factory=list)


@dataclass(frozen=True)
class Fetcher:
    """Brings files into a folder.

    Attributes
    ----------
    names : ImageNames
        The observatory's names.
    sources : mapping of str to FileSource
        Where the files of each role are; a role that is not in it is not fetched.
    folder : Path
        Where they shall be.
    pipeline_names : bool
        Whether they shall have the pipeline's names, not the observatory's.
    overwrite : bool
        Whether other files of these names may be replaced.
    n_try : int
        How often each file is tried.
    wait : float
        Time between two tries [s].
    """

    names: ImageNames
    sources: Mapping[str, FileSource]
    folder: Path
    pipeline_names: bool = False
    overwrite: bool = False
    n_try: int = 3
    wait: float = 5.0

    def fetch(self, images: Sequence[ImageId], progress: Callable[[int, int, str], None]) -> Outcome:
        """Fetch all files of some tiles and exposures; what fails does not stop the others.

        Parameters
        ----------
        images : sequence of TileId or int
            Which ones.
        progress : callable
            Called with (IDs done, IDs in all, ID).

        Returns
        -------
        Outcome
            What became of them; of files that failed, nothing is left.
        """
        outcome = Outcome()
        for n_done, image in enumerate(images, start=1):
            for role, pattern in self.names.roles(image).items():
                if role in self.sources:
                    self._fetch_file(image, role, pattern, outcome)
            progress(n_done, len(images), written_id(image))
        return outcome

    def _fetch_file(self, image: ImageId, role: str, pattern: NamePattern, outcome: Outcome) -> None:
        """Fetch one file, some times if need be."""
        source = self.sources[role]
        try:
            if self._tried(lambda: self._bring(source, source.find(pattern.names(image)), image, role)):
                outcome.n_fetched += 1
            else:
                outcome.n_kept += 1
        except MissingInputError as error:
            if role == "flag" and not self.names.flag_required:
                outcome.without_flag.append(image)
            else:
                outcome.failures.setdefault(image, []).append(str(error))
        except (DataError, ConfigError, OSError) as error:
            outcome.failures.setdefault(image, []).append(str(error))

    def _tried(self, action: Callable[[], bool]) -> bool:
        """Do something; try again what may be better the next time."""
        for _ in range(self.n_try - 1):
            try:
                return action()
            except (DataError, OSError):
                time.sleep(self.wait)
        return action()

    def _bring(self, source: FileSource, file: RemoteFile, image: ImageId, role: str) -> bool:
        """Bring one file under its final name; return False if it is there already.

        Raises
        ------
        ConfigError
            If something else has its name.
        MissingInputError, DataError, OSError
            If it cannot be brought, or is not whole.
        """
        name = pipeline_name(role, image, file.name) if self.pipeline_names else file.name
        path = self.folder / name
        if path.is_symlink() or path.exists():
            reason = "is not this file"
            if source.has_same(file, path):
                try:
                    check_fits(path, file.size)
                    return False
                except DataError as error:
                    reason = f"cannot be used ({error})"
            if not self.overwrite:
                raise ConfigError(
                    f"{path} is already there and {reason} (of {file.where}); remove it, or give --overwrite"
                )
        with replacing(path) as temporary:
            temporary.unlink(missing_ok=True)  # of an earlier try that was killed
            source.get(file, temporary)
            try:
                check_fits(temporary, file.size)
            except DataError as error:
                raise DataError(str(error).replace(str(temporary), file.where)) from error
        return True
