"""PLOT sections: which settings there are, and which data sets they make."""

from __future__ import annotations

import re
from collections.abc import Sequence

from shapempi.measure.setools.sections import PlotKind, PlotSection, Series
from shapempi.measure.setools.settings import Setting, Settings
from shapempi.measure.setools.source import Source

__all__ = ["KEYS", "read_plot"]

#: Values of TYPE.
_KINDS = {
    "plot": PlotKind.PLOT,
    "scatter": PlotKind.SCATTER,
    "hist": PlotKind.HIST,
    "histogram": PlotKind.HIST,
}

#: Keys of the whole figure.
_FIGURE = ("TYPE", "FORMAT", "TITLE", "XLABEL", "YLABEL", "XLIM", "YLIM")

#: Keys that must be there for each data set, and those that may be.
_DATA = {PlotKind.PLOT: ("X", "Y"), PlotKind.SCATTER: ("X", "Y", "SCATTER"), PlotKind.HIST: ("Y",)}
_STYLE = {
    PlotKind.PLOT: ("LABEL", "ALPHA", "COLOR", "MARKER", "MARKERSIZE", "LINE"),
    PlotKind.SCATTER: ("LABEL", "ALPHA", "MARKER", "MARKERSIZE"),
    PlotKind.HIST: ("LABEL", "ALPHA", "COLOR", "BIN", "HTYPE"),
}

#: All keys of plots of any type.
KEYS = (
    *_FIGURE,
    "LOG",
    *dict.fromkeys(key for keys in (*_DATA.values(), *_STYLE.values()) for key in keys),
)

#: Size of a marker [points] that is not given.
_MARKER_SIZE = {PlotKind.PLOT: 1.0, PlotKind.SCATTER: 5.0, PlotKind.HIST: 1.0}

_FORMATS = ("png", "pdf", "svg")
_MARKERS = (*".,ov^<>12348spP*hH+xXDd|_", "none")
_LINES = ("none", "-", "--", "-.", ":", "solid", "dashed", "dashdot", "dotted")
_BARS = ("bar", "barstacked", "step", "stepfilled")

#: What can be a colour; whether there is one of that name is known where it is drawn.
_COLOUR = re.compile(r"#[0-9a-fA-F]{3,8}|[A-Za-z][A-Za-z0-9: ]*|[01]?\.?\d*", re.ASCII)


def read_plot(name: str, heading: Source, lines: Sequence[Source]) -> PlotSection:
    """Read a PLOT section.

    Parameters
    ----------
    name : str
        Its name.
    heading : Source
        Its heading.
    lines : sequence of Source
        Its lines.

    Returns
    -------
    PlotSection
        The figure and its data sets.

    Raises
    ------
    ConfigError
        If a key is unknown, of another type of plot, or missing, or a value is impossible.
    """
    settings = Settings(lines, heading, KEYS, [key for key in KEYS if key not in (*_FIGURE, "LOG")])
    kind = _KINDS[settings.needed("TYPE", f"it is one of {', '.join(_KINDS)}").choice(_KINDS, "type of plot")]
    known = (*_FIGURE, *_DATA[kind], *_STYLE[kind], *(("LOG",) if kind is PlotKind.HIST else ()))
    numbers = _data_sets(settings, kind, heading)
    for key, number, value in settings.items():
        if key not in known:
            raise value.source.error(f"{key} is not a key of a {kind}; its keys are {', '.join(known)}")
        if number and number not in numbers:
            raise value.source.error(f"there is no data set {number}: {_DATA[kind][-1]}_{number} is missing")
    title, x_label, y_label = (settings.optional(key) for key in ("TITLE", "XLABEL", "YLABEL"))
    x_limits, y_limits = (settings.optional(key) for key in ("XLIM", "YLIM"))
    file_format, logarithmic = settings.optional("FORMAT"), settings.optional("LOG")
    return PlotSection(
        name=name,
        source=heading,
        kind=kind,
        file_format=file_format.choice(_FORMATS, "format") if file_format else "png",
        title=title.with_values() if title else None,
        x_label=x_label.with_values() if x_label else None,
        y_label=y_label.with_values() if y_label else None,
        x_limits=x_limits.pair() if x_limits else None,
        y_limits=y_limits.pair() if y_limits else None,
        logarithmic=logarithmic.truth() if logarithmic else False,
        series=tuple(_read_series(settings, kind, number, for_all=0 not in numbers) for number in numbers),
    )


def _data_sets(settings: Settings, kind: PlotKind, heading: Source) -> list[int]:
    """Return the numbers of the data sets.

    A number makes a data set if one of the needed keys carries it; those that it lacks come from the key without a
    number, or from the only one there is.
    """
    needed = _DATA[kind]
    numbers = sorted({number for key in needed for number in settings.numbers(key)})
    made = []
    for number in numbers:
        own = [settings.optional(key, number) for key in needed]
        # What has no number may be a data set by itself, or be there for all of them.
        lacking = [key for key, value in zip(needed, own, strict=True) if value is None]
        if number == 0 and len(numbers) > 1 and lacking:
            continue
        for key in lacking:
            if settings.shared(key, number) is None:
                source = next(value for value in own if value is not None).source
                raise source.error(f"{key}_{number} is missing" if number else f"{key} is missing")
        made.append(number)
    if not made:
        raise heading.error(f"there is nothing to draw: {' and '.join(needed)} are missing")
    for key in needed:
        unnumbered = settings.optional(key)
        if unnumbered and 0 not in made and all(settings.optional(key, number) for number in made):
            raise unnumbered.source.error(f"{key} is of no data set: each has its own, and none has no number")
    return made


def _read_series(settings: Settings, kind: PlotKind, number: int, *, for_all: bool) -> Series:
    """Read one data set; what has no number is of the data set 0, or of all if there is none of that number."""

    def style(key: str) -> Setting | None:
        return settings.optional(key, number) or (settings.optional(key) if for_all else None)

    x, y, hue = (settings.shared(key, number) if key in _DATA[kind] else None for key in ("X", "Y", "SCATTER"))
    assert y is not None  # every kind of plot needs it
    label, alpha, colour, bins = style("LABEL"), style("ALPHA"), style("COLOR"), style("BIN")
    marker, size, line, bar = style("MARKER"), style("MARKERSIZE"), style("LINE"), style("HTYPE")
    if colour is not None and not _COLOUR.fullmatch(colour.text):
        raise colour.source.error(f"{colour.text!r} is not the name of a colour")
    return Series(
        x=x.expression() if x else None,
        y=y.expression(),
        hue=hue.expression() if hue else None,
        label=label.with_values() if label else None,
        colour=colour.text if colour else "",
        colour_source=colour.source if colour else None,
        alpha=alpha.number(0, 1) if alpha else 1.0,
        marker=marker.choice(_MARKERS, "marker") if marker else "+",
        marker_size=size.number(0.01, 100) if size else _MARKER_SIZE[kind],
        line=line.choice(_LINES, "style of a line") if line else "none",
        n_bin=bins.integer(1, 10_000) if bins else 50,
        bar=bar.choice(_BARS, "type of a histogram") if bar else "bar",
    )
