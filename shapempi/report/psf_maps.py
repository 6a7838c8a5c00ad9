"""Figures of mean shapes and sizes over the focal plane and over the CCD."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shapempi.report.psf_canvas import (
    DIVERGING,
    EMPTY,
    SEQUENTIAL,
    add_colour_bar,
    fixed_panels,
    limits,
    new_figure,
    save,
    symmetric_limit,
)
from shapempi.validation.focal_plane import CameraLayout
from shapempi.validation.maps import MeanMap

if TYPE_CHECKING:
    import matplotlib.axes
    from matplotlib.figure import Figure

__all__ = ["draw_ccd_stack", "draw_focal_plane", "frame_focal_plane", "mosaic_size"]

#: Quantity of a map: its symbol, its unit, and what the colour bar of the residual says.
_NAMES = {
    "e1": (r"$e_1$", r" [$10^{-3}$]", r"residual $e_1$ [$10^{-3}$]"),
    "e2": (r"$e_2$", r" [$10^{-3}$]", r"residual $e_2$ [$10^{-3}$]"),
    "T": (r"$T$", " [arcsec$^2$]", r"$(T_\ast - T_{\rm model})/T_\ast$ [$10^{-3}$]"),
}


def draw_focal_plane(found: MeanMap, layout: CameraLayout, quantity: str, path: Path, *, title: str) -> None:
    """Draw stars, model, residuals and number of stars over the focal plane, one panel per CCD.

    Parameters
    ----------
    found : MeanMap
        The means (`focal_map`).
    layout : CameraLayout
        The mosaic.
    quantity : str
        "e1", "e2" or "T".
    path : Path
        PNG file.
    title : str
        Heading.
    """
    symbol, unit, residual_label = _NAMES[quantity]
    factor = 1.0 if quantity == "T" else 1e3
    star, model = (factor * found.mean[f"{quantity}_{of}"] for of in ("star", "model"))
    residual = 1e3 * found.mean[f"{quantity}_residual"]
    if quantity == "T":
        value_range, value_map = limits(np.concatenate([star.ravel(), model.ravel()])), SEQUENTIAL
    else:
        bound = symmetric_limit(np.concatenate([star.ravel(), model.ravel()]))
        value_range, value_map = (-bound, bound), DIVERGING
    bound = symmetric_limit(residual)
    heading = f"{title}: mean {symbol} over the focal plane"
    figure, axes = fixed_panels((2, 2), mosaic_size(layout, 5.6), (0.95, 1.2, 0.55, 0.3), heading)
    labels = f"{symbol}{unit}"
    _mosaic(figure, axes[0, 0], star, layout, value_range, value_map, f"stars, {labels}", numbers=True)
    _mosaic(figure, axes[0, 1], model, layout, value_range, value_map, f"model, {labels}")
    _mosaic(figure, axes[1, 0], residual, layout, (-bound, bound), DIVERGING, residual_label)
    _write_rms(axes[1, 0], 1e3 * found.rms[f"{quantity}_residual"], layout)
    counts = np.where(found.n > 0, found.n, np.nan).astype(float)
    top = float(np.nanmax(counts)) if found.n.any() else 1.0
    _mosaic(figure, axes[1, 1], counts, layout, (0.0, top), SEQUENTIAL, "stars per bin")
    axes[0, 0].set_title("stars (numbers: CCD)", fontsize=10)
    axes[0, 1].set_title("model", fontsize=10)
    axes[1, 0].set_title(r"star minus model (numbers: rms of the CCD's stars in $10^{-3}$)", fontsize=10)
    axes[1, 1].set_title(f"{int(found.n.sum())} stars", fontsize=10)
    save(figure, path)


def draw_ccd_stack(found: MeanMap, layout: CameraLayout, path: Path, *, title: str) -> None:
    """Draw the mean residuals of all CCDs on top of each other, in the frame of the readout.

    Parameters
    ----------
    found : MeanMap
        The means (`ccd_map`).
    layout : CameraLayout
        For the section of the CCD.
    path : Path
        PNG file.
    title : str
        Heading.
    """
    x0, x1, y0, y1 = layout.section
    extent = (x0 - 0.5, x1 + 0.5, y0 - 0.5, y1 + 0.5)
    aspect = (y1 - y0 + 1) / (x1 - x0 + 1)
    figure = new_figure(12.5, float(np.clip(2.6 * aspect + 1.8, 4.0, 9.0)))
    figure.suptitle(f"{title}: mean residuals over the CCD, all CCDs stacked")
    axes = figure.subplots(1, 4, sharey=True)
    for panel, name in zip(axes, ("e1", "e2", "T"), strict=False):
        values = 1e3 * found.mean[f"{name}_residual"][0]
        bound = symmetric_limit(values)
        _image(figure, panel, values, extent, (-bound, bound), DIVERGING, _NAMES[name][2])
    counts = np.where(found.n[0] > 0, found.n[0], np.nan).astype(float)
    top = float(np.nanmax(counts)) if found.n.any() else 1.0
    _image(figure, axes[3], counts, extent, (0.0, top), SEQUENTIAL, "stars per bin")
    axes[0].set_ylabel("Y [pixel]")
    save(figure, path)


def _image(
    figure: Figure,
    axes: matplotlib.axes.Axes,
    values: np.ndarray,
    extent: tuple[float, float, float, float],
    value_range: tuple[float, float],
    colours: str,
    label: str,
) -> None:
    """Draw one map of the CCD."""
    low, high = value_range
    picture = axes.imshow(
        values,
        origin="lower",
        extent=extent,
        cmap=colours,
        vmin=low,
        vmax=high,
        aspect="equal",
        interpolation="nearest",
    )
    axes.set_facecolor(EMPTY)
    axes.set_xlabel("X [pixel]")
    figure.colorbar(picture, ax=axes, label=label, location="bottom", fraction=0.05, pad=0.02, aspect=18)


def mosaic_size(layout: CameraLayout, longest: float) -> tuple[float, float]:
    """Return width and height of a picture of the mosaic with its margin, the longer of which is given."""
    left, right, bottom, top = _box(layout)
    scale = longest / max(right - left, top - bottom)
    return scale * (right - left), scale * (top - bottom)


def _box(layout: CameraLayout) -> tuple[float, float, float, float]:
    """Return the limits of the mosaic (x, y) with a margin."""
    if not layout.panels:
        return -1.0, 1.0, -1.0, 1.0
    ny, nx = layout.shape
    x, y = (np.array([getattr(panel, axis) for panel in layout.panels]) for axis in ("x", "y"))
    margin = 0.25 * nx
    return (
        float(x.min() - nx / 2 - margin),
        float(x.max() + nx / 2 + margin),
        float(y.min() - ny / 2 - margin),
        float(y.max() + ny / 2 + margin),
    )


def _mosaic(
    figure: Figure,
    axes: matplotlib.axes.Axes,
    values: np.ndarray,
    layout: CameraLayout,
    value_range: tuple[float, float],
    colours: str,
    label: str,
    *,
    numbers: bool = False,
) -> None:
    """Draw a map of the focal plane, every CCD at its place.

    values : float [n_panel, y, x], NaN in empty bins.
    """
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import Normalize

    ny, nx = layout.shape
    _, n_y, n_x = values.shape
    centres = np.array([(panel.x, panel.y) for panel in layout.panels]).reshape(-1, 1, 2)
    square = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])
    axes.add_collection(
        PolyCollection(list(centres + square * (nx, ny)), facecolor=EMPTY, edgecolor="0.35", linewidth=0.5)
    )
    row, column = np.divmod(np.arange(n_y * n_x), n_x)
    offset = np.stack([(column - (n_x - 1) / 2) * nx / n_x, (row - (n_y - 1) / 2) * ny / n_y], axis=1)
    corners = (centres + offset)[:, :, None, :] + square * (nx / n_x, ny / n_y)
    known = np.isfinite(values).ravel()
    bins = PolyCollection(
        list(corners.reshape(-1, 4, 2)[known]), cmap=colours, norm=Normalize(*value_range), antialiased=False
    )
    bins.set_array(values.ravel()[known])
    axes.add_collection(bins)
    if numbers:
        for panel in layout.panels:
            _label(axes, panel.x, panel.y, str(panel.ccd), 7.0)
    frame_focal_plane(axes, layout)
    add_colour_bar(figure, axes, bins, label)


_OPPOSITE = {"North": "South", "South": "North", "East": "West", "West": "East"}


def frame_focal_plane(axes: matplotlib.axes.Axes, layout: CameraLayout) -> None:
    """Set limits, labels and the directions of a picture of the focal plane."""
    left, right, bottom, top = _box(layout)
    axes.set(xlim=(left, right), ylim=(bottom, top))
    if layout.known:
        x, y = (f"{_OPPOSITE[end]}   -   focal plane [pixel]   -   {end}" for end in layout.directions)
        axes.set(xlabel=x, ylabel=y)
    else:
        axes.set(xlabel="x [pixel]; CCDs by their numbers", ylabel="y [pixel]")


def _write_rms(axes: matplotlib.axes.Axes, rms: np.ndarray, layout: CameraLayout) -> None:
    """Write the rms of its stars on each CCD."""
    for panel, value in zip(layout.panels, rms, strict=True):
        if np.isfinite(value):
            _label(axes, panel.x, panel.y, f"{value:.3g}" if value < 100 else f"{value:.0f}", 6.5)


def _label(axes: matplotlib.axes.Axes, x: float, y: float, text: str, size: float) -> None:
    """Write a text that can be read on any colour."""
    from matplotlib.patheffects import withStroke

    outline = [withStroke(linewidth=1.8, foreground="white")]
    axes.text(x, y, text, fontsize=size, ha="center", va="center", color="black", path_effects=outline)
