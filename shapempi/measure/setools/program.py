"""A selection as a whole: parsed once, sent anywhere, bound to a table's columns, and applied."""

from __future__ import annotations

import graphlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from shapempi.measure.setools.bound import BoundProgram
from shapempi.measure.setools.outcome import Selection
from shapempi.measure.setools.reader import Section, read_sections
from shapempi.measure.setools.sections import (
    CatalogueSection,
    MaskSection,
    PlotSection,
    SplitSection,
    StatSection,
)
from shapempi.measure.setools.source import nearest
from shapempi.measure.setools.syntax import Statement, masks_in

__all__ = ["Program", "parse"]


@dataclass(frozen=True)
class Program:
    """A parsed selection file; immutable, and small when pickled.

    Attributes
    ----------
    name : str
        Name of the file.
    text : str
        Its content.
    masks : tuple of MaskSection
        Masks, each behind those that it needs.
    splits, statistics, catalogues, plots : tuple
        The other sections, in the order of the file.
    """

    name: str
    text: str
    masks: tuple[MaskSection, ...]
    splits: tuple[SplitSection, ...]
    statistics: tuple[StatSection, ...]
    catalogues: tuple[CatalogueSection, ...]
    plots: tuple[PlotSection, ...]

    def bind(self, dtype: np.dtype, constants: Collection[str] = ()) -> BoundProgram:
        """Look up all names.

        Parameters
        ----------
        dtype : numpy.dtype
            Type of the rows of the tables.
        constants : collection of str, optional
            Names of the constants.

        Returns
        -------
        BoundProgram
            What selects from tables of this type.

        Raises
        ------
        ConfigError
            If a name is neither a column nor a constant, or an expression does not fit its place.
        """
        return BoundProgram(
            dtype,
            constants,
            masks=self.masks,
            splits=self.splits,
            statistics=self.statistics,
            catalogues=self.catalogues,
            plots=self.plots,
        )

    def select(self, table: np.ndarray, constants: Mapping[str, float], rng: np.random.Generator) -> Selection:
        """Apply the selection to a table.

        Parameters
        ----------
        table : structured ndarray [n]
            The objects.
        constants : mapping of str to float
            Named constants.
        rng : numpy.random.Generator
            Draws the random parts; one number is taken from it, whatever sections there are.

        Returns
        -------
        Selection
            The outcome; empty masks and parts have reasons.

        Raises
        ------
        ConfigError
            If a name is neither a column nor a constant, an expression does not fit its place, or a number is out of
            range; the message is `file:line: text of the line: what is wrong`.
        """
        return self.bind(table.dtype, constants).select(table, constants, rng)


def parse(text: str, name: str) -> Program:
    """Parse a selection file.

    Parameters
    ----------
    text : str
        Its content.
    name : str
        Its name, for messages.

    Returns
    -------
    Program
        The selection.

    Raises
    ------
    ConfigError
        If it is not of the language, or masks do not exist or need each other; the message is
        `file:line: text of the line: what is wrong`.
    """
    sections = read_sections(text, name)
    masks = {section.name: section for section in sections if isinstance(section, MaskSection)}
    for section in sections:
        for statement in _statements(section):
            for mask in masks_in(statement.tree):
                if mask not in masks:
                    raise statement.source.error(f"there is no mask {mask}; {nearest(mask, masks)}")
    return Program(
        name,
        text,
        masks=_in_order(masks),
        splits=tuple(section for section in sections if isinstance(section, SplitSection)),
        statistics=tuple(section for section in sections if isinstance(section, StatSection)),
        catalogues=tuple(section for section in sections if isinstance(section, CatalogueSection)),
        plots=tuple(section for section in sections if isinstance(section, PlotSection)),
    )


def _statements(section: Section) -> list[Statement]:
    """Return all expressions of a section."""
    match section:
        case MaskSection():
            return list(section.conditions)
        case SplitSection():
            return [section.ratio, *([section.masks] if section.masks else [])]
        case StatSection():
            return [statement for _, statement in section.rows]
        case CatalogueSection():
            return [statement for _, statement in section.columns]
    texts = [section.title, section.x_label, section.y_label, *(series.label for series in section.series)]
    found = [piece for text in texts if text for piece in text.pieces if isinstance(piece, Statement)]
    found += [limit for limits in (section.x_limits, section.y_limits) if limits for limit in limits]
    found += [value for series in section.series for value in (series.x, series.y, series.hue) if value]
    return found


def _in_order(masks: Mapping[str, MaskSection]) -> tuple[MaskSection, ...]:
    """Sort masks so that each is behind those that it needs."""
    needs = {
        name: list(dict.fromkeys(other for line in mask.conditions for other in masks_in(line.tree)))
        for name, mask in masks.items()
    }
    try:
        order = list(graphlib.TopologicalSorter(needs).static_order())
    except graphlib.CycleError as error:
        circle = list(reversed(error.args[1]))
        raise masks[circle[0]].source.error(f"masks need each other: {' -> '.join(circle)}") from error
    return tuple(masks[name] for name in order)
