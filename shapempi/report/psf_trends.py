"""Figures of residuals against magnitude, size and signal-to-noise ratio, and of their distributions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from shapempi.report.psf_canvas import COLOURS, MARKERS, new_figure, save
from shapempi.validation.trends import ABSCISSAE, TREND_QUANTITIES, Trend

__all__ = ["draw_residuals", "draw_trends"]

#: Residuals by symbol; all are drawn in units of 1e-3.
_SYMBOLS = {"dg1": r"$\delta g_1$", "dg2": r"$\delta g_2$", "dT": r"$\delta T/T$"}

_LABELS = {"mag": "MAG_AUTO [mag]", "T": r"$T$ of the model [arcsec$^2$]", "snr": "signal-to-noise ratio"}


def draw_trends(trends: Sequence[Trend], bright: Sequence[Trend], path: Path, *, title: str) -> None:
    """Draw binned mean residuals with errors, and the fitted lines.

    Parameters
    ----------
    trends : sequence of Trend
        One column each.
    bright : sequence of Trend
        The same of bright stars, whose lines are drawn: faint ones were selected by sizes that noise changed.
    path : Path
        PNG file.
    title : str
        Heading.
    """
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    figure = new_figure(13.5, 9.0)
    figure.suptitle(f"{title}: star minus model, mean in bins of equal numbers of stars; lines: bright stars")
    axes = figure.subplots(len(TREND_QUANTITIES), len(trends), sharex="col", squeeze=False)
    for column, (found, steady) in enumerate(zip(trends, bright, strict=True)):
        logarithmic = ABSCISSAE[found.abscissa][2]
        x = found.table["centre"]
        for row, name in enumerate(TREND_QUANTITIES):
            panel = axes[row, column]
            panel.axhline(0.0, color="0.5", lw=0.8)
            if len(x):
                error = np.nan_to_num(1e3 * found.table[f"{name}_err"])
                panel.errorbar(
                    x, 1e3 * found.table[name], yerr=error, fmt=MARKERS[row], color=COLOURS[row], ms=4.5, capsize=2
                )
                _line(panel, steady, name)
            else:
                panel.text(0.5, 0.5, "too few stars", ha="center", va="center", transform=panel.transAxes)
            if logarithmic:
                panel.set_xscale("log")
                panel.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
                panel.xaxis.set_major_formatter(ScalarFormatter())
                panel.xaxis.set_minor_formatter(NullFormatter())
            unit = "dex" if logarithmic else (ABSCISSAE[found.abscissa][0] or "1").replace("arcsec2", "arcsec$^2$")
            slopes = f"slope of all {_slope(found, name)}, of bright stars {_slope(steady, name)}"
            panel.set_title(f"{slopes} [$10^{{-3}}$/{unit}]", fontsize=8, loc="right")
            if column == 0:
                panel.set_ylabel(rf"{_SYMBOLS[name]} [$10^{{-3}}$]")
        axes[-1, column].set_xlabel(_LABELS[found.abscissa])
    save(figure, path)


def _slope(found: Trend, name: str) -> str:
    """Write a slope and its error."""
    if not np.isfinite(found.slope[name]):
        return "unknown"
    error = f"{1e3 * found.slope_error[name]:.2f}" if np.isfinite(found.slope_error[name]) else "?"
    return f"{1e3 * found.slope[name]:+.2f} $\\pm$ {error}"


def _line(panel: object, found: Trend, name: str) -> None:
    """Draw the line through the means."""
    if not np.isfinite(found.slope[name]):
        return
    x = np.array([found.table["low"][0], found.table["high"][-1]])
    distance = (np.log10(x) if ABSCISSAE[found.abscissa][2] else x) - found.pivot
    y = 1e3 * (found.level[name] + found.slope[name] * distance)
    panel.plot(x, y, color="0.35", lw=1.0, ls="--", zorder=1)  # type: ignore[attr-defined]


def draw_residuals(samples: Mapping[str, np.ndarray], path: Path, *, title: str) -> None:
    """Draw the distributions of the residuals of several samples.

    Parameters
    ----------
    samples : mapping of str to ndarray of RESIDUAL_DTYPE
        Stars by the name of their sample.
    path : Path
        PNG file.
    title : str
        Heading.
    """
    figure = new_figure(13.5, 4.6)
    figure.suptitle(f"{title}: residuals of single stars")
    axes = figure.subplots(1, len(TREND_QUANTITIES))
    for panel, name in zip(axes, TREND_QUANTITIES, strict=True):
        every = 1e3 * np.concatenate([rows[name] for rows in samples.values()]).astype(float)
        bound = max(float(np.percentile(np.abs(every), 98)), 1e-6) if len(every) else 1.0
        panel.axvline(0.0, color="0.5", lw=0.8)
        for colour, style, (label, rows) in zip(COLOURS, ("-", "--", ":", "-."), samples.items(), strict=False):
            values = 1e3 * rows[name].astype(float)
            if not len(values):
                panel.plot([], [], color=colour, ls=style, label=f"{label}: none")
                continue
            weights = np.full(len(values), 1.0 / len(values))
            panel.hist(
                np.clip(values, -bound, bound),
                bins=60,
                range=(-bound, bound),
                weights=weights,
                histtype="step",
                color=colour,
                ls=style,
                lw=1.4,
                label=f"{label}: {values.mean():+.2f}, rms {np.sqrt((values**2).mean()):.1f}",
            )
        panel.set(xlabel=rf"{_SYMBOLS[name]} [$10^{{-3}}$]", xlim=(-bound, bound))
        panel.set_ylim(0.0, 1.45 * panel.get_ylim()[1])  # room for the legend
        panel.legend(fontsize=8, loc="upper left", title="mean, rms [$10^{-3}$]", title_fontsize=8)
    axes[0].set_ylabel("fraction of stars (outermost bins: all beyond)")
    save(figure, path)
