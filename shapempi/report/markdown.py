"""A document as Markdown; pictures are files beside it."""

from __future__ import annotations

import re

from shapempi.report.document import Document, Listing, Paragraph, Picture, Table

__all__ = ["to_markdown"]

#: What Markdown would take for more than text.
_SPECIAL = re.compile(r"([\\`*\[\]|])")


def to_markdown(document: Document) -> str:
    """Write a document as Markdown, every text in it as it is."""
    renderer = _Markdown()
    parts = [f"# {_text(document.title)}"]
    for section in document.sections:
        parts += [f"## {_text(section.title)}", *(block.render(renderer) for block in section.blocks)]
    return "\n\n".join(parts) + "\n"


class _Markdown:
    """Renders the parts of a document."""

    def paragraph(self, part: Paragraph) -> str:
        """Render a paragraph; a warning is bold."""
        return f"**{_text(part.text)}**" if part.warning else _text(part.text)

    def table(self, part: Table) -> str:
        """Render a table with columns of equal width, to be read as it is, too."""
        names = [_text(name) for name, _ in part.columns]
        rows = [[_text(cell) for cell in row] for row in part.rows]
        widths = [max(3, *(len(row[k]) for row in [names, *rows])) for k in range(len(names))]
        lefts = [left for _, left in part.columns]
        rule = [":" + "-" * (n - 1) if left else "-" * (n - 1) + ":" for n, left in zip(widths, lefts, strict=True)]
        return "\n".join(
            "| " + " | ".join(_pad(cell, n, left) for cell, n, left in zip(row, widths, lefts, strict=True)) + " |"
            for row in [names, rule, *rows]
        )

    def listing(self, part: Listing) -> str:
        """Render lines: indented, they are nothing but text."""
        return "\n".join(f"    {line}" for text in part.lines for line in (text.splitlines() or [""]))

    def picture(self, part: Picture) -> str:
        """Render a picture and its caption."""
        return f"![{_text(part.path.stem)}]({part.path.name})\n\n{_text(part.caption)}"


def _pad(cell: str, width: int, left: bool) -> str:
    return cell.ljust(width) if left else cell.rjust(width)


def _text(text: str) -> str:
    """Escape a text and bring it to one line."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", text)
