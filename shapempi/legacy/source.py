"""A run as the older products are made from it; what takes time to open is opened when it is needed first."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from shapempi.engines.detection import make_detector
from shapempi.engines.detection_engine import DetectionEngine
from shapempi.ids import CcdId
from shapempi.io.star_index import StarIndex
from shapempi.legacy.ccd_again import CcdAgain, detect_again
from shapempi.legacy.tile_rows import TileRows
from shapempi.masking import read_recipe
from shapempi.measure.bright_stars import StarSource
from shapempi.measure.mask import MaskRecipe
from shapempi.measure.mask_params import MaskParams
from shapempi.measure.setools.program import Program
from shapempi.run_psf import RunPsf
from shapempi.run_view import RunView
from shapempi.selection import read_selection
from shapempi.stages.vignets import VignetSource
from shapempi.star_catalogue import INDEX_NAME

__all__ = ["LegacySource"]


class LegacySource:
    """A run, and how its products are to be written.

    Parameters
    ----------
    folder : Path
        The run.
    overwrite : bool, optional
        Whether files that are there may be replaced.
    psf_data : bool, optional
        Whether the final catalogue has the PSF of every epoch (SAVE_PSF_DATA).

    Raises
    ------
    MissingInputError
        If the folder is not a run's.
    """

    def __init__(self, folder: Path, *, overwrite: bool = False, psf_data: bool = False) -> None:
        self.view = RunView(folder)
        self.overwrite = overwrite
        self.psf_data = psf_data
        self._latest: tuple[CcdId, CcdAgain | None] | None = None

    @cached_property
    def psf(self) -> RunPsf:
        """The PSF models of the run."""
        return RunPsf(self.view.folder)

    @cached_property
    def rows(self) -> TileRows:
        """The run's catalogue, tile by tile."""
        return TileRows(self.view.folder)

    @cached_property
    def vignets(self) -> VignetSource:
        """What cuts the vignets of the tiles' objects."""
        return VignetSource(self.view.inputs, self.view.reader, self.view.settings.vignet)

    @cached_property
    def selection(self) -> Program:
        """The star selection."""
        name = self.view.settings.stars.selection
        return read_selection(Path(name) if name else None)

    @cached_property
    def detector(self) -> DetectionEngine:
        """What detects objects on CCDs."""
        return make_detector(self.view.settings.exposure.detection, "exposure.detection")

    @cached_property
    def bright_stars(self) -> StarSource | None:
        """The bright stars that the masks were made with; None without a catalogue."""
        catalogue = self.view.settings.input.star_catalogue
        if catalogue is None:
            return None
        kept = self.view.folder / INDEX_NAME
        return StarIndex.open(kept if kept.exists() else catalogue)

    @cached_property
    def ccd_mask(self) -> MaskRecipe:
        """What is masked on CCDs."""
        return self._recipe(self.view.settings.exposure.mask, "exposure.mask")

    @cached_property
    def tile_mask(self) -> MaskRecipe:
        """What is masked on tiles."""
        return self._recipe(self.view.settings.tile.mask, "tile.mask")

    def _recipe(self, params: MaskParams, table: str) -> MaskRecipe:
        places = self.view.settings.input
        return read_recipe(params, messier=places.messier_catalogue, ngc=places.ngc_catalogue, table=table).recipe

    def detected(self, ccd: CcdId) -> CcdAgain | None:
        """Return what the run detected on a CCD; see `detect_again`.  The latest is kept for the next product."""
        if self._latest is None or self._latest[0] != ccd:
            self._latest = None  # two CCDs are not in memory at once
            self._latest = ccd, detect_again(self.view, ccd, self.detector, self.selection)
        return self._latest[1]
