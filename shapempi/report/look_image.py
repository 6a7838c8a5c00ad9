"""The picture of one image: pixels, flags in colour, and what was found in it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shapempi.io.atomic import replacing
from shapempi.report.look_canvas import (
    GREY,
    blank_figure,
    count_ticks,
    draw_compass,
    flag_entries,
    flag_layer,
    legend,
    stretch,
)
from shapempi.report.look_thumbnail import Thumbnail
from shapempi.wcs import Wcs

if TYPE_CHECKING:
    import matplotlib.axes
    from matplotlib.figure import Figure

__all__ = ["Ellipses", "Frames", "ImageSheet", "Markers", "draw_image", "outlines"]

_DPI = 100
#: Longer side of the image in the picture [inch], least shorter side, and width of what stands beside it.
_LONGEST, _SHORTEST, _BESIDE = 11.0, 4.4, 3.4


@dataclass(frozen=True)
class Markers:
    """Positions to mark.

    Attributes
    ----------
    x, y : ndarray of float [n]
        Pixels, 0-based.
    label : str
        What they are.
    marker, colour : str
        Symbol and colour of matplotlib.
    size : float
        Size [point].
    """

    x: np.ndarray
    y: np.ndarray
    label: str
    marker: str
    colour: str
    size: float = 9.0


@dataclass(frozen=True)
class Ellipses:
    """Ellipses of objects.

    Attributes
    ----------
    x, y, a, b : ndarray of float [n]
        Centre and semi-axes [pixel, 0-based].
    theta : ndarray of float [n]
        Angle of the major axis from +x to +y [deg].
    label, colour : str
        What they are, and their colour.
    """

    x: np.ndarray
    y: np.ndarray
    a: np.ndarray
    b: np.ndarray
    theta: np.ndarray
    label: str
    colour: str


@dataclass(frozen=True)
class Frames:
    """Rectangles (y0, y1, x0, x1), half open, in pixels, and the text in each."""

    boxes: tuple[tuple[int, int, int, int], ...]
    texts: tuple[str, ...]
    label: str


@dataclass(frozen=True)
class ImageSheet:
    """All that a picture shows.

    Attributes
    ----------
    thumbnail : Thumbnail
        Pixels and flags.
    title : tuple of str
        Lines above the picture.
    wcs : Wcs or None
        For compass and scale.
    names : mapping of int to str or None
        Names of the flag bits.
    markers, ellipses : tuple
        What to mark.
    frames : Frames or None
        Rectangles.
    outline : ndarray of float [n, 2, 2] or None
        Line segments (x, y), 0-based.
    """

    thumbnail: Thumbnail
    title: tuple[str, ...]
    wcs: Wcs | None = None
    names: Mapping[int, str] | None = None
    markers: tuple[Markers, ...] = ()
    ellipses: tuple[Ellipses, ...] = ()
    frames: Frames | None = None
    outline: np.ndarray | None = None


def outlines(segmentation: np.ndarray, origin: tuple[int, int]) -> np.ndarray:
    """Return the borders between objects, and between objects and sky.

    Parameters
    ----------
    segmentation : ndarray of int [y, x]
        Numbers of the objects; 0 is sky.
    origin : tuple of int
        (y0, x0): pixel of element [0, 0].

    Returns
    -------
    ndarray of float [n, 2, 2]
        Sides of pixels as line segments ((x, y), (x, y)), 0-based.
    """
    y0, x0 = origin
    row, column = np.nonzero(segmentation[:, 1:] != segmentation[:, :-1])
    vertical = np.stack([[column + 0.5, row - 0.5], [column + 0.5, row + 0.5]]).astype(float)
    row, column = np.nonzero(segmentation[1:, :] != segmentation[:-1, :])
    horizontal = np.stack([[column - 0.5, row + 0.5], [column + 0.5, row + 0.5]]).astype(float)
    return np.concatenate([vertical, horizontal], axis=2).transpose(2, 0, 1) + np.array([x0, y0])


def draw_image(sheet: ImageSheet, path: Path) -> None:
    """Draw a picture as PNG, in one step.

    Parameters
    ----------
    sheet : ImageSheet
        What it shows.
    path : Path
        The file; one that is there is replaced.
    """
    figure = _figure(sheet)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=_DPI)


def _figure(sheet: ImageSheet) -> Figure:
    """Return the finished figure."""
    y0, y1, x0, x1 = sheet.thumbnail.box
    scale = _LONGEST / max(y1 - y0, x1 - x0)
    size = max((x1 - x0) * scale, _SHORTEST), max((y1 - y0) * scale, _SHORTEST)
    title = [line for text in sheet.title for line in textwrap.wrap(text, int((size[0] + _BESIDE) * 11))]
    left, below, above = 0.8, 0.6, 0.25 + 0.2 * len(title)
    width, height = left + size[0] + _BESIDE, below + size[1] + above
    figure = blank_figure(width, height)
    figure.text(left / width, 1 - 0.12 / height, "\n".join(title), va="top", ha="left", fontsize=10)
    axes = figure.add_axes((left / width, below / height, size[0] / width, size[1] / height))
    image = _draw_pixels(axes, sheet)
    entries = _draw_marks(axes, sheet)
    if sheet.wcs is not None:
        draw_compass(axes, sheet.wcs, x1 - x0, y1 - y0)
    axes.set(xlabel="X [pixel]", ylabel="Y [pixel]")
    beside = (left + size[0] + 0.15) / width
    bar = figure.add_axes((beside, (below + size[1] * 0.55) / height, 0.16 / width, size[1] * 0.45 / height))
    figure.colorbar(image, cax=bar, ticks=count_ticks(sheet.thumbnail.image), format="%.4g").set_label("counts")
    top = (below + size[1] * 0.5) / height
    step = 0.21 / height
    if sheet.thumbnail.bits:
        flags = [_patch(text, colour) for text, colour in flag_entries(sheet.thumbnail.fractions, sheet.names)]
        legend(figure, (beside, top), f"flags: {100 * sheet.thumbnail.flagged:.3g} % of the pixels", flags)
        top -= step * (len(flags) + 2.4)
    legend(figure, (beside, top), "marks", entries)
    return figure


def _draw_pixels(axes: matplotlib.axes.Axes, sheet: ImageSheet) -> Any:
    """Draw pixels and flags; returns the picture of the pixels."""
    thumbnail = sheet.thumbnail
    y0, y1, x0, x1 = thumbnail.box
    ny, nx = thumbnail.image.shape
    # In 1-based pixels, whose centres are integers; cells at the upper and right edge may reach out of the section.
    extent = (x0 + 0.5, x0 + 0.5 + nx * thumbnail.step, y0 + 0.5, y0 + 0.5 + ny * thumbnail.step)
    norm = stretch(thumbnail.image)
    picture = axes.imshow(
        thumbnail.image, origin="lower", extent=extent, cmap=GREY, norm=norm, aspect="equal", interpolation="nearest"
    )
    axes.set_facecolor("#fff3d6")  # pixels without a value
    if thumbnail.bits:
        layer = flag_layer(thumbnail.bits, sheet.names)
        axes.imshow(layer, origin="lower", extent=extent, aspect="equal", interpolation="nearest")
    axes.set(xlim=(x0 + 0.5, x1 + 0.5), ylim=(y0 + 0.5, y1 + 0.5))
    return picture


def _draw_marks(axes: matplotlib.axes.Axes, sheet: ImageSheet) -> list[Any]:
    """Draw what was found; returns the entries of the legend."""
    from matplotlib.collections import EllipseCollection, LineCollection
    from matplotlib.lines import Line2D

    entries: list[Any] = []
    if sheet.outline is not None:
        axes.add_collection(LineCollection(list(sheet.outline + 1.0), colors="#0072B2", linewidths=0.8))
        entries.append(Line2D([], [], color="#0072B2", lw=0.8, label="pixels of an object"))
    for found in sheet.ellipses:
        collection = EllipseCollection(
            2 * found.a,
            2 * found.b,
            found.theta,
            units="xy",
            offsets=np.stack([found.x + 1.0, found.y + 1.0], axis=-1),
            offset_transform=axes.transData,
            facecolors="none",
            edgecolors=found.colour,
            linewidths=1.0 if len(found.x) < 2000 else 0.5,
        )
        axes.add_collection(collection)
        entries.append(_hollow(found.label, "o", found.colour))
    for mark in sheet.markers:
        flat = mark.marker in "x+"
        style: dict[str, Any] = {"color": mark.colour} if flat else {"mfc": "none", "mec": mark.colour}
        axes.plot(mark.x + 1.0, mark.y + 1.0, mark.marker, ms=mark.size, mew=1.2, scalex=False, scaley=False, **style)
        entries.append(_hollow(mark.label, mark.marker, mark.colour))
    if sheet.frames is not None:
        entries.append(_draw_frames(axes, sheet.frames))
    return entries


def _draw_frames(axes: matplotlib.axes.Axes, frames: Frames) -> Any:
    """Draw rectangles with their texts; returns the entry of the legend."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle

    style: dict[str, Any] = {"ec": "black", "ls": (0, (6, 3)), "lw": 0.9}
    for (y0, y1, x0, x1), text in zip(frames.boxes, frames.texts, strict=True):
        axes.add_patch(Rectangle((x0 + 0.5, y0 + 0.5), x1 - x0, y1 - y0, fc="none", **style))
        axes.text(x0 + 1.5, y1 - 0.5, text, ha="left", va="top", fontsize=8, clip_on=True)
    return Line2D([], [], color="black", ls=(0, (6, 3)), lw=0.9, label=frames.label)


def _patch(text: str, colour: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(fc=colour, alpha=0.7, label=text)


def _hollow(text: str, marker: str, colour: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], ls="", marker=marker, mfc="none", mec=colour, mew=1.2, ms=7, label=text)
