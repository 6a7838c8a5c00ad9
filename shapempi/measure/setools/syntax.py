"""The tree of an expression, and the statement that holds it.

All nodes are immutable and compare by value, so that what occurs twice is computed once.  Sums and products are kept as
chains, evaluated from left to right: the depth of a tree is that of its brackets, however long a line is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from shapempi.measure.setools.source import Source

__all__ = [
    "Call",
    "Chain",
    "Comparison",
    "Junction",
    "MaskTest",
    "Name",
    "Negated",
    "Node",
    "Not",
    "Number",
    "Restricted",
    "Statement",
    "masks_in",
]


@dataclass(frozen=True)
class Number:
    """A number."""

    value: float


@dataclass(frozen=True)
class Name:
    """A column or a constant: `MAG_AUTO`, `pixel_scale`."""

    name: str


@dataclass(frozen=True)
class MaskTest:
    """Whether an object is in all of some masks: `{a}`, `{a, b}`."""

    masks: tuple[str, ...]


@dataclass(frozen=True)
class Restricted:
    """The values of the objects in all of some masks: `COLUMN{a}`, `(A - B){a, b}`."""

    operand: Node
    masks: tuple[str, ...]


@dataclass(frozen=True)
class Call:
    """A function of its arguments: `mode(FWHM_IMAGE{a})`."""

    function: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True)
class Negated:
    """`-a`."""

    operand: Node


@dataclass(frozen=True)
class Not:
    """`not a`."""

    operand: Node


@dataclass(frozen=True)
class Chain:
    """`a + b - c` or `a * b / c`, from left to right; operators[i] is between operands[i] and operands[i + 1]."""

    operators: tuple[str, ...]
    operands: tuple[Node, ...]


@dataclass(frozen=True)
class Comparison:
    """`a < b`, or `a < b <= c`, which is `a < b and b <= c`."""

    operators: tuple[str, ...]
    operands: tuple[Node, ...]


@dataclass(frozen=True)
class Junction:
    """`a and b and c` or `a or b or c`."""

    word: str
    operands: tuple[Node, ...]


Node = Number | Name | MaskTest | Restricted | Call | Negated | Not | Chain | Comparison | Junction


@dataclass(frozen=True)
class Statement:
    """An expression and where it is."""

    source: Source
    text: str
    tree: Node


def masks_in(node: Node) -> Iterator[str]:
    """Yield the names of the masks that an expression needs."""
    match node:
        case MaskTest(masks):
            yield from masks
        case Restricted(operand, masks):
            yield from masks
            yield from masks_in(operand)
        case Call(_, operands) | Chain(_, operands) | Comparison(_, operands) | Junction(_, operands):
            for operand in operands:
                yield from masks_in(operand)
        case Negated(operand) | Not(operand):
            yield from masks_in(operand)
        case _:
            return
