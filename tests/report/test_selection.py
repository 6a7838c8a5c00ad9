"""The figures of a star selection: every kind of plot, and data that there is nothing to draw of."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.image import imread

from shapempi.errors import ConfigError
from shapempi.measure.setools.program import parse
from shapempi.measure.stars import StarParams, check_program, constants_of, standard_program
from shapempi.report.selection import check_colours, draw, save

N = 200


def make_table(n=N):
    rng = np.random.default_rng(3)
    table = np.zeros(
        n,
        [
            ("MAG_AUTO", "f8"),
            ("FWHM_IMAGE", "f8"),
            ("XWIN_IMAGE", "f8"),
            ("YWIN_IMAGE", "f8"),
            ("FLAGS", "i2"),
            ("IMAFLAGS_ISO", "i4"),
        ],
    )
    table["MAG_AUTO"], table["FWHM_IMAGE"] = rng.uniform(17, 23, n), rng.normal(3.9, 0.1, n)
    table["XWIN_IMAGE"], table["YWIN_IMAGE"] = rng.uniform(1, 2048, n), rng.uniform(1, 4612, n)
    return table


def figures(program, table, **image):
    constants = constants_of(StarParams(), {"pixel_scale": 0.187, **image})
    return {made.name: made for made in program.select(table, constants, np.random.default_rng(0)).figures()}


def figure(text, table=None):
    return figures(parse("[PLOT:p]\n" + text, "t.setools"), make_table() if table is None else table)["p"]


def test_the_standard_plots(tmp_path):
    program = standard_program()
    check_program(program, StarParams(), make_table().dtype)
    check_colours(program)
    made = figures(program, make_table(), ccd_nx=2048.0, ccd_ny=4612.0)
    assert set(made) == {"size_mag", "hist_mag_stars", "fwhm_field", "mag_star_field"}
    for name, data in made.items():
        path = tmp_path / f"{name}.png"
        save(data, path)
        pixels = imread(path)
        assert pixels.shape == (720, 960, 4)
        assert len(np.unique(pixels[..., 0])) > 10
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(f"{name}.png" for name in made)

    axes = draw(made["size_mag"]).axes[0]
    n_star = len(made["size_mag"].data_sets[1].y)
    label = axes.get_legend().get_texts()[1].get_text()
    assert label.startswith(f"{n_star} stars, mean FWHM 0.7")
    assert label.endswith(" arcsec")  # what follows the value is kept
    assert axes.get_xlim() == (0, 20)
    points, colours = draw(made["fwhm_field"]).axes
    assert (points.get_xlim(), points.get_ylim()) == ((1, 2048), (1, 4612))
    assert colours.get_ylabel() == "FWHM [arcsec]"
    assert len(points.collections[0].get_offsets()) == n_star


@pytest.mark.parametrize("n", [0, 1, 2])
@pytest.mark.parametrize("bad", [None, np.nan, np.inf])
def test_next_to_nothing_is_drawn_without_a_warning(n, bad):
    table = make_table(n)
    if bad is not None:
        table["MAG_AUTO"] = table["FWHM_IMAGE"] = table["XWIN_IMAGE"] = bad
    made = figures(standard_program(), table)  # the size of the CCD is unknown
    for data in made.values():
        canvas = draw(data)
        canvas.canvas.draw()
        texts = [text.get_text() for text in canvas.axes[0].texts]
        empty = all(not np.isfinite(data_set.y).any() for data_set in data.data_sets)
        assert texts == (["no objects"] if empty else [])


def test_styles():
    axes = draw(
        figure(
            "TYPE = plot\nX = MAG_AUTO\nY = FWHM_IMAGE\nY_1 = -FWHM_IMAGE\nMARKER = s\nMARKER_1 = none\nLINE_1 = --\n"
            'MARKERSIZE = 4\nALPHA = 0.5\nCOLOR = "#0072b2"\nCOLOR_1 = r\nXLIM = 24, 16'
        )
    ).axes[0]
    first, second = axes.get_lines()
    assert (first.get_marker(), first.get_markersize(), first.get_alpha(), first.get_color()) == (
        "s",
        4,
        0.5,
        "#0072b2",
    )
    assert first.get_linestyle() in ("None", "none")
    assert (second.get_marker(), second.get_linestyle(), second.get_color()) == ("none", "--", "r")
    assert axes.get_xlim() == (24, 16)
    assert axes.get_legend() is None


def test_colours_that_are_not_given_differ():
    lines = draw(figure("TYPE = plot\nX = MAG_AUTO\nY = FWHM_IMAGE\nY_1 = -FWHM_IMAGE")).axes[0].get_lines()
    assert to_hex(lines[0].get_color()) != to_hex(lines[1].get_color())
    assert {line.get_marker() for line in lines} == {"+"}


@pytest.mark.parametrize("bar", ["bar", "barstacked", "step", "stepfilled"])
def test_histograms(bar):
    axes = draw(
        figure(f"TYPE = hist\nY = MAG_AUTO\nY_1 = FWHM_IMAGE\nBIN = 7\nBIN_1 = 9\nHTYPE = {bar}\nLOG = True")
    ).axes[0]
    assert axes.get_yscale() == "log"
    if bar == "bar":
        assert len(axes.patches) == 7 + 9
        assert sum(patch.get_height() for patch in axes.patches) == 2 * N


@pytest.mark.parametrize("form", ["pdf", "svg", "png"])
def test_formats(tmp_path, form):
    path = tmp_path / f"p.{form}"
    save(figure(f"TYPE = hist\nY = MAG_AUTO\nFORMAT = {form}"), path)
    assert path.read_bytes().startswith({"pdf": b"%PDF", "svg": b"<?xml", "png": b"\x89PNG"}[form])


@pytest.mark.parametrize("title", [r"$\alpha$ of 5 $", r"$\nonsense$", "cost: 5 $", r"$\sigma_{x}$", "a $ b $ c"])
def test_formulas_good_and_bad(title):
    canvas = draw(figure(f"TYPE = hist\nY = MAG_AUTO\nTITLE = {title}"))
    canvas.canvas.draw()


def test_a_colour_that_does_not_exist_is_named_before_anything_is_drawn():
    program = parse("[PLOT:p]\nTYPE = hist\nY = MAG_AUTO\nCOLOR = blurple", "t.setools")
    with pytest.raises(ConfigError, match=r"t.setools:4: COLOR = blurple: there is no colour 'blurple'"):
        check_colours(program)
    for colour in ("tab:blue", "C3", "0.5", "g", '"#12ab9f"', "cornflowerblue"):
        check_colours(parse(f"[PLOT:p]\nTYPE = hist\nY = MAG_AUTO\nCOLOR = {colour}", "t"))
