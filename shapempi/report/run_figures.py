"""Pictures of a run: what each rank did when, predicted against used time, memory by host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shapempi.report.psf_canvas import COLOURS, MARKERS, new_figure, save
from shapempi.report.rank_use import RankUse, choose_ranks
from shapempi.report.run_cost import Prediction
from shapempi.report.run_record import DONE, in_order
from shapempi.report.run_words import span

if TYPE_CHECKING:
    import matplotlib.axes
    from matplotlib.artist import Artist

__all__ = ["MOST_HOSTS", "draw_cost", "draw_gantt", "draw_memory"]

#: Hosts that the picture of the memory shows.
MOST_HOSTS = 32

_BLUE, _VERMILION, _GREEN, _PURPLE, _ORANGE, _SKY = COLOURS
_KINDS = {"ccd": _BLUE, "tile": _ORANGE, "block": _GREEN}
_FAILED, _IDLE = _VERMILION, "0.9"
#: Points of one kind that a scatter plot shows.
_MOST_POINTS = 20_000
#: A pixel as a fraction of the axis of time: what is thinner would look pale, and is drawn as one with its neighbours.
_PIXEL = 8e-4
#: Bars wider than this many pixels stay apart, with a gap of one.
_APART = 8


def draw_gantt(use: RankUse, path: Path) -> None:
    """Draw what each rank of a job did when, and its busy fraction.

    Parameters
    ----------
    use : RankUse
        The job; of many ranks a choice is shown (`choose_ranks`).
    path : Path
        PNG file to write.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    ranks, note = choose_ranks(use)
    height = 2.2 + (0.15 if len(ranks) > 16 else 0.26) * max(len(ranks), 2)
    figure = new_figure(11.0, height)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(6, 1))
    unit, label = _time_unit(use.job.wall)
    kinds = in_order(a.kind for rank in ranks for a in use.attempts[rank])
    colours = _colours(kinds)
    shortest = _PIXEL * max(use.job.wall, 1e-9)
    for row, rank in enumerate(ranks):
        mine = use.attempts[rank]
        for kind in kinds:
            spans = [(a.begin, a.end) for a in mine if a.kind == kind and a.state == DONE]
            _bars(left, row, _joined(spans, shortest), use.job.start, unit, colours[kind])
        failed = [(a.begin, max(a.end, a.begin + 4 * shortest)) for a in mine if a.state != DONE]
        _bars(left, row, _joined(failed, shortest), use.job.start, unit, _FAILED)
        if rank in use.lost:
            left.plot((use.lost[rank] - use.job.start) / unit, row, "kx", ms=6, mew=1.5)
    wall = max(use.job.wall, 1e-9) / unit
    if use.tail > 0:
        left.axvspan(wall - use.tail / unit, wall, color=_IDLE, zorder=0, lw=0)
    left.set(xlim=(0, wall), ylim=(len(ranks) - 0.4, -0.6), xlabel=f"time since the start of the job [{label}]")
    left.set_yticks(range(len(ranks)), [str(rank) for rank in ranks], fontsize=6 if len(ranks) > 16 else 9)
    left.set_ylabel("rank")
    right.barh(range(len(ranks)), [100 * use.busy[rank] for rank in ranks], height=0.76, color="0.45")
    right.set(xlim=(0, 100), xlabel="busy [%]")
    right.tick_params(axis="y", left=False, labelleft=False)
    right.axvline(100 * use.mean_busy, color="k", lw=0.8, ls="--")
    handles: list[Artist] = [Patch(color=colours[kind], label=_shown(kind)) for kind in kinds]
    if any(a.state != DONE for rank in ranks for a in use.attempts[rank]):
        handles.append(Patch(color=_FAILED, label="attempt that failed"))
    if use.lost:
        handles.append(Line2D([], [], color="k", marker="x", mew=1.5, ls="", label="rank lost"))
    handles.append(Patch(color=_IDLE, label=f"idle tail, {span(use.tail)}"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)
    ranks_of = f"{len(use.attempts)} rank{'s' * (len(use.attempts) != 1)}"
    title = f"job {_shown(use.job.name)}: {ranks_of} busy {use.mean_busy:.0%} of {span(use.job.wall)}"
    figure.suptitle(title + (f"\n{note}" if note else ""), fontsize=11)
    save(figure, path)


def _bars(
    axes: matplotlib.axes.Axes,
    row: int,
    spans: Sequence[tuple[float, float]],
    start: float,
    unit: float,
    colour: str,
) -> None:
    """Draw what one rank did as bars in its row."""
    if spans:
        pieces = [((begin - start) / unit, (end - begin) / unit) for begin, end in spans]
        axes.broken_barh(pieces, (row - 0.38, 0.76), facecolors=colour, linewidth=0)


def _joined(spans: Iterable[tuple[float, float]], gap: float) -> list[tuple[float, float]]:
    """Return spans of time as they can be seen: wide ones apart, thin ones joined with those that follow at once."""
    joined: list[tuple[float, float]] = []
    for begin, end in sorted(spans):
        if end - begin > _APART * gap:
            joined.append((begin, end - gap))
        elif joined and begin - joined[-1][1] <= gap:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((begin, max(end, begin + gap)))
    return joined


def draw_cost(found: Sequence[Prediction], path: Path) -> None:
    """Draw predicted against used time of units, a panel for each kind.

    Parameters
    ----------
    found : sequence of Prediction
        At least one.
    path : Path
        PNG file to write.
    """
    from matplotlib.ticker import NullFormatter

    figure = new_figure(0.4 + 3.2 * max(len(found), 1), 3.6)
    colours = _colours([each.kind for each in found])
    for axes, each in zip(figure.subplots(1, len(found), squeeze=False)[0], found, strict=True):
        step = -(-len(each.used) // _MOST_POINTS)
        size = 6.0 if len(each.used) < 300 else 2.5
        axes.loglog(
            each.predicted[::step],
            each.used[::step],
            ".",
            ms=size,
            color=colours[each.kind],
            alpha=0.6,
            rasterized=True,
        )
        line = np.array(_decades(np.concatenate([each.predicted, each.used])))
        axes.plot(line, line, color="0.5", lw=1, label="used = predicted")
        axes.plot(line, each.median * line, color="k", lw=1, ls="--", label=f"median: {each.median:.3g} times")
        axes.set(xlim=line, ylim=line, aspect="equal", xlabel="predicted [s]", ylabel="used [s]")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(NullFormatter())
        scatter = "" if np.isnan(each.scatter) else f", 68% within a factor {each.scatter:.2f}"
        axes.set_title(f"{_shown(each.kind)} ({len(each.used)}){scatter}", fontsize=9)
        free = "lower right" if each.median > 1 else "upper left"
        axes.legend(loc=free, fontsize=8, framealpha=0.9, edgecolor="none", handlelength=1.6)
    save(figure, path)


def draw_memory(peaks: Mapping[str, Mapping[str, int]], path: Path) -> None:
    """Draw the largest resident memory of a rank by host and kind of unit.

    Parameters
    ----------
    peaks : mapping of str to mapping of str to int
        By host and kind [byte], the largest first; the first `MOST_HOSTS` are shown.
    path : Path
        PNG file to write.
    """
    hosts = list(peaks)[:MOST_HOSTS]
    kinds = in_order(kind for host in hosts for kind in peaks[host])
    figure = new_figure(8.0, 1.6 + 0.22 * max(len(hosts), 2))
    axes = figure.subplots()
    colours = _colours(kinds)
    top = max(peak for host in hosts for peak in peaks[host].values())
    unit, label = (2**30, "GiB") if top >= 2**30 else (2**20, "MiB")
    for row, host in enumerate(hosts):
        if row % 2:
            axes.axhspan(row - 0.5, row + 0.5, color="0.94", lw=0, zorder=0)
        for place, kind in enumerate(kinds):
            if kind in peaks[host]:
                marker = MARKERS[place % len(MARKERS)]
                place_in_row = row + 0.24 * (place - (len(kinds) - 1) / 2)
                axes.plot(peaks[host][kind] / unit, place_in_row, marker, ms=5, color=colours[kind])
    for place, kind in enumerate(kinds):
        axes.plot([], [], MARKERS[place % len(MARKERS)], color=colours[kind], label=_shown(kind))
    axes.set(
        xlim=(0, 1.08 * top / unit),
        ylim=(len(hosts) - 0.5, -0.5),
        xlabel=f"largest resident memory of a rank [{label}]",
    )
    axes.set_yticks(range(len(hosts)), [_shown(host) for host in hosts], fontsize=8)
    more = f" ({len(hosts)} of {len(peaks)} hosts, those with the largest)" if len(peaks) > len(hosts) else ""
    axes.set_title(f"memory by host and kind of unit{more}", fontsize=10)
    figure.legend(loc="outside lower center", ncols=max(len(kinds), 1), frameon=False, fontsize=9)
    save(figure, path)


def _colours(kinds: Iterable[str]) -> dict[str, str]:
    """Return the colour of each kind; those that no run of today has share two."""
    others = (_PURPLE, _SKY)
    unknown = [kind for kind in kinds if kind not in _KINDS]
    return _KINDS | {kind: others[k % len(others)] for k, kind in enumerate(unknown)}


def _decades(values: np.ndarray) -> tuple[float, float]:
    """Return the powers of ten around all values, at least one decade apart."""
    low, high = np.floor(np.log10(values.min())), np.ceil(np.log10(values.max()))
    return float(10.0**low), float(10.0 ** max(high, low + 1))


def _time_unit(seconds: float) -> tuple[float, str]:
    """Return the unit [s] in which a time is best written, and its name."""
    return (1.0, "s") if seconds < 300 else (60.0, "min") if seconds < 3 * 3600 else (3600.0, "h")


def _shown(text: str) -> str:
    """Return a name as matplotlib writes it, not as a formula, and not too long."""
    text = text.replace("$", r"\$")
    return text if len(text) <= 40 else f"{text[:37]}..."
