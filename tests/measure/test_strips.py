"""Detection in strips: the same objects, bit for bit, whatever the height of the strips; seams leave no trace."""

import numpy as np
import pytest
from measure.sky import add_gaussian, wcs

from shapempi.errors import DataError
from shapempi.measure.background import BackgroundMesh
from shapempi.measure.detect import DetectionParams, SexFlag, detect
from shapempi.measure.pixel_source import ArraySource, Frame

SHAPE = (331, 290)
PARAMS = DetectionParams(deblend_contrast=0.0005)
#: One row at a time, less than the filter's overlap, uneven, the usual, all but one row, in one piece.
HEIGHTS = (1, 7, 33, 64, 330, 331, 5000)


class Recorder:
    """A source that remembers which rows it was asked for."""

    def __init__(self, source):
        self.source = source
        self.tallest = 0

    @property
    def shape(self):
        return self.source.shape

    def read(self, y0, y1):
        assert 0 <= y0 < y1 <= self.shape[0]
        self.tallest = max(self.tallest, y1 - y0)
        return self.source.read(y0, y1)


def crowd(seed=11):
    """Return image, weight and flags: objects on every row, blends, a large star, and holes."""
    rng = np.random.default_rng(seed)
    data = rng.normal(0, 1, SHAPE).astype(np.float32)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(np.float32)
    # A star higher than most strips: its wings hold detections that are cleaned away.
    data += (3e4 / (1 + ((x - 150.3) ** 2 + (y - 170.6) ** 2) / 9.0) ** 1.6).astype(np.float32)
    for row in range(4, SHAPE[0], 9):  # at all distances from the seams
        for column in rng.uniform(5, SHAPE[1] - 5, 5):
            flux = 10 ** rng.uniform(2.0, 3.6)
            place = column, row + rng.uniform(-4, 4)
            add_gaussian(data, *place, flux, rng.uniform(1.3, 3.0), q=rng.uniform(0.4, 1), theta=rng.uniform(0, 3))
            if rng.random() < 0.4:  # a companion across the seam or beside
                add_gaussian(data, place[0] + rng.normal(0, 4), place[1] + rng.normal(0, 5), 0.6 * flux, 1.6)
    # Exactly symmetric objects: barycentres half-way between rows, where rounding has two choices.
    for top in range(20, 300, 47):
        data[top - 6 : top + 8, 260:274] = 0.0
        data[top : top + 2, 266:268] += 60.0
        data[top - 1 : top + 3, 265:269] += 30.0
    # A U whose arms begin above the seams and meet below them, and an arc that is open below.
    data[230:300, 20] += 40.0
    data[236:300, 60] += 40.0
    data[299:301, 20:61] += 40.0
    weight = rng.uniform(0.7, 1.3, SHAPE).astype(np.float32)
    weight[:, 260:274] = 1.0
    weight[:, 99] = 0.0
    weight[60:75, 200:220] = 0.0
    weight[5, 5] = np.nan
    data[200:206, 30:80] = np.nan
    data[310, 120] = np.inf
    data[:2, 3] = 500.0  # unusable in the first row
    weight[:2, 3] = 0.0
    flag = np.zeros(SHAPE, np.int16)
    flag[rng.integers(0, SHAPE[0], 4000), rng.integers(0, SHAPE[1], 4000)] = 4
    flag[rng.integers(0, SHAPE[0], 4000), rng.integers(0, SHAPE[1], 4000)] |= 256
    return data, weight, flag


FRAME = Frame(wcs(SHAPE), gain=3.0, saturate=20000.0, mag_zp=30.0)
MESH = BackgroundMesh.constant(12.0, 1.0, SHAPE)


def found_in_strips(source, height, detection=None):
    return detect(source, FRAME, PARAMS.model_copy(update={"strip_rows": height}), background=MESH, detection=detection)


@pytest.fixture(scope="module")
def one_piece():
    planes = crowd()
    return planes, found_in_strips(ArraySource(*planes), SHAPE[0])


def test_the_field_has_what_the_strips_are_tested_by(one_piece):
    (data, weight, _), found = one_piece
    table, segmentation = found.table, found.segmentation
    assert len(table) > 150
    for bit in (SexFlag.CROWDED, SexFlag.BLENDED, SexFlag.SATURATED, SexFlag.TRUNCATED, SexFlag.APERTURE):
        assert np.count_nonzero(table["FLAGS"] & bit) > 0, bit
    heights = [np.ptp(np.nonzero(segmentation == number)[0]) + 1 for number in table["NUMBER"]]
    assert max(heights) > 64 and np.median(heights) > 7
    halves = (table["Y_IMAGE"] % 1 == 0.5) & (table["X_IMAGE"] % 1 == 0.5)
    assert np.count_nonzero(halves) >= 5
    assert set(np.unique(table["IMAFLAGS_ISO"])) == {0, 4, 256, 260}
    unusable = ~(weight > 0) | ~np.isfinite(data)
    assert not segmentation[unusable].any()
    merged = np.bincount(segmentation.ravel(), minlength=len(table) + 1)[1:]
    assert np.array_equal(merged, table["ISOAREAF_IMAGE"])
    uncleaned = detect(ArraySource(*one_piece[0]), FRAME, PARAMS.model_copy(update={"clean": False}), background=MESH)
    assert len(uncleaned.table) > len(table) + 5
    assert np.array_equal(uncleaned.segmentation > 0, segmentation > 0), "what is merged keeps its pixels"


@pytest.mark.parametrize("height", HEIGHTS)
def test_the_catalogue_does_not_depend_on_the_height_of_the_strips(one_piece, height):
    planes, whole = one_piece
    source = Recorder(ArraySource(*planes))
    found = found_in_strips(source, height)
    assert found.noise_ratio == whole.noise_ratio
    assert np.array_equal(found.segmentation, whole.segmentation)
    for name in whole.table.dtype.names:
        assert np.array_equal(found.table[name], whole.table[name], equal_nan=True), name
    assert found.table.tobytes() == whole.table.tobytes()


def test_numbers_are_in_the_order_of_first_pixels(one_piece):
    _, found = one_piece
    numbers, first = np.unique(found.segmentation, return_index=True)
    assert np.array_equal(numbers[1:], found.table["NUMBER"])
    own = first[1:]
    # The pixels of merged detections may lie before the object's own.
    assert np.count_nonzero(np.diff(own) > 0) > 0.9 * (len(own) - 1)


def test_only_the_rows_that_are_needed_are_in_memory():
    rng = np.random.default_rng(2)
    data = rng.normal(0, 1, (2000, 60)).astype(np.float32)
    for row in range(15, 2000, 40):
        add_gaussian(data, 30.0, row + 0.3, 900.0, 1.8)
    source = Recorder(ArraySource(data, np.ones_like(data), np.zeros(data.shape, np.uint8)))
    params = DetectionParams(strip_rows=100, rescale_weights=False)
    found = detect(source, Frame(wcs(data.shape), 0.0, np.inf, 30.0), params)
    assert len(found.table) == 50
    assert source.tallest <= 170


def test_another_image_to_find_in_does_not_bring_seams_back(one_piece):
    (data, weight, flag), _ = one_piece
    rng = np.random.default_rng(3)
    other = (0.6 * np.nan_to_num(data, posinf=0.0) + rng.normal(0, 0.8, SHAPE)).astype(np.float32)
    other_weight = rng.uniform(0.5, 0.7, SHAPE).astype(np.float32)
    other_weight[120:130, 40:60] = 0.0
    detection = ArraySource(other, other_weight, np.zeros(SHAPE, np.uint8))
    whole = found_in_strips(ArraySource(data, weight, flag), SHAPE[0], detection)
    assert len(whole.table) > 150
    for height in (7, 64):
        found = found_in_strips(ArraySource(data, weight, flag), height, detection)
        assert found.table.tobytes() == whole.table.tobytes(), height
        assert np.array_equal(found.segmentation, whole.segmentation)


def test_an_image_to_find_in_gives_places_and_shapes_and_the_other_the_light():
    rng = np.random.default_rng(4)
    shape = (240, 240)
    deep, shallow = (rng.normal(0, noise, shape).astype(np.float32) for noise in (0.5, 1.0))
    for y in range(30, 220, 36):
        for x in range(30, 220, 36):
            flux, sigma = 10 ** rng.uniform(2.6, 3.8), rng.uniform(1.5, 2.4)
            place = x + rng.uniform(-0.5, 0.5), y + rng.uniform(-0.5, 0.5)
            add_gaussian(deep, *place, 3 * flux, sigma, q=0.7, theta=0.4)
            add_gaussian(shallow, *place, flux, sigma, q=0.7, theta=0.4)
    zeros = np.zeros(shape, np.uint8)
    flag = zeros.copy()
    flag[::2] = 8
    deep_source = ArraySource(deep, np.full(shape, 4.0, np.float32), zeros)
    source = ArraySource(shallow, np.ones(shape, np.float32), flag)
    frame = Frame(wcs(shape), 0.0, np.inf, 30.0)
    both = detect(source, frame, PARAMS, detection=deep_source)
    found, measured = detect(deep_source, frame, PARAMS).table, both.table
    assert len(found) == len(measured) == 36
    of_detection = ["NUMBER", "ISOAREAF_IMAGE", "THRESHOLD", "KRON_RADIUS", "ELONGATION", "ELLIPTICITY"]
    of_detection += [f"{name}_IMAGE" for name in ("X", "Y", "X2", "Y2", "XY", "ERRX2", "ERRY2", "A", "B", "THETA")]
    for name in of_detection:
        assert np.array_equal(found[name], measured[name]), name
    for name in ("FLUX_AUTO", "FLUX_APER", "FLUX_WIN"):
        assert np.median(measured[name] / found[name]) == pytest.approx(1 / 3, rel=0.03), name
    assert np.median(measured["FLUXERR_APER"] / found["FLUXERR_APER"]) == pytest.approx(2.0, rel=0.05)
    assert np.median(measured["MU_THRESHOLD"] - found["MU_THRESHOLD"]) == pytest.approx(-2.5 * np.log10(2), abs=0.05)
    assert np.median(measured["MU_MAX"] - found["MU_MAX"]) == pytest.approx(2.5 * np.log10(3), abs=0.1)
    assert np.all(measured["ISOAREA_IMAGE"] < found["ISOAREA_IMAGE"])
    assert np.all(measured["IMAFLAGS_ISO"] == 8)
    assert both.noise_ratio == pytest.approx(1.0, abs=0.05)
    # The windows follow the light of the image in which they are measured.
    assert not np.array_equal(measured["XWIN_IMAGE"], found["XWIN_IMAGE"])
    # The same image twice is the same as once.
    twice = detect(deep_source, frame, PARAMS, detection=ArraySource(deep, deep_source.weight, zeros)).table
    assert np.array_equal(twice["FLUX_AUTO"], found["FLUX_AUTO"])
    assert np.array_equal(twice["ISOAREA_IMAGE"], found["ISOAREA_IMAGE"])
    assert np.allclose(twice["FWHM_IMAGE"], found["FWHM_IMAGE"], rtol=1e-6)


def test_an_image_to_find_in_of_another_shape_is_refused():
    def source(shape):
        return ArraySource(np.zeros(shape, np.float32), np.ones(shape, np.float32), np.zeros(shape, np.uint8))

    with pytest.raises(DataError, match=r"shape \(40, 51\), that in which they are measured \(40, 50\)"):
        detect(source((40, 50)), Frame(wcs((40, 50)), 0.0, np.inf, 30.0), PARAMS, detection=source((40, 51)))
