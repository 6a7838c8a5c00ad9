"""Processor time of the shape measurement, by part and against other engines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np

from shapempi.bench.clock import Spread, machine, peak_rate, take_turns
from shapempi.bench.native_parts import FITS, IMAGES, NativeParts
from shapempi.bench.stamps import simulate_stacks
from shapempi.errors import EngineError
from shapempi.kernels import _isa
from shapempi.measure.galsim_engine import GalsimEngine
from shapempi.measure.joint_fit import starting_points
from shapempi.measure.native_engine import EPOCHS_PER_PART, NativeEngine
from shapempi.measure.ngmix_engine import NgmixEngine
from shapempi.measure.observation import prepare
from shapempi.measure.shape_params import ShapeParams
from shapempi.vignet import VignetStacks

__all__ = ["Precision", "ShapesBenchmark", "bench_shapes"]

#: Epochs per object.
_EPOCHS = (1, 3, 5)

#: Epochs per object with which the instruction sets are compared.
_OF_SETS = 3

_SEED = (1, 100, 200)

#: ngmix's own settings of its minimiser, with which it is timed.
_NGMIX_DEFAULTS = {"tolerance": 1e-5, "max_evaluations": 4000}


@dataclass(frozen=True)
class Precision:
    """The native engine in one precision, on objects of one number of epochs.

    Attributes
    ----------
    n_epoch : int
        Epochs of each object.
    precision : str
        Of the images.
    parts : mapping of str to Spread
        Processor time of each part, and of `all` in one [ms per object].
    image_operations, fit_operations : float
        Multiply-adds for the images of one epoch, and the fits of one object.
    image_fraction, fit_fraction : float
        Part of the core's peak, in the precision of each, that they reach.
    """

    n_epoch: int
    precision: str
    parts: Mapping[str, Spread]
    image_operations: float
    fit_operations: float
    image_fraction: float
    fit_fraction: float

    @property
    def between(self) -> float:
        """What `all` takes longer than its parts together [ms per object]: new memory, and Python between them."""
        parts = sum(part.median for name, part in self.parts.items() if not name.startswith("-") and name != "all")
        return self.parts["all"].median - parts


@dataclass(frozen=True)
class ShapesBenchmark:
    """The result of `bench_shapes`.

    Attributes
    ----------
    machine : mapping of str to str
        Where this was measured.
    n_object : int
        Objects.
    peak : mapping of str to float
        Multiply-adds per second of one core, for each precision.
    native : list of Precision
        The native engine.
    others : mapping of int to mapping of str to Spread
        Of each number of epochs, the processor time of other engines on the same stamps [ms per object].
    instruction_sets : mapping of str to Spread
        Processor time of the native engine, float64, with each instruction set that the CPU has, three epochs
        [ms per object].
    without : str
        Why ngmix is not among them; empty if it is.
    """

    machine: Mapping[str, str]
    n_object: int
    peak: Mapping[str, float]
    native: list[Precision] = field(default_factory=list)
    others: dict[int, dict[str, Spread]] = field(default_factory=dict)
    instruction_sets: dict[str, Spread] = field(default_factory=dict)
    without: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return all numbers, for JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Return the tables."""
        lines = [", ".join(f"{name} {value}" for name, value in self.machine.items() if value)]
        lines += [f"peak of a core: {', '.join(f'{v / 1e9:.1f} G/s {k}' for k, v in self.peak.items())} multiply-adds"]
        lines += [f"{self.n_object} objects; processor time of one thread; median (1/6 to 5/6 of the repeats)", ""]
        lines += ["| epochs | precision | part | ms per object | ms per object and epoch |", "|---|---|---|---|---|"]
        for run in self.native:
            for name, spread in run.parts.items():
                each = f"{spread.median / run.n_epoch:.3f}"
                lines.append(f"| {run.n_epoch} | {run.precision} | {name} | {_text(spread)} | {each} |")
            each = f"{run.between / run.n_epoch:.3f}"
            lines.append(
                f"| {run.n_epoch} | {run.precision} | - of it between the parts | {run.between:.3f} | {each} |"
            )
        lines += [
            "",
            "| epochs | engine | ms per object | ratio to native float64 | to float32 |",
            "|---|---|---|---|---|",
        ]
        for n_epoch, engines in self.others.items():
            ours = {run.precision: run.parts["all"].median for run in self.native if run.n_epoch == n_epoch}
            for name, spread in engines.items():
                ratios = " | ".join(f"{spread.median / ours[precision]:.0f}" for precision in ("float64", "float32"))
                lines.append(f"| {n_epoch} | {name} | {_text(spread)} | {ratios} |")
        lines += ["", "| epochs | instruction set | ms per object |", "|---|---|---|"]
        lines += [f"| {_OF_SETS} | {name} | {_text(spread)} |" for name, spread in self.instruction_sets.items()]
        lines += ["", *([f"without ngmix: {self.without}", ""] if self.without else [])]
        lines += ["| epochs | precision | multiply-adds per epoch: images | of the peak | fits | of the peak |"]
        lines += ["|---|---|---|---|---|---|"]
        for run in self.native:
            fits = run.fit_operations / run.n_epoch
            lines.append(
                f"| {run.n_epoch} | {run.precision} | {run.image_operations / 1e6:.2f} M | "
                f"{100 * run.image_fraction:.0f} % | {fits / 1e6:.2f} M | {100 * run.fit_fraction:.0f} % |"
            )
        return lines


def _text(spread: Spread) -> str:
    """Return a time with its spread."""
    digits = 3 if spread.median < 10 else 1
    return f"{spread.median:.{digits}f} ({spread.low:.{digits}f} to {spread.high:.{digits}f})"


def bench_shapes(
    *,
    n_object: int = 64,
    n_repeat: int = 15,
    n_slow: int = 1,
    seed: int = 1,
    report: Callable[[str], None] = lambda _: None,
) -> ShapesBenchmark:
    """Measure how long the shapes of simulated objects take, with one thread.

    Objects of 1, 3 and 5 epochs; the native engine in both precisions and by part; the galsim engine and, where it can
    be imported, ngmix's metacalibration bootstrap on the same stamps in the same process.  Functions take turns, so
    that a machine whose speed drifts slows all down alike; what is done once only is done before.  The clock is that of
    the processor, all threads of the process together.

    Parameters
    ----------
    n_object : int, optional
        Objects.
    n_repeat : int, optional
        Measurements of the native engine.
    n_slow : int, optional
        Measurements of the other engines.
    seed : int, optional
        Of the simulation.
    report : callable, optional
        Gets a line before each step.

    Returns
    -------
    ShapesBenchmark
        Times, ratios, and the fraction of the core's peak that is reached.
    """
    report("the multiply-add peak of a core")
    peak = {"float64": peak_rate(), "float32": peak_rate(single=True)}
    ngmix, without = _ngmix()
    versions = {} if ngmix is None else {"ngmix": ngmix.version}
    result = ShapesBenchmark(machine() | versions, n_object, peak, without=without)
    for n_epoch in _EPOCHS:
        report(f"{n_epoch} epoch{'s' if n_epoch > 1 else ''}: simulation of {n_object} objects")
        stacks = simulate_stacks(n_object, n_epoch, np.random.default_rng([seed, n_epoch]))
        report(f"{n_epoch}: native engine, {n_repeat} times in each precision")
        for precision in ("float64", "float32"):
            result.native.append(_native(stacks, precision, n_repeat, peak))
        report(f"{n_epoch}: other engines, {n_slow} times")
        result.others[n_epoch] = _others(stacks, ngmix, n_slow)
        if n_epoch == _OF_SETS:
            result.instruction_sets.update(_instruction_sets(stacks, n_repeat))
    return result


def _ngmix() -> tuple[NgmixEngine | None, str]:
    """Return the engine of ngmix, or why there is none."""
    try:
        return NgmixEngine(), ""
    except EngineError as error:
        return None, str(error)


def _native(stacks: VignetStacks, precision: str, n_repeat: int, peak: Mapping[str, float]) -> Precision:
    """Time the native engine in one precision."""
    params = ShapeParams.model_validate({"precision": precision})
    n_object, n_epoch = len(stacks), len(stacks.image) // len(stacks)
    # As many objects at once as the engine takes: what they need stays in the cache.
    step = max(1, EPOCHS_PER_PART // n_epoch)
    parts = [
        NativeParts(stacks.part(begin, min(begin + step, n_object)), params, _SEED)
        for begin in range(0, n_object, step)
    ]
    functions = [part.functions() for part in parts]
    turns: dict[str, Callable[[], object]] = {
        name: partial(_call_all, [each[name] for each in functions]) for name in functions[0]
    }
    turns["all"] = lambda: NativeEngine().measure(stacks, params, _SEED)
    seconds = take_turns(turns, n_repeat)
    image_operations = sum(part.image_operations() for part in parts)
    fit_operations = sum(part.fit_operations() for part in parts)
    return Precision(
        n_epoch=n_epoch,
        precision=precision,
        parts={name: spread.scaled(1e3 / n_object) for name, spread in seconds.items()},
        image_operations=image_operations / len(stacks.image),
        fit_operations=fit_operations / n_object,
        image_fraction=image_operations / seconds[IMAGES].median / peak[precision],
        fit_fraction=fit_operations / seconds[FITS].median / peak["float64"],
    )


def _call_all(functions: Sequence[Callable[[], object]]) -> None:
    """Call one function after the other."""
    for function in functions:
        function()


def _instruction_sets(stacks: VignetStacks, n_repeat: int) -> dict[str, Spread]:
    """Time the native engine with each instruction set [ms per object]."""

    def measure(isa: str) -> None:
        NativeEngine().measure(stacks, ShapeParams.model_validate({"instruction_set": isa}), _SEED)

    seconds = take_turns({isa: partial(measure, isa) for isa in _isa.available()}, n_repeat)
    return {isa: spread.scaled(1e3 / len(stacks)) for isa, spread in seconds.items()}


def _others(stacks: VignetStacks, ngmix: NgmixEngine | None, n_repeat: int) -> dict[str, Spread]:
    """Time the other engines [ms per object]."""
    params = ShapeParams()
    engines: dict[str, Callable[[], object]] = {"galsim": lambda: GalsimEngine().measure(stacks, params, _SEED)}
    GalsimEngine().measure(stacks.part(0, 1), params, _SEED)
    if ngmix is not None:
        bootstraps = _Bootstraps(ngmix, stacks)
        bootstraps(1)
        engines["ngmix, its bootstrap"] = bootstraps
    seconds = take_turns(engines, n_repeat, before=False)
    return {name: spread.scaled(1e3 / len(stacks)) for name, spread in seconds.items()}


class _Bootstraps:
    """Runs ngmix's metacalibration bootstrap, with its own settings, on objects that are prepared."""

    def __init__(self, ngmix: NgmixEngine, stacks: VignetStacks) -> None:
        self._ngmix = ngmix
        self._params = ShapeParams().model_copy(update=_NGMIX_DEFAULTS)
        self._observations = prepare(stacks, self._params, _SEED)
        used = np.ones(len(self._observations.image), dtype=bool)
        self._start, _ = starting_points(self._observations, used)

    def __call__(self, n_object: int | None = None) -> None:
        """Run it on the first objects, or on all."""
        first = self._observations.first.tolist()
        for i, epochs in enumerate(map(range, first[:-1], first[1:])):
            if i == n_object:
                return
            rng = np.random.default_rng([*_SEED, i])
            self._ngmix.bootstrap(self._observations, epochs, float(self._start[i, 4]), self._params, rng)
