"""What the figures of a PSF validation have in common: canvas, colours, limits, files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shapempi.io.atomic import replacing

if TYPE_CHECKING:
    import matplotlib.axes
    from matplotlib.figure import Figure

__all__ = [
    "COLOURS",
    "DIVERGING",
    "EMPTY",
    "MARKERS",
    "SEQUENTIAL",
    "add_colour_bar",
    "fixed_panels",
    "limits",
    "new_figure",
    "save",
    "symmetric_limit",
]

#: Colour maps that the colour-blind can read: values, and values with a sign.
SEQUENTIAL, DIVERGING = "cividis", "RdBu_r"

#: Okabe & Ito's colours, which the colour-blind can tell apart; markers tell them apart in print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")

#: Colour of bins without stars: neither a value nor the white of no residual.
EMPTY = "0.72"

_DPI = 150


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of this size [inch] that belongs to no window system."""
    # matplotlib is imported where it draws: ranks of a run load this module with the command line.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def fixed_panels(
    shape: tuple[int, int],
    size: tuple[float, float],
    margins: tuple[float, float, float, float],
    title: str,
) -> tuple[Figure, np.ndarray]:
    """Return a figure of panels of a given size: pictures of the sky must keep their proportions.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of panels.
    size : tuple of float
        Width and height of each [inch].
    margins : tuple of float
        Left, right, below and above each panel [inch].
    title : str
        Heading.

    Returns
    -------
    figure : Figure
        The figure.
    panels : ndarray of Axes [row, column]
        From the top.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    left, right, below, above = margins
    step_x, step_y = left + size[0] + right, below + size[1] + above
    width, height = shape[1] * step_x, shape[0] * step_y + 0.45
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    figure.text(0.5, 1 - 0.25 / height, title, ha="center", va="center", fontsize=13)
    panels = np.empty(shape, dtype=object)
    for row, column in np.ndindex(*shape):
        x, y = column * step_x + left, (shape[0] - 1 - row) * step_y + below
        panels[row, column] = figure.add_axes((x / width, y / height, size[0] / width, size[1] / height))
    return figure, panels


def add_colour_bar(figure: Figure, axes: matplotlib.axes.Axes, colours: Any, label: str) -> None:
    """Put a colour bar into the right margin of a panel of fixed size."""
    box = axes.get_position()
    width = figure.get_figwidth()
    place = figure.add_axes((box.x1 + 0.08 / width, box.y0, 0.14 / width, box.height))
    figure.colorbar(colours, cax=place, label=label)


def save(figure: Figure, path: Path, **options: Any) -> None:
    """Write a figure in one step, as PDF if its name says so, else as PNG; one that is there is replaced."""
    kind = "pdf" if path.suffix.lower() == ".pdf" else "png"
    with replacing(path) as temporary:
        figure.savefig(temporary, format=kind, dpi=_DPI, **options)


def limits(values: np.ndarray) -> tuple[float, float]:
    """Return limits that hold all but the outermost per cent of the finite values on either side."""
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(values, (1, 99)))
    if high <= low:
        half = 0.01 * max(abs(low), 1e-6)
        return low - half, high + half
    return low, high


def symmetric_limit(values: np.ndarray) -> float:
    """Return the absolute value below which 98 % of the finite values are; never zero."""
    values = np.abs(values[np.isfinite(values)])
    limit = float(np.percentile(values, 98)) if len(values) else 0.0
    return limit if limit > 0 else 1e-6
