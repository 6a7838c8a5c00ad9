"""The figure of the CCDs' PSF models: what became of them, and how their numbers are distributed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shapempi.report.psf_canvas import COLOURS, new_figure, save
from shapempi.validation.ccd_status import StatusSummary

__all__ = ["draw_status"]

_N_COLUMN = 4

_CHI2 = r"$\chi^2$"


def draw_status(summary: StatusSummary, path: Path, *, title: str) -> None:
    """Draw the number of CCDs by status and the histograms of their numbers.

    Parameters
    ----------
    summary : StatusSummary
        The CCDs.
    path : Path
        PNG file.
    title : str
        Heading.
    """
    histograms = [each for each in summary.histograms if len(each.count)]
    n_row = -(-(1 + len(histograms)) // _N_COLUMN)
    figure = new_figure(14.0, 0.7 + 2.6 * n_row)
    figure.suptitle(f"{title}: PSF models of {summary.n_ccd} CCDs")
    axes = figure.subplots(n_row, _N_COLUMN, squeeze=False).ravel()
    words, counts = list(summary.counts), list(summary.counts.values())
    axes[0].barh(words, counts, height=0.6, color=[COLOURS[2] if word == "accepted" else COLOURS[1] for word in words])
    for row, count in enumerate(counts):
        axes[0].text(count, row, f" {count}", va="center", fontsize=9)
    axes[0].set_ylim(max(len(words), 4) - 0.5, -0.5)
    axes[0].set(xlabel="CCDs", xlim=(0, 1.2 * max(counts, default=1)))
    for panel, each in zip(axes[1:], histograms, strict=False):
        panel.bar(each.edges[:-1], each.count, width=np.diff(each.edges), align="edge", color=COLOURS[0])
        unit = f" [{each.unit.replace('deg-2', 'deg$^{-2}$')}]" if each.unit else ""
        panel.set(xlabel=f"{each.meaning.replace('chi^2', _CHI2)}{unit}", ylabel="CCDs")
        panel.xaxis.get_major_formatter().set_useOffset(False)
    for panel in axes[1 + len(histograms) :]:
        panel.set_axis_off()
    save(figure, path)
