"""Simulating a survey: exposures first, then the tiles made from them, dealt out among the ranks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from shapempi.camera import Camera
from shapempi.description import cfis_camera
from shapempi.errors import ConfigError, DataError
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
from shapempi.sim.write import (
    FileNames,
    SurveyFiles,
    append_image,
    new_fits,
    write_star_catalogue,
    write_tile,
    write_truth,
)
from shapempi.tile_grid import CFIS_GRID, TileGrid

__all__ = ["Comm", "Progress", "SurveySize", "expected_size", "simulate_survey"]

#: Called as progress(done, total, what was done) by each rank for its own share.
Progress = Callable[[int, int, str], None]

#: Bytes per pixel that compression leaves, measured: image, weight and flag of an exposure; image and weight of a tile.
_EXPOSURE_BYTES = 0.95 + 0.05 + 0.05
_TILE_BYTES = 4.0 + 1.3

#: Bytes of the headers of one HDU in the three files of an exposure.
_HDU_HEADERS = 3 * 4 * 2880


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


def expected_size(params: SimulationParams, grid: TileGrid = CFIS_GRID, mosaic: Camera | None = None) -> SurveySize:
    """Say how large a survey will be.

    Parameters
    ----------
    params : SimulationParams
        The survey.
    grid : TileGrid, optional
        The grid of its tiles.
    mosaic : Camera, optional
        Numbers and arrangement of the CCDs; MegaCam's by default.
    """
    plan = plan_survey(params, grid, mosaic)
    n_hdu = sum(len(exposure.ccds) + 1 for exposure in plan.exposures)
    n_ccd = sum(len(exposure.active_ccds) for exposure in plan.exposures)
    ny, nx = ccd_shape(params.camera)
    ccd_pixels, tile_pixels = n_ccd * ny * nx, len(plan.tiles) * params.tile_size**2
    n_byte = ccd_pixels * _EXPOSURE_BYTES + tile_pixels * _TILE_BYTES + n_hdu * _HDU_HEADERS
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


def _make_exposure(
    exposure: ExposurePlan, scene: np.ndarray, files: SurveyFiles, params: SimulationParams, mosaic: Camera
) -> None:
    """Draw and write one exposure, CCD by CCD."""
    cards = exposure_cards(exposure, params)
    extensions = ("NEXTEND", len(exposure.ccds), "Number of extensions")
    with new_fits(files.exposure(exposure.number), [*cards, extensions]) as out:
        for ccd in exposure.ccds:
            if ccd.active:
                readout = read_out(draw_ccd(scene, exposure, ccd, params), ccd.id, params)
            else:
                readout = _empty_readout()
            name = mosaic.name_of(ccd.id.ccd) if mosaic.ccd_names else f"ccd{ccd.id.ccd:02d}"
            cards_here = [*ccd_cards(ccd, readout.data.shape, params), *cards]
            for file, plane in zip(out, (readout.data, readout.weight, readout.flag), strict=True):
                append_image(file, plane, cards_here, name)


def _read_inputs(
    tile: TilePlan, plan: SurveyPlan, files: SurveyFiles, params: SimulationParams, mosaic: Camera
) -> Iterator[Image]:
    """Read the CCDs that see a tile, one at a time."""
    for exposure in plan.exposures_of(tile.id):
        paths = ExposurePaths(*files.exposure(exposure.number))
        for ccd in exposure.active_ccds:
            if tile.id in ccd.tiles:
                yield read_ccd(
                    paths, ccd.id.ccd, datasec(params.camera), survey_zero_point=TILE_ZERO_POINT, camera=mosaic
                )


def _make_tile(tile: TilePlan, plan: SurveyPlan, files: SurveyFiles, params: SimulationParams, mosaic: Camera) -> None:
    """Coadd and write one tile."""
    image, weight = coadd(_read_inputs(tile, plan, files, params, mosaic), tile.wcs, tile.size)
    exposures = plan.exposures_of(tile.id)
    wcs = [(name, value, "") for name, value in tile.wcs_cards]
    history = tile_history(tile, exposures, files)
    write_tile(files.tile(tile.id), image, weight, tile_cards(exposures, params), wcs, history)


def _exposure_table(plan: SurveyPlan) -> np.ndarray:
    """Return the exposures with their true PSF polynomials."""
    numbers = [
        (name, "f8") for name in ("ra", "dec", "rotation", "mag_zp", "flux_scale", "mjd", "beta", "field_radius")
    ]
    polynomials = [(f"psf_{name}", "f8", (N_TERM,)) for name in ("fwhm", "g1", "g2")]
    n_ccd = len(plan.exposures[0].ccds)
    table = np.zeros(len(plan.exposures), [("exposure", "i8"), *numbers, *polynomials, ("active", "?", (n_ccd,))])
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
    grid: TileGrid = CFIS_GRID,
    mosaic: Camera | None = None,
    names: FileNames | None = None,
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
    grid : TileGrid, optional
        The grid of the tiles.
    mosaic : Camera, optional
        Names, numbers and arrangement of the CCDs; MegaCam's by default.
    names : FileNames, optional
        How the files are named; as those of CFIS by default.

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
    files = SurveyFiles(folder, names)
    mosaic = mosaic or cfis_camera()
    plan = plan_survey(params, grid, mosaic)
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
        _make_exposure(exposure, scene, files, params, mosaic)
        if progress is not None:
            progress(done, total, f"exposure {files.exposure(exposure.number)[0].name.partition('.')[0]}")
    if comm is not None:
        comm.barrier()  # a tile reads the exposures of other ranks
    for done, tile in enumerate(my_tiles, start=len(mine) + 1):
        _make_tile(tile, plan, files, params, mosaic)
        if progress is not None:
            progress(done, total, f"tile {tile.id}")
    if comm is not None:
        comm.barrier()
    return files
