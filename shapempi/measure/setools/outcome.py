"""What a selection found: masks, splits, statistics, and what plots and new catalogues need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from shapempi.measure.setools.sections import CatalogueForm, PlotKind
from shapempi.measure.setools.source import Source
from shapempi.measure.setools.split import Split
from shapempi.measure.setools.syntax import Statement, masks_in
from shapempi.measure.setools.tokens import TokenKind, tokenize

__all__ = ["DataSet", "Figure", "MaskResult", "NewCatalogue", "Selection", "Statistic"]


@dataclass(frozen=True)
class MaskResult:
    """The objects of a mask.

    Attributes
    ----------
    name : str
        Its name.
    selected : ndarray of bool [n]
        Rows of the table that are in it.
    saved : bool
        Whether it is to be written.
    steps : tuple of (Statement, int)
        Its conditions, and how many objects are left after each.
    """

    name: str
    selected: np.ndarray
    saved: bool
    steps: tuple[tuple[Statement, int], ...]


@dataclass(frozen=True)
class Statistic:
    """A labelled number of a STAT section."""

    section: str
    label: str
    value: float


@dataclass(frozen=True)
class NewCatalogue:
    """A catalogue of a NEW_CAT section: its name, the form of its file, and a structured array."""

    name: str
    form: CatalogueForm
    table: np.ndarray


@dataclass(frozen=True)
class DataSet:
    """One data set of a figure: values, and how to show them (`sections.Series` says what the settings are).

    Attributes
    ----------
    x, hue : ndarray of float [n] or None
        Abscissae and values shown as colours, where the kind of figure has them.
    y : ndarray of float [n]
        Ordinates, or the values of a histogram.
    """

    x: np.ndarray | None
    y: np.ndarray
    hue: np.ndarray | None
    label: str
    colour: str
    colour_source: Source | None
    alpha: float
    marker: str
    marker_size: float
    line: str
    n_bin: int
    bar: str


@dataclass(frozen=True)
class Figure:
    """A figure of a PLOT section, ready to be drawn (`sections.PlotSection` says what the settings are)."""

    name: str
    source: Source
    kind: PlotKind
    file_format: str
    title: str
    x_label: str
    y_label: str
    x_limits: tuple[float, float] | None
    y_limits: tuple[float, float] | None
    logarithmic: bool
    data_sets: tuple[DataSet, ...]


@dataclass(frozen=True)
class Selection:
    """What a selection found in a table.

    Attributes
    ----------
    n_object : int
        Rows of the table.
    constants : mapping of str to float
        The constants that it was made with.
    masks : mapping of str to MaskResult
        All masks, by name.
    splits : mapping of str to Split
        All random parts, by name.
    statistics : tuple of Statistic
        The numbers of all STAT sections, in the order of the file.
    figures : callable
        Makes the figures' data: a tuple of `Figure`.
    catalogues : callable
        Makes the new catalogues: a tuple of `NewCatalogue`.
    """

    n_object: int
    constants: Mapping[str, float]
    masks: Mapping[str, MaskResult]
    splits: Mapping[str, Split]
    statistics: tuple[Statistic, ...]
    figures: Callable[[], tuple[Figure, ...]]
    catalogues: Callable[[], tuple[NewCatalogue, ...]]

    def reason(self, name: str) -> str:
        """Say why a mask has no objects, or nothing if it has some.

        Parameters
        ----------
        name : str
            The mask.

        Returns
        -------
        str
            The conditions that removed objects, and how many each left; for a condition on another mask that is empty,
            also why that one is.
        """
        if self.masks[name].selected.any():
            return ""
        if self.n_object == 0:
            return "there are no objects"
        return f"0 of {self.n_object} objects pass {self._steps(name)}"

    def _steps(self, name: str) -> str:
        """Tell what the conditions of an empty mask left, up to the one that left nothing."""
        left, kept, causes = self.n_object, [], []
        for condition, n_left in self.masks[name].steps:
            if n_left < left:
                kept.append(f"{self._with_values(condition)} keeps {n_left}")
            left = n_left
            if left == 0:
                causes = [mask for mask in masks_in(condition.tree) if not self.masks[mask].selected.any()]
                break
        return "; ".join([f"{name}: {', '.join(kept)}", *[self._steps(cause) for cause in causes[:1]]])

    def _with_values(self, condition: Statement) -> str:
        """Return a condition with its constants replaced by their values."""
        pieces, end = [], 0
        for token in tokenize(condition.text, condition.source):
            if token.kind is TokenKind.NAME and token.text in self.constants:
                pieces += [condition.text[end : token.start], f"{self.constants[token.text]:g}"]
                end = token.start + len(token.text)
        return "".join(pieces) + condition.text[end:]
