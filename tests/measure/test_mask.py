"""Masks: areas and places of templates by geometry, border, deep-sky objects, flags, sections, tiles."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from measure.sky import header, image, wcs

from shapempi.errors import DataError
from shapempi.flags import PixelFlag
from shapempi.measure.mask import BrightStars, MaskParams, MaskRecipe, bright_stars, make_mask
from shapempi.measure.mask_template import halo_vertices, spike_vertices
from shapempi.measure.sky_object import DeepSkyTable, deep_sky_ellipses
from shapempi.wcs import Wcs

TILE = MaskParams(border_width=0)
PIVOT = 13.8


def mask_of(img, stars, params, *deep_sky, **keys):
    return make_mask(img, stars, MaskRecipe(params, deep_sky=deep_sky), **keys)


def table(ra, dec, major, minor, angle, kind):
    """A catalogue of extended objects; numbers stand for all rows."""
    return DeepSkyTable(*np.broadcast_arrays(*(np.asarray(v, float) for v in (ra, dec, major, minor, angle))), kind)


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
    assert np.allclose(np.hypot(halo[:, 0] - 5.5, halo[:, 1] + 1.3), 269.0, atol=1e-3)
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
    mask = mask_of(image((800, 900)), star(450.3, 400.6, mag), TILE)
    assert area(mask, PixelFlag.HALO) == pytest.approx(scale**2 * shoelace(halo_vertices()), rel=2e-3)
    assert centroid(mask.plane, PixelFlag.HALO) == pytest.approx((450.3 + scale * 5.5, 400.6 - scale * 1.3), abs=0.05)
    assert mask.fractions["HALO"] == area(mask, PixelFlag.HALO) / (800 * 900)
    assert mask.n_star == 1


def test_spike_scale_and_its_floor():
    params = TILE.model_copy(update={"halo_make": False})
    full = shoelace(spike_vertices())
    assert area(mask_of(image((500, 500)), star(250, 250, PIVOT), params), 128) == pytest.approx(full, rel=5e-3)
    # 1 - 0.3 (17.9 - 13.8) is negative: the floor of 0.05 keeps a small polygon the right way round.
    faint = mask_of(image((500, 500)), star(250, 250, 17.9), params)
    assert 0 < area(faint, 128) < 0.05**2 * full * 1.5
    assert area(mask_of(image((500, 500)), star(250, 250, 18.0), params), 128) == 0


def test_the_wcs_turns_and_mirrors_the_templates():
    """North up, East left is the template itself; a CCD upside down has it rotated by half, a mirrored one mirrored."""
    shape, one = (601, 601), star(300, 300, 12.5)
    normal = mask_of(image(shape), one, TILE).plane
    expected = {180.0: normal[::-1, ::-1], 90.0: np.rot90(normal), -90.0: np.rot90(normal, -1)}
    for angle, plane in expected.items():
        turned = mask_of(image(shape, angle=angle), one, TILE).plane
        assert not np.array_equal(turned, normal)
        assert np.array_equal(turned, plane), angle
    mirrored = mask_of(image(shape, mirrored=True), one, TILE).plane
    assert np.array_equal(mirrored, normal[:, ::-1]) and not np.array_equal(mirrored, normal)


def test_a_template_points_to_the_sky():
    """The long arm of the spikes (West) and the next (North) lie there, however the image is turned."""
    for turn in ({}, {"angle": 33.0}, {"angle": 200.0, "mirrored": True}):
        img = image((601, 601), **turn)
        plane = mask_of(img, star(300, 300, PIVOT), TILE).plane
        ra, dec = (v[0] for v in img.wcs.pixel_to_sky(np.array([300.0]), np.array([300.0])))
        step = 0.2 / 3600
        west = ra - 188 * step / np.cos(np.radians(dec)), ra + 188 * step / np.cos(np.radians(dec))
        north = dec + 184 * step, dec - 184 * step
        x, y = np.rint(img.wcs.sky_to_pixel(np.array([*west, ra, ra]), np.array([dec, dec, *north]))).astype(int)
        assert (plane[y, x] != 0).tolist() == [True, False, True, False], turn


def test_a_template_in_pixels_of_its_own_has_its_size_on_the_sky():
    """A template in pixels of 0.1 arcsec is half as large on an image with pixels of 0.2, and reaches half as far."""
    own = TILE.model_copy(update={"template_scale": 0.1, "spike_make": False})
    same = TILE.model_copy(update={"template_scale": 0.2, "spike_make": False})
    small, large = (mask_of(image((700, 700)), star(350, 350, 12.0), params) for params in (own, same))
    full = 1.09**2 * shoelace(halo_vertices())
    assert area(large, PixelFlag.HALO) == pytest.approx(full, rel=2e-3)
    assert area(small, PixelFlag.HALO) == pytest.approx(full / 4, rel=2e-3)
    w = wcs((300, 300))
    ra, dec = w.pixel_to_sky(np.array([-120.0, -200.0]), np.array([150.0, 150.0]))
    mag = np.array([12.0, 12.0])
    assert len(bright_stars(ra, dec, mag, w, (300, 300), MaskRecipe(same)).x) == 2
    assert len(bright_stars(ra, dec, mag, w, (300, 300), MaskRecipe(own)).x) == 1


def test_a_million_stars_are_no_matter():
    """As many polygons as pixels: seconds, and no array of all their corners."""
    rng = np.random.default_rng(2)
    n, shape = 1_000_000, (400, 500)
    stars = BrightStars(rng.uniform(-50, 550, n), rng.uniform(-50, 450, n), rng.uniform(17.0, 18.0, n))
    tracemalloc.start()
    mask = mask_of(image(shape), stars, TILE)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert mask.counts["SPIKE"] > 500_000 and mask.counts["HALO"] == 0
    assert mask.fractions["SPIKE"] > 0.99
    assert peak < 400e6


def test_stars_outside_reach_in_and_far_ones_do_not():
    near = mask_of(image((300, 300)), star(-200, 150, 12.0), TILE)
    assert 0 < area(near, PixelFlag.HALO) < 0.5 * 300 * 300
    assert near.plane[150, 0] & PixelFlag.HALO and not near.plane[150, 299] & PixelFlag.HALO
    assert not mask_of(image((300, 300)), star(-400, 150, 12.0), TILE).plane.any()
    assert not mask_of(image((300, 300)), BrightStars.none(), TILE).plane.any()


def test_border_is_counted_from_the_part_with_sky():
    box = (5, 95, 32, 190)
    mask = mask_of(image((100, 200), valid_box=box), BrightStars.none(), MaskParams(border_width=10))
    good = np.zeros((100, 200), bool)
    good[15:85, 42:180] = True
    assert np.array_equal(mask.plane == 0, good)
    assert set(np.unique(mask.plane)) == {0, 4}
    other = MaskParams(border_width=10, border_bit=64)
    assert set(np.unique(mask_of(image((100, 200), valid_box=box), BrightStars.none(), other).plane)) == {0, 64}
    none = mask_of(image((100, 200)), BrightStars.none(), MaskParams(border_width=0))
    assert not none.plane.any() and none.fractions["ANY"] == 0


def test_bits_are_or_ed_not_added():
    flag = np.zeros((100, 100), np.int32)
    flag[:, :50] = 2
    flag[0, 0] = 4 | 512
    img = image((100, 100), flag=flag)
    mask = mask_of(img, star(50, 50, 12.0), MaskParams(border_width=3))
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
    mask = mask_of(image((9, 9), flag=np.full((9, 9), bit, np.int32)), BrightStars.none(), TILE)
    assert mask.compact().dtype == dtype and np.array_equal(mask.compact(), mask.plane)


def test_unusable_weights_and_values():
    weight, data = np.ones((20, 30), np.float32), np.ones((20, 30), np.float32)
    weight[1, 2], weight[3, 4], weight[5, 6], weight[7, 8] = 0, -1, np.nan, np.inf
    data[9, 10] = np.nan
    mask = mask_of(image((20, 30), weight=weight, data=data), BrightStars.none(), TILE)
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
    mask = mask_of(img, BrightStars.none(), params)
    assert mask.missing_ratio == pytest.approx(0.4) and mask.missing and not mask.remove
    remove = params.model_copy(update={"missing_remove": True})
    assert mask_of(img, BrightStars.none(), remove).remove
    assert not mask_of(img, BrightStars.none(), MaskParams(missing_flag_ratio=0.41)).missing


def test_a_section_has_the_mask_of_the_whole():
    rng = np.random.default_rng(5)
    stars = BrightStars(rng.uniform(-300, 700, 12), rng.uniform(-300, 600, 12), rng.uniform(8, 17.5, 12))
    shape, box = (300, 400), (3, 290, 8, 395)
    ra, dec = wcs(shape, angle=180.0).pixel_to_sky(np.array([100.0]), np.array([320.0]))
    galaxies = table(ra, dec, 18.0, 6.0, 40.0, PixelFlag.NGC)
    whole = mask_of(image(shape, valid_box=box, angle=180.0), stars, MaskParams(), galaxies)
    part = image((120, 150), origin=(100, 77), full_shape=shape, valid_box=box, angle=180.0)
    section = mask_of(part, stars, MaskParams(), galaxies, n_threads=2)
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
    stars = bright_stars(ra, dec, np.append(mag, 12.0), w, shape, MaskRecipe(MaskParams()))
    # 12.0 has a halo of 1.09 x 274 pixels; 14.5 has spikes only, 0.79 x 192 pixels.
    assert np.allclose(stars.x, x[[0, 1, 5, 7]], atol=1e-3)
    assert np.allclose(stars.y, y[[0, 1, 5, 7]], atol=1e-3)
    assert np.array_equal(stars.mag, mag[[0, 1, 5, 7]])
    # Whatever was left out does not touch the image.
    everything = BrightStars(x[:6], y[:6], mag[:6])
    all_, few = (mask_of(image(shape), s, TILE).plane for s in (everything, stars))
    assert np.array_equal(all_ | few, few)
    none = MaskRecipe(MaskParams(halo_make=False, spike_make=False))
    assert len(bright_stars(ra, dec, np.append(mag, 12.0), w, shape, none).x) == 0


def test_deep_sky_objects_inside_the_image_and_around_it():
    shape = (500, 600)
    w = wcs(shape, angle=0.0)
    x, y = np.array([300.0, -50.0, 300.0, 2000.0]), np.array([250.0, 250.0, 250.0, 250.0])
    ra, dec = w.pixel_to_sky(x, y)
    major = np.array([10.0, 12.0, 10.0, 12.0])  # arcsec: 50 and 60 pixels
    minor = np.array([4.0, 12.0, np.nan, 12.0])
    angle = np.array([0.0, np.nan, 0.0, 0.0])
    found = deep_sky_ellipses(table(ra, dec, major, minor, angle, PixelFlag.MESSIER), w, shape)
    assert np.allclose(found.x, x[:3], atol=1e-3) and found.kind is PixelFlag.MESSIER
    assert np.allclose(found.a, [50, 60, 50], rtol=1e-4) and np.allclose(found.b, [20, 60, 50], rtol=1e-4)
    # Position angle 0 is North: along y in this WCS.
    assert abs(np.sin(found.theta[0])) == pytest.approx(1.0, abs=1e-5)
    one = table(ra[:1], dec[:1], major[:1], minor[:1], angle[:1], PixelFlag.MESSIER)
    mask = mask_of(image(shape), BrightStars.none(), TILE, one)
    assert mask.counts == {"HALO": 0, "SPIKE": 0, "MESSIER": 1, "NGC": 0}
    assert area(mask, PixelFlag.MESSIER) == pytest.approx(np.pi * 50 * 20, rel=0.01)
    assert mask.plane[299, 300] and not mask.plane[250, 325]
    larger = TILE.model_copy(update={"messier_size_plus": 0.5})
    grown = mask_of(image(shape), BrightStars.none(), larger, one)
    assert area(grown, PixelFlag.MESSIER) == pytest.approx(2.25 * np.pi * 50 * 20, rel=0.01)
    off = TILE.model_copy(update={"messier_make": False})
    assert not mask_of(image(shape), BrightStars.none(), off, one).plane.any()
    # Far outside; enlarged, it reaches in.
    far = table(ra[3:], dec[3:], major[3:], minor[3:], angle[3:], PixelFlag.NGC)
    assert len(deep_sky_ellipses(far, w, shape).x) == 0
    assert len(deep_sky_ellipses(far, w, shape, growth=24.0).x) == 1
    assert mask_of(image(shape), BrightStars.none(), TILE.model_copy(update={"ngc_size_plus": 23.0}), far).plane.any()
    with pytest.raises(DataError, match="MESSIER or NGC"):
        table(ra, dec, major, minor, angle, PixelFlag.HALO)


def test_a_galaxy_of_degrees_is_masked_where_the_distorted_wcs_knows_nothing_of_its_centre():
    """M31's half axes are 89' and 35': on an image a degree from its centre along the major axis, and beside it."""
    names = [f"PV{axis}_{k}" for axis in (1, 2) for k in (1, 7)]
    pv = dict(zip(names, (1.0, 3.0, 1.0, 3.0), strict=True))  # a distortion that has no inverse one degree away
    pa, ra0, dec0 = np.radians(35.0), 10.685, 41.269
    galaxy = table([ra0], [dec0], 89.0 * 60, 35.0 * 60, 35.0, PixelFlag.MESSIER)
    for along, across, inside in ((1.0, 0.0, True), (0.0, 0.4, True), (0.0, 0.8, False), (1.8, 0.0, False)):
        dx, dy = along * np.sin(pa) + across * np.cos(pa), along * np.cos(pa) - across * np.sin(pa)
        ra, dec = ra0 + dx / np.cos(np.radians(dec0 + dy)), dec0 + dy
        img = image((300, 400))
        cards = fits.Header.fromstring(header((300, 400), ra=ra, dec=dec))
        cards.update({"CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV"} | pv)
        img = replace(img, wcs=Wcs(cards.tostring()))
        mask = mask_of(img, BrightStars.none(), TILE, galaxy)
        assert mask.fractions["MESSIER"] == float(inside), (along, across)


def test_position_angle_turns_from_north_to_east():
    shape = (500, 600)
    for turn in (0.0, 70.0, 200.0):
        w = wcs(shape, angle=turn)
        ra, dec = w.pixel_to_sky(np.array([300.0]), np.array([250.0]))
        found = deep_sky_ellipses(table(ra, dec, 10.0, 4.0, 35.0, PixelFlag.NGC), w, shape)
        # A point on the sky in the direction of the position angle lies on the major axis.
        step = 5 / 3600
        ahead_ra = ra + step * np.sin(np.radians(35.0)) / np.cos(np.radians(dec))
        ahead_dec = dec + step * np.cos(np.radians(35.0))
        ax, ay = w.sky_to_pixel(ahead_ra, ahead_dec)
        direction = np.arctan2(ay - found.y, ax - found.x)
        assert np.abs(np.sin(direction - found.theta)) == pytest.approx(0.0, abs=1e-3)
