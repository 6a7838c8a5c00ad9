"""Templates: the two forms in which they are written, what is no polygon, and the packaged ones."""

import numpy as np
import pytest

from shapempi.errors import ConfigError
from shapempi.measure.mask_template import CAMERAS, packaged_template, parse_template

SQUARE = np.array([[-2.0, -1.5], [3.0, -1.5], [3.0, 4.0], [-2.0, 4.0]])
TEXT = "-2 -1.5\n3 -1.5\n3 4e0\n-2 4\n"


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        "# a comment\n\n" + TEXT.replace("\n", " # the vertex\n").replace(" ", "   "),
        TEXT.replace(" ", ", "),
        "# Region file format: DS9\nglobal color=green\nimage\npolygon(-2,-1.5,3,-1.5,3,4,-2,4) # tag={halo}\n",
        "polygon(-2 -1.5 3 -1.5 3 4 -2 4)",
        "physical; polygon -2 -1.5 3 -1.5 3 4 -2 4",
        "image;polygon(-2,-1.5, 3,-1.5, 3,4, -2,4)",
        "POLYGON (-2,-1.5,3,-1.5,3,4,-2,4)",
    ],
)
def test_two_columns_and_ds9_are_the_same(text):
    assert np.array_equal(parse_template(text, "t.reg"), SQUARE)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", r"t\.reg: a polygon has three vertices or more, not 0; a template is one polygon around the star"),
        ("# nothing\n", "three vertices or more, not 0"),
        ("1 2\n3 4\n", r"t\.reg: a polygon has three vertices or more, not 2"),
        ("1 2\n3 4 5\n6 7\n", r"t\.reg:2: 3 4 5: two numbers are needed, not 3"),
        ("1 2\n3 4\n\n5\n", r"t\.reg:4: 5: two numbers are needed, not 1"),
        ("1 2\n3 4x\n5 6\n", r"t\.reg:2: 3 4x: '4x' is no number"),
        ("1 2\n-nan 4\n5 6\n", r"t\.reg:2: -nan 4"),
        ("1 2\n3 inf\n5 6\n", r"t\.reg:2: 3 inf: 'inf' is not finite"),
        ("1 2\n3 1e6\n5 6\n", r"t\.reg:2: 3 1e6: 1e6 pixels from the star is beyond every image"),
        ("polygon(1,2,3,4,5)", r"t\.reg:1: polygon\(1,2,3,4,5\): an odd number of coordinates \(5\)"),
        ("polygon(1,2,3,4)", r"t\.reg:1: polygon\(1,2,3,4\): a polygon has three vertices or more, not 2"),
        ("polygon()", "three vertices or more, not 0"),
        ("polygon(1,2,3,a,5,6)", "'a' is no number"),
        ("image\ncircle(1,2,3)\n", r"t\.reg:2: circle\(1,2,3\): 'circle' is no polygon"),
        ("polygon(0,0,1,0,1,1)\npolygon(0,0,2,0,2,2)\n", r"t\.reg:2: .*there is another polygon before this one"),
        ("1 2\npolygon(0,0,1,0,1,1)\n", r"t\.reg:2: .*there is another polygon"),
        (
            "fk5\npolygon(150.1,2.1,150.2,2.1,150.2,2.2)\n",
            r"t\.reg:1: fk5: offsets in pixels are needed, not positions",
        ),
        ("0 0\n1 1\n2 2\n3 3\n", "the 4 vertices lie on a line, the polygon has no area"),
        ("5 5\n5 5\n5 5\n", "no area"),
        ("<html><body>Not found</body></html>", r"t\.reg:1: "),
    ],
)
def test_what_is_no_polygon_is_refused_by_file_and_line(text, complaint):
    with pytest.raises(ConfigError, match=complaint) as caught:
        parse_template(text, "t.reg")
    assert "\n" not in str(caught.value)
    assert "a template is one polygon around the star: a line `u v` for each vertex" in str(caught.value)


@pytest.mark.parametrize("camera", CAMERAS)
@pytest.mark.parametrize("kind", ["halo", "spike"])
def test_packaged_templates_surround_their_star_and_cannot_be_changed(camera, kind):
    vertices = packaged_template(camera, kind)
    angle = np.unwrap(np.arctan2(vertices[:, 1], vertices[:, 0]))
    assert np.all(np.diff(angle) > 0) and 1.5 * np.pi < angle[-1] - angle[0] < 2 * np.pi
    with pytest.raises(ValueError, match="read-only"):
        vertices[0] = 0


def test_decam_has_a_halo_of_fifty_pixels_and_arms_between_the_directions_of_the_sky():
    halo, spike = packaged_template("decam", "halo"), packaged_template("decam", "spike")
    assert np.allclose(np.hypot(*halo.T), 50, atol=1e-3)
    tips = spike[np.hypot(*spike.T) > 70]
    assert len(tips) == 8
    middles = tips.reshape(4, 2, 2).mean(axis=1)
    assert np.allclose(np.abs(middles), 80 / np.sqrt(2), atol=1e-3)
