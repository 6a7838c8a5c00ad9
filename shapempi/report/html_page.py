"""A document as one HTML file: pictures are in it, nothing is loaded from elsewhere, nothing runs."""

from __future__ import annotations

import base64
from html import escape

from shapempi.report.document import Document, Listing, Paragraph, Picture, Table

__all__ = ["to_html"]

_STYLE = """
body { font: 15px/1.45 sans-serif; color: #1a1a1a; background: #fff; margin: 2em auto; max-width: 75em; }
body { padding: 0 1em; }
h1 { font-size: 1.6em; } h2 { font-size: 1.2em; margin-top: 2em; border-bottom: 1px solid #ccc; }
.scroll, pre { overflow-x: auto; }
table { border-collapse: collapse; margin: 0.8em 0; font-size: 0.9em; }
th, td { padding: 0.2em 0.7em; text-align: right; vertical-align: top; border-bottom: 1px solid #e4e4e4; }
th { border-bottom: 2px solid #999; white-space: nowrap; } .left { text-align: left; }
td { font-variant-numeric: tabular-nums; }
.warning { border-left: 4px solid #d55e00; background: #fdf1e8; padding: 0.4em 0.8em; }
figure { margin: 1em 0; } img { max-width: 100%; height: auto; } figcaption { color: #555; font-size: 0.9em; }
"""


def to_html(document: Document) -> str:
    """Write a document as one HTML file, every text in it as it is."""
    renderer = _Html()
    title = escape(document.title)
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{title}</h1>",
    ]
    for section in document.sections:
        parts += [f"<h2>{escape(section.title)}</h2>", *(block.render(renderer) for block in section.blocks)]
    return "\n".join([*parts, "</body></html>"]) + "\n"


class _Html:
    """Renders the parts of a document."""

    def paragraph(self, part: Paragraph) -> str:
        """Render a paragraph."""
        mark = ' class="warning"' if part.warning else ""
        return f"<p{mark}>{escape(part.text)}</p>"

    def table(self, part: Table) -> str:
        """Render a table; a wide one scrolls by itself."""
        classes = [' class="left"' if left else "" for _, left in part.columns]
        head = "".join(f"<th{c}>{escape(name)}</th>" for c, (name, _) in zip(classes, part.columns, strict=True))
        rows = [
            "<tr>" + "".join(f"<td{c}>{escape(cell)}</td>" for c, cell in zip(classes, row, strict=True)) + "</tr>"
            for row in part.rows
        ]
        lines = ['<div class="scroll"><table>', f"<tr>{head}</tr>", *rows, "</table></div>"]
        return "\n".join(lines)

    def listing(self, part: Listing) -> str:
        """Render lines."""
        return f"<pre>{escape(chr(10).join(part.lines))}</pre>"

    def picture(self, part: Picture) -> str:
        """Render a picture, all of its bytes, and its caption."""
        data = base64.b64encode(part.path.read_bytes()).decode()
        image = f'<img src="data:image/png;base64,{data}" alt="{escape(part.path.stem)}">'
        return f"<figure>{image}<figcaption>{escape(part.caption)}</figcaption></figure>"
