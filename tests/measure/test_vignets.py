"""Vignets: the pixels of each epoch, where the WCS says they are, with everything outside marked."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_survey
from pydantic import ValidationError

from shapempi.flags import PixelFlag
from shapempi.ids import CcdId
from shapempi.measure.epochs import find_epochs, select_objects
from shapempi.measure.neighbours import TileSegmentation
from shapempi.measure.vignets import (
    CcdSection,
    Dropped,
    VignetParams,
    cut_stacks,
    section_box,
    segmentation_box,
)
from shapempi.psf import PsfModel

RA, DEC = tiny_survey.RA, tiny_survey.DEC
SHAPE = (180, 160)
BOX = (0, 175, 8, 152)
PARAMS = VignetParams(size=31)
FLUX = 5000.0
SIGMA = 2.0


def gaussian(x, y, shape, sigma=SIGMA):
    """Draw a Gaussian of unit flux centred at x, y."""
    gy, gx = np.mgrid[: shape[0], : shape[1]]
    return np.exp(-((gx - x) ** 2 + (gy - y) ** 2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)


def psf_model():
    y, x = np.mgrid[-15:16, -15:16]
    basis = np.exp(-(x**2 + y**2) / (2 * SIGMA**2))[None]
    return PsfModel(basis / basis.sum(), 0, (80.0, 90.0), (80.0, 90.0), 1.0, 10, 1.0, 2.355 * SIGMA)


class Ccd:
    """One simulated CCD: stars of known flux on a background, noise-free."""

    def __init__(self, ccd, wcs, scale, psf=True):
        self.id, self.wcs, self.scale = ccd, wcs, scale
        rng = np.random.default_rng([ccd.exposure, ccd.ccd])
        self.background = (20 + rng.uniform(0, 1) * np.arange(SHAPE[1])[None, :] * np.ones(SHAPE)).astype(np.float32)
        self.weight = rng.uniform(0.5, 2, SHAPE).astype(np.float32)
        self.flag = (rng.uniform(size=SHAPE) < 0.02).astype(np.int32) * 8
        self.data = self.background.copy()
        self.psf = psf_model() if psf else None

    def add(self, ra, dec):
        x, y = self.wcs.sky_to_pixel(ra, dec)
        for xi, yi in zip(x, y, strict=True):
            self.data += (FLUX / self.scale * gaussian(xi, yi, SHAPE)).astype(np.float32)

    def section(self, box=None):
        y0, y1, x0, x1 = box or (0, SHAPE[0], 0, SHAPE[1])
        planes = (plane[y0:y1, x0:x1] for plane in (self.data, self.weight, self.flag, self.background))
        return CcdSection(self.id, (y0, x0), *planes, BOX, self.scale, self.wcs, self.psf)


@pytest.fixture(scope="module")
def survey():
    """Three CCDs: North up, upside down, and rotated; seven stars."""
    x, y = (
        np.array([80.0, 40.3, 100.6, 119.45, 60.5, 147.0, 30.2]),
        np.array([90.0, 50.7, 120.2, 40.5, 140.5, 100.0, 4.0]),
    )
    first = tiny_survey.tan_wcs(RA, DEC, (81.0, 91.0))
    ra, dec = first.pixel_to_sky(x, y)
    ccds = [
        Ccd(CcdId(2000001, 20), first, 0.25),
        Ccd(CcdId(2000002, 3), tiny_survey.tan_wcs(RA, DEC, (83.3, 88.2), (1.01, 0.0, 0.0, -1.0)), 0.5),
        Ccd(CcdId(2000003, 21), tiny_survey.tan_wcs(RA, DEC, (80.1, 92.7), (-0.8, 0.6, 0.6, 0.8)), 2.0, psf=False),
    ]
    for ccd in ccds:
        ccd.add(ra, dec)
    epochs = find_epochs(ra, dec, [(ccd.id, ccd.wcs, BOX) for ccd in ccds])
    return ra, dec, ccds, epochs


@pytest.fixture(scope="module")
def whole(survey):
    ra, _, ccds, epochs = survey
    return cut_stacks(np.arange(1, len(ra) + 1), epochs, (ccd.section() for ccd in ccds), PARAMS)


def test_stars_appear_at_centre_plus_offset_with_their_flux(survey, whole):
    stacks = whole.stacks
    assert len(whole.dropped) == 0
    assert stacks.image.dtype == stacks.weight.dtype == np.float32
    assert stacks.flag.dtype == stacks.ccd.dtype == np.int32 and stacks.exposure.dtype == np.int64
    assert all(plane.flags.c_contiguous for plane in (stacks.image, stacks.weight, stacks.flag, stacks.psf))
    star = stacks[0]  # in the middle of all three
    assert star.exposure.tolist() == [2000001, 2000002, 2000003] and star.ccd.tolist() == [20, 3, 21]
    for k in range(3):
        expected = FLUX * gaussian(15 + star.offset[k, 0], 15 + star.offset[k, 1], (31, 31))
        # other stars are 45 pixels away
        np.testing.assert_allclose(star.image[k], expected, atol=2e-4 * FLUX * expected.max() / FLUX + 1e-3)
    assert (np.abs(stacks.offset) <= 0.5).all()


def test_weight_scale_jacobian_and_psf(survey, whole):
    ccds, epochs = survey[2:]
    star = whole.stacks[0]
    for k, ccd in enumerate(ccds):
        (row,) = epochs[(epochs["object"] == 0) & (epochs["ccd"] == ccd.id.ccd)]
        xc, yc = round(row["x"]), round(row["y"])
        cut = np.s_[yc - 15 : yc + 16, xc - 15 : xc + 16]
        np.testing.assert_allclose(star.weight[k], ccd.weight[cut] / ccd.scale**2, rtol=1e-6)
        np.testing.assert_array_equal(star.flag[k], ccd.flag[cut])
        np.testing.assert_array_equal(star.jacobian[k], ccd.wcs.jacobian(row["x"], row["y"])[0])
        if ccd.psf is None:
            assert not star.psf[k].any()
        else:
            np.testing.assert_array_equal(star.psf[k], ccd.psf.draw(row["x"], row["y"], 31)[0])
            assert star.psf[k].sum() == pytest.approx(1.0)
            assert np.unravel_index(star.psf[k].argmax(), (31, 31)) == (15, 15)


def test_outside_is_blank_and_flagged(survey, whole):
    epochs = survey[3]
    stacks = whole.stacks
    border = int(PixelFlag.BORDER)
    n_partial = 0
    for k, row in enumerate(epochs):
        xc, yc = round(row["x"]), round(row["y"])
        gy, gx = np.mgrid[yc - 15 : yc + 16, xc - 15 : xc + 16]
        outside = (gx < BOX[2]) | (gx >= BOX[3]) | (gy < BOX[0]) | (gy >= BOX[1])
        n_partial += outside.any()
        np.testing.assert_array_equal((stacks.flag[k] & border) != 0, outside)
        assert not stacks.image[k][outside].any() and not stacks.weight[k][outside].any()
        assert (stacks.weight[k][~outside] > 0).all()
    assert n_partial >= 2


def test_sections_order_threads_and_selection_do_not_matter(survey, whole):
    ra, _, ccds, epochs = survey
    size = PARAMS.size

    def sections(chosen):
        for ccd in ccds[::-1]:
            rows = chosen[(chosen["exposure"] == ccd.id.exposure) & (chosen["ccd"] == ccd.id.ccd)]
            if len(rows):
                yield ccd.section(section_box(rows["x"], rows["y"], size, SHAPE))

    for objects in (np.arange(len(ra)), np.array([1, 3, 6]), np.array([5]), np.array([4, 2])):
        chosen = select_objects(epochs, objects)
        part = cut_stacks(objects + 1, chosen, sections(chosen), PARAMS, n_threads=2).stacks
        for place, index in enumerate(objects):
            for name in ("number", "image", "weight", "flag", "psf", "jacobian", "offset", "exposure", "ccd"):
                left, right = getattr(part[place], name), getattr(whole.stacks[int(index)], name)
                assert np.asarray(left).tobytes() == np.asarray(right).tobytes(), name


def test_what_is_dropped_and_why(survey):
    ra, _, ccds, epochs = survey
    moved = epochs.copy()
    moved["x"][0] = 3.0  # on the overscan
    result = cut_stacks(np.arange(1, len(ra) + 1), moved, (ccd.section() for ccd in ccds[:2]), PARAMS)
    reasons = {(int(d["object"]), int(d["exposure"])): int(d["reason"]) for d in result.dropped}
    lost = epochs[epochs["exposure"] == 2000003]
    assert reasons == {
        (int(epochs["object"][0]), int(epochs["exposure"][0])): Dropped.CENTRE_OUTSIDE,
        **{(int(row["object"]), 2000003): Dropped.NO_SECTION for row in lost},
    }
    assert len(result.stacks.image) == len(epochs) - len(reasons)
    assert result.stacks.first[-1] == len(result.stacks.image)
    assert len(result.stacks[0].image) == 1


def test_objects_without_epochs_keep_their_place(survey):
    ccds, epochs = survey[2:]
    chosen = select_objects(epochs, np.array([0]))
    chosen["object"] = 1
    stacks = cut_stacks(np.array([7, 8, 9]), chosen, (ccd.section() for ccd in ccds), PARAMS).stacks
    assert len(stacks) == 3 and stacks.first.tolist() == [0, 0, 3, 3]
    assert stacks[0].image.shape == (0, 31, 31) and stacks[1].number == 8
    empty = cut_stacks(np.array([7]), chosen[:0], [], PARAMS)
    assert len(empty.stacks) == 1 and len(empty.dropped) == 0


def test_neighbours_are_flagged_where_they_are_on_the_sky(survey):
    """Elliptical segments on the tile; each CCD pixel is traced through the full WCS, one by one."""
    ra, dec, ccds, epochs = survey
    tile = tiny_survey.tan_wcs(RA, DEC, (101.0, 101.0), (-0.99, 0.02, 0.02, 0.99))
    x, y = tile.sky_to_pixel(ra, dec)
    gy, gx = np.mgrid[:200, :200]
    plane = np.zeros((200, 200), np.int32)
    for number, (xi, yi) in enumerate(zip(x, y, strict=True), 1):
        plane[((gx - xi) / 9) ** 2 + ((gy - yi) / 5) ** 2 < 1] = number
        plane[((gx - xi - 11) / 4) ** 2 + ((gy - yi + 5) / 6) ** 2 < 1] = 100 + number  # its neighbour
    y0, x0 = 20, 30  # a section that cuts some stamps
    segmentation = TileSegmentation(plane[y0:190, x0:195], (y0, x0), tile, x, y)
    numbers = np.arange(1, len(ra) + 1)
    sections = [ccd.section() for ccd in ccds]
    stacks = cut_stacks(numbers, epochs, sections, PARAMS, segmentation=segmentation).stacks
    bit = int(PixelFlag.NEIGHBOUR)
    plain = cut_stacks(numbers, epochs, sections, PARAMS).stacks
    np.testing.assert_array_equal(stacks.flag & ~bit, plain.flag)
    wrong = total = 0
    for k, row in enumerate(epochs):
        ccd = next(c for c in ccds if c.id.exposure == row["exposure"])
        cy, cx = np.mgrid[round(row["y"]) - 15 : round(row["y"]) + 16, round(row["x"]) - 15 : round(row["x"]) + 16]
        tx, ty = (np.rint(v).astype(int) for v in tile.sky_to_pixel(*ccd.wcs.pixel_to_sky(cx.ravel(), cy.ravel())))
        inside = (tx >= x0) & (tx < 195) & (ty >= y0) & (ty < 190)
        owner = np.where(inside, plane[ty.clip(0, 199), tx.clip(0, 199)], 0).reshape(31, 31)
        expected = (owner != 0) & (owner != row["object"] + 1)
        wrong += ((stacks.flag[k] & bit != 0) != expected).sum()
        total += expected.sum()
    assert total > 1000
    assert wrong <= 2  # pixels that the affine approximation rounds the other way
    off = VignetParams(size=31, neighbours="none")
    unmasked = cut_stacks(numbers, epochs, sections, off, segmentation=segmentation).stacks
    np.testing.assert_array_equal(unmasked.flag, plain.flag)


@pytest.mark.parametrize("neighbours", ["mask", "uberseg"])
@pytest.mark.parametrize("scale", [1.0, 0.7, 0.2])
def test_neighbours_are_the_same_in_every_block(survey, scale, neighbours):
    """A tile turned by 40 degrees, with pixels as large as the CCDs' or smaller: vignets reach beyond their size."""
    ra, dec, ccds, epochs = survey
    c, s = scale * np.cos(0.7), scale * np.sin(0.7)
    tile = tiny_survey.tan_wcs(RA, DEC, (301.0, 301.0), (-c, s, s, c))
    x, y = tile.sky_to_pixel(ra, dec)
    rng = np.random.default_rng(1)
    plane = np.where(rng.uniform(size=(600, 600)) < 0.02, rng.integers(0, 40, (600, 600)), 0).astype(np.int32)
    sections = [ccd.section() for ccd in ccds]
    params = VignetParams(size=PARAMS.size, neighbours=neighbours)

    def flags(members):
        box = segmentation_box(x[members], y[members], PARAMS.size, plane.shape)
        part = plane[box[0] : box[1], box[2] : box[3]]
        segmentation = TileSegmentation(part, (box[0], box[2]), tile, x[members], y[members])
        mine = select_objects(epochs, members)
        return cut_stacks(
            members + 1, mine, sections, params, segmentation=segmentation, n_threads=len(members)
        ).stacks.flag

    everyone = np.arange(len(ra))
    one_by_one = np.concatenate([flags(everyone[k : k + 1]) for k in everyone])
    np.testing.assert_array_equal(flags(everyone), one_by_one)
    backwards = flags(everyone[::-1])
    in_order = np.concatenate(
        [backwards[select_objects(epochs, everyone[::-1])["object"] == len(ra) - 1 - k] for k in everyone]
    )
    np.testing.assert_array_equal(in_order, one_by_one)
    bits = int(PixelFlag.NEIGHBOUR), int(PixelFlag.TERRITORY)
    assert [bool((one_by_one & bit).any()) for bit in bits] == [True, neighbours == "uberseg"]


def test_section_box_holds_the_vignets_and_no_more():
    x, y = np.array([30.5, 99.49]), np.array([20.0, 170.0])
    assert section_box(x, y, 31, SHAPE) == (5, 180, 15, 115)
    assert section_box(np.array([-40.0]), np.array([500.0]), 31, SHAPE) == (179, 180, 0, 1)


def test_the_size_is_odd():
    with pytest.raises(ValidationError, match="odd"):
        VignetParams(size=50)
