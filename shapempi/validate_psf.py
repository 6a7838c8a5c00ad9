"""The PSF validation of a run: from the catalogue's stars to a folder of tables and figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shapempi.camera import Camera
from shapempi.errors import ConfigError
from shapempi.io.atomic import replacing
from shapempi.io.full_starcat import FULL_STARCAT_INPUT, write_full_starcat
from shapempi.io.ldac import write_table
from shapempi.io.psf_maps import NamedArray, write_maps
from shapempi.io.result_folder import claim
from shapempi.io.star_tables import StarTables, open_star_tables
from shapempi.report.psf_maps import draw_ccd_stack, draw_focal_plane
from shapempi.report.psf_rho import draw_rho
from shapempi.report.psf_status import draw_status
from shapempi.report.psf_summary import Findings, SampleStatistics, as_json, histogram_text, lines, trend_text
from shapempi.report.psf_trends import draw_residuals, draw_trends
from shapempi.report.psf_whiskers import draw_whiskers
from shapempi.validation.ccd_status import StatusSummary, summarise_status
from shapempi.validation.focal_plane import CameraLayout, layout_of
from shapempi.validation.jackknife import exposure_groups
from shapempi.validation.maps import MAP_QUANTITIES, MeanMap, ccd_map, coarser, focal_map
from shapempi.validation.params import ValidationParams
from shapempi.validation.requirements import Verdict, judge_residuals, judge_rho
from shapempi.validation.residuals import STAR_INPUT, Sample, collect
from shapempi.validation.rho import RHO_UNITS, rho_statistics
from shapempi.validation.summary import statistics_by, statistics_of
from shapempi.validation.trends import ABSCISSAE, trend

__all__ = ["FOLDER_NAME", "Validated", "validate_run"]

FOLDER_NAME = "psf_validation"

_FULL_STARCAT, _EXPOSURES = "full_starcat-0000000.fits", "exposures"

#: Everything that a validation writes into its folder.
_FILES = (
    *("summary.txt", "summary.json", "maps.h5", "rho.fits", "trends.txt", "per_ccd.fits", "per_exposure.fits"),
    *("ccd_status.txt", _FULL_STARCAT, "focal_plane_e1.png", "focal_plane_e2.png", "focal_plane_T.png"),
    *("ccd_stack.png", "whiskers.png", "trends.png", "residuals.png", "rho.png", "ccd_status.png"),
)


@dataclass(frozen=True)
class Validated:
    """What a validation made.

    Attributes
    ----------
    folder : Path
        Where.
    lines : tuple of str
        The summary.
    paths : tuple of Path
        The files, in the order in which they were written.
    met : bool
        Whether there is a verdict, and every requirement is met.
    """

    folder: Path
    lines: tuple[str, ...]
    paths: tuple[Path, ...]
    met: bool


def validate_run(
    run: Path,
    output: Path | None = None,
    *,
    catalogue: Path | None = None,
    exposures: Sequence[int] | None = None,
    overwrite: bool = False,
    figures: bool = True,
    title: str | None = None,
    params: ValidationParams | None = None,
    camera: Camera | None = None,
    n_threads: int = 1,
) -> Validated:
    """Compare the PSF models of a run with the stars that were held back from them.

    Parameters
    ----------
    run : Path
        The folder of the run.
    output : Path, optional
        Folder to write; `psf_validation` in the run's by default.
    catalogue : Path, optional
        The catalogue; `catalogue.h5` in the run's folder by default.
    exposures : sequence of int, optional
        Exposures that get a folder of their own; all if empty, none by default.
    overwrite : bool, optional
        Whether an earlier validation may be replaced.
    figures : bool, optional
        Whether to draw; tables and numbers are written in any case.
    title : str, optional
        Name of the survey for headings; the name of the run's folder by default.
    params : ValidationParams, optional
        Samples, bins, requirements.
    camera : Camera, optional
        The survey's camera; MegaCam by default.
    n_threads : int, optional
        Threads of the rho statistics; with one, all numbers have the same bits every time.

    Returns
    -------
    Validated
        Summary and files.  Too few stars for a number or figure are no error: the summary says so.

    Raises
    ------
    MissingInputError, DataError
        If there is no catalogue, or its table of held-back stars cannot be used.
    ConfigError
        If the folder is there already or cannot be written, or an exposure is not in the catalogue.
    """
    params = params or ValidationParams()
    source = catalogue or run / "catalogue.h5"
    folder = output or run / FOLDER_NAME
    with open_star_tables(source) as tables:
        held_back = collect(tables.parts("stars", STAR_INPUT), params.sample)
        wanted = _wanted(exposures, held_back, source)
        claim(folder, (*_FILES, _EXPOSURES), "validation", overwrite=overwrite)
        heading = run.resolve().name if title is None else title
        validation = _Validation(tables, held_back, folder, heading, params, camera, n_threads, figures=figures)
        return validation.make(wanted)


def _wanted(exposures: Sequence[int] | None, sample: Sample, source: Path) -> list[int]:
    """Return the exposures that get a folder of their own."""
    if exposures is None:
        return []
    there = [int(exposure) for exposure in np.unique(sample.rows["exposure"])]
    for exposure in exposures:
        if exposure not in there:
            raise ConfigError(
                f"{source}: no good held-back star of exposure {exposure}; there are {len(there)} exposures"
                + (f", {there[0]} to {there[-1]}" if there else "")
            )
    return sorted(set(exposures)) or there


class _Validation:
    """One validation while it is made: what it reads, where it writes."""

    def __init__(
        self,
        tables: StarTables,
        held_back: Sample,
        folder: Path,
        title: str,
        params: ValidationParams,
        camera: Camera | None,
        n_threads: int,
        *,
        figures: bool,
    ) -> None:
        self._tables = tables
        self._held_back = held_back
        self._folder = folder
        self._title = title
        self._params = params
        self._camera = camera
        self._n_threads = n_threads
        self._figures = figures
        self._paths: list[Path] = []
        self._notes: list[str] = []

    def make(self, exposures: Iterable[int]) -> Validated:
        """Compute and write everything."""
        rows, params = self._held_back.rows, self._params
        if not len(rows):
            self._notes.append("no held-back star is good: there is nothing to validate the models by")
        samples = self._samples()
        status = self._status()
        layout = layout_of(self._ccds(status), rows["x"], rows["y"], params.layout, self._camera)
        bright = next(each for each in samples if each.name.startswith("bright"))
        judged = bright if len(bright.sample.rows) else samples[0]
        table = self._rho(rows, self._folder, self._title)
        verdicts: list[Verdict] = []
        if len(rows):
            verdicts = judge_residuals(judged.statistics, params.requirements) + judge_rho(table, params.requirements)
        trends = {
            name: tuple(trend(stars, abscissa, params.trends) for abscissa in ABSCISSAE)
            for name, stars in (("all", rows), ("bright", bright.sample.rows))
        }
        by_exposure = statistics_by(rows, ccds=False)
        self._table("per_exposure.fits", by_exposure)
        self._table("per_ccd.fits", statistics_by(rows, ccds=True))
        self._text("trends.txt", trend_text(trends))
        self._maps(rows, layout)
        self._draw("trends.png", draw_trends, trends["all"], trends["bright"])
        self._draw("residuals.png", draw_residuals, {each.name: each.sample.rows for each in samples})
        write_full_starcat(self._tables.parts("stars", FULL_STARCAT_INPUT), self._path(_FULL_STARCAT), overwrite=False)
        for exposure in exposures:
            self._exposure(exposure, layout)
        found = Findings(
            self._title, samples, judged.name, tuple(verdicts), trends, by_exposure, status, tuple(self._notes)
        )
        text = lines(found)
        self._text("summary.txt", "\n".join(text) + "\n")
        self._text("summary.json", as_json(found, params))
        met = bool(verdicts) and all(verdict.met for verdict in verdicts)
        return Validated(self._folder, tuple(text), tuple(self._paths), met)

    def _samples(self) -> tuple[SampleStatistics, ...]:
        """Return the samples: held-back stars, bright ones of them, and those that the models were fitted to."""
        limit = self._params.sample.bright_snr
        samples = {
            "held-back stars": self._held_back,
            f"bright ones (S/N > {limit:g})": self._held_back.brighter(limit),
        }
        if self._tables.has("training_stars"):
            samples["training stars"] = collect(self._tables.parts("training_stars", STAR_INPUT), self._params.sample)
        else:
            self._notes.append("the catalogue has no table training_stars; gather the run anew to have it")
        return tuple(
            SampleStatistics(name, each, statistics_of(each.rows), exposure_groups(each.rows).unit)
            for name, each in samples.items()
        )

    def _status(self) -> StatusSummary | None:
        """Summarise the CCDs, and draw them."""
        if not self._tables.has("psf_status"):
            self._notes.append("the catalogue has no table psf_status; gather the run anew to have it")
            return None
        status = summarise_status(self._tables.read("psf_status"))
        self._draw("ccd_status.png", draw_status, status)
        self._text("ccd_status.txt", histogram_text(status))
        return status

    def _ccds(self, status: StatusSummary | None) -> list[int]:
        """Return the numbers of the CCDs that there are."""
        ccds = self._held_back.rows["ccd"]
        if status is not None:
            ccds = np.concatenate([ccds, self._tables.read("psf_status", ("ccd",))["ccd"]])
        return [int(ccd) for ccd in np.unique(ccds)]

    def _rho(self, rows: np.ndarray, folder: Path, title: str) -> np.ndarray:
        """Compute, write and draw the rho statistics."""
        table = rho_statistics(rows, self._params.rho, n_threads=self._n_threads)
        self._table("rho.fits", table, RHO_UNITS, folder)
        self._draw("rho.png", draw_rho, table, self._params.requirements, folder=folder, title=title)
        return table

    def _maps(self, rows: np.ndarray, layout: CameraLayout) -> None:
        """Average over the focal plane and the CCD; write and draw the maps."""
        bins = self._params.maps
        focal = focal_map(rows, layout, *self._bins(rows, bins.x_bins, bins.y_bins))
        stack = ccd_map(rows, layout, *coarser(bins.stack_x_bins, bins.stack_y_bins, len(rows), bins.min_stars))
        whiskers = focal_map(rows, layout, *self._bins(rows, bins.whisker_x_bins, bins.whisker_y_bins))
        for quantity in ("e1", "e2", "T"):
            self._draw(f"focal_plane_{quantity}.png", draw_focal_plane, focal, layout, quantity)
        self._draw("ccd_stack.png", draw_ccd_stack, stack, layout)
        self._draw("whiskers.png", draw_whiskers, whiskers, layout)
        x0, x1, y0, y1 = layout.section
        right, up = layout.directions
        attributes = {
            "camera": layout.name,
            "section": f"[{x0}:{x1},{y0}:{y1}]",
            "axes": f"panel, y, x; of focal_plane and whiskers y runs {up} and x {right}, of ccd_stack as read out",
            "shapes": f"reduced shear in the frame of the focal plane ({right}, {up}), which is the CCDs' pixel frame",
        }
        maps = {"focal_plane": focal, "whiskers": whiskers, "ccd_stack": stack}
        arrays = {name: _arrays(found, None if found is stack else layout) for name, found in maps.items()}
        write_maps(self._path("maps.h5"), arrays, attributes)

    def _exposure(self, exposure: int, layout: CameraLayout) -> None:
        """Write the figures of one exposure."""
        folder = self._folder / _EXPOSURES / f"{exposure:07d}"
        folder.mkdir(parents=True)
        title = f"{self._title}, exposure {exposure}"
        sample = self._held_back.of_exposure(exposure)
        bins = self._params.maps
        found = focal_map(sample.rows, layout, *self._bins(sample.rows, bins.x_bins, bins.y_bins))
        for quantity in ("e1", "e2", "T"):
            name = f"focal_plane_{quantity}.png"
            self._draw(name, draw_focal_plane, found, layout, quantity, folder=folder, title=title)
        whiskers = focal_map(sample.rows, layout, *self._bins(sample.rows, bins.whisker_x_bins, bins.whisker_y_bins))
        self._draw("whiskers.png", draw_whiskers, whiskers, layout, folder=folder, title=title)
        self._rho(sample.rows, folder, title)

    def _bins(self, rows: np.ndarray, x_bins: int, y_bins: int) -> tuple[int, int]:
        """Return the bins of a CCD in maps of these stars."""
        n_ccd = max(len(np.unique(rows["ccd"])), 1)
        return coarser(x_bins, y_bins, len(rows) / n_ccd, self._params.maps.min_stars)

    def _path(self, name: str, folder: Path | None = None) -> Path:
        """Return where a file goes, and remember it."""
        self._paths.append((folder or self._folder) / name)
        return self._paths[-1]

    def _draw(
        self,
        name: str,
        draw: Callable[..., None],
        *content: object,
        folder: Path | None = None,
        title: str | None = None,
    ) -> None:
        """Draw a figure, if figures are wanted."""
        if self._figures:
            draw(*content, self._path(name, folder), title=title or self._title)

    def _text(self, name: str, text: str) -> None:
        with replacing(self._path(name)) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def _table(
        self, name: str, table: np.ndarray, units: dict[str, str] | None = None, folder: Path | None = None
    ) -> None:
        label = Path(name).stem.upper()
        write_table(self._path(name, folder), table, overwrite=True, name=label, units=units)


def _arrays(found: MeanMap, layout: CameraLayout | None) -> dict[str, NamedArray]:
    """Return the arrays of a map with units and meanings; with the CCDs' places for a map of the focal plane."""
    arrays: dict[str, NamedArray] = {"n": (found.n, "", "stars")}
    for name, (unit, meaning) in MAP_QUANTITIES.items():
        arrays[name] = (found.mean[name], unit, f"mean {meaning}")
        arrays[f"{name}_err"] = (found.error[name], unit, f"error of the mean {meaning}")
    for name, values in found.rms.items():
        arrays[f"{name}_rms"] = (values, "", f"rms over the stars of the panel of {MAP_QUANTITIES[name][1]}")
    if layout is not None:
        for name, unit, meaning in (
            ("ccd", "", "CCD of each panel"),
            ("upside_down", "", "1 if the CCD is read out upside down, and its panel turned"),
        ):
            values = np.array([getattr(panel, name) for panel in layout.panels], dtype=float)
            arrays[name] = (values.astype(int), unit, meaning)
        for axis, end in zip(("x", "y"), layout.directions, strict=True):
            places = np.array([getattr(panel, axis) for panel in layout.panels], dtype=float)
            arrays[end.lower()] = (places, "pixel", f"centre of the CCD from the centre of the mosaic, to the {end}")
    return arrays
