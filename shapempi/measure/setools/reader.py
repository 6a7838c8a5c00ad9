"""From the text of a selection file to its sections."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from shapempi.measure.setools.parser import MASK_NAME, parse_statement
from shapempi.measure.setools.plots import read_plot
from shapempi.measure.setools.sections import (
    CatalogueForm,
    CatalogueSection,
    MaskSection,
    PlotSection,
    SplitSection,
    StatSection,
)
from shapempi.measure.setools.settings import Settings, split_setting, unquote
from shapempi.measure.setools.source import Source, nearest

__all__ = ["Section", "read_sections"]

Section = MaskSection | SplitSection | StatSection | CatalogueSection | PlotSection

_HEADING = re.compile(r"\[([^\[\]:]*)(?::([^\[\]]*))?\]")

#: Values of OUTPUT_FORMAT.
_FORMS = {
    "fits": CatalogueForm.FITS,
    "SEx_cat": CatalogueForm.LDAC,
    "txt": CatalogueForm.TEXT,
    "ascii": CatalogueForm.TEXT,
}


@dataclass(frozen=True)
class _Block:
    """A section as lines."""

    kind: str
    name: str
    source: Source
    lines: tuple[Source, ...]


def read_sections(text: str, file: str) -> list[Section]:
    """Read all sections of a selection file.

    Parameters
    ----------
    text : str
        The file's content.
    file : str
        Its name, for messages.

    Returns
    -------
    list of sections
        In the order of the file.

    Raises
    ------
    ConfigError
        If a line is not of the language; the message is `file:line: text of the line: what is wrong`.
    """
    sections: list[Section] = []
    places: dict[tuple[str, str], int] = {}
    for block in _blocks(_lines(text, file)):
        first = places.setdefault((block.kind, block.name), block.source.number)
        if first != block.source.number:
            raise block.source.error(f"the section {block.kind}:{block.name} is already there, in line {first}")
        sections.append(_READERS[block.kind](block))
    return sections


def _lines(text: str, file: str) -> Iterator[Source]:
    """Yield the lines that are not empty, without comments."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    for number, line in enumerate(text.split("\n"), start=1):
        content = _without_comment(line).strip()
        if content:
            yield Source(file, number, content)


def _without_comment(line: str) -> str:
    """Cut off what follows a #, unless it is between quotes."""
    quoted = False
    for place, character in enumerate(line):
        if character == '"':
            quoted = not quoted
        elif character == "#" and not quoted:
            return line[:place]
    return line


def _blocks(lines: Iterator[Source]) -> Iterator[_Block]:
    """Group the lines by sections."""
    heading: tuple[str, str, Source] | None = None
    body: list[Source] = []
    counts: dict[str, int] = {}
    for line in lines:
        if line.text.startswith("["):
            if heading is not None:
                yield _Block(*heading, tuple(body))
            heading, body = _read_heading(line, counts), []
        elif heading is None:
            raise line.error("text before the first section; sections begin with a line [TYPE:name]")
        else:
            body.append(line)
    if heading is not None:
        yield _Block(*heading, tuple(body))


def _read_heading(line: Source, counts: dict[str, int]) -> tuple[str, str, Source]:
    """Read `[TYPE:name]`; sections without a name are counted."""
    match = _HEADING.fullmatch(line.text)
    if match is None:
        raise line.error("not the heading of a section; it must be [TYPE:name]")
    kind = match.group(1).strip()
    if kind not in _READERS:
        raise line.error(f"there is no type of section {kind!r}; {nearest(kind, _READERS)}")
    name = (match.group(2) or "").strip()
    if not name:
        counts[kind] = counts.get(kind, 0) + 1
        name = f"{kind.lower()}_{counts[kind]}"
    if not MASK_NAME.fullmatch(name):
        raise line.error(f"{name!r} cannot be a name: it becomes the name of a file; use letters, digits and _ . + -")
    return kind, name, line


def _read_mask(block: _Block) -> MaskSection:
    """Read conditions and NO_SAVE."""
    conditions = tuple(parse_statement(line.text, line) for line in block.lines if line.text != "NO_SAVE")
    return MaskSection(block.name, block.source, conditions, saved=len(conditions) == len(block.lines))


def _read_split(block: _Block) -> SplitSection:
    """Read RATIO, MASK and STRATIFY."""
    settings = Settings(block.lines, block.source, ("RATIO", "MASK", "STRATIFY"))
    ratio = settings.needed("RATIO", "the part that is drawn, from 1 on in per cent")
    masks = settings.optional("MASK")
    n_cell = settings.optional("STRATIFY")
    return SplitSection(
        block.name,
        block.source,
        ratio=ratio.expression(),
        masks=parse_statement("{" + masks.text + "}", masks.source) if masks else None,
        n_cell=n_cell.integer(1, 100) if n_cell else 1,
    )


def _read_statistics(block: _Block) -> StatSection:
    """Read `"label" = expression`."""
    rows = []
    places: dict[str, int] = {}
    for line in block.lines:
        label, text = split_setting(line)
        label = unquote(label, line)
        if not label:
            raise line.error('the label is missing; write "label" = expression')
        if places.setdefault(label, line.number) != line.number:
            raise line.error(f"the label {label!r} is already there, in line {places[label]}")
        rows.append((label, parse_statement(text, line)))
    return StatSection(block.name, block.source, tuple(rows))


def _read_catalogue(block: _Block) -> CatalogueSection:
    """Read OUTPUT_FORMAT and `COLUMN = expression`."""
    form: CatalogueForm | None = None
    columns = []
    places: dict[str, int] = {}
    for line in block.lines:
        name, text = split_setting(line)
        if places.setdefault(name.upper(), line.number) != line.number:  # FITS sees no difference of case
            raise line.error(f"{name} is already there, in line {places[name.upper()]}")
        if name == "OUTPUT_FORMAT":
            value = unquote(text, line)
            if value not in _FORMS:
                raise line.error(f"there is no format {value!r}; {nearest(value, _FORMS)}")
            form = _FORMS[value]
        elif not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name, re.ASCII):
            raise line.error(f"{name!r} cannot be the name of a column")
        else:
            columns.append((name, parse_statement(text, line)))
    if form is None:
        raise block.source.error(f"OUTPUT_FORMAT is missing; it is one of {', '.join(_FORMS)}")
    if not columns:
        raise block.source.error("there is no column; write COLUMN = expression")
    return CatalogueSection(block.name, block.source, form, tuple(columns))


def _read_plot(block: _Block) -> PlotSection:
    """Read a plot's settings."""
    return read_plot(block.name, block.source, block.lines)


_READERS: dict[str, Callable[[_Block], Section]] = {
    "MASK": _read_mask,
    "RAND_SPLIT": _read_split,
    "STAT": _read_statistics,
    "NEW_CAT": _read_catalogue,
    "PLOT": _read_plot,
}
