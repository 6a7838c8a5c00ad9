"""From text to tree: a recursive-descent parser of expressions.

expression  = term { "or" term }
term        = factor { "and" factor }
factor      = "not" factor | comparison
comparison  = sum { ("<" | ">" | "<=" | ">=" | "==" | "!=") sum }
sum         = product { ("+" | "-") product }
product     = signed { ("*" | "/") signed }
signed      = ("-" | "+") signed | value { masks }
value       = number | name | name "(" expression { "," expression } ")" | "(" expression ")" | masks
masks       = "{" mask { "," mask } "}"
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shapempi.measure.setools.functions import FUNCTIONS
from shapempi.measure.setools.source import Source, nearest
from shapempi.measure.setools.syntax import (
    Call,
    Chain,
    Comparison,
    Junction,
    MaskTest,
    Name,
    Negated,
    Node,
    Not,
    Number,
    Restricted,
    Statement,
)
from shapempi.measure.setools.tokens import Token, TokenKind, tokenize

__all__ = ["MASK_NAME", "parse_statement"]

#: Brackets, signs and calls inside each other; more is a mistake, and would be too much for Python's stack.
DEEPEST = 32

#: Names of masks, which become names of files.
MASK_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*", re.ASCII)

_COMPARISONS = ("<", ">", "<=", ">=", "==", "!=")
_WORDS = ("and", "or", "not")


def parse_statement(text: str, source: Source) -> Statement:
    """Parse an expression.

    Parameters
    ----------
    text : str
        The expression: a line of a file or a part of one.
    source : Source
        Where it is.

    Returns
    -------
    Statement
        The tree; which columns, constants and masks there are is not known here.

    Raises
    ------
    ConfigError
        If it is no expression, or calls a function that does not exist or takes other arguments.
    """
    return Statement(source, text.strip(), _Parser(text, source).parse())


class _Parser:
    """Reads one expression, token by token."""

    def __init__(self, text: str, source: Source) -> None:
        self._text = text
        self._source = source
        self._tokens = tokenize(text, source)
        self._place = 0
        self._depth = 0

    def parse(self) -> Node:
        """Return the tree of the whole text."""
        if len(self._tokens) == 1:
            raise self._source.error("there is no expression")
        tree = self._expression()
        if self._next.kind is not TokenKind.END:
            raise self._source.error(f"{self._next} after the end of the expression; an operator is missing")
        return tree

    @property
    def _next(self) -> Token:
        return self._tokens[self._place]

    def _take(self, *texts: str) -> str:
        """Take the next token if it is one of these signs or words; return it, or an empty text."""
        token = self._next
        if token.kind in (TokenKind.SIGN, TokenKind.NAME) and token.text in texts:
            self._place += 1
            return token.text
        return ""

    def _expect(self, sign: str, what: str) -> None:
        if not self._take(sign):
            raise self._source.error(f"{sign!r} is missing {what}, there is {self._next}")

    @contextmanager
    def _deeper(self) -> Iterator[None]:
        """Count brackets inside brackets."""
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._source.error(f"more than {DEEPEST} brackets, signs or calls inside each other")
        yield
        self._depth -= 1

    def _expression(self) -> Node:
        return self._junction("or", lambda: self._junction("and", self._factor))

    def _junction(self, word: str, part: Callable[[], Node]) -> Node:
        operands = [part()]
        while self._take(word):
            operands.append(part())
        return Junction(word, tuple(operands)) if len(operands) > 1 else operands[0]

    def _factor(self) -> Node:
        if self._take("not"):
            with self._deeper():
                return Not(self._factor())
        operators, operands = self._sequence(self._sum, _COMPARISONS)
        return Comparison(operators, operands) if operators else operands[0]

    def _sum(self) -> Node:
        operators, operands = self._sequence(self._product, ("+", "-"))
        return Chain(operators, operands) if operators else operands[0]

    def _product(self) -> Node:
        operators, operands = self._sequence(self._signed, ("*", "/"))
        return Chain(operators, operands) if operators else operands[0]

    def _sequence(self, part: Callable[[], Node], signs: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[Node, ...]]:
        """Read parts with these operators between them."""
        operators: list[str] = []
        operands = [part()]
        while sign := self._take(*signs):
            operators.append(sign)
            operands.append(part())
        return tuple(operators), tuple(operands)

    def _signed(self) -> Node:
        sign = self._take("-", "+")
        if sign:
            with self._deeper():
                operand = self._signed()
            return Negated(operand) if sign == "-" else operand
        value = self._value()
        masks: tuple[str, ...] = ()
        while self._next.kind is TokenKind.MASKS:
            masks += self._masks()
        return Restricted(value, masks) if masks else value

    def _value(self) -> Node:
        token = self._next
        if token.kind is TokenKind.NUMBER:
            self._place += 1
            return Number(float(token.text))
        if token.kind is TokenKind.NAME and token.text not in _WORDS:
            self._place += 1
            return self._call(token.text) if self._take("(") else Name(token.text)
        if token.kind is TokenKind.MASKS:
            return MaskTest(self._masks())
        if self._take("("):
            with self._deeper():
                tree = self._expression()
            self._expect(")", "at the end of the brackets")
            return tree
        raise self._source.error(f"a number, column, function or bracket is missing before {token}")

    def _call(self, name: str) -> Node:
        """Read the arguments of a function behind its bracket."""
        if name not in FUNCTIONS:
            raise self._source.error(f"there is no function {name}; {nearest(name, FUNCTIONS)}")
        arguments: list[Node] = []
        with self._deeper():
            if self._next.text != ")":
                arguments.append(self._expression())
                while self._take(","):
                    arguments.append(self._expression())
        self._expect(")", f"behind the arguments of {name}")
        function = FUNCTIONS[name]
        if not function.fewest <= len(arguments) <= function.most:
            raise self._source.error(f"the function is {function.usage}: {len(arguments)} arguments do not fit")
        return Call(name, tuple(arguments))

    def _masks(self) -> tuple[str, ...]:
        """Read `{a, b}`, which is one token."""
        names = tuple(name.strip() for name in self._next.text[1:-1].split(","))
        self._place += 1
        for name in names:
            if not MASK_NAME.fullmatch(name):
                raise self._source.error(f"{name!r} is not the name of a mask" if name else "a mask's name is missing")
        return names
