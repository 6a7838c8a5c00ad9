"""The shear analysis of a run: from its catalogue to a folder of tables and figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shapempi.errors import DataError, MissingInputError
from shapempi.io.atomic import replacing
from shapempi.io.catalog import read_missing, shard_files
from shapempi.io.ldac import write_table
from shapempi.io.result_folder import claim, refuse_folder
from shapempi.io.star_tables import open_star_tables
from shapempi.io.truth import read_truth
from shapempi.lensing.bins import BIN_DTYPE, QUANTITIES, make_axis, record_of
from shapempi.lensing.correlation import psf_correlation, shear_correlation
from shapempi.lensing.cuts import FIXED_COLUMNS, NOSHEAR_COLUMNS, TYPE_COLUMNS
from shapempi.lensing.leakage import leakage
from shapempi.lensing.params import ShearParams
from shapempi.lensing.patches import Patches, make_patches
from shapempi.lensing.sample import Preview, Sample
from shapempi.lensing.tangential import TANGENTIAL_DTYPE, Tangential, tangential_shear
from shapempi.lensing.truth import TruthBias, truth_bias
from shapempi.report.markdown import to_markdown
from shapempi.report.progress import counter
from shapempi.report.shear import whole_pairs
from shapempi.report.shear_figures import draw_grid, draw_mean_shear, draw_response
from shapempi.report.shear_summary import ShearFindings, as_document, as_json, lines
from shapempi.report.shear_xi import draw_modes, draw_psf_correlation, draw_tangential, draw_xi
from shapempi.report.truth import match_truth

__all__ = ["FOLDER_NAME", "Analysed", "Around", "analyse_shear", "catalogue_of"]

FOLDER_NAME = "shear"

_WHAT = "shear analysis"

_FIGURES = {
    "response.png": "Response and mean shear in bins",
    "response_grid.png": "Response by signal-to-noise ratio and size",
    "mean_shear.png": "Mean shear",
    "xi.png": "Correlation functions",
    "modes.png": "E- and B-modes",
    "psf_correlation.png": "PSF",
    "around.png": "Shear around positions",
}

#: Everything that an analysis writes into its folder.
_FILES = (
    *("summary.md", "summary.json", "bins.fits", "grid.fits", "leakage.fits", "xi.fits", "xi_covariance.fits"),
    *("modes.fits", "psf_xi.fits", "around.fits", *_FIGURES),
)

#: Rows that are held in memory at once: 0.3 kB each.
_CHUNK_ROWS = 200_000

_ARCMIN = dict.fromkeys(("theta", "theta_min", "theta_max", "theta_mean"), "arcmin")


@dataclass(frozen=True)
class Around:
    """Positions to average shear around.

    Attributes
    ----------
    name : str
        What is there.
    positions : ndarray of float64 [n, 2]
        ra, dec [deg].
    randoms : ndarray of float64 [n_random, 2] or None
        Random positions like these.
    """

    name: str
    positions: np.ndarray
    randoms: np.ndarray | None = None


@dataclass(frozen=True)
class Analysed:
    """What an analysis made.

    Attributes
    ----------
    folder : Path
        Where.
    lines : tuple of str
        The summary.
    paths : tuple of Path
        The files, in the order in which they were written.
    """

    folder: Path
    lines: tuple[str, ...]
    paths: tuple[Path, ...]


def catalogue_of(run: Path) -> Path:
    """Return the catalogue of a run: its file, or the folder of its files.

    Raises
    ------
    MissingInputError
        If there is none.
    """
    if not run.is_dir():
        raise MissingInputError(f"{run}: there is no run folder of this name")
    for path in (run / "catalogue.h5", run / "catalogue"):
        if path.exists():
            return path
    raise MissingInputError(f"{run}: the run has no catalogue yet; make it with `shapempi gather {run}`")


def analyse_shear(
    run: Path,
    output: Path | None = None,
    *,
    catalogue: Path | None = None,
    around: Sequence[Around] = (),
    truth: Path | None = None,
    step: float = 0.01,
    overwrite: bool = False,
    figures: bool = True,
    title: str | None = None,
    params: ShearParams | None = None,
    n_threads: int = 1,
) -> Analysed:
    """Calibrate the shear of a run, and look at it in all the usual ways.

    The catalogue is read twice, in parts; of each galaxy 60 bytes stay in memory, and 1.5 kB while TreeCorr works.

    Parameters
    ----------
    run : Path
        The folder of the run.
    output : Path, optional
        Folder to write; `shear` in the run's by default.
    catalogue : Path, optional
        The catalogue, a file or a folder of several; the run's by default.
    around : sequence of Around, optional
        Positions to average shear around, besides bright stars.
    truth : Path, optional
        Truth of a simulation.
    step : float, optional
        Shear of the metacalibration types.
    overwrite : bool, optional
        Whether an earlier analysis may be replaced.
    figures : bool, optional
        Whether to draw; tables and numbers are written in any case.
    title : str, optional
        Name of the survey for headings; the name of the run's folder by default.
    params : ShearParams, optional
        Cuts, bins, patches.
    n_threads : int, optional
        Threads of the correlations; with one, all numbers have the same bits every time.

    Returns
    -------
    Analysed
        Summary and files.

    Raises
    ------
    MissingInputError, DataError
        If there is no catalogue, or no truth, or they cannot be used; if no galaxy passes the cuts.
    ConfigError
        If the folder is there already or cannot be written.  Nothing is changed then.
    """
    params = params or ShearParams()
    source = catalogue or catalogue_of(run)
    folder = output or run / FOLDER_NAME
    refuse_folder(folder, _FILES, _WHAT, overwrite=overwrite)
    true_rows = None if truth is None else read_truth(truth)
    files = shard_files(source) if source.is_dir() else [source]
    notes = []
    missing = read_missing(source)
    if missing:
        notes.append(f"the catalogue was made without {len(missing)} units of the plan, such as {missing[0]}")
    rng = [np.random.default_rng([params.seed, k]) for k in range(3)]
    preview = _preview(files, params, rng[0], source)
    n_galaxy = preview.n_galaxy
    patches = make_patches(preview.galaxies["ra"], preview.galaxies["dec"], n_galaxy, params.patches, rng[1])
    if not patches.jackknife:
        notes.append(
            f"{n_galaxy} galaxies are too few for ten patches of {params.patches.patch_galaxies} "
            "(shear.patches): errors are those of the noise of shapes"
        )
    fraction = params.correlation.max_galaxies / n_galaxy
    if fraction < 1:
        notes.append(
            f"about {params.correlation.max_galaxies} galaxies, drawn at random, are correlated "
            "(shear.correlation.max_galaxies); means and responses are of all"
        )
    axes = {name: make_axis(name, preview.galaxies[name], params.bins, params.cuts) for name in QUANTITIES}
    sample = Sample(params.cuts, patches, axes, step, fraction=fraction, rng=rng[2])
    for part in _parts(files, (*FIXED_COLUMNS, *TYPE_COLUMNS), "response"):
        sample.add(part)
    R = sample.total.R()
    if not np.isfinite(R).all() or np.linalg.det(R) <= 0:
        raise DataError(
            f"{source}: the mean response of {n_galaxy} galaxies cannot be divided by (R11 {R[0, 0]:.3f}, "
            f"R22 {R[1, 1]:.3f}); more galaxies are needed, or other cuts (shear.cuts)"
        )
    galaxies = sample.galaxies()
    shear = np.linalg.solve(R, np.stack([galaxies["g1"], galaxies["g2"]]))
    wanted = [Around("bright stars", np.concatenate(preview.stars)), *around]
    found = ShearFindings(
        title=run.resolve().name if title is None else title,
        n_row=preview.n_row,
        counts=preview.counts,
        step=step,
        n_patch=len(patches),
        whole=record_of(sample.total, np.zeros(1, BIN_DTYPE)[0]),
        bins={name: bins.table() for name, bins in sample.bins.items()},
        leakage=leakage(galaxies, shear),
        truth=None if true_rows is None else _compare(galaxies, shear, true_rows, notes),
        correlation=shear_correlation(galaxies, shear, params.correlation, patches, n_threads=n_threads),
        psf=psf_correlation(galaxies, shear, params.correlation, patches, n_threads=n_threads),
        tangential=_around(wanted, galaxies, shear, params, patches, n_threads),
        notes=notes,
    )
    grid = [sample.grid.table(axis) for axis in (0, 1)]
    claim(folder, _FILES, _WHAT, overwrite=overwrite)
    return _Writing(folder, found, figures=figures).write(params, grid)


def _parts(files: Sequence[Path], columns: Sequence[str], title: str) -> Iterator[np.ndarray]:
    """Read the catalogue part by part, with a bar where it is long."""
    rows = []
    for path in files:
        with open_star_tables(path) as tables:
            rows.append(tables.n_row("catalogue"))
    done = 0
    with counter(title, shown=sum(rows) > 5 * _CHUNK_ROWS) as progress:
        for path in files:
            with open_star_tables(path) as tables:
                for part in tables.parts("catalogue", columns, n_row=_CHUNK_ROWS):
                    yield part
                    done += len(part)
                    progress(done, sum(rows), "rows")


def _preview(files: Sequence[Path], params: ShearParams, rng: np.random.Generator, source: Path) -> Preview:
    """Count the cuts; raise if nothing is left."""
    preview = Preview(params.cuts, params.tangential.star_mag_max, rng)
    for part in _parts(files, (*FIXED_COLUMNS, *NOSHEAR_COLUMNS), "cuts"):
        preview.add(part)
    if preview.n_galaxy == 0:
        left = ", ".join(f"{count} after {name}" for name, count in preview.counts.items())
        raise DataError(
            f"{source}: no galaxy passes the cuts (shear.cuts): {preview.n_row} rows" + (f", {left}" if left else "")
        )
    return preview


def _compare(galaxies: np.ndarray, shear: np.ndarray, truth: np.ndarray, notes: list[str]) -> TruthBias | None:
    """Compare with the true shear of the same galaxies."""
    truth = truth[~truth["is_star"]]
    near, _ = match_truth(galaxies, truth)
    matched = whole_pairs(truth["pair"], near >= 0)
    near, truth = near[matched], truth[matched]
    paired = (truth["pair"] >= 0).any()
    group = (
        np.where(truth["pair"] >= 0, truth["pair"], -1 - np.arange(len(truth))) if paired else galaxies["patch"][near]
    )
    true_g = np.stack([truth["g1"], truth["g2"]])
    bias = truth_bias(shear[:, near], galaxies["weight"][near], true_g, group)
    if bias is None:
        notes.append(f"only {len(truth)} galaxies match the truth within an arcsecond: nothing is said of bias")
    return bias


def _around(
    wanted: Sequence[Around],
    galaxies: np.ndarray,
    shear: np.ndarray,
    params: ShearParams,
    patches: Patches,
    n_threads: int,
) -> list[Tangential]:
    """Average shear around positions."""
    return [
        tangential_shear(
            each.name,
            each.positions,
            galaxies,
            shear,
            params.tangential,
            patches,
            randoms=each.randoms,
            min_pairs=params.correlation.min_pairs,
            n_threads=n_threads,
        )
        for each in wanted
    ]


class _Writing:
    """Writes tables and figures, and remembers them."""

    def __init__(self, folder: Path, found: ShearFindings, *, figures: bool) -> None:
        self._folder, self._found = folder, found
        self._figures = figures
        self._paths: list[Path] = []

    def write(self, params: ShearParams, grid: Sequence[np.ndarray]) -> Analysed:
        """Write everything."""
        found = self._found
        self._table("bins.fits", _named("quantity", list(found.bins.items()), BIN_DTYPE))
        self._table("grid.fits", _grid_table(*grid))
        self._table("leakage.fits", found.leakage)
        self._table("xi.fits", found.correlation.table, _ARCMIN)
        if found.correlation.covariance is not None:
            n = len(found.correlation.covariance)
            rows = np.zeros(n, [("covariance", "f8", (n,))])
            rows["covariance"] = found.correlation.covariance
            self._table("xi_covariance.fits", rows)
        modes = found.correlation.modes
        self._table("modes.fits", modes, {name: "rad2" for name in modes.dtype.names or () if name != "n"})
        self._table("psf_xi.fits", found.psf.table, _ARCMIN)
        around = [(each.name, each.table) for each in found.tangential]
        self._table("around.fits", _named("around", around, TANGENTIAL_DTYPE), _ARCMIN)
        if self._figures:
            self._draw(grid, params.correlation.min_pairs)
        text = lines(found)
        pictures = {_FIGURES[path.name]: path for path in self._paths if path.name in _FIGURES}
        self._text("summary.md", to_markdown(as_document(found, pictures)))
        self._text("summary.json", as_json(found, params))
        return Analysed(self._folder, tuple(text), tuple(self._paths))

    def _draw(self, grid: Sequence[np.ndarray], min_pairs: int) -> None:
        """Draw all figures."""
        found, title = self._found, self._found.title
        draw_response(found.bins, self._path("response.png"), title=title)
        draw_grid(grid[0], grid[1], self._path("response_grid.png"), title=title)
        draw_mean_shear(found.bins, found.whole, found.leakage, self._path("mean_shear.png"), title=title)
        draw_xi(found.correlation, found.psf, min_pairs, self._path("xi.png"), title=title)
        if len(found.correlation.modes):
            draw_modes(found.correlation, self._path("modes.png"), title=title)
        draw_psf_correlation(found.psf, min_pairs, self._path("psf_correlation.png"), title=title)
        draw_tangential(found.tangential, self._path("around.png"), title=title)

    def _path(self, name: str) -> Path:
        self._paths.append(self._folder / name)
        return self._paths[-1]

    def _text(self, name: str, text: str) -> None:
        with replacing(self._path(name)) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def _table(self, name: str, table: np.ndarray, units: dict[str, str] | None = None) -> None:
        write_table(self._path(name), table, overwrite=True, name=Path(name).stem.upper(), units=units)


def _named(column: str, tables: Sequence[tuple[str, np.ndarray]], dtype: np.dtype) -> np.ndarray:
    """Return tables one after the other, with their names as a column."""
    width = max(len(name.encode()) for name, _ in tables)
    parts = []
    for name, table in tables:
        part = np.zeros(len(table), [(column, f"S{width}"), *dtype.descr])
        part[column] = name.encode()
        for each in dtype.names or ():
            part[each] = table[each]
        parts.append(part)
    return np.concatenate(parts)


def _grid_table(by_s2n: np.ndarray, by_size: np.ndarray) -> np.ndarray:
    """Return the bins of signal-to-noise ratio and size as rows."""
    limits = ("low", "high", "mean")
    others = [item for item in BIN_DTYPE.descr if item[0] not in limits]
    rows = np.zeros(
        by_s2n.size, [*((f"{axis}_{name}", "f8") for axis in ("s2n", "size_ratio") for name in limits), *others]
    )
    for axis, table in (("s2n", by_s2n), ("size_ratio", by_size)):
        for name in limits:
            rows[f"{axis}_{name}"] = table[name].ravel()
    for name, *_ in others:
        rows[name] = by_s2n[name].ravel()
    return rows
