"""Whisker figures: orientation and size of mean shapes over the focal plane."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shapempi.report.psf_canvas import fixed_panels, save
from shapempi.report.psf_maps import frame_focal_plane, mosaic_size
from shapempi.validation.focal_plane import CameraLayout
from shapempi.validation.maps import MeanMap

if TYPE_CHECKING:
    import matplotlib.axes

#: Size of a panel [inch], and room for the scale above the mosaic as a fraction of its height.
_SIZE, _SCALE_ROOM = 5.0, 0.10

__all__ = ["draw_whiskers", "round_down", "whiskers"]


def whiskers(e1: np.ndarray, e2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the vectors (x, y) along the major axes of shapes, as long as the shapes are large.

    A shape turns twice as fast as its axis: the axis of e = |e| exp(2 i phi) is at the angle phi from x to y.
    """
    size, angle = np.hypot(e1, e2), 0.5 * np.arctan2(e2, e1)
    return size * np.cos(angle), size * np.sin(angle)


def round_down(value: float) -> float:
    """Return the largest of 1, 2 and 5 times a power of ten that is not above a positive value."""
    power = 10.0 ** np.floor(np.log10(value))
    # Divisions such as 0.002/0.001 may fall just short of 2.
    factor = max(step for step in (1.0, 2.0, 5.0) if step <= value / power * (1 + 1e-9))
    return float(factor * power)


def draw_whiskers(found: MeanMap, layout: CameraLayout, path: Path, *, title: str) -> None:
    """Draw whiskers of stars, model and residuals over the focal plane.

    Parameters
    ----------
    found : MeanMap
        Means in a few bins of each CCD (`focal_map`).
    layout : CameraLayout
        The mosaic.
    path : Path
        PNG file.
    title : str
        Heading.
    """
    heading = f"{title}: shapes over the focal plane (reduced shear; means of {_bins(found)} bins per CCD)"
    width, height = mosaic_size(layout, _SIZE)
    figure, panels = fixed_panels((1, 3), (width, height * (1 + _SCALE_ROOM)), (0.95, 0.3, 0.55, 0.3), heading)
    axes = panels[0]
    shapes = {of: (found.mean[f"e1_{of}"], found.mean[f"e2_{of}"]) for of in ("star", "model", "residual")}
    scale = _typical(*shapes["star"])
    for panel, (of, heading) in zip(
        axes, (("star", "stars"), ("model", "model"), ("residual", "star minus model")), strict=True
    ):
        _panel(panel, *shapes[of], layout, _typical(*shapes[of]) if of == "residual" else scale)
        panel.set_title(heading, fontsize=11)
    save(figure, path)


def _bins(found: MeanMap) -> str:
    return f"{found.n.shape[2]} x {found.n.shape[1]}"


def _typical(e1: np.ndarray, e2: np.ndarray) -> float:
    """Return a round number near the larger shapes, for the scale."""
    size = np.hypot(e1, e2)
    size = size[np.isfinite(size)]
    large = float(np.percentile(size, 90)) if len(size) else 0.0
    return round_down(large) if large > 0 else 1e-3


def _panel(axes: matplotlib.axes.Axes, e1: np.ndarray, e2: np.ndarray, layout: CameraLayout, scale: float) -> None:
    """Draw one field of whiskers, with one of the given size as the scale."""
    ny, nx = layout.shape
    _, n_y, n_x = e1.shape
    step_x, step_y = nx / n_x, ny / n_y
    length = 0.9 * min(step_x, step_y)  # of a whisker as large as the scale
    for panel in layout.panels:
        box = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5), (-0.5, -0.5)]) * (nx, ny)
        axes.plot(panel.x + box[:, 0], panel.y + box[:, 1], color="0.75", lw=0.5, zorder=1)
    centre_x = np.array([panel.x for panel in layout.panels])[:, None, None]
    centre_y = np.array([panel.y for panel in layout.panels])[:, None, None]
    x = np.broadcast_to(centre_x + (np.arange(n_x) - (n_x - 1) / 2) * step_x, e1.shape)
    y = np.broadcast_to(centre_y + ((np.arange(n_y) - (n_y - 1) / 2) * step_y)[:, None], e1.shape)
    known = np.isfinite(e1) & np.isfinite(e2)
    u, v = whiskers(e1[known], e2[known])
    options = {"angles": "xy", "scale_units": "xy", "scale": scale / length, "pivot": "mid", "headwidth": 0}
    options |= {"headlength": 0, "headaxislength": 0, "width": 0.0022}
    frame_focal_plane(axes, layout)
    if known.any():
        axes.quiver(x[known], y[known], u, v, color="#0072B2", zorder=2, **options)
    left, right = axes.get_xlim()
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, top + _SCALE_ROOM * (top - bottom))
    place = (left + 0.06 * (right - left) + length / 2, top + 0.045 * (top - bottom))
    axes.quiver([place[0]], [place[1]], [scale], [0.0], color="#D55E00", zorder=3, **{**options, "width": 0.004})
    axes.text(place[0] + length / 2 + 0.02 * (right - left), place[1], f"|g| = {scale:g}", va="center", color="#D55E00")
