"""Figures of response and mean shear in bins."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shapempi.lensing.bins import QUANTITIES
from shapempi.report.psf_canvas import COLOURS, MARKERS, SEQUENTIAL, new_figure, save

if TYPE_CHECKING:
    import matplotlib.axes

__all__ = ["draw_grid", "draw_mean_shear", "draw_response"]

_SHEARED = tuple(name for name, quantity in QUANTITIES.items() if quantity.sheared)


def draw_response(bins: Mapping[str, np.ndarray], path: Path, *, title: str) -> None:
    """Draw response, its part of the selection, and number against S/N, size and magnitude.

    Parameters
    ----------
    bins : mapping of str to ndarray of BIN_DTYPE
        Bins by quantity.
    path : Path
        PNG file.
    title : str
        Heading.
    """
    figure = new_figure(13.5, 7.5)
    figure.suptitle(f"{title}: response of the shapes in bins")
    axes = figure.subplots(2, len(_SHEARED), sharex="col", height_ratios=(3, 1))
    for column, name in zip(axes.T, _SHEARED, strict=True):
        table = _filled(bins[name])
        x = table["mean"]
        panel = column[0]
        for i, colour, marker in zip((1, 2), COLOURS, MARKERS, strict=False):
            error = np.nan_to_num(table[f"R{i}{i}_err"])
            panel.errorbar(
                x, table[f"R{i}{i}"], yerr=error, fmt=marker, color=colour, capsize=2, label=f"$R_{{{i}{i}}}$"
            )
            panel.plot(
                x, table[f"Rsel{i}{i}"], marker, mfc="none", color=colour, label=rf"$R^{{\rm selection}}_{{{i}{i}}}$"
            )
        panel.axhline(0.0, color="0.5", lw=0.8)
        counts = column[1]
        counts.bar(x, table["n"], width=_widths(x, name == "s2n"), color="0.75")
        counts.set_xlabel(_label(name))
        if name == "s2n":
            _logarithmic(counts)
    axes[0, 0].legend(fontsize=9)
    axes[0, 0].set_ylabel("response")
    axes[1, 0].set_ylabel("galaxies")
    save(figure, path)


def _filled(table: np.ndarray) -> np.ndarray:
    """Return the bins with galaxies."""
    return table[np.isfinite(table["mean"])]


def _widths(x: np.ndarray, logarithmic: bool) -> np.ndarray:
    """Return widths of bars at bins' means that do not touch."""
    if len(x) < 2:
        return np.full(len(x), 0.1)
    if logarithmic:
        return 0.5 * x * np.min(np.diff(np.log(x)))
    return np.full(len(x), 0.7 * np.min(np.diff(x)))


def draw_grid(by_s2n: np.ndarray, by_size: np.ndarray, path: Path, *, title: str) -> None:
    """Draw response and number by S/N and size.

    Parameters
    ----------
    by_s2n, by_size : ndarray of BIN_DTYPE [n_s2n, n_size]
        The bins, with limits and means of the one and of the other.
    path : Path
        PNG file.
    title : str
        Heading.
    """
    figure = new_figure(13.5, 5.2)
    figure.suptitle(f"{title}: response by signal-to-noise ratio and size; limits of bins at the axes")
    response = np.where(by_s2n["n"] > 0, (by_s2n["R11"] + by_s2n["R22"]) / 2, np.nan)
    x = [*by_s2n["low"][:, 0], by_s2n["high"][-1, 0]]
    y = [*by_size["low"][0], by_size["high"][0, -1]]
    contents = (
        (
            response,
            "mean of $R_{11}$ and $R_{22}$",
            ".2f",
            np.nanpercentile(response, (5, 95)) if np.isfinite(response).any() else (0, 1),
        ),
        (by_s2n["n"].astype(float), "galaxies", ".0f", (0, by_s2n["n"].max())),
    )
    for panel, (values, label, form, limits) in zip(figure.subplots(1, 2), contents, strict=True):
        image = panel.imshow(
            values.T,
            origin="lower",
            aspect="auto",
            cmap=SEQUENTIAL,
            vmin=limits[0],
            vmax=max(limits[1], limits[0] + 1e-6),
        )
        middle = (image.norm.vmin + image.norm.vmax) / 2
        for (i, j), value in np.ndenumerate(values):
            if np.isfinite(value) and values.size <= 150:
                panel.text(
                    i, j, f"{value:{form}}", ha="center", va="center", fontsize=7, color="w" if value < middle else "k"
                )
        panel.set_xticks(np.arange(len(x)) - 0.5, [f"{each:.3g}" for each in x], fontsize=8)
        panel.set_yticks(np.arange(len(y)) - 0.5, [f"{each:.3g}" for each in y], fontsize=8)
        panel.set(xlabel=_label("s2n"), ylabel=_label("size_ratio"))
        figure.colorbar(image, ax=panel, label=label)
    save(figure, path)


def draw_mean_shear(
    bins: Mapping[str, np.ndarray], whole: np.void, slopes: np.ndarray, path: Path, *, title: str
) -> None:
    """Draw mean shear against properties of galaxies and of the PSF, with the slopes against the PSF.

    Parameters
    ----------
    bins : mapping of str to ndarray of BIN_DTYPE
        Bins by quantity.
    whole : record of BIN_DTYPE
        All galaxies: the dashed lines.
    slopes : ndarray of LEAKAGE_DTYPE
        Straight lines.
    path : Path
        PNG file.
    title : str
        Heading.
    """
    figure = new_figure(13.5, 7.5)
    figure.suptitle(f"{title}: mean shear in bins, calibrated by the response of each; dashed: of all galaxies")
    for panel, (name, table) in zip(figure.subplots(2, 3).ravel(), bins.items(), strict=True):
        table = _filled(table)
        x = table["mean"]
        for i, colour, marker in zip((1, 2), COLOURS, MARKERS, strict=False):
            error = np.nan_to_num(table[f"g{i}_err"])
            panel.errorbar(x, table[f"g{i}"], yerr=error, fmt=marker, color=colour, capsize=2, label=f"$g_{i}$")
            panel.axhline(float(whole[f"g{i}"]), color=colour, ls="--", lw=0.8)
            for line in slopes[(slopes["against"] == name.encode()) & (slopes["component"] == i)]:
                unit = float(np.mean(x)) if name == "psf_T" else 1.0
                if np.isfinite(line["slope"]) and len(x) > 1:
                    text = rf"slope {line['slope']:+.4f} $\pm$ {line['slope_err']:.4f}"
                    panel.plot(x, line["offset"] + line["slope"] * (x / unit - line["mean"]), color=colour, label=text)
        if name == "s2n":
            _logarithmic(panel)
        panel.axhline(0.0, color="0.5", lw=0.8)
        panel.set_xlabel(_label(name))
        panel.legend(fontsize=8)
    save(figure, path)


def _label(name: str) -> str:
    """Return the label of an axis."""
    label = {"size_ratio": r"$T/T_{\rm PSF}$", "psf_T": r"$T$ of the PSF"}.get(name, QUANTITIES[name].label)
    unit = QUANTITIES[name].unit.replace("arcsec2", "arcsec$^2$")
    return f"{label} [{unit}]" if unit else label


def _logarithmic(panel: matplotlib.axes.Axes) -> None:
    """Give a panel a logarithmic axis with plain numbers."""
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    panel.set_xscale("log")
    panel.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    panel.xaxis.set_major_formatter(ScalarFormatter())
    panel.xaxis.set_minor_formatter(NullFormatter())
