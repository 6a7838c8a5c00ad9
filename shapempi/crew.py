"""What one rank of a run does: units, by the stages, committed to a part file of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from shapempi.config import Config
from shapempi.engines.detection import make_detector
from shapempi.engines.detection_params import DetectionOutputParams
from shapempi.engines.psf import make_engine
from shapempi.fault import Fault
from shapempi.ids import CcdId, TileId
from shapempi.image import Image
from shapempi.io.node_cache import NodeCache
from shapempi.io.parts import PartReader, PartWriter
from shapempi.io.star_index import StarIndex
from shapempi.measure.detected_image import DetectedImage
from shapempi.measure.mask import BrightStars, MaskPlane, MaskRecipe
from shapempi.measure.setools.outcome import Selection
from shapempi.measure.setools.program import Program
from shapempi.mpi.attempt import Stopwatch, attempt
from shapempi.mpi.executor import Execute
from shapempi.mpi.unit import Outcome, Place, State, Unit
from shapempi.product import Location
from shapempi.report.detection_files import write_detections
from shapempi.report.mask_files import mask_paths, write_mask
from shapempi.report.selection_files import write_selection
from shapempi.stages.base import Stage
from shapempi.stages.block import BlockStage
from shapempi.stages.ccd import CcdStage
from shapempi.stages.tile import TileStage
from shapempi.survey.inputs import SurveyInputs
from shapempi.units import block_units, commit_name

__all__ = ["Crew", "Setup", "hire"]


@dataclass(frozen=True)
class Setup:
    """What every rank must know before it can work.

    Attributes
    ----------
    config : Config
        The configuration.
    inputs : SurveyInputs
        Where the files are.
    stars : Path or None
        The survey's bright stars, a star index; None without a catalogue.
    masks : dict of str to MaskRecipe
        What is masked on a `ccd` and on a `tile`.
    selection : Program
        The star selection.
    folder : Path
        The run folder.
    job : str
        Name of this start of the run: the folder of its part files.
    digest : str
        Fingerprint of everything that decides the catalogue.
    """

    config: Config
    inputs: SurveyInputs
    stars: Path | None
    masks: dict[str, MaskRecipe]
    selection: Program
    folder: Path
    job: str
    digest: str


class Crew:
    """What one rank needs to do units: the stages, a reader of products, a writer of its own part file.

    Parameters
    ----------
    setup : Setup
        Configuration, inputs and run folder.
    rank : int
        This rank.
    host : str
        Name of this machine.
    fault : Fault, optional
        What goes wrong on purpose.
    """

    def __init__(self, setup: Setup, rank: int, host: str, fault: Fault | None = None) -> None:
        self._setup = setup
        self._rank = rank
        self._host = host
        self._fault = fault
        self._uid = ""
        self._reader = PartReader(setup.folder)
        run = setup.config.run
        self._cache = None if run.cache_folder is None else NodeCache(run.cache_folder, run.cache_size * 2**30)
        self._writer: PartWriter | None = None
        self._remark = ""
        self._children: tuple[Unit, ...] = ()

    @cached_property
    def _stages(self) -> dict[str, Stage]:
        """The stages, made when the first unit comes."""
        config, inputs = self._setup.config, replace(self._setup.inputs, cache=self._cache)
        stars = None if self._setup.stars is None else StarIndex.open(self._setup.stars)
        masks, seed = self._setup.masks, config.survey.seed
        return {
            "ccd": CcdStage(
                inputs=inputs,
                bright_stars=stars,
                mask=masks["ccd"],
                exposure=config.exposure,
                stars=config.stars,
                selection=self._setup.selection,
                psf=config.psf,
                detector=make_detector(config.exposure.detection, "exposure.detection"),
                psf_engine=make_engine(config.psf),
                seed=seed,
                keep_selection=self._keep_selection if config.stars.output else None,
                keep_mask=self._keep_mask if config.exposure.mask.output else None,
                keep_detections=self._keep_ccd if config.exposure.output else None,
            ),
            "tile": TileStage(
                inputs,
                stars,
                masks["tile"],
                config.tile,
                make_detector(config.tile.detection, "tile.detection"),
                config.run.block_size,
                keep_mask=self._keep_mask if config.tile.mask.output else None,
                keep_detections=self._keep_tile if config.tile.output else None,
            ),
            "block": BlockStage(
                inputs, self._reader, config.vignet, config.spread, config.size_class, config.shapes, seed
            ),
        }

    def execute(self, unit: Unit, places: Mapping[str, Place]) -> Outcome:
        """Do one unit and commit its product; an exception of the unit becomes its outcome."""
        self._remark, self._children = "", ()
        outcome = attempt(self._work, unit, places, rank=self._rank, host=self._host)
        if self._cache is not None:
            outcome = replace(outcome, counts=self._cache.take_reads().values())
        if outcome.state is not State.DONE:
            return outcome
        return replace(outcome, reason=self._remark, children=self._children)

    def _work(self, unit: Unit, places: Mapping[str, Place], watch: Stopwatch) -> Place:
        """Do one unit; returns where its product is committed."""
        if unit.uid in places:
            return places[unit.uid]  # an earlier run did it from the same inputs
        self._uid = unit.uid
        self._strike("begin")
        inputs = {uid: Location(*place) for uid, place in places.items()}
        product, n_row = self._stages[unit.kind].process(unit.payload, inputs, watch)
        self._remark = str(product.attrs.get("psf_reason", ""))
        if unit.kind == "tile":
            tile = TileId.parse(str(unit.payload["tile"]))
            self._children = tuple(block_units(tile, str(unit.payload["digest"]), product, unit.region))
        with watch("commit"):
            if self._writer is None:
                self._writer = PartWriter(
                    self._setup.folder,
                    self._setup.job,
                    self._rank,
                    digest=self._setup.digest,
                    written=None if self._fault is None else partial(self._strike, "written"),
                )
            location = self._writer.commit(commit_name(unit, places), product, n_row)
        self._strike("committed")
        return Place(location.file, location.group, location.crc32, location.n_row)

    def _strike(self, moment: str) -> None:
        """Have something go wrong, if that was asked for."""
        if self._fault is not None:
            self._fault.strike(moment, self._uid)

    def _keep_selection(self, ccd: CcdId, found: Selection, table: np.ndarray, header: str) -> None:
        """Write what `stars.output` asks for; done anew, a unit replaces its files."""
        folder, kinds = self._setup.folder / "stars", self._setup.config.stars.output
        write_selection(found, table, header, folder, f"-{ccd}", kinds, overwrite=True)

    def _keep_mask(self, place: CcdId | TileId, image: Image, stars: BrightStars, mask: MaskPlane) -> None:
        """Write what `mask.output` asks for; done anew, a unit replaces its files."""
        recipe = self._setup.masks["ccd" if isinstance(place, CcdId) else "tile"]
        number = str(place).replace(".", "-")
        paths = mask_paths(self._setup.folder / "masks", f"-{number}", recipe.params.output)
        write_mask(mask, image, stars, recipe, paths, overwrite=True)

    def _keep_ccd(self, ccd: CcdId, image: DetectedImage) -> None:
        """Write what `exposure.output` asks for."""
        self._keep_detections(f"-{ccd}", image, self._setup.config.exposure)

    def _keep_tile(self, tile: TileId, image: DetectedImage) -> None:
        """Write what `tile.output` asks for."""
        self._keep_detections(f"-{str(tile).replace('.', '-')}", image, self._setup.config.tile)

    def _keep_detections(self, number: str, image: DetectedImage, wanted: DetectionOutputParams) -> None:
        """Write the files of a detection; done anew, a unit replaces its files."""
        write_detections(
            image,
            self._setup.folder / "detections",
            number,
            wanted.output,
            size=wanted.vignet_size,
            overwrite=True,
        )

    def close(self) -> None:
        """Close the part file."""
        if self._writer is not None:
            self._writer.close()


def hire(place: tuple[Setup, int, str, int], number: int) -> Execute:
    """Return what does units in a child of a rank.

    Parameters
    ----------
    place : tuple of (Setup, int, str, int)
        Configuration and inputs, the rank, the name of its machine, its process.
    number : int
        How many children the rank had before.
    """
    setup, rank, host, pid = place
    return Crew(setup, rank, host, Fault.read(os.environ, setup.folder / "faults", pid)).execute
