"""What each verb of the command line does: print, and return the exit code."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from shapempi.calibrate import calibrate_stamps, choose_cases, claim_folder
from shapempi.calibration.estimate import CaseResult
from shapempi.calibration.params import CalibrationParams
from shapempi.catalog import (
    COLUMNS,
    EPOCH_COLUMNS,
    PSF_STATUS_COLUMNS,
    STAR_COLUMNS,
    STAR_STATISTIC_COLUMNS,
)
from shapempi.catalogue_verbs import EXPORTS as TABLE_EXPORTS
from shapempi.catalogue_verbs import refuse_options
from shapempi.chain import calibrate_chain, check_chain
from shapempi.config import Config, commented_toml, load
from shapempi.config import reference as key_reference
from shapempi.description import description_names, read_description
from shapempi.errors import ConfigError, ShapempiError
from shapempi.export_ldac import export_tiles
from shapempi.flags import ObjectFlag, PixelFlag
from shapempi.gather import Gathered, read_plan
from shapempi.gather import gather as gather_run
from shapempi.grammar import reference as column_reference
from shapempi.legacy_verbs import export_tree, refuse_legacy_options
from shapempi.measure.fit import FitFlag
from shapempi.measure.shapes import ENGINES
from shapempi.mpi.comm import connect
from shapempi.opening import ACCEPTABLE
from shapempi.report import calibration as calibration_report
from shapempi.report.progress import counter, duration
from shapempi.run import run as run_survey
from shapempi.sim.params import SimulationParams
from shapempi.sim.simulate import expected_size, simulate_survey
from shapempi.sim.write import SurveyFiles
from shapempi.survey.graph import make_plan
from shapempi.survey.input_params import InputParams
from shapempi.survey.inputs import find_inputs
from shapempi.survey.sky_masks import SkyColumn, open_sky_masks
from shapempi.units import BlockCost, predicted_seconds

__all__ = ["ACCEPTABLE", "EXPORTS", "calibrate", "config", "export", "gather", "plan", "run", "simulate"]


def simulate(options: argparse.Namespace) -> int:
    """Make the survey that a configuration's table [simulation] describes."""
    survey: tuple[SimulationParams, Path, InputParams] | None = None
    failure: ConfigError | None = None
    with connect() as comm:
        if comm.rank == 0:
            try:
                survey = _simulation(options.config)
                size = expected_size(survey[0], survey[2].tile_grid, survey[2].camera)
                print(f"{survey[1]}: {size}", flush=True)
            except ConfigError as error:
                failure = error
        survey = comm.share(survey)
        if survey is not None:
            with counter("simulate", shown=comm.rank == 0) as progress:
                simulated, folder, given = survey
                simulate_survey(
                    simulated,
                    folder,
                    comm=comm,
                    progress=progress,
                    overwrite=options.overwrite,
                    grid=given.tile_grid,
                    mosaic=given.camera,
                    names=given,
                )
    if failure is not None:
        raise failure  # on rank 0 only: one message
    return 0


def _simulation(path: Path) -> tuple[SimulationParams, Path, InputParams]:
    """Return the simulation that a configuration describes, the folder of its survey, and the form of its files."""
    settings = load(path)
    if settings.simulation is None:
        raise ConfigError(f"{path}: there is no table [simulation], so nothing to simulate")
    settings.input.check_simulation()
    return settings.simulation, _survey_folder(settings), settings.input


def _survey_folder(settings: Config) -> Path:
    """Return the folder of a simulated survey: its exposures and tiles are in `exposures` and `tiles`."""
    folder = settings.input.exposure_folder.parent
    files = SurveyFiles(folder)
    expected = (files.exposures, files.tiles)
    if (settings.input.exposure_folder, settings.input.tile_folder) != expected:
        raise ConfigError(
            f"a simulated survey has the folders exposures and tiles side by side: [input] exposure_folder must be "
            f"{expected[0]} and tile_folder {expected[1]}"
        )
    return folder


def plan(options: argparse.Namespace) -> int:
    """List units and missing inputs."""
    settings = load(options.config)
    inputs = find_inputs(settings.input, settings.run.folder)
    survey = make_plan(inputs)
    seconds = predicted_seconds(survey, BlockCost(ENGINES[settings.shapes.engine].epoch_seconds))
    print("time on one core:")
    print(f"  {len(survey.ccds)} CCDs of {len(inputs.exposures)} exposures: about {duration(seconds['ccd'])}")
    print(f"  {len(survey.tiles)} tiles: about {duration(seconds['tile'])}")
    print(f"  their blocks of at most {settings.run.block_size} objects: about {duration(seconds['block'])}")
    total = sum(seconds.values())
    print(f"{total / 3600:.2f} core-hours; " + "; ".join(_with_ranks(total, n) for n in (8, 64, 512)))
    print("memory: up to 1.5 GiB a rank; files: about one part file a rank and start")
    if options.units:
        for ccd in survey.ccds:
            print(ccd.uid)
        for tile in survey.tiles:
            print(f"{tile.tile.uid} is under {len(tile.ccds)} CCDs: {', '.join(str(ccd) for ccd in tile.ccds)}")
    for problem in survey.problems:
        print(f"shapempi: input: {problem}", file=sys.stderr)
    if not survey.problems:
        print("all input files are there")
        return 0
    return 3 if all(problem.missing for problem in survey.problems) else 1  # the verdict of a run


def _with_ranks(seconds: float, n_rank: int) -> str:
    """Say how long work of so many core-seconds takes, rank 0 having none of it."""
    return f"with {n_rank} ranks about {duration(seconds / (n_rank - 1))}"


def run(options: argparse.Namespace) -> int:
    """Measure a survey."""
    return run_survey(
        options.config,
        live=options.live,
        walltime=options.walltime,
        accept=options.accept or (),
        retry_quarantined=options.retry_quarantined,
    )


def gather(options: argparse.Namespace) -> int:
    """Merge the part files to one catalogue."""
    if options.shards < 1:
        raise ConfigError(f"--shards must be at least 1, not {options.shards}")
    failure: ShapempiError | None = None
    result: Gathered | None = None
    sky: list[SkyColumn] = []
    with connect() as comm:
        try:
            if comm.rank == 0:
                read_plan(options.run)  # says so if this is no run
                sky = open_sky_masks(load(options.config or options.run / "config.toml").sky_masks)
        except ShapempiError as error:
            failure = error
        if comm.share(failure is None):
            try:
                result = gather_run(
                    options.run,
                    options.output,
                    sky_columns=sky,
                    overwrite=options.overwrite,
                    n_shard=options.shards,
                    comm=comm,
                )
            except ShapempiError as error:
                failure = error
    if failure is not None:
        raise failure  # on rank 0 only: one message
    return 0 if result is None else _say_gathered(result, options.run)


def _say_gathered(result: Gathered, run_folder: Path) -> int:
    """Print what a catalogue holds and what it lacks; returns the exit code."""
    print(
        f"{result.path}: {result.n_row} objects of {result.n_tile} tiles, {result.n_epoch} epochs, "
        f"{result.n_star} held-back stars"
    )
    if result.n_kept:
        print(f"{result.n_kept} of {result.n_file} files were made from the same results before and are as they were")
    if result.n_refused:
        print(f"{result.n_refused} CCDs have no accepted PSF model; table psf_status says why")
    for text in result.damaged:
        print(f"shapempi: damaged part file: {text}", file=sys.stderr)
    for uid in result.missing:
        print(f"shapempi: not in the catalogue: {uid}; see `shapempi status {run_folder}`", file=sys.stderr)
    return 1 if result.missing else 0


def export(options: argparse.Namespace) -> int:
    """Write the catalogue in another form."""
    if options.format != "legacy":
        refuse_legacy_options(options)
    return EXPORTS[options.format](options)


def _export_ldac(options: argparse.Namespace) -> int:
    """Write every tile as SExtractor would have left it."""
    refuse_options(options, "ldac", "vignets")
    folder = options.output or options.run / "sexcat"
    result = export_tiles(options.run, folder, vignets=options.vignets, overwrite=options.overwrite)
    print(f"{folder}: {len(result.paths)} tiles, {result.n_object} objects")
    for text in result.missing:
        print(f"shapempi: not written: {text}; see `shapempi status {options.run}`", file=sys.stderr)
    return 1 if result.missing else 0


def _export_legacy(options: argparse.Namespace) -> int:
    """Write the products of a run as the reference system leaves them."""
    refuse_options(options, "legacy", "grammar", "vignets")  # the format says itself why it has neither of these
    return export_tree(options)


#: What writes each format of `export`.
EXPORTS: dict[str, Callable[[argparse.Namespace], int]] = {
    **TABLE_EXPORTS,
    "ldac": _export_ldac,
    "legacy": _export_legacy,
}


def calibrate(options: argparse.Namespace) -> int:
    """Measure the biases of simulated objects of known shear."""
    failure: ShapempiError | None = None
    work: tuple[Config, CalibrationParams] | None = None
    results: list[CaseResult] | None = None
    with connect() as comm:
        if comm.rank == 0:
            try:
                work = _calibration(options)
            except ShapempiError as error:
                failure = error
        work = comm.share(work)
        if work is not None and options.chain:
            results = calibrate_chain(comm, *work)  # an error in there ends all ranks
        elif work is not None:
            try:
                results = calibrate_stamps(comm, *work)
            except ShapempiError as error:
                failure = error
    if failure is not None:
        raise failure  # on rank 0 only: one message
    if work is not None and results is not None:
        _report_calibration(results, *work)
    return 0


def _calibration(options: argparse.Namespace) -> tuple[Config, CalibrationParams]:
    """Return the configuration and the calibration that the command line asks for, and take its folder."""
    settings = load(options.config)
    if options.chain and (options.case or options.pairs):
        raise ConfigError("--chain measures the survey of [simulation]: --case and --pairs are of no use with it")
    params = choose_cases(settings.calibration, options.case, options.pairs)
    if options.chain:
        check_chain(settings, options.config)
    claim_folder(params.folder, overwrite=options.overwrite)
    return settings, params


def _report_calibration(results: list[CaseResult], settings: Config, params: CalibrationParams) -> None:
    """Print the table of a calibration; write it, the numbers and the figure."""
    text = calibration_report.lines(results, params)
    print("\n".join(text))
    figure = params.folder / calibration_report.FIGURE_NAME
    calibration_report.draw_biases(results, params, figure)
    (params.folder / calibration_report.TEXT_NAME).write_text("\n".join(text) + "\n", encoding="utf-8")
    made_with = settings.model_dump(mode="json", include={"shapes": True, "simulation": True, "vignet": {"size"}})
    calibration_report.write_result(results, params, made_with, params.folder / calibration_report.RESULT_NAME)
    print(f"\n{figure}")


def config(options: argparse.Namespace) -> int:
    """Check a configuration, or print what there is to configure."""
    if options.reference:
        print(key_reference(), end="")
    if options.columns:
        tables = (
            ("Catalogue", COLUMNS),
            ("Epochs", EPOCH_COLUMNS),
            ("Stars", STAR_COLUMNS),
            ("PSF models", PSF_STATUS_COLUMNS),
            ("Statistics of the star selection", STAR_STATISTIC_COLUMNS),
        )
        flags = (("shape_flags", ObjectFlag), ("flags_<type>", FitFlag), ("IMAFLAGS_ISO", PixelFlag))
        print(column_reference(tables, flags), end="")
    if options.surveys:
        names = description_names()
        width = max(len(name) for name in names)
        print("\n".join(f"{name:{width}s}  {read_description(name).title}" for name in names))
    if options.survey is not None:
        print(read_description(options.survey).text, end="")
    if options.template:
        print(commented_toml(TEMPLATE), end="")
    if options.config is not None:
        settings = load(options.config)
        print(
            settings.run.folder if options.run_folder else f"{options.config}: valid, fingerprint {settings.digest()}"
        )
    elif not (options.reference or options.columns or options.template or options.surveys or options.survey):
        raise ConfigError("name a file to check, or give --reference, --columns, --template or --surveys")
    return 0


#: Values of the template for keys without a default.
TEMPLATE = {
    "survey.name": "survey",
    "input.exposure_folder": "exposures",
    "input.tile_folder": "tiles",
    "input.star_catalogue": "star_catalogue.fits",
    "run.folder": "run",
}
