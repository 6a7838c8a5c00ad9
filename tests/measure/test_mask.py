"""Masks: areas and places of templates by geometry, border, deep-sky objects, flags, sections, tiles."""

import numpy as np
import pytest
from measure.sky import image, wcs

from shapempi.errors import DataError
from shapempi.flags import PixelFlag
from shapempi.measure.mask import BrightStars, MaskParams, bright_stars, make_mask
from shapempi.measure.mask_template import halo_vertices, spike_vertices
from shapempi.measure.sky_object import DeepSky, deep_sky_ellipses

TILE = MaskParams(border_width=0)
PIVOT = 13.8


def star(x, y, mag):
    return BrightStars(np.array([x], float), np.array([y], float), np.array([mag], float))


def shoelace(vertices):
    x, y = vertices.T
    return 0.5 * abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))


def area(mask, bit):
    return np.count_nonzero(mask.plane & int(bit))


def centroid(plane, bit):
    y, x = np.nonzero(plane & int(bit))
    return x.mean(), y.mean()


def test_templates_have_the_published_geometry():
    halo, spike = halo_vertices(), spike_vertices()
    assert halo.shape == (50, 2) and spike.shape == (24, 2)
    assert np.allclose(np.hypot(halo[:, 0] - 5.5, halo[:, 1] + 1.3), 269.0)
    assert (spike[:, 0].min(), spike[:, 0].max()) == pytest.approx((-177, 192))
    assert (spike[:, 1].min(), spike[:, 1].max()) == pytest.approx((-155, 188))
    radius = np.hypot(*spike.T)
    core = radius[radius < 100]
    assert len(core) == 16 and 55 < core.min() and core.max() < 70
    tips = spike[radius > 100].reshape(4, 2, 2)
    widths = np.hypot(*(tips[:, 0] - tips[:, 1]).T)
    assert widths.min() >= 6 and widths.max() <= 13
    # Counter-clockwise and simple: the angles of the corners grow around the star.
    angle = np.unwrap(np.arctan2(spike[:, 1], spike[:, 0]))
    assert np.all(np.diff(angle) > 0) and angle[-1] - angle[0] < 2 * np.pi


@pytest.mark.parametrize(("mag", "scale"), [(10.0, 1.19), (12.0, 1.09)])
def test_halo_has_the_scaled_area_and_place(mag, scale):
    mask = make_mask(image((800, 900)), star(450.3, 400.6, mag), TILE, upside_down=False)
    assert area(mask, PixelFlag.HALO) == pytest.approx(scale**2 * shoelace(halo_vertices()), rel=2e-3)
    assert centroid(mask.plane, PixelFlag.HALO) == pytest.approx((450.3 + scale * 5.5, 400.6 - scale * 1.3), abs=0.05)
    assert mask.fractions["HALO"] == area(mask, PixelFlag.HALO) / (800 * 900)
    assert mask.n_star == 1


def test_spike_scale_and_its_floor():
    params = TILE.model_copy(update={"halo_make": False})
    full = shoelace(spike_vertices())
    assert area(make_mask(image((500, 500)), star(250, 250, PIVOT), params, upside_down=False), 128) == pytest.approx(
        full, rel=5e-3
    )
    # 1 - 0.3 (17.9 - 13.8) is negative: the floor of 0.05 keeps a small polygon the right way round.
    faint = make_mask(image((500, 500)), star(250, 250, 17.9), params, upside_down=False)
    assert 0 < area(faint, 128) < 0.05**2 * full * 1.5
    assert area(make_mask(image((500, 500)), star(250, 250, 18.0), params, upside_down=False), 128) == 0


def test_upside_down_turns_the_templates_by_half():
    normal = make_mask(image((601, 601)), star(300, 300, 12.5), TILE, upside_down=False).plane
    turned = make_mask(image((601, 601)), star(300, 300, 12.5), TILE, upside_down=True).plane
    assert not np.array_equal(normal, turned)
    assert np.array_equal(normal[::-1, ::-1], turned)


def test_stars_outside_reach_in_and_far_ones_do_not():
    near = make_mask(image((300, 300)), star(-200, 150, 12.0), TILE, upside_down=False)
    assert 0 < area(near, PixelFlag.HALO) < 0.5 * 300 * 300
    assert near.plane[150, 0] & PixelFlag.HALO and not near.plane[150, 299] & PixelFlag.HALO
    assert not make_mask(image((300, 300)), star(-400, 150, 12.0), TILE, upside_down=False).plane.any()
    assert not make_mask(image((300, 300)), BrightStars.none(), TILE, upside_down=False).plane.any()


def test_border_is_counted_from_the_part_with_sky():
    box = (5, 95, 32, 190)
    mask = make_mask(
        image((100, 200), valid_box=box), BrightStars.none(), MaskParams(border_width=10), upside_down=False
    )
    good = np.zeros((100, 200), bool)
    good[15:85, 42:180] = True
    assert np.array_equal(mask.plane == 0, good)
    assert set(np.unique(mask.plane)) == {0, 4}
    other = MaskParams(border_width=10, border_bit=64)
    assert set(
        np.unique(make_mask(image((100, 200), valid_box=box), BrightStars.none(), other, upside_down=False).plane)
    ) == {0, 64}
    none = make_mask(image((100, 200)), BrightStars.none(), MaskParams(border_width=0), upside_down=False)
    assert not none.plane.any() and none.fractions["ANY"] == 0


def test_bits_are_or_ed_not_added():
    flag = np.zeros((100, 100), np.int32)
    flag[:, :50] = 2
    flag[0, 0] = 4 | 512
    img = image((100, 100), flag=flag)
    mask = make_mask(img, star(50, 50, 12.0), MaskParams(border_width=3), upside_down=False)
    assert mask.plane[50, 10] == 2 | (mask.plane[50, 10] & 128)
    assert mask.plane[0, 0] & (4 | 512) == 4 | 512
    assert mask.plane.max() < 1024
    assert flag[50, 10] == 2 and flag[50, 60] == 0, "the input is not changed"
    assert mask.fractions["EXTERNAL"] == 0.5
    assert mask.plane.dtype == np.int32


@pytest.mark.parametrize(
    ("bit", "dtype"), [(0, np.uint8), (128, np.uint8), (512, np.int16), (-1, np.int16), (1 << 20, np.int32)]
)
def test_compact_plane_is_the_same_and_as_small_as_can_be(bit, dtype):
    mask = make_mask(image((9, 9), flag=np.full((9, 9), bit, np.int32)), BrightStars.none(), TILE, upside_down=False)
    assert mask.compact().dtype == dtype and np.array_equal(mask.compact(), mask.plane)


def test_unusable_weights_and_values():
    weight, data = np.ones((20, 30), np.float32), np.ones((20, 30), np.float32)
    weight[1, 2], weight[3, 4], weight[5, 6], weight[7, 8] = 0, -1, np.nan, np.inf
    data[9, 10] = np.nan
    mask = make_mask(image((20, 30), weight=weight, data=data), BrightStars.none(), TILE, upside_down=False)
    expected = np.zeros((20, 30), np.int32)
    for y in (1, 3, 5, 7, 9):
        expected[y, y + 1] = 1
    assert np.array_equal(mask.plane, expected)


def test_missing_data_ratio_counts_the_part_with_sky():
    data = np.ones((100, 100), np.float32)
    data[:, :20] = 0  # outside the valid box
    data[:40, 20:] = 0
    img = image((100, 100), data=data, valid_box=(0, 100, 20, 100))
    params = MaskParams(border_width=0, missing_flag_ratio=0.4, missing_remove_ratio=0.4)
    mask = make_mask(img, BrightStars.none(), params, upside_down=False)
    assert mask.missing_ratio == pytest.approx(0.4) and mask.missing and not mask.remove
    remove = params.model_copy(update={"missing_remove": True})
    assert make_mask(img, BrightStars.none(), remove, upside_down=False).remove
    assert not make_mask(img, BrightStars.none(), MaskParams(missing_flag_ratio=0.41), upside_down=False).missing


def test_a_section_has_the_mask_of_the_whole():
    rng = np.random.default_rng(5)
    stars = BrightStars(rng.uniform(-300, 700, 12), rng.uniform(-300, 600, 12), rng.uniform(8, 17.5, 12))
    galaxies = DeepSky(
        np.array([100.0]), np.array([-20.0]), np.array([90.0]), np.array([30.0]), np.array([0.7]), PixelFlag.NGC
    )
    shape, box = (300, 400), (3, 290, 8, 395)
    whole = make_mask(image(shape, valid_box=box), stars, MaskParams(), upside_down=True, deep_sky=[galaxies])
    part = image((120, 150), origin=(100, 77), full_shape=shape, valid_box=box)
    section = make_mask(part, stars, MaskParams(), upside_down=True, deep_sky=[galaxies], n_threads=2)
    assert np.array_equal(section.plane, whole.plane[100:220, 77:227])
    assert len(np.unique(whole.plane)) > 4


def test_sky_stars_are_placed_with_the_reach_of_their_template():
    shape = (300, 400)
    w = wcs(shape, angle=30.0)
    x = np.array([200.0, -250.0, -250.0, 700.0, 5e5, 200.0, 200.0, -400.0])
    y = np.array([150.0, 150.0, 150.0, 150.0, 150.0, -100.0, 150.0, 150.0])
    mag = np.array([12.0, 12.0, 14.5, 12.0, 12.0, 14.5, np.nan, 9.0])
    ra, dec = w.pixel_to_sky(x, y)
    ra, dec = np.append(ra, np.nan), np.append(dec, 30.0)
    stars = bright_stars(ra, dec, np.append(mag, 12.0), w, shape, MaskParams())
    # 12.0 has a halo of 1.09 x 274 pixels; 14.5 has spikes only, 0.79 x 192 pixels.
    assert np.allclose(stars.x, x[[0, 1, 5, 7]], atol=1e-3)
    assert np.allclose(stars.y, y[[0, 1, 5, 7]], atol=1e-3)
    assert np.array_equal(stars.mag, mag[[0, 1, 5, 7]])
    # Whatever was left out does not touch the image.
    everything = BrightStars(x[:6], y[:6], mag[:6])
    all_, few = (make_mask(image(shape), s, TILE, upside_down=False).plane for s in (everything, stars))
    assert np.array_equal(all_ | few, few)
    none = MaskParams(halo_make=False, spike_make=False)
    assert len(bright_stars(ra, dec, np.append(mag, 12.0), w, shape, none).x) == 0


def test_deep_sky_objects_inside_the_image_and_around_it():
    shape = (500, 600)
    w = wcs(shape, angle=0.0)
    x, y = np.array([300.0, -50.0, 300.0, 2000.0]), np.array([250.0, 250.0, 250.0, 250.0])
    ra, dec = w.pixel_to_sky(x, y)
    major = np.array([10.0, 12.0, 10.0, 12.0])  # arcsec: 50 and 60 pixels
    minor = np.array([4.0, 12.0, np.nan, 12.0])
    angle = np.array([0.0, np.nan, 0.0, 0.0])
    found = deep_sky_ellipses(ra, dec, major, minor, angle, w, shape, PixelFlag.MESSIER)
    assert np.allclose(found.x, x[:3], atol=1e-3) and found.kind is PixelFlag.MESSIER
    assert np.allclose(found.a, [50, 60, 50], rtol=1e-4) and np.allclose(found.b, [20, 60, 50], rtol=1e-4)
    # Position angle 0 is North: along y in this WCS.
    assert abs(np.sin(found.theta[0])) == pytest.approx(1.0, abs=1e-5)
    one = DeepSky(*(v[:1] for v in (found.x, found.y, found.a, found.b, found.theta)), found.kind)
    mask = make_mask(image(shape), BrightStars.none(), TILE, upside_down=False, deep_sky=[one])
    assert area(mask, PixelFlag.MESSIER) == pytest.approx(np.pi * 50 * 20, rel=0.01)
    assert mask.plane[299, 300] and not mask.plane[250, 325]
    larger = TILE.model_copy(update={"messier_size_plus": 0.5})
    grown = make_mask(image(shape), BrightStars.none(), larger, upside_down=False, deep_sky=[one])
    assert area(grown, PixelFlag.MESSIER) == pytest.approx(2.25 * np.pi * 50 * 20, rel=0.01)
    off = TILE.model_copy(update={"messier_make": False})
    assert not make_mask(image(shape), BrightStars.none(), off, upside_down=False, deep_sky=[one]).plane.any()
    empty = deep_sky_ellipses(ra[3:], dec[3:], major[3:], minor[3:], angle[3:], w, shape, PixelFlag.NGC)
    assert len(empty.x) == 0
    with pytest.raises(DataError, match="MESSIER or NGC"):
        deep_sky_ellipses(ra, dec, major, minor, angle, w, shape, PixelFlag.HALO)


def test_position_angle_turns_from_north_to_east():
    shape = (500, 600)
    for turn in (0.0, 70.0, 200.0):
        w = wcs(shape, angle=turn)
        ra, dec = w.pixel_to_sky(np.array([300.0]), np.array([250.0]))
        found = deep_sky_ellipses(ra, dec, np.array([10.0]), np.array([4.0]), np.array([35.0]), w, shape, PixelFlag.NGC)
        # A point on the sky in the direction of the position angle lies on the major axis.
        step = 5 / 3600
        ahead_ra = ra + step * np.sin(np.radians(35.0)) / np.cos(np.radians(dec))
        ahead_dec = dec + step * np.cos(np.radians(35.0))
        ax, ay = w.sky_to_pixel(ahead_ra, ahead_dec)
        direction = np.arctan2(ay - found.y, ax - found.x)
        assert np.abs(np.sin(direction - found.theta)) == pytest.approx(0.0, abs=1e-3)
