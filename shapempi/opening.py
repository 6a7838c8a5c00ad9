"""The start of a run on rank 0: everything that can be wrong is found out before any work, and the folder is taken."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from shapempi import __version__
from shapempi.config import Config, load
from shapempi.crew import Setup
from shapempi.description import KEPT_NAME, read_description
from shapempi.engines.detection import make_detector
from shapempi.engines.detection_engine import DetectionEngine
from shapempi.engines.psf import make_engine
from shapempi.errors import ConfigError
from shapempi.fault import Fault
from shapempi.io.runfolder import RunFolder
from shapempi.masking import RecipeFiles, read_recipe
from shapempi.measure.detection_table import DETECTION_DTYPE
from shapempi.measure.mask import MaskRecipe
from shapempi.measure.setools.program import Program
from shapempi.measure.shapes import ENGINES
from shapempi.measure.stars import check_program
from shapempi.selection import read_selection
from shapempi.star_catalogue import StarsFound, find_stars
from shapempi.survey.fingerprint import changed_files, fingerprint
from shapempi.survey.footprint_store import FootprintStore
from shapempi.survey.graph import SurveyPlan, make_plan
from shapempi.survey.inputs import SurveyInputs, find_inputs, store_of
from shapempi.survey.placed_exposure import PlacedExposure
from shapempi.survey.sky_masks import open_sky_masks

__all__ = ["ACCEPTABLE", "Draft", "Opening", "draft_run", "open_run"]

_LOG = logging.getLogger(__name__)

#: What may have changed since a run began, if the user accepts it.
ACCEPTABLE = ("config", "code", "inputs")

#: File of the run folder that says what the inputs looked like.
_INPUTS = "inputs.json"
#: Changed files that a message names.
_SHOWN = 5


@dataclass(frozen=True)
class Draft:
    """A run of which all is known but where its exposures lie.

    Attributes
    ----------
    path : Path
        Configuration file.
    config : Config
        What it says.
    inputs : SurveyInputs
        The files of the survey.
    stars : StarsFound or None
        The bright stars.
    masks : dict of str to MaskRecipe
        What is masked on a `ccd` and on a `tile`.
    selection : Program
        The star selection.
    digest : str
        Fingerprint of everything that decides the catalogue.
    """

    path: Path
    config: Config
    inputs: SurveyInputs
    stars: StarsFound | None
    masks: dict[str, MaskRecipe]
    selection: Program
    digest: str


@dataclass(frozen=True)
class Opening:
    """A run that can begin.

    Attributes
    ----------
    setup : Setup
        What every rank must know.
    plan : SurveyPlan
        The units.
    folder : RunFolder
        The run's folder, held by this process.
    accepted : tuple of str
        What the user accepts to have changed.
    """

    setup: Setup
    plan: SurveyPlan
    folder: RunFolder
    accepted: tuple[str, ...] = ()


def draft_run(path: Path) -> Draft:
    """Read the configuration, find and check all inputs; nothing is written.

    Parameters
    ----------
    path : Path
        Configuration file.

    Returns
    -------
    Draft
        The run, as far as it is known without the exposures' headers.

    Raises
    ------
    ShapempiError
        If the run cannot start: each error names the file or the key, and the cure.
    """
    config = load(path)
    Fault.read(os.environ, config.run.folder, os.getpid())  # one that nobody understands says so now
    ENGINES[config.shapes.engine]()  # one that is not installed says so before any work
    make_engine(config.psf)
    detectors = [
        make_detector(config.exposure.detection, "exposure.detection"),
        make_detector(config.tile.detection, "tile.detection"),
    ]
    for note in dict.fromkeys(note for detector in detectors for note in detector.notes):
        _LOG.warning(note)
    selection = read_selection(Path(config.stars.selection) if config.stars.selection else None)
    check_program(selection, config.stars, DETECTION_DTYPE)
    inputs = find_inputs(config.input, config.run.folder)
    catalogue = config.input.star_catalogue
    stars = None if catalogue is None else find_stars(catalogue, config.run.folder)
    masks = _masks(config)
    open_sky_masks(config.sky_masks)  # gather needs them: what is wrong with them is said now
    recipes = {kind: found.recipe for kind, found in masks.items()}
    digest = config.digest(*_contents(config, selection, stars, masks, detectors))
    return Draft(path, config, inputs, stars, recipes, selection, digest)


def open_run(draft: Draft, placed: Mapping[int, PlacedExposure], accept: Collection[str] = ()) -> Opening:
    """Plan the units and take the run's folder.

    Parameters
    ----------
    draft : Draft
        The run.
    placed : mapping of int to PlacedExposure
        Where its exposures lie.
    accept : collection of str, optional
        Of `ACCEPTABLE`: what may differ from when the folder's units were made.

    Returns
    -------
    Opening
        The run.

    Raises
    ------
    ShapempiError
        If the run cannot start: each error names the file or the key, and the cure.
    """
    config, inputs = draft.config, draft.inputs
    plan = make_plan(inputs, placed)
    folder = RunFolder.open(config.run.folder, draft.digest, _code_digest(), accept)
    try:
        _keep_inputs(folder, inputs, plan, accept)
        folder.keep("config.toml", draft.path.read_bytes())
        _keep_description(folder, config, draft.path)
        folder.keep("plan.json", plan.to_json().encode())
        inputs = replace(inputs, store=_keep_footprints(config, folder, placed))
        index = None if draft.stars is None else draft.stars.keep(folder.path)
    except BaseException:
        folder.close()
        raise
    setup = Setup(config, inputs, index, draft.masks, draft.selection, folder.path, folder.job, draft.digest)
    return Opening(setup, plan, folder, tuple(sorted(set(accept))))


def _keep_description(folder: RunFolder, config: Config, path: Path) -> None:
    """Keep a survey description of the user's, so that the run's configuration can be read whatever becomes of it."""
    if config.survey.description.endswith(".toml"):
        description = read_description(config.survey.description, path.parent / KEPT_NAME)
        folder.keep(KEPT_NAME, description.text.encode())


def _keep_footprints(config: Config, folder: RunFolder, placed: Mapping[int, PlacedExposure]) -> FootprintStore | None:
    """Keep where the exposures lie, for tiles and for the next start; both can do without."""
    store = store_of(config.input, folder.path)
    try:
        store.write(placed.values())
    except OSError as error:
        _LOG.warning("%s: cannot be written: %s; headers of exposures are read again", store.path, error)
        return None
    return store


def _code_digest() -> str:
    """Return the fingerprint of the code: version, modules and kernels of the package."""
    package = Path(__file__).parent
    digest = hashlib.sha256(__version__.encode())
    for file in sorted((*package.rglob("*.py"), *package.rglob("*.so"))):
        digest.update(str(file.relative_to(package)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def _keep_inputs(folder: RunFolder, inputs: SurveyInputs, plan: SurveyPlan, accept: Collection[str]) -> None:
    """Write down what the inputs look like, and refuse those that were replaced since units were made from them."""
    now = fingerprint(inputs, plan)
    path = folder.path / _INPUTS
    try:
        before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (OSError, ValueError):
        before = {}  # cut off: the files are taken as they are
    changed = changed_files(before, now)
    if changed and "inputs" not in accept and folder.has_units:
        named = "".join(f"\n{path}: size or date is not what it was" for path in changed[:_SHOWN])
        more = f"\nand {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
        raise ConfigError(
            f"{folder.path} holds units made from files that have changed since: results of old and new files are "
            "never mixed silently. Put the old files back, choose a new run.folder, or, if the content is the same "
            f"(copied, touched), go on with --accept inputs{named}{more}"
        )
    folder.keep(_INPUTS, json.dumps({**before, **now}, indent=0).encode())


def _contents(
    config: Config,
    selection: Program,
    stars: StarsFound | None,
    masks: dict[str, RecipeFiles],
    detectors: Sequence[DetectionEngine],
) -> list[str]:
    """Return the contents of the files that the configuration names and that decide the catalogue like its keys."""
    contents = [selection.text] if config.stars.selection else []
    contents += [] if stars is None else [f"input.star_catalogue\n{stars.digest}"]
    contents += [text for found in masks.values() for text in found.contents]
    contents += [text for detector in detectors for text in detector.contents]
    psfex = config.psf.psfex.configuration
    if config.psf.engine == "psfex" and psfex is not None:
        try:
            contents.append(psfex.read_text(encoding="utf-8", errors="replace"))
        except OSError as error:
            raise ConfigError(f"psf.psfex.configuration: {psfex} cannot be read: {error.strerror}") from error
    return contents


def _masks(config: Config) -> dict[str, RecipeFiles]:
    """Read what is masked on CCDs and on tiles: templates, catalogues of extended objects, .mask files."""
    catalogues = {"messier": config.input.messier_catalogue, "ngc": config.input.ngc_catalogue}
    return {
        "ccd": read_recipe(config.exposure.mask, **catalogues, table="exposure.mask"),
        "tile": read_recipe(config.tile.mask, **catalogues, table="tile.mask"),
    }
