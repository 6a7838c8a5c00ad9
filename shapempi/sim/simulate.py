"""Simulating a survey: exposures first, then the tiles made from them, dealt out among the ranks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from shapempi import megacam
from shapempi.errors import ConfigError, DataError
from shapempi.ids import exposure_name
from shapempi.image import Image
from shapempi.io.exposure import ExposurePaths, read_ccd
from shapempi.sim.coadd import coadd
from shapempi.sim.detector import Defect, Readout, read_out
from shapempi.sim.draw import draw_ccd
from shapempi.sim.headers import TILE_ZERO_POINT, ccd_cards, exposure_cards, tile_cards, tile_history
from shapempi.sim.params import SimulationParams
from shapempi.sim.plan import (
    DUMMY_SIZE,
    ExposurePlan,
    SurveyPlan,
    TilePlan,
    ccd_shape,
    datasec,
    plan_survey,
)
from shapempi.sim.psf_field import N_TERM
from shapempi.sim.scene import ObjectType, make_scene
from shapempi.sim.write import SurveyFiles, append_image, new_fits, write_star_catalogue, write_tile, write_truth

__all__ = ["Comm", "Progress", "SurveySize", "expected_size", "simulate_survey"]

#: Called as progress(done, total, what was done) by each rank for its own share.
Progress = Callable[[int, int, str], None]

#: Bytes per pixel that compression leaves, measured: image, weight and flag of an exposure; image and weight of a tile.
_EXPOSURE_BYTES = 0.95 + 0.05 + 0.05
_TILE_BYTES = 4.0 + 1.3

#: Bytes of the headers of one exposure's three files.
_EXPOSURE_HEADERS = 3 * (megacam.N_CCD + 1) * 4 * 2880


class Comm(Protocol):
    """What the simulator needs of a communicator."""

    rank: int
    size: int

    def barrier(self) -> None:
        """Wait for all ranks."""


@dataclass(frozen=True)
class SurveySize:
    """What a survey will be made of, known before it is made.

    Attributes
    ----------
    n_tile, n_exposure, n_ccd : int
        Tiles, exposures, and CCDs that get pixels.
    n_pixel : int
        Pixels of these CCDs and the tiles.
    n_byte : int
        Bytes of all files, roughly.
    """

    n_tile: int
    n_exposure: int
    n_ccd: int
    n_pixel: int
    n_byte: int

    def __str__(self) -> str:
        """Return one line for a log."""
        return (
            f"{self.n_tile} tile(s), {self.n_exposure} exposures with {self.n_ccd} CCDs that have pixels, "
            f"{self.n_pixel / 1e6:.1f} million pixels, about {self.n_byte / 1e6:.0f} MB"
        )


def expected_size(params: SimulationParams) -> SurveySize:
    """Say how large a survey will be.

    Parameters
    ----------
    params : SimulationParams
        The survey.
    """
    plan = plan_survey(params)
    n_ccd = sum(len(exposure.active_ccds) for exposure in plan.exposures)
    ny, nx = ccd_shape(params.camera)
    ccd_pixels, tile_pixels = n_ccd * ny * nx, len(plan.tiles) * params.tile_size**2
    n_byte = ccd_pixels * _EXPOSURE_BYTES + tile_pixels * _TILE_BYTES + len(plan.exposures) * _EXPOSURE_HEADERS
    return SurveySize(len(plan.tiles), len(plan.exposures), n_ccd, ccd_pixels + tile_pixels, int(n_byte))


def _refuse_to_overwrite(files: SurveyFiles, plan: SurveyPlan) -> None:
    """Stop if any file of the survey exists."""
    wanted = [files.star_catalogue, files.truth]
    wanted += [path for exposure in plan.exposures for path in files.exposure(exposure.number)]
    wanted += [path for tile in plan.tiles for path in files.tile(tile.id)]
    there = [path for path in wanted if path.exists()]
    if there:
        raise ConfigError(
            f"{there[0]}: exists already ({len(there)} of {len(wanted)} files of the simulation do); "
            "choose another folder, or ask for overwriting"
        )


def _empty_readout() -> Readout:
    """Return the small image of a CCD that sees no tile."""
    shape = (DUMMY_SIZE, DUMMY_SIZE)
    return Readout(np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.full(shape, Defect.BAD, np.int16))


def _make_exposure(exposure: ExposurePlan, scene: np.ndarray, files: SurveyFiles, params: SimulationParams) -> None:
    """Draw and write one exposure, CCD by CCD."""
    cards = exposure_cards(exposure, params)
    with new_fits(files.exposure(exposure.number), [*cards, ("NEXTEND", megacam.N_CCD, "Number of extensions")]) as out:
        for ccd in exposure.ccds:
            if ccd.active:
                readout = read_out(draw_ccd(scene, exposure, ccd, params), ccd.id, params)
            else:
                readout = _empty_readout()
            cards_here = [*ccd_cards(ccd, readout.data.shape, params), *cards]
            for file, plane in zip(out, (readout.data, readout.weight, readout.flag), strict=True):
                append_image(file, plane, cards_here, f"ccd{ccd.id.ccd:02d}")


def _read_inputs(tile: TilePlan, plan: SurveyPlan, files: SurveyFiles, params: SimulationParams) -> Iterator[Image]:
    """Read the CCDs that see a tile, one at a time."""
    for exposure in plan.exposures_of(tile.id):
        paths = ExposurePaths(*files.exposure(exposure.number))
        for ccd in exposure.active_ccds:
            if tile.id in ccd.tiles:
                yield read_ccd(paths, ccd.id.ccd, datasec(params.camera), survey_zero_point=TILE_ZERO_POINT)


def _make_tile(tile: TilePlan, plan: SurveyPlan, files: SurveyFiles, params: SimulationParams) -> None:
    """Coadd and write one tile."""
    image, weight = coadd(_read_inputs(tile, plan, files, params), tile.wcs, tile.size)
    exposures = plan.exposures_of(tile.id)
    wcs = [(name, value, "") for name, value in tile.wcs_cards]
    write_tile(files.tile(tile.id), image, weight, tile_cards(exposures, params), wcs, tile_history(tile, exposures))


def _exposure_table(plan: SurveyPlan) -> np.ndarray:
    """Return the exposures with their true PSF polynomials."""
    numbers = [
        (name, "f8") for name in ("ra", "dec", "rotation", "mag_zp", "flux_scale", "mjd", "beta", "field_radius")
    ]
    polynomials = [(f"psf_{name}", "f8", (N_TERM,)) for name in ("fwhm", "g1", "g2")]
    table = np.zeros(
        len(plan.exposures), [("exposure", "i8"), *numbers, *polynomials, ("active", "?", (megacam.N_CCD,))]
    )
    for row, exposure in zip(table, plan.exposures, strict=True):
        row["exposure"] = exposure.number
        for name in ("ra", "dec", "rotation", "mag_zp", "flux_scale", "mjd"):
            row[name] = getattr(exposure, name)
        row["beta"], row["field_radius"] = exposure.psf.beta, exposure.psf.radius
        row["psf_fwhm"], row["psf_g1"], row["psf_g2"] = exposure.psf.fwhm, exposure.psf.g1, exposure.psf.g2
        row["active"] = [ccd.active for ccd in exposure.ccds]
    return table


def _parameter_attrs(values: dict, prefix: str = "") -> dict[str, str | float | int]:
    """Return all parameters by dotted name; lists as JSON text."""
    attrs: dict[str, str | float | int] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            attrs |= _parameter_attrs(value, f"{prefix}{name}.")
        else:
            attrs[prefix + name] = json.dumps(value) if isinstance(value, (list, tuple)) else value
    return attrs


def _write_tables(scene: np.ndarray, plan: SurveyPlan, files: SurveyFiles, params: SimulationParams) -> None:
    """Write the bright-star catalogue and the truth."""
    bright = scene[(scene["type"] == ObjectType.STAR) & (scene["mag"] < params.stars.catalogue_mag)]
    bright = bright[np.argsort(bright["mag"], kind="stable")]
    write_star_catalogue(files.star_catalogue, bright["ra"], bright["dec"], bright["mag"])
    tables = {"objects": scene, "exposures": _exposure_table(plan)}
    write_truth(files.truth, tables, _parameter_attrs(params.model_dump(mode="json")))


def simulate_survey(
    params: SimulationParams,
    folder: Path,
    *,
    comm: Comm | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> SurveyFiles:
    """Simulate a survey and write its files.

    Rank r makes the exposures and then the tiles whose index i has i mod size = r; rank 0 also writes the truth and
    the star catalogue.  Every random number is seeded by what it is for, so the pixels do not depend on the ranks.

    Parameters
    ----------
    params : SimulationParams
        The survey.
    folder : Path
        Where to write: `exposures/NNNNNNNp.fits.fz`, `.weight.fits.fz`, `.flag.fits.fz`, `tiles/CFIS.XXX.YYY.r.fits`,
        `.r.weight.fits.fz`, `star_catalogue.fits`, and `truth.h5` with the tables `objects` (`SCENE_DTYPE`) and
        `exposures` (pointings and PSF polynomials) and the parameters as attributes.
    comm : Comm, optional
        A communicator with `rank`, `size` and `barrier()`; None is one process.
    progress : callable, optional
        Called after each file as progress(done, total, text), for this rank's share.
    overwrite : bool, optional
        Whether existing files are replaced.

    Returns
    -------
    SurveyFiles
        Where the files are.

    Raises
    ------
    ConfigError
        If a file exists and `overwrite` is False, or no exposure sees some tile; nothing has been written then.
    DataError
        If a file cannot be written.
    """
    rank, size = (comm.rank, comm.size) if comm is not None else (0, 1)
    files = SurveyFiles(folder)
    plan = plan_survey(params)
    for tile in plan.tiles:
        if not plan.exposures_of(tile.id):
            raise ConfigError(
                f"no CCD sees tile {tile.id}: make simulation.pointing.dithers or the camera's gaps smaller"
            )
    if not overwrite:
        _refuse_to_overwrite(files, plan)
    try:
        for sub_folder in (files.exposures, files.tiles):
            sub_folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{error.filename}: the folder cannot be made: {error.strerror}; choose another") from error
    if comm is not None:
        comm.barrier()  # no rank may write before every rank has looked for existing files

    scene = make_scene(plan, params)
    mine = plan.exposures[rank::size]
    my_tiles = plan.tiles[rank::size]
    total = len(mine) + len(my_tiles)
    if rank == 0:
        _write_tables(scene, plan, files, params)
    for done, exposure in enumerate(mine, start=1):
        _make_exposure(exposure, scene, files, params)
        if progress is not None:
            progress(done, total, f"exposure {exposure_name(exposure.number)}")
    if comm is not None:
        comm.barrier()  # a tile reads the exposures of other ranks
    for done, tile in enumerate(my_tiles, start=len(mine) + 1):
        _make_tile(tile, plan, files, params)
        if progress is not None:
            progress(done, total, f"tile {tile.id}")
    if comm is not None:
        comm.barrier()
    return files
