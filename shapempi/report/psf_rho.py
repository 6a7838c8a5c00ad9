"""The figure of the rho statistics with what they may be at most."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shapempi.report.psf_canvas import COLOURS, MARKERS, new_figure, save
from shapempi.validation.requirements import RequirementParams, rho_limits

if TYPE_CHECKING:
    import matplotlib.axes

__all__ = ["draw_rho"]

#: Statistics of the two panels.
_PANELS = ((1, 3, 4), (2, 5))


def draw_rho(table: np.ndarray, params: RequirementParams, path: Path, *, title: str) -> None:
    """Draw |xi+| of the five statistics against separation; the shaded band is what is allowed.

    Bins with too few pairs to be judged (`RequirementParams.min_pairs`) are not drawn.

    Parameters
    ----------
    table : ndarray of RHO_DTYPE [n_bin]
        The statistics.
    params : RequirementParams
        What is allowed.
    path : Path
        PNG file.
    title : str
        Heading.
    """
    figure = new_figure(13.5, 5.8)
    figure.suptitle(f"{title}: rho statistics (filled: positive, open: negative)")
    theta = np.geomspace(table["theta_min"][0], table["theta_max"][-1], 200)
    limits = dict(zip(_PANELS, rho_limits(theta, params), strict=True))
    axes = figure.subplots(1, 2)
    for panel, members in zip(axes, _PANELS, strict=True):
        limit = limits[members]
        values = [np.abs(table[f"rho{k}_xip"][table["n_pair"] >= params.min_pairs]) for k in members]
        known = np.concatenate([each[np.isfinite(each) & (each > 0)] for each in values])
        bottom = float(np.percentile(known, 2)) / 3 if len(known) else limit.min() / 100
        bottom = min(bottom, limit.min() / 3)
        top = 4 * max(float(known.max(initial=0.0)), float(limit.max()))
        label = f"allowed: {params.xi_fraction:g} " + r"$\xi_+$" + _reason(members, params)
        panel.fill_between(theta, bottom, limit, color="0.88", lw=0, label=label, zorder=0)
        panel.plot(theta, limit, color="0.6", lw=0.8, zorder=1)
        for place, k in enumerate(members):
            _statistic(panel, table, k, place, len(members), params.min_pairs)
        panel.set(xscale="log", yscale="log", ylim=(bottom, top), xlabel=r"$\theta$ [arcmin]")
        panel.set_xlim(float(table["theta_min"][0]), float(table["theta_max"][-1]))
        panel.legend(fontsize=9, loc="upper right", framealpha=0.9)
    axes[0].set_ylabel(r"$|\rho_k(\theta)|$, real part of $\xi_+$")
    save(figure, path)


def _reason(members: tuple[int, ...], params: RequirementParams) -> str:
    """Return how the limit follows from xi+."""
    if 1 in members:
        return rf" / ($T_p/T_g$ = {params.size_ratio:g})$^2$"
    return rf" / ($\alpha$ = {params.leakage:g} $\times$ $T_p/T_g$ = {params.size_ratio:g})"


def _statistic(axes: matplotlib.axes.Axes, table: np.ndarray, k: int, place: int, n: int, min_pairs: int) -> None:
    """Draw one statistic; symbols of one bin stand side by side, bins with few pairs are left out."""
    colour, marker = COLOURS[k - 1], MARKERS[k - 1]
    table = table[table["n_pair"] >= min_pairs]
    theta = table["theta"] * (table["theta_max"] / table["theta_min"]) ** (0.22 * (place - (n - 1) / 2))
    value, error = table[f"rho{k}_xip"], table[f"rho{k}_xip_err"]
    axes.plot([], [], marker=marker, color=colour, ls="", label=rf"$\rho_{k}$")
    for sign, face in ((1, colour), (-1, "white")):
        shown = sign * value > 0
        if shown.any():
            size = np.abs(value[shown])
            bar = np.nan_to_num(error[shown])
            # A bar that reaches zero has no lower end on a logarithmic axis and is left out there.
            axes.errorbar(
                theta[shown],
                size,
                yerr=[np.where(bar < size, bar, 0.0), bar],
                fmt=marker,
                color=colour,
                mfc=face,
                ms=4.5,
                lw=0.9,
            )
