"""Figures of correlation functions: shear, its E- and B-modes, the PSF's part, and shear around positions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shapempi.lensing.correlation import Correlation, PsfCorrelation
from shapempi.lensing.null_test import NullTest
from shapempi.lensing.tangential import Tangential
from shapempi.report.psf_canvas import COLOURS, MARKERS, new_figure, save

if TYPE_CHECKING:
    import matplotlib.axes

__all__ = ["draw_modes", "draw_psf_correlation", "draw_tangential", "draw_xi"]

_THETA = r"$\theta$ [arcmin]"


def draw_xi(found: Correlation, psf: PsfCorrelation, min_pairs: int, path: Path, *, title: str) -> None:
    """Draw xi+ and xi-, with what the PSF adds to the former, and the cross component.

    Parameters
    ----------
    found : Correlation
        Of shear.
    psf : PsfCorrelation
        Of shear and PSF.
    min_pairs : int
        Bins with fewer pairs are left out.
    path : Path
        PNG file.
    title : str
        Heading.
    """
    figure = new_figure(13.5, 4.8)
    figure.suptitle(f"{title}: correlation of shear (filled: positive, open: negative)")
    panels = figure.subplots(1, 3)
    table = found.table[found.table["n_pair"] >= min_pairs]
    for panel, name, label, place in zip(panels, ("xip", "xim"), (r"$\xi_+$", r"$\xi_-$"), (0, 1), strict=False):
        signed_points(panel, table, name, place, label)
        panel.set_ylabel(label)
    system = psf.table[psf.table["n_pair"] >= min_pairs]
    panels[0].plot(system["theta"], np.abs(system["xi_sys"]), color="0.6", label=r"$|\xi_{\rm gp}^2/\xi_{\rm pp}|$")
    if len(table):
        panels[0].legend(fontsize=9)
    _linear(panels[2], table, "xix", 2, 1e4 * table["theta"])
    panels[2].set_ylabel(r"$\theta\,\xi_\times = \theta\,\langle\gamma_t\gamma_\times\rangle$ [$10^{-4}$ arcmin]")
    _subtitle(panels[2], [test for test in found.tests if test.name == "xi_x"])
    for panel in panels:
        panel.set_xlabel(_THETA)
    save(figure, path)


def draw_modes(found: Correlation, path: Path, *, title: str) -> None:
    """Draw E_n and B_n; see `draw_xi`."""
    figure = new_figure(7.5, 4.8)
    low, high = found.mode_range
    figure.suptitle(f"{title}: COSEBIs of {low:.3g} to {high:.3g} arcmin")
    panel = figure.subplots()
    modes = found.modes
    exponent = int(np.floor(np.log10(max(float(np.abs([modes["E"], modes["B"]]).max()), 1e-300))))
    for name, colour, marker, shift in zip("EB", COLOURS, MARKERS, (-0.08, 0.08), strict=False):
        values, error = modes[name] / 10.0**exponent, modes[f"{name}_err"] / 10.0**exponent
        panel.errorbar(modes["n"] + shift, values, yerr=error, fmt=marker, color=colour, capsize=2, label=f"${name}_n$")
    panel.axhline(0.0, color="0.5", lw=0.8)
    panel.set_xticks(modes["n"])
    panel.set(xlabel="mode n", ylabel=rf"$E_n, B_n$ [$10^{{{exponent}}}$ rad$^2$]")
    panel.legend()
    _subtitle(panel, [test for test in found.tests if test.name == "B_n"])
    save(figure, path)


def draw_psf_correlation(found: PsfCorrelation, min_pairs: int, path: Path, *, title: str) -> None:
    """Draw the correlation of shear and PSF and the leakage by separation; see `draw_xi`."""
    figure = new_figure(10.5, 4.8)
    figure.suptitle(f"{title}: shear and PSF (filled: positive, open: negative)")
    first, second = figure.subplots(1, 2)
    table = found.table[found.table["n_pair"] >= min_pairs]
    signed_points(first, table, "xi_gp", 0, r"$\xi_+$ of shear and PSF")
    first.plot(table["theta"], np.abs(table["xi_pp"]), color="0.6", label=r"$|\xi_+|$ of the PSF")
    if len(table):
        first.legend(fontsize=9)
    _linear(second, table, "alpha", 1, 1.0)
    second.set_ylabel(r"leakage $\alpha(\theta)$")
    for panel in (first, second):
        panel.set_xlabel(_THETA)
    save(figure, path)


def draw_tangential(found: Sequence[Tangential], path: Path, *, title: str) -> None:
    """Draw tangential and cross shear, a row of two panels for each kind of positions.

    Parameters
    ----------
    found : sequence of Tangential
        At least one.
    path : Path
        PNG file.
    title : str
        Heading.
    """
    figure = new_figure(11.0, 0.6 + 3.6 * len(found))
    figure.suptitle(f"{title}: mean shear around positions")
    for row, each in zip(figure.subplots(len(found), 2, squeeze=False), found, strict=True):
        table = each.table[each.table["n_pair"] > 0]
        for place, (panel, name) in enumerate(zip(row, ("gamma_t", "gamma_x"), strict=True)):
            _linear(panel, table, name, place, 1e3)
            _subtitle(panel, [test for test in each.tests if test.name.startswith(name)])
            symbol = r"\gamma_t" if name == "gamma_t" else r"\gamma_\times"
            panel.set_ylabel(rf"$10^3\ {symbol}$ around {each.n} {each.name}")
            if each.n_random and len(table):
                text = f"around {each.n_random} random positions (subtracted)"
                panel.plot(table["theta"], 1e3 * table[f"{name}_random"], color="0.6", label=text)
                panel.legend(fontsize=8)
    for panel in figure.axes[-2:]:
        panel.set_xlabel(_THETA)
    save(figure, path)


def signed_points(panel: matplotlib.axes.Axes, table: np.ndarray, name: str, place: int, label: str) -> None:
    """Draw absolute values on logarithmic axes; what is negative is open."""
    colour, marker = COLOURS[place], MARKERS[place]
    value, error = table[name], np.nan_to_num(table[f"{name}_err"])
    if not len(table):
        panel.text(0.5, 0.5, "too few pairs", ha="center", va="center", transform=panel.transAxes)
        return
    panel.set(xscale="log", yscale="log")
    panel.plot([], [], marker, color=colour, label=label)
    for sign, face in ((1, colour), (-1, "white")):
        shown = sign * value > 0
        size = np.abs(value[shown])
        # A bar that reaches zero has no lower end on a logarithmic axis and is left out there.
        bars = [np.where(error[shown] < size, error[shown], 0.0), error[shown]]
        panel.errorbar(table["theta"][shown], size, yerr=bars, fmt=marker, color=colour, mfc=face, ms=4.5, capsize=2)


def _linear(panel: matplotlib.axes.Axes, table: np.ndarray, name: str, place: int, factor: float | np.ndarray) -> None:
    """Draw values with errors, times a factor, against the logarithm of separation."""
    if not len(table):
        panel.text(0.5, 0.5, "too few pairs", ha="center", va="center", transform=panel.transAxes)
        return
    error = factor * np.nan_to_num(table[f"{name}_err"])
    panel.errorbar(
        table["theta"], factor * table[name], yerr=error, fmt=MARKERS[place], color=COLOURS[place], ms=4.5, capsize=2
    )
    panel.axhline(0.0, color="0.5", lw=0.8)
    panel.set_xscale("log")


def _subtitle(panel: matplotlib.axes.Axes, tests: Sequence[NullTest]) -> None:
    """Write the result of a null test above a panel."""
    for test in tests:
        if test.dof:
            panel.set_title(rf"against zero: $\chi^2$ = {test.chi2:.1f} for {test.dof}, p = {test.p:.3f}", fontsize=9)
