"""The sections of a selection file: what their lines are, without what they select."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from shapempi.measure.setools.source import Source
from shapempi.measure.setools.syntax import Statement

__all__ = [
    "CatalogueForm",
    "CatalogueSection",
    "MaskSection",
    "PlotKind",
    "PlotSection",
    "Series",
    "SplitSection",
    "StatSection",
    "Text",
]


class PlotKind(StrEnum):
    """What a plot is made of."""

    PLOT = "plot"
    SCATTER = "scatter"
    HIST = "hist"


class CatalogueForm(StrEnum):
    """The form of a new catalogue's file."""

    FITS = "fits"
    LDAC = "SEx_cat"
    TEXT = "txt"


@dataclass(frozen=True)
class MaskSection:
    """A selection of objects: those for which all conditions are true.

    Attributes
    ----------
    name : str
        Its name.
    source : Source
        Its heading.
    conditions : tuple of Statement
        One per line.
    saved : bool
        Whether it is written; False with NO_SAVE.
    """

    name: str
    source: Source
    conditions: tuple[Statement, ...]
    saved: bool


@dataclass(frozen=True)
class SplitSection:
    """A random part of the objects of some masks, and the rest of them.

    Attributes
    ----------
    name, source
        Its name and its heading.
    ratio : Statement
        The part; from 1 on in per cent.
    masks : Statement or None
        Condition of the objects that are split; None for all.
    n_cell : int
        Cells along each axis over which the part is spread evenly; 1 for no such care.
    """

    name: str
    source: Source
    ratio: Statement
    masks: Statement | None
    n_cell: int


@dataclass(frozen=True)
class StatSection:
    """Labelled numbers.

    Attributes
    ----------
    name, source
        Its name and its heading.
    rows : tuple of (str, Statement)
        Labels and expressions.
    """

    name: str
    source: Source
    rows: tuple[tuple[str, Statement], ...]


@dataclass(frozen=True)
class CatalogueSection:
    """A catalogue of new columns.

    Attributes
    ----------
    name, source
        Its name and its heading.
    form : CatalogueForm
        What kind of file it becomes.
    columns : tuple of (str, Statement)
        Names and expressions.
    """

    name: str
    source: Source
    form: CatalogueForm
    columns: tuple[tuple[str, Statement], ...]


@dataclass(frozen=True)
class Text:
    """A text with values in it: `mean @mean(FWHM_IMAGE)@ pixels`."""

    source: Source
    pieces: tuple[str | Statement, ...]


@dataclass(frozen=True)
class Series:
    """One data set of a plot.

    Attributes
    ----------
    x : Statement or None
        Abscissa; None for a histogram.
    y : Statement
        Ordinate, or the values of a histogram.
    hue : Statement or None
        Values shown as colours; of a scatter plot.
    label : Text or None
        Its entry in the legend.
    colour : str
        A colour's name; empty for the next of the cycle.
    colour_source : Source or None
        Where the colour is given.
    alpha : float
        Opacity.
    marker : str
        Marker of a point.
    marker_size : float
        Its size [points].
    line : str
        Style of the line between points; `none` for none.
    n_bin : int
        Bins of a histogram.
    bar : str
        Type of a histogram: bar, barstacked, step, stepfilled.
    """

    x: Statement | None
    y: Statement
    hue: Statement | None
    label: Text | None
    colour: str
    colour_source: Source | None
    alpha: float
    marker: str
    marker_size: float
    line: str
    n_bin: int
    bar: str


@dataclass(frozen=True)
class PlotSection:
    """A figure.

    Attributes
    ----------
    name, source
        Its name and its heading.
    kind : PlotKind
        What it is made of.
    file_format : str
        Ending of the file: png, pdf, svg.
    title, x_label, y_label : Text or None
        Its texts.
    x_limits, y_limits : tuple of Statement or None
        Lower and upper ends of the axes.
    logarithmic : bool
        Whether the counts of a histogram are on a logarithmic axis.
    series : tuple of Series
        The data sets.
    """

    name: str
    source: Source
    kind: PlotKind
    file_format: str
    title: Text | None
    x_label: Text | None
    y_label: Text | None
    x_limits: tuple[Statement, Statement] | None
    y_limits: tuple[Statement, Statement] | None
    logarithmic: bool
    series: tuple[Series, ...]
