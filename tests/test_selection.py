"""Selections applied to catalogue files: what is written where, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from shapempi.errors import ConfigError, MissingInputError
from shapempi.io.ldac import read_ldac, read_ldac_units, write_ldac
from shapempi.measure.setools.functions import FUNCTIONS
from shapempi.measure.setools.plots import KEYS
from shapempi.measure.setools.program import parse
from shapempi.measure.stars import IMAGE_CONSTANTS, StarParams, select_stars, standard_program
from shapempi.report.selection_files import OUTPUTS, write_selection
from shapempi.selection import read_constants, read_selection, select_stars_of

SCALE = 0.187
WCS = [
    "SIMPLE  =                    T",
    "NAXIS   =                    2",
    "NAXIS1  =                 2048",
    "NAXIS2  =                 4612",
    "CTYPE1  = 'RA---TAN'",
    "CTYPE2  = 'DEC--TAN'",
    "CRVAL1  =                150.0",
    "CRVAL2  =                 20.0",
    "CRPIX1  =               1024.0",
    "CRPIX2  =               2306.0",
    f"CD1_1   =        {-SCALE / 3600:.15f}",
    "CD1_2   =                  0.0",
    "CD2_1   =                  0.0",
    f"CD2_2   =        {SCALE / 3600:.15f}",
]
HEADER = "".join(card.ljust(80) for card in WCS)


def make_table(seed=1, n=400):
    rng = np.random.default_rng(seed)
    table = np.zeros(
        n,
        [
            ("NUMBER", "i4"),
            *[(name, "f8") for name in ("MAG_AUTO", "FWHM_IMAGE", "XWIN_IMAGE", "YWIN_IMAGE")],
            ("FLAGS", "i2"),
            ("IMAFLAGS_ISO", "i4"),
            ("VIGNET", "f4", (3, 3)),
        ],
    )
    table["NUMBER"] = np.arange(1, n + 1)
    table["MAG_AUTO"], table["FWHM_IMAGE"] = rng.uniform(17, 23, n), rng.normal(3.9, 0.15, n)
    table["XWIN_IMAGE"], table["YWIN_IMAGE"] = rng.uniform(1, 2048, n), rng.uniform(1, 4612, n)
    table["FLAGS"][::9] = 1
    table["VIGNET"] = rng.normal(size=(n, 3, 3))
    return table


@pytest.fixture
def catalogue(tmp_path):
    path = tmp_path / "sexcat-2113737-10.fits"
    write_ldac(path, make_table(), HEADER, overwrite=False, units={"FWHM_IMAGE": "pixel"})
    return path


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_the_standard_selection(tmp_path, catalogue):
    output = tmp_path / "out"
    (result,) = select_stars_of(None, [catalogue], output, seed=5)
    assert names(output) == [
        "mask/star_selection-2113737-10.fits",
        "rand_split/star_split_ratio_20-2113737-10.fits",
        "rand_split/star_split_ratio_80-2113737-10.fits",
        "stat/star_stat-2113737-10.txt",
    ]
    assert sorted(path.relative_to(output).as_posix() for path in result.files) == names(output)

    # what a run does with the same table
    table = make_table()
    rng = np.random.default_rng([5, 2113737, 10])
    expected = select_stars(table, SCALE, StarParams(), rng, shape=(4612, 2048))
    for name, rows in [
        ("mask/star_selection", expected.selected),
        ("rand_split/star_split_ratio_20", expected.test),
        ("rand_split/star_split_ratio_80", expected.train),
    ]:
        header, written = read_ldac(output / f"{name}-2113737-10.fits")
        assert header == HEADER
        assert (written == table[rows]).all()
    assert read_ldac_units(result.files[0]) == {"FWHM_IMAGE": "pixel"}
    text = (output / "stat/star_stat-2113737-10.txt").read_text().splitlines()
    assert text[0] == "# Statistics"
    assert text[1:4] == ["Objects = 400", "Unflagged objects = 355", f"Stars = {expected.selected.sum()}"]
    assert f"  star_selection: {expected.selected.sum()}" in result.lines()


SELECTION = """
[MASK:bright]
MAG_AUTO < 20 and ccd == 10 and exposure > 2e6 and limit == 4
[RAND_SPLIT:half]
RATIO = 50
MASK = bright
[NEW_CAT:new]
OUTPUT_FORMAT = ascii
SIZE = FWHM_IMAGE{bright} * 0.187
[NEW_CAT:cat]
OUTPUT_FORMAT = SEx_cat
N = NUMBER{bright}
[NEW_CAT:plain]
OUTPUT_FORMAT = fits
N = NUMBER{bright}
[PLOT:histogram]
TYPE = hist
Y = MAG_AUTO{bright}
FORMAT = pdf
"""


def test_a_selection_file_with_everything(tmp_path, catalogue):
    path, output = tmp_path / "mine.setools", tmp_path / "out"
    path.write_text(SELECTION)
    (result,) = select_stars_of(path, [catalogue], output, plots=True, constants={"limit": 4.0})
    assert names(output) == [
        "mask/bright-2113737-10.fits",
        "new_cat/cat-2113737-10.fits",
        "new_cat/new-2113737-10.txt",
        "new_cat/plain-2113737-10.fits",
        "plot/histogram-2113737-10.pdf",
        "rand_split/half_ratio_50-2113737-10.fits",
        "rand_split/half_ratio_50_rest-2113737-10.fits",
    ]
    bright = make_table()["MAG_AUTO"] < 20
    halves = [read_ldac(output / f"rand_split/half_ratio_50{rest}-2113737-10.fits")[1] for rest in ("", "_rest")]
    assert sorted(np.concatenate(halves)["NUMBER"]) == list(np.flatnonzero(bright) + 1)
    for name, header in (("cat", HEADER), ("plain", "")):
        read = read_ldac(output / f"new_cat/{name}-2113737-10.fits")
        assert read[0] == header
        assert (read[1]["N"] == np.flatnonzero(bright) + 1).all()
    assert len((output / "new_cat/new-2113737-10.txt").read_text().splitlines()) == 2 + bright.sum()
    assert len(result.files) == 7


def test_nothing_is_replaced_without_being_asked(tmp_path, catalogue):
    output = tmp_path / "out"
    list(select_stars_of(None, [catalogue], output))
    for name in names(output)[1:]:
        (output / name).unlink()
    with pytest.raises(ConfigError, match=r"star_selection-2113737-10[.]fits is already there"):
        list(select_stars_of(None, [catalogue], output))
    assert len(names(output)) == 1
    list(select_stars_of(None, [catalogue], output, overwrite=True))
    assert len(names(output)) == 4


def test_catalogues_do_not_depend_on_each_other(tmp_path, catalogue):
    other = tmp_path / "sexcat-2113737-11.fits"
    write_ldac(other, make_table(2), HEADER, overwrite=False)
    missing = tmp_path / "sexcat-2113737-12.fits"
    results = list(select_stars_of(None, [other, missing, catalogue], tmp_path / "all"))
    assert [len(result.files) for result in results] == [4, 0, 4]
    assert isinstance(results[1].error, MissingInputError)
    assert results[1].lines() == [f"{missing}: the file does not exist"]
    list(select_stars_of(None, [catalogue], tmp_path / "one"))
    for name in names(tmp_path / "one"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "all" / name).read_bytes()


def test_no_stars_are_a_reason(tmp_path):
    table = make_table()
    table["MAG_AUTO"] = 30.0
    path = tmp_path / "faint.fits"
    write_ldac(path, table, HEADER, overwrite=False)
    (result,) = select_stars_of(None, [path], tmp_path / "out")
    assert names(tmp_path / "out") == ["mask/star_selection-faint.fits", "stat/star_stat-faint.txt"]
    assert len(read_ldac(result.files[0])[1]) == 0
    text = "\n".join(result.lines())
    assert "star_selection: 0 (0 of 400 objects pass star_selection: {unflagged} keeps 355" in text
    assert "not written: star_split: there are no objects to split" in text


def test_the_pixel_scale_is_asked_for_if_it_is_needed(tmp_path):
    path = tmp_path / "no-wcs.fits"
    write_ldac(path, make_table(), HEADER[: 4 * 80], overwrite=False)
    with pytest.raises(
        ConfigError, match=r"pixel_scale is needed, .*--constant pixel_scale=.* \(selecting from .*no-wcs"
    ):
        list(select_stars_of(None, [path], tmp_path / "out"))
    (result,) = select_stars_of(None, [path], tmp_path / "out", constants={"pixel_scale": 0.187})
    assert result.selection.masks["star_selection"].selected.sum() > 50
    simple = tmp_path / "simple.setools"
    simple.write_text("[MASK:m]\nMAG_AUTO < 20")
    assert len(list(select_stars_of(simple, [path], tmp_path / "simple"))) == 1


def test_what_is_wrong_is_said_before_anything_is_written(tmp_path, catalogue):
    bad = tmp_path / "bad.setools"
    for content, message in [
        (b"[MASK:m]\nMAG_AUTO < ", r"bad.setools:2: MAG_AUTO <: a number"),
        (b"[MASK:m]\nMAG < 20", r"bad.setools:2: .*no column or constant MAG; .*\(selecting from .*sexcat-2113737-10"),
        (b"[PLOT:m]\nTYPE = hist\nY = MAG_AUTO\nCOLOR = blurple", "no colour 'blurple'"),
        (b"\xff\xfe[MASK", "byte 0 is no UTF-8 text"),
    ]:
        bad.write_bytes(content)
        with pytest.raises(ConfigError, match=message):
            list(select_stars_of(bad, [catalogue], tmp_path / "out"))
    with pytest.raises(ConfigError, match="cannot read the selection file"):
        read_selection(tmp_path / "nothing.setools")
    same = tmp_path / "other" / "cat-2113737-10.fits"
    with pytest.raises(ConfigError, match="have the same numbers"):
        select_stars_of(None, [catalogue, same], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_only_the_kinds_asked_for_are_written(tmp_path):
    table = make_table()
    selection = select_stars(table, SCALE, StarParams(), np.random.default_rng(0), shape=(4612, 2048))
    assert set(OUTPUTS) == {"mask", "plot", "new_cat", "rand_split", "stat"}
    for kind, n_file in [("mask", 1), ("rand_split", 2), ("stat", 1), ("new_cat", 0)]:
        files = write_selection(selection.outcome, table, HEADER, tmp_path / kind, "-1-2", [kind], overwrite=False)
        assert len(files) == n_file == len(names(tmp_path / kind))
    twins = parse("[MASK:a]\n[MASK:A]", "t").select(table, {}, np.random.default_rng(0))
    with pytest.raises(ConfigError, match="two sections would be written to"):
        write_selection(twins, table, HEADER, tmp_path / "twins", "-1-2", ["mask"], overwrite=False)
    blocked = tmp_path / "blocked"
    blocked.write_text("a file")
    with pytest.raises(ConfigError, match="cannot be written"):
        write_selection(selection.outcome, table, HEADER, blocked, "-1-2", ["mask"], overwrite=False)


def test_the_page_says_what_there_is():
    page = (Path(__file__).parents[1] / "docs" / "selection.md").read_text(encoding="utf-8")
    assert f"```\n{standard_program().text}```" in page, "docs/selection.md shows the standard file as it was"
    assert set(FUNCTIONS) <= set(re.findall(r"`(\w+)\([^`]*\)`", page))
    words = set(re.findall(r"`([^` ]+)`", page))
    assert set(IMAGE_CONSTANTS) <= words
    assert set(KEYS) <= words
    assert {"RATIO", "STRATIFY", "OUTPUT_FORMAT", "NO_SAVE"} <= words


def test_constants_of_a_command_line():
    assert read_constants(["pixel_scale=0.187", "limit = -1e3"]) == {"pixel_scale": 0.187, "limit": -1000.0}
    for word in ("pixel_scale", "=3", "a=b", "2a=3", "a=nan", "a b=3", ""):
        with pytest.raises(ConfigError, match="not of the form name=number"):
            read_constants([word])
