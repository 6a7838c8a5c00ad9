"""Sections of a selection file: headings, dependencies, splits, statistics, plots, new catalogues."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

from shapempi.errors import ConfigError
from shapempi.measure.setools.program import parse
from shapempi.measure.setools.sections import CatalogueForm, PlotKind

N = 300


def make_table(seed=1, n=N):
    rng = np.random.default_rng(seed)
    table = np.zeros(n, [("NUMBER", "i4"), ("XWIN_IMAGE", "f8"), ("YWIN_IMAGE", "f8"), ("A", "f4"), ("B", "f8")])
    table["NUMBER"] = np.arange(1, n + 1)
    table["XWIN_IMAGE"], table["YWIN_IMAGE"] = rng.uniform(1, 2048, n), rng.uniform(1, 4612, n)
    table["A"], table["B"] = rng.normal(0, 1, n), rng.uniform(0, 1, n)
    return table


def select(text, table=None, seed=0, **constants):
    table = make_table() if table is None else table
    return parse(text, "t.setools").select(table, constants, np.random.default_rng(seed))


def fails(text, message):
    with pytest.raises(ConfigError, match=message):
        select(text)


def test_headings():
    program = parse("[MASK:b]\n[ MASK : a ]\n[MASK]\n[PLOT:]\nTYPE=hist\nY=A\n[MASK:]\n[PLOT]\nTYPE=hist\nY=A", "t")
    assert [mask.name for mask in program.masks] == ["b", "a", "mask_1", "mask_2"]
    assert [plot.name for plot in program.plots] == ["plot_1", "plot_2"]
    assert parse("", "t").masks == parse("\ufeff# only a comment\r\n\r\n", "t").masks == ()
    for text, message in [
        ("A > 1\n[MASK:a]", "t.setools:1: A > 1: text before the first section"),
        ("[MASK:a", r"t.setools:1: \[MASK:a: not the heading of a section"),
        ("[MASK:a] x", "not the heading"),
        ("[]", "no type of section ''"),
        ("[FLAG_SPLIT:a]", "no type of section 'FLAG_SPLIT'; did you mean RAND_SPLIT"),
        ("[mask:a]", "did you mean MASK"),
        ("[MASK:../a]", "it becomes the name of a file"),
        ("[MASK:a/b]", "it becomes the name of a file"),
        ("[MASK:.a]", "it becomes the name of a file"),
        ("[MASK:a]\n\n[STAT:a]\n[MASK:a]", "t.setools:4: .*the section MASK:a is already there, in line 1"),
    ]:
        fails(text, message)


def test_line_ends_and_comments():
    for end in ("\n", "\r\n", "\r"):
        selection = select(end.join(["# a", "[MASK:a]# b", " \tA > 0 # c", "[STAT:s]", '"n # d" = len(A{a}) # e']))
        assert selection.statistics[0].label == "n # d"
        assert selection.statistics[0].value == (make_table()["A"] > 0).sum()
    with pytest.raises(ConfigError, match=r"t.setools:4: A >"):
        select("[MASK:a]\r\n\r\n\x0c\x1c\u2028\r\nA >".replace("\x0c\x1c\u2028", ""))


def test_masks_refer_to_each_other_in_any_order():
    table = make_table()
    selection = select(
        """
        [MASK:last]
        {first}
        {second}
        {third}
        A < mean(A{second}) + 1
        [MASK:second]
        {first} or B > 0.9
        NO_SAVE
        [MASK:first]
        A > 0
        [MASK:third]
        NO_SAVE
        """
    )
    a, b = table["A"].astype(float), table["B"]
    second = (a > 0) | (b > 0.9)
    assert (selection.masks["second"].selected == second).all()
    assert (selection.masks["last"].selected == ((a > 0) & (a < a[second].mean() + 1))).all()
    assert {name for name, mask in selection.masks.items() if not mask.saved} == {"second", "third"}
    assert selection.masks["third"].selected.all()


def test_masks_that_need_each_other():
    fails(
        "[MASK:a]\n{b}\n[MASK:b]\n{c}\n[MASK:c]\nA > mode(B{a})",
        "masks need each other: (a -> b -> c -> a|b -> c -> a|c)",
    )
    fails("[MASK:a]\nA > mean(A{a})", "masks need each other: a -> a")
    chain = "".join(f"[MASK:m{i}]\n{{m{i + 1}}}\n" for i in range(3000)) + "[MASK:m3000]\nA > 0"
    assert len(parse(chain, "t").masks) == 3001


def test_the_reason_of_an_empty_mask():
    selection = select("[MASK:a]\nA > limit\n[MASK:b]\nB > 0\nlen(A{a}) > 3\n[MASK:c]\nA < 1e9", limit=12.5)
    assert selection.reason("a") == "0 of 300 objects pass a: A > 12.5 keeps 0"
    assert selection.reason("b") == "0 of 300 objects pass b: len(A{a}) > 3 keeps 0; a: A > 12.5 keeps 0"
    assert selection.reason("c") == ""
    assert select("[MASK:c]", make_table()[:0]).reason("c") == "there are no objects"


SPLIT = """
[MASK:plus]
A > 0
[MASK:most]
B < 0.9
[RAND_SPLIT:s]
RATIO = {ratio}
MASK = plus, most
"""


@pytest.mark.parametrize(
    ("ratio", "part", "labels"),
    [
        ("20", 0.2, ("20", "80")),
        ("0.2", 0.2, ("20", "80")),
        ("29", 0.29, ("29", "71")),
        ("0.29", 0.29, ("29", "71")),
        ("12.5", 0.125, ("12.5", "87.5")),
        ("1", 0.01, ("1", "99")),
        ("50", 0.5, ("50", "50_rest")),
        ("100", 1.0, ("100", "0")),
        ("0", 0.0, ("0", "100")),
        ("third / 3", 1 / 3, ("33.333333", "66.666667")),
    ],
)
def test_splits(ratio, part, labels):
    table = make_table()
    selected = (table["A"] > 0) & (table["B"] < 0.9)
    split = select(SPLIT.format(ratio=ratio), third=1.0).splits["s"]
    assert split.labels == labels
    assert split.drawn.sum() == math.ceil(selected.sum() * part - 1e-9)
    assert (split.drawn ^ split.rest == selected).all()
    assert bool(split.reason) == (part in (0.0, 1.0))


def test_parts_are_independent_of_each_other_and_of_the_order():
    alone = select(SPLIT.format(ratio=20)).splits["s"].drawn
    beside = "[RAND_SPLIT:first]\nRATIO = 50\n" + SPLIT.format(ratio=20) + "[RAND_SPLIT:t]\nRATIO = 20\nMASK=plus,most"
    both = select(beside).splits
    assert (both["s"].drawn == alone).all()
    assert (both["t"].drawn != alone).any()
    assert both["first"].drawn.sum() == N / 2  # without MASK all objects are split
    assert (select(SPLIT.format(ratio=20), seed=1).splits["s"].drawn != alone).any()
    order = np.random.default_rng(9).permutation(N)
    assert (select(SPLIT.format(ratio=20), make_table()[order]).splits["s"].drawn == alone[order]).all()


def test_one_number_is_taken_from_the_generator():
    after = []
    for text in ("", SPLIT.format(ratio=20), SPLIT.format(ratio=20) + "[RAND_SPLIT:t]\nRATIO = 3"):
        rng = np.random.default_rng(3)
        parse(text, "t").select(make_table(), {}, rng)
        after.append(rng.random())
    assert after[0] == after[1] == after[2]


def test_a_stratified_part_is_spread_evenly():
    table = make_table(n=3000)
    x, y = (
        np.clip((table[name] * 4 / size).astype(int), 0, 3)
        for name, size in (("XWIN_IMAGE", 2049), ("YWIN_IMAGE", 4613))
    )
    spread = {}
    for line in ("", "STRATIFY = 4"):
        counts = []
        for seed in range(20):
            drawn = select(f"[RAND_SPLIT:s]\nRATIO = 20\n{line}", table, seed).splits["s"].drawn
            assert drawn.sum() == 600
            counts.append(np.bincount((4 * x + y)[drawn], minlength=16) - 0.2 * np.bincount(4 * x + y, minlength=16))
        spread[line] = np.std(counts)
    assert spread["STRATIFY = 4"] < 0.25 * spread[""]
    order = np.random.default_rng(9).permutation(len(table))
    text = "[RAND_SPLIT:s]\nRATIO = 20\nSTRATIFY = 4"
    assert (select(text, table[order]).splits["s"].drawn == select(text, table).splits["s"].drawn[order]).all()


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_splits_of_few_objects(n):
    table = make_table()[:n]
    if n == 2:
        table["XWIN_IMAGE"] = np.nan
    split = select("[RAND_SPLIT:s]\nRATIO = 20\nSTRATIFY = 3", table).splits["s"]
    assert split.drawn.sum() == min(n, 1)
    assert (split.drawn ^ split.rest).all()
    assert bool(split.reason) == (n < 2)


def test_what_is_wrong_with_a_split():
    fails("[RAND_SPLIT:s]\nMASK = a", "t.setools:1: .*RATIO is missing")
    fails("[RAND_SPLIT:s]\nRATIO = 101", "t.setools:2: RATIO = 101: the ratio must be between 0 and 100")
    fails("[RAND_SPLIT:s]\nRATIO = -1", "must be between 0 and 100")
    fails("[RAND_SPLIT:s]\nRATIO = 0/0", "must be between 0 and 100")
    fails("[RAND_SPLIT:s]\nRATIO = A", "A has a value per object where a single one is needed")
    fails("[RAND_SPLIT:s]\nRATIO = 20\nMASK = nothing", "t.setools:3: .*there is no mask nothing; there is none")
    fails("[RAND_SPLIT:s]\nRATIO = 20\nMASK = ", "MASK has no value")
    fails("[RAND_SPLIT:s]\nRATIO = 20\nMASKS = a", "there is no key MASKS; did you mean MASK")
    fails("[RAND_SPLIT:s]\nRATIO = 20\nRATIO = 30", "RATIO is already there, in line 2")
    fails("[RAND_SPLIT:s]\nRATIO = 20\nSTRATIFY = 2.5", "2.5 is not an integer")
    fails("[RAND_SPLIT:s]\nRATIO = 20\nSTRATIFY = 0", "0 is not between 1 and 100")
    with pytest.raises(
        ConfigError, match=r"t.setools:1: .*STRATIFY needs positions, and there is none of XWIN_IMAGE and"
    ):
        select("[RAND_SPLIT:s]\nRATIO = 20\nSTRATIFY = 2", make_table()[["A", "B"]])
    assert select("[RAND_SPLIT:s]\nRATIO = 20", make_table()[["A", "B"]]).splits["s"].drawn.sum() == N / 5
    fails("[RAND_SPLIT:s]\nRATIO 20", "there is no '='")


def test_statistics():
    rows = select(
        '[MASK:m]\nA > 0\n[STAT:one]\n"b = x" = mean(A)\n"a"=len(A{m})\nplain = 2\n[STAT:two]\n"a" = 3'
    ).statistics
    assert [(row.section, row.label) for row in rows] == [
        ("one", "b = x"),
        ("one", "a"),
        ("one", "plain"),
        ("two", "a"),
    ]
    assert rows[1].value == (make_table()["A"] > 0).sum()
    fails('[STAT:s]\n"x" = A', "A has a value per object where a single one is needed; use mean")
    fails('[STAT:s]\n"x" = ', "there is no expression")
    fails('[STAT:s]\n"x" mean(A)', "there is no '='")
    fails('[STAT:s]\n"x" = 1\n"x" = 2', "'x' is already there, in line 2")
    fails('[STAT:s]\n"" = 1', "the label is missing")
    fails('[STAT:s]\n"x = 1', "there is no '='")
    fails('[STAT:s]\nx" = 1', "there is no '='")
    fails('[STAT:s]\n"x" = maen(A)', "t.setools:2: .*did you mean mean")


def test_new_catalogues():
    table = make_table()
    text = """
    [MASK:m]
    A > 0
    [NEW_CAT:fits]
    OUTPUT_FORMAT = fits
    NUMBER = NUMBER{m}
    SIZE = sqrt(pow(A{m}, 2) + B{m})
    GOOD = (B > 0.5){m}
    LIMIT = limit
    [NEW_CAT:text]
    OUTPUT_FORMAT = ascii
    MEAN = mean(A)
    [NEW_CAT:ldac]
    OUTPUT_FORMAT = SEx_cat
    A = A
    """
    fits, ascii_, ldac = select(text, limit=3.0).catalogues()
    selected = table["A"] > 0
    assert [new.form for new in (fits, ascii_, ldac)] == [CatalogueForm.FITS, CatalogueForm.TEXT, CatalogueForm.LDAC]
    assert fits.table.dtype.names == ("NUMBER", "SIZE", "GOOD", "LIMIT")
    assert (fits.table["NUMBER"] == table["NUMBER"][selected]).all()
    assert (fits.table["GOOD"] == (table["B"] > 0.5)[selected]).all()
    assert (fits.table["LIMIT"] == 3).all()
    assert ascii_.table["MEAN"] == pytest.approx(table["A"].astype(float).mean())
    assert len(ldac.table) == N
    fails("[NEW_CAT:n]\nA = A", "OUTPUT_FORMAT is missing; it is one of fits, SEx_cat, txt, ascii")
    fails("[NEW_CAT:n]\nOUTPUT_FORMAT = fit\nA = A", "there is no format 'fit'; did you mean fits")
    fails("[NEW_CAT:n]\nOUTPUT_FORMAT = fits", "there is no column")
    fails("[NEW_CAT:n]\nOUTPUT_FORMAT = fits\nA = A\na = B", "a is already there, in line 3")
    fails("[NEW_CAT:n]\nOUTPUT_FORMAT = fits\nA B = A", "'A B' cannot be the name of a column")
    fails(
        "[MASK:m]\n[NEW_CAT:n]\nOUTPUT_FORMAT = fits\nX = A\nY = B{m}",
        r"t.setools:5: .*B\{m\} is for .*\{m\}, and A for all",
    )


def figure(text, **constants):
    return select("[MASK:m]\nA > 0\n[MASK:none]\nA > 1e9\n[PLOT:p]\n" + text, **constants).figures()[0]


def test_a_plot_with_all_its_settings():
    table = make_table()
    made = figure(
        """
        TYPE = plot
        FORMAT = pdf
        X_1 = A
        Y_1 = B
        X_2 = A{m}
        Y_2 = -B{m} * 2
        LABEL_1 = All
        LABEL_2 = "@len(A{m})@ of @len(A)@, mean @mean(A{m})*0.187@ arcsec"
        MARKER = .
        MARKER_1 = o
        MARKERSIZE_2 = 3
        LINE_2 = --
        ALPHA_1 = 0.5
        COLOR_1 = r
        COLOR_2 = "#0072b2"
        TITLE = "Stars # 1"
        XLABEL = A (pix)
        YLABEL = @limit@
        XLIM = -1, 2.5
        YLIM = min(B), max(1, 2) * 0 + limit
        """.replace("max(1, 2) * 0 + limit", "limit"),
        limit=1.5,
    )
    positive = table["A"] > 0
    first, second = made.data_sets
    assert (made.kind, made.file_format, made.title, made.x_label) == (PlotKind.PLOT, "pdf", "Stars # 1", "A (pix)")
    assert made.y_label == "1.5"
    assert (made.x_limits, made.y_limits) == ((-1, 2.5), (table["B"].min(), 1.5))
    assert (first.x == table["A"]).all()
    assert (second.y == -2 * table["B"][positive]).all()
    assert first.label == "All"
    mean = table["A"].astype(float)[positive].mean() * 0.187
    assert second.label == f"{positive.sum()} of 300, mean {mean:.4g} arcsec"
    assert (first.marker, second.marker, first.marker_size, second.marker_size) == ("o", ".", 1, 3)
    assert (first.line, second.line, first.alpha, second.alpha) == ("none", "--", 0.5, 1)
    assert (first.colour, second.colour) == ("r", "#0072b2")


def test_other_plots():
    made = figure("TYPE = histogram\nY = A{m}\nBIN = 20\nHTYPE = step\nLOG = True")
    assert (made.kind, made.data_sets[0].n_bin, made.data_sets[0].bar, made.logarithmic) == (
        PlotKind.HIST,
        20,
        "step",
        True,
    )
    made = figure("TYPE = hist\nY = A{none}")
    assert (made.data_sets[0].n_bin, made.data_sets[0].bar, made.logarithmic, made.title) == (50, "bar", False, "")
    assert len(made.data_sets[0].y) == 0
    made = figure("TYPE = scatter\nX = A{m}\nY = B{m}\nSCATTER_1 = A{m} * 2\nLABEL_1 = a @mean(A)@\nMARKER_1 = .")
    assert len(made.data_sets) == 1
    assert (made.data_sets[0].hue == 2 * made.data_sets[0].x).all()
    assert (made.data_sets[0].marker, made.data_sets[0].label[:2]) == (".", "a ")


@pytest.mark.parametrize(
    ("text", "n_set"),
    [
        ("X = A\nY = B", 1),
        ("X = A\nY = B\nY_1 = A", 2),
        ("X = A\nY_1 = B\nY_2 = A", 2),
        ("X_1 = A\nY_1 = B\nY_2 = A", 2),
        ("X_1 = A\nX_2 = B\nY = A", 2),
        ("X = A\nX_3 = B\nY = A", 2),
    ],
)
def test_one_abscissa_serves_several_ordinates(text, n_set):
    assert len(figure("TYPE = plot\n" + text).data_sets) == n_set


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("X = A\nY = B", "TYPE is missing: it is one of plot, scatter, hist, histogram"),
        ("TYPE = plott\nX = A\nY = B", "no type of plot 'plott'; did you mean plot"),
        ("TYPE = plot", "there is nothing to draw: X and Y are missing"),
        ("TYPE = plot\nY = B", "t.setools:7: .*X is missing"),
        ("TYPE = plot\nX_1 = A\nX_2 = A\nY_3 = B", "is missing"),
        ("TYPE = plot\nX = A\nX_1 = A\nY_1 = B", "t.setools:7: .*X is of no data set"),
        ("TYPE = scatter\nX = A\nY = B", "SCATTER is missing"),
        ("TYPE = plot\nX = A\nY = B\nLABEL_2 = x", "there is no data set 2: Y_2 is missing"),
        ("TYPE = plot\nX = A\nY = B\nMARKERS = x", "there is no key MARKERS; did you mean MARKER"),
        ("TYPE = plot\nX = A\nY = B\nCOLOUR_1 = x", "there is no key COLOUR; did you mean COLOR"),
        ("TYPE = plot\nX = A\nY = B\nTITLE_1 = x", "TITLE is of the whole section and carries no number"),
        ("TYPE = hist\nY = B\nX = A", "X is not a key of a hist; its keys are"),
        ("TYPE = hist\nY = B\nBIN = 0", "0 is not between 1 and 10000"),
        ("TYPE = hist\nY = B\nBIN = many", "'many' is not a number"),
        ("TYPE = hist\nY = B\nBIN = nan", "nan is not between"),
        ("TYPE = hist\nY = B\nLOG = maybe", "'maybe' is neither True nor False"),
        ("TYPE = hist\nY = B\nHTYPE = pie", "no type of a histogram 'pie'"),
        ("TYPE = hist\nY = B\nALPHA = 2", "2 is not between 0 and 1"),
        ("TYPE = hist\nY = B\nFORMAT = gif", "no format 'gif'"),
        ("TYPE = hist\nY = B\nCOLOR = #ff0000", "COLOR has no value; one that begins with # must be between quotes"),
        ('TYPE = hist\nY = B\nCOLOR = "#xx"', "'#xx' is not the name of a colour"),
        ("TYPE = plot\nX = A\nY = B\nMARKER = oo", "no marker 'oo'"),
        ("TYPE = plot\nX = A\nY = B\nLINE = ---", "no style of a line '---'"),
        ("TYPE = plot\nX = A\nY = B\nXLIM = 3", "two values with a comma between them"),
        ("TYPE = plot\nX = A\nY = B\nXLIM = 3, A", "A has a value per object"),
        ("TYPE = plot\nX = A\nY = B{m}", r"B\{m\} is for the objects of \{m\}, and A for all objects"),
        ("TYPE = hist\nY = 3", "3 is a single value and no column"),
        ("TYPE = hist\nY = B\nTITLE = mean @mean(A) pixels", "an @ is without its partner"),
        ("TYPE = hist\nY = B\nTITLE = @A@", "A has a value per object"),
        ("TYPE = hist\nY = B\nTITLE = @mean(A{x})@", "there is no mask x"),
        ("TYPE = hist\nY = B\nTITLE = @@", "there is no expression"),
        ('TYPE = hist\nY = B\nTITLE = "a', "a quote is without its partner"),
        ('TYPE = hist\nY = B\nTITLE = "a" "b"', "more than one pair of quotes"),
    ],
)
def test_what_is_wrong_with_a_plot(text, message):
    with pytest.raises(ConfigError, match=message):
        figure(text)


def test_a_program_can_be_sent():
    text = SPLIT.format(ratio=20)
    program = parse(text, "t")
    sent = pickle.loads(pickle.dumps(program))
    assert sent == program
    assert len(pickle.dumps(program)) < 20 * len(text)
    table = make_table()
    here, there = (p.select(table, {}, np.random.default_rng(0)).splits["s"].drawn for p in (program, sent))
    assert (here == there).all()


def test_a_bound_program_selects_from_tables_of_its_type():
    bound = parse(SPLIT.format(ratio=20), "t").bind(make_table().dtype)
    assert bound.select(make_table(), {}, np.random.default_rng(0)).n_object == N
    with pytest.raises(ValueError, match="not the one"):
        bound.select(make_table()[["A", "B"]], {}, np.random.default_rng(0))
