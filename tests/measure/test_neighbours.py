"""Neighbours' pixels and territory in the stamps of CCDs, as the sky has them."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_survey
from kernels import twins

from shapempi.flags import PixelFlag
from shapempi.ids import CcdId
from shapempi.measure.detect import DetectionParams, detect
from shapempi.measure.epochs import find_epochs
from shapempi.measure.neighbours import NEIGHBOURS, TileSegmentation
from shapempi.measure.pixel_source import ArraySource, Frame
from shapempi.measure.vignets import CcdSection, VignetParams, cut_stacks, segmentation_box

SIZE = 51
HALF = SIZE // 2
SHAPE = (160, 160)
BITS = int(PixelFlag.NEIGHBOUR | PixelFlag.TERRITORY)

#: CCDs by what the sky is on their pixels, a multiple of the tile's: upright, upside down, turned, sheared, mirrored.
CCDS = {
    "upright": (-1.0, 0.0, 0.0, 1.0),
    "upside down": (1.0, 0.0, 0.0, -1.0),
    "turned": (-0.8, 0.6, 0.6, 0.8),
    "sheared": (-1.05, 0.05, 0.05, 0.95),
    "mirrored": (1.0, 0.0, 0.0, 1.0),
    "larger pixels": (-1.3, 0.0, 0.0, 1.3),
}


def tile_wcs():
    return tiny_survey.tan_wcs(tiny_survey.RA, tiny_survey.DEC, (101.3, 101.2))


def section(ccd, wcs):
    plane = np.zeros(SHAPE, np.float32)
    flag = plane.astype(np.int32)
    return CcdSection(ccd, (0, 0), plane, plane + 1, flag, plane, (0, SHAPE[0], 0, SHAPE[1]), 1.0, wcs, None)


def all_sections():
    """One exposure of the middle of the tile for each kind of CCD."""
    ra, dec = tiny_survey.RA, tiny_survey.DEC
    return [
        section(CcdId(2000001 + i, 5), tiny_survey.tan_wcs(ra, dec, (80.4 - i, 81.3 + 0.3 * i), cd))
        for i, cd in enumerate(CCDS.values())
    ]


def cut(plane, x, y, number, neighbours="uberseg", sections=None):
    """Flags of objects in all CCDs, and the epochs."""
    wcs = tile_wcs()
    sections = sections or all_sections()
    ra, dec = wcs.pixel_to_sky(x, y)
    epochs = find_epochs(ra, dec, [(each.ccd, each.wcs, each.valid_box) for each in sections])
    segmentation = TileSegmentation(plane, (0, 0), wcs, x, y)
    params = VignetParams(size=SIZE, neighbours=neighbours)
    result = cut_stacks(np.asarray(number), epochs, sections, params, segmentation=segmentation)
    assert len(result.dropped) == 0
    return result.stacks.flag, epochs


def pixels_on_tile(row, sections):
    """Tile positions of a stamp's pixels, through both WCS in full."""
    wcs = next(each.wcs for each in sections if each.ccd.exposure == row["exposure"])
    y, x = np.mgrid[-HALF : HALF + 1, -HALF : HALF + 1] + np.rint([row["y"], row["x"]]).reshape(2, 1, 1)
    return (v.reshape(SIZE, SIZE) for v in tile_wcs().sky_to_pixel(*wcs.pixel_to_sky(x.ravel(), y.ravel())))


def blobs(x, y, sigma=2.5, flux=3000.0, shape=(200, 200)):
    gy, gx = np.indices(shape)
    image = np.zeros(shape)
    for xi, yi in zip(x, y, strict=True):
        image += flux / (2 * np.pi * sigma**2) * np.exp(-((gx - xi) ** 2 + (gy - yi) ** 2) / (2 * sigma**2))
    return image


def test_two_equal_gaussians_are_divided_by_their_bisector():
    """Detected as on a tile; within a pixel of the line half-way, in every CCD."""
    x, y = np.array([100.3, 112.1]), np.array([100.4, 106.2])
    image = blobs(x, y).astype(np.float32)
    source = ArraySource(image, np.ones_like(image), np.zeros(image.shape, np.int16))
    frame = Frame(tile_wcs(), gain=0.0, saturate=np.inf, mag_zp=30.0)
    found = detect(source, frame, DetectionParams(rescale_weights=False))
    assert len(found.table) == 2
    order = np.argsort(found.table["X_IMAGE"])
    flags, epochs = cut(found.segmentation, x, y, found.table["NUMBER"][order])
    sections = all_sections()
    assert len(epochs) == 2 * len(CCDS)
    away = np.array([x[1] - x[0], y[1] - y[0]])
    length = np.hypot(*away)
    for flag, row in zip(flags, epochs, strict=True):
        tx, ty = pixels_on_tile(row, sections)
        sign = 1 - 2 * row["object"]
        side = sign * ((tx - x.mean()) * away[0] + (ty - y.mean()) * away[1]) / length
        lost = flag & BITS != 0
        inside = np.maximum(np.abs(tx - x[row["object"]]), np.abs(ty - y[row["object"]])) < SIZE
        # A pixel near the pair; farther away its two segments look the same from places that are farther apart.
        doubtful = np.maximum(1.0, 0.06 * np.hypot(tx - x.mean(), ty - y.mean()))
        assert lost[inside & (side > doubtful)].all()
        assert not lost[side < -doubtful].any()
        assert 0.2 < lost.mean() < 0.5


def crowd(seed=2, n=30):
    """Discs on the tile, the first few in the middle; their plane, positions and numbers."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(50, 150, (2, n))
    x[:4], y[:4] = (95.2, 106.7, 99.6, 111.4), (97.7, 101.2, 110.9, 89.5)
    plane = np.zeros((200, 200), np.int32)
    gy, gx = np.indices(plane.shape)
    for i in range(n):
        plane[np.hypot(gx - x[i], 1.3 * (gy - y[i])) < rng.uniform(1, 4)] = i + 1
    return plane, x, y, np.arange(1, n + 1)


def test_the_territory_is_the_same_on_the_sky_however_a_ccd_lies():
    """Every stamp pixel is followed through the full WCS to the tile and compared with all segmented pixels there."""
    plane, x, y, number = crowd()
    rows = np.arange(4)
    flags, epochs = cut(plane, x[rows], y[rows], number[rows])
    xc, yc = (np.rint(v[rows]).astype(np.int64) for v in (x, y))
    expected = np.pad(twins.territory(plane, number[rows], xc, yc, SIZE), ((0, 0), (1, 1), (1, 1)))
    meaning = np.array([0, int(PixelFlag.NEIGHBOUR), int(PixelFlag.TERRITORY)])
    sections = all_sections()
    assert len(epochs) == 4 * len(CCDS)
    for flag, row in zip(flags, epochs, strict=True):
        tx, ty = pixels_on_tile(row, sections)
        k = row["object"]
        column, line = (np.rint(t).astype(int) - c + SIZE for t, c in ((tx, xc[k]), (ty, yc[k])))
        window = expected[k][line.clip(-1, 2 * SIZE + 1) + 1, column.clip(-1, 2 * SIZE + 1) + 1]
        assert (flag != meaning[window]).sum() <= 2  # pixels that the affine approximation rounds the other way
        assert {0, *meaning} == set(np.unique(flag).tolist())


def test_uberseg_adds_territory_to_what_the_mask_takes():
    plane, x, y, number = crowd()
    none, mask, uberseg = (cut(plane, x[:4], y[:4], number[:4], name)[0] for name in NEIGHBOURS)
    assert list(NEIGHBOURS) == ["none", "mask", "uberseg"]
    assert not none.any()
    np.testing.assert_array_equal(uberseg & int(PixelFlag.NEIGHBOUR), mask)
    assert not (uberseg[mask != 0] & int(PixelFlag.TERRITORY)).any()
    assert (mask != 0).mean() < 0.15 and (uberseg != 0).mean() > 0.4


def test_sections_and_epochs_of_others_do_not_matter():
    plane, x, y, number = crowd()
    wcs, sections = tile_wcs(), all_sections()
    whole = cut(plane, x[:4], y[:4], number[:4])[0]
    ra, dec = wcs.pixel_to_sky(x, y)
    for k in range(4):
        box = segmentation_box(x[k : k + 1], y[k : k + 1], SIZE, plane.shape)
        part = plane[box[0] : box[1], box[2] : box[3]]
        epochs = find_epochs(ra[k : k + 1], dec[k : k + 1], [(s.ccd, s.wcs, s.valid_box) for s in sections])
        segmentation = TileSegmentation(part, (box[0], box[2]), wcs, x[k : k + 1], y[k : k + 1])
        params = VignetParams(size=SIZE, neighbours="uberseg")
        one = cut_stacks(number[k : k + 1], epochs, sections[::-1], params, segmentation=segmentation, n_threads=2)
        np.testing.assert_array_equal(one.stacks.flag, whole[k * len(CCDS) : (k + 1) * len(CCDS)])


def test_an_object_without_pixels_of_its_own_is_the_one_at_its_position():
    plane, x, y, number = crowd()
    plane[plane == 1] = 0
    bare = cut(plane, x[:1], y[:1], number[:1])[0]
    seed = plane.copy()
    seed[round(y[0]), round(x[0])] = 1
    np.testing.assert_array_equal(bare, cut(seed, x[:1], y[:1], number[:1])[0])
    assert (bare[:, HALF, HALF] == 0).all()


def test_an_object_in_the_middle_of_another_one_loses_what_is_around_it():
    """Nothing can be measured of it: the core is the other object's, and every epoch is rejected for that."""
    gy, gx = np.indices((200, 200))
    plane = (np.hypot(gx - 100, gy - 100) < 12).astype(np.int32) * 2
    flag, _ = cut(plane, np.array([100.2]), np.array([99.9]), [1])
    assert (flag & int(PixelFlag.NEIGHBOUR) != 0).mean() > 0.1
    assert (flag[:, HALF - 3 : HALF + 4, HALF - 3 : HALF + 4] != 0).all()


def test_without_a_segmentation_nobody_has_neighbours():
    sections = all_sections()
    ra, dec = tile_wcs().pixel_to_sky(np.array([100.0]), np.array([100.0]))
    epochs = find_epochs(ra, dec, [(each.ccd, each.wcs, each.valid_box) for each in sections])
    for name in NEIGHBOURS:
        result = cut_stacks(np.array([1]), epochs, sections, VignetParams(size=SIZE, neighbours=name))
        assert not result.stacks.flag.any()


@pytest.mark.parametrize("name", list(NEIGHBOURS))
def test_objects_without_position_or_epoch_disturb_nobody(name):
    plane, x, y, number = crowd()
    wcs, sections = tile_wcs(), all_sections()
    ra, dec = wcs.pixel_to_sky(x[:3], y[:3])
    epochs = find_epochs(ra, dec, [(each.ccd, each.wcs, each.valid_box) for each in sections])
    epochs = epochs[epochs["object"] == 2]
    params = VignetParams(size=SIZE, neighbours=name)

    def flags(x, y):
        segmentation = TileSegmentation(plane, (0, 0), wcs, x, y)
        return cut_stacks(number[:3], epochs, sections, params, segmentation=segmentation).stacks.flag

    hostile_x, hostile_y = x[:3].copy(), y[:3].copy()
    hostile_x[:2], hostile_y[:2] = (np.nan, 1e300), (np.inf, -1e12)
    np.testing.assert_array_equal(flags(hostile_x, hostile_y), flags(x[:3], y[:3]))
