"""What pictures are made of: small images that lose no flag, colours, directions, outlines."""

import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from tiny_survey import SCALE, tan_wcs

from shapempi.flags import PixelFlag
from shapempi.report.look_canvas import (
    count_ticks,
    flag_layer,
    robust_levels,
    scale_bar_length,
    sky_directions,
    stretch,
)
from shapempi.report.look_image import ImageSheet, Markers, draw_image, outlines
from shapempi.report.look_palette import EXTERNAL, bit_colour, bit_name, bits_of
from shapempi.report.look_thumbnail import make_thumbnail

#: What eyes without green or without red cones see of red, green, blue (Machado et al. 2009, severity 1).
DEUTERANOPIA = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
PROTANOPIA = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]


def thumbnail_of(image, plane=None, box=None, **options):
    def section(of):
        return lambda part: of[part[0] : part[1], part[2] : part[3]]

    box = box or (0, image.shape[0], 0, image.shape[1])
    return make_thumbnail(box, section(image), None if plane is None else section(plane), **options)


def test_a_small_picture_loses_no_flag_and_no_light():
    rng = np.random.default_rng(1)
    image = rng.normal(size=(1303, 771)).astype(np.float32)
    plane = np.zeros(image.shape, np.int64)
    pixels = [(0, 0), (1302, 770), (650, 3), (77, 401)]
    for bit, (y, x) in zip((1, 8, 1 << EXTERNAL, 1 << EXTERNAL + 3), pixels, strict=True):
        plane[y, x] |= bit
    plane[600:700, 100:300] |= 128
    small = thumbnail_of(image, plane, longest=100)
    assert small.step == 14
    assert small.image.shape == (94, 56)
    assert small.image[3, 5] == pytest.approx(image[42:56, 70:84].mean(), rel=1e-4)
    assert small.image[-1, -1] == pytest.approx(image[1302:, 770:].mean(), rel=1e-4)
    assert set(small.bits) == {1, 8, 128, 1 << EXTERNAL, 1 << EXTERNAL + 3}
    for bit, (y, x) in zip((1, 8, 1 << EXTERNAL, 1 << EXTERNAL + 3), pixels, strict=True):
        assert np.argwhere(small.bits[bit] > 0).tolist() == [[y // 14, x // 14]]
        assert small.fractions[bit] == 1 / plane.size
    assert small.fractions[128] == 20000 / plane.size
    assert small.flagged == np.count_nonzero(plane) / plane.size
    assert small.bits[1][0, 0] == pytest.approx(1 / 14**2)
    assert small.bits[8][-1, -1] == 1  # of a cell with one pixel


def test_a_section_is_shown_pixel_by_pixel():
    image = np.arange(1200, dtype=np.float32).reshape(30, 40)
    image[7, 12] = np.nan
    small = thumbnail_of(image, box=(5, 15, 10, 25))
    assert small.step == 1
    np.testing.assert_array_equal(small.image, image[5:15, 10:25])
    assert small.bits == {}


def test_cells_with_several_flags_have_stripes_of_their_own_colours():
    bits = {1: np.zeros((40, 40), np.float32), 4: np.zeros((40, 40), np.float32)}
    bits[1][:, :30], bits[4][:, 10:] = 1.0, 1.0
    layer = flag_layer(bits)
    weight, border = (to_rgb(bit_colour(bit)) for bit in (1, 4))

    def share(colour, columns):
        return np.mean(np.all(np.isclose(layer[:, columns, :3], colour, atol=1e-3), axis=-1))

    assert share(weight, slice(0, 10)) == 1
    assert share(border, slice(30, 40)) == 1
    assert share(weight, slice(10, 30)) == share(border, slice(10, 30)) == 0.5
    assert (layer[..., 3] > 0.2).all()
    rare = flag_layer({1: np.eye(200, dtype=np.float32) * 0.01})
    assert (rare[..., 3] > 0.7).sum() == 200  # also one pixel of a hundred is seen


@pytest.mark.parametrize("matrix", [np.eye(3), DEUTERANOPIA, PROTANOPIA], ids=["all", "no green", "no red"])
def test_colours_of_our_bits_can_be_told_apart(matrix):
    seen = {flag.name: np.clip(np.array(matrix) @ to_rgb(bit_colour(flag.value)), 0, 1) for flag in PixelFlag}
    for one, other in itertools.combinations(seen, 2):
        assert np.linalg.norm(seen[one] - seen[other]) > 0.12, (one, other)


def test_every_bit_has_a_name():
    assert bits_of(1 | 1024 | 1 << 40) == [1, 1024, 1 << 40]
    assert [bit_name(bit) for bit in (2, 8, 8 << EXTERNAL)] == ["HALO", "external 8", "flag 8"]
    assert bit_name(64, {64: "HALO"}) == "HALO"  # a value of the configuration's own
    assert bit_colour(64, {64: "HALO"}) == bit_colour(2)
    assert bit_colour(2 << EXTERNAL) != bit_colour(2)


@pytest.mark.parametrize(
    ("matrix", "north", "east"),
    [((-1, 0, 0, 1), (0, 1), (-1, 0)), ((1, 0, 0, -1), (0, -1), (1, 0)), ((0, 1, 1, 0), (1, 0), (0, 1))],
)
def test_north_and_east_are_where_the_wcs_has_them(matrix, north, east):
    wcs = tan_wcs(218.3, 56.5, (50.0, 50.0), matrix)
    found = sky_directions(wcs, 30.0, 60.0)
    np.testing.assert_allclose(found[0], north, atol=1e-3)
    np.testing.assert_allclose(found[1], east, atol=1e-3)
    assert found[2] == pytest.approx(SCALE, rel=1e-3)


def test_the_scale_bar_is_round_and_a_quarter_of_the_picture_at_most():
    assert [scale_bar_length(width) for width in (9.0, 130.0, 400.0, 1900.0)] == [2, 30, 60, 300]


def test_outlines_run_between_the_pixels_of_objects():
    plane = np.zeros((6, 7), int)
    plane[2:4, 2:4], plane[2:4, 4] = 1, 2
    lines = outlines(plane, (100, 200))
    assert lines.shape == (8 + 6 - 2, 2, 2)  # the side between the two objects is drawn once
    assert np.abs(lines[:, 0] - lines[:, 1]).sum() == 12
    assert lines[..., 0].min() == 201.5
    assert lines[..., 0].max() == 204.5
    assert lines[..., 1].min() == 101.5
    assert lines[..., 1].max() == 103.5


def test_the_stretch_rests_on_the_sky_whatever_is_on_it():
    image = np.random.default_rng(2).normal(1000, 20, (300, 300))
    image[100:120, 100:120] += 5e4
    sky, noise, low, high = robust_levels(image)
    assert sky == pytest.approx(1000, abs=1)
    assert noise == pytest.approx(20, rel=0.1)
    assert low == pytest.approx(940, abs=5)
    assert high > 4e4
    assert 1000 in count_ticks(image)
    norm = stretch(image)
    assert norm(1000) < 0.5 < norm(4e4)
    for nothing in (np.full((4, 4), np.nan), np.zeros((4, 4))):
        low, high = robust_levels(nothing)[2:]
        assert low < high
        assert all(np.isfinite(count_ticks(nothing)))


@pytest.mark.parametrize("shape", [(9, 9), (700, 30), (30, 700)])
def test_pictures_of_any_shape_are_drawn(tmp_path, shape):
    image = np.random.default_rng(3).normal(size=shape).astype(np.float32)
    image[0] = np.nan
    mark = Markers(np.array([1.0]), np.array([2.0]), "1 star", "o", "#0072B2")
    sheet = ImageSheet(thumbnail_of(image, (image > 2).astype(int)), ("a title " * 40,), markers=(mark,))
    draw_image(sheet, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
