"""The bias of the whole chain: two simulated surveys of opposite shear, measured one after the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shapempi.calibration.estimate import CaseResult
from shapempi.calibration.params import CalibrationParams
from shapempi.config import Config, load, to_toml
from shapempi.errors import ConfigError, MeasurementError
from shapempi.gather import gather
from shapempi.io.catalog import read_table
from shapempi.io.tile import tile_image_hdu
from shapempi.io.truth import read_truth
from shapempi.mpi.comm import Comm
from shapempi.report.calibration import chain_result
from shapempi.report.progress import counter
from shapempi.report.truth import compare_opposite
from shapempi.run import run
from shapempi.sim.simulate import simulate_survey
from shapempi.sim.write import SurveyFiles
from shapempi.survey.inputs import find_inputs
from shapempi.wcs import Wcs

__all__ = ["calibrate_chain", "catalogue_and_truth", "check_chain", "tiles_of", "with_sign"]

_SIGNS = {"plus": 1, "minus": -1}


def check_chain(settings: Config, path: Path) -> None:
    """Raise ConfigError if a configuration has no sheared survey to simulate; `path` is its file."""
    simulation = settings.simulation
    if simulation is None:
        raise ConfigError(f"{path}: there is no table [simulation]; configs/shear_plus.toml has one for this")
    settings.input.check_simulation()
    if simulation.g1 == 0 and simulation.g2 == 0:
        raise ConfigError(f"{path}: the galaxies have no shear: set simulation.g1 and simulation.g2")


def with_sign(settings: Config, sign: int, folder: Path) -> Config:
    """Return a configuration with the shear times a sign and with all files of survey and run in one folder."""
    assert settings.simulation is not None
    simulation = settings.simulation
    files = SurveyFiles(folder / "survey")
    catalogue = settings.input.star_catalogue
    places = {
        "exposure_folder": files.exposures,
        "tile_folder": files.tiles,
        "star_catalogue": None if catalogue is None else folder / "survey" / catalogue.name,
    }
    return settings.model_copy(
        update={
            "simulation": simulation.model_copy(update={"g1": sign * simulation.g1, "g2": sign * simulation.g2}),
            "input": settings.input.model_copy(update=places),
            "run": settings.run.model_copy(update={"folder": folder / "run"}),
        }
    )


def calibrate_chain(comm: Comm, settings: Config, params: CalibrationParams) -> list[CaseResult] | None:
    """Simulate, measure and gather the survey of [simulation] with its shear and with the opposite, and compare.

    Every rank calls this.

    Parameters
    ----------
    comm : Comm
        The ranks.
    settings : Config
        The survey.
    params : CalibrationParams
        The folder: both surveys and runs are made in `chain`.

    Returns
    -------
    list of CaseResult or None
        One result, on rank 0; None on the others.

    Raises
    ------
    ShapempiError
        If a step fails; it must end all ranks.
    """
    both = []
    for name, sign in _SIGNS.items():
        folder = params.folder / "chain" / name
        survey = with_sign(settings, sign, folder)
        path = folder / "config.toml"
        if comm.rank == 0:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(to_toml(survey), encoding="utf-8")
        assert survey.simulation is not None
        with counter(f"simulate {name}", shown=comm.rank == 0) as progress:
            simulate_survey(
                survey.simulation,
                folder / "survey",
                comm=comm,
                progress=progress,
                overwrite=True,
                grid=survey.input.tile_grid,
                mosaic=survey.input.camera,
                names=survey.input,
            )
        comm.barrier()
        code = run(path, isolate=False)  # MPI is there already, and children must be older
        if comm.rank == 0:
            if code not in (0, 1):  # 1: some units failed, and said so; what is in both catalogues is compared
                raise MeasurementError(f"{survey.run.folder}: the run ended with exit code {code}")
            gather(survey.run.folder, overwrite=True)
            both.append(survey)
    if comm.rank != 0:
        return None
    (first, truth), second = (catalogue_and_truth(survey.run.folder) for survey in both)
    bias = compare_opposite((first, truth), second, tiles_of(both[0]))
    if bias is None:
        raise MeasurementError(f"{params.folder / 'chain'}: fewer than ten galaxies were measured in both surveys")
    return [chain_result(bias)]


def tiles_of(settings: Config) -> list[tuple[Wcs, tuple[int, int]]]:
    """Return WCS and shape of a run's tiles."""
    inputs = find_inputs(settings.input)
    hdus = [tile_image_hdu(inputs.tile_paths(tile)[0]) for tile in inputs.tiles]
    return [(Wcs(hdu.header, str(hdu)), hdu.shape or (0, 0)) for hdu in hdus]


def catalogue_and_truth(run_folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the catalogue of a run on a simulated survey, and the survey's truth."""
    truth = SurveyFiles(load(run_folder / "config.toml").input.exposure_folder.parent).truth
    return read_table(run_folder / "catalogue.h5"), read_truth(truth)
