"""Figures of a run: what one looks at first before believing a catalogue.

matplotlib is imported where it draws: the ranks of a run, which import this module with the command line, need not
load it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shapempi.flags import NO_RESULT

if TYPE_CHECKING:
    import matplotlib.axes

__all__ = ["draw_overview"]

_CLASSES = ((0, "stars", "#d95f02"), (1, "galaxies", "#1b9e77"), (2, "undecided", "0.7"))


def draw_overview(catalogue: np.ndarray, stars: np.ndarray, path: Path, *, title: str) -> None:
    """Draw sky, sizes, classification, PSF residuals and shears of a catalogue on one sheet.

    Parameters
    ----------
    catalogue : ndarray
        Rows of the catalogue (`shapempi.catalog.COLUMNS`).
    stars : ndarray
        Held-back stars (`shapempi.catalog.STAR_COLUMNS`).
    path : Path
        PNG file to write.
    title : str
        Heading.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 8), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    panels = figure.subplots(2, 3)
    _sky(panels[0, 0], catalogue)
    _sizes(panels[0, 1], catalogue)
    _classes(panels[0, 2], catalogue)
    _residual(panels[1, 0], panels[1, 1], stars)
    _shears(panels[1, 2], catalogue)
    figure.savefig(path, dpi=110)


def _sky(axes: matplotlib.axes.Axes, catalogue: np.ndarray) -> None:
    """Objects on the sky, coloured by the number of epochs."""
    from matplotlib import colormaps

    n_epoch = catalogue["N_EPOCH"]
    top = max(int(n_epoch.max(initial=1)), 1)
    colours = colormaps["viridis"].resampled(top + 1)
    dots = axes.scatter(
        catalogue["ra"], catalogue["dec"], c=n_epoch, s=6, cmap=colours, vmin=-0.5, vmax=top + 0.5, rasterized=True
    )
    axes.figure.colorbar(dots, ax=axes, label="epochs", ticks=range(top + 1))
    axes.invert_xaxis()
    axes.ticklabel_format(useOffset=False)
    axes.tick_params(axis="x", labelrotation=30)
    axes.set(xlabel="RA [deg]", ylabel="Dec [deg]", title=f"{len(catalogue)} objects")


def _sizes(axes: matplotlib.axes.Axes, catalogue: np.ndarray) -> None:
    """Magnitude against half-light radius by class."""
    for value, name, colour in _CLASSES:
        rows = catalogue[catalogue["SPREAD_CLASS"] == value]
        axes.plot(rows["MAG_AUTO"], rows["FLUX_RADIUS"], ".", ms=3, color=colour, label=f"{len(rows)} {name}")
    radius = catalogue["FLUX_RADIUS"]
    high = np.nanpercentile(radius, 98) if np.isfinite(radius).any() else 10.0
    axes.set(xlabel="MAG_AUTO", ylabel="FLUX_RADIUS [pixel]", ylim=(0, 1.3 * high), title="sizes")
    axes.legend(loc="upper left", fontsize=8)


def _classes(axes: matplotlib.axes.Axes, catalogue: np.ndarray) -> None:
    """Spread model against magnitude."""
    for value, name, colour in _CLASSES:
        rows = catalogue[catalogue["SPREAD_CLASS"] == value]
        axes.plot(rows["MAG_AUTO"], rows["SPREAD_MODEL"], ".", ms=3, color=colour, label=name)
    axes.axhline(0, color="0.3", lw=0.7)
    axes.set(xlabel="MAG_AUTO", ylabel="SPREAD_MODEL", ylim=(-0.02, 0.06), title="star/galaxy separation")


def _residual(shape: matplotlib.axes.Axes, size: matplotlib.axes.Axes, stars: np.ndarray) -> None:
    """Shape and size of the held-back stars less the model's."""
    good = stars[(stars["ACCEPTED"] == 1) & (stars["FLAG_PSF_HSM"] == 0) & (stars["FLAG_STAR_HSM"] == 0)]
    for component, colour in ((1, "#7570b3"), (2, "#e7298a")):
        rest = good[f"g{component}_star"] - good[f"g{component}_psf"]
        label = f"g{component}: {_mean_error(rest, '.5f')}"
        shape.plot(good["MAG"], rest, ".", ms=4, color=colour, label=label)
    shape.axhline(0, color="0.3", lw=0.7)
    shape.set(xlabel="MAG_AUTO", ylabel="star - model", title=f"shape of {len(good)} held-back stars")
    shape.legend(fontsize=8)
    rest = (good["T_star"] - good["T_psf"]) / good["T_star"]
    size.plot(good["MAG"], rest, ".", ms=4, color="#66a61e", label=_mean_error(rest, ".4f"))
    size.axhline(0, color="0.3", lw=0.7)
    size.set(xlabel="MAG_AUTO", ylabel=r"$(T_\ast - T_{psf})/T_\ast$", title="size of the held-back stars")
    size.legend(fontsize=8)


def _shears(axes: matplotlib.axes.Axes, catalogue: np.ndarray) -> None:
    """Distribution of the shapes of the galaxies."""
    rows = catalogue[((catalogue["shape_flags"] & int(NO_RESULT)) == 0) & (catalogue["SPREAD_CLASS"] == 1)]
    for component, colour in ((1, "#7570b3"), (2, "#e7298a")):
        g = rows[f"g{component}_noshear"]
        axes.hist(g[np.isfinite(g)], bins=40, range=(-1, 1), histtype="step", color=colour, label=f"g{component}")
    axes.set(xlabel="g (noshear)", ylabel="galaxies", title=f"shapes of {len(rows)} galaxies")
    axes.legend(fontsize=8)


def _mean_error(values: np.ndarray, form: str) -> str:
    """Write a mean with its error."""
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return "no stars"
    return f"mean {values.mean():{form}} +- {values.std() / np.sqrt(len(values)):{form}}"
