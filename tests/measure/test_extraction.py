"""Regions, deblending, cleaning: each region by itself, what fails costs one object, wings eat what they make."""

import numpy as np
import pytest
import sep
from measure.sky import add_gaussian

from shapempi.errors import MeasurementError
from shapempi.measure import deblend
from shapempi.measure.cleaning import WINGS_DTYPE, eaters
from shapempi.measure.deblend import OBJECT_DTYPE
from shapempi.measure.extraction import ExtractionParams, extract_objects
from shapempi.measure.pixel_source import ArraySource
from shapempi.measure.region import FILTER_KERNEL, find_regions
from shapempi.measure.section import SectionReader

PARAMS = ExtractionParams(deblend_contrast=0.0005, clean=False)


def reader(data, weight=None):
    weight = np.ones(data.shape, np.float32) if weight is None else weight
    return SectionReader(ArraySource(data, weight, np.zeros(data.shape, np.uint8)), 1.0)


def extract(data, params=PARAMS, **changes):
    return extract_objects(reader(data), params.model_copy(update=changes), 0.0)


def field(seed=5, shape=(260, 240)):
    rng = np.random.default_rng(seed)
    data = rng.normal(0, 1, shape).astype(np.float32)
    for _ in range(60):
        x, y = rng.uniform(5, shape[1] - 5), rng.uniform(5, shape[0] - 5)
        flux = 10 ** rng.uniform(2, 4)
        add_gaussian(data, x, y, flux, rng.uniform(1.4, 2.6), q=rng.uniform(0.5, 1))
        if rng.random() < 0.5:
            add_gaussian(data, x + rng.normal(0, 4), y + rng.normal(0, 4), flux / 2, 1.7)
    return data


def test_objects_that_are_not_blended_are_those_of_the_library_in_one_call():
    data = field()
    found = extract(data)
    theirs, theirs_map = sep.extract(
        data,
        1.5,
        var=np.ones_like(data),
        filter_kernel=FILTER_KERNEL,
        filter_type="conv",
        deblend_cont=0.0005,
        clean=False,
        segmentation_map=True,
    )
    ours = found.objects
    assert ours.dtype == OBJECT_DTYPE == theirs.dtype
    assert len(ours) == len(theirs) > 50
    assert np.array_equal(found.segmentation > 0, theirs_map > 0)
    # The same peaks; pixels between blended objects are given away by lot.
    theirs = theirs[np.lexsort((theirs["xcpeak"], theirs["ycpeak"]))]
    ours = ours[np.lexsort((ours["xcpeak"], ours["ycpeak"]))]
    assert np.array_equal(ours["xcpeak"], theirs["xcpeak"]) and np.array_equal(ours["ycpeak"], theirs["ycpeak"])
    assert np.array_equal(ours["flag"], theirs["flag"])
    single = (ours["flag"] & sep.OBJ_MERGED) == 0
    assert 10 < single.sum() < len(ours)
    for name in OBJECT_DTYPE.names:
        assert np.allclose(ours[name][single], theirs[name][single], rtol=1e-12, atol=1e-12), name
    assert np.abs(ours["cflux"] / theirs["cflux"] - 1).max() < 0.2


def test_a_region_does_not_depend_on_the_others():
    data = field()
    alone = data.copy()
    whole = extract(data)
    blended = np.flatnonzero((whole.objects["flag"] & sep.OBJ_MERGED) != 0)
    chosen = whole.objects[blended[len(blended) // 2]]
    labels, _, _ = next(iter_labels(data))
    label = labels[chosen["ypeak"], chosen["xpeak"]]
    near = np.zeros(data.shape, bool)
    y, x = np.nonzero(labels == label)
    near[y.min() - 2 : y.max() + 3, x.min() - 2 : x.max() + 3] = True
    alone[~near] = 0.0
    fewer = extract(alone)
    assert len(fewer.objects) < len(whole.objects)
    members = [whole.objects[k] for k in np.unique(whole.segmentation[labels == label]) - 1]
    assert len(members) > 1
    for member in members:
        assert any(member == other for other in fewer.objects)


def iter_labels(data):
    for regions in find_regions(reader(data), 1.5, 5, len(data)):
        yield regions.labels, regions.boxes, regions.n_pixel


def test_one_region_with_too_many_branches_costs_that_one(monkeypatch):
    """Nothing else is lost, and the limits of the library are what they were."""
    data = field()
    crowd = data.copy()
    for k in range(6):
        for m in range(6):
            add_gaussian(crowd, 100.0 + 7 * k, 100.0 + 7 * m, 3000.0, 1.2)
    limits = sep.get_extract_pixstack(), sep.get_sub_object_limit()
    normal = extract(crowd)
    monkeypatch.setattr(deblend, "BRANCHES", (3, 12))
    limited = extract(crowd)
    assert (sep.get_extract_pixstack(), sep.get_sub_object_limit()) == limits
    overflow = (limited.objects["flag"] & sep.OBJ_DOVERFLOW) != 0
    assert np.count_nonzero(overflow) == 1 and not np.any(normal.objects["flag"] & sep.OBJ_DOVERFLOW)
    (big,) = limited.objects[overflow]
    inside = limited.segmentation == np.flatnonzero(overflow)[0] + 1
    assert len(np.unique(normal.segmentation[inside])) > 30 and big["npix"] == inside.sum()
    assert np.array_equal(limited.segmentation > 0, normal.segmentation > 0)
    elsewhere = [row for row in normal.objects if not inside[row["ycpeak"], row["xcpeak"]]]
    assert len(elsewhere) == len(limited.objects) - 1 > 20
    assert np.array_equal(np.array(elsewhere), limited.objects[~overflow])


def test_a_large_region_is_not_taken_apart_and_says_so():
    data = field()
    yy, xx = np.mgrid[: data.shape[0], : data.shape[1]]
    data[np.hypot(yy - 130, xx - 120) < 50] += 60.0
    add_gaussian(data, 130.0, 110.0, 5e3, 2.0)
    add_gaussian(data, 110.0, 140.0, 5e3, 2.0)
    taken, whole = extract(data), extract(data, pixel_stack=5000)
    of_disc = taken.segmentation[130, 120], whole.segmentation[130, 120]
    assert not np.any(taken.objects["flag"] & sep.OBJ_DOVERFLOW)
    flagged = np.flatnonzero(whole.objects["flag"] & sep.OBJ_DOVERFLOW)
    assert flagged.tolist() == [of_disc[1] - 1]
    assert whole.objects["npix"][flagged[0]] > 5000
    assert len(taken.objects) > len(whole.objects)


def test_what_the_library_cannot_do_is_an_error_with_its_reason(monkeypatch):
    def fail(*_, **__):
        raise Exception("memory allocation")  # the class that the library raises

    monkeypatch.setattr(sep, "extract", fail)
    with pytest.raises(MeasurementError, match="memory allocation"):
        extract(field())


def test_a_background_that_is_still_there_is_an_error_whatever_the_strips():
    data = field() + np.float32(50.0)
    for height in (10, 64, 1000):
        with pytest.raises(MeasurementError, match="is the background subtracted"):
            extract(data, strip_rows=height)
    noise = np.random.default_rng(1).normal(0, 1, (200, 200)).astype(np.float32)
    with pytest.raises(MeasurementError, match="raise detection threshold"):
        extract(noise, threshold=1e-6, min_area=1)


def objects(*rows):
    """Return round objects (x, y, peak, sigma, excess), as deep as a threshold of 1."""
    table, wings = np.zeros(len(rows), OBJECT_DTYPE), np.zeros(len(rows), WINGS_DTYPE)
    for k, (x, y, peak, sigma, excess) in enumerate(rows):
        table[k]["x"], table[k]["y"], table[k]["thresh"] = x, y, 1.0
        table[k]["a"] = table[k]["b"] = sigma
        table[k]["cxx"] = table[k]["cyy"] = sigma**-2
        table[k]["cflux"], table[k]["npix"] = peak * 2 * np.pi * sigma**2, max(int(2 * np.pi * sigma**2 * 3), 5)
        wings[k] = k, excess, 1.0
    return table, wings


def test_the_wings_of_a_bright_object_eat_what_they_lift_and_nothing_else():
    star = (0.0, 0.0, 1000.0, 5.0, 50.0)
    table, wings = objects(star, (25, 0, 1.5, 1.0, 0.1), (0, 25, 1.5, 1.0, 30.0), (70, 0, 1.5, 1.0, 0.1))
    # beta = 1: peak / (1 + (peak - 1) area / npix (r / sigma)^2), and nothing beyond ten rms of both.
    npix = table["npix"][0]
    light = 1000 / (1 + 999 * np.pi * 25 / npix * (25 / 5) ** 2)
    assert 0.1 < light < 30
    assert eaters(table, wings, 1.0).tolist() == [-1, 0, -1, -1]
    for excess, eater in ((light * 1.001, -1), (light * 0.999, 0)):
        assert eaters(*objects(star, (25, 0, 1.5, 1.0, excess)), 1.0).tolist() == [-1, eater]
    # Steeper wings reach less far.
    assert eaters(table, wings, 4.0).tolist() == [-1, -1, -1, -1]


def test_who_eats_does_not_depend_on_the_order_of_the_table():
    rng = np.random.default_rng(3)
    rows = [
        (*rng.uniform(0, 200, 2), 10 ** rng.uniform(0.3, 3), rng.uniform(1, 4), rng.uniform(0, 2)) for _ in range(300)
    ]
    table, wings = objects(*rows)
    table["cflux"][10:20] = table["cflux"][0]  # equals: the first pixel decides
    eater = eaters(table, wings, 1.0)
    assert 20 < np.count_nonzero(eater >= 0) < 280
    assert np.all(eater[eater[eater >= 0]] < 0), "what is eaten eats nothing"
    order = rng.permutation(len(table))
    again = eaters(table[order], wings[order], 1.0)
    back = np.full(len(table), -1)
    back[order] = np.where(again >= 0, order[again], -1)
    assert np.array_equal(back, eater)


def test_eaters_are_those_of_all_pairs():
    rng = np.random.default_rng(4)
    rows = [
        (*rng.uniform(0, 400, 2), 10 ** rng.uniform(0.3, 3), 10 ** rng.uniform(0, 1.2), rng.uniform(0, 1))
        for _ in range(200)
    ]
    table, wings = objects(*rows)
    expected = np.full(len(table), -1)
    for weak in np.argsort(-table["cflux"]):
        best = 0.0
        for strong in range(len(table)):
            if expected[strong] >= 0 or table["cflux"][strong] <= table["cflux"][weak]:
                continue
            dx, dy = (table[name][strong] - table[name][weak] for name in "xy")
            if np.hypot(dx, dy) > 10 * (table["a"][strong] + table["a"][weak]):
                continue
            area = np.pi * table["a"][strong] ** 2
            peak = table["cflux"][strong] / (2 * area)
            light = peak / (1 + (peak - 1) * area / table["npix"][strong] * (dx**2 + dy**2) * table["cxx"][strong])
            if light > wings["excess"][weak] and light > best:
                best, expected[weak] = light, strong
    assert np.count_nonzero(expected >= 0) > 10
    assert np.array_equal(eaters(table, wings, 1.0), expected)


def test_few_objects_eat_nobody():
    for n in (0, 1):
        assert eaters(np.zeros(n, OBJECT_DTYPE), np.zeros(n, WINGS_DTYPE), 1.0).tolist() == [-1] * n


def test_what_is_merged_keeps_its_pixels_and_is_counted():
    rng = np.random.default_rng(6)
    y, x = np.mgrid[:300, :300].astype(np.float32)
    data = rng.normal(0, 1, x.shape) + 7000 / (1 + ((x - 150.4) ** 2 + (y - 148.7) ** 2) / 9.0) ** 1.6
    data = data.astype(np.float32)
    apart, cleaned = extract(data), extract(data, clean=True)
    assert len(apart.objects) > len(cleaned.objects) + 3
    assert np.array_equal(cleaned.segmentation != 0, apart.segmentation != 0)
    owned = np.bincount(np.abs(cleaned.segmentation).ravel(), minlength=len(cleaned.objects) + 1)[1:]
    assert np.array_equal(owned, cleaned.objects["npix"] + cleaned.merged)
    star = cleaned.objects["cflux"].argmax()
    assert cleaned.merged[star] > 0
    assert np.count_nonzero(cleaned.segmentation == -(star + 1)) == cleaned.merged[star]
    for row in cleaned.objects:
        assert row in apart.objects
