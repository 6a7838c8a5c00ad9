"""The figures of a star selection's PLOT sections (behaviour specification, section 6.7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shapempi.io.atomic import replacing
from shapempi.measure.setools.outcome import DataSet, Figure
from shapempi.measure.setools.program import Program
from shapempi.measure.setools.sections import PlotKind
from shapempi.report.psf_canvas import COLOURS, SEQUENTIAL, new_figure

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

__all__ = ["check_colours", "draw", "save"]

_SIZE = (6.4, 4.8)
_DPI = 150

#: Markers that have an outline.
_FILLED = tuple("ov^<>8spP*hHXDd")


def check_colours(program: Program) -> None:
    """Check the colours of all plots, which the selection language itself knows nothing of.

    Parameters
    ----------
    program : Program
        The selection.

    Raises
    ------
    ConfigError
        If there is no colour of such a name; the message names the line.
    """
    from matplotlib.colors import is_color_like

    for plot in program.plots:
        for series in plot.series:
            if series.colour_source is not None and not is_color_like(series.colour):
                raise series.colour_source.error(
                    f"there is no colour {series.colour!r}; give a name such as orange, or #rrggbb between quotes"
                )


def save(figure: Figure, path: Path) -> None:
    """Draw a figure into a file, in one step.

    Parameters
    ----------
    figure : Figure
        The figure's data.
    path : Path
        The file; one that is there is replaced.
    """
    drawn = draw(figure)
    with replacing(path) as temporary:
        drawn.savefig(temporary, format=figure.file_format, dpi=_DPI)


def draw(figure: Figure) -> matplotlib.figure.Figure:
    """Draw a figure.

    Objects of which a value is not finite are left out; without any there are empty axes that say so.

    Parameters
    ----------
    figure : Figure
        The figure's data.
    """
    canvas = new_figure(*_SIZE)
    axes = canvas.subplots()
    data_sets = [_finite(data_set) for data_set in figure.data_sets]
    if any(len(data_set.y) for data_set in data_sets):
        _DRAW[figure.kind](axes, figure, data_sets)
    else:
        axes.text(0.5, 0.5, "no objects", transform=axes.transAxes, ha="center", va="center", color="0.4")
    axes.set(title=_safe(figure.title), xlabel=_safe(figure.x_label), ylabel=_safe(figure.y_label))
    if figure.kind is not PlotKind.HIST:  # whose axis may be logarithmic
        axes.ticklabel_format(useOffset=False)
    for limits, set_limits in ((figure.x_limits, axes.set_xlim), (figure.y_limits, axes.set_ylim)):
        # Limits are expressions and can come out as nothing, as for a CCD of unknown size.
        if limits is not None and np.isfinite(limits).all() and limits[0] != limits[1]:
            set_limits(*limits)
    if figure.kind is not PlotKind.SCATTER and axes.get_legend_handles_labels()[0]:
        axes.legend(loc="best", fontsize="small")
    return canvas


def _finite(data_set: DataSet) -> DataSet:
    """Leave out objects of which a value is not finite."""
    columns = {name: getattr(data_set, name) for name in ("x", "y", "hue") if getattr(data_set, name) is not None}
    good = np.logical_and.reduce([np.isfinite(values) for values in columns.values()])
    settings = {**data_set.__dict__, **{name: values[good] for name, values in columns.items()}}
    return DataSet(**settings)


def _known(values: np.ndarray | None) -> np.ndarray:
    """Return the abscissae, which points always have."""
    if values is None:
        raise TypeError("a plot of points has abscissae")
    return values


def _colour(data_set: DataSet, number: int) -> str:
    return data_set.colour or COLOURS[number % len(COLOURS)]


def _draw_points(axes: matplotlib.axes.Axes, figure: Figure, data_sets: Sequence[DataSet]) -> None:
    """Draw points, or lines."""
    for number, data_set in enumerate(data_sets):
        axes.plot(
            _known(data_set.x),
            data_set.y,
            marker=data_set.marker,
            markersize=data_set.marker_size,
            linestyle=data_set.line,
            color=_colour(data_set, number),
            alpha=data_set.alpha,
            label=_safe(data_set.label) or None,
            rasterized=len(data_set.y) > 5000,
        )


def _draw_scatter(axes: matplotlib.axes.Axes, figure: Figure, data_sets: Sequence[DataSet]) -> None:
    """Draw points whose colour is a value; each data set has its colour bar."""
    for data_set in data_sets:
        # Outlines make the pale end of the colour map visible; + and x have none.
        outline: dict[str, Any] = {"edgecolors": "0.3", "linewidths": 0.3} if data_set.marker in _FILLED else {}
        points = axes.scatter(
            _known(data_set.x),
            data_set.y,
            c=data_set.hue,
            marker=data_set.marker,
            s=data_set.marker_size**2,
            cmap=SEQUENTIAL,
            alpha=data_set.alpha,
            rasterized=len(data_set.y) > 5000,
            **outline,
        )
        axes.figure.colorbar(points, ax=axes, label=_safe(data_set.label))


def _draw_histogram(axes: matplotlib.axes.Axes, figure: Figure, data_sets: Sequence[DataSet]) -> None:
    """Draw histograms over each other."""
    for number, data_set in enumerate(data_sets):
        if len(data_set.y) == 0:
            continue
        step: dict[str, Any] = (
            {"linewidth": 1.5} if data_set.bar == "step" else {"edgecolor": "white", "linewidth": 0.5}
        )
        axes.hist(
            data_set.y,
            bins=data_set.n_bin,
            color=_colour(data_set, number),
            alpha=data_set.alpha,
            log=figure.logarithmic,
            label=_safe(data_set.label) or None,
            **{"histtype": data_set.bar, **step},
        )


_DRAW: dict[PlotKind, Callable[[matplotlib.axes.Axes, Figure, Sequence[DataSet]], None]] = {
    PlotKind.PLOT: _draw_points,
    PlotKind.SCATTER: _draw_scatter,
    PlotKind.HIST: _draw_histogram,
}


def _safe(text: str) -> str:
    """Return a text as it is if its formulas can be set, otherwise with every $ as a character."""
    from matplotlib.mathtext import MathTextParser

    if "$" in text:
        try:
            MathTextParser("path").parse(text)
        except ValueError:
            return text.replace(r"\$", "$").replace("$", r"\$")
    return text
