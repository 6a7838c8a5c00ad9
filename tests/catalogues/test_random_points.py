"""Random points: as many as density times free area, uniform on what is free, none elsewhere, no overlap doubled."""

import hpgeom
import numpy as np
import pytest
from astropy.io import fits
from scipy.stats import chi2

from shapempi.catalogues.random_points import draw_points, free_pixels
from shapempi.ids import TileId
from shapempi.survey.grid import primary_of
from shapempi.tile_grid import CFIS_GRID
from shapempi.wcs import Wcs

#: Pixels of the tests' tiles [arcsec]: a tile of 0.516 degrees has 465 of them.
SCALE, SIDE = 4.0, 465
TILE = TileId(241, 293)
#: Probability with which a statistical test may fail by chance; seeds are fixed, so it does so always or never.
CHANCE = 1e-4


def tile_wcs(tile):
    """Return the WCS of a tile: TAN at its centre."""
    ra, dec = CFIS_GRID.centre(tile)
    cards = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": ra, "CRVAL2": dec}
    cards |= {"CRPIX1": (SIDE + 1) / 2, "CRPIX2": (SIDE + 1) / 2, "CD1_1": -SCALE / 3600, "CD2_2": SCALE / 3600}
    return Wcs(fits.Header(cards).tostring())


@pytest.fixture(scope="module")
def mask():
    """Return a mask with a frame, disks and single pixels, of several bits."""
    rng = np.random.default_rng(1)
    plane = np.zeros((SIDE, SIDE), np.int16)
    y, x = np.mgrid[:SIDE, :SIDE]
    for bit, (y0, x0, r) in enumerate(rng.uniform((0, 0, 5), (SIDE, SIDE, 60), (12, 3))):
        plane[(y - y0) ** 2 + (x - x0) ** 2 < r**2] |= 1 << (bit % 10)
    plane[:7], plane[:, -9:] = 1, 2
    plane[rng.random(plane.shape) < 0.05] |= 64
    return plane


def chi_square(count, expected):
    """Return the probability of counts at least as far from expectation as these."""
    return chi2.sf(np.sum((count - expected) ** 2 / expected), len(count) - 1)


def test_points_lie_on_free_pixels_and_uniformly(mask):
    region = free_pixels(mask, tile_wcs(TILE), TILE, None)
    n_point = 200_000
    ra, dec, x, y, kept = draw_points(region, n_point, np.random.default_rng(2))
    assert (len(ra), kept) == (n_point, 1.0)
    np.testing.assert_allclose(region.wcs.pixel_to_sky(x, y), (ra, dec), rtol=0, atol=1e-12)
    column, row = (np.floor(v + 0.5).astype(int) for v in (x, y))
    assert np.all(mask[row, column] == 0)
    free = (mask == 0).astype(float)
    # The number in squares of 31 pixels goes with their free area; in a pixel all places are alike.
    expected = free.reshape(15, 31, 15, 31).sum(axis=(1, 3)).ravel()
    count = np.bincount(15 * (row // 31) + column // 31, minlength=225)
    used = expected > 0
    assert count[~used].sum() == 0
    assert chi_square(count[used], n_point * expected[used] / free.sum()) > CHANCE
    for part in (x + 0.5 - column, y + 0.5 - row):
        assert chi_square(np.bincount((part * 10).astype(int), minlength=10), np.full(10, n_point / 10)) > CHANCE


def test_areas_are_those_on_the_sphere(mask):
    wcs = tile_wcs(TILE)
    whole = free_pixels(np.zeros_like(mask), wcs, TILE, None)
    # The solid angle of a tangential square of side 2 a: 4 asin(a^2 / (1 + a^2)).
    half = SIDE * SCALE / 2 / 3600
    a = np.radians(half)
    exact = 4 * np.arcsin(a**2 / (1 + a**2)) * np.degrees(1) ** 2
    assert whole.area == whole.unmasked == pytest.approx(exact, rel=1e-6)
    part = free_pixels(mask, wcs, TILE, None)
    assert part.area == whole.area
    assert part.unmasked == pytest.approx(exact * np.mean(mask == 0), rel=1e-4)  # pixels differ by 6e-5
    # The cell of the grid: half a degree in declination, 1/(2 cos) in right ascension; its border cuts pixels.
    dec = np.radians(CFIS_GRID.centre(TILE)[1])
    top, bottom = np.sin(dec + np.radians(0.25)), np.sin(dec - np.radians(0.25))
    cell = 0.5 / np.cos(dec) * np.degrees(top - bottom)
    own = free_pixels(np.zeros_like(mask), wcs, TILE, neighbours(TILE))
    assert abs(own.area - cell) < 0.2 * 4 * 0.5 * SCALE / 3600  # a fifth of a pixel along the border
    assert own.area < 0.95 * whole.area


def neighbours(tile):
    """Return the tiles around a tile and that tile, as a survey has them."""
    ra, _ = CFIS_GRID.centre(tile)
    found = {tile}
    for row in (-1, 0, 1):
        y = tile.y + row
        cos = np.cos(np.radians(y / 2 - 90))
        centre = round(2 * ra * cos)
        found |= {TileId(centre + k, y) for k in (-2, -1, 0, 1, 2)}
    return sorted(found)


def test_overlaps_are_not_doubled():
    """Points of nine tiles over a field: one density everywhere, borders of the cells included."""
    tiles = neighbours(TILE)
    density = 40_000.0
    ra0, dec0 = CFIS_GRID.centre(TILE)
    points = []
    for tile in tiles:
        region = free_pixels(np.zeros((SIDE, SIDE), np.uint8), tile_wcs(tile), tile, tiles)
        n_point = round(density * region.unmasked)
        ra, dec, *_ = draw_points(region, n_point, np.random.default_rng([3, tile.x, tile.y]))
        assert np.all(primary_of(ra, dec, tiles) == tiles.index(tile))
        points.append((ra, dec))
    ra, dec = np.concatenate(points, axis=1)
    # In HEALPix pixels of equal area (3.4 arcmin), some of which the borders of cells cross.
    near = (abs(dec - dec0) < 0.35) & (abs(ra - ra0) * np.cos(np.radians(dec0)) < 0.35)
    pixels = np.asarray(hpgeom.angle_to_pixel(1024, ra[near], dec[near]))
    centres = np.unique(pixels)
    lon, lat = hpgeom.pixel_to_angle(1024, centres)
    inner = (abs(lat - dec0) < 0.28) & (abs(lon - ra0) * np.cos(np.radians(dec0)) < 0.28)
    count = np.bincount(np.searchsorted(centres, pixels), minlength=len(centres))[inner]
    expected = density * hpgeom.nside_to_pixel_area(1024)
    assert len(count) > 80
    assert chi2.sf(np.sum((count - expected) ** 2 / expected), len(count)) > CHANCE
    assert chi2.cdf(np.sum((count - expected) ** 2 / expected), len(count)) > CHANCE


def test_what_is_accepted_is_found_and_told(mask):
    region = free_pixels(mask, tile_wcs(TILE), TILE, None)
    ra0, _ = CFIS_GRID.centre(TILE)
    ra, _, _, _, kept = draw_points(region, 20_000, np.random.default_rng(4), lambda ra, dec: ra < ra0)
    assert len(ra) == 20_000 and np.all(ra < ra0)
    y, x = np.nonzero(region.free)
    west = np.mean(region.wcs.pixel_to_sky(x, y)[0] < ra0)
    assert abs(kept - west) < 4 * np.sqrt(west * (1 - west) / 40_000)
    nowhere = draw_points(region, 50, np.random.default_rng(4), lambda ra, dec: np.zeros(len(ra), bool))
    assert len(nowhere[0]) == 0 and nowhere[4] == 0


def test_a_tile_without_free_pixels_has_no_points():
    region = free_pixels(np.ones((SIDE, SIDE), np.uint8), tile_wcs(TILE), TILE, None)
    ra, _, _, _, kept = draw_points(region, 10, np.random.default_rng(1))
    assert len(ra) == 0 and np.isnan(kept) and region.unmasked == 0 and region.area > 0.26


def test_the_seed_decides(mask):
    region = free_pixels(mask, tile_wcs(TILE), TILE, None)
    first, again, other = (draw_points(region, 100, np.random.default_rng(seed))[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.all(first != other)
