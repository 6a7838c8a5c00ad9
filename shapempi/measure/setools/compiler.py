"""From tree to function: names are looked up once, and one call evaluates an expression for all objects.

Every expression has a kind, known before it is evaluated: a single value, or one value per object of the whole table
or of some masks, and whether these are conditions.  What does not fit together is an error when an expression is
bound to the columns of a table, not when it is evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from shapempi.measure.setools.functions import FUNCTIONS, Function
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

__all__ = ["Compiled", "Compiler", "Kind", "Values"]

#: The rows of the whole table, as masks that restrict them.
_ALL: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Kind:
    """What an expression evaluates to.

    Attributes
    ----------
    rows : frozenset of str or None
        The masks that its objects are in, none for the whole table; None for a single value.
    condition : bool
        Whether it is true or false.
    """

    rows: frozenset[str] | None
    condition: bool = False

    def __str__(self) -> str:
        """Return the kind as a message names it."""
        if self.rows is None:
            return "a single value"
        return f"the objects of {{{', '.join(sorted(self.rows))}}}" if self.rows else "all objects"


class Values:
    """The values that expressions are evaluated with: columns, constants, masks, and results already known.

    Parameters
    ----------
    table : structured ndarray [n]
        The objects.
    constants : mapping of str to float
        Named constants.
    """

    def __init__(self, table: np.ndarray, constants: Mapping[str, float]) -> None:
        self.table = table
        self.constants = {name: np.float64(value) for name, value in constants.items()}
        self.masks: dict[str, np.ndarray] = {}
        self._columns: dict[str, np.ndarray] = {}
        self._rows: dict[frozenset[str], np.ndarray] = {}
        self.known: dict[Node, Any] = {}

    def column(self, name: str) -> np.ndarray:
        """Return a column: truth values as they are, numbers in double precision."""
        if name not in self._columns:
            values = self.table[name]
            self._columns[name] = values.copy() if values.dtype.kind == "b" else values.astype(float)
        return self._columns[name]

    def inside(self, masks: frozenset[str]) -> np.ndarray:
        """Return which objects are in all of some masks: ndarray of bool [n]."""
        if masks not in self._rows:
            self._rows[masks] = np.logical_and.reduce([self.masks[name] for name in sorted(masks)])
        return self._rows[masks]


#: Evaluates an expression: a float, a truth value, or an array of one of them.
Evaluate = Callable[[Values], Any]


@dataclass(frozen=True)
class Compiled:
    """An expression that is bound to the columns of a table.

    Attributes
    ----------
    statement : Statement
        Where it is from.
    kind : Kind
        What it evaluates to.
    evaluate : callable
        Evaluates it, for `Values`.
    """

    statement: Statement
    kind: Kind
    evaluate: Evaluate

    def __call__(self, values: Values) -> Any:
        """Evaluate; numbers that a function does not take are a ConfigError."""
        try:
            with np.errstate(all="ignore"):  # log(-1) is NaN, and a NaN fulfils no condition
                return self.evaluate(values)
        except ValueError as error:
            raise self.statement.source.error(str(error)) from error


def _unequal(a: Any, b: Any) -> Any:
    return (a < b) | (a > b)  # false for NaN, as all comparisons are


_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b,
    "!=": _unequal,
}
_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
}
_JOIN: dict[str, Callable[[Any, Any], Any]] = {"and": np.logical_and, "or": np.logical_or}


class Compiler:
    """Binds expressions to the columns of a table and the names of constants.

    Parameters
    ----------
    dtype : numpy.dtype
        Type of the table's rows.
    constants : collection of str
        Names of the constants; a column of the same name wins.
    """

    def __init__(self, dtype: np.dtype, constants: Collection[str]) -> None:
        self._dtype = dtype
        self._columns = dtype.names or ()
        self._constants = frozenset(constants)
        self._source = Source("", 0, "")

    def compile(self, statement: Statement) -> Compiled:
        """Bind an expression.

        Parameters
        ----------
        statement : Statement
            The expression.

        Returns
        -------
        Compiled
            What evaluates it.

        Raises
        ------
        ConfigError
            If a name is neither a column of single numbers nor a constant, or objects do not fit together.
        """
        self._source = statement.source
        kind, evaluate = self._compile(statement.tree)
        return Compiled(statement, kind, evaluate)

    def _compile(self, node: Node) -> tuple[Kind, Evaluate]:
        kind, evaluate = _COMPILERS[type(node)](self, node)
        return kind, evaluate

    def _number(self, node: Node) -> tuple[Kind, Evaluate]:
        """Bind a value that must be a number: truth values become 0 and 1."""
        kind, evaluate = self._compile(node)
        if kind.condition:
            return Kind(kind.rows), lambda values: np.asarray(evaluate(values), dtype=float)[()]
        return kind, evaluate

    def _condition(self, node: Node, word: str) -> tuple[Kind, Evaluate]:
        """Bind a value that must be true or false."""
        kind, evaluate = self._compile(node)
        if not kind.condition:
            raise self._source.error(f"{word!r} needs conditions, and a number is none; compare it with something")
        return kind, evaluate

    def _common(self, kinds: list[Kind]) -> frozenset[str] | None:
        """Return the rows of values that are combined object by object."""
        rows = [kind for kind in kinds if kind.rows is not None]
        for kind in rows[1:]:
            if kind.rows != rows[0].rows:
                raise self._source.error(f"values of {rows[0]} and of {kind} cannot be combined")
        return rows[0].rows if rows else None

    def _compile_number(self, node: Number) -> tuple[Kind, Evaluate]:
        value = np.float64(node.value)
        return Kind(None), lambda values: value

    def _compile_name(self, node: Name) -> tuple[Kind, Evaluate]:
        name = node.name
        if name in self._columns:
            column = self._dtype[name]
            if column.shape:
                size = int(np.prod(column.shape))
                raise self._source.error(
                    f"the column {name} has {size} values per object; only single ones can be used"
                )
            if column.kind not in "biuf":
                raise self._source.error(f"the column {name} holds no numbers, but {column}")
            return Kind(_ALL, column.kind == "b"), lambda values: values.column(name)
        if name in self._constants:
            return Kind(None), lambda values: values.constants[name]
        if name in FUNCTIONS:
            raise self._source.error(f"the arguments of the function {FUNCTIONS[name].usage} are missing")
        known = [*self._columns, *sorted(self._constants)]
        raise self._source.error(f"there is no column or constant {name}; {nearest(name, known)}")

    def _compile_mask(self, node: MaskTest) -> tuple[Kind, Evaluate]:
        masks = frozenset(node.masks)
        return Kind(_ALL, True), lambda values: values.inside(masks)

    def _compile_restricted(self, node: Restricted) -> tuple[Kind, Evaluate]:
        kind, evaluate = self._compile(node.operand)
        if kind.rows is None:
            raise self._source.error(f"a single value cannot be restricted to {{{', '.join(node.masks)}}}")
        if kind.rows:
            raise self._source.error(f"values of {kind} cannot be restricted again; write {{a, b}} for two masks")
        masks = frozenset(node.masks)

        def restrict(values: Values) -> np.ndarray:
            if node not in values.known:
                values.known[node] = evaluate(values)[values.inside(masks)]
            return values.known[node]

        return Kind(masks, kind.condition), restrict

    def _compile_call(self, node: Call) -> tuple[Kind, Evaluate]:
        function = FUNCTIONS[node.function]
        compiled = [self._number(argument) for argument in node.arguments]
        kinds = [kind for kind, _ in compiled]
        evaluators = [evaluate for _, evaluate in compiled]
        rows = self._check_arguments(function, kinds)
        apply = function.apply

        def call(values: Values) -> Any:
            # A statistic is often asked for twice, as mode in the lower and the upper limit.
            if node not in values.known:
                values.known[node] = apply(*[evaluate(values) for evaluate in evaluators])
            return values.known[node]

        if function.n_column:
            return Kind(None), lambda values: np.float64(call(values))
        return Kind(rows), call

    def _check_arguments(self, function: Function, kinds: list[Kind]) -> frozenset[str] | None:
        """Check which arguments are columns; return the rows they have."""
        columns = kinds[: len(kinds) - function.n_number]
        if function.n_column and any(kind.rows is None for kind in columns):
            raise self._source.error(f"in {function.usage} a column is needed, not a single value")
        if any(kind.rows is not None for kind in kinds[len(columns) :]):
            raise self._source.error(f"in {function.usage} the last argument must be a single value, not a column")
        return self._common(columns)

    def _compile_negated(self, node: Negated) -> tuple[Kind, Evaluate]:
        kind, evaluate = self._number(node.operand)
        return kind, lambda values: -evaluate(values)

    def _compile_not(self, node: Not) -> tuple[Kind, Evaluate]:
        kind, evaluate = self._condition(node.operand, "not")
        return kind, lambda values: np.logical_not(evaluate(values))

    def _compile_chain(self, node: Chain) -> tuple[Kind, Evaluate]:
        compiled = [self._number(operand) for operand in node.operands]
        rows = self._common([kind for kind, _ in compiled])
        first = compiled[0][1]
        rest = [(_ARITHMETIC[sign], evaluate) for sign, (_, evaluate) in zip(node.operators, compiled[1:], strict=True)]

        def chain(values: Values) -> Any:
            result = first(values)
            for combine, evaluate in rest:
                result = combine(result, evaluate(values))
            return result

        return Kind(rows), chain

    def _compile_comparison(self, node: Comparison) -> tuple[Kind, Evaluate]:
        compiled = [self._number(operand) for operand in node.operands]
        rows = self._common([kind for kind, _ in compiled])
        evaluators = [evaluate for _, evaluate in compiled]
        compare = [_COMPARE[sign] for sign in node.operators]

        def comparison(values: Values) -> Any:
            left = evaluators[0](values)
            result: Any = True
            for test, evaluate in zip(compare, evaluators[1:], strict=True):
                right = evaluate(values)
                result = np.logical_and(result, test(left, right))
                left = right
            return result

        return Kind(rows, True), comparison

    def _compile_junction(self, node: Junction) -> tuple[Kind, Evaluate]:
        compiled = [self._condition(operand, node.word) for operand in node.operands]
        rows = self._common([kind for kind, _ in compiled])
        join = _JOIN[node.word]

        def junction(values: Values) -> Any:
            result = compiled[0][1](values)
            for _, evaluate in compiled[1:]:
                result = join(result, evaluate(values))
            return result

        return Kind(rows, True), junction


_COMPILERS: dict[type, Callable[[Compiler, Any], tuple[Kind, Evaluate]]] = {
    Number: Compiler._compile_number,
    Name: Compiler._compile_name,
    MaskTest: Compiler._compile_mask,
    Restricted: Compiler._compile_restricted,
    Call: Compiler._compile_call,
    Negated: Compiler._compile_negated,
    Not: Compiler._compile_not,
    Chain: Compiler._compile_chain,
    Comparison: Compiler._compile_comparison,
    Junction: Compiler._compile_junction,
}
