"""The words of an expression: numbers, names, operators, brackets, and masks in their braces."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum

from shapempi.measure.setools.source import Source

__all__ = ["Token", "TokenKind", "tokenize"]


class TokenKind(StrEnum):
    """What a token is."""

    NUMBER = "number"
    NAME = "name"
    SIGN = "sign"
    MASKS = "masks"
    END = "end"


@dataclass(frozen=True)
class Token:
    """A word of an expression.

    Attributes
    ----------
    kind : TokenKind
        What it is.
    text : str
        The word; empty for the end.
    start : int
        Its place in the expression's text.
    """

    kind: TokenKind
    text: str
    start: int

    def __str__(self) -> str:
        """Return the token as a message names it."""
        return repr(self.text) if self.text else "the end of the line"


_PATTERN = re.compile(
    r"(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<sign><=|>=|==|!=|[-+*/<>(),])"
    r"|(?P<masks>\{[^{}]*\})"
    r"|(?P<blank>[ \t]+)",
    re.ASCII,
)

#: What other languages write.
_HINTS = {
    "**": "write pow(a, b) for a power",
    "^": "write pow(a, b) for a power",
    "&&": "write and",
    "&": "write and; there are no bitwise operators",
    "||": "write or",
    "|": "write or; there are no bitwise operators",
    "!": "write not, or != for unequal",
    "=": "write == to compare",
    "{": "a '}' is missing behind the name of the mask",
    "}": "a '{' is missing before the name of the mask",
    "[": "write {mask} for the objects of a mask",
    '"': "an expression has no quotes",
    "@": "@...@ belongs into labels and titles",
}


def tokenize(text: str, source: Source) -> list[Token]:
    """Split an expression into tokens; the last one is END.

    Parameters
    ----------
    text : str
        The expression.
    source : Source
        Where it is, for messages.

    Returns
    -------
    list of Token
        The tokens; blanks are left out.

    Raises
    ------
    ConfigError
        If a character belongs to no token, or a number is too large.
    """
    tokens: list[Token] = []
    start = 0
    while start < len(text):
        match = _PATTERN.match(text, start)
        if match is None:
            raise source.error(_unexpected(text[start:]))
        kind, word = str(match.lastgroup), match.group()
        if kind == "number":
            if word[-1:].isdigit() and match.end() < len(text) and (text[match.end()].isalpha()):
                raise source.error(f"{_word(text[start:])!r} is neither a number nor a name")
            if not math.isfinite(float(word)):
                raise source.error(f"the number {word} is too large")
        if kind == "sign" and text.startswith("**", start):
            raise source.error(_unexpected(text[start:]))
        if kind != "blank":
            tokens.append(Token(TokenKind(kind), word, start))
        start = match.end()
    tokens.append(Token(TokenKind.END, "", len(text)))
    return tokens


def _word(text: str) -> str:
    """Return the text up to the next blank or sign, at most 20 characters."""
    return re.split(r"[^\w.]", text, maxsplit=1)[0][:20]


def _unexpected(rest: str) -> str:
    """Say what is wrong with the first character of a text."""
    for sign, hint in _HINTS.items():
        if rest.startswith(sign):
            return f"{sign!r} has no meaning here; {hint}"
    return f"the character {rest[0]!r} has no meaning here"
