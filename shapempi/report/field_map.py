"""A map of tiles or exposures on the sky: what a search has found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shapempi.errors import ConfigError
from shapempi.report.psf_canvas import COLOURS, new_figure, save

if TYPE_CHECKING:
    import matplotlib.axes

__all__ = ["MAP_ENDINGS", "check_map", "draw_field_map"]

#: Formats that a map can have.
MAP_ENDINGS = (".png", ".pdf")

#: More squares than this have no names on the map.
_MOST_NAMES = 60
#: Names of squares nearer than this stand together, and this high above the centres [sides].
_NEAR, _ABOVE = 0.15, 0.25
#: Points along each side of a square.
_N_SIDE = 5


def check_map(path: Path) -> None:
    """Raise ConfigError if a map cannot have this name."""
    if path.suffix.lower() not in MAP_ENDINGS:
        raise ConfigError(f"{path}: a map is {' or '.join(MAP_ENDINGS)}; give such a name")


def draw_field_map(
    path: Path,
    names: list[str],
    ra: np.ndarray,
    dec: np.ndarray,
    side: float,
    *,
    title: str,
    point: tuple[float, float] | None = None,
    outline: np.ndarray | None = None,
) -> None:
    """Draw square images on the sky, North up, East to the left.

    Parameters
    ----------
    path : Path
        PNG or PDF file to write.
    names : list of str
        What stands in the squares.
    ra, dec : ndarray of float64 [n]
        Centres [deg]; at least one.
    side : float
        Side of the squares [deg], along RA and Dec at each centre.
    title : str
        Heading.
    point : tuple of float, optional
        A position [deg] that is marked.
    outline : ndarray of float64 [m, 2], optional
        RA, Dec [deg] of a closed line.

    Raises
    ------
    ConfigError
        If the file has another ending.
    """
    from astropy.wcs import WCS
    from matplotlib.collections import LineCollection

    check_map(path)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---ARC", "DEC--ARC"  # equal distances from the centre, and it has no end
    wcs.wcs.crval = _middle(ra, dec)
    wcs.wcs.cdelt = -1.0, 1.0
    figure = new_figure(8.0, 7.5)
    figure.suptitle(title)  # near a pole RA is written where the panel would have its title
    axes: matplotlib.axes.Axes = figure.add_subplot(projection=wcs)
    corners = _squares(ra, dec, side)
    lines = np.stack(wcs.all_world2pix(corners[..., 0], corners[..., 1], 0), axis=-1)
    axes.add_collection(LineCollection(list(lines), colors=COLOURS[0], linewidths=0.9))
    shown = [lines.reshape(-1, 2)]
    if len(names) <= _MOST_NAMES:
        centres = np.stack(wcs.all_world2pix(ra, dec, 0), axis=-1)
        for group in _together(centres, _NEAR * side):
            x, y = centres[group].mean(axis=0)
            text = "\n".join(names[i] for i in group)
            box = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
            axes.text(x, y + _ABOVE * side, text, ha="center", va="center", fontsize=7, clip_on=True, bbox=box)
    if outline is not None:
        line = np.stack(wcs.all_world2pix(outline[:, 0], outline[:, 1], 0), axis=-1)
        axes.plot(line[:, 0], line[:, 1], "--", color=COLOURS[1], lw=1.2)
        shown.append(line)
    if point is not None:
        x, y = wcs.all_world2pix(*point, 0)
        axes.plot(x, y, "+", color=COLOURS[1], ms=14, mew=2, zorder=5)
        shown.append(np.array([[x, y]]))
    every = np.concatenate(shown)
    low, high = every.min(axis=0), every.max(axis=0)
    margin = 0.06 * (high - low).max()
    axes.set(xlim=(low[0] - margin, high[0] + margin), ylim=(low[1] - margin, high[1] + margin))
    axes.set_aspect("equal")
    axes.grid(color="0.8", lw=0.5)
    for coordinate, label in zip(axes.coords, ("RA [deg]", "Dec [deg]"), strict=True):  # type: ignore[attr-defined]
        coordinate.set_format_unit("deg", decimal=True, show_decimal_unit=False)
        coordinate.set_axislabel(label)
    save(figure, path)


def _middle(ra: np.ndarray, dec: np.ndarray) -> tuple[float, float]:
    """Return the middle of positions [deg], by their mean on the sphere."""
    ra, dec = np.radians(ra), np.radians(dec)
    x, y, z = (float(np.mean(v)) for v in (np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)))
    return float(np.degrees(np.arctan2(y, x)) % 360.0), float(np.degrees(np.arctan2(z, np.hypot(x, y))))


def _together(centres: np.ndarray, near: float) -> list[list[int]]:
    """Return the indices of centres [n, 2] in groups: each is near the first of its group."""
    groups: list[list[int]] = []
    for i, centre in enumerate(centres):
        for group in groups:
            if np.hypot(*(centres[group[0]] - centre)) < near:
                group.append(i)
                break
        else:
            groups.append([i])
    return groups


def _squares(ra: np.ndarray, dec: np.ndarray, side: float) -> np.ndarray:
    """Return the closed outlines [n, point, 2] of squares: offsets on the tangent planes, back on the sphere."""
    step = np.linspace(-0.5, 0.5, _N_SIDE)
    low, high = np.full(_N_SIDE, -0.5), np.full(_N_SIDE, 0.5)
    xi = np.radians(side * np.concatenate([step, high, -step, low]))
    eta = np.radians(side * np.concatenate([low, step, high, -step]))
    ra0, dec0 = np.radians(ra)[:, np.newaxis], np.radians(dec)[:, np.newaxis]
    across = np.cos(dec0) - eta * np.sin(dec0)
    new_ra = ra0 + np.arctan2(xi, across)
    new_dec = np.arctan2(np.sin(dec0) + eta * np.cos(dec0), np.hypot(xi, across))
    return np.degrees(np.stack([new_ra, new_dec], axis=-1))
