"""Processor time of PSF models: drawing them, and fitting them with every engine."""

from __future__ import annotations

import resource
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import galsim
import galsim.des
import numpy as np

from shapempi.bench.clock import Spread, machine, take_turns
from shapempi.bench.memory import Memory, memory_of
from shapempi.bench.star_sample import SHAPE, TruePsf, simulate_stars
from shapempi.engines.psf import make_engine
from shapempi.engines.psf_engine import PsfEngine
from shapempi.engines.psf_params import PsfParams
from shapempi.errors import EngineError
from shapempi.io.psfex import write_psf
from shapempi.measure.moments import adaptive_moments
from shapempi.measure.psf.outcome import PsfFit
from shapempi.measure.psf.sample import StarSample
from shapempi.measure.psf.solve import polynomial_terms
from shapempi.psf import INTERPOLANTS, PsfModel

__all__ = ["ENGINES", "EngineTime", "PsfBenchmark", "bench_psf"]

#: Side of the stamps and of the models [pixel].
_SIZE = 51
#: Stamps that GalSim draws at a time.
_N_GALSIM = 20
#: Side of the grid of positions on the CCD at which models are compared with the truth.
_N_GRID = 5

#: The figures that PSFEx makes if nobody says otherwise.
_DEFAULT_PLOTS = ("SELECTION_FWHM", "FWHM", "ELLIPTICITY", "COUNTS", "COUNT_FRACTION", "CHI2", "MOFFAT_RESIDUALS")

#: What is timed, as settings.
ENGINES: Mapping[str, Mapping[str, Any]] = {
    "native": {"engine": "native"},
    "psfex without check-plots": {"engine": "psfex"},
    # As PostScript, which every build of it can write.
    "psfex with its default check-plots": {
        "engine": "psfex",
        "psfex": {"check_plots": _DEFAULT_PLOTS, "check_plot_device": "PSC"},
    },
    "piff": {"engine": "piff"},
}
#: Those that are measured less often.
_SLOW = ("piff",)


@dataclass(frozen=True)
class EngineTime:
    """One engine on the stars of one CCD.

    Attributes
    ----------
    version : str
        What made the model.
    seconds : Spread
        Processor time of a fit, programs that it starts included [s].
    memory : Memory
        Memory of a fit [MB].
    status : str
        What became of the model.
    n_used : int
        Stars that it was fitted to.
    size_error, shape_error : float
        Mean dT/T and rms of dg1 and dg2 over the CCD against the truth.
    """

    version: str
    seconds: Spread
    memory: Memory
    status: str
    n_used: int
    size_error: float
    shape_error: float


@dataclass(frozen=True)
class PsfBenchmark:
    """The result of `bench_psf`.

    Attributes
    ----------
    machine : mapping of str to str
        Where this was measured.
    n_star : int
        Stars on the CCD.
    drawing : dict of str to Spread
        Processor time of one stamp by interpolant, at sub-pixel offsets, and of GalSim's DES_PSFEx [microsecond].
    fits : dict of str to EngineTime
        The engines.
    without : dict of str to str
        Engines that are not there or made no model, and why.
    """

    machine: Mapping[str, str]
    n_star: int
    drawing: dict[str, Spread] = field(default_factory=dict)
    fits: dict[str, EngineTime] = field(default_factory=dict)
    without: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return all numbers, for JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Return the tables."""
        lines = [", ".join(f"{name} {value}" for name, value in self.machine.items() if value)]
        lines += ["processor time of one thread; median (1/6 to 5/6 of the repeats)", ""]
        lines += [
            f"| {_SIZE} x {_SIZE} stamps, degree 2, shifted | us per stamp | stamps per second | ratio to lanczos4 |"
        ]
        lines += ["|---|---|---|---|"]
        usual = self.drawing["lanczos4"].median
        for name, spread in self.drawing.items():
            rate, ratio = 1e6 / spread.median, spread.median / usual
            lines.append(f"| {name} | {_text(spread, 1)} | {rate:.0f} | {ratio:.3g} |")
        lines += [
            "",
            f"| fit of {self.n_star} stars {_SIZE} x {_SIZE} on one CCD | s | ratio to native | MB | of it programs ",
        ]
        lines[-1] += "| stars used | status | mean dT/T | rms dg |"
        lines += ["|---|---|---|---|---|---|---|---|---|"]
        native = self.fits["native"].seconds.median if "native" in self.fits else np.nan
        for name, fit in self.fits.items():
            lines.append(
                f"| {name} ({fit.version}) | {_text(fit.seconds, 2)} | {fit.seconds.median / native:.2g} | "
                f"{fit.memory.total:.0f} | {fit.memory.programs:.0f} | {fit.n_used} | {fit.status} | "
                f"{fit.size_error:.1e} | {fit.shape_error:.1e} |"
            )
        lines += ["", *(f"without {name}: {reason}" for name, reason in self.without.items())]
        return lines


def _text(spread: Spread, digits: int) -> str:
    """Return a time with its spread."""
    return f"{spread.median:.{digits}f} ({spread.low:.{digits}f} to {spread.high:.{digits}f})"


def bench_psf(
    *,
    n_stamp: int = 2000,
    n_star: int = 120,
    n_repeat: int = 3,
    n_slow: int = 1,
    seed: int = 1,
    engines: Sequence[str] = tuple(ENGINES),
    report: Callable[[str], None] = lambda _: None,
) -> PsfBenchmark:
    """Measure how long it takes to draw and to fit PSF models, with one thread.

    A model of degree 2 is drawn by the kernel with each interpolant, and stamp by stamp by galsim.des.DES_PSFEx.  The
    stars of one simulated CCD are fitted by every engine that is there.  Functions take turns in one process, so that
    a machine whose speed drifts slows all down alike; memory is measured in a process of its own for each engine.

    Parameters
    ----------
    n_stamp : int, optional
        Stamps to draw.
    n_star : int, optional
        Stars on the CCD.
    n_repeat : int, optional
        Measurements.
    n_slow : int, optional
        Measurements of the fits by Piff.
    seed : int, optional
        Of the simulation.
    engines : sequence of str, optional
        Which of ENGINES.
    report : callable, optional
        Gets a line before each step.

    Returns
    -------
    PsfBenchmark
        Times, ratios and memory.
    """
    result = PsfBenchmark(machine(), n_star)
    report(f"drawing: {n_stamp} stamps with each interpolant, {n_repeat} times; {_N_GALSIM} by GalSim")
    result.drawing.update(_drawing(n_stamp, n_repeat, np.random.default_rng([seed, 0])))
    report(f"simulation of {n_star} stars")
    sample, truth = simulate_stars(n_star, _SIZE, np.random.default_rng([seed, 1]))
    fits: dict[str, Callable[[], None]] = {}
    versions: dict[str, str] = {}
    outcomes: dict[str, PsfFit] = {}
    for name in engines:
        try:
            engine = make_engine(PsfParams.model_validate(ENGINES[name]))
        except EngineError as error:
            result.without[name] = str(error)
        else:
            versions[name] = engine.version
            fits[name] = partial(_fit, engine, sample, name, outcomes)
    seconds: dict[str, Spread] = {}
    for slow, n in ((False, n_repeat), (True, n_slow)):
        turns = {name: fit for name, fit in fits.items() if (name in _SLOW) is slow}
        report(f"fits: {', '.join(turns) or 'none'}; {n} times")
        seconds |= take_turns(turns, n, before=not slow, clock=_processor_seconds)
    for name, outcome in outcomes.items():
        if outcome.model is None:  # its time is not that of a fit
            result.without[name] = outcome.reason
            continue
        report(f"memory: {name}")
        memory = memory_of(_prepare_fit, name, n_star, seed)
        n_used, errors = int(outcome.used.sum()), _errors(outcome.model, truth)
        result.fits[name] = EngineTime(versions[name], seconds[name], memory, outcome.status.value, n_used, *errors)
    return result


def _fit(engine: PsfEngine, sample: StarSample, name: str, outcomes: dict[str, PsfFit]) -> None:
    """Fit, and keep the result."""
    outcomes[name] = engine.fit(sample)


def _prepare_fit(name: str, n_star: int, seed: int) -> Callable[[], object]:
    """Return a fit to the same stars in another process."""
    sample, _ = simulate_stars(n_star, _SIZE, np.random.default_rng([seed, 1]))
    return partial(make_engine(PsfParams.model_validate(ENGINES[name])).fit, sample)


def _processor_seconds() -> float:
    """Return the processor time of this process and of the programs that have ended [s]."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _drawing(n_stamp: int, n_repeat: int, rng: np.random.Generator) -> dict[str, Spread]:
    """Time the drawing of stamps [microsecond per stamp]."""
    ny, nx = SHAPE
    model = _model(TruePsf.random(rng))
    x, y = rng.uniform(0, nx - 1, n_stamp), rng.uniform(0, ny - 1, n_stamp)
    dx, dy = rng.uniform(-0.5, 0.5, (2, n_stamp))
    turns: dict[str, Callable[[], object]] = {
        name: partial(replace(model, interpolant=name).draw, x, y, _SIZE, dx=dx, dy=dy) for name in INTERPOLANTS
    }
    turns["lanczos4, not shifted"] = partial(model.draw, x, y, _SIZE)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.psf"
        write_psf(path, model, overwrite=False)
        referee = galsim.des.DES_PSFEx(str(path))
    places = np.stack([x + 1, y + 1, dx, dy], axis=-1)[:_N_GALSIM].tolist()

    def draw_by_galsim() -> None:
        for x1, y1, *offset in places:
            profile = referee.getPSF(galsim.PositionD(x1, y1))
            profile.drawImage(nx=_SIZE, ny=_SIZE, scale=1.0, offset=tuple(offset), method="no_pixel")

    turns["galsim.des.DES_PSFEx, lanczos3"] = draw_by_galsim
    counts = {name: n_stamp for name in turns} | {"galsim.des.DES_PSFEx, lanczos3": len(places)}
    return {name: spread.scaled(1e6 / counts[name]) for name, spread in take_turns(turns, n_repeat).items()}


def _model(truth: TruePsf) -> PsfModel:
    """Return a model of degree 2 through a PSF at six places."""
    ny, nx = SHAPE
    zero, scale = ((nx + 1) / 2, (ny + 1) / 2), (nx / 2, ny / 2)
    u, v = np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1], [1, 1]]).T
    images = truth.draw((u + 1) * nx / 2, (v + 1) * ny / 2, np.zeros((6, 2)), _SIZE)
    terms = polynomial_terms(2, u.astype(float), v.astype(float))
    basis = np.linalg.solve(terms, images.reshape(6, -1)).reshape(6, _SIZE, _SIZE)
    return PsfModel(basis, 2, zero, scale, 1.0, 100, 1.0, 3.7)


def _errors(model: PsfModel, truth: TruePsf) -> tuple[float, float]:
    """Return mean dT/T and the rms of dg1 and dg2 of a model over the CCD."""
    ny, nx = SHAPE
    grid = (np.arange(_N_GRID) + 0.5) / _N_GRID
    x, y = (axis.ravel() for axis in np.meshgrid(grid * nx, grid * ny))
    true = adaptive_moments(truth.draw(x, y, np.zeros((len(x), 2)), _SIZE))
    ours = adaptive_moments(model.draw(x, y, _SIZE))
    shape = np.stack([ours[name] - true[name] for name in ("g1", "g2")])
    return float(np.mean((ours["sigma"] / true["sigma"]) ** 2 - 1)), float(np.sqrt(np.mean(shape**2)))
