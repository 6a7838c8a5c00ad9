"""Expressions of the selection language: precedence, functions, conditions, and what is wrong with a line."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from shapempi.errors import ConfigError
from shapempi.measure.setools.program import parse

N = 40


def make_table():
    rng = np.random.default_rng(8)
    table = np.zeros(
        N,
        [
            ("A", "f8"),
            ("B", "f4"),
            ("FLAGS", "i2"),
            ("GOOD", "?"),
            ("NAME", "S3"),
            ("VIGNET", "f4", (3, 3)),
            ("scale", "f8"),
        ],
    )
    table["A"], table["B"] = rng.normal(5, 2, N), rng.uniform(0.5, 2, N)
    table["FLAGS"] = np.arange(N) % 4
    table["GOOD"] = np.arange(N) % 3 == 0
    table["scale"] = 3.0
    return table


TABLE = make_table()
CONSTANTS = {"pixel_scale": 0.187, "limit": 5.0, "scale": 99.0}
MASKS = """
[MASK:low]
FLAGS < 2
[MASK:none]
FLAGS < 0
[MASK:a-2.b]
A > 5
"""
LOW, HIGH = TABLE["FLAGS"] < 2, TABLE["A"] > 5


def value(expression, table=TABLE):
    """Evaluate a single value."""
    program = parse(f'{MASKS}[STAT:s]\n"x" = {expression}\n', "t.setools")
    return program.select(table, CONSTANTS, np.random.default_rng(0)).statistics[0].value


def rows(condition, table=TABLE):
    """Evaluate a condition."""
    program = parse(f"{MASKS}[MASK:test]\n{condition}\n", "t.setools")
    return program.select(table, CONSTANTS, np.random.default_rng(0)).masks["test"].selected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # facts about the language that users rely on
        ("10 - 2 - 3", 5),
        ("8 / 2 * 4", 16),
        ("2 * 3 + 4 * 5", 26),
        # grouping, signs, numbers
        ("10 - (2 - 3)", 11),
        ("8 / (2 * 4)", 1),
        ("2 * (3 + 4) * 5", 70),
        ("-1", -1),
        ("- 2 * 3", -6),
        ("2 * -3", -6),
        ("2 - -3", 5),
        ("2 --3", 5),
        ("+4 - +1", 3),
        ("-(2 + 3)", -5),
        ("1e-5", 1e-5),
        ("1E+2 + .5 + 2.", 102.5),
        ("2e3 / 1e3", 2),
        ("0.3 / 0.187", 0.3 / 0.187),
        ("((((1))))", 1),
        ("1/0", math.inf),
        ("-1/0", -math.inf),
        ("0/0", math.nan),
        # constants; a column wins over a constant of its name
        ("pixel_scale * 2", 0.374),
        ("max(scale)", 3),
        # functions of numbers
        ("sqrt(16) + abs(-3)", 7),
        ("pow(2, 10)", 1024),
        ("pow(2, -1)", 0.5),
        ("log(exp(2))", 2),
        ("log10(1000)", 3),
        ("sqrt(-1)", math.nan),
        ("log(0)", -math.inf),
        ("exp(1000)", math.inf),
        ("sqrt(pow(3, 2) + pow(4, 2))", 5),
        ("when(2 > 1, 7)", 7),
        ("when(2 < 1, 7)", math.nan),
        # comparisons are worth 0 and 1 where a number is needed
        ("(2 > 1) + (3 >= 3) - (1 != 1)", 2),
        ("(1 < 2 < 3) + 0", 1),
        ("(1 < 3 < 2) + 0", 0),
    ],
)
def test_numbers(text, expected):
    assert value(text) == pytest.approx(expected, rel=1e-15, abs=0, nan_ok=True)


def test_statistics_of_columns():
    a, b = TABLE["A"], TABLE["B"].astype(float)
    mad = 1.4826 * np.median(np.abs(a - np.median(a)))
    for text, expected in [
        ("mean(A)", a.mean()),
        ("median(A)", np.median(a)),
        ("std(A)", a.std()),  # of the population
        ("var(A)", a.std() ** 2),
        ("sigma_mad(A)", mad),
        ("min(A) + max(B)", a.min() + b.max()),
        ("sum(A)", a.sum()),
        ("len(A)", N),
        ("percentile(A, 16)", np.percentile(a, 16)),
        ("percentile(A, 2 * limit)", np.percentile(a, 10)),
        ("mean(A - B)", (a - b).mean()),  # arithmetic inside a function
        ("mean(A * (B + 1) / 2)", (a * (b + 1) / 2).mean()),
        ("mean(log10(B)) - log10(mean(B))", np.log10(b).mean() - np.log10(b.mean())),
        ("std(A - mean(A))", a.std()),
        ("mean(FLAGS == 0)", 0.25),
        ("sum(GOOD)", TABLE["GOOD"].sum()),
        ("sum(not GOOD)", N - TABLE["GOOD"].sum()),
        ("mean(A{low})", a[LOW].mean()),
        ("len(A{low, a-2.b})", (LOW & HIGH).sum()),
        ("len(A{low}{a-2.b})", (LOW & HIGH).sum()),
        ("len(A {low})", LOW.sum()),
        ("mean((A - B){low})", (a - b)[LOW].mean()),
        ("mean(A{low} - B{low})", (a - b)[LOW].mean()),
        ("mean(A{low}) - mean(A{none})", np.nan),
        ("sum({low} and {a-2.b})", (LOW & HIGH).sum()),
        ("mean(when(FLAGS < 2, A))", a[LOW].mean()),
    ]:
        assert value(text) == pytest.approx(expected, rel=1e-12, nan_ok=True), text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *[(f"{name}(A{{none}})", math.nan) for name in ("mean", "median", "std", "var", "min", "max")],
        *[(f"{name}(A{{none}})", -1) for name in ("mode", "mode_kde", "half_sample_mode", "sigma_mad")],
        ("len(A{none})", 0),
        ("sum(A{none})", 0),
        ("percentile(A{none}, 50)", math.nan),
        ("homogen(A{none}, 4)", math.nan),
    ],
)
def test_statistics_of_nothing(text, expected):
    assert value(text) == pytest.approx(expected, nan_ok=True)


def test_what_is_not_finite_is_left_out_of_statistics():
    table = make_table()
    table["A"][3], table["A"][5], table["A"][7] = np.nan, np.inf, -np.inf
    good = table["A"][np.isfinite(table["A"])]
    for name, expected in [("mean", good.mean()), ("max", good.max()), ("std", good.std())]:
        assert value(f"{name}(A)", table) == pytest.approx(expected)
    assert value("len(A)", table) == N
    assert np.isfinite(value("homogen(A, B, 4)", table))


def test_homogen():
    grid = np.zeros(36, [("X", "f8"), ("Y", "f8")])
    grid["X"], grid["Y"] = (axis.ravel() for axis in np.mgrid[0:6, 0:6])
    corner = grid.copy()
    corner["X"] = corner["Y"] = 1.0

    def homogen(text, table):
        program = parse(f'[STAT]\n"x" = {text}', "t")
        return program.select(table, {}, np.random.default_rng(0)).statistics[0].value

    assert homogen("homogen(X, Y, 9)", grid) == pytest.approx(0)
    assert homogen("homogen(X, 4)", grid) == pytest.approx(np.std([12, 6, 6, 12]) / 9 / math.sqrt(3) * 100)
    assert homogen("homogen(X, Y, 9)", corner) == pytest.approx(100)
    assert homogen("homogen(X, Y, 1)", grid) == 0
    half = grid[grid["X"] < 3]
    # 2 x 2 cells of (X, Y) of a half grid: its own range counts
    assert homogen("homogen(X, Y, 4)", half) == pytest.approx(np.std([3, 3, 6, 6]) / 4.5 / math.sqrt(3) * 100)


def test_conditions():
    a, b, flags, good = TABLE["A"], TABLE["B"], TABLE["FLAGS"], TABLE["GOOD"]
    for text, expected in [
        ("A > 5", a > 5),
        ("5 < A", a > 5),
        ("FLAGS >= 2", flags >= 2),
        ("FLAGS <= 2", flags <= 2),
        ("FLAGS == 2", flags == 2),
        ("FLAGS != 2", flags != 2),
        ("A > limit", a > 5),
        ("4 < A < 6", (a > 4) & (a < 6)),
        ("A > 4 and A < 6", (a > 4) & (a < 6)),
        ("A < 4 or A > 6 and FLAGS == 0", (a < 4) | ((a > 6) & (flags == 0))),
        ("(A < 4 or A > 6) and FLAGS == 0", ((a < 4) | (a > 6)) & (flags == 0)),
        ("not A < 4 and FLAGS == 0", ~(a < 4) & (flags == 0)),
        ("not (A < 4 and FLAGS == 0)", ~((a < 4) & (flags == 0))),
        ("not not A < 4", a < 4),
        ("GOOD", good),
        ("not GOOD", ~good),
        ("GOOD == 1", good),
        ("{low}", LOW),
        ("{low, a-2.b}", LOW & HIGH),
        ("{low} or {a-2.b}", LOW | HIGH),
        ("not {low}", ~LOW),
        ("A - 0.05 <= mean(A{low})", a - 0.05 <= a[LOW].mean()),
        ("abs(A - mean(A)) < 2 * std(A)", np.abs(a - a.mean()) < 2 * a.std()),
        ("len(A{low}) > 3", np.ones(N, bool)),
        ("len(A{none}) > 3", np.zeros(N, bool)),
        ("A * B > pow(B, 2) + 3", a * b.astype(float) > b.astype(float) ** 2 + 3),
        ("-A < -5", a > 5),
    ]:
        assert (rows(text) == expected).all(), text


def test_a_nan_fulfils_no_comparison():
    table = make_table()
    table["A"][::3] = np.nan
    finite = np.isfinite(table["A"])
    for text in ("A > -1e9", "A < 1e9", "A >= -1e9", "A <= 1e9", "A != 1e9"):
        assert (rows(text, table) == finite).all(), text
    assert not rows("A == A - 1", table).any()
    assert (rows("A == A", table) == finite).all()
    assert (rows("not A == A", table) == ~finite).all()


def test_evaluation_warns_of_nothing():
    table = make_table()
    table["A"][::3] = np.nan
    table["A"][1], table["B"][2] = np.inf, 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for text in ("std(A) > 1", "log(A - 100) > 0", "A / (B - B) > 1", "exp(1e6 * A) > 1", "mode(1 / B) > 0"):
            rows(text, table)
            rows(text, table[:0])
            rows(text, table[:1])


def test_a_condition_for_each_line():
    program = parse("[MASK:m]\nA > 4 # the first\n\n# A > 100\n\tA < 6\t\n  FLAGS == 0", "t")
    selected = program.select(TABLE, {}, np.random.default_rng(0)).masks["m"].selected
    assert (selected == (TABLE["A"] > 4) & (TABLE["A"] < 6) & (TABLE["FLAGS"] == 0)).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A >", "a number, column, function or bracket is missing before the end of the line"),
        ("A", "not a condition; compare with"),
        ("A + B", "not a condition"),
        ("A 5", "'5' after the end of the expression; an operator is missing"),
        ("(A > 5", r"'\)' is missing at the end of the brackets, there is the end of the line"),
        ("A > 5)", r"'\)' after the end"),
        ("A = 5", "'=' has no meaning here; write == to compare"),
        ("A ** 2 > 5", "write pow"),
        ("A ^ 2 > 5", "write pow"),
        ("A > 5 && B > 1", "write and"),
        ("FLAGS & 4 == 0", "no bitwise operators"),
        ("FLAGS | 4 == 0", "no bitwise operators"),
        ("!GOOD", "write not"),
        ("A > 5 % 2", "the character '%' has no meaning"),
        ("A > 1e999", "too large"),
        ("A > 5x", "'5x' is neither a number nor a name"),
        ("A > 1.2.3", "'.3' after the end"),
        ("A > meen(A)", "there is no function meen; did you mean mean"),
        ("A > MEAN(A)", "there is no function MEAN; did you mean mean"),
        ("A > mean", r"the arguments of the function mean\(column\) are missing"),
        ("A > mean(A, B)", r"the function is mean\(column\): 2 arguments do not fit"),
        ("A > mean()", "0 arguments do not fit"),
        ("A > mean(A", r"'\)' is missing behind the arguments of mean"),
        ("A > mean(limit)", "a column is needed, not a single value"),
        ("A > percentile(A, B)", "the last argument must be a single value"),
        ("A > percentile(A, 101)", "must be between 0 and 100, not 101"),
        ("A > homogen(A, 5)", "must be a square of at most 1e6, not 5"),
        ("A > homogen(A, B{low}, 4)", r"values of all objects and of the objects of \{low\} cannot be combined"),
        ("AA > 5", "there is no column or constant AA; did you mean A"),
        ("Flags > 5", "there is no column or constant Flags; did you mean FLAGS"),
        ("pixelscale > 5", "did you mean pixel_scale"),
        ("xyzzy > 5", "there is no column or constant xyzzy; there are A, B, FLAGS"),
        ("NAME == 5", "the column NAME holds no numbers"),
        ("VIGNET > 5", "the column VIGNET has 9 values per object"),
        ("A{low} > 5", r"a condition must be for all objects, not for the objects of \{low\}"),
        ("A > B{low}", r"values of all objects and of the objects of \{low\} cannot be combined"),
        ("A{low} > B{none}", r"the objects of \{low\} and of the objects of \{none\}"),
        ("mean(A){low} > 5", "a single value cannot be restricted"),
        ("mean((A{low} - 1){none}) > 5", "cannot be restricted again"),
        ("A{lo} > 5", "there is no mask lo; did you mean low"),
        ("{nothing}", "there is no mask nothing; there are low, none, a-2.b, test"),
        ("A{} > 5", "a mask's name is missing"),
        ("A{a b} > 5", "'a b' is not the name of a mask"),
        ("A{low > 5", "a '}' is missing"),
        ("A > 5}", "a '{' is missing"),
        ("A and B", "'and' needs conditions, and a number is none"),
        ("not A", "'not' needs conditions"),
        ("A > 5 and", "missing before the end of the line"),
        ("A > and", "missing before 'and'"),
        ('A > "5"', "an expression has no quotes"),
        ("A > @5@", "belongs into labels"),
        ("(" * 33 + "1" + ")" * 33 + " > A", "more than 32 brackets"),
        ("-" * 5000 + "1 > A", "more than 32 brackets"),
        ("not " * 5000 + "A > 1", "more than 32 brackets"),
        ("(" * 100_000, "more than 32 brackets"),
    ],
)
def test_what_is_wrong_with_a_line(text, message):
    line = MASKS.count("\n") + 2
    with pytest.raises(ConfigError, match=message) as error:
        rows(text)
    assert str(error.value).startswith(f"t.setools:{line}: {text[:100].strip()}")


def test_long_lines_are_no_deep_lines():
    assert value(" + ".join(["1"] * 20_000)) == 20_000
    assert value("(" * 32 + "1" + ")" * 32) == 1
    assert rows(" and ".join(["A > 0"] * 5000)).sum() == (TABLE["A"] > 0).sum()
