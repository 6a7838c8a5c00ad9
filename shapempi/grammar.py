"""The catalogue in the older grammars: other names, vectors of two, and their values for "no result"."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from shapempi.catalog import COLUMNS, SHEAR_TYPES, Alias, Column, dtype_of, fitted
from shapempi.flags import DescribedFlag, describe

__all__ = ["GRAMMARS", "Translation", "columns_of", "translation", "translator"]

#: What each grammar takes from a column's declaration.
GRAMMARS: dict[str, Callable[[Column], Alias | None]] = {
    "native": lambda column: Alias(column.name),
    "legacy": lambda column: column.legacy,
    "v2": lambda column: column.v2,
}


def _entries(grammar: str) -> list[tuple[str, list[tuple[Column, Alias]]]]:
    """Return old names in order, each with the native columns that make it."""
    found: dict[str, list[tuple[Column, Alias]]] = {}
    for column in COLUMNS:
        alias = GRAMMARS[grammar](column)
        if alias is not None:
            found.setdefault(alias.name, []).append((column, alias))
    if grammar != "native":
        # The older grammars repeat the original PSF for every type.
        for kind in SHEAR_TYPES:
            for name, alias in _original_psf(grammar, kind.upper()):
                column = next(column for column in COLUMNS if column.name == name)
                found.setdefault(alias.name, []).append((column, alias))
    return list(found.items())


def _original_psf(grammar: str, kind: str) -> list[tuple[str, Alias]]:
    """Return the names of the original PSF's shape and size for one type."""
    size = ("psf_T", Alias(f"NGMIX_T_PSFo_{kind}", None, 0.0))
    if grammar == "legacy":
        ell = f"NGMIX_ELL_PSFo_{kind}"
        return [("psf_g1", Alias(ell, 0, -10.0)), ("psf_g2", Alias(ell, 1, -10.0)), size]
    return [
        ("psf_g1", Alias(f"NGMIX_G1_PSFo_{kind}", None, -10.0)),
        ("psf_g2", Alias(f"NGMIX_G2_PSFo_{kind}", None, -10.0)),
        size,
    ]


@dataclass(frozen=True)
class Translation:
    """Some columns of a grammar, and how they are made of native ones.

    Attributes
    ----------
    columns : tuple of Column
        The columns in the grammar, with units and meanings.
    needs : tuple of str
        The native columns that they are made of.
    translate : callable
        Takes native rows with at least those, returns rows of the grammar.
    """

    columns: tuple[Column, ...]
    needs: tuple[str, ...]
    translate: Callable[[np.ndarray], np.ndarray]


def translation(grammar: str, there: Collection[str] | None = None, names: Sequence[str] | None = None) -> Translation:
    """Return how a grammar is made of native columns.

    Parameters
    ----------
    grammar : str
        `native`, `legacy` or `v2`.
    there : collection of str, optional
        The native columns that there are: what needs others is left out.  All by default.
    names : sequence of str, optional
        The columns of the grammar that are wanted, in this order; all by default.
    """
    entries = {
        name: sources
        for name, sources in _entries(grammar)
        if there is None or all(column.name in there for column, _ in sources)
    }
    chosen = {name: entries[name] for name in (entries if names is None else names)}
    columns = tuple(_column(name, sources) for name, sources in chosen.items())
    needs = tuple(dict.fromkeys(column.name for sources in chosen.values() for column, _ in sources))

    def translate(rows: np.ndarray) -> np.ndarray:
        width = rows.dtype["tile"].itemsize if "tile" in needs else 0
        table = np.zeros(len(rows), dtype=dtype_of(fitted(columns, tile_width=width)))
        for name, sources in chosen.items():
            if len(sources) == 1:
                table[name] = _filled(rows, *sources[0])
            else:
                for column, alias in sources:
                    table[name][:, alias.element] = _filled(rows, column, alias)
        return table

    return Translation(columns, needs, translate)


def _column(name: str, sources: Sequence[tuple[Column, Alias]]) -> Column:
    """Return the declaration of a column of a grammar."""
    first = sources[0][0]
    dtype = f"({len(sources)},){first.dtype}" if len(sources) > 1 else first.dtype
    return Column(name, dtype, first.unit, first.meaning)


def columns_of(grammar: str) -> list[Column]:
    """Return the columns of a catalogue in a grammar (`native`, `legacy` or `v2`), with units and meanings."""
    return list(translation(grammar).columns)


def translator(grammar: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function that turns native rows into rows of a grammar (`native`, `legacy` or `v2`)."""
    return translation(grammar).translate


def _filled(rows: np.ndarray, column: Column, alias: Alias) -> np.ndarray:
    """Return a column with the grammar's value in place of NaN."""
    values = rows[column.name]
    if values.dtype.kind != "f" or np.isnan(alias.missing):
        return values
    return np.where(np.isnan(values), alias.missing, values)


def reference(groups: Sequence[tuple[str, Sequence[Column]]], flags: Sequence[tuple[str, type[DescribedFlag]]]) -> str:
    """Return the page of all columns and flag bits as Markdown (`docs/columns.md`).

    Parameters
    ----------
    groups : sequence of (str, sequence of Column)
        Title and columns of each table.
    flags : sequence of (str, flag class)
        Name and bits of each column that holds flags.
    """
    lines = ["# Columns", "", "Made by `shapempi config --columns` from the declarations in the code; do not edit.", ""]
    for title, columns in groups:
        lines += [f"## {title}", "", "| column | type | unit | meaning | legacy | v2 |", "|---|---|---|---|---|---|"]
        for column in columns:
            old = [_alias_text(alias) for alias in (column.legacy, column.v2)]
            cells = (f"`{column.name}`", column.dtype, column.unit, column.meaning, *old)
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    for name, bits in flags:
        lines += [f"## Bits of `{name}`", "", "| bit | name | meaning |", "|---|---|---|"]
        lines += [f"| {value} | {bit} | {meaning} |" for value, bit, meaning in describe(bits)]
        lines.append("")
    return "\n".join(lines)


def _alias_text(alias: Alias | None) -> str:
    if alias is None:
        return ""
    return f"`{alias.name}`" if alias.element is None else f"`{alias.name}[{alias.element}]`"
