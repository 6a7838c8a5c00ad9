"""A selection that is bound to the columns of a table: what evaluates its sections."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from shapempi.measure.setools.compiler import Compiled, Compiler, Values
from shapempi.measure.setools.outcome import DataSet, Figure, MaskResult, NewCatalogue, Selection, Statistic
from shapempi.measure.setools.sections import (
    CatalogueSection,
    MaskSection,
    PlotSection,
    Series,
    SplitSection,
    StatSection,
    Text,
)
from shapempi.measure.setools.split import POSITIONS, Split, draw_part, part_labels, position_columns
from shapempi.measure.setools.syntax import Statement

__all__ = ["BoundProgram"]


class BoundProgram:
    """A selection whose names are bound to the columns of a table.

    Parameters
    ----------
    dtype : numpy.dtype
        Type of the table's rows.
    constants : collection of str
        Names of the constants.
    masks, splits, statistics, catalogues, plots : sequence of sections
        The sections; each mask behind those that it needs.

    Raises
    ------
    ConfigError
        If a name is neither a column nor a constant, or an expression does not fit its place.
    """

    def __init__(
        self,
        dtype: np.dtype,
        constants: Collection[str],
        *,
        masks: Sequence[MaskSection],
        splits: Sequence[SplitSection],
        statistics: Sequence[StatSection],
        catalogues: Sequence[CatalogueSection],
        plots: Sequence[PlotSection],
    ) -> None:
        self._dtype = dtype
        self._compiler = Compiler(dtype, constants)
        self._masks = [(mask, [self._condition(line) for line in mask.conditions]) for mask in masks]
        self._splits = [
            (split, self._single(split.ratio), self._condition(split.masks) if split.masks else None)
            for split in splits
        ]
        for split in splits:
            if split.n_cell > 1 and position_columns(dtype) is None:
                known = ", ".join(" and ".join(pair) for pair in POSITIONS)
                raise split.source.error(f"STRATIFY needs positions, and there is none of {known}")
        self._statistics = [
            (section.name, label, self._single(statement))
            for section in statistics
            for label, statement in section.rows
        ]
        self._catalogues = [
            (section, self._together([statement for _, statement in section.columns])) for section in catalogues
        ]
        self._figures = [self._bind_figure(section) for section in plots]

    def select(self, table: np.ndarray, constants: Mapping[str, float], rng: np.random.Generator) -> Selection:
        """Apply the selection to a table of the type that it is bound to; see `Program.select`.

        Raises
        ------
        ValueError
            If the table is of another type.
        """
        if table.dtype != self._dtype:
            raise ValueError("the table's type is not the one that the selection is bound to")
        values = Values(table, constants)
        masks = {section.name: _apply_mask(section, conditions, values) for section, conditions in self._masks}
        # One number is drawn, and each part has its own generator: no part changes when a section is added.
        seed = int(rng.integers(2**63))
        splits = {
            section.name: _apply_split(section, ratio, condition, values, seed)
            for section, ratio, condition in self._splits
        }
        return Selection(
            n_object=len(table),
            constants={
                name: value for name, value in values.constants.items() if name not in (table.dtype.names or ())
            },
            masks=masks,
            splits=splits,
            statistics=tuple(Statistic(name, label, float(value(values))) for name, label, value in self._statistics),
            figures=lambda: tuple(figure(values) for figure in self._figures),
            catalogues=lambda: tuple(
                _make_catalogue(section, columns, values) for section, columns in self._catalogues
            ),
        )

    def _condition(self, statement: Statement) -> Compiled:
        """Bind a condition for all objects."""
        compiled = self._compiler.compile(statement)
        if not compiled.kind.condition:
            raise statement.source.error("not a condition; compare with <, >, <=, >=, == or !=")
        if compiled.kind.rows:
            raise statement.source.error(f"a condition must be for all objects, not for {compiled.kind}")
        return compiled

    def _single(self, statement: Statement) -> Compiled:
        """Bind a single value."""
        compiled = self._compiler.compile(statement)
        if compiled.kind.rows is not None:
            what = "has a value per object where a single one is needed; use mean(...), len(...) or the like"
            raise statement.source.error(f"{statement.text} {what}")
        return compiled

    def _together(self, statements: Sequence[Statement]) -> list[Compiled]:
        """Bind values of the same objects."""
        bound = [self._compiler.compile(statement) for statement in statements]
        columns = [value for value in bound if value.kind.rows is not None]
        for value in columns[1:]:
            if value.kind.rows != columns[0].kind.rows:
                raise value.statement.source.error(
                    f"{value.statement.text} is for {value.kind}, and {columns[0].statement.text} for {columns[0].kind}"
                )
        return bound

    def _bind_figure(self, section: PlotSection) -> Callable[[Values], Figure]:
        """Bind a figure."""
        make_sets = [self._bind_series(series) for series in section.series]
        title, x_label, y_label = (self._bind_text(text) for text in (section.title, section.x_label, section.y_label))
        limits = [
            None if pair is None else (self._single(pair[0]), self._single(pair[1]))
            for pair in (section.x_limits, section.y_limits)
        ]

        def make(values: Values) -> Figure:
            x_limits, y_limits = (
                None if pair is None else (float(pair[0](values)), float(pair[1](values))) for pair in limits
            )
            return Figure(
                name=section.name,
                source=section.source,
                kind=section.kind,
                file_format=section.file_format,
                title=title(values),
                x_label=x_label(values),
                y_label=y_label(values),
                x_limits=x_limits,
                y_limits=y_limits,
                logarithmic=section.logarithmic,
                data_sets=tuple(make_set(values) for make_set in make_sets),
            )

        return make

    def _bind_series(self, series: Series) -> Callable[[Values], DataSet]:
        """Bind a data set."""
        bound = {
            name: compiled
            for name, compiled in zip(
                [name for name in ("x", "y", "hue") if getattr(series, name) is not None],
                self._together([value for value in (series.x, series.y, series.hue) if value is not None]),
                strict=True,
            )
        }
        for compiled in bound.values():
            if compiled.kind.rows is None:
                raise compiled.statement.source.error(f"{compiled.statement.text} is a single value and no column")
        label = self._bind_text(series.label)

        def make(values: Values) -> DataSet:
            arrays = {name: np.asarray(compiled(values), dtype=float) for name, compiled in bound.items()}
            return DataSet(
                x=arrays.get("x"),
                y=arrays["y"],
                hue=arrays.get("hue"),
                label=label(values),
                colour=series.colour,
                colour_source=series.colour_source,
                alpha=series.alpha,
                marker=series.marker,
                marker_size=series.marker_size,
                line=series.line,
                n_bin=series.n_bin,
                bar=series.bar,
            )

        return make

    def _bind_text(self, text: Text | None) -> Callable[[Values], str]:
        """Bind a text with values in it."""
        pieces = [
            self._single(piece) if isinstance(piece, Statement) else piece for piece in (text.pieces if text else ())
        ]
        return lambda values: "".join(piece if isinstance(piece, str) else _written(piece(values)) for piece in pieces)


def _apply_mask(section: MaskSection, conditions: Sequence[Compiled], values: Values) -> MaskResult:
    """Evaluate the conditions of a mask one after the other."""
    selected = np.ones(len(values.table), dtype=bool)
    steps = []
    for condition in conditions:
        selected &= condition(values)
        steps.append((condition.statement, int(np.count_nonzero(selected))))
    values.masks[section.name] = selected
    return MaskResult(section.name, selected, section.saved, tuple(steps))


def _apply_split(
    section: SplitSection, ratio: Compiled, condition: Compiled | None, values: Values, seed: int
) -> Split:
    """Draw a part."""
    part = float(ratio(values))
    part = part / 100.0 if part >= 1.0 else part
    if not 0.0 <= part <= 1.0:
        raise section.ratio.source.error("the ratio must be between 0 and 100; from 1 on it is in per cent")
    selected = np.ones(len(values.table), dtype=bool) if condition is None else condition(values)
    rng = np.random.default_rng([seed, zlib.crc32(section.name.encode())])
    drawn = draw_part(values.table, selected, part, rng, n_cell=section.n_cell)
    rest = selected & ~drawn
    labels = part_labels(part)
    reason = ""
    if not selected.any():
        reason = f"{section.name}: there are no objects to split"
    elif not (drawn.any() and rest.any()):
        empty = labels[int(drawn.any())]
        reason = f"{section.name}: the part of {empty} % of {int(selected.sum())} objects is empty"
    return Split(section.name, labels, drawn, rest, reason)


def _make_catalogue(section: CatalogueSection, columns: Sequence[Compiled], values: Values) -> NewCatalogue:
    """Evaluate the columns of a new catalogue; single values are repeated."""
    names = [name for name, _ in section.columns]
    arrays = np.broadcast_arrays(*[np.atleast_1d(column(values)) for column in columns])
    table = np.empty(len(arrays[0]), dtype=[(name, array.dtype) for name, array in zip(names, arrays, strict=True)])
    for name, array in zip(names, arrays, strict=True):
        table[name] = array
    return NewCatalogue(section.name, section.form, table)


def _written(value: float) -> str:
    """Write a value into a text: integers as they are, others with four digits."""
    return f"{value:.0f}" if abs(value) < 1e15 and value == round(value) else f"{value:.4g}"
