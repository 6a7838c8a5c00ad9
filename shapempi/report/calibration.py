"""Biases of the shapes: the table that is printed, the file with all numbers, and the figure."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy

from shapempi import __version__
from shapempi.calibration.estimate import QUANTITIES, CaseResult, Quantity
from shapempi.calibration.params import CalibrationParams
from shapempi.errors import ConfigError
from shapempi.io.atomic import replacing
from shapempi.report.shear import ShearBias

if TYPE_CHECKING:
    import matplotlib.axes

__all__ = ["FIGURE_NAME", "RESULT_NAME", "TEXT_NAME", "chain_result", "draw_biases", "lines", "write_result"]

RESULT_NAME, FIGURE_NAME, TEXT_NAME = "calibration.json", "calibration.png", "calibration.txt"

#: Columns of the printed tables: heading, quantity, factor, digits.
_Column = tuple[str, str, float, int]
_BIASES: tuple[_Column, ...] = (
    ("m [1e-3]", "m", 1e3, 2),
    ("m1 [1e-3]", "m1", 1e3, 2),
    ("m2 [1e-3]", "m2", 1e3, 2),
    ("c1 [1e-4]", "c1", 1e4, 2),
    ("c2 [1e-4]", "c2", 1e4, 2),
)
_RESPONSES: tuple[_Column, ...] = (
    ("R11", "R11", 1.0, 4),
    ("R22", "R22", 1.0, 4),
    ("m across [1e-3]", "m_cross", 1e3, 2),
    ("alpha [1e-3]", "alpha", 1e3, 2),
    ("alpha across", "alpha_cross", 1e3, 2),
)
_SELECTED: tuple[_Column, ...] = (
    ("m [1e-3]", "m_cut", 1e3, 2),
    ("m without it", "m_cut_bare", 1e3, 2),
    ("selection's R", "R_selection", 1.0, 4),
)
_CHANGES: tuple[_Column, ...] = (
    ("m [1e-3]", "dm", 1e3, 3),
    ("c1 [1e-4]", "dc1", 1e4, 3),
    ("c2 [1e-4]", "dc2", 1e4, 3),
)


def lines(results: Sequence[CaseResult], params: CalibrationParams) -> list[str]:
    """Return all biases as lines of text.

    Parameters
    ----------
    results : sequence of CaseResult
        The cases.
    params : CalibrationParams
        What is small enough; the cut; what each case refers to.
    """
    limits = {"m": params.m_requirement, "c": params.c_requirement}
    counts = {result.name: f"{result.n_used}/{result.n_pair}" for result in results}
    text = ["multiplicative and additive bias; pairs used and simulated"]
    text += _table(results, _BIASES, counts, limits)
    text.append(f"! is outside |m| < {params.m_requirement:g}, |c| < {params.c_requirement:g} by more than two sigma")
    measured = [result for result in results if np.isfinite(_of(result, "R11").value)]
    if measured:
        text += ["", "mean response, and leakage of the PSF's shape", *_table(measured, _RESPONSES, {}, {})]
    selected = [result for result in results if np.isfinite(_of(result, "m_cut").value)]
    if selected:
        kept = {result.name: f"{result.cut_fraction:.1%}" for result in selected}
        text += [
            "",
            f"selected by T/Tpsf > {params.cut_size:g} and S/N > {params.cut_s2n:g}; with and without the selection's "
            "response",
            *_table(selected, _SELECTED, kept, limits),
        ]
    changed = [result for result in results if "dm" in result.quantities]
    if changed:
        reference = {case.name: f"- {case.reference}" for case in params.cases}
        text += ["", "change from another case, same galaxies and noise", *_table(changed, _CHANGES, reference, {})]
    return text


def chain_result(bias: ShearBias) -> CaseResult:
    """Return the bias of two surveys of opposite shear, measured by the whole chain, as a case."""
    quantities = {}
    for i in range(2):
        for name, value, error in (("m", bias.m, bias.m_error), ("c", bias.c, bias.c_error)):
            quantities[f"{name}{i + 1}"] = Quantity(float(value[i]), float(error[i]), np.zeros(0))
    n_pair = bias.n_galaxy // 2
    return CaseResult("chain", n_pair, n_pair, float("nan"), quantities)


def _of(result: CaseResult, name: str) -> Quantity:
    """Return a quantity of a case; NaN if it has none of this name."""
    nan = float("nan")
    return result.quantities.get(name, Quantity(nan, nan, np.zeros(0)))


def _table(
    results: Sequence[CaseResult], columns: Sequence[_Column], notes: Mapping[str, str], limits: Mapping[str, float]
) -> list[str]:
    """Return one line per case under a heading."""
    width = max([len(result.name) for result in results] + [4])
    beside = max([len(note) for note in notes.values()] + [0])
    text = [f"{'case':{width}s}  {'':{beside}s}" + "".join(f"{heading:>20s}" for heading, *_ in columns)]
    for result in results:
        cells = [_cell(_of(result, name), factor, digits, limits.get(name[0])) for _, name, factor, digits in columns]
        text.append(f"{result.name:{width}s}  {notes.get(result.name, ''):>{beside}s}" + "".join(cells))
    return [line.rstrip() for line in text]


def _cell(quantity: Quantity, factor: float, digits: int, limit: float | None) -> str:
    """Write a value with its error, 20 characters; a dash where it does not apply."""
    if not np.isfinite(quantity.value):
        return f"{'-':>19s} "
    outside = limit is not None and abs(quantity.value) > limit + 2.0 * quantity.error
    text = f"{factor * quantity.value:+.{digits}f} +- {factor * quantity.error:.{digits}f}"
    return f"{text:>19s}{'!' if outside else ' '}"


def write_result(
    results: Sequence[CaseResult], params: CalibrationParams, settings: Mapping[str, Any], path: Path
) -> None:
    """Write all numbers, what they were made with, and the versions.

    Parameters
    ----------
    results : sequence of CaseResult
        The cases.
    params : CalibrationParams
        The calibration.
    settings : mapping
        Settings of the measurement and whatever else the numbers depend on, plain values.
    path : Path
        JSON file to write.

    Raises
    ------
    ConfigError
        If it cannot be written.
    """
    content = {
        "versions": {
            "shapempi": __version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "machine": platform.machine(),
        },
        "settings": dict(settings),
        "calibration": params.model_dump(mode="json"),
        "meaning": dict(QUANTITIES),
        "results": [
            {
                "name": result.name,
                "n_pair": result.n_pair,
                "n_used": result.n_used,
                "cut_fraction": _plain(result.cut_fraction),
                **{
                    name: {"value": _plain(quantity.value), "error": _plain(quantity.error)}
                    for name, quantity in result.quantities.items()
                },
            }
            for result in results
        ],
    }
    try:
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}; change its folder's permissions") from error


def _plain(value: float) -> float | None:
    """Return a number for JSON, which has no NaN."""
    return float(value) if np.isfinite(value) else None


def draw_biases(results: Sequence[CaseResult], params: CalibrationParams, path: Path) -> None:
    """Draw m and c of all cases with their errors and the requirement.

    Parameters
    ----------
    results : sequence of CaseResult
        The cases.
    params : CalibrationParams
        The requirement, and what each case refers to.
    path : Path
        PNG file to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = [result for result in results if any(np.isfinite(_of(result, name).value) for name in ("m", "m1", "m2"))]
    figure = Figure(figsize=(11, 2.2 + 0.6 * max(len(shown), 2)), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True)
    m = (("m", "m", "k", "o"), ("m1", "m1", "#7570b3", "s"), ("m2", "m2", "#e7298a", "D"))
    changes = (("m_cut", "m of the selected sample", "#1b9e77", "^"), ("dm", "change of m", "#d95f02", "v"))
    c = (("c1", "c1", "#7570b3", "s"), ("c2", "c2", "#e7298a", "D"))
    _panel(left, shown, (*m, *changes), 1e3 * params.m_requirement, 1e3, "multiplicative bias [1e-3]")
    _panel(right, shown, c, 1e4 * params.c_requirement, 1e4, "additive bias [1e-4]")
    left.set_yticks(range(len(shown)), [result.name for result in shown])
    left.set_ylim(len(shown) - 0.4, -0.6)
    figure.savefig(path, dpi=110)


def _panel(
    axes: matplotlib.axes.Axes,
    results: Sequence[CaseResult],
    series: Sequence[tuple[str, str, str, str]],
    requirement: float,
    factor: float,
    label: str,
) -> None:
    """One line per case, one symbol per quantity, in units of 1/factor."""
    axes.axvspan(-requirement, requirement, color="0.9", zorder=0, label="requirement")
    axes.axvline(0.0, color="0.5", lw=0.7, zorder=1)
    names = [name for name, *_ in series if any(np.isfinite(_of(result, name).value) for result in results)]
    reach = 2.0 * requirement
    for name, meaning, colour, marker in series:
        if name not in names:
            continue
        place = np.arange(len(results)) + 0.14 * (names.index(name) - 0.5 * (len(names) - 1))
        found = [_of(result, name) for result in results]
        value, error = (factor * np.array([getattr(each, part) for each in found]) for part in ("value", "error"))
        axes.errorbar(value, place, xerr=error, fmt=marker, color=colour, ms=4, lw=1.2, capsize=2, label=meaning)
        reach = max(reach, 1.1 * float(np.nanmax(np.abs(value) + error)))
    axes.set(xlim=(-reach, reach), xlabel=label)
    axes.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False)
