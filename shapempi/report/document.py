"""A small document: sections of paragraphs, tables, lines and pictures, that renderers turn into Markdown and HTML."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

__all__ = ["Block", "Document", "Listing", "Paragraph", "Picture", "Renderer", "Section", "Table"]

_Out = TypeVar("_Out", covariant=True)


class Renderer(Protocol[_Out]):
    """What turns the parts of a document into something else."""

    def paragraph(self, part: Paragraph) -> _Out:
        """Render a paragraph."""
        ...

    def table(self, part: Table) -> _Out:
        """Render a table."""
        ...

    def listing(self, part: Listing) -> _Out:
        """Render lines."""
        ...

    def picture(self, part: Picture) -> _Out:
        """Render a picture."""
        ...


@dataclass(frozen=True)
class Paragraph:
    """Some sentences; a warning is one that must not be overlooked."""

    text: str
    warning: bool = False

    def render(self, renderer: Renderer[_Out]) -> _Out:
        """Have the renderer render it."""
        return renderer.paragraph(self)


@dataclass(frozen=True)
class Table:
    """Rows of texts.

    Attributes
    ----------
    columns : tuple of (str, bool)
        Name of each column, and whether it is left-aligned; the others are right-aligned.
    rows : tuple of tuple of str
        Cells.
    """

    columns: tuple[tuple[str, bool], ...]
    rows: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, header: str, rows: Iterable[Iterable[object]]) -> Table:
        """Make a table.

        Parameters
        ----------
        header : str
            Names of the columns with bars between them; `<` before a name aligns the column left.
        rows : iterable of iterable
            Cells; anything that can be written.
        """
        columns = tuple((name.removeprefix("<"), name.startswith("<")) for name in header.split("|"))
        return cls(columns, tuple(tuple(str(cell) for cell in row) for row in rows))

    def render(self, renderer: Renderer[_Out]) -> _Out:
        """Have the renderer render it."""
        return renderer.table(self)


@dataclass(frozen=True)
class Listing:
    """Lines that stay as they are, in letters of one width."""

    lines: tuple[str, ...]

    def render(self, renderer: Renderer[_Out]) -> _Out:
        """Have the renderer render it."""
        return renderer.listing(self)


@dataclass(frozen=True)
class Picture:
    """A PNG file and what it says."""

    path: Path
    caption: str

    def render(self, renderer: Renderer[_Out]) -> _Out:
        """Have the renderer render it."""
        return renderer.picture(self)


Block = Paragraph | Table | Listing | Picture


@dataclass(frozen=True)
class Section:
    """A heading and what is under it."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    """A title and sections."""

    title: str
    sections: tuple[Section, ...]
