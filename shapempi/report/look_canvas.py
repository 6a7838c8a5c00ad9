"""What the pictures of images have in common: stretch, flags in colour, compass, scale bar, legend."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from shapempi.report.look_palette import bit_colour, bit_name
from shapempi.report.psf_canvas import new_figure
from shapempi.wcs import Wcs

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.colors
    from matplotlib.figure import Figure

__all__ = [
    "GREY",
    "blank_figure",
    "count_ticks",
    "draw_compass",
    "flag_entries",
    "flag_layer",
    "legend",
    "robust_levels",
    "scale_bar_length",
    "sky_directions",
    "stretch",
]

#: Grey of counts: dark sources on a light sky leave the colours to the flags.
GREY = "gray_r"

#: How much of the picture a flag hides where a cell has one flagged pixel, and where all its pixels are flagged.
_FAINT, _FULL = 0.3, 0.55

#: The same of a flag that few cells have: it would be overlooked.
_RARE_FAINT, _RARE_FULL, _FEW = 0.75, 0.9, 0.02

#: Stripes of cells with several flags: that many would fit along the longer side.
_STRIPES = 160

#: The steps in lengths of scale bars [arcsec].
_LENGTHS = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200)


def blank_figure(width: float, height: float) -> Figure:
    """Return an empty figure [inch] on which panels are placed by hand."""
    figure = new_figure(width, height)
    figure.set_layout_engine("none")
    return figure


def robust_levels(image: np.ndarray) -> tuple[float, float, float, float]:
    """Return the sky, its scatter, and the darkest and the brightest value worth showing.

    Parameters
    ----------
    image : ndarray of float
        Counts; NaN is left out.

    Returns
    -------
    sky, noise, low, high : float
        Median; its scatter from the quartile below it, where sources do not reach; sky - 3 noise; the value that 99.7 %
        of the pixels are below, or sky + 10 noise if that is more.
    """
    values = image[np.isfinite(image)]
    if not len(values):
        return 0.0, 1.0, -1.0, 1.0
    quartile, sky, high = (float(value) for value in np.percentile(values, (25, 50, 99.7)))
    noise = (sky - quartile) / 0.6745
    if noise <= 0:
        noise = max(float(values.std()), 1e-6 * max(abs(sky), 1.0))
    return sky, noise, sky - 3.0 * noise, max(high, sky + 10.0 * noise)


def stretch(image: np.ndarray) -> matplotlib.colors.FuncNorm:
    """Return a stretch that is linear in the noise and logarithmic above: asinh((value - sky)/(3 noise))."""
    from matplotlib.colors import FuncNorm

    sky, noise, low, high = robust_levels(image)

    def forward(value: np.ndarray) -> np.ndarray:
        return np.arcsinh((np.asarray(value) - sky) / (3.0 * noise))

    def inverse(value: np.ndarray) -> np.ndarray:
        return np.sinh(np.asarray(value)) * 3.0 * noise + sky

    return FuncNorm((forward, inverse), vmin=low, vmax=high, clip=False)


def count_ticks(image: np.ndarray) -> list[float]:
    """Return round values for the colour bar of `stretch`, from the sky up by steps of three to ten."""
    sky, noise, low, high = robust_levels(image)
    sky = round(sky, -math.ceil(math.log10(noise)))
    steps = [mantissa * 10.0**power for power in range(-6, 8) for mantissa in (1.0, 3.0)]
    rises = [0.0, *(step for step in steps if 2.0 * noise <= step <= high - sky)]
    falls = [-step for step in steps if 1.5 * noise <= step <= sky - low][-1:]
    return [sky + rise for rise in (*falls, *rises)]


def flag_layer(bits: Mapping[int, np.ndarray], names: Mapping[int, str] | None = None) -> np.ndarray:
    """Return the colours of the flags of every cell.

    Parameters
    ----------
    bits : mapping of int to ndarray of float [y, x]
        Of every bit, the part of each cell that has it.
    names : mapping of int to str, optional
        Names of the bits.

    Returns
    -------
    ndarray of float32 [y, x, 4]
        Red, green, blue and opacity.  Cells with several bits have stripes of their colours, for a mixture would be no
        colour of the legend.
    """
    from matplotlib.colors import to_rgb

    shape = next(iter(bits.values())).shape
    number = np.sum([fraction > 0 for fraction in bits.values()], axis=0)
    ny, nx = shape
    width = max(max(shape) // _STRIPES, 1)
    turn = (np.add.outer(np.arange(ny), np.arange(nx)) // width) % np.maximum(number, 1)
    layer = np.zeros((*shape, 4), np.float32)
    seen = np.zeros(shape, int)
    for bit, fraction in bits.items():
        there = fraction > 0
        mine = there & (seen == turn)
        seen += there
        faint, full = (_RARE_FAINT, _RARE_FULL) if there.mean() < _FEW else (_FAINT, _FULL)
        layer[mine, :3] = to_rgb(bit_colour(bit, names))
        layer[mine, 3] = faint + (full - faint) * fraction[mine]
    return layer


def flag_entries(fractions: Mapping[int, float], names: Mapping[int, str] | None = None) -> list[tuple[str, str]]:
    """Return (text, colour) for the legend of every bit: its name and the part of the pixels that have it."""
    return [
        (f"{bit_name(bit, names)}  {100 * fraction:.3g} %", bit_colour(bit, names))
        for bit, fraction in fractions.items()
    ]


def sky_directions(wcs: Wcs, x: float, y: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the unit vectors (x, y) to the North and to the East in pixels, and the pixel scale [arcsec]."""
    jacobian = wcs.jacobian(np.array([x]), np.array([y]))[0].reshape(2, 2)
    inverse = np.linalg.inv(jacobian)
    north, east = inverse @ (0.0, 1.0), inverse @ (-1.0, 0.0)  # u grows to the West
    return north / np.linalg.norm(north), east / np.linalg.norm(east), float(np.sqrt(abs(np.linalg.det(jacobian))))


def scale_bar_length(width: float) -> float:
    """Return the round length [arcsec] next below a quarter of a picture's width [arcsec]."""
    return max((length for length in _LENGTHS if length <= width / 4), default=width / 4)


def draw_compass(axes: matplotlib.axes.Axes, wcs: Wcs, width: float, height: float) -> None:
    """Draw North, East and the scale bar into a panel that shows width x height pixels and fills its place."""
    from matplotlib.patheffects import withStroke

    low_x, high_x = axes.get_xlim()
    low_y, high_y = axes.get_ylim()
    halo: list[Any] = [withStroke(linewidth=3, foreground="white")]
    north, east, scale = sky_directions(wcs, (low_x + high_x) / 2 - 1.0, (low_y + high_y) / 2 - 1.0)
    arm = 0.07 * min(width, height) if max(width, height) < 3 * min(width, height) else 0.12 * min(width, height)
    # The point from which both arms with their letters stay in the corner.
    reach = 1.6 * np.maximum(np.maximum(north, east), 0.0) + 0.3
    corner = np.array([high_x, high_y]) - arm * reach
    for name, direction in (("N", north), ("E", east)):
        axes.annotate(
            "",
            xy=tuple(corner + arm * direction),
            xytext=tuple(corner),
            arrowprops={"arrowstyle": "-|>", "color": "black", "shrinkA": 0, "shrinkB": 0, "path_effects": halo},
        )
        x, y = corner + 1.35 * arm * direction
        axes.text(x, y, name, ha="center", va="center", fontsize=10, path_effects=halo, zorder=6)
    length = scale_bar_length(width * scale)
    left, bottom = low_x + 0.04 * width, low_y + 0.03 * height
    axes.plot([left, left + length / scale], [bottom, bottom], color="black", lw=2.5, path_effects=halo, zorder=6)
    text = f"{length:g} arcsec" if length < 60 else f"{length / 60:g} arcmin"
    axes.text(left, bottom + 0.012 * height, text, ha="left", va="bottom", fontsize=10, path_effects=halo, zorder=6)


def legend(figure: Figure, place: tuple[float, float], heading: str, entries: Sequence[Any]) -> None:
    """Write a legend at a place of the figure (its upper left corner, in parts of the figure)."""
    if entries:
        found = figure.legend(
            handles=list(entries),
            loc="upper left",
            bbox_to_anchor=place,
            title=heading,
            fontsize=9,
            frameon=False,
            alignment="left",
            borderaxespad=0,
            borderpad=0,
        )
        found.get_title().set_fontweight("bold")
